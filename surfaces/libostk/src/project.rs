//! Where a project's state lives: `.ostk/` at the root of a git repository, and the files inside it.

use std::path::{Path, PathBuf};

/// How many parent directories are searched for `.ostk/`.
const MAX_PARENTS: usize = 16;

/// A project on disk. Only names paths; touches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
    stack: Option<String>,
}

/// Why no project was found.
#[derive(Debug, thiserror::Error)]
#[error("no ostk project here or in {MAX_PARENTS} parent directories of {}", .0.display())]
pub struct ProjectError(PathBuf);

impl Project {
    /// A project at this root, whether it exists or not.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), stack: None }
    }

    /// The nearest project at or above `start`.
    ///
    /// # Errors
    /// When no directory up to 16 levels above holds `.ostk/`.
    pub fn find(start: &Path) -> Result<Self, ProjectError> {
        let found = start.ancestors().take(MAX_PARENTS + 1).find(|dir| dir.join(".ostk").is_dir());
        found.map(Self::at).ok_or_else(|| ProjectError(start.to_owned()))
    }

    /// The sub-stack of this name in the project, whether it exists or not: its log, its socket.
    #[must_use]
    pub fn stack(&self, name: &str) -> Self {
        Self { root: self.root.clone(), stack: Some(name.to_owned()) }
    }

    /// The name of the sub-stack, if it is one.
    pub fn stack_name(&self) -> Option<&str> {
        self.stack.as_deref()
    }

    /// The project itself, without a sub-stack.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self::at(&self.root)
    }

    /// The repository's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `.ostk/`, or of a sub-stack its place below.
    pub fn state_dir(&self) -> PathBuf {
        let own = self.root.join(".ostk");
        self.stack.as_ref().map_or_else(|| own.clone(), |name| own.join("stacks").join(name))
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.state_dir().join("run/ostk.sock")
    }
}
