//! The process dies at each boundary of the write path, or the disk refuses; the next open finds all that was reported.

use std::{
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ostk_journal::{FAILPOINTS, Reader, verify};
use ostk_log::Hash;

use crate::fixture::{Setup, append, blob, draft, open};

const DIR: &str = "OSTK_JOURNAL_TEST_DIR";
const FAILPOINT: &str = "OSTK_JOURNAL_TEST_FAILPOINT";

/// Runs in a process of its own: appends until it is aborted at the failpoint, or up to 30 records.
#[test]
fn child_that_dies_at_a_failpoint() {
    let (Ok(dir), Ok(spec)) = (std::env::var(DIR), std::env::var(FAILPOINT)) else { return };
    let (name, nth) = spec.split_once('@').unwrap();
    let (name, left) = (name.to_owned(), AtomicU64::new(nth.parse().unwrap()));
    let failpoint = move |at: &'static str| {
        if at == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    };
    let dir = Path::new(&dir);
    let setup = Setup {
        acked_file: Some(dir.join("acked")),
        failpoint: Some(Arc::new(failpoint)),
        ..Setup::default()
    };
    let (journal, recovery, durable) = setup.open(dir).unwrap();
    for seq in recovery.next_seq..recovery.next_seq + 30 {
        let (draft, blobs) = draft(seq);
        journal.append(draft, blobs).unwrap();
        if seq % 3 == 2 {
            durable.wait_for(seq + 1).unwrap();
        }
    }
}

/// Runs in a process of its own whose files may not grow beyond a few KiB.
#[test]
fn child_whose_disk_is_full() {
    let (Ok(dir), Err(_)) = (std::env::var(DIR), std::env::var(FAILPOINT)) else { return };
    let dir = Path::new(&dir);
    let setup = Setup { acked_file: Some(dir.join("acked")), segment_bytes: u64::MAX, ..Setup::default() };
    let (journal, _, durable) = setup.open(dir).unwrap();
    let reason = (0..1000).find_map(|seq| {
        let (draft, blobs) = draft(seq);
        journal.append(draft, blobs).err().map(|e| e.to_string()).or_else(|| durable.wait_for(seq + 1).err())
    });
    let reason = reason.expect("the limit did not hold");
    assert!(reason.contains("journal.jsonl") && reason.contains("until it is opened again"), "{reason}");
    let again = journal.append(draft(durable.count()).0, vec![]).unwrap_err().to_string();
    assert_eq!(again, reason, "the reason changed");
    assert!(journal.close().is_err());
}

fn run_child(dir: &Path, test: &str, failpoint: Option<&str>, wrapper: &[&str]) -> ExitStatus {
    let exe = std::env::current_exe().unwrap();
    let mut words: Vec<&str> = wrapper.to_vec();
    words.extend([exe.to_str().unwrap(), "--exact", test, "--nocapture", "--test-threads=1"]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(DIR, dir).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(failpoint) = failpoint {
        command.env(FAILPOINT, failpoint);
    }
    command.status().unwrap()
}

/// Opens after a crash; everything reported durable must be there, with its blobs, and the log must go on.
fn check_nothing_lost(dir: &Path) -> u64 {
    let acked: u64 = std::fs::read_to_string(dir.join("acked")).map_or(0, |text| text.parse().unwrap_or(0));
    let (journal, recovery, durable) = open(dir);
    assert!(recovery.next_seq >= acked, "{acked} were reported, {} are there", recovery.next_seq);
    let entries: Vec<_> = Reader::open(dir).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries.len() as u64, recovery.next_seq);
    for entry in entries {
        let seq = entry.seq;
        assert_eq!(entry.record().unwrap().body["n"], seq);
        if seq % 3 == 1 {
            assert_eq!(journal.blobs().get(&Hash::of(&blob(seq))).unwrap(), Some(blob(seq)));
        }
    }
    append(&journal, &durable, recovery.next_seq);
    journal.close().unwrap();
    let report = verify(dir, true).unwrap();
    assert!(report.ok, "{report:?}");
    recovery.next_seq + 1
}

#[test]
fn no_reported_record_is_lost_wherever_the_process_dies() {
    for name in FAILPOINTS {
        let dir = tempfile::tempdir().unwrap();
        for nth in [1, 2, 4] {
            let spec = format!("{name}@{nth}");
            let status = run_child(dir.path(), "crash::child_that_dies_at_a_failpoint", Some(&spec), &[]);
            assert!(nth > 1 || !status.success(), "{name} was never passed");
            check_nothing_lost(dir.path());
        }
    }
}

#[test]
fn a_full_disk_poisons_the_journal_and_loses_nothing_reported() {
    let dir = tempfile::tempdir().unwrap();
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""];
    let status = run_child(dir.path(), "crash::child_whose_disk_is_full", None, &limited);
    assert!(status.success(), "{status}");
    assert!(check_nothing_lost(dir.path()) > 5);
}
