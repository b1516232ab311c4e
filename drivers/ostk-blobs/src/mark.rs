//! `packs/synced`: how far the last pack is known to be durable.
//!
//! One line, `<pack number, 20 digits> <bytes, 20 digits>\n`, overwritten in place after each sync and itself synced
//! only when a writer or a pack begins: after a power cut it may lag behind, and never runs ahead. Damage before the mark is
//! corruption; an unfinished entry after it is a write that nobody was told about. Without the file every entry must be
//! whole but the last.

use std::{
    io,
    path::{Path, PathBuf},
};

use ostk_disk::fs::{self, File, OpenOptions};

use crate::BlobError;

/// A position in the sequence of packs before which everything was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) pack: u64,
    pub(crate) bytes: u64,
}

impl Mark {
    fn encode(self) -> String {
        format!("{:020} {:020}\n", self.pack, self.bytes)
    }

    fn decode(text: &str) -> Option<Self> {
        let (pack, bytes) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { pack: pack.parse().ok()?, bytes: bytes.parse().ok()? })
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join("synced")
    }

    /// The mark of `dir`; `None` when there is none or it was never finished.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, BlobError> {
        match fs::read_to_string(Self::path(dir)) {
            Ok(text) => Ok(Self::decode(&text)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
            Err(e) => Err(BlobError::io("read", Self::path(dir))(e)),
        }
    }
}

/// The open mark file of a writer.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: File,
    path: PathBuf,
}

impl MarkFile {
    /// Opens or creates the mark of `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, BlobError> {
        let path = Mark::path(dir);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        Ok(Self { file: file.map_err(BlobError::io("open", &path))?, path })
    }

    /// Moves the mark. The caller has synced everything before it.
    pub(crate) fn set(&self, mark: Mark) -> Result<(), BlobError> {
        self.file.write_all_at(mark.encode().as_bytes(), 0).map_err(BlobError::io("write", &self.path))
    }

    /// Makes the mark durable.
    pub(crate) fn sync(&self) -> Result<(), BlobError> {
        self.file.sync_data().map_err(BlobError::io("sync", &self.path))
    }
}
