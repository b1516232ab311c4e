//! What a search finds, what it leaves out, and what bounds it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must stop"
)]

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use ostk_search::{MAX_LINE_BYTES, Mode, Query, Results, SearchError, Truncation, search};
use tempfile::TempDir;

fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in files {
        write(root.path(), name, content);
    }
    root
}

fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn query(pattern: &str, mode: Mode) -> Query {
    Query { pattern: pattern.to_owned(), mode, ..Query::default() }
}

fn run(root: &TempDir, query: &Query) -> Results {
    search(root.path(), query, &|_| true, Instant::now() + Duration::from_secs(60)).unwrap()
}

/// `path:line:column:text` for each match.
fn shown(root: &TempDir, query: &Query) -> Vec<String> {
    let line = |m: &ostk_search::Match| format!("{}:{}:{}:{}", m.path, m.line, m.column, m.text);
    run(root, query).matches.iter().map(line).collect()
}

fn paths(root: &TempDir, query: &Query) -> Vec<String> {
    run(root, query).matches.into_iter().map(|m| m.path).collect()
}

#[test]
fn each_mode_finds_what_it_means() {
    let root = tree(&[("src/lib.rs", "fn a.b() {}\nfn aXb() {}\nlet fname = 1;\n"), ("A.md", "FN\n")]);
    assert_eq!(shown(&root, &query("a.b", Mode::Literal)), ["src/lib.rs:1:4:fn a.b() {}"]);
    let both = ["src/lib.rs:1:4:fn a.b() {}", "src/lib.rs:2:4:fn aXb() {}"];
    assert_eq!(shown(&root, &query("a.b", Mode::Regex)), both);
    assert_eq!(shown(&root, &query("fn", Mode::Word)).len(), 2);
    let any_case = Query { case_insensitive: true, ..query("^fn$", Mode::Regex) };
    assert_eq!(shown(&root, &any_case), ["A.md:1:1:FN"]);
    assert_eq!(paths(&root, &query("*.rs", Mode::Glob)), ["src/lib.rs"]);
    assert_eq!(paths(&root, &query("src/*", Mode::Glob)), ["src/lib.rs"]);
    assert_eq!(paths(&root, &query("*/*", Mode::Glob)), ["src/lib.rs"]);
}

#[test]
fn matches_come_sorted_by_path_and_line_with_their_context() {
    let root = tree(&[("b", "1\n2 hit\n3\n4 hit\n5\n6"), ("a/z", "hit"), ("a.txt", "hit")]);
    let found = run(&root, &Query { context_lines: 1, ..query("hit", Mode::Literal) });
    let places: Vec<_> = found.matches.iter().map(|m| (m.path.as_str(), m.line)).collect();
    assert_eq!(places, [("a.txt", 1), ("a/z", 1), ("b", 2), ("b", 4)]);
    assert_eq!(
        (&found.matches[2].before[..], &found.matches[2].after[..]),
        (&["1".into()][..], &["3".into()][..])
    );
    let wide = run(&root, &Query { context_lines: 2, ..query("hit", Mode::Literal) });
    assert_eq!(wide.matches[2].before, ["1"]);
    assert_eq!(wide.matches[2].after, ["3", "4 hit"]);
    assert_eq!(wide.matches[3].before, ["2 hit", "3"]);
    assert_eq!(wide.matches[3].after, ["5", "6"]);
}

#[test]
fn crlf_line_ends_and_other_encodings_are_no_obstacle() {
    let root = tree(&[("dos", "one\r\ntwo\r\n")]);
    write(root.path(), "latin1", b"caf\xe9 two\n");
    let utf16: Vec<u8> = "\u{feff}two\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    write(root.path(), "utf16", utf16);
    assert_eq!(
        shown(&root, &query("two$", Mode::Regex)),
        ["dos:2:1:two", "latin1:1:6:caf\u{fffd} two", "utf16:1:1:two"]
    );
}

