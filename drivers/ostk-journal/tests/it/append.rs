//! Appending: order, concurrency, refusal.

use std::sync::{Arc, Mutex};

use ostk_journal::{AppendError, OpenError, Reader, verify};
use ostk_log::Hash;

use crate::fixture::{Setup, append, blob, draft, open};

#[test]
fn sixty_four_callers_get_every_record_durable_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, durable) = Setup { segment_bytes: 40_000, ..Setup::default() }.open(dir.path()).unwrap();
    let next = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut next = next.lock().unwrap();
                    let (seq, (draft, blobs)) = (*next, draft(*next));
                    journal.append(draft, blobs).unwrap();
                    *next += 1;
                    drop(next);
                    durable.wait_for(seq + 1).unwrap();
                }
            });
        }
    });
    journal.close().unwrap();
    let records: Vec<_> = Reader::open(dir.path()).unwrap().map(|e| e.unwrap().record().unwrap()).collect();
    assert_eq!(records.len(), 640);
    assert!(records.iter().enumerate().all(|(n, r)| r.seq == n as u64 && r.body["n"] == n as u64));
    assert!(std::fs::read_dir(dir.path().join("journal")).unwrap().count() > 2, "nothing was rotated");
    let report = verify(dir.path(), true).unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!((report.records, report.checkpoint_size, report.signatures_checked), (640, Some(640), 640));
}

#[test]
fn who_waits_for_a_record_to_be_written_finds_it_in_the_file_with_its_blob() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, written) = std::sync::mpsc::channel();
    let on_written = Box::new(move |count| sender.send(count).unwrap_or_default());
    let (journal, ..) = Setup { on_written: Some(on_written), ..Setup::default() }.open(dir.path()).unwrap();
    for seq in 0..30 {
        let (draft, blobs) = draft(seq);
        journal.append_written(draft, blobs).unwrap();
        let in_a_minute = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while written.recv_timeout(in_a_minute - std::time::Instant::now()).unwrap() <= seq {}
        let last = Reader::open(dir.path()).unwrap().last().unwrap().unwrap();
        assert_eq!(last.seq, seq);
        if seq % 3 == 1 {
            let packs = ostk_blobs::BlobStore::open_read_only(&dir.path().join("packs")).unwrap();
            assert_eq!(packs.get(&Hash::of(&blob(seq))).unwrap().as_deref(), Some(&*blob(seq)));
        }
    }
    journal.close().unwrap();
    assert!(verify(dir.path(), true).unwrap().ok);
}

#[test]
fn a_second_writer_is_told_that_the_journal_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open(dir.path());
    let second = Setup::default().open(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }));
    assert!(second.to_string().contains("another process has this journal open"), "{second}");
    drop(journal);
    open(dir.path());
}

#[test]
fn a_draft_that_cannot_follow_is_refused_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, durable) = open(dir.path());
    append(&journal, &durable, 0);
    assert!(matches!(journal.append(draft(2).0, vec![]), Err(AppendError::OutOfOrder(_))));
    let mut earlier = draft(1).0;
    earlier.ts = ostk_log::Timestamp::from_micros(1);
    assert!(matches!(journal.append(earlier, vec![]), Err(AppendError::OutOfOrder(_))));
    let mut large = draft(1).0;
    large.body.insert("text".into(), "x".repeat(70_000).into());
    assert!(matches!(journal.append(large, vec![]), Err(AppendError::Seal(_))));
    let lie = (Hash::of(b"a"), Arc::from(b"b".as_slice()));
    assert!(matches!(journal.append(draft(1).0, vec![lie]), Err(AppendError::Blob(_))));
    append(&journal, &durable, 1);
    journal.close().unwrap();
}

#[test]
fn a_blob_can_be_read_as_soon_as_it_is_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, durable) = open(dir.path());
    append(&journal, &durable, 0);
    let (one, blobs) = draft(1);
    journal.append_relaxed(one, blobs).unwrap();
    assert_eq!(journal.blobs().get(&Hash::of(&blob(1))).unwrap(), Some(blob(1)));
}

#[test]
fn records_that_nobody_waits_for_become_durable_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, durable) = open(dir.path());
    for seq in 0..5 {
        let (draft, blobs) = draft(seq);
        journal.append_relaxed(draft, blobs).unwrap();
    }
    durable.wait_for(5).unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap().count(), 5);
}

#[test]
fn a_reader_starts_at_any_record() {
    let dir = tempfile::tempdir().unwrap();
    crate::fixture::fill(dir.path(), 60);
    for seq in 0..61 {
        let seqs: Vec<_> = Reader::open_at(dir.path(), seq).unwrap().map(|e| e.unwrap().seq).collect();
        assert_eq!(seqs, (seq..60).collect::<Vec<_>>());
    }
}

#[test]
fn the_old_name_of_the_log_links_to_the_live_segment() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path());
    assert_eq!(std::fs::read_link(dir.path().join("audit.jsonl")).unwrap().to_str(), Some("journal.jsonl"));
}
