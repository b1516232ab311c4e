//! When the daemon takes a snapshot of its state, and how it reads one: `ostk_journal::Snapshots` writes the files and
//! says which of them fits the log.
//!
//! Written by the host while it runs and when it stops, read at the start.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use ostk_journal::Snapshots as Files;
use ostk_kernel::State;
use ostk_log::Signer;

/// A running daemon takes a snapshot after so many records: a third of a second's work to fold.
const EVERY: u64 = 100_000;
/// A daemon that stops takes none for fewer records: they fold in the time that a snapshot takes to read.
const AT_LEAST: u64 = 1_000;

/// Takes snapshots of a running kernel's state.
pub(crate) struct Snapshots {
    state_dir: PathBuf,
    signer: Arc<dyn Signer>,
    /// Where the newest snapshot stands.
    newest: u64,
    /// A state whose records are not all durable yet.
    waiting: Option<State>,
    /// The thread that wrote or writes the newest.
    writing: Option<thread::JoinHandle<()>>,
}

impl Snapshots {
    /// `newest` is the sequence number of the snapshot from which the state was read, or 0.
    pub(crate) fn new(state_dir: &Path, signer: Arc<dyn Signer>, newest: u64) -> Self {
        Self { state_dir: state_dir.to_owned(), signer, newest, waiting: None, writing: None }
    }

    /// So many records are durable: takes a snapshot if it is time to. Writing it is left to a thread.
    pub(crate) fn durable(&mut self, count: u64, state: &State) {
        if self.waiting.is_none() && state.next_seq >= self.newest + EVERY {
            self.newest = state.next_seq;
            self.waiting = Some(state.clone());
        }
        if let Some(state) = self.waiting.take_if(|state| state.next_seq <= count) {
            let (state_dir, signer) = (self.state_dir.clone(), Arc::clone(&self.signer));
            // Without a thread there is no snapshot, and nothing is lost but time at the next start.
            let builder = thread::Builder::new().name("ostk-snapshot".to_owned());
            let save = move || report(&state_dir, save(&state_dir, &*signer, &state));
            self.writing = builder.spawn(save).ok();
        }
    }

    /// The daemon stops and everything is durable. A snapshot that is being written is finished: without it the next
    /// start would read the whole log.
    pub(crate) fn stopped(&mut self, state: &State) {
        if let Some(writing) = self.writing.take() {
            // What went wrong it has said itself.
            let _ = writing.join();
        }
        if state.next_seq >= self.newest + AT_LEAST {
            report(&self.state_dir, save(&self.state_dir, &*self.signer, state));
        }
    }
}

fn report(state_dir: &Path, saved: io::Result<()>) {
    if let Err(error) = saved {
        say(&format!("no snapshot in {}: {error}; the next start takes longer", state_dir.display()));
    }
}

/// Writes a snapshot of a state whose records are durable.
fn save(state_dir: &Path, signer: &dyn Signer, state: &State) -> io::Result<()> {
    let files = Files { state_dir, signer, build: &build()? };
    files.save(state.next_seq, &serde_json::to_vec(state)?)
}

/// The state of the newest snapshot that fits the log, which has `records`; an empty one if there is none.
pub(crate) fn load(state_dir: &Path, signer: &dyn Signer, records: u64) -> State {
    let Ok(build) = build() else { return State::default() };
    let parse = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|error| error.to_string());
    let left_out = |path: &Path, why: &str| say(&format!("{} is left out: {why}", path.display()));
    Files { state_dir, signer, build: &build }.newest(records, parse, left_out).unwrap_or_default()
}

/// This build: its version, and size and time of the program.
fn build() -> io::Result<String> {
    let program = fs::metadata(std::env::current_exe()?)?;
    let since = program.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} {} {}", env!("CARGO_PKG_VERSION"), program.len(), since.as_nanos()))
}

/// To the daemon's log.
fn say(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{text}");
}
