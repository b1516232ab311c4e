//! `docs/verify.py`, which shares no code with this crate, must agree with it; and the checked-in log of version 1
//! must stay readable to both.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ostk_log::{ChainVerifier, Checkpoint, Depth, Hash, SignedCheckpoint, Signer, VerifierKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{TestSigner, journal};

const ORIGIN: &str = "example.org/ostk/fixture";
const COUNT: u64 = 12;
/// Records of the closed segments; the rest is live.
const CLOSED: [(u64, u64); 2] = [(0, 5), (5, 10)];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-v1")
}

fn joined(lines: &[Vec<u8>], range: (u64, u64)) -> Vec<u8> {
    lines[range.0 as usize..range.1 as usize]
        .iter()
        .flat_map(|line| [line.as_slice(), b"\n"].concat())
        .collect()
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    [format!("blob {} {}\n", Hash::of(bytes), bytes.len()).as_bytes(), bytes, b"\n"].concat()
}

/// Every file of the test log, by its path below the log's folder.
fn files() -> Vec<(String, Vec<u8>)> {
    let lines = journal(COUNT);
    let mut verifier = ChainVerifier::new(Depth::Chain);
    for line in &lines {
        assert_eq!(verifier.push(0, &[line.as_slice(), b"\n"].concat()), []);
    }
    let tree = &verifier.tip().tree;
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
    let mut files: Vec<_> =
        CLOSED.map(|range| (format!("journal/{:020}.jsonl", range.0), joined(&lines, range))).into();
    files.push(("journal.jsonl".into(), joined(&lines, (10, COUNT))));
    files.push(("log/checkpoint".into(), checkpoint.sign(&TestSigner::new(7)).unwrap().into_bytes()));
    files.push((
        "packs/000000.pack".into(),
        [blob(b"fn main() {}\n"), blob(b""), blob(b"\n\xff blob\n")].concat(),
    ));
    files
}

fn write(files: &[(String, Vec<u8>)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

/// Exit status and report of the stand-alone verifier.
fn verify_py(dir: &Path, flags: &[&str]) -> (Option<i32>, Value) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify.py");
    let run = Command::new("python3").arg(script).arg(dir).arg("--json").args(flags).output();
    let run = run.expect("these tests need python3");
    let report = serde_json::from_slice(&run.stdout);
    (run.status.code(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&run.stderr))))
}

#[test]
fn the_log_of_version_1_is_still_what_we_write() {
    for (path, bytes) in files() {
        let stored = fs::read(fixture().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(
            stored == bytes,
            "{path} differs: a change of format needs a new version and a fixture of its own"
        );
    }
}

#[test]
fn the_log_of_version_1_is_read_in_full() {
    let mut verifier = ChainVerifier::new(Depth::Signatures);
    for path in ["journal/00000000000000000000.jsonl", "journal/00000000000000000005.jsonl", "journal.jsonl"]
    {
        let bytes = fs::read(fixture().join(path)).unwrap();
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            assert_eq!(verifier.push(0, line), [], "{path}");
        }
    }
    let note = fs::read(fixture().join("log/checkpoint")).unwrap();
    let key = VerifierKey::new(ORIGIN, *verifier.last_key().unwrap()).unwrap();
    let signed = SignedCheckpoint::parse(&note).unwrap();
    assert_eq!(verifier.finish(0, signed.verify(&key).unwrap()), None);
    assert_eq!(verifier.tip().next_seq, COUNT);
}

#[test]
fn the_standalone_verifier_accepts_a_good_log() {
    let key = TestSigner::new(7).key_id().to_string();
    for flags in [&[][..], &["--deep"], &["--deep", "--key", &key]] {
        let (status, report) = verify_py(&fixture(), flags);
        assert_eq!((status, &report["ok"]), (Some(0), &json!(true)), "{report}");
        assert_eq!((&report["records"], &report["blobs"]), (&json!(COUNT), &json!(3)));
        assert_eq!(report["keys"], json!([key]));
    }
    let (status, report) = verify_py(&fixture(), &["--key", &TestSigner::new(8).key_id().to_string()]);
    assert_eq!((status, &report["problem_count"]), (Some(1), &json!(COUNT)));
}

#[test]
fn the_standalone_verifier_finds_each_kind_of_damage_where_it_is() {
    let line = |seq: u64| journal(COUNT)[seq as usize].len() as u64 + 1;
    let signature = journal(COUNT)[10].len() - 3;
    // The file, what is done to it, the flags, and where the first problem must be reported.
    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    type Case = (&'static str, Damage, &'static [&'static str], &'static str, u64);
    let flip = |at: usize| -> Damage { Box::new(move |bytes| bytes[at] ^= 1) };
    let cases: Vec<Case> = vec![
        ("journal.jsonl", flip(100), &[], "journal.jsonl", line(10)),
        ("journal.jsonl", flip(2), &[], "journal.jsonl", 0),
        ("journal.jsonl", flip(100), &["--deep"], "journal.jsonl", 0),
        ("journal.jsonl", flip(signature), &["--deep"], "journal.jsonl", 0),
        ("journal.jsonl", Box::new(|bytes| bytes.truncate(bytes.len() - 1)), &[], "journal.jsonl", line(10)),
        ("journal.jsonl", Box::new(Vec::clear), &[], "log/checkpoint", 0),
        ("journal/00000000000000000005.jsonl", Box::new(Vec::clear), &[], "journal.jsonl", 0),
        ("journal/00000000000000000000.jsonl", flip(141), &[], "journal/00000000000000000000.jsonl", line(0)),
        ("log/checkpoint", flip(30), &[], "log/checkpoint", 0),
        ("log/checkpoint", flip(150), &[], "log/checkpoint", 0),
        ("packs/000000.pack", flip(80), &[], "packs/000000.pack", 0),
        (
            "packs/000000.pack",
            Box::new(|bytes| bytes.truncate(bytes.len() - 1)),
            &[],
            "packs/000000.pack",
            87 + 73,
        ),
    ];
    for (file, damage, flags, found, offset) in cases {
        let mut files = files();
        damage(&mut files.iter_mut().find(|(path, _)| path == file).unwrap().1);
        let dir = write(&files);
        let (status, report) = verify_py(dir.path(), flags);
        assert_eq!(status, Some(1), "{file} {flags:?}: {report}");
        let first = &report["problems"][0];
        let expected = dir.path().join(found);
        assert_eq!(
            (&first["file"], &first["offset"]),
            (&json!(expected), &json!(offset)),
            "{file} {flags:?}: {first}"
        );
    }
}

#[test]
fn the_standalone_verifier_reports_in_words_and_needs_a_checkpoint() {
    let mut files = files();
    files.retain(|(path, _)| path != "log/checkpoint");
    let dir = write(&files);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify.py");
    let run = Command::new("python3").arg(script).arg(dir.path()).output().expect("these tests need python3");
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(text.contains("log/checkpoint:0: no readable checkpoint"), "{text}");
    assert!(text.contains("12 records, 3 blobs"), "{text}");
}
