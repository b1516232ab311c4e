//! Any harm done to a log is found and located.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use ostk_journal::{Reader, verify};
use proptest::prelude::*;

use crate::fixture::{copy_dir, fill};

const RECORDS: u64 = 70;

static SOUND: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), RECORDS);
    assert!(verify(dir.path(), true).unwrap().ok);
    dir
});

#[derive(Debug, Clone)]
enum Harm {
    Flip(u8),
    Drop,
    Duplicate,
    Swap,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (0..8u8).prop_map(|bit| Harm::Flip(1 << bit)),
        Just(Harm::Drop),
        Just(Harm::Duplicate),
        Just(Harm::Swap)
    ]
}

/// Does `harm` to the file of record `seq`; returns the file.
fn damage(dir: &Path, seq: u64, at: usize, harm: &Harm) -> PathBuf {
    let entry = Reader::open_at(dir, seq).unwrap().next().unwrap().unwrap();
    let mut lines: Vec<Vec<u8>> =
        fs::read(&entry.file).unwrap().split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let first = Reader::open(dir).unwrap().map(Result::unwrap).find(|e| e.file == entry.file).unwrap().seq;
    let n = usize::try_from(seq - first).unwrap();
    match harm {
        Harm::Flip(mask) => {
            let at = at % lines[n].len();
            lines[n][at] ^= mask;
        }
        Harm::Drop => drop(lines.remove(n)),
        Harm::Duplicate => lines.insert(n, lines[n].clone()),
        Harm::Swap if n + 1 < lines.len() => lines.swap(n, n + 1),
        Harm::Swap => lines[n].reverse(),
    }
    fs::write(&entry.file, lines.concat()).unwrap();
    entry.file.to_path_buf()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn harm_to_any_record_is_found_and_located(seq in 0..RECORDS, at in 0..100_000usize, harm in harm()) {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(SOUND.path(), dir.path());
        damage(dir.path(), seq, at, &harm);
        prop_assert!(!verify(dir.path(), false).unwrap().ok, "not found by the chain");
        let report = verify(dir.path(), true).unwrap();
        let first = report.problems.iter().find_map(|p| p.seq);
        // A record that is gone at the very end shows at the checkpoint only; a copy shows after the original.
        let end = seq == RECORDS - 1 && matches!(harm, Harm::Drop);
        prop_assert!(end || first == Some(seq) || first == Some(seq + 1), "{:?}", report.problems);
    }

    #[test]
    fn harm_to_any_file_is_found(which in 0..1000usize, at in 0..1_000_000usize, bit in 0..8u8, truncate: bool) {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(SOUND.path(), dir.path());
        let files = files(dir.path());
        let file = &files[which % files.len()];
        let mut bytes = fs::read(file).unwrap();
        let at = at % bytes.len();
        if truncate { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(file, bytes).unwrap();
        let report = verify(dir.path(), true).unwrap();
        prop_assert!(!report.ok, "{file:?} at {at}");
        let located = report.problems.iter().any(|p| {
            let next = files.iter().position(|f| f == file).and_then(|n| files.get(n + 1));
            p.file == *file || Some(&p.file) == next || p.file.ends_with("log/checkpoint")
        });
        prop_assert!(located, "{:?}", report.problems);
    }
}

/// Everything that verify answers for, in the order of the log.
fn files(dir: &Path) -> Vec<PathBuf> {
    let list = |name: &str, keep: &str| {
        let mut files: Vec<_> = fs::read_dir(dir.join(name)).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|path| path.to_str().unwrap().ends_with(keep));
        files.sort();
        files
    };
    let mut files = list("journal", ".jsonl");
    if fs::metadata(dir.join("journal.jsonl")).unwrap().len() > 0 {
        files.push(dir.join("journal.jsonl"));
    }
    files.push(dir.join("log/checkpoint"));
    files.extend(list("packs", ".pack"));
    files
}

#[test]
fn a_removed_segment_is_found() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(SOUND.path(), dir.path());
    let first = fs::read_dir(dir.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(first).unwrap();
    assert!(!verify(dir.path(), false).unwrap().ok);
}

#[test]
fn a_log_is_verified_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, durable) = crate::fixture::open(dir.path());
    std::thread::scope(|scope| {
        let checks = scope.spawn(|| {
            for n in 0..20 {
                let report = verify(dir.path(), n % 2 == 0).unwrap();
                assert!(report.ok, "{report:?}");
            }
        });
        for seq in 0..200 {
            crate::fixture::append(&journal, &durable, seq);
        }
        checks.join().unwrap();
    });
}

#[test]
fn a_report_can_be_written_as_json() {
    let report = serde_json::to_value(verify(SOUND.path(), false).unwrap()).unwrap();
    assert_eq!((&report["ok"], &report["records"]), (&true.into(), &RECORDS.into()));
}
