//! The live segment: append, sync, and the steps by which it is closed and a new one begun.
//!
//! A crash between any two steps of a rotation leaves a folder that the next open understands: either the segment has
//! still its old name, or there is no live segment yet and an empty one is created.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use ostk_disk::fs::{self, File, OpenOptions};

use crate::{
    PoisonError,
    failpoint::Failpoints,
    segments::{closed_dir, closed_path, live_path},
};

/// The live segment, open for append.
#[derive(Debug)]
pub(crate) struct Live {
    file: File,
    path: PathBuf,
    len: u64,
    first_seq: u64,
}

impl Live {
    /// Opens the live segment, or creates it empty with its folder entry durable.
    pub(crate) fn open(dir: &Path, first_seq: u64) -> io::Result<Self> {
        let path = live_path(dir);
        let created = !fs::exists(&path);
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        if created {
            sync_dir(dir)?;
        }
        let len = file.metadata()?.len();
        Ok(Self { file, path, len, first_seq })
    }

    /// Bytes written.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends a group. In the page cache afterwards, not durable.
    pub(crate) fn write(&mut self, bytes: &[u8], failpoints: &Failpoints) -> Result<(), PoisonError> {
        let mut rest = bytes;
        if failpoints.armed() {
            // A write that stops in the middle, as a crash can leave it.
            let (half, after) = bytes.split_at(bytes.len() / 2);
            self.file.write_all(half).map_err(PoisonError::io("write", &self.path))?;
            failpoints.at("journal.half_written");
            rest = after;
        }
        self.file.write_all(rest).map_err(PoisonError::io("write", &self.path))?;
        self.len += bytes.len() as u64;
        failpoints.at("journal.written");
        Ok(())
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&self) -> Result<(), PoisonError> {
        self.file.sync_data().map_err(PoisonError::io("sync", &self.path))
    }

    /// Closes the segment, whose records are durable, and begins the next with record `next_seq`.
    pub(crate) fn rotate(
        &mut self,
        dir: &Path,
        next_seq: u64,
        failpoints: &Failpoints,
    ) -> Result<(), PoisonError> {
        let poison = |doing| PoisonError::io(doing, &self.path);
        fs::rename(&self.path, closed_path(dir, self.first_seq)).map_err(poison("rename"))?;
        failpoints.at("rotate.renamed");
        sync_dir(&closed_dir(dir)).and_then(|()| sync_dir(dir)).map_err(poison("sync the folder of"))?;
        failpoints.at("rotate.synced");
        *self = Self::open(dir, next_seq).map_err(poison("create"))?;
        failpoints.at("rotate.created");
        Ok(())
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
