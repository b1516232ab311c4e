//! The journal without threads: its owner says when the writer takes a turn. The simulator uses it.
//!
//! The queue, the writer, recovery and everything on disk are those of [`Journal`]; only the waiting is missing, so that
//! a run depends on nothing but its owner's choices.

use std::path::Path;

use crate::{Journal, OpenError, Options, Recovery, pack_thread::PackThread, writer::Writer};

/// A journal whose writer is driven by its owner.
pub struct SteppedJournal {
    journal: Journal,
    writer: Writer,
}

impl SteppedJournal {
    /// As [`Journal::open`], but nothing runs by itself.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        let none = |packs, failpoints| Ok(PackThread::none(packs, failpoints));
        let (journal, writer, recovery) = Journal::prepare(dir, options, none)?;
        Ok((Self { journal, writer }, recovery))
    }

    /// To append, and for the blobs. An append waits while the queue is full, so its owner steps often enough.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// One turn of the writer, which calls back as it goes: it writes at most `max` of the records that wait, and syncs
    /// if one of them is awaited or if it is `due`. False once the journal is poisoned or closed.
    pub fn step(&mut self, max: usize, due: bool) -> bool {
        self.writer.step(max, due)
    }

    /// Writes what waits, makes it durable and publishes the tree. False if that failed.
    pub fn close(mut self) -> bool {
        self.journal.end();
        while self.step(usize::MAX, true) {}
        self.journal.poisoned().is_none()
    }
}

impl std::fmt::Debug for SteppedJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedJournal").field("journal", &self.journal).finish_non_exhaustive()
    }
}
