//! What was asked and what was answered: the clients' own account, kept apart from the kernel's.
//!
//! A client writes one [`Deed`] for each call that may change something. Lines that the run makes up are unique in the
//! whole run, so the checker can tell whose each line is and how often it should be there.

use serde::{Deserialize, Serialize};

/// A line in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Line {
    /// Workspace path.
    pub path: String,
    /// The line without its end.
    pub text: String,
}

/// What the daemon answered in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done, by this intent if it was a write.
    Done(Option<u64>),
    /// It was refused, with this code: it may have had no effect.
    Refused(String),
    /// Nobody can know: a command interrupted by a restart, or no answer by the deadline.
    Unknown(String),
}

/// One call.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Idempotency key; unique in the run.
    pub key: String,
    /// Who asked.
    pub who: String,
    /// Which call; `outside` for an edit behind the daemon's back.
    pub verb: String,
    /// Lines that it shall add.
    pub adds: Vec<Line>,
    /// Lines that it shall remove.
    pub removes: Vec<Line>,
    /// The answer.
    pub answer: Answer,
}

/// The first word of every line that the run makes up; nothing else contains it.
pub(crate) const MARK: &str = "//torture";

/// The line numbered `number` of `who`.
pub(crate) fn marker(who: &str, number: u64) -> String {
    format!("{MARK} {who}-{number:06} was here")
}
