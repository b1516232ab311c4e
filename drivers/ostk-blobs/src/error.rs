//! What can go wrong with packs. Every error names the file; a damaged pack also names the offset.

use std::{io, path::PathBuf};

use ostk_log::Hash;

/// An error of the blob store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried: a verb that stands before the path.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A pack does not hold what it held when it was synced.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The pack.
        file: PathBuf,
        /// Where the damaged entry begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The bytes do not have the hash they were given under.
    #[error("a blob given as {claimed} has the hash {actual}")]
    WrongHash {
        /// The name it was given.
        claimed: Hash,
        /// The hash of its bytes.
        actual: Hash,
    },
    /// A blob was to be written that nobody handed over.
    #[error("blob {0} was to be written, but its bytes were never staged")]
    NotStaged(Hash),
    /// The blob is larger than [`crate::BLOB_MAX_BYTES`].
    #[error("a blob of {size} bytes is larger than the limit of {} bytes", crate::BLOB_MAX_BYTES)]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
}

impl BlobError {
    /// Turns an I/O error into one that names what was tried with which file.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// A pack is damaged.
    pub(crate) fn corrupt(file: impl Into<PathBuf>, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), offset, what: what.into() }
    }
}
