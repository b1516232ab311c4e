//! Where a project's state lives: `.ostk/` at the root of a git repository, and the files inside it.

use std::path::{Path, PathBuf};

/// How many parent directories are searched for `.ostk/`.
const MAX_PARENTS: usize = 16;

/// A project on disk. Only names paths; touches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
}

/// Why no project was found.
#[derive(Debug, thiserror::Error)]
#[error("no ostk project here or in {MAX_PARENTS} parent directories of {}", .0.display())]
pub struct ProjectError(PathBuf);

impl Project {
    /// A project at this root, whether it exists or not.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The nearest project at or above `start`.
    ///
    /// # Errors
    /// When no directory up to 16 levels above holds `.ostk/`.
    pub fn find(start: &Path) -> Result<Self, ProjectError> {
        let found = start.ancestors().take(MAX_PARENTS + 1).find(|dir| dir.join(".ostk").is_dir());
        found.map(Self::at).ok_or_else(|| ProjectError(start.to_owned()))
    }

    /// The repository's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `.ostk/`.
    pub fn state_dir(&self) -> PathBuf {
        self.root.join(".ostk")
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.state_dir().join("run/ostk.sock")
    }
}
