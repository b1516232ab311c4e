//! Which names lead into the workspace, and how the others are refused.

use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink};

use ostk_files::{
    EntryKind, Expected, FilesError, Observation, PathError, Replaced, SpecialKind, WorkspacePath,
};

use crate::common::Fixture;

#[test]
fn a_name_is_normalised_and_seen_from_the_callers_directory() {
    let f = Fixture::new();
    f.outside("src/lib.rs", "x");
    let absolute = f.at("src/lib.rs");
    let cases = [
        ("", "src/lib.rs", "src/lib.rs"),
        ("src", "lib.rs", "src/lib.rs"),
        ("src", "../src/./lib.rs", "src/lib.rs"),
        ("src", absolute.to_str().unwrap(), "src/lib.rs"),
        ("", "src//lib.rs", "src/lib.rs"),
        ("", "src/", "src"),
        ("src", "..", "."),
        ("", "not/yet/there.rs", "not/yet/there.rs"),
        ("", "not/../there.rs", "there.rs"),
    ];
    for (cwd, asked, expected) in cases {
        assert_eq!(f.ws.resolve(cwd, asked).unwrap().as_str(), expected, "{asked:?} from {cwd:?}");
    }
}

#[test]
fn a_name_that_cannot_be_used_is_refused_with_its_reason() {
    let f = Fixture::new();
    f.outside("file", "x");
    let long = "d/".repeat(2500);
    let long_component = "n".repeat(300);
    let sibling = format!("{}-other/secret", f.ws.root());
    let message = |path: &str| f.ws.resolve("", path).unwrap_err().to_string();
    assert_eq!(message(""), "the path is empty");
    assert!(message("a\0b").contains("NUL byte"));
    assert!(message(&long).contains("5000 bytes"));
    assert!(message(&long_component).contains("too long"));
    for outside in ["../secret", "/etc/passwd", "a/../../secret", &sibling] {
        assert!(matches!(f.ws.resolve("", outside), Err(PathError::Outside { .. })), "{outside}");
    }
    assert!(message("file/below").contains("goes through \"file\", which is not a directory"));
    assert!(matches!(f.ws.resolve("", ".ostk-tmp-1-1"), Err(PathError::Reserved { .. })));
}

#[test]
fn a_link_that_stays_inside_is_followed_and_survives_a_write_through_it() {
    let f = Fixture::new();
    f.outside("real/target.txt", "old");
    symlink("real", f.at("dir")).unwrap();
    symlink("../dir/target.txt", f.at("real/link.txt")).unwrap();
    symlink(f.at("real/target.txt"), f.at("absolute")).unwrap();
    for name in ["dir/link.txt", "real/link.txt", "absolute"] {
        assert_eq!(f.path(name).as_str(), "real/target.txt", "{name}");
    }
    let expected = Expected::Hash(f.version("real/link.txt").hash);
    assert_eq!(f.ws.replace(&f.path("real/link.txt"), expected, b"new", None).unwrap(), Replaced::Done);
    assert!(f.at("real/link.txt").is_symlink());
    assert_eq!(f.bytes("real/target.txt"), b"new");
}

#[test]
fn a_dangling_link_that_stays_inside_names_the_file_to_create() {
    let f = Fixture::new();
    symlink("later/made.txt", f.at("link")).unwrap();
    let path = f.path("link");
    assert_eq!(path.as_str(), "later/made.txt");
    assert_eq!(f.ws.replace(&path, Expected::Absent, b"x", None).unwrap(), Replaced::Done);
    assert_eq!(f.bytes("link"), b"x");
}

