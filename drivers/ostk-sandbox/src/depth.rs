//! Protected names at any depth of a writable tree: the hooks of a repository inside the repository, the settings of
//! tools in a package of a larger project.
//!
//! Only what is there can be found and then guarded; `trees.rs` guards it. What a command creates itself at some depth is
//! for whoever asks [`crate::Process::guarded`] what was there. Listings are remembered from one command to the next
//! (`ostk-listing`). What git obeys of a repository says `repository.rs`.

use std::{
    collections::{HashSet, VecDeque},
    ffi::OsStr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use ostk_listing::Names;
use rustix::fs::{CWD, FileType, Mode, OFlags};

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
/// Names that tell a repository, and what leads to one.
const OF_GIT: [&str; 3] = [".git", "HEAD", "refs"];

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
    without: &HashSet<&OsStr>,
) -> Result<Guarded, SandboxError> {
    let mut found = Guarded::default();
    if names.is_empty() {
        return Ok(found);
    }
    let with_git = names.iter().any(|name| name.starts_with(".git"));
    let ends: Vec<_> = names.iter().filter_map(|name| Some((name.file_name()?, name))).collect();
    let wanted = Names::new(ends.iter().map(|(last, _)| *last).chain(OF_GIT.map(OsStr::new)));
    let mut pending: VecDeque<PathBuf> = roots.iter().cloned().collect();
    let mut seen = 0;
    while let Some(directory) = pending.pop_front() {
        seen += 1;
        if seen > MAX_DIRECTORIES || found.protected.len() > MAX_FOUND {
            return Err(SandboxError::TooManyEntries { path: directory, limit: MAX_DIRECTORIES });
        }
        // What cannot be listed has no entries that this user's command could reach.
        let Ok(entries) = ostk_listing::list(CWD, &directory, &wanted, || open(&directory)) else { continue };
        // One that is shared has no HEAD that git would miss.
        let is_repository = entries.iter().any(|(name, _)| name == "HEAD" || name == "refs");
        for (name, kind) in entries.iter() {
            let path = directory.join(name);
            if ends.iter().any(|(last, whole)| name == last && path.ends_with(whole)) {
                found.protected.push(path);
            } else if *kind == FileType::Directory {
                let is_entered = looked_into(name) && !(is_repository && name == OBJECTS);
                pending.extend((is_entered && !without.contains(path.as_os_str())).then_some(path));
            } else if with_git && name == ".git" {
                // A file that says where the repository of a submodule or of a linked work tree is.
                found.protected.push(path);
            }
        }
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

fn open(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
}

fn looked_into(name: &OsStr) -> bool {
    PASSED_OVER.iter().all(|large| name != *large)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let found =
            find(std::slice::from_ref(&root), &names, &[root.join("left").as_os_str()].into()).unwrap();
        assert_eq!(found.protected, [root.join("a/b/.git/hooks"), root.join("c/.vscode")]);
    }

    #[test]
    fn a_name_that_appears_in_a_directory_that_was_looked_at_before_is_found() {
        let tree = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(tree.path()).unwrap();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        // Long enough for the listings to be remembered.
        std::thread::sleep(std::time::Duration::from_millis(3_100));
        let look =
            || find(std::slice::from_ref(&root), &[".vscode".into()], &HashSet::new()).unwrap().protected;
        assert!(look().is_empty() && look().is_empty());
        fs::create_dir(root.join("a/b/.vscode")).unwrap();
        assert_eq!(look(), [root.join("a/b/.vscode")]);
        fs::create_dir_all(root.join("a/b/c/new/.vscode")).unwrap();
        assert_eq!(look(), [root.join("a/b/.vscode"), root.join("a/b/c/new/.vscode")]);
        fs::remove_dir(root.join("a/b/.vscode")).unwrap();
        assert_eq!(look(), [root.join("a/b/c/new/.vscode")]);
    }
}
