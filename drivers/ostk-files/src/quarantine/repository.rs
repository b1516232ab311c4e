//! What git would run or obey of a repository that was not there before: hooks, settings, and what leads to others.
//!
//! `find.rs` finds repositories; what is said here of each is moved away by `mod.rs`, and the rest of it stays, so that a
//! clone can be worked with. Nothing is changed here.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::FileType;

use super::{
    Finding, Guard, What,
    place::{Place, Small},
    settings, steps,
};

/// Settings of a repository are some hundred bytes.
const MAX_SETTINGS: u64 = 256 << 10;
/// A file that holds one path.
const MAX_LEAD: u64 = 8 << 10;
/// The list of steps of a rebase: some ten thousand commits.
const MAX_STEPS: u64 = 2 << 20;
/// Where git keeps what is still to be done, and the list in it.
const UNDER_WAY: [(&str, &str); 2] = [("rebase-merge", "git-rebase-todo"), ("sequencer", "todo")];

/// Whether a directory with these names in it may be a repository. Of one that `commondir` leads to, git asks less.
pub(super) fn may_be(names: &[(std::ffi::OsString, FileType)]) -> bool {
    let has = |wanted: &str| names.iter().any(|(name, _)| name == wanted);
    (has("HEAD") && (has("objects") || has("commondir"))) || (has("objects") && has("refs"))
}

/// Adds what is wrong with the repository `git`.
pub(super) fn judge(place: Place<'_>, guard: &Guard, git: &Path, found: &mut Vec<Finding>) {
    hooks(place, guard, git, found);
    for name in ["config", "config.worktree"] {
        let path = git.join(name);
        if !guard.has(&path) {
            found.extend(settings_of(place, git, path));
        }
    }
    let lead = git.join("commondir");
    if !guard.has(&lead) && leads_wrong(place, &lead, git, "") {
        found.push(Finding::moved(lead, What::Lead));
    }
    for (directory, list) in UNDER_WAY {
        found.extend(steps_of(place, guard, &git.join(directory), list));
    }
}

/// Every hook but the samples that git brings.
fn hooks(place: Place<'_>, guard: &Guard, git: &Path, found: &mut Vec<Finding>) {
    let hooks = git.join("hooks");
    if guard.has(&hooks) {
        return;
    }
    match place.kind(&hooks) {
        None => {}
        Some(FileType::Directory) => {
            let is_hook = |name: &OsStr| !name.as_bytes().ends_with(b".sample");
            let names = place.names(&hooks).into_iter().map(|(name, _)| name);
            let hooks = names.filter(|name| is_hook(name)).map(|name| hooks.join(name));
            found.extend(hooks.map(|hook| Finding::moved(hook, What::Hook)));
        }
        Some(_) => found.push(Finding::moved(hooks, What::Hook)),
    }
}

fn settings_of(place: Place<'_>, git: &Path, path: PathBuf) -> Option<Finding> {
    let bytes = match place.small(&path, MAX_SETTINGS) {
        Small::Absent => return None,
        Small::Other => return Some(Finding::moved(path, What::Settings)),
        Small::Bytes(bytes) => bytes,
    };
    let is_work_tree = |named: &str| place.leads_to(&git.join(named)).is_some_and(|path| is_workshop(&path));
    let rest = settings::harmless_part(&bytes, &is_work_tree)?.into_bytes();
    Some(Finding { path, what: What::Settings, rest: Some(rest) })
}

/// A file `.git` that was not there before, if it leads where nobody looked.
pub(super) fn judge_file(place: Place<'_>, path: &Path) -> Option<Finding> {
    let base = path.parent().unwrap_or(Path::new(""));
    leads_wrong(place, path, base, "gitdir: ").then(|| Finding::moved(path.to_owned(), What::Lead))
}

/// Whether a file that names a repository names one that is not looked at: outside, in a directory that is passed over,
/// or in none that looks like one.
fn leads_wrong(place: Place<'_>, path: &Path, base: &Path, prefix: &str) -> bool {
    let bytes = match place.small(path, MAX_LEAD) {
        Small::Absent => return false,
        Small::Other => return true,
        Small::Bytes(bytes) => bytes,
    };
    let Some(named) = bytes.strip_prefix(prefix.as_bytes()) else { return true };
    let named = Path::new(OsStr::from_bytes(named.trim_ascii_end()));
    let Some(target) = place.leads_to(&base.join(named)) else { return true };
    let known = target.file_name().is_some_and(super::find::is_git) || may_be(&place.names(&target));
    !known || !is_workshop(&target)
}

/// Whether a path is looked at when a command has ended, and no state of ostk.
fn is_workshop(path: &Path) -> bool {
    !path.starts_with(".ostk") && path.iter().all(|part| !super::find::is_filled_by_tools(part))
}

/// The steps that a rebase under way would run, other than those that were there before.
fn steps_of(place: Place<'_>, guard: &Guard, directory: &Path, list: &str) -> Option<Finding> {
    let path = directory.join(list);
    match place.kind(directory)? {
        FileType::Directory => {}
        _ => return Some(Finding::moved(directory.to_owned(), What::Steps)),
    }
    let bytes = match place.small(&path, MAX_STEPS) {
        Small::Absent => return None,
        Small::Other => return Some(Finding::moved(path, What::Steps)),
        Small::Bytes(bytes) => bytes,
    };
    let none = Default::default();
    let rest = steps::without_commands(&bytes, guard.steps.get(&path).unwrap_or(&none))?;
    Some(Finding { path, what: What::Steps, rest: Some(rest) })
}

/// The commands in the lists of `git`, for the look before.
pub(super) fn commands_of(
    place: Place<'_>,
    git: &Path,
) -> Vec<(PathBuf, std::collections::BTreeSet<Vec<u8>>)> {
    let of = |(directory, list): (&str, &str)| {
        let path = git.join(directory).join(list);
        let Small::Bytes(bytes) = place.small(&path, MAX_STEPS) else { return None };
        Some((path, steps::commands(&bytes)))
    };
    UNDER_WAY.into_iter().filter_map(of).collect()
}
