//! The moment at which the machine dies: a countdown over every act, every operation of the disk and every step of a
//! placed file. Once it is over nothing happens any more: the disk refuses, acts are not carried out, replies not sent.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Shared by everything that the daemon does. Atomics because open files are shared between threads elsewhere; here
/// there is one thread.
#[derive(Debug, Default)]
pub(crate) struct Doom {
    /// Moments until the end; 0 is never.
    left: AtomicU64,
    dead: AtomicBool,
    passed: AtomicU64,
    at: Mutex<&'static str>,
}

impl Doom {
    /// The machine dies at the `moments`-th moment from now.
    pub(crate) fn arm(&self, moments: u64) {
        self.left.store(moments, Ordering::Relaxed);
    }

    /// A new start: nothing is decided.
    pub(crate) fn revive(&self) {
        self.arm(0);
        self.dead.store(false, Ordering::Relaxed);
    }

    /// A moment named `what` comes; false if the machine is dead, since this very moment or before.
    pub(crate) fn survives(&self, what: &'static str) -> bool {
        if self.is_dead() {
            return false;
        }
        self.passed.fetch_add(1, Ordering::Relaxed);
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return true;
        }
        self.left.store(left - 1, Ordering::Relaxed);
        if left > 1 {
            return true;
        }
        self.dead.store(true, Ordering::Relaxed);
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = what;
        false
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Where it died.
    pub(crate) fn place(&self) -> &'static str {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moments that came so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}
