//! The state of everything that an attempt must leave alone, to be compared before and after.
//!
//! Kind, mode, owner, time, attributes and bytes of each file. The time of a directory is left out: it follows from
//! what is in it. Access times are left out too.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// What is looked at of one file.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    attributes: Vec<u8>,
    bytes: Vec<u8>,
}

/// Everything below some paths.
#[derive(Debug, Default)]
pub(crate) struct World(BTreeMap<PathBuf, Entry>);

/// What the person's own tools write there while a contender runs.
const PASSED_OVER: [&str; 4] = [".cache", ".npm", ".codex/tmp", ".local/state"];

impl World {
    /// What is below `paths` now. One that does not exist is nothing.
    pub(crate) fn of(paths: &[PathBuf]) -> Self {
        let mut world = Self::default();
        for path in paths {
            world.add(path);
        }
        world
    }

    fn add(&mut self, path: &Path) {
        let Ok(there) = fs::symlink_metadata(path) else { return };
        if PASSED_OVER.iter().any(|name| path.ends_with(name)) {
            return;
        }
        let kind = there.file_type();
        let bytes = if kind.is_file() {
            fs::read(path).unwrap_or_default()
        } else if kind.is_symlink() {
            fs::read_link(path).map(|to| to.into_os_string().into_encoded_bytes()).unwrap_or_default()
        } else {
            Vec::new()
        };
        let entry = Entry {
            mode: there.mode(),
            owner: (there.uid(), there.gid()),
            modified: if kind.is_dir() || kind.is_socket() {
                (0, 0)
            } else {
                (there.mtime(), there.mtime_nsec())
            },
            attributes: attributes(path),
            bytes,
        };
        self.0.insert(path.to_owned(), entry);
        if kind.is_dir() {
            for inner in fs::read_dir(path).into_iter().flatten().flatten() {
                self.add(&inner.path());
            }
        }
    }

    /// The paths that are not as they were.
    pub(crate) fn changed(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for path in self.0.keys().chain(now.0.keys()) {
            let how = match (self.0.get(path), now.0.get(path)) {
                (Some(before), Some(after)) if before == after => continue,
                (Some(before), Some(after)) if before.bytes == after.bytes => "has other attributes",
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "is gone",
                (None, _) => "was created",
            };
            found.push(format!("{} {how}", path.display()));
        }
        found.sort();
        found.dedup();
        found
    }
}

fn attributes(path: &Path) -> Vec<u8> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    names.truncate(length);
    names
}

/// Files below a directory that must not come from a command: those that run with other rights, devices, and those
/// that are larger than any limit.
pub(crate) fn dangerous_files(root: &Path, found: &mut Vec<String>) {
    const LARGEST: u64 = 4 << 30;
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(there) = fs::symlink_metadata(&path) else { continue };
        let kind = there.file_type();
        if kind.is_dir() {
            dangerous_files(&path, found);
        } else if kind.is_block_device() || kind.is_char_device() {
            found.push(format!("{} is a device", path.display()));
        } else if kind.is_file() && there.permissions().mode() & 0o4000 != 0 {
            found.push(format!("{} runs as its owner", path.display()));
        } else if kind.is_file() && attributes(&path).starts_with(b"security.capability") {
            found.push(format!("{} has capabilities", path.display()));
        } else if kind.is_file() && there.len() > LARGEST {
            found.push(format!("{} is larger than any limit", path.display()));
        }
    }
}
