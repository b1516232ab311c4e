//! Snapshots of the folded state, in `snapshots/<next-seq>.json`: they shorten a start and are never the truth.
//!
//! A snapshot is two lines: a header, signed by the instance's key, and the state. One is taken only if this very build
//! wrote it, its signature and digest hold, and the log's record before it has the digest that it names; otherwise the
//! log is folded from its first record. Written by the host while it runs and when it stops, read at the start.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use ostk_journal::Reader;
use ostk_kernel::State;
use ostk_log::{Hash, KeyId, Signer, decode_hex, encode_hex};
use serde::{Deserialize, Serialize};

/// A running daemon takes a snapshot after so many records: a third of a second's work to fold.
const EVERY: u64 = 100_000;
/// A daemon that stops takes none for fewer records: they fold in the time that a snapshot takes to read.
const AT_LEAST: u64 = 1_000;
/// Snapshots kept: the newest, and one in case it was torn.
const KEPT: usize = 2;

/// What the first line says.
#[derive(Serialize, Deserialize)]
struct Header {
    /// Which build wrote it: another may fold differently.
    build: String,
    /// The first record that is not in the state.
    next_seq: u64,
    /// Digest of the record before.
    head: Hash,
    /// Digest of the second line.
    state: Hash,
    key: KeyId,
    sig: String,
}

impl Header {
    fn message(&self) -> Vec<u8> {
        let Self { build, next_seq, head, state, .. } = self;
        format!("ostk snapshot\n{build}\n{next_seq}\n{head}\n{state}\n").into_bytes()
    }
}

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

/// Writes a snapshot of a state whose records are durable, and removes old ones.
fn save(state_dir: &Path, signer: &dyn Signer, state: &State) -> io::Result<()> {
    let dir = state_dir.join("snapshots");
    fs::create_dir_all(&dir)?;
    let bytes = serde_json::to_vec(state)?;
    let head = head_before(state_dir, state.next_seq).map_err(io::Error::other)?;
    let (build, next_seq) = (build()?, state.next_seq);
    let (state, key) = (Hash::of(&bytes), *signer.key_id());
    let mut header = Header { build, next_seq, head, state, key, sig: String::new() };
    header.sig = encode_hex(&signer.sign(&header.message()));
    let mut text = serde_json::to_vec(&header)?;
    text.push(b'\n');
    text.extend(bytes);
    // A snapshot that a crash tears does not have the digest that it names, so nothing is synced.
    let draft = dir.join("draft");
    fs::write(&draft, text)?;
    fs::rename(draft, dir.join(name(next_seq)))?;
    for (_, old) in listed(&dir)?.into_iter().rev().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(())
}

/// The state of the newest snapshot that fits the log, which has `records`; an empty one if there is none.
pub(crate) fn load(state_dir: &Path, signer: &dyn Signer, records: u64) -> State {
    for (seq, path) in listed(&state_dir.join("snapshots")).unwrap_or_default().into_iter().rev() {
        match read(state_dir, &path, signer.key_id()) {
            Ok(state) if seq <= records => return state,
            Ok(_) => {}
            Err(why) => say(&format!("{} is left out: {why}", path.display())),
        }
    }
    State::default()
}

fn read(state_dir: &Path, path: &Path, key: &KeyId) -> Result<State, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let end = text.iter().position(|byte| *byte == b'\n').ok_or("it has no header")?;
    let (first, second) = (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default());
    let header: Header = serde_json::from_slice(first).map_err(|error| error.to_string())?;
    if header.build != build().map_err(|error| error.to_string())? {
        return Err("another build wrote it".to_owned());
    }
    let sig = decode_hex(header.sig.as_bytes()).ok_or("its signature is malformed")?;
    if header.key != *key || key.verify(&header.message(), &sig).is_err() {
        return Err("it is not signed by this instance's key".to_owned());
    }
    if Hash::of(second) != header.state {
        return Err("its state was changed".to_owned());
    }
    if head_before(state_dir, header.next_seq)? != header.head {
        return Err("it is of another log".to_owned());
    }
    let state: State = serde_json::from_slice(second).map_err(|error| error.to_string())?;
    debug_assert_eq!(state.next_seq, header.next_seq, "both were written at once");
    Ok(state)
}

/// Digest of the record before `seq`.
fn head_before(state_dir: &Path, seq: u64) -> Result<Hash, String> {
    let last = seq.checked_sub(1).ok_or("it is of no record")?;
    let mut reader = Reader::open_at(state_dir, last).map_err(|error| error.to_string())?;
    match reader.next() {
        Some(Ok(entry)) if entry.seq == last => Ok(entry.hash),
        Some(Err(error)) => Err(error.to_string()),
        _ => Err(format!("the log has no record {last}")),
    }
}

/// This build: its version, and size and time of the program.
fn build() -> io::Result<String> {
    let program = fs::metadata(std::env::current_exe()?)?;
    let since = program.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} {} {}", env!("CARGO_PKG_VERSION"), program.len(), since.as_nanos()))
}

fn name(seq: u64) -> String {
    format!("{seq:020}.json")
}

/// The snapshots by their number, oldest first.
fn listed(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        found.extend(stem.and_then(|stem| stem.parse().ok()).map(|seq| (seq, path)));
    }
    found.sort();
    Ok(found)
}

/// To the daemon's log.
fn say(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{text}");
}
