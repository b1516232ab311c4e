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
fn a_mode_that_agrees_with_what_was_asked_is_kept_to_the_bit() {
    let f = Fixture::new();
    for (mode, executable) in [(0o744, true), (0o700, true), (0o654, false), (0o604, false)] {
        f.outside("file", "old");
        f.set_mode("file", mode);
        let expected = Expected::Hash(Hash::of(b"old"));
        f.ws.replace(&f.path("file"), expected, b"new", Some(executable)).unwrap();
        assert_eq!((f.bytes("file"), f.mode("file")), (b"new".to_vec(), mode), "{mode:o}");
    }
}

/// An access control list that lets user 12345 read: the version, then (tag, permissions, id) of the owner, that user,
/// the group, the mask, and others. See acl(5).
const READER: [u8; 44] = {
    let entries: [(u8, u8, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 12345), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut list = [0; 44];
    list[0] = 2;
    let mut n = 0;
    while n < entries.len() {
        let ((tag, permissions, id), at) = (entries[n], 4 + 8 * n);
        (list[at], list[at + 2]) = (tag, permissions);
        let mut byte = 0;
        while byte < 4 {
            list[at + 4 + byte] = id.to_le_bytes()[byte];
            byte += 1;
        }
        n += 1;
    }
    list
};

#[test]
fn a_replaced_file_keeps_its_attributes_and_who_else_may_read_it() {
    let f = Fixture::new();
    let set = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::setxattr(f.at(name), attribute, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    let get = |name: &str, attribute: &str| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::getxattr(f.at(name), attribute, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    };
    let write = |name: &str| {
        let expected = Expected::Hash(f.version(name).hash);
        assert_eq!(f.ws.replace(&f.path(name), expected, b"new", None).unwrap(), Replaced::Done);
    };
    let (acl, long) = ("system.posix_acl_access", vec![b'x'; 2000]);
    f.outside("shared", "old");
    set("shared", "user.note", &long);
    set("shared", acl, &READER);
    let mode = f.mode("shared");
    write("shared");
    assert_eq!((get("shared", "user.note"), get("shared", acl)), (Some(long), Some(READER.to_vec())));
    assert_eq!(f.mode("shared"), mode);

    // What new files get in this directory does not open one that is older than the rule.
    f.outside("private/file", "old");
    f.set_mode("private/file", 0o640);
    set("private", "system.posix_acl_default", &READER);
    write("private/file");
    assert_eq!((get("private/file", acl), f.mode("private/file")), (None, 0o640));
}

#[test]
fn a_hard_link_is_cut_so_that_the_other_name_keeps_its_bytes() {
    let f = Fixture::new();
    f.outside("one", "old");
    fs::hard_link(f.at("one"), f.at("two")).unwrap();
    let (path, hash) = (f.path("one"), f.version("one").hash);
    assert_eq!(f.ws.replace(&path, Expected::Hash(hash), b"new", None).unwrap(), Replaced::Done);
    assert_eq!((f.bytes("one"), f.bytes("two")), (b"new".to_vec(), b"old".to_vec()));
    assert_eq!(f.ws.remove(&f.path("two"), hash).unwrap(), Replaced::Done);
    assert_eq!(f.bytes("one"), b"new");
    // A name that is the same file already is taken all the same.
    fs::hard_link(f.at("one"), f.at("ONE")).unwrap();
    let result = f.ws.rename(&path, &f.path("ONE"), Hash::of(b"new"));
    assert!(matches!(result, Err(FilesError::Exists { .. })), "{result:?}");
    assert_eq!((f.bytes("one"), f.bytes("ONE")), (b"new".to_vec(), b"new".to_vec()));
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
