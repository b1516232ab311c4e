//! Logs of 200,000 and a million records, checked and replayed as `ostk audit verify` and a starting daemon do.
//!
//! What is replayed comes from a kernel in memory in which agents read and edit files; the journal signs and writes it.
//! The log is read from the disk's cache: what is measured is parsing, hashing and folding.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use ostk_journal::{Journal, Options, Reader, verify as verify_log};
use ostk_kernel::{Seen, State};
use ostk_keys::KeyStore;
use ostk_log::{Draft, Hash, Header, Record, SignatureBatch};
use serde_json::json;

use crate::{
    daemon::Daemon,
    figure::{Figure, seconds},
    log,
    memory::Memory,
};

const RECORDS: usize = 200_000;
/// Records whose signatures are checked.
const SIGNED: usize = 10_240;
/// Signatures checked together, as `ostk audit verify --deep` does.
const BATCH: usize = 512;
/// Records that are replayed.
const LIVED: u64 = 1_000_000;
const ROUNDS: usize = 5;
const FILES: usize = 200;
const AGENTS: usize = 16;

/// Checking a log whose records name no blobs: chain and tree of all of it, signatures of a part on one core.
pub(crate) fn verify(dir: &Path) -> Result<Vec<Figure>> {
    let log = write(dir, (0..RECORDS as u64).map(log::draft))?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let (took, report) = seconds(|| verify_log(&log, false));
        let report = report?;
        ensure!(report.ok, "the log does not verify: {:?}", report.problems.first());
        rates.push(report.records as f64 / took);
    }
    Ok(vec![
        Figure::high("chain, tree and checkpoint of 200,000 records", "records/s", rates).median(500_000.0),
        Figure::high("signatures, on one core", "signatures/s", signatures(&log)?).median(30_000.0),
    ])
}

fn signatures(log: &Path) -> Result<Vec<f64>> {
    let lines = Reader::open(log)?.take(SIGNED).map(|entry| Ok(entry?.line)).collect::<Result<Vec<_>>>()?;
    let mut signatures = SignatureBatch::new();
    let mut rates = Vec::new();
    for batch in lines.chunks(BATCH) {
        let (took, refused) = seconds(|| {
            for line in batch {
                Record::parse(line)?;
                signatures.push((), &Header::scan(line)?);
            }
            anyhow::Ok(signatures.check().len())
        });
        ensure!(refused? == 0, "a signature of a log that was just written does not hold");
        rates.push(batch.len() as f64 / took);
    }
    Ok(rates)
}

/// Replaying the log of a kernel, as a daemon does when it starts without a snapshot; and such daemons themselves.
pub(crate) fn replay(dir: &Path) -> Result<Vec<Figure>> {
    let root = dir.join("million");
    let log = root.join(".ostk");
    let live = live_through_it(&root)?;
    let (mut folds, mut restarts) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (took, state) = seconds(|| replayed(&log));
        ensure!(state?.hash() == live, "the replayed state is not the live one");
        folds.push(took);
    }
    let cold = Daemon::start(&root)?;
    let first = cold.start_took().as_secs_f64();
    cold.stop()?;
    for _ in 0..ROUNDS {
        let daemon = Daemon::listen(&root)?;
        restarts.push(daemon.start_took().as_secs_f64() * 1e3);
        daemon.stop()?;
    }
    Ok(vec![
        Figure::low("read, parse and fold a million records", "s", folds).median(5.0),
        Figure::low("a daemon's first start on them", "s", vec![first]),
        Figure::low("its restart, from a snapshot", "ms", restarts).median(300.0),
    ])
}

fn replayed(log: &Path) -> Result<State> {
    let mut state = State::default();
    ostk_daemon::replay(log, &mut state)?;
    Ok(state)
}

/// Signs the records and writes them into `dir`; the place of the log.
fn write(dir: &Path, drafts: impl Iterator<Item = Draft>) -> Result<PathBuf> {
    let log = dir.join("log");
    let journal = open(&log, &dir.join("keys"), "example.org/ostk/bench")?;
    for draft in drafts {
        journal.append_relaxed(draft, Vec::new())?;
    }
    journal.close()?;
    Ok(log)
}

fn open(log: &Path, keys: &Path, origin: &str) -> Result<Journal> {
    let key = KeyStore::open(keys)?.instance_key()?;
    let options = Options::new(Arc::new(key), origin, Box::new(|_| ()));
    Ok(Journal::open(log, options)?.0)
}

/// A kernel that leaves [`LIVED`] records and its files behind in the project at `root`; the digest of its last state.
fn live_through_it(root: &Path) -> Result<Hash> {
    let keys = root.with_file_name("keys");
    let journal = open(&root.join(".ostk"), &keys, "ostk/million")?;
    let mut memory = Memory::new()?;
    for file in 0..FILES {
        let text: String = (0..50).map(|line| format!("line {line}\n")).collect();
        memory.put(&format!("src/file{file}.rs"), &text);
    }
    let mut round = 0;
    while memory.kernel.state().next_seq < LIVED {
        work(&mut memory, round)?;
        round += 1;
        for (draft, blobs) in memory.records.drain(..) {
            journal.append_relaxed(draft, blobs)?;
        }
    }
    journal.close()?;
    fs::create_dir_all(root.join("src"))?;
    for (path, seen) in &memory.files {
        if let Seen::File { bytes, .. } = seen {
            fs::write(root.join(path), bytes)?;
        }
    }
    Ok(memory.kernel.state().hash())
}

/// An agent reads a file and changes a line of it.
fn work(memory: &mut Memory, round: usize) -> Result<()> {
    let (agent, path) = (format!("worker-{}", round % AGENTS), format!("src/file{}.rs", round % FILES));
    memory.call(&agent, "file.read", json!({ "path": path })).context("a read")?;
    let (line, times) = (round / FILES % 50, round / FILES / 50);
    let name = |times: usize| match times {
        0 => format!("line {line}\n"),
        _ => format!("line {line} changed {times} times\n"),
    };
    let edit = json!({ "path": path, "old": name(times), "new": name(times + 1) });
    memory.call(&agent, "file.edit", edit).context("an edit")?;
    Ok(())
}
