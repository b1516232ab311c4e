//! The bounded queue between callers and the writer thread.
//!
//! Positions are checked under the queue's lock, so that the order of calls is the order of records. A caller waits for
//! room at most [`APPEND_DEADLINE`]: a disk that takes longer is treated as failed.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use ostk_log::{Draft, Hash, Timestamp};

use crate::{AppendError, PoisonError};

/// Most records that wait: at 10,000 a second about a second's worth.
pub const QUEUE_RECORDS: usize = 8192;
/// Most bytes of blobs that wait: four of the largest.
pub const QUEUE_BLOB_BYTES: u64 = 256 << 20;
/// Records that nobody waits for are gathered this long before they are written: at thousands of reads a second the
/// writer wakes, and takes a core from those who read, a few hundred times instead of once for each.
pub const RELAXED_GATHER: Duration = Duration::from_millis(5);
/// Longest wait for room in the queue.
pub const APPEND_DEADLINE: Duration = Duration::from_secs(30);

/// A record on its way to the writer. Its blobs are staged in the blob store.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) draft: Draft,
    pub(crate) blobs: Vec<Hash>,
    pub(crate) blob_bytes: u64,
    pub(crate) awaited: Awaited,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Nobody waits for this record.
    Nothing,
    /// That the record is written.
    Written,
    /// That the record is durable.
    Durable,
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    blob_bytes: u64,
    /// Someone waits for one of the items.
    awaited: bool,
    /// When the oldest item came.
    since: Instant,
    next_seq: u64,
    last_ts: Timestamp,
    last_epoch: u64,
    closed: bool,
    poison: Option<Arc<PoisonError>>,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    taken: Condvar,
}

/// What the writer got.
pub(crate) struct Taken {
    pub(crate) items: VecDeque<Item>,
    /// Nothing more will come.
    pub(crate) closed: bool,
}

impl Queue {
    /// A queue for records from `next_seq` on.
    pub(crate) fn new(next_seq: u64, last_ts: Timestamp, last_epoch: u64) -> Self {
        let (items, blob_bytes, awaited, since) = (VecDeque::new(), 0, false, Instant::now());
        let (closed, poison) = (false, None);
        let state =
            State { items, blob_bytes, awaited, since, next_seq, last_ts, last_epoch, closed, poison };
        Self { state: Mutex::new(state), arrived: Condvar::new(), taken: Condvar::new() }
    }

    /// Adds a record; waits while the queue is full.
    pub(crate) fn push(&self, item: Item) -> Result<(), AppendError> {
        let deadline = Instant::now() + APPEND_DEADLINE;
        let mut state = self.lock();
        state.check(&item.draft)?;
        while state.is_full(item.blob_bytes) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let poison = PoisonError::new(format_args!("the disk took nothing for {APPEND_DEADLINE:?}"));
                return Err(AppendError::Poisoned(state.poison.get_or_insert(Arc::new(poison)).clone()));
            }
            state = self.taken.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
            // Someone else may have taken the position meanwhile.
            state.check(&item.draft)?;
        }
        let wakes = state.wakes_writer(&item);
        state.add(item);
        drop(state);
        if wakes {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes what waits, at most `max` records, as soon as someone waits for one of them or they have been gathered
    /// for [`RELAXED_GATHER`]; returns after `wait` whatever came.
    pub(crate) fn take(&self, max: usize, wait: Duration) -> Taken {
        let deadline = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            let left = state.due().map_or(deadline, |due| due.min(deadline));
            let left = left.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
        let items = state.take(max);
        let closed = state.closed && state.items.is_empty();
        drop(state);
        self.taken.notify_all();
        Taken { items, closed }
    }

    /// No more records: what waits is still written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Refuses everything from now on. The first reason stays.
    pub(crate) fn poison(&self, error: Arc<PoisonError>) -> Arc<PoisonError> {
        let mut state = self.lock();
        state.take(usize::MAX);
        let reason = state.poison.get_or_insert(error).clone();
        drop(state);
        self.taken.notify_all();
        reason
    }

    /// Why everything is refused, if it is.
    pub(crate) fn poisoned(&self) -> Option<Arc<PoisonError>> {
        self.lock().poison.clone()
    }

    // Every change under the lock is complete before anything can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    /// When the writer is to take what waits: a moment in the past for at once, none for not before something comes.
    fn due(&self) -> Option<Instant> {
        if self.closed || self.awaited || self.items.len() >= QUEUE_RECORDS / 2 {
            return Some(self.since);
        }
        (!self.items.is_empty()).then(|| self.since + RELAXED_GATHER)
    }

    /// Whether the writer, who may sleep until a moment that was set without `item`, has to be told of it.
    fn wakes_writer(&self, item: &Item) -> bool {
        item.awaited != Awaited::Nothing || self.items.is_empty() || self.items.len() + 1 == QUEUE_RECORDS / 2
    }

    fn add(&mut self, item: Item) {
        if self.items.is_empty() {
            self.since = Instant::now();
        }
        self.awaited |= item.awaited != Awaited::Nothing;
        self.next_seq += 1;
        self.last_ts = item.draft.ts;
        self.last_epoch = item.draft.epoch;
        self.blob_bytes += item.blob_bytes;
        self.items.push_back(item);
    }

    fn take(&mut self, max: usize) -> VecDeque<Item> {
        let rest = self.items.split_off(self.items.len().min(max));
        let taken = std::mem::replace(&mut self.items, rest);
        self.blob_bytes -= taken.iter().map(|item| item.blob_bytes).sum::<u64>();
        self.awaited = self.items.iter().any(|item| item.awaited != Awaited::Nothing);
        taken
    }

    fn is_full(&self, blob_bytes: u64) -> bool {
        let bytes = self.blob_bytes + blob_bytes;
        self.items.len() >= QUEUE_RECORDS || (bytes > QUEUE_BLOB_BYTES && self.blob_bytes > 0)
    }

    fn check(&self, draft: &Draft) -> Result<(), AppendError> {
        if let Some(poison) = &self.poison {
            return Err(AppendError::Poisoned(poison.clone()));
        }
        let wrong = |what: String| Err(AppendError::OutOfOrder(what));
        if draft.seq != self.next_seq {
            return wrong(format!("seq is {}, expected {}", draft.seq, self.next_seq));
        }
        if draft.ts < self.last_ts {
            return wrong(format!("ts {} is earlier than {} before it", draft.ts, self.last_ts));
        }
        if draft.epoch < self.last_epoch {
            return wrong(format!("epoch {} is less than {} before it", draft.epoch, self.last_epoch));
        }
        Ok(())
    }
}
