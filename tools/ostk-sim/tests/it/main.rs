//! The simulator itself: it finds nothing in seeds that were looked through, finds what was promised to be found, and does
//! the same again for the same seed.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[cfg(feature = "planted")]
mod planted;

use ostk_sim::{Run, Settings, run, run_outage, scratch};

/// Seeds that failed once, with the settings under which they did.
const REGRESSIONS: &str = include_str!("../regressions.txt");
/// A debug build runs some five seeds a second.
const CI_SEEDS: u64 = 120;

fn all(seeds: impl Iterator<Item = u64>, settings: &Settings) -> Vec<Run> {
    let dir = scratch().unwrap();
    seeds.map(|seed| run(seed, settings, dir.path()).unwrap()).collect()
}

fn failures(runs: &[Run]) -> Vec<String> {
    let failed = runs.iter().filter(|run| !run.wrong.is_empty());
    failed.map(|run| format!("ostk-sim --seed {} --trace: {:?}", run.seed, run.wrong)).collect()
}

#[test]
fn a_fixed_budget_of_seeds_finds_nothing() {
    let runs = all(0..CI_SEEDS, &Settings::default());
    assert_eq!(failures(&runs), Vec::<String>::new());
    let sum = |what: &str| runs.iter().map(|run| run.counts.of(what)).sum::<u64>();
    for what in [
        "starts",
        "writes acknowledged",
        "syncs that failed",
        "full disks",
        "messages delivered",
        "messages that came out of pipes",
        "limits of a day that were reached",
        "processes started again",
        "starts from a snapshot",
        "sagas",
        "needles given to workers",
        "models that another answered for",
        "timers that fired",
        "agents that waited for a place",
        "clients killed",
        "answers lost",
    ] {
        assert!(sum(what) > 10, "too few to say anything: {} {what}", sum(what));
    }
}

#[test]
fn clients_that_share_work_never_hold_the_same_needle() {
    let runs = all(0..60, &Settings { work: true, ..Settings::default() });
    assert_eq!(failures(&runs), Vec::<String>::new());
    let sum = |what: &str| runs.iter().map(|run| run.counts.of(what)).sum::<u64>();
    for what in ["needles claimed", "claims that ended"] {
        assert!(sum(what) > 20, "too few to say anything: {} {what}", sum(what));
    }
}

#[test]
fn seeds_that_failed_once_do_not_fail_again() {
    let rows =
        REGRESSIONS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    let dir = scratch().unwrap();
    let mut runs = Vec::new();
    for (what, _) in rows {
        let (seed, features) = what.split_once('/').unwrap_or((what, ""));
        let features = if features.is_empty() { usize::MAX } else { features.parse().unwrap() };
        runs.push(
            run(seed.parse().unwrap(), &Settings { features, ..Settings::default() }, dir.path()).unwrap(),
        );
    }
    assert!(!runs.is_empty());
    assert_eq!(failures(&runs), Vec::<String>::new());
}

#[test]
fn the_same_seed_does_the_same_again() {
    for seed in 0..5 {
        let runs = all([seed, seed].into_iter(), &Settings::default());
        assert_eq!(runs[0], runs[1]);
    }
    let runs = all(0..5, &Settings::default());
    let traces: std::collections::BTreeSet<u64> = runs.iter().map(|run| run.trace).collect();
    assert_eq!(traces.len(), 5, "different seeds do different things");
}

#[test]
fn an_hour_without_the_model_costs_no_agent_its_work_and_sends_no_herd() {
    let dir = scratch().unwrap();
    for seed in 0..3 {
        let run = run_outage(seed, 12, dir.path()).unwrap();
        assert_eq!(run.wrong, Vec::<String>::new(), "ostk-sim --outage 12 --seed {seed}");
        assert!(run.counts.of("model calls in an outage of an hour") > 20, "{}", run.counts);
    }
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let (dir, settings) = (scratch().unwrap(), Settings { lies: true, ..Settings::default() });
    let found = (0..100).any(|seed| !run(seed, &settings, dir.path()).unwrap().wrong.is_empty());
    assert!(found);
}

#[test]
fn a_turned_bit_in_the_log_is_found_out() {
    let runs = all(0..10, &Settings { rot: true, ..Settings::default() });
    // What a crash left aside, and locks, nobody reads.
    assert!(failures(&runs).len() > 3, "{:?}", failures(&runs));
}
