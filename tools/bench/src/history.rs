//! A log of 200,000 records, checked and replayed as `ostk audit verify` and a starting daemon do.
//!
//! What is replayed comes from a kernel in memory in which agents read and edit files; the journal signs and writes it
//! without its blobs. The log is read from the disk's cache: what is measured is parsing, hashing and folding.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use ostk_journal::{Journal, Options, Reader, verify as verify_log};
use ostk_kernel::{State, fold_line};
use ostk_keys::KeyStore;
use ostk_log::{Draft, Hash, Header, Record, SignatureBatch};
use serde_json::json;

use crate::{
    figure::{Figure, seconds},
    log,
    memory::Memory,
};

const RECORDS: usize = 200_000;
/// Records whose signatures are checked.
const SIGNED: usize = 10_240;
/// Signatures checked together, as `ostk audit verify --deep` does.
const BATCH: usize = 512;
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

/// Replaying the log of a kernel: read, parse and fold, as a daemon does when it starts without a snapshot.
pub(crate) fn replay(dir: &Path) -> Result<Vec<Figure>> {
    let memory = lived()?;
    let log = write(dir, memory.drafts.iter().cloned())?;
    let live = memory.kernel.state().hash();
    let (mut rates, mut restarts) = (Vec::new(), Vec::new());
    let snapshot = serde_json::to_vec(memory.kernel.state())?;
    for _ in 0..ROUNDS {
        let (took, state) = seconds(|| replayed(&log));
        let state = state?;
        ensure!(state.hash() == live, "the replayed state is not the live one");
        rates.push(state.next_seq as f64 / took);
        let (took, state) = seconds(|| (Hash::of(&snapshot), serde_json::from_slice::<State>(&snapshot)));
        ensure!(state.1?.hash() == live && state.0 == live, "the state in the snapshot is not the live one");
        restarts.push(took * 1e3);
    }
    let million = rates.iter().map(|rate| 1e6 / rate).collect();
    Ok(vec![
        Figure::low("the state of 200,000 records from a snapshot", "ms", restarts),
        Figure::high("read, parse and fold 200,000 records", "records/s", rates),
        Figure::low("a million records at that rate", "s", million).median(5.0),
    ])
}

fn replayed(log: &Path) -> Result<State> {
    let mut state = State::default();
    for entry in Reader::open(log)? {
        fold_line(&mut state, &entry?.line)?;
    }
    Ok(state)
}

/// Signs the records and writes them into `dir`; the place of the log.
fn write(dir: &Path, drafts: impl Iterator<Item = Draft>) -> Result<PathBuf> {
    let log = dir.join("log");
    let key = KeyStore::open(dir.join("keys"))?.instance_key()?;
    let options = Options::new(Arc::new(key), "example.org/ostk/bench", Box::new(|_| ()));
    let (journal, _) = Journal::open(&log, options)?;
    for draft in drafts {
        journal.append_relaxed(draft, Vec::new())?;
    }
    journal.close()?;
    Ok(log)
}

/// A kernel that has left [`RECORDS`] records behind.
fn lived() -> Result<Memory> {
    let mut memory = Memory::new()?;
    for file in 0..FILES {
        let text: String = (0..50).map(|line| format!("line {line}\n")).collect();
        memory.put(&format!("src/file{file}.rs"), &text);
    }
    let mut round = 0;
    while memory.drafts.len() < RECORDS {
        work(&mut memory, round)?;
        round += 1;
    }
    Ok(memory)
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
