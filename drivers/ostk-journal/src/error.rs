//! What can go wrong with the journal: at open, at append, for the writer, for a reader.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ostk_blobs::BlobError;
use ostk_log::SealError;

use crate::PublishError;

/// Why a journal cannot be opened for append.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process appends to it.
    #[error("{} is locked: another process has this journal open for append", lock.display())]
    Locked {
        /// The lock's file.
        lock: PathBuf,
    },
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
    /// The journal does not hold what was acknowledged. Nothing was changed.
    #[error("{} is corrupt at byte {offset}{}: {what}", file.display(), seq.map(|s| format!(", record {s}")).unwrap_or_default())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// The record there, if it is known.
        seq: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// The packs cannot be opened.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The checkpoint or a tile cannot be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, seq: Option<u64>, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), offset, seq, what: what.into() }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { doing, path, source } => Self::Io { doing, path, source },
            ReadError::Corrupt { file, offset, seq, what } => Self::Corrupt { file, offset, seq, what },
        }
    }
}

/// Why a draft was not taken. Nothing was appended and the position is still free.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The journal takes nothing any more.
    #[error(transparent)]
    Poisoned(#[from] Arc<PoisonError>),
    /// The draft does not continue the log.
    #[error("the draft does not continue the log: {0}")]
    OutOfOrder(String),
    /// The draft cannot become a line.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A blob is too large or not what its hash says.
    #[error(transparent)]
    Blob(BlobError),
}

/// Why a journal refuses further appends until it is opened again, which reads what the disk really holds.
#[derive(Debug, thiserror::Error)]
#[error("the journal takes no more records until it is opened again: {what}")]
pub struct PoisonError {
    what: String,
}

impl PoisonError {
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string() }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::new(format_args!("cannot {doing} {}: {error}", path.display()))
    }
}

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
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
    /// A line is no record or does not continue the one before.
    #[error("{} is corrupt at byte {offset}{}: {what}", file.display(), seq.map(|s| format!(", record {s}")).unwrap_or_default())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where the line begins.
        offset: u64,
        /// The record there, if it is known.
        seq: Option<u64>,
        /// What is wrong.
        what: String,
    },
}

impl ReadError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
