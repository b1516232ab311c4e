//! The walk after a command: what it made that other programs obey.
//!
//! Everything that was there before is in the [`Guard`] and is passed by: the command could not change it. Directories that
//! tools fill are passed over, as by the walk before the start, which is the sandbox's (`depth.rs` there).

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use ostk_listing::Names;
use rustix::fs::FileType;

use super::{Finding, Guard, What, place::Place, repository};

/// Directories that are looked at, against a tree that grows while it is walked.
const MAX_DIRECTORIES: usize = 1_000_000;
/// Directories that tools fill by the ten thousand and in which nobody works.
const FILLED_BY_TOOLS: [&str; 3] = ["node_modules", "target", ".venv"];
/// Git's own, in a repository.
const OBJECTS: &str = "objects";
/// Names that tell a repository, and what leads to one.
const OF_GIT: [&str; 5] = [".git", "HEAD", OBJECTS, "refs", "commondir"];
/// Mode of an empty directory that keeps the place of a protected path taken while a command runs: the sandbox's.
const PLACEHOLDER: u32 = 0o1555;

/// What is found.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) found: Vec<Finding>,
    /// There was more than is looked at.
    pub(super) cut: bool,
}

pub(super) fn walk(place: Place<'_>, guard: &Guard) -> Walk {
    let mut walk = Walk::default();
    walk.found.extend(refused(place, guard));
    let ends: Vec<_> =
        guard.names.iter().filter_map(|name| Some((name.file_name()?, name.as_path()))).collect();
    let wanted = Names::new(ends.iter().map(|(last, _)| *last).chain(OF_GIT.map(OsStr::new)));
    let mut pending: std::collections::VecDeque<PathBuf> = guard.roots.iter().cloned().collect();
    let mut seen = 0;
    while let Some(directory) = pending.pop_front() {
        seen += 1;
        if seen > MAX_DIRECTORIES {
            walk.cut = true;
            break;
        }
        let Ok(names) = place.listing(&directory, &wanted) else { continue };
        let is_repository = directory.file_name().is_some_and(is_git) || repository::may_be(&names);
        for (name, kind) in names.iter() {
            let path = directory.join(name);
            if guard.has(&path) || is_filled_by_tools(name) || (is_repository && name == OBJECTS) {
                continue;
            }
            match judged(place, &ends, path, name, *kind) {
                Judged::Taken(finding) => walk.found.push(finding),
                Judged::Entered(path) => pending.push_back(path),
                Judged::Passed => {}
            }
        }
        if is_repository {
            repository::judge(place, guard, &directory, &mut walk.found);
        }
    }
    walk
}

/// What a name comes to.
enum Judged {
    Taken(Finding),
    Entered(PathBuf),
    Passed,
}

/// `ends` are the guarded names, each behind its last part.
fn judged(place: Place<'_>, ends: &[(&OsStr, &Path)], path: PathBuf, name: &OsStr, kind: FileType) -> Judged {
    if ends.iter().any(|(last, whole)| name.eq_ignore_ascii_case(last) && ends_with(&path, whole)) {
        return if is_placeholder(place, &path) {
            Judged::Passed
        } else {
            Judged::Taken(Finding::moved(path, What::Program))
        };
    }
    match kind {
        FileType::Directory => Judged::Entered(path),
        FileType::RegularFile if is_git(name) => match repository::judge_file(place, &path) {
            Some(finding) => Judged::Taken(finding),
            None => Judged::Passed,
        },
        _ if is_git(name) => Judged::Taken(Finding::moved(path, What::Lead)),
        _ => Judged::Passed,
    }
}

/// Paths that nothing may stand at, and where something does.
fn refused(place: Place<'_>, guard: &Guard) -> Vec<Finding> {
    let there =
        guard.refused.iter().filter(|path| place.kind(path).is_some() && !is_placeholder(place, path));
    there.map(|path| Finding::moved(path.clone(), What::Program)).collect()
}

/// Whether the last parts of a path are those of a name, whatever the case: some file systems do not tell them apart.
fn ends_with(path: &Path, name: &Path) -> bool {
    let mut parts = path.iter().rev();
    name.iter().rev().all(|part| parts.next().is_some_and(|other| other.eq_ignore_ascii_case(part)))
}

/// Whether a name is git's for a repository.
pub(super) fn is_git(name: &OsStr) -> bool {
    name.eq_ignore_ascii_case(".git")
}

/// Whether nobody looks into a directory of this name.
pub(super) fn is_filled_by_tools(name: &OsStr) -> bool {
    FILLED_BY_TOOLS.iter().any(|filled| name.as_bytes() == filled.as_bytes())
}

fn is_placeholder(place: Place<'_>, path: &Path) -> bool {
    let alike = place.stat(path).is_some_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_mode & 0o7777 == PLACEHOLDER
    });
    alike && place.names(path).is_empty()
}
