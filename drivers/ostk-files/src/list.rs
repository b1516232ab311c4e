//! What a directory holds: the listing an agent asks for, and the bare names that the walkers use.

use std::{ffi::CString, os::fd::OwnedFd};

use rustix::{
    fs::{AtFlags, Dir, FileType, OFlags, Stat},
    io::Errno,
};

use crate::{FilesError, Workspace, WorkspacePath, path::TEMPORARY_PREFIX};

/// How many entries a listing holds at most; an agent can read no more, and a search serves it better.
pub const MAX_LISTED: usize = 10_000;

/// Bare names, sorted, each with what it is.
pub(crate) type Names = Vec<(CString, FileType)>;

/// The entries of one directory, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The entries. Temporary files of this crate are left out; `.git` and `.ostk` are not.
    pub entries: Vec<Entry>,
    /// Names that are not UTF-8, with the invalid bytes replaced: they exist but cannot be used.
    pub not_utf8: Vec<String>,
    /// Whether the directory holds more than [`MAX_LISTED`] entries.
    pub truncated: bool,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry's name.
    pub name: String,
    /// What it is. Links are not followed.
    pub kind: EntryKind,
    /// Size in bytes of a file, of a link the length of its target.
    pub size_bytes: u64,
    /// Whether the owner may execute it.
    pub executable: bool,
    /// The time of the last change to the content, nanoseconds since the Unix epoch.
    pub modified_ns: i128,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A pipe, socket or device.
    Other,
}

impl Workspace {
    /// What the directory `path` holds. Fails with [`FilesError::Missing`] or [`FilesError::NotADirectory`].
    pub fn list(&self, path: &WorkspacePath) -> Result<Listing, FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = self.open_beneath(path, flags).map_err(|e| FilesError::from_errno("list", path, e))?;
        let mut listing = Listing::default();
        for (name, _) in read_names(&dir, path)? {
            if listing.entries.len() == MAX_LISTED {
                listing.truncated = true;
                break;
            }
            match name.into_string() {
                Ok(name) if name.starts_with(TEMPORARY_PREFIX) => {}
                Ok(name) => listing.entries.extend(stat_entry(&dir, name)),
                Err(e) => listing.not_utf8.push(e.into_cstring().to_string_lossy().into_owned()),
            }
        }
        Ok(listing)
    }
}

/// The entry `name`, unless it vanished since the directory was read.
fn stat_entry(dir: &OwnedFd, name: String) -> Option<Entry> {
    let stat = rustix::fs::statat(dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let executable = kind == EntryKind::File && stat.st_mode & 0o100 != 0;
    let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
    Some(Entry { name, kind, size_bytes, executable, modified_ns: modified_ns(&stat) })
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn modified_ns(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// The directory's names and what each is; nothing if it is gone, no longer one, or not readable.
pub(crate) fn names_in(
    workspace: &Workspace,
    path: &WorkspacePath,
) -> Result<Option<(OwnedFd, Names)>, FilesError> {
    match workspace.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(dir) => {
            let names = read_names(&dir, path)?;
            Ok(Some((dir, names)))
        }
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::XDEV) => Ok(None),
        Err(errno) => Err(FilesError::from_errno("list", path, errno)),
    }
}

/// The names in an open directory and what each is.
pub(crate) fn read_names(dir: &OwnedFd, path: &WorkspacePath) -> Result<Names, FilesError> {
    let fail = |errno| FilesError::from_errno("list", path, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            kind => kind,
        };
        names.push((entry.file_name().to_owned(), kind));
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}