#[test]
fn a_link_that_leaves_the_workspace_or_turns_in_a_circle_is_refused() {
    let f = Fixture::new();
    fs::write(f.outer.path().join("secret"), "s").unwrap();
    symlink("../secret", f.at("relative")).unwrap();
    symlink("/etc", f.at("absolute")).unwrap();
    symlink("circle", f.at("circle")).unwrap();
    symlink(std::ffi::OsStr::from_bytes(b"\xff"), f.at("bytes")).unwrap();
    for name in ["relative", "absolute/passwd"] {
        assert!(matches!(f.ws.resolve("", name), Err(PathError::OutsideThroughLink { .. })), "{name}");
    }
    assert!(matches!(f.ws.resolve("", "circle"), Err(PathError::LinkLoop { .. })));
    assert!(matches!(f.ws.resolve("", "bytes"), Err(PathError::NotUtf8 { .. })));
}

#[test]
fn a_directory_swapped_for_a_link_after_the_check_does_not_let_a_write_out() {
    let f = Fixture::new();
    f.outside("dir/file", "inside");
    let path = f.path("dir/file");
    let expected = Expected::Hash(f.version("dir/file").hash);
    let elsewhere = f.outer.path().join("elsewhere");
    fs::rename(f.at("dir"), &elsewhere).unwrap();
    symlink(&elsewhere, f.at("dir")).unwrap();

    for result in [
        f.ws.observe(&path).map(|_| ()),
        f.ws.replace(&path, expected, b"escaped", None).map(|_| ()),
        f.ws.replace(&path, Expected::Absent, b"escaped", None).map(|_| ()),
        f.ws.make_dir(&path).map(|_| ()),
        f.ws.set_executable(&path, true),
    ] {
        assert!(
            matches!(result, Err(FilesError::LinkAppeared { .. } | FilesError::NotADirectory { .. })),
            "{result:?}"
        );
    }
    assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"inside");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
}

#[test]
fn a_directory_lists_its_entries_and_names_those_it_cannot_use() {
    let f = Fixture::new();
    f.outside("b.txt", "1234");
    f.outside("a/inner", "");
    f.outside("run.sh", "");
    f.set_mode("run.sh", 0o755);
    f.outside(".ostk-tmp-1-1", "");
    symlink("b.txt", f.at("link")).unwrap();
    fs::write(f.at("").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "").unwrap();

    let listing = f.ws.list(&WorkspacePath::root()).unwrap();
    let shown: Vec<_> = listing.entries.iter().map(|e| (e.name.as_str(), e.kind, e.executable)).collect();
    assert_eq!(
        shown,
        [
            ("a", EntryKind::Directory, false),
            ("b.txt", EntryKind::File, false),
            ("link", EntryKind::Symlink, false),
            ("run.sh", EntryKind::File, true),
        ]
    );
    assert_eq!(listing.entries[1].size_bytes, 4);
    assert_eq!(listing.not_utf8, ["caf\u{fffd}"]);
    assert!(!listing.truncated);
    assert!(matches!(f.ws.list(&f.path("b.txt")), Err(FilesError::NotADirectory { .. })));
    assert!(matches!(f.ws.list(&f.path("gone")), Err(FilesError::Missing { .. })));
}

#[test]
fn a_pipe_or_a_socket_is_named_and_never_waited_for() {
    let f = Fixture::new();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        f.at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(f.at("socket")).unwrap();
    for (name, kind) in [("pipe", SpecialKind::Fifo), ("socket", SpecialKind::Socket)] {
        assert_eq!(f.ws.observe(&f.path(name)).unwrap(), Observation::Special(kind));
        let result = f.ws.replace(&f.path(name), Expected::Absent, b"x", None);
        assert!(matches!(result, Err(FilesError::Special { .. })), "{result:?}");
    }
}

#[test]
fn a_path_survives_the_journal_and_a_forged_one_does_not() {
    let f = Fixture::new();
    let path = f.path("src/lib.rs");
    let json = serde_json::to_string(&path).unwrap();
    assert_eq!(json, "\"src/lib.rs\"");
    assert_eq!(serde_json::from_str::<WorkspacePath>(&json).unwrap(), path);
    for forged in ["../x", "/x", "a//b", "a/./b", "", "a/..", "a/"] {
        let json = serde_json::to_string(forged).unwrap();
        assert!(serde_json::from_str::<WorkspacePath>(&json).is_err(), "{forged:?}");
    }
}
