//! The atomic replace: a path holds the old bytes or the new ones, and an edit made meanwhile is never lost.
//!
//! The new bytes are written to a temporary file in the same directory, then `renameat2` exchanges the two names. What
//! came out is compared with what the caller expected; if it is something else, someone outside edited the file after
//! the caller looked, the names are exchanged back and the caller is told. A plain rename would have destroyed that edit.
//! What this cannot see: a program that keeps the old file open and writes into it after the exchange.

use std::os::fd::OwnedFd;

use ostk_log::Hash;
use rustix::{
    fs::{Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};

use crate::{
    FileVersion, FilesError, Workspace, WorkspacePath,
    look::{Seen, check_size, look},
    temporary::{Temporary, discard, with_executable},
    turn,
};

/// How often a creation is tried while someone outside creates and deletes the same file.
const MAX_ATTEMPTS: usize = 8;

/// What the caller believes to stand at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// A file with these bytes.
    Hash(Hash),
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// As asked.
    Done,
    /// Not done: the path holds, or held for a moment, this version instead of the expected one, or the expected bytes
    /// under a mode that was changed meanwhile. If it is no longer in place, an even newer outside edit is, and these
    /// bytes are the caller's to keep.
    Displaced(FileVersion),
    /// Not done: the file that should have been there is gone.
    Missing,
}

/// A file's directory, open, and its name in it.
pub(crate) struct Place<'p> {
    pub(crate) dir: OwnedFd,
    pub(crate) name: &'p str,
    pub(crate) path: &'p WorkspacePath,
}

impl Place<'_> {
    pub(crate) fn look(&self, name: &str) -> Result<Seen, FilesError> {
        look(&self.dir, name, self.path)
    }

    pub(crate) fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> rustix::io::Result<()> {
        rustix::fs::renameat_with(&self.dir, from, &self.dir, to, flags)
    }
}

impl Workspace {
    /// One step of a change: `wanted` (bytes, executable) or nothing in the place of `expected` or of nothing.
    ///
    /// `path` is resolved from the root. True if it is as wanted now, false if something else stood there and still does.
    pub fn change(
        &self,
        path: &str,
        expected: Option<Hash>,
        wanted: Option<(&[u8], bool)>,
    ) -> Result<bool, FilesError> {
        let path = self.resolve("", path)?;
        let replaced = match (wanted, expected) {
            (Some((bytes, executable)), expected) => {
                let expected = expected.map_or(Expected::Absent, Expected::Hash);
                self.replace(&path, expected, bytes, Some(executable))?
            }
            (None, Some(expected)) => self.remove(&path, expected)?,
            (None, None) => return Ok(true),
        };
        Ok(replaced == Replaced::Done)
    }

    /// Puts `bytes` at `path` if what stands there is `expected`.
    ///
    /// Mode, owner, access control list and the user's extended attributes are kept; `executable` changes the x bits
    /// unless they agree with it already, `None` keeps them. Another hard link to the file keeps the old bytes. Missing
    /// parents are created for a new file. Nothing is synced: after a power loss the file may be old, and the redo pass
    /// writes it again from the pack. Other processes may write at the same time; callers of this process take turns.
    /// After an error or a crash the file is old or new, never torn. Failpoints: `replace:temporary-written`,
    /// `replace:dressed`, `replace:renamed` (a new file), `replace:exchanged` (an existing one), `replace:old-removed`,
    /// `replace:restoring`, `replace:restored`.
    pub fn replace(
        &self,
        path: &WorkspacePath,
        expected: Expected,
        bytes: &[u8],
        executable: Option<bool>,
    ) -> Result<Replaced, FilesError> {
        check_size(bytes.len() as u64, path)?;
        let _turn = turn::of(self, path);
        match expected {
            Expected::Absent => self.create(path, bytes, executable.unwrap_or(false)),
            Expected::Hash(hash) => self.exchange(path, hash, bytes, executable),
        }
    }

