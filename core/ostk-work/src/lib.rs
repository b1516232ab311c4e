//! The work system as pure functions: needles, hay and decisions, their graph, and the tack grammar.
//!
//! [`Board`] is what the kernel folds from the records of work: who may be claimed, by whom it is, what blocks what.
//! [`compile()`] finds clusters, edges and spheres, [`compounds`] ranks what to do first, [`ready`] says what can be done
//! now. [`Tack::parse`] reads the operator's language and [`Lexicon`] its verbs. No clock, no text from outside but the
//! arguments; the kernel and the command line call it.

mod board;
mod compile;
mod graph;
mod id;
mod language;
mod needle;
mod references;
mod tack;
mod terms;
mod verbs;

pub use board::{Board, Change, Claim, Decision, Links, MAX_HAY, MAX_OPEN, Straw};
pub use compile::{Candidate, Cluster, Compiled, Sphere, compile};
pub use graph::{Compound, closes_a_circle, compounds, ready};
pub use id::{NeedleId, NeedleIdError};
pub use language::{Language, LanguageError, Row};
pub use needle::{AcResult, Closed, Needle, Priority, REQUIRED, Status};
pub use references::{Mention, mentions, references};
pub use tack::{Step, Tack};
pub use verbs::{Lexicon, Resolution, Source};
