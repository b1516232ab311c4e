//! Path patterns against a plain and slow reading of what they mean.

use ostk_policy::PathPattern;
use proptest::prelude::*;

/// What a glob means, by definition: without any cleverness.
fn means(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => means(rest, path) || (!path.is_empty() && means(pattern, &path[1..])),
        ([first, rest @ ..], [name, below @ ..]) => {
            component(first.as_bytes(), name.as_bytes()) && means(rest, below)
        }
        _ => false,
    }
}

fn component(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            component(rest, name) || (!name.is_empty() && component(pattern, &name[1..]))
        }
        ([p, rest @ ..], [n, below @ ..]) => p == n && component(rest, below),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_glob_matches_what_it_means(
        pattern in prop::collection::vec("[ab]{0,2}\\*[ab]{0,2}|\\*\\*|[ab]{1,2}", 1..5),
        path in prop::collection::vec("[ab]{1,3}", 1..6),
    ) {
        let joined = pattern.join("/");
        prop_assume!(joined.contains('*'));
        let parts: Vec<&str> = pattern.iter().map(String::as_str).collect();
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let parsed = PathPattern::parse(&joined).expect("a pattern");
        prop_assert_eq!(parsed.covers(&path.join("/")), means(&parts, &names));
    }

    #[test]
    fn a_path_stays_within_the_base_of_a_glob_that_covers_it(
        pattern in "[ab]{1,2}/[ab*]{1,2}(/[ab]{1,2}){0,2}", path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        if let Ok(parsed) = PathPattern::parse(&pattern) && parsed.covers(&path) {
            let base = parsed.base();
            prop_assert!(base.is_empty() || path == base || path.starts_with(&[base, "/"].concat()));
        }
    }
}

#[test]
fn a_hard_glob_takes_no_exponential_time() {
    let pattern = PathPattern::parse(&format!("{}b", "**/*a*a*a*/".repeat(60))).expect("a pattern");
    assert!(!pattern.covers("aaaaaaaaaaaaaaaaaaaaaaaa/".repeat(120).trim_end_matches('/')));
}
