//! What a scan reports, and what it leaves out.

use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink, time::SystemTime};

use ostk_files::{Expected, MAX_FILE_BYTES, Replaced, Scan, Scanner};
use ostk_log::Hash;

use crate::common::Fixture;

/// `path: before -> after` for each change, contents instead of hashes where they are known.
fn told(scan: &Scan, contents: &[&str]) -> Vec<String> {
    let name = |hash: Hash| contents.iter().find(|c| Hash::of(c.as_bytes()) == hash).map_or("?", |c| c);
    let line = |change: &ostk_files::Change| {
        let before = change.before.map_or("nothing", name);
        let after = change.after.as_ref().map_or("nothing".into(), |v| String::from_utf8_lossy(&v.bytes));
        format!("{}: {before} -> {after}", change.path)
    };
    scan.changes.iter().map(line).collect()
}

fn scanner(f: &Fixture) -> Scanner {
    let mut scanner = Scanner::new(f.ws.clone());
    assert_eq!(scanner.baseline().unwrap(), Scan::default());
    scanner
}

#[test]
fn what_an_outside_program_changed_is_found_with_the_bytes_before_and_after() {
    let f = Fixture::new();
    f.outside("changed", "old");
    f.outside("dir/deleted", "gone");
    f.outside("same", "same");
    f.outside("becomes-directory", "file");
    let mut scanner = scanner(&f);
    f.outside("changed", "new");
    f.outside("dir/sub/added", "fresh");
    fs::remove_file(f.at("dir/deleted")).unwrap();
    fs::remove_file(f.at("becomes-directory")).unwrap();
    f.outside("becomes-directory/inside", "in");
    assert_eq!(
        told(&scanner.scan().unwrap(), &["old", "gone", "file"]),
        [
            "becomes-directory: file -> nothing",
            "becomes-directory/inside: nothing -> in",
            "changed: old -> new",
            "dir/deleted: gone -> nothing",
            "dir/sub/added: nothing -> fresh",
        ]
    );
    assert_eq!(scanner.scan().unwrap(), Scan::default());
}

#[test]
fn an_edit_that_keeps_size_and_time_is_found() {
    let f = Fixture::new();
    f.outside("file", "aaaa");
    let mut scanner = scanner(&f);
    let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
    for content in ["bbbb", "cccc", "dddd", "eeee"] {
        f.outside("file", content);
        fs::File::options().write(true).open(f.at("file")).unwrap().set_modified(long_ago).unwrap();
        let scan = scanner.scan().unwrap();
        assert_eq!(scan.changes.len(), 1, "{content} was not found");
        assert_eq!(&*scan.changes[0].after.as_ref().unwrap().bytes, content.as_bytes());
    }
}

#[test]
fn files_made_and_removed_in_quick_succession_are_all_found() {
    let f = Fixture::new();
    f.outside("dir/first", "");
    let mut scanner = scanner(&f);
    for n in 0..50 {
        f.outside(&format!("dir/{n}"), "x");
        assert_eq!(scanner.scan().unwrap().changes.len(), 1, "creation {n} was not found");
        fs::remove_file(f.at(&format!("dir/{n}"))).unwrap();
        assert_eq!(scanner.scan().unwrap().changes.len(), 1, "removal {n} was not found");
    }
}

#[test]
fn an_executable_bit_is_a_change_of_its_own() {
    let f = Fixture::new();
    f.outside("tool", "run");
    let mut scanner = scanner(&f);
    f.set_mode("tool", 0o755);
    let scan = scanner.scan().unwrap();
    assert_eq!(told(&scan, &["run"]), ["tool: run -> run"]);
    assert!(scan.changes[0].after.as_ref().unwrap().executable);
    fs::File::options().write(true).open(f.at("tool")).unwrap().set_modified(SystemTime::now()).unwrap();
    assert_eq!(scanner.scan().unwrap(), Scan::default(), "a touch is not a change");
}

#[test]
fn a_rename_that_changes_only_the_case_is_a_removal_and_an_addition() {
    let f = Fixture::new();
    f.outside("Readme", "text");
    let mut scanner = scanner(&f);
    fs::rename(f.at("Readme"), f.at("README")).unwrap();
    let scan = scanner.scan().unwrap();
    assert_eq!(told(&scan, &["text"]), ["README: nothing -> text", "Readme: text -> nothing"]);
}

