//! An empty directory in the place of a protected path that does not exist, while commands run that must not create it.
//!
//! In a namespace only what is there can be covered. The directory is real, so others see it: git and the kernel's
//! records of files pass over empty directories. It goes with the last command that needs it; one that a killed daemon
//! left is known by its mode, and goes with the next.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::SandboxError;

const STICKY: u32 = 0o1000;
const WRITABLE: u32 = 0o222;
/// Readable, not writable, and sticky: nobody makes such a directory in a workspace.
const MODE: u32 = STICKY | 0o555;

/// How many commands need each directory that was created here.
static HELD: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// Keeps a path taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Placeholder {
    path: PathBuf,
}

impl Placeholder {
    /// Takes a path in a directory that exists. Somebody else may have created it by now: then it stays.
    pub(crate) fn hold(path: &Path) -> Result<Self, SandboxError> {
        let mut held = held();
        match DirBuilder::new().mode(MODE).create(path) {
            Ok(()) => drop(held.insert(path.to_owned(), 1)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match held.get_mut(path) {
                Some(commands) => *commands += 1,
                None if is_left(path) => drop(held.insert(path.to_owned(), 1)),
                None => {}
            },
            Err(error) => return Err(SandboxError::bad_path("protected path", path)(error)),
        }
        Ok(Self { path: path.to_owned() })
    }
}

/// Whether a directory is there for this reason only.
pub(crate) fn is_held(path: &Path) -> bool {
    held().contains_key(path) || is_left(path)
}

/// Whether it is like those that are made here, and empty.
fn is_left(path: &Path) -> bool {
    let alike = |there: fs::Metadata| there.is_dir() && there.mode() & (STICKY | WRITABLE) == STICKY;
    fs::symlink_metadata(path).is_ok_and(alike)
        && fs::read_dir(path).is_ok_and(|mut all| all.next().is_none())
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let mut held = held();
        let Some(commands) = held.get_mut(&self.path) else { return };
        *commands -= 1;
        if *commands == 0 {
            held.remove(&self.path);
            // Not removed when somebody outside has put something in it: then it is theirs.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// A count is one step, so the map stays right when a thread panicked while it held the lock.
fn held() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
