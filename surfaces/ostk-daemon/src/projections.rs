//! Work as files that `jq` and `grep` read: `needles/issues.jsonl`, `hay.jsonl` and `decisions.jsonl` under `.ostk/`
//! (specification, section 3).
//!
//! They are written from the folded state some time after it changed and are never read: who deletes or edits one loses
//! nothing, and the next change brings it back. Each is replaced by rename, so that a reader sees the whole of one state.
//! The host calls it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ostk_kernel::{Board, decision_rows, hay_rows, needle_row};
use serde_json::Value;

/// How long changes are gathered before the files are written: a person who looks sees them as at once.
const GATHERED: Duration = Duration::from_millis(250);

/// Keeps the files as the board is.
pub(crate) struct Projections {
    state_dir: PathBuf,
    /// The change that the files hold; none if they were not written yet.
    written: Option<u64>,
    /// When a change that they do not hold was first seen.
    since: Option<Instant>,
    writing: Option<thread::JoinHandle<()>>,
}

impl Projections {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), written: None, since: None, writing: None }
    }

    /// Writes the files if it is time to; leaves the writing to a thread.
    pub(crate) fn look(&mut self, board: &Board, now: Instant) {
        if board.is_empty() || self.written == Some(board.changed) {
            return;
        }
        let since = *self.since.get_or_insert(now);
        let busy = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if busy || now.duration_since(since) < GATHERED {
            return;
        }
        (self.written, self.since) = (Some(board.changed), None);
        let (state_dir, board) = (self.state_dir.clone(), board.clone());
        let builder = thread::Builder::new().name("ostk-projections".to_owned());
        // Without a thread the files are old until the next change.
        self.writing = builder.spawn(move || report(&state_dir, write(&state_dir, &board))).ok();
    }

    /// How long the host may sleep before it looks again, if there is something to write.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.since.map(|since| GATHERED.saturating_sub(since.elapsed()).max(Duration::from_millis(10)))
    }

    /// The daemon stops: the files are left as the board is.
    pub(crate) fn stopped(&mut self, board: &Board) {
        if let Some(writing) = self.writing.take() {
            // What went wrong it has said itself.
            let _ = writing.join();
        }
        if !board.is_empty() && self.written != Some(board.changed) {
            report(&self.state_dir, write(&self.state_dir, board));
        }
    }
}

fn report(state_dir: &Path, written: io::Result<()>) {
    if let Err(error) = written {
        let what = format!("the files of the work in {} are old: {error}", state_dir.display());
        // Nobody may be listening.
        let _ = writeln!(io::stderr(), "{what}");
    }
}

fn write(state_dir: &Path, board: &Board) -> io::Result<()> {
    let needles: Vec<Value> = board.needles.keys().map(|id| needle_row(board, *id)).collect();
    fs::create_dir_all(state_dir.join("needles"))?;
    replace(&state_dir.join("needles/issues.jsonl"), &needles)?;
    replace(&state_dir.join("hay.jsonl"), &hay_rows(board))?;
    replace(&state_dir.join("decisions.jsonl"), &decision_rows(board))
}

/// Puts a file with one line for each row in place of another.
fn replace(path: &Path, rows: &[Value]) -> io::Result<()> {
    let mut text = String::new();
    for row in rows {
        let members = row.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let row: serde_json::Map<String, Value> =
            members.map(|(name, value)| (name.clone(), value.clone())).collect();
        text.push_str(&Value::Object(row).to_string());
        text.push('\n');
    }
    let draft = path.with_extension("draft");
    fs::write(&draft, text)?;
    fs::rename(draft, path)
}
