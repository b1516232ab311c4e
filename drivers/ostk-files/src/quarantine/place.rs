//! Names below the workspace, reached without following a link: what looks and moves here goes through.
//!
//! Programs that still run may exchange any name for another at any moment. A directory is opened from the root down with
//! no link on the way, and what is in it is then named relative to the open directory, so that nothing outside is touched.

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
};

use ostk_listing::{Listing, Names};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{Workspace, workspace::openat2_beneath};

/// The workspace as it is looked through.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(pub(super) &'a Workspace);

/// What a small file is, or why it is not read.
pub(super) enum Small {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// It is not there.
    Absent,
    /// It is no regular file, too large, or not readable.
    Other,
}

impl Place<'_> {
    /// Opens a directory.
    pub(super) fn directory(self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        openat2_beneath(self.0.root_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens the directory of a path and says its last name.
    pub(super) fn parent(self, path: &Path) -> rustix::io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.directory(path.parent().unwrap_or(Path::new("")))?, name.to_owned()))
    }

    /// What stands at a path, if anything.
    pub(super) fn stat(self, path: &Path) -> Option<Stat> {
        let (parent, name) = self.parent(path).ok()?;
        rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// The kind of what stands at a path.
    pub(super) fn kind(self, path: &Path) -> Option<FileType> {
        Some(FileType::from_raw_mode(self.stat(path)?.st_mode))
    }

    /// The directories in a directory, and what has one of some names; may be remembered from a look before.
    pub(super) fn listing(self, path: &Path, names: &Names) -> rustix::io::Result<Listing> {
        ostk_listing::list(self.0.root_fd(), path, names, || self.directory(path))
    }

    /// The names in a directory, with their kinds; none of a directory that cannot be read.
    pub(super) fn names(self, path: &Path) -> Vec<(OsString, FileType)> {
        let Ok(fd) = self.directory(path) else { return Vec::new() };
        let Ok(entries) = Dir::read_from(&fd) else { return Vec::new() };
        let named = entries.flatten().filter_map(|entry| {
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            (name != "." && name != "..").then_some((name, kind))
        });
        named.collect()
    }

    /// A file of at most `limit` bytes.
    pub(super) fn small(self, path: &Path, limit: u64) -> Small {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match openat2_beneath(self.0.root_fd(), path, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => return Small::Absent,
            Err(_) => return Small::Other,
        };
        if !file.metadata().is_ok_and(|there| there.is_file() && there.len() <= limit) {
            return Small::Other;
        }
        let mut bytes = Vec::new();
        match file.take(limit).read_to_end(&mut bytes) {
            Ok(_) => Small::Bytes(bytes),
            Err(_) => Small::Other,
        }
    }

    /// Where a path of the workspace really leads, as a path of the workspace; `None` if that is outside or not there.
    pub(super) fn leads_to(self, path: &Path) -> Option<PathBuf> {
        let root = self.0.root().as_std_path();
        let real = std::fs::canonicalize(root.join(path)).ok()?;
        real.strip_prefix(root).ok().map(Path::to_owned)
    }
}
