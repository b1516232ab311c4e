//! What a command must not leave behind: paths that were not there when it started and that others would act on.
//!
//! For a path that nothing may stand in for while the command runs. It is moved into the command's scratch directory
//! when the command and all its processes have ended, before anybody learns of the end. The command could write there,
//! so what it left in the way of the move is not followed.

use std::{
    collections::BTreeSet,
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
    pub(crate) fn new(paths: BTreeSet<PathBuf>, into: PathBuf) -> Self {
        let is_absent = |path: &PathBuf| fs::symlink_metadata(path).is_err();
        Self { absent: paths.into_iter().filter(is_absent).collect(), into }
    }

    /// Removes what is there now.
    pub(crate) fn run(&self) -> Vec<Refused> {
        let there: Vec<_> = self.absent.iter().filter(|path| fs::symlink_metadata(path).is_ok()).collect();
        // Only a directory that is new is used: one that the command left in its place may be a link to anywhere.
        let keep = !there.is_empty() && fs::create_dir(&self.into).is_ok();
        let removed = there.into_iter().enumerate().map(|(number, path)| {
            let kept = keep && fs::rename(path, self.into.join(number.to_string())).is_ok();
            Refused { path: path.clone(), removed: kept || remove(path).is_ok() }
        });
        removed.collect()
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
