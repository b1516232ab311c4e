//! The thread that writes and syncs the packs while the writer thread writes and syncs the journal.
//!
//! One job at a time: a group is durable when both syncs returned, so two disks' worth of latency cost one. A journal
//! that is driven step by step has no such thread: the same job is done on the caller's.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use ostk_blobs::{BlobError, BlobStore, PackWriter};
use ostk_log::Hash;

use crate::{PoisonError, failpoint::Failpoints};

/// What to do with the packs for one group.
struct Job {
    /// Staged blobs to append.
    blobs: Vec<Hash>,
    sync: bool,
}

/// The pack thread as the writer sees it.
pub(crate) struct PackThread {
    worker: Worker,
    store: Arc<BlobStore>,
    /// Blobs were handed over since the last sync.
    dirty: bool,
    busy: bool,
}

/// Who does the jobs.
enum Worker {
    Thread {
        jobs: Option<SyncSender<Job>>,
        results: Receiver<Result<(), BlobError>>,
        thread: Option<JoinHandle<()>>,
    },
    /// The caller, when it asks for the result.
    Caller { packs: Box<PackWriter>, failpoints: Failpoints, job: Option<Job> },
}

impl PackThread {
    /// No thread: [`Self::finish`] does the job.
    pub(crate) fn none(packs: PackWriter, failpoints: Failpoints) -> Self {
        let store = packs.store().clone();
        let worker = Worker::Caller { packs: Box::new(packs), failpoints, job: None };
        Self { worker, store, dirty: false, busy: false }
    }

    /// Starts the thread.
    pub(crate) fn start(mut packs: PackWriter, failpoints: Failpoints) -> std::io::Result<Self> {
        let store = packs.store().clone();
        let (jobs, inbox) = sync_channel::<Job>(1);
        let (outbox, results) = sync_channel(1);
        let run = move || {
            while let Ok(job) = inbox.recv() {
                if outbox.send(carry_out(&mut packs, &job, &failpoints)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("ostk-packs".into()).spawn(run)?;
        let worker = Worker::Thread { jobs: Some(jobs), results, thread: Some(thread) };
        Ok(Self { worker, store, dirty: false, busy: false })
    }

    /// The blobs, for readers.
    pub(crate) fn store(&self) -> &Arc<BlobStore> {
        &self.store
    }

    /// Begins writing `blobs`, and with `sync` making them and all before durable. Does nothing if there is nothing to
    /// do. [`Self::finish`] follows before the next job.
    pub(crate) fn begin(&mut self, blobs: Vec<Hash>, sync: bool) -> Result<(), PoisonError> {
        self.dirty |= !blobs.is_empty();
        if blobs.is_empty() && !(sync && self.dirty) {
            return Ok(());
        }
        let next = Job { blobs, sync };
        let sent = match &mut self.worker {
            Worker::Thread { jobs, .. } => jobs.as_ref().is_some_and(|jobs| jobs.send(next).is_ok()),
            Worker::Caller { job, .. } => job.replace(next).is_none(),
        };
        self.busy = sent;
        if sync {
            self.dirty = false;
        }
        if sent { Ok(()) } else { Err(gone()) }
    }

    /// Waits for the job that was begun.
    pub(crate) fn finish(&mut self) -> Result<(), PoisonError> {
        if !std::mem::take(&mut self.busy) {
            return Ok(());
        }
        let result = match &mut self.worker {
            Worker::Thread { results, .. } => results.recv().map_err(|_| gone())?,
            Worker::Caller { packs, failpoints, job } => {
                job.take().map_or(Ok(()), |job| carry_out(packs, &job, failpoints))
            }
        };
        result.map_err(PoisonError::new)
    }
}

fn gone() -> PoisonError {
    PoisonError::new("the pack thread ended")
}

fn carry_out(packs: &mut PackWriter, job: &Job, failpoints: &Failpoints) -> Result<(), BlobError> {
    for hash in &job.blobs {
        packs.append_staged(hash)?;
    }
    packs.flush()?;
    failpoints.at("pack.written");
    if job.sync {
        packs.sync()?;
        failpoints.at("pack.synced");
    }
    Ok(())
}

impl Drop for PackThread {
    fn drop(&mut self) {
        if let Worker::Thread { jobs, thread, .. } = &mut self.worker {
            *jobs = None;
            if let Some(thread) = thread.take() {
                let _ended = thread.join();
            }
        }
    }
}
