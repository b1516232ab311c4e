//! Memory that bodies may take, counted for all requests of one relay together.
//!
//! Each body has a limit of its own; without a common one many of them at once could take all memory of the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are still free.
#[derive(Debug)]
pub(crate) struct Budget(AtomicUsize);

impl Budget {
    pub(crate) fn new(size_bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(size_bytes)))
    }
}

/// A part of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(crate) fn new(of: Arc<Budget>) -> Self {
        Self { of, bytes: 0 }
    }

    /// Takes `more` bytes; `false` if there are not so many.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let less = |free: usize| free.checked_sub(more);
        let fits = self.of.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if fits {
            self.bytes = self.bytes.saturating_add(more);
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(10);
        let mut first = Share::new(Arc::clone(&budget));
        assert!(first.grow(4) && first.grow(6) && !first.grow(1));
        drop(first);
        assert!(Share::new(budget).grow(10));
    }
}
