//! Replace, remove, rename and modes when nobody interferes.

use std::{fs, os::unix::fs::MetadataExt, sync::Arc};

use ostk_files::{Expected, FilesError, MAX_FILE_BYTES, Observation, Replaced};
use ostk_log::Hash;

use crate::common::Fixture;

#[test]
fn any_bytes_come_back_as_they_were_written() {
    let f = Fixture::new();
    let contents: [&[u8]; 5] = [
        b"a\r\nb\r\n",
        b"no newline at the end",
        b"",
        b"\x00\xff\xfe binary \x00",
        "\u{feff}bom\n".as_bytes(),
    ];
    for (n, content) in contents.iter().enumerate() {
        let path = f.path(&format!("new/dir{n}/file"));
        assert_eq!(f.ws.replace(&path, Expected::Absent, content, None).unwrap(), Replaced::Done);
        let version = f.version(path.as_str());
        assert_eq!((&*version.bytes, version.hash), (*content, Hash::of(content)));
        let expected = Expected::Hash(version.hash);
        assert_eq!(f.ws.replace(&path, expected, b"\r\n", None).unwrap(), Replaced::Done);
        assert_eq!(f.bytes(path.as_str()), b"\r\n");
    }
}

#[test]
fn a_replaced_file_keeps_its_mode_and_owner_unless_told_otherwise() {
    let f = Fixture::new();
    f.outside("tool", "1");
    f.set_mode("tool", 0o4750);
    let owner = |f: &Fixture| fs::metadata(f.at("tool")).map(|m| (m.uid(), m.gid())).unwrap();
    let before = owner(&f);
    let path = f.path("tool");
    let write = |bytes: &[u8], executable| {
        let expected = Expected::Hash(f.version("tool").hash);
        assert_eq!(f.ws.replace(&path, expected, bytes, executable).unwrap(), Replaced::Done);
    };
    write(b"2", None);
    assert_eq!((f.mode("tool"), owner(&f)), (0o4750, before));
    assert!(f.version("tool").executable);
    write(b"3", Some(false));
    assert_eq!(f.mode("tool"), 0o4640);
    write(b"4", Some(true));
    assert_eq!(f.mode("tool"), 0o4750);
    f.ws.set_executable(&path, false).unwrap();
    assert!(!f.version("tool").executable);
    assert_eq!(f.bytes("tool"), b"4");
}

#[test]
fn a_private_files_new_bytes_are_private_at_every_moment() {
    let f = Fixture::new();
    f.outside("secret", "old");
    f.set_mode("secret", 0o600);
    let root = f.at("");
    let ws = f.ws.clone().with_failpoint(Arc::new(move |step| {
        for entry in fs::read_dir(&root).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o077, 0, "at {step}");
        }
    }));
    let expected = Expected::Hash(Hash::of(b"old"));
    assert_eq!(ws.replace(&f.path("secret"), expected, b"new", None).unwrap(), Replaced::Done);
}

#[test]
fn a_new_file_is_executable_only_if_asked() {
    let f = Fixture::new();
    f.ws.replace(&f.path("plain"), Expected::Absent, b"", None).unwrap();
    f.ws.replace(&f.path("tool"), Expected::Absent, b"", Some(true)).unwrap();
    assert!(!f.version("plain").executable);
    assert!(f.version("tool").executable);
}

#[test]
fn a_stale_expectation_changes_nothing_and_shows_what_is_there() {
    let f = Fixture::new();
    f.outside("file", "current");
    let current = f.version("file");
    let path = f.path("file");
    let stale = Hash::of(b"older");
    let displaced = Replaced::Displaced(current.clone());
    assert_eq!(f.ws.replace(&path, Expected::Hash(stale), b"mine", None).unwrap(), displaced);
    assert_eq!(f.ws.replace(&path, Expected::Absent, b"mine", None).unwrap(), displaced);
    assert_eq!(f.ws.remove(&path, stale).unwrap(), displaced);
    assert_eq!(f.ws.rename(&path, &f.path("other"), stale).unwrap(), displaced);
    assert_eq!(f.bytes("file"), b"current");
    assert_eq!(f.leftovers(), [""; 0]);
}

#[test]
fn a_file_deleted_underneath_is_missing_not_created() {
    let f = Fixture::new();
    f.outside("dir/file", "x");
    let (path, hash) = (f.path("dir/file"), f.version("dir/file").hash);
    fs::remove_file(f.at("dir/file")).unwrap();
    assert_eq!(f.ws.replace(&path, Expected::Hash(hash), b"y", None).unwrap(), Replaced::Missing);
    fs::remove_dir(f.at("dir")).unwrap();
    assert_eq!(f.ws.replace(&path, Expected::Hash(hash), b"y", None).unwrap(), Replaced::Missing);
    assert_eq!(f.ws.remove(&path, hash).unwrap(), Replaced::Missing);
    assert_eq!(f.ws.rename(&path, &f.path("b"), hash).unwrap(), Replaced::Missing);
    assert_eq!(f.ws.observe(&path).unwrap(), Observation::Absent);
    assert!(!f.at("dir").exists());
}

