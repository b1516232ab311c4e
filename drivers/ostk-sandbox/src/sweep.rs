//! What a command must not leave behind: paths that were not there when it started and that others would act on.
//!
//! For a path that nothing may stand in for while the command runs. It is moved into the command's scratch directory
//! when the command and all its processes have ended, before anybody learns of the end.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Something that a command left at a refused path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where it was.
    pub path: PathBuf,
    /// Whether it is gone from there.
    pub removed: bool,
}

/// The refused paths of one command.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    absent: Vec<PathBuf>,
    /// A directory on the same file system, where possible.
    into: PathBuf,
}

impl Sweep {
    /// Of `paths`, remembers those that are not there now.
    pub(crate) fn new(paths: &[PathBuf], into: PathBuf) -> Self {
        let is_absent = |path: &&PathBuf| fs::symlink_metadata(path).is_err();
        Self { absent: paths.iter().filter(is_absent).cloned().collect(), into }
    }

    /// Removes what is there now.
    pub(crate) fn run(&self) -> Vec<Refused> {
        let there = self.absent.iter().filter(|path| fs::symlink_metadata(path).is_ok());
        let removed = there.enumerate().map(|(number, path)| {
            let removed = self.remove(path, number).is_ok();
            Refused { path: path.clone(), removed }
        });
        removed.collect()
    }

    fn remove(&self, path: &Path, number: usize) -> io::Result<()> {
        fs::create_dir_all(&self.into)?;
        fs::rename(path, self.into.join(number.to_string())).or_else(|_| {
            if fs::symlink_metadata(path)?.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
        })
    }
}
