//! Edits, diffs and line history of one file: what a caller sees.

use std::process::Command;

use ostk_merge::{EditError, MAX_DIFF_BYTES, NearestLine, Outcome, blame, edit, revert, unified_diff};

use crate::generator::source_like;

#[test]
fn an_edit_replaces_the_only_place_and_says_where() {
    let edited = edit(b"a\nb\nc\n", b"b\n", b"B\nB\n", false).unwrap();
    assert_eq!(
        (edited.bytes.as_slice(), edited.count, edited.first_line),
        (b"a\nB\nB\nc\n".as_slice(), 1, 2)
    );
}

#[test]
fn an_edit_of_all_places_counts_them() {
    let edited = edit(b"x x\nx\n", b"x", b"yy", true).unwrap();
    assert_eq!((edited.bytes.as_slice(), edited.count, edited.first_line), (b"yy yy\nyy\n".as_slice(), 3, 1));
}

#[test]
fn an_ambiguous_edit_lists_the_places() {
    let error = edit(b"x\ny\nx\n", b"x", b"z", false).unwrap_err();
    assert_eq!(error, EditError::Ambiguous { count: 2, lines: vec![1, 3] });
    let overlapping = edit(b"aaa", b"aa", b"b", false).unwrap_err();
    assert_eq!(overlapping, EditError::Ambiguous { count: 2, lines: vec![1, 1] });
}

#[test]
fn a_missed_edit_points_at_the_likely_line() {
    let file = b"fn main() {\n    let total = sum(1, 2);\n}\n";
    let hint = |old: &[u8]| match edit(file, old, b"", false) {
        Err(EditError::NotFound { hint }) => hint,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        hint(b"  let total = sum(1, 2);\n  }"),
        Some(NearestLine { line: 2, only_whitespace_differs: true })
    );
    assert_eq!(
        hint(b"let total = sum(1, 3);"),
        Some(NearestLine { line: 2, only_whitespace_differs: false })
    );
    assert_eq!(hint(b"@@@@@@"), None);
    assert_eq!(hint(b"\n\n\n\n"), None);
}

#[test]
fn an_edit_without_a_task_is_refused() {
    assert_eq!(edit(b"a", b"", b"x", false), Err(EditError::EmptyOld));
    assert_eq!(edit(b"a", b"a", b"a", false), Err(EditError::NoChange));
}

#[test]
fn undo_keeps_what_came_later() {
    let before = b"a\nb\nc\nd\ne\nf\n";
    let outcome = revert(before, b"X\nb\nc\nd\ne\nf\n", b"X\nb\nc\nd\ne\nlater\n");
    assert!(
        matches!(&outcome, Outcome::Clean { bytes, .. } if bytes == b"a\nb\nc\nd\ne\nlater\n"),
        "{outcome:?}"
    );
    assert_eq!(revert(before, b"X\nb\nc\nd\ne\nf\n", before), Outcome::Unchanged);
}

#[test]
fn blame_follows_lines_through_versions() {
    let versions: [&[u8]; 4] = [b"a\nb\n", b"a\nnew\nb\n", b"new\nb\n", b"new\nb\na\n"];
    assert_eq!(blame(&versions), [1, 0, 3]);
    assert_eq!(blame(&[]), Vec::<usize>::new());
}

#[test]
fn a_long_diff_is_cut_and_says_so() {
    let new = "some line\n".repeat(MAX_DIFF_BYTES / 5);
    let diff = unified_diff(b"", new.as_bytes(), 3, ("a", "b"));
    assert!(diff.len() < MAX_DIFF_BYTES + 200);
    assert!(diff.ends_with("… cut: the diff is longer than 256 KiB\n"));
}

#[test]
fn a_unified_diff_reads_as_that_of_git() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..60 {
        let history = source_like(seed);
        let (old, new) = (history.base, history.current);
        std::fs::write(dir.path().join("old"), &old).unwrap();
        std::fs::write(dir.path().join("new"), &new).unwrap();
        let output = Command::new("git")
            .args([
                "diff",
                "--no-index",
                "--no-indent-heuristic",
                "--diff-algorithm=myers",
                "--no-color",
                "old",
                "new",
            ])
            .current_dir(dir.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        // git adds the enclosing function behind the second `@@`; we do not.
        let expected =
            printed.split_inclusive('\n').skip_while(|line| !line.starts_with("---")).map(|line| match line
                .starts_with("@@")
                .then(|| line[2..].find("@@"))
                .flatten()
            {
                Some(end) => format!("{}\n", &line[..end + 4]),
                None => line.to_owned(),
            });
        let ours = unified_diff(&old, &new, 3, ("a/old", "b/new"));
        assert_eq!(ours, expected.collect::<String>(), "seed {seed}");
    }
}
