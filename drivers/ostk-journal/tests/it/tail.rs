//! A follower sees every durable record once, in order, whatever happens to the files.

use std::{fs, thread, time::Duration};

use ostk_journal::Tail;

use crate::fixture::{append, draft, fill, open};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_tail_follows_through_rotations_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, durable) = open(dir.path());
    thread::scope(|scope| {
        let followers: Vec<_> = (0..3)
            .map(|from| {
                let mut tail = Tail::new(dir.path(), from);
                scope.spawn(move || {
                    (from..600)
                        .map(|_| tail.next(LONG).unwrap().expect("no record came").seq)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for seq in 0..600 {
            let (draft, blobs) = draft(seq);
            journal.append(draft, blobs).unwrap();
            if seq % 4 == 3 {
                durable.wait_for(seq + 1).unwrap();
            }
        }
        for (from, follower) in followers.into_iter().enumerate() {
            assert_eq!(follower.join().unwrap(), (from as u64..600).collect::<Vec<_>>());
        }
    });
    assert!(
        fs::read_dir(dir.path().join("journal")).unwrap().count() > 20,
        "too few rotations to mean anything"
    );
}

#[test]
fn a_tail_survives_truncation_and_replacement_of_the_live_segment() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 5);
    let live = dir.path().join("journal.jsonl");
    let mut tail = Tail::new(dir.path(), 0);
    let mut seqs: Vec<_> = (0..3).map(|_| tail.next(LONG).unwrap().unwrap().seq).collect();
    let bytes = fs::read(&live).unwrap();
    fs::write(&live, "").unwrap();
    // The follower has read ahead; what it has is still what was durable.
    while let Some(entry) = tail.next(Duration::from_millis(50)).unwrap() {
        seqs.push(entry.seq);
    }
    fs::remove_file(&live).unwrap();
    fs::write(&live, bytes).unwrap();
    let (journal, _, durable) = open(dir.path());
    append(&journal, &durable, 5);
    append(&journal, &durable, 6);
    while let Some(entry) = tail.next(Duration::from_millis(200)).unwrap() {
        seqs.push(entry.seq);
    }
    assert_eq!(seqs, (0..7).collect::<Vec<_>>());
}

#[test]
fn a_tail_refuses_a_rewritten_history() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(dir.path(), 3);
    let mut tail = Tail::new(dir.path(), 0);
    (0..3).for_each(|_| drop(tail.next(LONG).unwrap().unwrap()));
    let setup = crate::fixture::Setup { key: 9, ..Default::default() };
    let (journal, _, durable) = setup.open(other.path()).unwrap();
    (0..5).for_each(|seq| append(&journal, &durable, seq));
    journal.close().unwrap();
    for name in ["journal.jsonl", "log/checkpoint"] {
        fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    }
    assert!(tail.next(LONG).unwrap_err().to_string().contains("prev_hash"));
}

#[test]
fn waiting_for_nothing_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Tail::new(dir.path(), 0).next(Duration::from_millis(20)).unwrap(), None);
}
