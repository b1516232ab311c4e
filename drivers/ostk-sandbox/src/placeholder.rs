//! An empty directory in the place of a protected path that does not exist, while commands run that must not create it.
//!
//! In a namespace only what is there can be covered. The directory is real, so others see it: git and the kernel's
//! records of files pass over empty directories. It goes with the last command that needs it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::SandboxError;

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
        match fs::create_dir(path) {
            Ok(()) => drop(held.insert(path.to_owned(), 1)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                held.entry(path.to_owned()).and_modify(|commands| *commands += 1);
            }
            Err(error) => return Err(SandboxError::bad_path("protected path", path)(error)),
        }
        Ok(Self { path: path.to_owned() })
    }
}

/// Whether a directory is there for this reason only.
pub(crate) fn is_held(path: &Path) -> bool {
    held().contains_key(path)
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
