//! The writer thread: takes what waits, seals it, writes it once, syncs it once, publishes, reports. The heart of the
//! journal; every step that can fail leads to one place, where the journal is poisoned.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use ostk_log::{Checkpoint, Hash, Signer, leaf_hash, seal};

use crate::{
    OnDurable, OnWritten, PoisonError,
    failpoint::Failpoints,
    live::Live,
    pack_thread::PackThread,
    publish::{write_checkpoint, write_tiles},
    queue::{Awaited, Item, Queue, Taken},
    tree::Tree,
};

/// Most records of one group: bounds how long the first waits for the last to be signed (about 20 µs each).
pub const GROUP_RECORDS: usize = 4096;
/// A group takes no further record beyond this many bytes of lines.
pub const GROUP_BYTES: usize = 16 << 20;
/// Longest wait for callers that are expected to come again, because the group before had more records.
pub const GATHER_MAX: Duration = Duration::from_micros(500);
/// Records that nobody waits for cause a sync at most this often.
pub const RELAXED_SYNC: Duration = Duration::from_millis(50);
/// After this long without a record, tiles that are not full are published.
pub const IDLE: Duration = Duration::from_secs(1);

/// Everything the writer thread owns.
pub(crate) struct Writer {
    pub(crate) dir: PathBuf,
    pub(crate) queue: Arc<Queue>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) origin: String,
    pub(crate) segment_bytes: u64,
    pub(crate) failpoints: Failpoints,
    pub(crate) on_durable: OnDurable,
    pub(crate) on_written: Option<OnWritten>,
    pub(crate) live: Live,
    pub(crate) packs: PackThread,
    /// Over the durable records.
    pub(crate) tree: Tree,
    pub(crate) progress: Progress,
}

/// Where the writer stands between the last durable record and the last written one.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Digest of the last sealed line.
    prev: Hash,
    /// Leaves of records that are written but not durable.
    unsynced: Vec<Hash>,
    last_sync: Instant,
    sync_took: Duration,
    /// Records of the group before: so many callers may come again at once.
    last_group: usize,
    /// Size of the tree whose narrow tiles are published.
    narrow_tiles_at: u64,
}

impl Progress {
    /// After recovery: all that was found is durable, and published.
    pub(crate) fn new(head: Hash, size: u64) -> Self {
        let (unsynced, last_sync) = (Vec::new(), Instant::now());
        let sync_took = Duration::ZERO;
        Self { prev: head, unsynced, last_sync, sync_took, last_group: 0, narrow_tiles_at: size }
    }
}

/// Records being made into one write.
#[derive(Default)]
struct Group {
    lines: Vec<u8>,
    blobs: Vec<Hash>,
    records: usize,
    /// Someone waits until one of them is durable.
    awaited: bool,
}

impl Writer {
    /// Runs until the queue is closed and empty, or until something fails.
    pub(crate) fn run(mut self) {
        if let Err(error) = self.write_all() {
            let reason = self.queue.poison(Arc::new(error));
            (self.on_durable)(Err(reason));
        }
    }

    fn write_all(&mut self) -> Result<(), PoisonError> {
        loop {
            let taken = self.queue.take(GROUP_RECORDS, self.patience());
            // A caller may have found the disk too slow and given up.
            if let Some(reason) = self.queue.poisoned() {
                return Err(PoisonError::new(reason));
            }
            let group = self.gather(&taken.items)?;
            let due = taken.closed || self.progress.last_sync.elapsed() >= RELAXED_SYNC;
            if self.turn(group, due, &taken)? {
                return Ok(());
            }
        }
    }

    /// Writes what was taken, with a sync if someone waits for one or it is due; true if nothing more will come.
    fn turn(&mut self, group: Group, due: bool, taken: &Taken) -> Result<bool, PoisonError> {
        self.commit(group, due)?;
        if taken.closed || (taken.items.is_empty() && self.progress.unsynced.is_empty()) {
            self.publish_narrow_tiles()?;
        }
        Ok(taken.closed)
    }

    /// One turn without waiting for anything: at most `max` records, and a sync of what nobody waits for if it is `due`.
    /// False once the journal is closed or poisoned; the callbacks say which.
    pub(crate) fn step(&mut self, max: usize, due: bool) -> bool {
        let taken = self.queue.take(max.clamp(1, GROUP_RECORDS), Duration::ZERO);
        let mut group = Group::default();
        let sealed = self.seal_into(&mut group, &taken.items);
        let ended = sealed.and_then(|()| self.turn(group, due || taken.closed, &taken));
        if let Err(error) = &ended {
            let reason = self.queue.poison(Arc::new(PoisonError::new(error)));
            (self.on_durable)(Err(reason));
        }
        matches!(ended, Ok(false))
    }

