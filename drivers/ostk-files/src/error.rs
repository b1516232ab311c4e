//! What can go wrong between the kernel and the files, said so that an agent can act on it.
//!
//! A [`PathError`] is about a name, a [`FilesError`] about what was found there. A file that is not what the caller
//! expected is no error: it is an answer ([`crate::Replaced::Displaced`]).

use std::io;

use crate::{MAX_FILE_BYTES, MAX_PATH_BYTES, SpecialKind, WorkspacePath};

/// A name that does not lead to a place in the workspace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// An empty name.
    #[error("the path is empty")]
    Empty,
    /// A name that holds a NUL byte, which no file system can store.
    #[error("the path {path:?} contains a NUL byte")]
    Nul {
        /// The path as given.
        path: String,
    },
    /// A name longer than the system can open.
    #[error(
        "the path is too long: {length_bytes} bytes, or a component over 255 (the limit is {MAX_PATH_BYTES})"
    )]
    TooLong {
        /// How long it is.
        length_bytes: usize,
    },
    /// A name that leads outside by `..` or as an absolute path.
    #[error("{path:?} is outside the workspace {root}")]
    Outside {
        /// The path as given.
        path: String,
        /// The workspace's root.
        root: String,
    },
    /// A name that leads outside through a symbolic link.
    #[error("{path:?} leaves the workspace through a symbolic link to {target:?}")]
    OutsideThroughLink {
        /// The path as given.
        path: String,
        /// What the link holds.
        target: String,
    },
    /// More links in one name than Linux follows.
    #[error("{path:?} crosses more than 40 symbolic links; they probably form a loop")]
    LinkLoop {
        /// The path as given.
        path: String,
    },
    /// A name that is not UTF-8. Records and replies are UTF-8 text and could not name the file.
    #[error("the name {lossy:?} is not UTF-8; rename the file to use it here")]
    NotUtf8 {
        /// The name with the invalid bytes replaced.
        lossy: String,
    },
    /// A component before the last that is a file.
    #[error("{path:?} goes through {at:?}, which is not a directory")]
    NotADirectory {
        /// The path as given.
        path: String,
        /// The component that is not a directory.
        at: String,
    },
    /// A name kept for this program's own temporary files.
    #[error("{path:?} uses a name reserved for temporary files (.ostk-tmp-*)")]
    Reserved {
        /// The path as given.
        path: String,
    },
    /// Text that claims to be a resolved path and is not.
    #[error("{path:?} is not a normalised relative path")]
    NotNormalised {
        /// The text.
        path: String,
    },
    /// The system refused to look.
    #[error("cannot look up {path:?}: {source}")]
    Io {
        /// The path as given.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// A file operation that did not happen. Whatever was on disk before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The workspace's root cannot be used.
    #[error("cannot open the workspace {root}: {reason}")]
    Root {
        /// The root as given.
        root: String,
        /// Why not.
        reason: String,
    },
    /// A name that leads nowhere in the workspace.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file over the limit.
    #[error("{path} has {size_bytes} bytes; the limit is {MAX_FILE_BYTES} (64 MiB)")]
    TooLarge {
        /// Which file.
        path: WorkspacePath,
        /// How large it is, or would be.
        size_bytes: u64,
    },
    /// A directory where a file was meant.
    #[error("{path} is a directory")]
    IsDirectory {
        /// Which one.
        path: WorkspacePath,
    },
    /// A file where a directory was meant.
    #[error("{path} cannot be reached: it or a part of it is not a directory")]
    NotADirectory {
        /// Which path.
        path: WorkspacePath,
    },
    /// Neither file nor directory.
    #[error("{path} is a {kind}, not a regular file")]
    Special {
        /// Which path.
        path: WorkspacePath,
        /// What it is.
        kind: SpecialKind,
    },
    /// Nothing there.
    #[error("{path} does not exist")]
    Missing {
        /// Which path.
        path: WorkspacePath,
    },
    /// Something there already.
    #[error("{path} exists already")]
    Exists {
        /// Which path.
        path: WorkspacePath,
    },
    /// A directory on the way became a symbolic link after the path had been resolved.
    #[error("{path} now goes through a symbolic link; resolve the path again")]
    LinkAppeared {
        /// Which path.
        path: WorkspacePath,
    },
    /// The replacement could not be given the original's owner.
    #[error("{path} belongs to user {uid}, group {gid}, and a replacement cannot be given to them")]
    Owner {
        /// Which file.
        path: WorkspacePath,
        /// The owner.
        uid: u32,
        /// The owning group.
        gid: u32,
    },
    /// The file system cannot exchange two names atomically.
    #[error(
        "the file system of {path} does not support renameat2 flags, without which a replace could lose an edit"
    )]
    Unsupported {
        /// Which path.
        path: WorkspacePath,
    },
    /// Someone kept creating and deleting the file.
    #[error("{path} kept changing while it was being written")]
    Busy {
        /// Which path.
        path: WorkspacePath,
    },
    /// The tree is larger than the scanner's limit.
    #[error("the workspace has more than {limit} files that git does not ignore; extend .gitignore")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: WorkspacePath,
        /// The system's reason.
        source: io::Error,
    },
}

impl FilesError {
    /// A system error, told apart where the caller could act on the difference.
    pub(crate) fn from_errno(action: &'static str, path: &WorkspacePath, errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        let path = path.clone();
        match errno {
            Errno::LOOP | Errno::XDEV => Self::LinkAppeared { path },
            Errno::NOTDIR => Self::NotADirectory { path },
            Errno::NOENT => Self::Missing { path },
            Errno::EXIST => Self::Exists { path },
            _ => Self::Io { action, path, source: errno.into() },
        }
    }
}