    fn create(&self, path: &WorkspacePath, bytes: &[u8], executable: bool) -> Result<Replaced, FilesError> {
        for _ in 0..MAX_ATTEMPTS {
            match look(self.root_fd(), path.as_str(), path)? {
                Seen::File(version, _) => return Ok(Replaced::Displaced(version)),
                Seen::Absent => {}
                other => return Err(not_a_file(path, &other)),
            }
            if let Some(parent) = path.parent() {
                self.make_dir(&parent)?;
            }
            let place = self.place(path)?;
            let temporary =
                Temporary::create(&place.dir, path, bytes, if executable { 0o777 } else { 0o666 })?;
            self.reached("replace:temporary-written");
            match place.rename(&temporary.name, place.name, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.reached("replace:renamed");
                    return Ok(Replaced::Done);
                }
                Err(errno) => {
                    discard(&place.dir, &temporary.name);
                    if errno != Errno::EXIST {
                        return Err(rename_error(path, errno));
                    }
                }
            }
        }
        Err(FilesError::Busy { path: path.clone() })
    }

    fn exchange(
        &self,
        path: &WorkspacePath,
        expected: Hash,
        bytes: &[u8],
        executable: Option<bool>,
    ) -> Result<Replaced, FilesError> {
        let (place, original) = match self.expect_file(path, expected)? {
            Ok(found) => found,
            Err(answer) => return Ok(answer),
        };
        // Nobody else may read it until it has the original's mode: that may be a private file's.
        let temporary = Temporary::create(&place.dir, path, bytes, 0o600)?;
        self.reached("replace:temporary-written");
        if let Err(error) = temporary.dress(&place, &original, executable) {
            discard(&place.dir, &temporary.name);
            return Err(error);
        }
        self.reached("replace:dressed");
        if let Err(errno) = place.rename(&temporary.name, place.name, RenameFlags::EXCHANGE) {
            discard(&place.dir, &temporary.name);
            return if errno == Errno::NOENT {
                Ok(Replaced::Missing)
            } else {
                Err(rename_error(path, errno))
            };
        }
        self.reached("replace:exchanged");
        let is_expected =
            |version: &FileVersion, stat: &Stat| version.hash == expected && stat.st_mode == original.st_mode;
        self.settle(&place, &temporary.name, is_expected, Hash::of(bytes))
    }

    /// Judges what the exchange brought out under the name `temporary`.
    fn settle(
        &self,
        place: &Place<'_>,
        temporary: &str,
        is_expected: impl Fn(&FileVersion, &Stat) -> bool,
        ours: Hash,
    ) -> Result<Replaced, FilesError> {
        let out = place.look(temporary);
        if let Ok(Seen::File(version, stat)) = &out
            && is_expected(version, stat)
        {
            discard(&place.dir, temporary);
            self.reached("replace:old-removed");
            return Ok(Replaced::Done);
        }
        self.restore(place, temporary, ours)?;
        self.reached("replace:restored");
        match out? {
            Seen::File(version, _) => Ok(Replaced::Displaced(version)),
            Seen::Absent => Err(FilesError::Busy { path: place.path.clone() }),
            other => Err(not_a_file(place.path, &other)),
        }
    }

    /// Exchanges back, unless a newer outside edit already stands at the path. Then that one stays, and the displaced
    /// version stays under its temporary name until the caller has stored it and the next sweep hands it over again.
    fn restore(&self, place: &Place<'_>, temporary: &str, ours: Hash) -> Result<(), FilesError> {
        if !is_file_with(&place.look(place.name), ours) {
            return Ok(());
        }
        self.reached("replace:restoring");
        place
            .rename(temporary, place.name, RenameFlags::EXCHANGE)
            .map_err(|errno| rename_error(place.path, errno))?;
        if is_file_with(&place.look(temporary), ours) {
            discard(&place.dir, temporary);
            return Ok(());
        }
        // Someone wrote between the look and the exchange: the newer edit goes back in place.
        place
            .rename(temporary, place.name, RenameFlags::EXCHANGE)
            .map_err(|errno| rename_error(place.path, errno))
    }

    /// The place and metadata of a file that must have the hash `expected`, or the answer for the caller if it has not.
    pub(crate) fn expect_file<'p>(
        &self,
        path: &'p WorkspacePath,
        expected: Hash,
    ) -> Result<Result<(Place<'p>, Stat), Replaced>, FilesError> {
        match look(self.root_fd(), path.as_str(), path)? {
            Seen::File(version, stat) if version.hash == expected => match self.place(path) {
                Ok(place) => Ok(Ok((place, stat))),
                Err(FilesError::Missing { .. } | FilesError::NotADirectory { .. }) => {
                    Ok(Err(Replaced::Missing))
                }
                Err(error) => Err(error),
            },
            Seen::File(version, _) => Ok(Err(Replaced::Displaced(version))),
            Seen::Absent => Ok(Err(Replaced::Missing)),
            other => Err(not_a_file(path, &other)),
        }
    }

    /// Opens the directory that holds `path`.
    pub(crate) fn place<'p>(&self, path: &'p WorkspacePath) -> Result<Place<'p>, FilesError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(FilesError::IsDirectory { path: path.clone() });
        };
        let dir = self
            .open_beneath(&parent, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|errno| FilesError::from_errno("open the directory of", path, errno))?;
        Ok(Place { dir, name, path })
    }

    /// Makes the directory `path` and its missing parents; true if it was not there before.
    pub fn make_dir(&self, path: &WorkspacePath) -> Result<bool, FilesError> {
        let fail = |errno| FilesError::from_errno("make the directory", path, errno);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        if self.open_beneath(path, flags).is_ok() {
            return Ok(false);
        }
        let mut made = false;
        let mut above = WorkspacePath::root();
        for name in path.as_str().split('/') {
            let dir = self.open_beneath(&above, flags).map_err(fail)?;
            made = match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(fail(errno)),
            };
            above = above.child(name);
        }
        self.open_beneath(path, flags).map_err(fail)?;
        Ok(made)
    }

    /// Sets or clears the x bits of a file in place: whoever may read it may execute it, or nobody.
    pub fn set_executable(&self, path: &WorkspacePath, executable: bool) -> Result<(), FilesError> {
        let _turn = turn::of(self, path);
        let stat = match look(self.root_fd(), path.as_str(), path)? {
            Seen::File(_, stat) => stat,
            other => return Err(not_a_file(path, &other)),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fail = |errno| FilesError::from_errno("set the mode of", path, errno);
        let file = self.open_beneath(path, flags).map_err(fail)?;
        let mode = Mode::from_raw_mode(with_executable(stat.st_mode, Some(executable)));
        rustix::fs::fchmod(&file, mode).map_err(fail)
    }
}

/// What cannot be read, say because it is too large, is something else.
fn is_file_with(seen: &Result<Seen, FilesError>, hash: Hash) -> bool {
    matches!(seen, Ok(Seen::File(version, _)) if version.hash == hash)
}

/// The error for something that is not a file where one was needed.
pub(crate) fn not_a_file(path: &WorkspacePath, seen: &Seen) -> FilesError {
    let path = path.clone();
    match seen {
        Seen::Absent => FilesError::Missing { path },
        Seen::Directory => FilesError::IsDirectory { path },
        Seen::Special(kind) => FilesError::Special { path, kind: *kind },
        Seen::File(..) => FilesError::Exists { path },
    }
}

pub(crate) fn rename_error(path: &WorkspacePath, errno: Errno) -> FilesError {
    match errno {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => FilesError::Unsupported { path: path.clone() },
        _ => FilesError::from_errno("rename", path, errno),
    }
}
