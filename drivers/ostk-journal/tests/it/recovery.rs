//! What open does with every kind of end, and what it refuses to touch.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use ostk_journal::{OpenError, Reader, verify};

use crate::fixture::{Setup, append, fill, open};

fn checkpoint(dir: &Path) -> std::path::PathBuf {
    dir.join("log/checkpoint")
}

/// Two acknowledged records and one after them that the checkpoint does not cover. Returns the live segment's bytes
/// and where the last line begins.
fn with_unpublished_record(dir: &Path) -> (Vec<u8>, usize) {
    let (journal, _, durable) = open(dir);
    append(&journal, &durable, 0);
    append(&journal, &durable, 1);
    let published = fs::read(checkpoint(dir)).unwrap();
    append(&journal, &durable, 2);
    journal.close().unwrap();
    fs::write(checkpoint(dir), published).unwrap();
    let bytes = fs::read(dir.join("journal.jsonl")).unwrap();
    let last = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    (bytes, last)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_moved_aside() {
    let origin = tempfile::tempdir().unwrap();
    let (bytes, last) = with_unpublished_record(origin.path());
    let published = fs::read(checkpoint(origin.path())).unwrap();
    let live = origin.path().join("journal.jsonl");
    for end in last..bytes.len() {
        fs::write(&live, &bytes[..end]).unwrap();
        fs::write(checkpoint(origin.path()), &published).unwrap();
        let (_, recovery, _) = open(origin.path());
        assert_eq!(recovery.next_seq, 2);
        assert_eq!(fs::read(&live).unwrap(), &bytes[..last]);
        match recovery.torn {
            None => assert_eq!(end, last),
            Some(torn) => {
                assert_eq!((torn.first_seq, torn.bytes), (2, (end - last) as u64));
                assert_eq!(fs::read(&torn.moved_to).unwrap(), &bytes[last..end]);
                fs::remove_file(torn.moved_to).unwrap();
            }
        }
    }
}

#[test]
fn an_unacknowledged_record_is_kept_if_whole_and_cut_if_any_byte_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, last) = with_unpublished_record(dir.path());
    let published = fs::read(checkpoint(dir.path())).unwrap();
    let live = dir.path().join("journal.jsonl");
    assert_eq!(open(dir.path()).1.next_seq, 3);
    for at in (last..bytes.len()).step_by(7) {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        fs::write(&live, &wrong).unwrap();
        fs::write(checkpoint(dir.path()), &published).unwrap();
        let (_, recovery, _) = open(dir.path());
        assert_eq!((recovery.next_seq, recovery.torn.map(|t| t.first_seq)), (2, Some(2)), "byte {at}");
    }
}

#[test]
fn an_unacknowledged_record_without_its_blob_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, durable) = open(dir.path());
    append(&journal, &durable, 0);
    let published = fs::read(checkpoint(dir.path())).unwrap();
    append(&journal, &durable, 1);
    append(&journal, &durable, 2);
    journal.close().unwrap();
    fs::write(checkpoint(dir.path()), published).unwrap();
    fs::remove_dir_all(dir.path().join("packs")).unwrap();
    let (_, recovery, _) = open(dir.path());
    assert_eq!(recovery.next_seq, 1);
    let torn = recovery.torn.unwrap();
    assert!(torn.first_seq == 1 && torn.why.contains("which no pack holds"), "{torn:?}");
}

#[test]
fn a_missing_or_empty_checkpoint_is_signed_again_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 300);
    let before = fs::read(checkpoint(dir.path())).unwrap();
    for empty in [true, false] {
        if empty {
            fs::write(checkpoint(dir.path()), "").unwrap()
        } else {
            fs::remove_file(checkpoint(dir.path())).unwrap()
        }
        let (_, recovery, _) = open(dir.path());
        assert!(recovery.checkpoint_rebuilt);
        assert_eq!(fs::read(checkpoint(dir.path())).unwrap(), before);
    }
    assert!(!open(dir.path()).1.checkpoint_rebuilt);
}

#[test]
fn lost_tiles_are_computed_again_from_the_records() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 600);
    let tile = dir.path().join("log/tile/0/000");
    let before = fs::read(&tile).unwrap();
    fs::write(&tile, vec![7; before.len()]).unwrap();
    assert!(!verify(dir.path(), true).unwrap().ok);
    let (_, recovery, _) = open(dir.path());
    assert!(recovery.tiles_rebuilt);
    assert_eq!(fs::read(&tile).unwrap(), before);
    fs::remove_dir_all(dir.path().join("log/tile")).unwrap();
    open(dir.path());
    assert_eq!(fs::read(&tile).unwrap(), before);
    assert!(verify(dir.path(), true).unwrap().ok);
}

#[test]
fn damage_to_an_acknowledged_record_stops_the_open_and_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let live = dir.path().join("journal.jsonl");
    let bytes = fs::read(&live).unwrap();
    let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    let file = OpenOptions::new().write(true).open(&live).unwrap();
    file.write_all_at(b"X", second as u64).unwrap();
    match Setup::default().open(dir.path()).map(|_| ()).unwrap_err() {
        OpenError::Corrupt { file, offset, seq, .. } => {
            assert_eq!((file, offset, seq), (live, second as u64, Some(1)))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_log_shorter_than_its_checkpoint_stops_the_open() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    let live = dir.path().join("journal.jsonl");
    let bytes = fs::read(&live).unwrap();
    let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    fs::write(&live, &bytes[..second]).unwrap();
    let error = Setup::default().open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("ends here after 1 records, 3 were acknowledged"), "{error}");
}

#[test]
fn a_checkpoint_of_another_history_stops_the_open() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(dir.path(), 3);
    let (journal, _, durable) = Setup { key: 2, ..Setup::default() }.open(other.path()).unwrap();
    (0..3).for_each(|seq| append(&journal, &durable, seq));
    journal.close().unwrap();
    fs::copy(checkpoint(other.path()), checkpoint(dir.path())).unwrap();
    assert!(matches!(Setup::default().open(dir.path()), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_new_key_continues_the_log_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    let (journal, recovery, durable) = Setup { key: 2, ..Setup::default() }.open(dir.path()).unwrap();
    assert_eq!(recovery.next_seq, 20);
    append(&journal, &durable, 20);
    journal.close().unwrap();
    let report = verify(dir.path(), true).unwrap();
    assert!(report.ok && report.keys.len() == 2, "{report:?}");
    assert_eq!(Reader::open(dir.path()).unwrap().count(), 21);
}

#[test]
fn everything_but_journal_and_packs_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 50);
    let head = open(dir.path()).1.head;
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    fs::remove_dir_all(dir.path().join("run")).unwrap();
    let (_, recovery, _) = open(dir.path());
    assert_eq!((recovery.head, recovery.next_seq, recovery.torn), (head, 50, None));
}
