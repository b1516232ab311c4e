//! What is in directories, remembered for as long as it is certain that it has not changed.
//!
//! Two walks look at every directory of a workspace for a few names: one before each command (`ostk-sandbox`), one after
//! it (`ostk-files`). To ask whether a directory has changed takes a tenth of the time of listing it. A change of any entry
//! sets the directory's change time, which only the kernel sets; so a listing holds while that time and the directory's
//! identity are the same. It is kept only if that time was long past when the listing began, for two changes within one
//! step of a clock leave the same time, and only of file systems of this machine that are known to keep such times.
//!
//! The memory is one for the process and holds nothing that a restart would miss.

mod memory;

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, Dir, FileType, Stat};

use memory::{Stamp, memory};

/// An entry: its name and kind. Links are not followed.
pub type Entry = (OsString, FileType);

/// The entries of a directory that somebody wants to know of.
pub type Listing = Arc<[Entry]>;

/// Names beside those of directories that a walk wants to know of, in any case of their ASCII letters.
#[derive(Debug, Clone)]
pub struct Names(Arc<BTreeSet<OsString>>);

impl Names {
    /// Names of entries. What was remembered for others only is forgotten, and later both are remembered.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a OsStr>) -> Self {
        let names = names.into_iter().map(OsStr::to_ascii_lowercase).collect();
        Self(memory().remember_also(names))
    }

    fn have(&self, name: &OsStr) -> bool {
        self.0.contains(&name.to_ascii_lowercase())
    }
}

/// The directories in a directory, and its entries with one of `names` or of what others asked for.
///
/// The directory is `path`, seen from `base`; `open` opens it for reading when it must be listed. The last part of `path`
/// must not be a link. Entries that appear or go meanwhile may be missing or not.
///
/// # Errors
/// It is not there, no directory, or cannot be read.
pub fn list(
    base: impl AsFd,
    path: &Path,
    names: &Names,
    open: impl FnOnce() -> rustix::io::Result<OwnedFd>,
) -> rustix::io::Result<Listing> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let stat = rustix::fs::statat(base, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if let Some(listing) = memory().recall(&Stamp::of(&stat), &names.0) {
        return Ok(listing);
    }
    let directory = open()?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Of what was opened: it need not be what stood there before.
    let stat = rustix::fs::fstat(&directory)?;
    let (entries, complete) = read(directory.as_fd(), names)?;
    let listing = Listing::from(entries);
    if complete && memory::is_settled(&stat, began) && memory::keeps_times(&directory) {
        memory().keep(Stamp::of(&stat), &listing, &names.0);
    }
    Ok(listing)
}

/// The wanted entries, and whether these are all of them.
fn read(directory: BorrowedFd<'_>, names: &Names) -> rustix::io::Result<(Vec<Entry>, bool)> {
    let (mut entries, mut complete) = (Vec::new(), true);
    for entry in Dir::read_from(directory)? {
        let Ok(entry) = entry else {
            complete = false;
            continue;
        };
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        let kind = match entry.file_type() {
            FileType::Unknown => rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).map(kind),
            kind => Ok(kind),
        };
        let Ok(kind) = kind else {
            complete = false;
            continue;
        };
        let is_itself = name == "." || name == "..";
        if !is_itself && (kind == FileType::Directory || names.have(&name)) {
            entries.push((name, kind));
        }
    }
    Ok((entries, complete))
}

fn kind(stat: Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps};

    use super::*;

    fn look(path: &Path, names: &Names) -> (Vec<OsString>, bool) {
        let mut read = false;
        let listing = list(CWD, path, names, || {
            read = true;
            rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
        });
        let mut found: Vec<_> = listing.unwrap().iter().map(|(name, _)| name.clone()).collect();
        found.sort();
        (found, read)
    }

    fn names() -> Names {
        Names::new([OsStr::new(".envrc")])
    }

    /// A directory whose last change is long past.
    fn settled() -> (tempfile::TempDir, PathBuf) {
        let tree = tempfile::tempdir_in(".").unwrap();
        let path = tree.path().join("d");
        fs::create_dir_all(path.join("inner")).unwrap();
        fs::write(path.join("file"), "").unwrap();
        std::thread::sleep(memory::SETTLED + std::time::Duration::from_millis(1_050));
        (tree, path)
    }

    #[test]
    fn directories_and_asked_names_are_listed_whatever_their_case() {
        let tree = tempfile::tempdir_in(".").unwrap();
        fs::create_dir(tree.path().join("inner")).unwrap();
        for name in ["file", ".EnvRC"] {
            fs::write(tree.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("inner", tree.path().join("link")).unwrap();
        assert_eq!(look(tree.path(), &names()).0, [".EnvRC", "inner"]);
    }

    #[test]
    fn a_directory_that_stays_as_it_is_is_read_once_and_every_change_is_seen() {
        let (_tree, path) = settled();
        let names = names();
        assert_eq!(look(&path, &names), (vec!["inner".into()], true));
        assert_eq!(look(&path, &names), (vec!["inner".into()], false), "it was remembered");
        fs::write(path.join(".envrc"), "").unwrap();
        assert_eq!(look(&path, &names), (vec![".envrc".into(), "inner".into()], true));
        fs::rename(path.join(".envrc"), path.join("other")).unwrap();
        assert_eq!(look(&path, &names), (vec!["inner".into()], true));
        fs::remove_dir(path.join("inner")).unwrap();
        assert_eq!(look(&path, &names), (vec![], true));
    }

    #[test]
    fn what_changed_a_moment_ago_is_not_remembered() {
        let tree = tempfile::tempdir_in(".").unwrap();
        for _ in 0..3 {
            assert!(look(tree.path(), &names()).1, "two changes may have the same time");
        }
    }

    #[test]
    fn other_times_that_programs_can_set_hide_no_change() {
        let (_tree, path) = settled();
        look(&path, &names());
        let before = rustix::fs::stat(&path).unwrap();
        fs::write(path.join(".envrc"), "").unwrap();
        let time = Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        assert_eq!(look(&path, &names()).0, [".envrc", "inner"]);
    }

    #[test]
    fn another_directory_in_the_place_of_one_is_listed_itself() {
        let (tree, path) = settled();
        look(&path, &names());
        fs::rename(&path, tree.path().join("moved")).unwrap();
        fs::create_dir_all(path.join("new")).unwrap();
        assert_eq!(look(&path, &names()).0, ["new"]);
    }
}
