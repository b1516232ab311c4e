//! Hand-made merges, each one a row: what happens to a change on each side. Every row is also put to `git merge-file`,
//! in both directions and with CRLF line ends.

use ostk_merge::{MAX_LINES, ManualReason, Outcome, Region, Who, merge};

use crate::generator::History;
use crate::oracle::{Git, Tally, git_merge};

/// `/` ends a line; `~` at the end of a version takes the last newline away. Expected: `=…` clean with that text,
/// `?…` assisted with that candidate, `.` unchanged, `!` manual.
const CASES: &[(&str, &str, &str, &str, &str)] = &[
    ("nobody changed anything", "a/b/", "a/b/", "a/b/", "."),
    ("only the proposal changes", "a/b/", "a/b/", "a/X/", "=a/X/"),
    ("only the current side changed", "a/b/", "a/X/", "a/b/", "."),
    ("both made the same change", "a/b/", "a/X/", "a/X/", "."),
    ("four lines apart", "a/b/c/d/e/f/", "X/b/c/d/e/f/", "a/b/c/d/e/Y/", "=X/b/c/d/e/Y/"),
    ("three lines apart", "a/b/c/d/e/", "X/b/c/d/e/", "a/b/c/d/Y/", "?X/b/c/d/Y/"),
    ("one line apart", "a/b/c/", "X/b/c/", "a/b/Y/", "?X/b/Y/"),
    ("neighbouring lines", "a/b/", "X/b/", "a/Y/", "?X/Y/"),
    ("the same line differently", "a/b/c/", "a/X/c/", "a/Y/c/", "?a/Y/c/"),
    ("overlapping stretches", "a/b/c/d/", "a/X/X/d/", "a/b/Y/Y/", "?a/b/Y/Y/"),
    ("two insertions at one place", "a/b/", "a/X/b/", "a/Y/b/", "?a/X/Y/b/"),
    ("the same insertion", "a/b/c/d/e/f/", "a/X/b/c/d/e/f/", "a/X/b/c/d/e/Y/", "=a/X/b/c/d/e/Y/"),
    ("insertions at both ends", "a/b/c/d/", "X/a/b/c/d/", "a/b/c/d/Y/", "=X/a/b/c/d/Y/"),
    ("insertions at both ends, close", "a/b/c/", "X/a/b/c/", "a/b/c/Y/", "?X/a/b/c/Y/"),
    ("two appended", "a/", "a/X/", "a/Y/", "?a/X/Y/"),
    ("insertion before a changed line", "a/b/", "a/X/b/", "a/Y/", "?a/X/Y/"),
    ("insertion after a changed line", "a/b/c/", "a/Y/c/", "a/b/X/c/", "?a/Y/X/c/"),
    ("insertion inside a changed stretch", "a/b/c/d/", "a/X/d/", "a/b/Y/c/d/", "?a/b/Y/c/d/"),
    ("deletion against edit", "a/b/c/", "a/c/", "a/Y/c/", "?a/Y/c/"),
    ("edit against deletion", "a/b/c/", "a/X/c/", "a/c/", "?a/c/"),
    ("both delete the same line", "a/b/c/d/e/f/", "a/c/d/e/f/", "a/c/d/e/f/Y/", "=a/c/d/e/f/Y/"),
    ("both delete neighbouring lines", "a/b/c/d/", "a/c/d/", "a/b/d/", "?a/d/"),
    ("far deletions", "a/b/c/d/e/f/", "b/c/d/e/f/", "a/b/c/d/e/", "=b/c/d/e/"),
    ("deletion of everything against edit", "a/b/c/", "", "a/Y/c/", "?a/Y/c/"),
    ("edit against deletion of everything", "a/b/c/", "a/X/c/", "", "?"),
    ("both filled an empty file", "", "X/", "Y/", "?X/Y/"),
    ("both filled an empty file alike", "", "X/", "X/", "."),
    ("empty file filled by the proposal", "", "", "Y/", "=Y/"),
    ("emptied by the proposal", "a/", "a/", "", "="),
    (
        "moved block against far edit",
        "a/b/c/d/e/f/g/h/i/",
        "c/a/b/d/e/f/g/h/i/",
        "a/b/c/d/e/f/g/h/Y/",
        "=c/a/b/d/e/f/g/h/Y/",
    ),
    (
        "moved block against edit in it",
        "a/b/c/d/e/f/g/",
        "c/d/e/f/g/a/b/",
        "a/Y/c/d/e/f/g/",
        "?a/Y/c/d/e/f/g/a/b/",
    ),
    ("no last newline anywhere", "a/b/c/d/e/f~", "X/b/c/d/e/f~", "a/b/c/d/e/Y~", "=X/b/c/d/e/Y~"),
    ("last newline added", "a/b/c/d/e/f~", "X/b/c/d/e/f~", "a/b/c/d/e/f/", "=X/b/c/d/e/f/"),
    ("last newline taken away", "a/b/c/d/e/f/", "X/b/c/d/e/f/", "a/b/c/d/e/f~", "=X/b/c/d/e/f~"),
    ("last newline added by one, line by the other", "a/b~", "a/b/", "a/b/Y/", "?a/b/Y/"),
    ("both append without newline", "a/", "a/X~", "a/Y~", "?a/X/Y~"),
    ("duplicate lines, one more each", "}/}/}/", "}/}/}/}/", "X/}/}/}/", "?X/}/}/}/}/"),
    (
        "duplicate lines, edit far away",
        "}/}/a/b/c/d/e/",
        "}/}/}/a/b/c/d/e/",
        "}/}/a/b/c/d/Y/",
        "=}/}/}/a/b/c/d/Y/",
    ),
    ("blank lines", "a///b/c/d/e/f/", "a////b/c/d/e/f/", "a///b/c/d/e/Y/", "=a////b/c/d/e/Y/"),
    ("unicode", "é/b/c/d/e/日本/", "è/b/c/d/e/日本/", "é/b/c/d/e/日本語/", "=è/b/c/d/e/日本語/"),
    (
        "the same edit and another far away",
        "a/b/c/d/e/f/g/",
        "X/b/c/d/e/f/g/",
        "X/b/c/d/e/f/Y/",
        "=X/b/c/d/e/f/Y/",
    ),
    ("the same edit and another beside it", "a/b/c/", "X/b/c/", "X/b/Y/", "=X/b/Y/"),
    ("the same edit, grown by one side", "a/b/c/", "X/b/c/", "X/Y/c/", "?X/Y/c/"),
    ("current has the proposed edit and more", "a/b/c/d/e/f/", "X/b/c/d/e/Y/", "X/b/c/d/e/f/", "."),
    ("two regions", "a/b/c/d/e/f/g/", "X/b/c/d/e/f/X/", "Y/b/c/d/e/f/Y/", "?Y/b/c/d/e/f/Y/"),
    ("three regions", "a/b/c/d/e/f/g/h/i/j/k/", "X/b/c/d/e/X/g/h/i/j/X/", "Y/b/c/d/e/Y/g/h/i/j/Y/", "!"),
    ("three edits each in one chain", "a/b/c/d/e/f/", "X/b/X/d/X/f/", "a/Y/c/Y/e/Y/", "?X/Y/X/Y/X/Y/"),
    (
        "alternating edits far apart",
        "a/b/c/d/e/f/g/h/i/j/k/",
        "X/b/c/d/e/f/g/h/i/j/X/",
        "a/b/c/d/e/Y/g/h/i/j/k/",
        "=X/b/c/d/e/Y/g/h/i/j/X/",
    ),
    ("whitespace only", "a/ b/c/d/e/x/f/", "a/  b/c/d/e/x/f/", "a/ b/c/d/e/x/f /", "=a/  b/c/d/e/x/f /"),
    ("everything rewritten by one side", "a/b/c/", "X/Y/Z/", "a/b/Q/", "?a/b/Q/"),
];