#[test]
fn what_the_kernel_wrote_itself_is_not_reported() {
    let f = Fixture::new();
    f.outside("file", "old");
    f.outside(".gitignore", "out/\n");
    let mut scanner = scanner(&f);
    for (name, expected) in [("file", Expected::Hash(Hash::of(b"old"))), ("out/made", Expected::Absent)] {
        assert_eq!(f.ws.replace(&f.path(name), expected, b"mine", None).unwrap(), Replaced::Done);
        scanner.prime(f.path(name), Hash::of(b"mine"));
    }
    assert_eq!(scanner.scan().unwrap(), Scan::default());
    f.outside("out/made", "theirs");
    assert_eq!(told(&scanner.scan().unwrap(), &["mine"]), ["out/made: mine -> theirs"]);
    f.ws.remove(&f.path("file"), Hash::of(b"mine")).unwrap();
    scanner.forget(&f.path("file"));
    assert_eq!(scanner.scan().unwrap(), Scan::default());
}

#[test]
fn a_baseline_reports_only_what_differs_from_the_log() {
    let f = Fixture::new();
    f.outside("known", "edited while the daemon was away");
    f.outside("unheard-of", "x");
    let mut scanner = Scanner::new(f.ws.clone());
    scanner.prime(f.path("known"), Hash::of(b"as logged"));
    scanner.prime(f.path("deleted"), Hash::of(b"d"));
    let scan = scanner.baseline().unwrap();
    assert_eq!(
        told(&scan, &["as logged", "d"]),
        ["deleted: d -> nothing", "known: as logged -> edited while the daemon was away"]
    );
    assert_eq!(scanner.known(&f.path("unheard-of")), Some(Hash::of(b"x")));
}

#[test]
fn ignored_files_the_stores_and_temporaries_are_left_out_and_new_rules_take_effect() {
    let f = Fixture::new();
    f.outside(".gitignore", "*.o\n/target/\n");
    f.outside("sub/.gitignore", "!keep.o\nlocal\n");
    f.outside(".git/info/exclude", "private\n");
    let mut scanner = scanner(&f);
    for name in [
        "a.o",
        "target/x",
        "sub/keep.o",
        "sub/local",
        "local",
        "private",
        ".git/HEAD",
        ".ostk/journal.jsonl",
        ".ostk-tmp-1-1",
        "sub/target/y",
    ] {
        f.outside(name, "x");
    }
    let found = told(&scanner.scan().unwrap(), &[]);
    let shown = ["local: nothing -> x", "sub/keep.o: nothing -> x", "sub/target/y: nothing -> x"];
    assert_eq!(found, shown);
    f.outside(".gitignore", "/target/\n");
    let scan = scanner.scan().unwrap();
    let names: Vec<_> = scan.changes.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(names, [".gitignore", "a.o"]);
}

#[test]
fn what_cannot_be_followed_is_a_problem_and_the_rest_is_still_found() {
    let f = Fixture::new();
    let mut scanner = scanner(&f);
    fs::write(f.at("").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    fs::File::create(f.at("huge")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    symlink("/etc/passwd", f.at("link")).unwrap();
    symlink("..", f.at("loop")).unwrap();
    f.outside("fine", "x");
    let scan = scanner.scan().unwrap();
    assert_eq!(told(&scan, &[]), ["fine: nothing -> x"]);
    let problems: Vec<_> =
        scan.problems.iter().map(|p| (p.path.as_str(), p.reason.contains("64 MiB"))).collect();
    assert_eq!(problems, [("caf\u{fffd}", false), ("huge", true)]);
}

#[test]
fn a_file_with_a_name_elsewhere_is_told_from_one_whose_names_are_all_here() {
    let fixture = Fixture::new();
    for name in ["a", "b", "shared"] {
        fixture.outside(name, name);
    }
    std::fs::hard_link(fixture.at("a"), fixture.at("a2")).unwrap();
    std::fs::hard_link(fixture.at("shared"), fixture.outer.path().join("elsewhere")).unwrap();
    let mut scanner = Scanner::new(fixture.ws.clone());
    scanner.baseline().unwrap();
    assert_eq!(scanner.linked(), [fixture.path("shared")]);
    std::fs::remove_file(fixture.outer.path().join("elsewhere")).unwrap();
    scanner.scan().unwrap();
    assert_eq!(scanner.linked(), []);
}
