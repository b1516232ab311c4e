//! Protected names at any depth of a writable tree: the hooks of a repository inside the repository, the settings of
//! tools in a package of a larger project.
//!
//! Only what is there can be found and then guarded; `trees.rs` guards it. What a command creates itself at some depth is
//! for whoever asks [`crate::Process::guarded`] what was there. What git obeys of a repository says `repository.rs`.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use crate::{SandboxError, repository};

/// Directories that are looked into. With the large ones left out this is a very large project; beyond it, a command
/// would wait longer for its start than it runs.
const MAX_DIRECTORIES: usize = 20_000;
/// Paths that are guarded: each costs a mount at every start.
const MAX_FOUND: usize = 512;
/// Directories that tools fill by the ten thousand and in which nobody works.
const PASSED_OVER: [&str; 3] = ["node_modules", "target", ".venv"];
/// Git's own, in a repository.
const OBJECTS: &str = "objects";

/// What is guarded below some trees.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Guarded {
    /// What is there.
    pub(crate) protected: Vec<PathBuf>,
    /// What is not there and must not be left behind.
    pub(crate) refused: Vec<PathBuf>,
}

/// What is guarded below `roots`: the paths that end in one of `names`, and if there is a name in `.git` among them, what
/// git obeys of every repository. Nothing inside `without`. Links are not followed.
pub(crate) fn find(
    roots: &[PathBuf],
    names: &[PathBuf],
    without: &[PathBuf],
) -> Result<Guarded, SandboxError> {
    let mut found = Guarded::default();
    if names.is_empty() {
        return Ok(found);
    }
    let with_git = names.iter().any(|name| name.starts_with(".git"));
    let mut pending: VecDeque<PathBuf> = roots.iter().cloned().collect();
    let mut seen = 0;
    while let Some(directory) = pending.pop_front() {
        seen += 1;
        if seen > MAX_DIRECTORIES || found.protected.len() > MAX_FOUND {
            return Err(SandboxError::TooManyEntries { path: directory, limit: MAX_DIRECTORIES });
        }
        let (mut is_repository, mut inner) = (false, Vec::new());
        // What cannot be listed has no entries that this user's command could reach.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type();
            // One that is shared has no HEAD that git would miss.
            is_repository |= entry.file_name() == "HEAD" || entry.file_name() == "refs";
            if names.iter().any(|name| path.ends_with(name)) {
                found.protected.push(path);
            } else if kind.is_ok_and(|kind| kind.is_dir()) && !without.contains(&path) && looked_into(&path) {
                inner.push(path);
            } else if with_git && entry.file_name() == ".git" {
                // A file that says where the repository of a submodule or of a linked work tree is.
                found.protected.push(path);
            }
        }
        pending.extend(inner.into_iter().filter(|path| !is_repository || !path.ends_with(OBJECTS)));
        if with_git && is_repository {
            repository::guard(&directory, &mut found);
        }
    }
    for paths in [&mut found.protected, &mut found.refused] {
        paths.sort();
        paths.dedup();
    }
    Ok(found)
}

fn looked_into(path: &Path) -> bool {
    !path.file_name().is_some_and(|name| PASSED_OVER.iter().any(|large| name == *large))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_at_every_depth_but_not_in_what_is_left_out() {
        let tree = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(tree.path()).unwrap();
        for directory in ["a/b/.git/hooks", "node_modules/x/.vscode", "c/.vscode", "left/.vscode"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let names = [".git/hooks".into(), ".vscode".into()];
        let found = find(std::slice::from_ref(&root), &names, &[root.join("left")]).unwrap();
        assert_eq!(found.protected, [root.join("a/b/.git/hooks"), root.join("c/.vscode")]);
    }
}
