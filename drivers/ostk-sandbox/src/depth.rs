//! Protected names at any depth of a writable tree: the hooks of a repository inside the repository, the settings of
//! tools in a package of a larger project.
//!
//! Only what is there can be found and then guarded; `trees.rs` guards it. What a command creates itself at some depth,
//! such as a clone, stays its own.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use crate::SandboxError;

/// Directories that are looked into. With the large ones left out this is a very large project; beyond it, a command
/// would wait longer for its start than it runs.
const MAX_DIRECTORIES: usize = 20_000;
/// Paths that are guarded: each costs a mount at every start.
const MAX_FOUND: usize = 512;
/// Directories that tools fill by the ten thousand and in which nobody works.
const PASSED_OVER: [&str; 5] = ["node_modules", "target", ".venv", "__pycache__", "objects"];

/// The paths below `roots` that end in one of `names`, none of them inside `without`. Links are not followed.
pub(crate) fn find(
    roots: &[PathBuf],
    names: &[PathBuf],
    without: &[PathBuf],
) -> Result<Vec<PathBuf>, SandboxError> {
    let mut found = Vec::new();
    if names.is_empty() {
        return Ok(found);
    }
    let mut pending: VecDeque<PathBuf> = roots.iter().cloned().collect();
    let mut seen = 0;
    while let Some(directory) = pending.pop_front() {
        seen += 1;
        if seen > MAX_DIRECTORIES || found.len() > MAX_FOUND {
            return Err(SandboxError::TooManyEntries { path: directory, limit: MAX_DIRECTORIES });
        }
        let names = names_in(&directory, names);
        // What cannot be listed has no entries that this user's command could reach.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if names.iter().any(|name| path.ends_with(name)) {
                found.push(path);
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && !without.contains(&path)
                && looked_into(&path)
            {
                pending.push_back(path);
            }
        }
    }
    Ok(found)
}

/// The repository of a submodule is not called `.git`: it is a directory in `.git/modules` of the outer one.
fn names_in<'a>(directory: &Path, names: &'a [PathBuf]) -> Vec<&'a Path> {
    let module = directory.ancestors().any(|outer| outer.ends_with(".git/modules"));
    let inner = names.iter().filter(|_| module).filter_map(|name| name.strip_prefix(".git").ok());
    names.iter().map(PathBuf::as_path).chain(inner).collect()
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
        for directory in
            ["a/b/.git/hooks", ".git/modules/m/hooks", "node_modules/x/.vscode", "c/.vscode", "left/.vscode"]
        {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let names = [".git/hooks".into(), ".vscode".into()];
        let mut found = find(std::slice::from_ref(&root), &names, &[root.join("left")]).unwrap();
        found.sort();
        assert_eq!(
            found,
            [root.join(".git/modules/m/hooks"), root.join("a/b/.git/hooks"), root.join("c/.vscode")]
        );
    }
}
