//! Turns on the files that somebody outside edits too: locks on files, which end with the process that holds them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::scratch::Shared;

/// The turns of a run.
#[derive(Debug)]
pub(crate) struct Turns {
    folder: PathBuf,
    reserved: Vec<String>,
}

impl Turns {
    /// Turns whose locks lie in `folder`, which is made.
    pub(crate) fn new(folder: &Path, shared: &[Shared]) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let reserved = shared.iter().filter(|file| file.reserved).map(|file| file.path.clone()).collect();
        Ok(Self { folder: folder.to_owned(), reserved })
    }

    /// Waits for the turn on a file; `None` if it needs none. Dropping the file ends the turn.
    pub(crate) fn take(&self, path: &str) -> io::Result<Option<File>> {
        if !self.reserved.iter().any(|reserved| reserved == path) {
            return Ok(None);
        }
        let lock = File::create(self.folder.join(path.replace('/', "-")))?;
        lock.lock()?;
        Ok(Some(lock))
    }

    pub(crate) fn reserved(&self) -> &[String] {
        &self.reserved
    }
}