#[test]
fn a_file_replaced_by_a_directory_underneath_is_an_error_that_says_so() {
    let f = Fixture::new();
    f.outside("file", "x");
    let (path, hash) = (f.path("file"), f.version("file").hash);
    fs::remove_file(f.at("file")).unwrap();
    f.outside("file/inside", "kept");
    assert_eq!(f.ws.observe(&path).unwrap(), Observation::Directory);
    for expected in [Expected::Hash(hash), Expected::Absent] {
        let error = f.ws.replace(&path, expected, b"y", None).unwrap_err();
        assert_eq!(error.to_string(), "file is a directory");
    }
    assert!(matches!(f.ws.remove(&path, hash), Err(FilesError::IsDirectory { .. })));
    assert_eq!(f.bytes("file/inside"), b"kept");
}

#[test]
fn a_directory_replaced_by_a_file_underneath_is_an_error_that_says_so() {
    let f = Fixture::new();
    f.outside("dir/file", "x");
    let path = f.path("dir/file");
    fs::remove_dir_all(f.at("dir")).unwrap();
    f.outside("dir", "now a file");
    assert_eq!(f.ws.observe(&path).unwrap(), Observation::Absent);
    let error = f.ws.replace(&path, Expected::Absent, b"y", None).unwrap_err();
    assert!(matches!(error, FilesError::NotADirectory { .. }), "{error}");
    assert_eq!(f.bytes("dir"), b"now a file");
}

#[test]
fn a_file_over_64_mib_is_refused_for_reading_and_writing() {
    let f = Fixture::new();
    f.outside("huge", "");
    // Sparse: costs no disk.
    fs::File::options().write(true).open(f.at("huge")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    let error = f.ws.observe(&f.path("huge")).unwrap_err();
    assert_eq!(error.to_string(), "huge has 67108865 bytes; the limit is 67108864 (64 MiB)");
    let bytes = vec![0; usize::try_from(MAX_FILE_BYTES).unwrap() + 1];
    let result = f.ws.replace(&f.path("new"), Expected::Absent, &bytes, None);
    assert!(matches!(result, Err(FilesError::TooLarge { .. })), "{result:?}");
    assert!(!f.at("new").exists());
}

#[test]
fn a_file_is_removed_and_renamed_with_its_bytes_and_mode() {
    let f = Fixture::new();
    f.outside("a.sh", "run");
    f.set_mode("a.sh", 0o755);
    let hash = f.version("a.sh").hash;
    let (from, to) = (f.path("a.sh"), f.path("deep/er/b.sh"));
    assert_eq!(f.ws.rename(&from, &to, hash).unwrap(), Replaced::Done);
    assert!(!f.at("a.sh").exists());
    assert_eq!((f.bytes("deep/er/b.sh"), f.mode("deep/er/b.sh")), (b"run".to_vec(), 0o755));
    assert_eq!(f.ws.remove(&to, hash).unwrap(), Replaced::Done);
    assert_eq!(fs::read_dir(f.at("deep/er")).unwrap().count(), 0);
}

#[test]
fn a_rename_may_change_only_the_case_but_not_land_on_another_file() {
    let f = Fixture::new();
    f.outside("Readme", "text");
    let hash = f.version("Readme").hash;
    assert_eq!(f.ws.rename(&f.path("Readme"), &f.path("README"), hash).unwrap(), Replaced::Done);
    assert_eq!(f.bytes("README"), b"text");
    assert!(!f.at("Readme").exists());

    f.outside("readme", "another");
    f.outside("other", "third");
    for taken in ["readme", "other"] {
        let result = f.ws.rename(&f.path("README"), &f.path(taken), hash);
        assert!(matches!(result, Err(FilesError::Exists { .. })), "{result:?}");
    }
    assert_eq!((f.bytes("README"), f.bytes("readme")), (b"text".to_vec(), b"another".to_vec()));
    assert_eq!(f.leftovers(), [""; 0]);
}

#[test]
fn directories_are_made_with_their_parents_once() {
    let f = Fixture::new();
    let path = f.path("a/b/c");
    assert!(f.ws.make_dir(&path).unwrap());
    assert!(!f.ws.make_dir(&path).unwrap());
    assert!(f.at("a/b/c").is_dir());
    f.outside("file", "");
    let blocked = f.ws.make_dir(&f.path("file"));
    assert!(matches!(blocked, Err(FilesError::NotADirectory { .. })), "{blocked:?}");
}
