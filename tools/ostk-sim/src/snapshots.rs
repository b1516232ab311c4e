//! Snapshots in the simulator: the daemon takes one every few records, as the real one does every 100,000, and between
//! two daemons somebody meddles with them. A start from one must come to the state that the whole log comes to.

use std::{
    io,
    path::{Path, PathBuf},
};

use ostk_disk::fs;
use ostk_journal::{Options, Reader, Snapshots, SteppedJournal};
use ostk_kernel::{State, fold, fold_line};
use ostk_log::Draft;
use serde_json::json;

use crate::{
    daemon::{STATE_DIR, signer},
    world::World,
};

/// A daemon takes a snapshot after so many records, so that most lives have one.
const EVERY: u64 = 15;
/// Records of a log that somebody copies at most: more would make a run slow.
const MAX_COPIED: u64 = 120;

/// Takes the snapshots of a running daemon.
#[derive(Default)]
pub(crate) struct Taking {
    newest: u64,
    /// A state whose records are not all durable yet.
    waiting: Option<State>,
}

impl Taking {
    pub(crate) fn from(newest: u64) -> Self {
        Self { newest, waiting: None }
    }

    /// So many records are durable.
    pub(crate) fn durable(&mut self, build: &str, count: u64, state: &State) {
        if self.waiting.is_none() && state.next_seq >= self.newest + EVERY {
            self.newest = state.next_seq;
            self.waiting = Some(state.clone());
        }
        if let Some(state) = self.waiting.take_if(|state| state.next_seq <= count) {
            // Without it the next start takes longer.
            let _ = save(build, &state);
        }
    }
}

fn save(build: &str, state: &State) -> io::Result<()> {
    let signer = signer();
    let snapshots = Snapshots { state_dir: Path::new(STATE_DIR), signer: &*signer, build };
    snapshots.save(state.next_seq, &serde_json::to_vec(state)?)
}

/// The state of the newest snapshot that fits the log, with the records that follow it; `None` if there is none.
pub(crate) fn resume(build: &str, records: u64) -> Result<Option<(u64, State)>, String> {
    let (signer, dir) = (signer(), Path::new(STATE_DIR));
    let parse = |bytes: &[u8]| serde_json::from_slice::<State>(bytes).map_err(|error| error.to_string());
    let snapshots = Snapshots { state_dir: dir, signer: &*signer, build };
    let Some(mut state) = snapshots.newest(records, parse, |_, _| {}) else { return Ok(None) };
    let newest = state.next_seq;
    for entry in Reader::open_at(dir, newest).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        fold_line(&mut state, &entry.line).map_err(|error| error.to_string())?;
    }
    Ok(Some((newest, state)))
}

/// Where the copy of the project is.
const COPY: &str = "/sim/copy/.ostk";

/// The file of a snapshot of a log with these records, and where it belongs.
fn snapshot_of(drafts: &[Draft], build: &str) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let (dir, signer) = (Path::new(COPY), signer());
    fs::create_dir_all(dir)?;
    let options = Options::new(signer.clone(), "ostk/sim", Box::new(|_| {}));
    let (mut journal, _) = SteppedJournal::open(dir, options).map_err(io::Error::other)?;
    let mut state = State::default();
    for draft in drafts {
        if fold(&mut state, draft).is_err() {
            return Ok(None);
        }
        journal.journal().append(draft.clone(), Vec::new()).map_err(io::Error::other)?;
    }
    journal.step(usize::MAX, true);
    journal.close();
    let snapshots = Snapshots { state_dir: dir, signer: &*signer, build };
    snapshots.save(state.next_seq, &serde_json::to_vec(&state)?)?;
    let name = format!("snapshots/{:020}.json", state.next_seq);
    let bytes = fs::read(dir.join(&name))?;
    fs::remove_dir_all(dir)?;
    Ok(Some((Path::new(STATE_DIR).join(name), bytes)))
}

impl World {
    /// Somebody has copied the project and works in the copy: from here on it has another log, with the same key.
    pub(crate) fn copy_the_project(&mut self, history: &[Draft], durable: u64) {
        if !self.features.snapshots || self.copied.is_some() || !(2..MAX_COPIED).contains(&durable) {
            return;
        }
        self.doom.revive();
        let shared = usize::try_from(durable - 1).unwrap_or(usize::MAX);
        let mut drafts: Vec<Draft> = history.iter().take(shared + 1).cloned().collect();
        if let Some(last) = drafts.last_mut() {
            (last.actor, last.event) = ("kernel".to_owned(), "anchor.stopped".to_owned());
            last.body = [("reason".to_owned(), json!("a copy"))].into_iter().collect();
        }
        self.copied = snapshot_of(&drafts, &self.setup.build).ok().flatten();
    }

    /// Somebody meddles with the snapshots before a daemon starts.
    pub(crate) fn meddle(&mut self) {
        if !self.features.snapshots || self.calm || !self.rng.chance(40) {
            return;
        }
        let dir = Path::new(STATE_DIR).join("snapshots");
        let mut all: Vec<PathBuf> =
            fs::names(&dir).unwrap_or_default().iter().map(|name| dir.join(name)).collect();
        all.sort();
        let done = match (self.rng.below(6), all.as_slice(), self.copied.take()) {
            (0..=1, _, Some((path, bytes))) => {
                fs::write(path, bytes).map(|()| "of a copy with a log of its own")
            }
            (2, [.., newest], _) => self.tear(newest).map(|()| "torn"),
            (3, [.., old, newest], _) => {
                fs::rename(old, newest).map(|()| "an older one in the place of a newer")
            }
            (4, [.., newest], _) => fs::remove_file(newest).map(|()| "removed"),
            (5, ..) => {
                self.setup.build = format!("sim {}", self.rng.below(3));
                Ok("of another build")
            }
            _ => {
                self.disk.rot(&dir.to_string_lossy());
                Ok("with a bit turned")
            }
        };
        match done {
            Ok(what) => self.counts.one(&format!("snapshots {what}")),
            Err(error) => self.note(format_args!("the snapshots: {error}")),
        }
    }

    fn tear(&mut self, path: &Path) -> io::Result<()> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        file.set_len(self.rng.below(size.max(1)) as u64)
    }
}
