//! One directory as scans and watches see it: what git does not ignore, by name.
//!
//! Whoever walks the tree holds the stack; this only reads a single directory.

use std::{os::fd::OwnedFd, sync::Arc};

use rustix::fs::FileType;

use crate::{FilesError, Workspace, WorkspacePath, ignored::Rules, ignored::is_reserved, list::read_names};

/// The visible content of a directory.
#[derive(Debug)]
pub(crate) struct Visible {
    /// The rules that apply to what is inside.
    pub(crate) rules: Arc<Rules>,
    /// Whether the directory has rules of its own, which must be watched even where they ignore themselves.
    pub(crate) has_rules: bool,
    /// Regular files.
    pub(crate) files: Vec<String>,
    /// Directories. Links are neither.
    pub(crate) directories: Vec<String>,
    /// Names that are not UTF-8, with the invalid bytes replaced.
    pub(crate) not_utf8: Vec<String>,
}

/// Reads the open directory `dir` at `path`; `above` are the rules that hold outside of it.
pub(crate) fn read_visible(
    workspace: &Workspace,
    dir: &OwnedFd,
    path: &WorkspacePath,
    above: &Arc<Rules>,
) -> Result<Visible, FilesError> {
    let names = read_names(dir, path)?;
    let has_rules = names.iter().any(|(name, _)| name.to_bytes() == b".gitignore");
    let rules = if has_rules { above.inside(workspace, path)? } else { Arc::clone(above) };
    let mut visible =
        Visible { rules, has_rules, files: Vec::new(), directories: Vec::new(), not_utf8: Vec::new() };
    for (name, kind) in names {
        let is_directory = kind == FileType::Directory;
        match name.into_string() {
            Err(e) => visible.not_utf8.push(e.into_cstring().to_string_lossy().into_owned()),
            Ok(name) if is_reserved(&name) || visible.rules.ignore(&path.child(&name), is_directory) => {}
            Ok(name) if is_directory => visible.directories.push(name),
            Ok(name) if kind == FileType::RegularFile => visible.files.push(name),
            Ok(_) => {}
        }
    }
    Ok(visible)
}