#[test]
fn what_git_ignores_the_stores_links_and_binary_files_are_not_searched() {
    let root = tree(&[
        (".gitignore", "target/\n"),
        ("sub/.gitignore", "*.tmp\n"),
        ("target/x", "hit"),
        ("sub/x.tmp", "hit"),
        ("sub/.hidden", "hit"),
        (".git/config", "hit"),
        (".ostk/journal.jsonl", "hit"),
        (".ostk-tmp-1-1", "hit"),
        ("binary", "hit\nhit\n\0"),
    ]);
    let outside = tree(&[("secret", "hit")]);
    symlink(outside.path(), root.path().join("link")).unwrap();
    symlink(outside.path().join("secret"), root.path().join("file-link")).unwrap();
    write(&root.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "x", "hit");
    let found = run(&root, &query("hit", Mode::Literal));
    assert_eq!(found.matches.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(), ["sub/.hidden"]);
    assert_eq!(found.files_skipped, 2, "the binary file and the name that is not UTF-8");
    let glob = query("*", Mode::Glob);
    assert_eq!(paths(&root, &glob), [".gitignore", "binary", "sub/.gitignore", "sub/.hidden"]);
    // Naming a link or a store does not open it.
    for path in ["link", ".git", ".ostk"] {
        let named = Query { paths: vec![path.to_owned()], ..query("hit", Mode::Literal) };
        assert_eq!(paths(&root, &named), [""; 0], "{path}");
    }
}

#[test]
fn a_file_that_may_not_be_read_changes_nothing_in_the_answer() {
    let answer = |secret: &str, mode: Mode| {
        let root = tree(&[(".env", secret), ("a.txt", "key=1\n"), ("b.txt", "key=2\n")]);
        let one = Query { max_results: 1, ..query(if mode == Mode::Glob { "*" } else { "key=" }, mode) };
        let deadline = Instant::now() + Duration::from_secs(60);
        search(root.path(), &one, &|path| path != ".env", deadline).unwrap()
    };
    for mode in [Mode::Literal, Mode::Regex, Mode::Glob] {
        let found = answer("key=secret\n", mode);
        assert_eq!(found, answer("nothing", mode), "the bounds do not tell what it holds either");
        assert_eq!((found.matches[0].path.as_str(), found.files_withheld), ("a.txt", 1));
    }
}

#[test]
fn paths_and_globs_narrow_the_search() {
    let root = tree(&[
        ("src/a.rs", "x"),
        ("src/deep/b.rs", "x"),
        ("src-gen/c.rs", "x"),
        ("docs/d.md", "x"),
        ("e.rs", "x"),
    ]);
    let narrowed = |list: &[&str], globs: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        paths(&root, &Query { paths: own(list), globs: own(globs), ..query("x", Mode::Literal) })
    };
    assert_eq!(narrowed(&["src"], &[]), ["src/a.rs", "src/deep/b.rs"]);
    assert_eq!(narrowed(&["src/deep/", "e.rs"], &[]), ["e.rs", "src/deep/b.rs"]);
    assert_eq!(narrowed(&["."], &["*.md"]), ["docs/d.md"]);
    assert_eq!(narrowed(&[], &["src/*.rs"]), ["src/a.rs"]);
    assert_eq!(narrowed(&[], &["*.rs", "!deep"]), ["e.rs", "src-gen/c.rs", "src/a.rs"]);
    assert_eq!(narrowed(&[], &["src", "!*.md"]), ["src/a.rs", "src/deep/b.rs"]);
}

