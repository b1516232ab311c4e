//! The name of a place in the workspace, as a type of its own.
//!
//! Only the text is checked here: [`crate::Workspace::resolve`] is what follows symbolic links and finds out where a
//! name really leads. The daemon, the journal and the scanner all speak of files by this type.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::PathError;

/// The longest path in bytes: Linux's `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4096;

/// What the names of this crate's temporary files begin with.
pub(crate) const TEMPORARY_PREFIX: &str = ".ostk-tmp-";

/// A path inside the workspace: relative, normalised, `/`-separated, no `..`, no symlink crossed.
///
/// Only [`crate::Workspace::resolve`] makes one from what an agent wrote. Deserialising (for example from the journal)
/// checks the text alone; that no link is crossed is enforced again at each access. The root itself is written `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspacePath(Utf8PathBuf);

impl WorkspacePath {
    /// The workspace's root directory.
    pub fn root() -> Self {
        Self(Utf8PathBuf::from("."))
    }

    /// The path as text, `.` for the root.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The path, relative to the workspace's root.
    pub fn as_path(&self) -> &Utf8Path {
        &self.0
    }

    /// Whether this is the workspace's root directory.
    pub fn is_root(&self) -> bool {
        self.as_str() == "."
    }

    /// The directory that holds this path; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match self.as_str().rsplit_once('/') {
            Some((parent, _)) => Some(Self(Utf8PathBuf::from(parent))),
            None => Some(Self::root()),
        }
    }

    /// The last component; none for the root.
    pub fn name(&self) -> Option<&str> {
        if self.is_root() { None } else { self.as_str().rsplit('/').next() }
    }

    /// `name` inside this directory. The caller vouches that `name` is one component that a directory really holds.
    pub(crate) fn child(&self, name: &str) -> Self {
        if self.is_root() {
            return Self(Utf8PathBuf::from(name));
        }
        let mut text = String::with_capacity(self.as_str().len() + 1 + name.len());
        text.push_str(self.as_str());
        text.push('/');
        text.push_str(name);
        Self(Utf8PathBuf::from(text))
    }

    /// This path after a rename of `from` to `to`; none if it is not `from` or below.
    pub(crate) fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(&from.0).ok()?;
        Some(if rest.as_str().is_empty() { to.clone() } else { to.child(rest.as_str()) })
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for WorkspacePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        check_text(&text)?;
        if text == "." {
            return Ok(Self::root());
        }
        let ordinary = |name: &str| !matches!(name, "" | "." | "..");
        if !text.split('/').all(ordinary) {
            return Err(PathError::NotNormalised { path: text });
        }
        Ok(Self(Utf8PathBuf::from(text)))
    }
}

impl From<WorkspacePath> for String {
    fn from(path: WorkspacePath) -> Self {
        path.0.into_string()
    }
}

/// What can be said against a path without looking at the disk.
pub(crate) fn check_text(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong { length_bytes: path.len() });
    }
    if path.contains('\0') {
        return Err(PathError::Nul { path: path.to_owned() });
    }
    if path.split('/').any(|name| name.starts_with(TEMPORARY_PREFIX)) {
        return Err(PathError::Reserved { path: path.to_owned() });
    }
    Ok(())
}
