//! Folds the log from a record on, as every start of a daemon does.
//!
//! Reading, with its hashing, and folding have a thread each. Lines go from one to the other many at a time in one piece
//! of memory, for to free on one thread what another allocated costs more than all else. `snapshot` says where to begin.

use std::{
    mem,
    path::Path,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use ostk_journal::{ReadError, Reader};
use ostk_kernel::{FoldError, State, fold_line};

/// Bytes of lines that one thread hands to the other at a time: few enough to stay in a processor's cache.
const BATCH: usize = 128 << 10;
/// Batches that may wait.
const WAITING: usize = 8;

/// Why the log cannot be folded.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read, or is not whole.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record cannot follow those before it.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// Folds the records that follow `state` in the log in `state_dir` into it, up to the log's end. Each is checked against
/// the one before; signatures are not.
///
/// # Errors
/// The first that occurs, in the order of the log; `state` then holds the records before it.
pub fn replay(state_dir: &Path, state: &mut State) -> Result<(), ReplayError> {
    let reader = Reader::open_at(state_dir, state.next_seq)?;
    let (lines, read) = sync_channel(WAITING);
    thread::scope(|scope| {
        scope.spawn(move || in_batches(reader, &lines));
        for batch in read {
            batch?.lines().try_for_each(|line| fold_line(state, line))?;
        }
        Ok(())
    })
}

/// Lines, one behind the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Batch {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.lengths.push(line.len());
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map_while(move |length| {
            let (line, after) = rest.split_at_checked(*length)?;
            rest = after;
            Some(line)
        })
    }
}

/// Sends what is read, until it ends or fails or nobody takes it any more.
fn in_batches(reader: Reader, to: &SyncSender<Result<Batch, ReadError>>) {
    let mut batch = Batch::default();
    let mut failed = None;
    for entry in reader {
        match entry {
            Ok(entry) => batch.push(&entry.line),
            Err(error) => failed = Some(error),
        }
        if batch.bytes.len() >= BATCH && to.send(Ok(mem::take(&mut batch))).is_err() {
            return;
        }
    }
    // Without a receiver the fold has failed before, and says why.
    let _ = to.send(Ok(batch));
    let _ = failed.map(|error| to.send(Err(error)));
}
