//! What git obeys of a repository: its hooks and settings, the files that lead to others, and what these name.
//!
//! `depth.rs` finds repositories in a writable tree and guards what is said here. A repository is any directory with a
//! `HEAD`: `.git`, one that is bare, that of a submodule in `.git/modules`, and in `.git/worktrees` what a linked work
//! tree has of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::depth::Guarded;

/// Files by which git takes settings from elsewhere, or more of them.
const LEADING: [&str; 2] = ["commondir", "config.worktree"];
/// Settings of a repository are some hundred bytes.
const MAX_SETTINGS: u64 = 256 << 10;

/// Adds what is guarded of the repository `git`, if it is one.
pub(crate) fn guard(git: &Path, found: &mut Guarded) {
    let whole = git.join("objects").is_dir();
    if !whole && !git.join("commondir").is_file() {
        return;
    }
    let hooks = git.join("hooks");
    if whole && (hooks.is_dir() || fs::create_dir(&hooks).is_ok()) {
        found.protected.push(hooks);
    }
    let settings = git.join("config");
    if fs::symlink_metadata(&settings).is_ok() {
        found.protected.extend(named_in(&settings, git));
        found.protected.push(settings);
    }
    for path in LEADING.map(|name| git.join(name)) {
        let there = fs::symlink_metadata(&path).is_ok();
        if there { found.protected.push(path) } else { found.refused.push(path) }
    }
}

/// Hooks and further settings that the settings of a repository have inside its work tree.
fn named_in(settings: &Path, git: &Path) -> Vec<PathBuf> {
    let short = fs::metadata(settings).is_ok_and(|there| there.len() <= MAX_SETTINGS);
    let text = if short { fs::read_to_string(settings).unwrap_or_default() } else { String::new() };
    let mut section = String::new();
    let mut named = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(head) = line.strip_prefix('[') {
            section = head.split([']', ' ', '"']).next().unwrap_or_default().to_lowercase();
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        // git-config(1): hooks are relative to where they run, the top of the work tree; includes to the including file.
        let base = match (section.as_str(), key.trim().to_lowercase().as_str()) {
            ("core", "hookspath") => git.parent(),
            ("include" | "includeif", "path") => Some(git),
            _ => None,
        };
        named.extend(base.and_then(|base| fs::canonicalize(base.join(value)).ok()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_and_settings_and_what_they_name_are_guarded() {
        let tree = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(tree.path()).unwrap();
        let git = root.join(".git");
        for directory in ["objects", "../.hooks"] {
            fs::create_dir_all(git.join(directory)).unwrap();
        }
        fs::write(git.join("HEAD"), "").unwrap();
        fs::write(root.join(".gitconfig"), "").unwrap();
        let settings = "[core]\n\thooksPath = .hooks\n[includeIf \"gitdir:/x\"]\n\tpath = \"../.gitconfig\"\n[alias]\n\tpath = x\n";
        fs::write(git.join("config"), settings).unwrap();
        let mut found = Guarded::default();
        guard(&git, &mut found);
        let names = [".git/hooks", ".hooks", ".gitconfig", ".git/config"];
        assert_eq!(found.protected, names.map(|name| root.join(name)));
        assert_eq!(found.refused, [git.join("commondir"), git.join("config.worktree")]);
    }

    #[test]
    fn what_a_linked_work_tree_has_of_its_own_is_guarded_and_another_directory_is_not() {
        let tree = tempfile::tempdir().unwrap();
        let mut found = Guarded::default();
        fs::write(tree.path().join("HEAD"), "").unwrap();
        guard(tree.path(), &mut found);
        assert_eq!(found, Guarded::default());
        fs::write(tree.path().join("commondir"), "../..").unwrap();
        guard(tree.path(), &mut found);
        assert_eq!(found.protected, [tree.path().join("commondir")]);
        assert_eq!(found.refused, [tree.path().join("config.worktree")]);
    }
}