#[test]
fn a_long_line_is_cut_around_its_match_between_characters() {
    let long = format!("{}needle{}", "ä".repeat(2000), "ö".repeat(2000));
    let root = tree(&[("long", &long), ("late", &format!("{}\nneedle", "é".repeat(600)))]);
    let found = run(&root, &Query { context_lines: 1, ..query("needle", Mode::Literal) });
    let (late, long) = (&found.matches[0], &found.matches[1]);
    assert!(long.text.contains("needle") && long.text.starts_with('…') && long.text.ends_with('…'));
    assert!(long.text.len() <= MAX_LINE_BYTES + 2 * "…".len() && !long.text.contains('\u{fffd}'));
    assert_eq!(long.column, 4001);
    assert_eq!(late.before[0].chars().count(), MAX_LINE_BYTES / 2 + 1);
}

#[test]
fn the_bounds_hold_and_say_which_one_it_was() {
    let files: Vec<(String, String)> = (0..600).map(|n| (format!("f{n:03}"), "hit\n".repeat(10))).collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    let root = tree(&files);
    let by_default = run(&root, &query("hit", Mode::Literal));
    assert_eq!((by_default.matches.len(), by_default.truncated), (200, Some(Truncation::Results)));
    assert_eq!((by_default.matches[199].path.as_str(), by_default.matches[199].line), ("f019", 10));
    let greedy = run(&root, &Query { max_results: 1_000_000, ..query("hit", Mode::Literal) });
    assert_eq!((greedy.matches.len(), greedy.truncated), (2000, Some(Truncation::Results)));
    let small = run(&root, &Query { max_bytes: 70, ..query("hit", Mode::Literal) });
    assert_eq!((small.matches.len(), small.truncated), (10, Some(Truncation::Bytes)));
    let names = run(&root, &Query { max_results: 5, ..query("f*", Mode::Glob) });
    assert_eq!((names.matches.len(), names.truncated), (5, Some(Truncation::Results)));
    let exact =
        run(&root, &Query { max_results: 10, paths: vec!["f000".into()], ..query("hit", Mode::Literal) });
    assert_eq!((exact.matches.len(), exact.truncated), (10, None));
    let late = search(root.path(), &query("hit", Mode::Literal), &|_| true, Instant::now()).unwrap();
    assert_eq!((late.matches.len(), late.truncated), (0, Some(Truncation::Deadline)));
}

#[test]
fn the_same_tree_gives_the_same_answer() {
    let files: Vec<(String, String)> =
        (0..700).map(|n| (format!("d{}/f{n}", n % 7), format!("hit {n}"))).collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    let root = tree(&files);
    let first = run(&root, &query("hit", Mode::Literal));
    for _ in 0..10 {
        assert_eq!(run(&root, &query("hit", Mode::Literal)), first);
    }
}

#[test]
fn a_query_that_makes_no_sense_is_an_error_that_says_where() {
    let root = tree(&[("a", "x")]);
    let error = |query: &Query| {
        search(root.path(), query, &|_| true, Instant::now() + Duration::from_secs(60)).unwrap_err()
    };
    let wrong = error(&query("ab(c", Mode::Regex));
    assert_eq!(wrong.to_string(), "the pattern \"ab(c\" is wrong at byte 2: unclosed group");
    assert_eq!(error(&query("", Mode::Literal)), SearchError::EmptyPattern);
    assert!(matches!(error(&query("a{1000}{1000}{1000}", Mode::Regex)), SearchError::Unusable { .. }));
    assert!(error(&query("a\\nb", Mode::Regex)).to_string().contains("line by line"));
    assert!(matches!(error(&query("[", Mode::Glob)), SearchError::Unusable { .. }));
    assert!(matches!(error(&query(&"x".repeat(5000), Mode::Literal)), SearchError::TooLong { .. }));
    for path in ["../up", "/etc", "a//b", "a/./b", ""] {
        let bad = Query { paths: vec![path.to_owned()], ..query("x", Mode::Literal) };
        assert!(matches!(error(&bad), SearchError::Path { .. }), "{path:?}");
    }
    let missing = search(&root.path().join("gone"), &query("x", Mode::Literal), &|_| true, Instant::now());
    assert!(matches!(missing, Err(SearchError::Root { .. })));
}
