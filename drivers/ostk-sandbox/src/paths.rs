//! Resolving the paths of a spec, and enumerating a tree around what is protected in it.
//!
//! Only the file system is looked at here; the rules and mounts that follow from it are made in `plan.rs`.

use std::{
    collections::HashMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{SandboxError, placeholder};

/// Entries of writable trees that get their own rule when there are no namespaces. Each costs a few system calls at
/// every start of a command, and a descriptor only for a moment.
const MAX_ENUMERATED: usize = 4096;

/// The real path of something that must exist.
pub(crate) fn resolve(role: &'static str, path: &Path) -> Result<PathBuf, SandboxError> {
    require_plain(role, path)?;
    fs::canonicalize(path).map_err(SandboxError::bad_path(role, path))
}

/// Absolute, and made of names only.
pub(crate) fn require_plain(role: &'static str, path: &Path) -> Result<(), SandboxError> {
    let plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(plain) {
        return Ok(());
    }
    let reason = io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path without `..`");
    Err(SandboxError::bad_path(role, path)(reason))
}

/// A writable tree: as it was given, and where it really is.
pub(crate) struct Root {
    pub(crate) given: PathBuf,
    pub(crate) real: PathBuf,
}

/// A protected path as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there, or a file is where its directory would be: what is to be protected.
    Present(PathBuf),
    /// It is not there; the first part of its path that is missing.
    Absent(PathBuf),
    /// It is neither inside a writable tree nor there.
    Elsewhere,
}

/// Looks for a protected path. A link on the way from a writable root to it is an error: the command could replace
/// the link.
pub(crate) fn find_protected(path: &Path, roots: &[Root]) -> Result<Found, SandboxError> {
    require_plain("protected path", path)?;
    create_hooks(path)?;
    let inside = |root: &Root| {
        let inner = path.strip_prefix(&root.given).or_else(|_| path.strip_prefix(&root.real)).ok()?;
        Some((root.real.clone(), inner.to_owned()))
    };
    let Some((mut found, inner)) = roots.iter().find_map(inside) else {
        return Ok(fs::canonicalize(path).map_or(Found::Elsewhere, Found::Present));
    };
    for name in inner.components() {
        found.push(name);
        match fs::symlink_metadata(&found) {
            Ok(there) if there.is_symlink() => {
                return Err(SandboxError::ProtectedLink { path: path.to_owned() });
            }
            Ok(there) if there.is_dir() && !placeholder::is_held(&found) => {}
            Ok(there) if there.is_dir() => return Ok(Found::Absent(found)),
            Ok(_) => return Ok(Found::Present(found)),
            Err(error) if is_absent(&error) => return Ok(Found::Absent(found)),
            Err(error) => return Err(SandboxError::bad_path("protected path", path)(error)),
        }
    }
    Ok(Found::Present(found))
}

/// A path that is to be hidden, as it was found.
pub(crate) struct Hidden {
    pub(crate) path: PathBuf,
    pub(crate) is_directory: bool,
}

/// Where hidden paths really are; those that are not there are left out. Many lie in one directory, which is resolved once.
pub(crate) fn find_hidden(paths: &[PathBuf]) -> Vec<Hidden> {
    let mut parents: HashMap<&Path, Option<PathBuf>> = HashMap::new();
    let found = paths.iter().filter_map(|path| {
        // Of a path that ends in `..`, the last name says nothing about where it is.
        let resolved = path.parent().zip(path.file_name()).and_then(|(parent, name)| {
            let parent = parents.entry(parent).or_insert_with(|| fs::canonicalize(parent).ok());
            let path = parent.as_ref()?.join(name);
            let there = fs::symlink_metadata(&path).ok()?;
            (!there.is_symlink()).then(|| Hidden { path, is_directory: there.is_dir() })
        });
        resolved.or_else(|| {
            let path = fs::canonicalize(path).ok()?;
            Some(Hidden { is_directory: path.is_dir(), path })
        })
    });
    found.collect()
}

/// Git runs whatever stands in `.git/hooks`, also when the directory appears later, so it has to be there to be guarded.
fn create_hooks(path: &Path) -> Result<(), SandboxError> {
    let in_git = path.ends_with(".git/hooks")
        && path.parent().is_some_and(|git| git.is_dir() && !placeholder::is_held(git));
    match if in_git { fs::create_dir(path) } else { Ok(()) } {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(SandboxError::bad_path("protected path", path)(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The directories between the outermost root around `path` and `path`, outermost first, neither included.
pub(crate) fn between(path: &Path, roots: &[PathBuf]) -> Vec<PathBuf> {
    let around = roots.iter().filter(|root| path.starts_with(root) && path != root.as_path());
    let Some(outermost) = around.min_by_key(|root| root.components().count()) else { return Vec::new() };
    let inner = path.ancestors().skip(1).take_while(|ancestor| ancestor != outermost);
    let mut directories: Vec<_> = inner.map(Path::to_owned).collect();
    directories.reverse();
    directories
}

/// The largest trees inside `root` that hold nothing of `protected`. Links are left out: they lead elsewhere.
pub(crate) fn around(root: &Path, protected: &[PathBuf]) -> Result<Vec<PathBuf>, SandboxError> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        if protected.contains(&path) {
            continue;
        }
        if !protected.iter().any(|inner| inner.starts_with(&path)) {
            found.push(path);
        } else {
            pending.extend(children(&path)?);
        }
        if found.len() + pending.len() > MAX_ENUMERATED {
            return Err(SandboxError::TooManyEntries { path: root.to_owned(), limit: MAX_ENUMERATED });
        }
    }
    Ok(found)
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let failed = || SandboxError::bad_path("writable path", directory);
    let mut children = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())?.take(MAX_ENUMERATED + 1) {
        let entry = entry.map_err(failed())?;
        if !entry.file_type().map_err(failed())?.is_symlink() {
            children.push(entry.path());
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_between_a_root_and_a_path_come_outermost_first() {
        let roots = ["/w/x".into(), "/w".into()];
        let found = between(Path::new("/w/x/.git/hooks"), &roots);
        assert_eq!(found, [PathBuf::from("/w/x"), "/w/x/.git".into()]);
        assert!(between(Path::new("/w/x"), &["/w/x".into()]).is_empty());
        assert!(between(Path::new("/elsewhere/a/b"), &roots).is_empty());
    }

    #[test]
    fn enumeration_goes_around_what_is_protected_and_past_links() {
        let tree = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(tree.path()).unwrap();
        for directory in [".ostk", ".git/hooks", ".git/objects", "src"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        let mut found = around(&root, &[root.join(".ostk"), root.join(".git/hooks")]).unwrap();
        found.sort();
        assert_eq!(found, [root.join(".git/objects"), root.join("src")]);
    }

    #[test]
    fn paths_that_could_mean_another_place_are_refused() {
        for path in ["relative", "/a/../b"] {
            assert!(require_plain("path", Path::new(path)).is_err(), "{path}");
        }
    }
}
