//! The temporary file next to its target: made, filled, given the original's mode and owner, thrown away.
//!
//! There is no destructor on purpose. A crash leaves the file behind, and so does a test that aborts at a failpoint;
//! [`Workspace::sweep_temporaries`] finds what was left.

use std::{
    fs::File,
    io::Write,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
};

use crate::{
    FileVersion, FilesError, Workspace, WorkspacePath, attributes,
    list::names_in,
    look::{Seen, io_error, look},
    path::TEMPORARY_PREFIX,
    replace::Place,
    turn,
    workspace::openat2_beneath,
};

/// How many leftovers of an earlier process with the same id are stepped over.
pub(crate) const MAX_COLLISIONS: usize = 1000;

/// How many directories a sweep visits before it gives up, against a tree that grows while it is walked.
const MAX_SWEPT_DIRECTORIES: usize = 1_000_000;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name for a temporary file that nothing in this process has used.
pub(crate) fn fresh_name() -> String {
    format!("{TEMPORARY_PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A temporary file in the directory of its target.
pub(crate) struct Temporary {
    pub(crate) name: String,
    file: File,
}

impl Temporary {
    /// A new file in `dir` that holds `bytes`, with the permissions `mode` less the process's umask.
    pub(crate) fn create(
        dir: &OwnedFd,
        path: &WorkspacePath,
        bytes: &[u8],
        mode: u32,
    ) -> Result<Self, FilesError> {
        let mut temporary = Self::open(dir, path, mode)?;
        match temporary.file.write_all(bytes) {
            Ok(()) => Ok(temporary),
            Err(source) => {
                discard(dir, &temporary.name);
                Err(io_error("write", path, source))
            }
        }
    }

    fn open(dir: &OwnedFd, path: &WorkspacePath, mode: u32) -> Result<Self, FilesError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        for _ in 0..MAX_COLLISIONS {
            let name = fresh_name();
            match openat2_beneath(dir, &name, flags, Mode::from_raw_mode(mode)) {
                Ok(fd) => return Ok(Self { name, file: File::from(fd) }),
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(FilesError::from_errno("create a temporary file beside", path, errno));
                }
            }
        }
        Err(FilesError::Busy { path: path.clone() })
    }

    /// Gives the file the owner, attributes and mode of the one at `place`, which it will replace; `executable` changes
    /// the mode's x bits.
    pub(crate) fn dress(
        &self,
        place: &Place<'_>,
        original: &Stat,
        executable: Option<bool>,
    ) -> Result<(), FilesError> {
        let path = place.path;
        let own = rustix::fs::fstat(&self.file).map_err(|e| FilesError::from_errno("stat", path, e))?;
        if (own.st_uid, own.st_gid) != (original.st_uid, original.st_gid) {
            let (uid, gid) = (original.st_uid, original.st_gid);
            rustix::fs::fchown(&self.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|_| FilesError::Owner { path: path.clone(), uid, gid })?;
        }
        attributes::keep(&place.dir, place.name, &self.file)
            .map_err(|e| FilesError::from_errno("keep the extended attributes of", path, e))?;
        // Last: chown clears the set-user-id bit, and a mode set earlier could let somebody in too soon.
        let mode = Mode::from_raw_mode(with_executable(original.st_mode, executable));
        rustix::fs::fchmod(&self.file, mode).map_err(|e| FilesError::from_errno("set the mode of", path, e))
    }
}

/// The permission bits of `mode`. Where that changes whether the owner may execute, execution is granted to whoever may
/// read, or to nobody.
pub(crate) fn with_executable(mode: u32, executable: Option<bool>) -> u32 {
    let bits = mode & 0o7777;
    match executable {
        Some(true) if bits & 0o100 == 0 => bits | ((bits & 0o444) >> 2),
        Some(false) if bits & 0o100 != 0 => bits & !0o111,
        _ => bits,
    }
}

/// Removes a temporary file. A failure leaves it to the next sweep.
pub(crate) fn discard(dir: &OwnedFd, name: &str) {
    let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
}

impl Workspace {
    /// Removes the temporary files that an earlier process left in the workspace, and says how many there were.
    ///
    /// After a crash in the middle of a replace, one of them can hold the only copy of an outside edit. So each is
    /// first handed to `keep` with the directory it was found in; if `keep` fails, the file stays and the error is
    /// returned. The caller stores what its packs do not know. One that cannot be read, as it is over 64 MiB or not
    /// permitted, stays where it is. No other process may be writing at the same time; writes
    /// of this process are waited for. Everything but `.git` is searched, ignored directories too.
    pub fn sweep_temporaries(
        &self,
        keep: &mut dyn FnMut(&WorkspacePath, &FileVersion) -> std::io::Result<()>,
    ) -> Result<usize, FilesError> {
        self.sweep_temporaries_but(&|_| false, keep)
    }

    /// The same, except in directories that `skip` names and below: there another process may be writing.
    ///
    /// # Errors
    /// As [`Workspace::sweep_temporaries`].
    pub fn sweep_temporaries_but(
        &self,
        skip: &dyn Fn(&WorkspacePath) -> bool,
        keep: &mut dyn FnMut(&WorkspacePath, &FileVersion) -> std::io::Result<()>,
    ) -> Result<usize, FilesError> {
        let _turns = turn::of_all();
        let mut pending = vec![WorkspacePath::root()];
        let mut swept = 0;
        for _ in 0..MAX_SWEPT_DIRECTORIES {
            let Some(directory) = pending.pop() else { return Ok(swept) };
            if !skip(&directory) {
                swept += self.sweep_directory(&directory, &mut pending, keep)?;
            }
        }
        Err(FilesError::TooManyFiles { limit: MAX_SWEPT_DIRECTORIES })
    }

    fn sweep_directory(
        &self,
        directory: &WorkspacePath,
        pending: &mut Vec<WorkspacePath>,
        keep: &mut dyn FnMut(&WorkspacePath, &FileVersion) -> std::io::Result<()>,
    ) -> Result<usize, FilesError> {
        let Some((dir, names)) = names_in(self, directory)? else { return Ok(0) };
        let mut swept = 0;
        for (name, kind) in names {
            // A name that is not UTF-8 is neither ours nor anything we ever wrote below.
            let Ok(name) = name.into_string() else { continue };
            if name.starts_with(TEMPORARY_PREFIX) {
                swept += usize::from(sweep_one(&dir, &name, directory, keep)?);
            } else if kind == FileType::Directory && name != ".git" {
                pending.push(directory.child(&name));
            }
        }
        Ok(swept)
    }
}

fn sweep_one(
    dir: &OwnedFd,
    name: &str,
    directory: &WorkspacePath,
    keep: &mut dyn FnMut(&WorkspacePath, &FileVersion) -> std::io::Result<()>,
) -> Result<bool, FilesError> {
    let path = directory.child(name);
    let Ok(Seen::File(version, _)) = look(dir, name, &path) else { return Ok(false) };
    keep(directory, &version).map_err(|source| io_error("keep", &path, source))?;
    rustix::fs::unlinkat(dir, name, AtFlags::empty())
        .map_err(|e| FilesError::from_errno("remove", &path, e))?;
    Ok(true)
}
