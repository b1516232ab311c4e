//! The tests of `ostk-kernel`: the kernel over a host in memory (`host`), whose log is durable as far as a test says.
//!
//! `writes`, `conflicts` and `undo` are about files, `foreign` about changes made outside, `gate` about refusals,
//! `repeats` about idempotency, `agents` about native agents, `lanes` about the model calls of a fleet, `fallback` about
//! the model in the place of one that is down, `signals` about
//! signals and lineages, `restraint` about an agent's budgets and loops, `budget` about the day's, `stacks` about
//! sub-stacks, `supervise` about restarts and health, `pipes` about messages between agents, `sagas` about work
//! of which all or nothing stays, `needles` about the work system, `workers` about agents that are given work,
//! `places` about those that wait to begin, `timers` about what is done at a time, `crashes` and `laws` about what holds after any crash and any
//! interleaving, `work` about the rest.

#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must stop"
)]

mod agents;
mod approvals;
mod budget;
mod conflicts;
mod contention;
mod crashes;
mod fallback;
mod foreign;
mod gate;
mod host;
mod labels;
mod lanes;
mod laws;
mod needles;
mod pipes;
mod places;
mod repeats;
mod restraint;
mod sagas;
mod secrets;
mod sessions;
mod signals;
mod stacks;
mod supervise;
mod timers;
mod undo;
mod work;
mod workers;
mod writes;

/// Twenty lines, so that changes at both ends do not come close.
fn twenty() -> String {
    (1..=20).map(|number| format!("line {number}\n")).collect()
}