    /// How long to wait for records: until unsynced ones are due, or until it is time to publish narrow tiles.
    fn patience(&self) -> Duration {
        if self.progress.unsynced.is_empty() {
            IDLE
        } else {
            RELAXED_SYNC.saturating_sub(self.progress.last_sync.elapsed())
        }
    }

    /// Seals the records that came and those that come meanwhile.
    ///
    /// Callers that wait for their record come again together after a sync. Without a short wait for them the first one
    /// would get a sync of its own and all others would wait for two.
    fn gather(&mut self, items: &VecDeque<Item>) -> Result<Group, PoisonError> {
        let mut group = Group::default();
        self.seal_into(&mut group, items)?;
        let until = Instant::now() + (self.progress.sync_took / 4).min(GATHER_MAX);
        while group.records > 0 && group.records < GROUP_RECORDS && group.lines.len() < GROUP_BYTES {
            let expected = group.awaited && group.records < self.progress.last_group;
            let wait =
                if expected { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let more = self.queue.take(GROUP_RECORDS - group.records, wait).items;
            if more.is_empty() {
                break;
            }
            self.seal_into(&mut group, &more)?;
        }
        Ok(group)
    }

    fn seal_into(&mut self, group: &mut Group, items: &VecDeque<Item>) -> Result<(), PoisonError> {
        for item in items {
            if ostk_log::planted!("dropped record") && item.awaited == Awaited::Nothing {
                continue;
            }
            let sealed = seal(&item.draft, &self.progress.prev, &*self.signer).map_err(PoisonError::new)?;
            self.progress.prev = sealed.hash;
            self.progress.unsynced.push(leaf_hash(&sealed.line));
            group.lines.extend_from_slice(&sealed.line);
            group.lines.push(b'\n');
            group.blobs.extend(&item.blobs);
            group.records += 1;
            group.awaited |= item.awaited == Awaited::Durable;
        }
        Ok(())
    }

    /// Writes a group, and makes it and all before durable if someone waits for it or it is `due`.
    fn commit(&mut self, group: Group, due: bool) -> Result<(), PoisonError> {
        let sync = !self.progress.unsynced.is_empty() && (group.awaited || due);
        if group.records > 0 {
            self.failpoints.at("group.sealed");
        }
        let begun = Instant::now();
        let has_blobs = !group.blobs.is_empty();
        self.packs.begin(group.blobs, sync)?;
        let journal = self.write_journal(&group.lines, has_blobs, sync);
        // Both have ended before either's failure is looked at: no thread writes on while the other has given up.
        let packs = self.packs.finish();
        journal?;
        packs?;
        if group.awaited {
            self.progress.last_group = group.records;
        }
        if has_blobs {
            self.report_written();
        }
        if sync {
            self.progress.last_sync = Instant::now();
            self.progress.sync_took = begun.elapsed();
            self.publish()?;
            self.rotate_if_full()?;
        }
        Ok(())
    }

    fn write_journal(&mut self, lines: &[u8], has_blobs: bool, sync: bool) -> Result<(), PoisonError> {
        if !lines.is_empty() {
            self.live.write(lines, &self.failpoints)?;
            // Recovery cuts a line whose blob is not there, and all after it.
            if !has_blobs {
                self.report_written();
            }
        }
        if sync {
            self.live.sync()?;
            self.failpoints.at("journal.synced");
        }
        Ok(())
    }

    fn report_written(&mut self) {
        if let Some(on_written) = &mut self.on_written {
            on_written(self.tree.size() + self.progress.unsynced.len() as u64);
        }
    }

    /// Signs the tree over all records, which are durable now, and tells the caller.
    fn publish(&mut self) -> Result<(), PoisonError> {
        let mut full = Vec::new();
        for leaf in self.progress.unsynced.drain(..) {
            self.tree.push(leaf, &mut full);
        }
        write_tiles(&self.dir, &full).map_err(PoisonError::new)?;
        self.failpoints.at("tiles.written");
        let checkpoint =
            Checkpoint::new(&self.origin, self.tree.size(), self.tree.root()).map_err(PoisonError::new)?;
        write_checkpoint(&self.dir, &checkpoint, &*self.signer, &self.failpoints)
            .map_err(PoisonError::new)?;
        (self.on_durable)(Ok(self.tree.size()));
        self.failpoints.at("group.reported");
        Ok(())
    }

    fn rotate_if_full(&mut self) -> Result<(), PoisonError> {
        if self.live.len() < self.segment_bytes {
            return Ok(());
        }
        self.live.rotate(&self.dir, self.tree.size(), &self.failpoints)
    }

    fn publish_narrow_tiles(&mut self) -> Result<(), PoisonError> {
        if self.progress.narrow_tiles_at != self.tree.size() {
            write_tiles(&self.dir, &self.tree.partial_tiles()).map_err(PoisonError::new)?;
            self.progress.narrow_tiles_at = self.tree.size();
        }
        Ok(())
    }
}
