//! What holds for all inputs: the algebra of merging, for arbitrary bytes and for small alphabets where lines repeat.

use ostk_merge::{Outcome, blame, changed_line_ranges, edit, merge, revert, unified_diff};
use proptest::collection::vec;
use proptest::prelude::*;

/// Text over few letters, so that versions share lines; sometimes any bytes at all.
fn version() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(prop::sample::select(b"ab\n\n\r".to_vec()), 0..60),
        1 => vec(any::<u8>(), 0..60),
    ]
}

fn result(outcome: Outcome, current: &[u8]) -> Option<Vec<u8>> {
    match outcome {
        Outcome::Unchanged => Some(current.to_vec()),
        Outcome::Clean { bytes, .. } => Some(bytes),
        Outcome::Assisted { .. } | Outcome::Manual { .. } => None,
    }
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_side_that_did_nothing_yields_to_the_other(base in version(), other in version()) {
        prop_assert_eq!(result(merge(&base, &base, &other), &base), Some(other.clone()));
        prop_assert_eq!(merge(&base, &other, &base), Outcome::Unchanged);
        prop_assert_eq!(merge(&base, &other, &other), Outcome::Unchanged);
    }

    #[test]
    fn a_clean_merge_invents_no_line_and_has_every_new_one(base in version(), current in version(), proposed in version()) {
        if let Outcome::Clean { bytes, regions } = merge(&base, &current, &proposed) {
            let merged = lines(&bytes);
            let known = [lines(&base), lines(&current), lines(&proposed)];
            prop_assert!(merged.iter().all(|line| known.iter().any(|version| version.contains(line))));
            for side in [&current, &proposed] {
                let new = lines(side).into_iter().filter(|line| !lines(&base).contains(line));
                for line in new {
                    prop_assert!(merged.contains(&line));
                }
            }
            prop_assert!(regions.iter().all(|region| region.lines.end <= merged.len()));
        }
    }

    #[test]
    fn the_sides_of_a_clean_merge_can_change_places(base in version(), current in version(), proposed in version()) {
        if let (Some(one), Some(other)) =
            (result(merge(&base, &current, &proposed), &current), result(merge(&base, &proposed, &current), &proposed))
        {
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn a_change_just_made_can_be_taken_back(before in version(), after in version()) {
        prop_assert_eq!(result(revert(&before, &after, &after), &after), Some(before.clone()));
    }

    #[test]
    fn ranges_rebuild_the_new_version_from_the_old(old in version(), new in version()) {
        let (old_lines, new_lines) = (lines(&old), lines(&new));
        let (mut rebuilt, mut done) = (Vec::new(), 0);
        for (before, after) in changed_line_ranges(&old, &new) {
            rebuilt.extend_from_slice(&old_lines[done..before.start]);
            rebuilt.extend_from_slice(&new_lines[after]);
            done = before.end;
        }
        rebuilt.extend_from_slice(&old_lines[done..]);
        prop_assert_eq!(rebuilt.concat(), new.clone());
        prop_assert_eq!(unified_diff(&old, &new, 3, ("a", "b")).is_empty(), old == new);
    }

    #[test]
    fn blame_names_a_version_that_has_the_line(versions in vec(version(), 1..5)) {
        let versions: Vec<&[u8]> = versions.iter().map(Vec::as_slice).collect();
        let origins = blame(&versions);
        let last = lines(versions[versions.len() - 1]);
        prop_assert_eq!(origins.len(), last.len());
        for (origin, line) in origins.iter().zip(last) {
            prop_assert!(versions[*origin..].iter().all(|version| lines(version).contains(&line)));
        }
    }

    #[test]
    fn an_edit_can_be_edited_back(head in "[a-m]{0,20}", old in "[n-s]{1,6}", tail in "[a-m]{0,20}", new in "[t-z]{1,6}") {
        let file = format!("{head}{old}{tail}");
        let there = edit(file.as_bytes(), old.as_bytes(), new.as_bytes(), false).unwrap();
        let back = edit(&there.bytes, new.as_bytes(), old.as_bytes(), false).unwrap();
        prop_assert_eq!(back.bytes, file.into_bytes());
    }

    #[test]
    fn no_bytes_make_an_edit_panic(file in version(), old in version(), new in version(), all in any::<bool>()) {
        if let Ok(edited) = edit(&file, &old, &new, all) {
            prop_assert_eq!(edited.bytes.len() + edited.count * old.len(), file.len() + edited.count * new.len());
        }
    }
}
