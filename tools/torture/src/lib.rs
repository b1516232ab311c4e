//! Torture: many clients, each a process, edit the same files through one daemon; it and they are killed again and
//! again, while somebody else edits files behind its back. Afterwards a checker that shares no code with the kernel compares three things: what
//! was acknowledged to the clients, what the log says, and what is on disk.
//!
//! [`run`] makes a scratch repository, does all of it and returns a [`Report`]. What each client does follows from the
//! seed; when the threads meet and where a kill strikes does not, so a seed narrows a failure down, it does not replay
//! it to the instruction.

pub mod check;
mod daemon;
mod fleet;
mod ledger;
mod link;
mod outside;
mod replay;
mod report;
mod rng;
mod run;
mod scratch;
mod turns;
mod worker;

pub use ledger::{Answer, Deed, Line};
pub use report::{Counts, Report};
pub use run::{Options, run};
pub use worker::work;