fn text(row: &str, newline: &str) -> Vec<u8> {
    match row.strip_suffix('~') {
        Some(cut) => cut.replace('/', newline).into_bytes(),
        None => row.replace('/', newline).into_bytes(),
    }
}

fn check(newline: &str) {
    for (name, base, current, proposed, expected) in CASES {
        let [base, current, proposed] = [base, current, proposed].map(|row| text(row, newline));
        let outcome = merge(&base, &current, &proposed);
        let (kind, bytes) = match &outcome {
            Outcome::Unchanged => (".", Vec::new()),
            Outcome::Clean { bytes, .. } => ("=", bytes.clone()),
            Outcome::Assisted { candidate, .. } => ("?", candidate.clone()),
            Outcome::Manual { .. } => ("!", Vec::new()),
        };
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(newline, "/");
        assert_eq!(format!("{kind}{}", show(&bytes)), expected.trim_end_matches('~'), "{name}: {outcome:?}");
    }
}

#[test]
fn hand_made_merges_come_out_as_written() {
    assert_eq!(CASES.len(), 50);
    check("\n");
}

#[test]
fn crlf_line_ends_are_kept() {
    check("\r\n");
}

#[test]
fn hand_made_merges_agree_with_git_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::default();
    for newline in ["\n", "\r\n"] {
        for (name, base, current, proposed, _) in CASES {
            let [base, current, proposed] = [base, current, proposed].map(|row| text(row, newline));
            tally.check(dir.path(), name, &base, &current, &proposed);
            tally.check(dir.path(), name, &base, &proposed, &current);
        }
    }
    println!("{tally:?}");
}

