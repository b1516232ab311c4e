//! Each planted bug is found within a bounded number of seeds, which find nothing without it.
//!
//! `cargo nextest run -p ostk-sim --features planted`: no other build has the bugs in it.

use ostk_log::planted::plant;
use ostk_sim::{BUGS, Settings, run, scratch};

/// The rarest takes a daemon that dies between two records of one call.
const SEEDS: u64 = 1_000;

/// The first seed that finds something, and what.
fn found(bug: Option<&'static str>, seeds: u64) -> Option<(u64, String)> {
    let dir = scratch().unwrap();
    plant(bug);
    let mut runs = (0..seeds).map(|seed| run(seed, &Settings::default(), dir.path()).unwrap());
    let first = runs.find_map(|run| Some((run.seed, run.wrong.first()?.clone())));
    plant(None);
    first
}

#[test]
#[allow(clippy::print_stdout, reason = "which seed found what")]
fn every_planted_bug_is_found_and_nothing_without_it() {
    let (mut last, mut missed) = (0, Vec::new());
    for (bug, _) in BUGS {
        match found(Some(bug), SEEDS) {
            Some((seed, what)) => {
                println!("{bug}: seed {seed}: {what}");
                last = last.max(seed);
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
    assert_eq!(found(None, last + 1), None, "the same seeds find nothing without a bug");
}
