//! One writer per journal: an exclusive `flock` on `run/journal.lock`, released by the system when the process ends.

use std::{
    fs::TryLockError,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ostk_disk::fs::{self, File, OpenOptions};

use crate::OpenError;

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("run").join("journal.lock")
}

/// A lock outlives its holder for an instant when the holder had just forked: the child keeps the descriptor until it
/// executes its program.
const PATIENCE: Duration = Duration::from_millis(250);

/// Held while the journal is open for append.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says after [`PATIENCE`] that someone else holds it.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let run = dir.join("run");
        fs::create_dir_all(&run).map_err(OpenError::io("create", &run))?;
        let path = lock_path(dir);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(OpenError::io("open", &path))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(PATIENCE / 50),
                Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { lock: path }),
                Err(TryLockError::Error(e)) => return Err(OpenError::io("lock", &path)(e)),
            }
        }
    }
}

/// Whether a writer has the journal open. A shared lock is held for an instant to find out.
pub(crate) fn is_locked(dir: &Path) -> bool {
    File::open(lock_path(dir))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