/// Found by a long run: here git compares two overlapping places one by one and finds conflicts, although both sides
/// read the same once all is done.
#[test]
fn pieces_that_only_together_read_the_same_are_not_one_change() {
    let dir = tempfile::tempdir().unwrap();
    let History { base, current, proposed } = crate::generator::random(15_429);
    Tally::default().check(dir.path(), "seed 15429", &base, &current, &proposed);
    assert!(matches!(git_merge(dir.path(), &base, &current, &proposed), Git::Conflict));
}

#[test]
fn mixed_line_ends_and_very_long_lines_are_kept_byte_for_byte() {
    let long = "x".repeat(300_000);
    let base = format!("a\r\nb\n{long}\nc\r\r\nd\ne\nf");
    let current = base.replacen("a\r\n", "A\r\n", 1);
    let proposed = base.replacen("\nf", "\nF\r", 1);
    let expected = current.replacen("\nf", "\nF\r", 1);
    match merge(base.as_bytes(), current.as_bytes(), proposed.as_bytes()) {
        Outcome::Clean { bytes, .. } => assert!(bytes == expected.as_bytes()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clean_merge_names_who_changed_which_lines() {
    let Outcome::Clean { regions, .. } =
        merge(b"a\nb\nc\nd\ne\nf\n", b"X\nX\nb\nc\nd\ne\nf\n", b"a\nb\nc\nd\ne\n")
    else {
        panic!("not clean")
    };
    let named: Vec<_> = regions.into_iter().map(|region| (region.who, region.lines)).collect();
    assert_eq!(named, [(Who::Current, 0..2), (Who::Proposed, 6..6)]);
}

#[test]
fn an_assisted_merge_shows_where_to_look() {
    let outcome = merge(b"0\na\nb\nc\n", b"new\n0\na\nX\nc\n", b"0\na\nY\nY\nc\n");
    let Outcome::Assisted { candidate, regions } = outcome else { panic!("{outcome:?}") };
    assert_eq!(candidate, b"new\n0\na\nY\nY\nc\n");
    let whole = Region { base: 0..3, current: 0..4, proposed: 0..4, candidate: 0..5, overlapping: true };
    assert_eq!(regions, [whole]);
}

#[test]
fn thirty_changed_lines_are_too_many_to_offer() {
    let lines = |word: &str, count: usize| format!("{word}\n").repeat(count);
    let small = merge(b"a\n", lines("x", 14).as_bytes(), lines("y", 15).as_bytes());
    assert!(matches!(small, Outcome::Assisted { .. }), "{small:?}");
    let large = merge(b"a\n", lines("x", 15).as_bytes(), lines("y", 15).as_bytes());
    let reason = ManualReason::TooManyRegions { regions: 1, changed_lines: 30 };
    assert_eq!(large, Outcome::Manual { reason });
}

#[test]
fn binary_and_oversized_files_are_left_to_their_author() {
    let binary = |bytes: &[u8]| merge(b"a\n", bytes, b"b\n");
    assert_eq!(binary(b"a\0\n"), Outcome::Manual { reason: ManualReason::Binary });
    let late_nul = [b"x\n".repeat(4000), b"\0".to_vec()].concat();
    assert!(!matches!(binary(&late_nul), Outcome::Manual { reason: ManualReason::Binary }));
    let long = "x\n".repeat(MAX_LINES + 1);
    assert_eq!(binary(long.as_bytes()), Outcome::Manual { reason: ManualReason::TooLarge });
}
