//! What stands at a place right now: nothing, a file with its bytes, a directory, or something else.
//!
//! Reading only; the writers in `replace` and `remove` use the same function on their temporary files, so that what
//! was swapped out is judged by the same eyes as what was observed.

use std::{fmt, fs::File, io, io::Read, io::Seek, os::fd::OwnedFd, sync::Arc};

use ostk_log::Hash;
use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{FilesError, Workspace, WorkspacePath, workspace::openat2_beneath};

/// The largest file that is read or written. Above it a blob, a merge and a record would no longer be cheap.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How often a file that changes while it is read is read again. A file that is appended to all the time settles for
/// what the last attempt saw.
const MAX_READS: usize = 3;

/// The bytes of a file at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct FileVersion {
    /// The content.
    pub bytes: Arc<[u8]>,
    /// SHA-256 of the content.
    pub hash: Hash,
    /// Whether the owner may execute it.
    pub executable: bool,
}

impl fmt::Debug for FileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, hash, executable } = self;
        write!(f, "FileVersion {{ {} bytes, {hash}, executable: {executable} }}", bytes.len())
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Nothing.
    Absent,
    /// A regular file.
    File(FileVersion),
    /// A directory.
    Directory,
    /// Neither: it is never opened.
    Special(SpecialKind),
}

/// What is neither a file nor a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialKind {
    /// A symbolic link. A resolved path names one only if it appeared afterwards.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

impl fmt::Display for SpecialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symlink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Device => "device",
        })
    }
}

/// An [`Observation`] with the metadata that a replacement must keep.
pub(crate) enum Seen {
    Absent,
    File(FileVersion, Stat),
    Directory,
    Special(SpecialKind),
}

impl From<Seen> for Observation {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Absent => Self::Absent,
            Seen::File(version, _) => Self::File(version),
            Seen::Directory => Self::Directory,
            Seen::Special(kind) => Self::Special(kind),
        }
    }
}

impl Workspace {
    /// What stands at `path`. Blocks on nothing: pipes and devices are not opened.
    ///
    /// A file that an outside program rewrites in place is read again up to three times; a file replaced by rename (as
    /// [`Workspace::replace`] does) is never seen half written. Fails with [`FilesError::TooLarge`] over 64 MiB.
    pub fn observe(&self, path: &WorkspacePath) -> Result<Observation, FilesError> {
        Ok(look(self.root_fd(), path.as_str(), path)?.into())
    }
}

/// What stands at `name` beneath `dir`; `path` is what errors call it.
pub(crate) fn look(dir: &OwnedFd, name: &str, path: &WorkspacePath) -> Result<Seen, FilesError> {
    let handle = match openat2_beneath(dir, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Seen::Absent),
        Err(errno) => return Err(FilesError::from_errno("open", path, errno)),
    };
    let stat = rustix::fs::fstat(&handle).map_err(|e| FilesError::from_errno("stat", path, e))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => read(dir, name, path),
        FileType::Directory => Ok(Seen::Directory),
        FileType::Symlink => Ok(Seen::Special(SpecialKind::Symlink)),
        FileType::Fifo => Ok(Seen::Special(SpecialKind::Fifo)),
        FileType::Socket => Ok(Seen::Special(SpecialKind::Socket)),
        _ => Ok(Seen::Special(SpecialKind::Device)),
    }
}

fn read(dir: &OwnedFd, name: &str, path: &WorkspacePath) -> Result<Seen, FilesError> {
    // NONBLOCK: the file may have become a pipe since it was looked at.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = match openat2_beneath(dir, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Seen::Absent),
        Err(errno) => return Err(FilesError::from_errno("open", path, errno)),
    };
    let mut stat = fstat_regular(&file, path)?;
    for attempt in 1.. {
        let bytes = read_bounded(&mut file, &stat, path)?;
        let after = fstat_regular(&file, path)?;
        if same_content(&stat, &after) || attempt == MAX_READS {
            let executable = after.st_mode & 0o100 != 0;
            return Ok(Seen::File(
                FileVersion { hash: Hash::of(&bytes), bytes: bytes.into(), executable },
                after,
            ));
        }
        stat = after;
        file.rewind().map_err(|source| io_error("read", path, source))?;
    }
    Err(FilesError::Busy { path: path.clone() })
}

fn fstat_regular(file: &File, path: &WorkspacePath) -> Result<Stat, FilesError> {
    let stat = rustix::fs::fstat(file).map_err(|e| FilesError::from_errno("stat", path, e))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        _ => Err(FilesError::Busy { path: path.clone() }),
    }
}

fn read_bounded(file: &mut File, stat: &Stat, path: &WorkspacePath) -> Result<Vec<u8>, FilesError> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    check_size(size, path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|source| io_error("read", path, source))?;
    check_size(bytes.len() as u64, path)?;
    Ok(bytes)
}

/// Refuses what is over the limit.
pub(crate) fn check_size(size_bytes: u64, path: &WorkspacePath) -> Result<(), FilesError> {
    if size_bytes > MAX_FILE_BYTES {
        return Err(FilesError::TooLarge { path: path.clone(), size_bytes });
    }
    Ok(())
}

fn same_content(a: &Stat, b: &Stat) -> bool {
    (a.st_size, a.st_mtime, a.st_mtime_nsec) == (b.st_size, b.st_mtime, b.st_mtime_nsec)
}

pub(crate) fn io_error(action: &'static str, path: &WorkspacePath, source: io::Error) -> FilesError {
    FilesError::Io { action, path: path.clone(), source }
}
