//! Ways out of a sandbox, as rows of one table, and a judge that looks at the world rather than at what they say.
//!
//! `rows/` has the table and `row.rs` says what a row is. For each, `yard.rs` makes a scene with things to attack
//! (`targets.rs`), `contender.rs` runs the attempt (`attempt.rs`) in a sandbox, and `judge.rs` compares the world before
//! and after (`world.rs`, `watch.rs`). `report.rs` prints. `cargo xtask escape` runs it; the tests run a row each.

mod attempt;
mod contender;
mod judge;
mod report;
mod row;
mod rows;
mod targets;
mod watch;
mod world;
mod yard;

pub use attempt::{outsider, run as attempt};
pub use contender::Contender;
pub use judge::{Judged, Outcome, Programs, judge};
pub use report::{Counts, json, text};
pub use row::{Class, Need, Program, Row, Shows};
pub use rows::{all, named};
