//! Writers of one path take turns.
//!
//! The kernel already queues calls on one path; this makes the guarantee of `replace` (one winner, nothing lost) hold
//! for any caller within the process. Only programs outside remain to race with, and those are what the exchange in
//! `replace` is for.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Workspace, WorkspacePath};

/// Two paths share a turn with probability 1/64, which costs a wait of microseconds.
const STRIPES: usize = 64;

static TURNS: [Mutex<()>; STRIPES] = [const { Mutex::new(()) }; STRIPES];

/// Held while a path is being written.
pub(crate) type Turn = MutexGuard<'static, ()>;

/// Waits for the turn of `path`.
pub(crate) fn of(workspace: &Workspace, path: &WorkspacePath) -> Option<Turn> {
    take(stripe(workspace, path))
}

/// Waits for the turns of two paths, always in the same order so that no two callers wait for each other.
pub(crate) fn of_both(workspace: &Workspace, a: &WorkspacePath, b: &WorkspacePath) -> [Option<Turn>; 2] {
    let (a, b) = (stripe(workspace, a), stripe(workspace, b));
    let first = take(a.min(b));
    let second = if a == b { None } else { take(a.max(b)) };
    [first, second]
}

/// Waits until no write is under way anywhere in the process.
pub(crate) fn of_all() -> Vec<Turn> {
    (0..STRIPES).filter_map(take).collect()
}

fn stripe(workspace: &Workspace, path: &WorkspacePath) -> usize {
    // Unkeyed, so that two `Workspace`s on the same root agree.
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    usize::try_from(hasher.hash_one((workspace.root(), path)) % STRIPES as u64).unwrap_or(0)
}

fn take(stripe: usize) -> Option<Turn> {
    // A writer that panicked left nothing behind in the mutex: it guards no data.
    TURNS.get(stripe).map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner))
}
