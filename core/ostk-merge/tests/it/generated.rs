//! Generated histories against `git merge-file`. `OSTK_MERGE_CASES=20000` makes a long run of the same tests.

use crate::generator::{History, random, rewritten, source_like};
use crate::oracle::Tally;

fn cases(default: u64) -> u64 {
    std::env::var("OSTK_MERGE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

fn tally(count: u64, make: fn(u64) -> History) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::default();
    for seed in 0..count {
        let History { base, current, proposed } = make(seed);
        tally.check(dir.path(), &format!("seed {seed}"), &base, &current, &proposed);
    }
    println!("{tally:?}");
    tally
}

#[test]
fn random_histories_resolve_as_git_does_or_are_refused() {
    let tally = tally(cases(300), random);
    assert!(tally.same * 10 > tally.resolved_by_git, "{tally:?}");
}

#[test]
fn source_like_histories_resolve_as_git_does_or_are_refused() {
    let tally = tally(cases(300), source_like);
    assert!(tally.same * 10 >= tally.resolved_by_git * 6, "too many refusals: {tally:?}");
    assert!(tally.candidate_same * 100 >= tally.assisted_resolved_by_git * 95, "poor candidates: {tally:?}");
}

#[test]
fn rewritten_files_resolve_as_git_does_or_are_refused() {
    let tally = tally(cases(300) / 10, rewritten);
    assert!(tally.same > 0 && tally.manual > 0, "{tally:?}");
}
