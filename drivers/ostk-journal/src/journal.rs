//! The journal as its owner sees it: open, append, close. The work is done by the writer thread.

use std::{
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use ostk_blobs::{BlobStore, PackWriter};
use ostk_disk::fs;
use ostk_log::{Draft, Hash, KeyId, Signer, seal};

use crate::{
    AppendError, OpenError, PoisonError, Recovery,
    failpoint::{Failpoint, Failpoints},
    live::Live,
    lock::Lock,
    pack_thread::PackThread,
    queue::{Awaited, Item, Queue},
    recover::{self, Recovered},
    writer::{Progress, Writer},
};

/// Called on the writer thread after each sync with the number of durable records, or once with the reason why nothing
/// more will become durable. Must be quick: the next group waits for it.
pub type OnDurable = Box<dyn FnMut(Result<u64, Arc<PoisonError>>) + Send>;

/// Called on the writer thread with the number of records that are written: handed to the system with all blobs before
/// them, so that the end of this process takes none of them away, though a power cut may. Must be quick.
pub type OnWritten = Box<dyn FnMut(u64) + Send>;

/// How to open a journal.
pub struct Options {
    /// Signs records and checkpoints.
    pub signer: Arc<dyn Signer>,
    /// Name of the log in its checkpoints, such as `example.org/ostk/repo`.
    pub origin: String,
    /// The live segment is closed when it has grown to this many bytes. [`Options::SEGMENT_BYTES`] is a good value.
    pub segment_bytes: u64,
    /// Told what became durable.
    pub on_durable: OnDurable,
    /// Told what is written and not durable yet; `None` if nobody asks.
    pub on_written: Option<OnWritten>,
    /// Called at each boundary of the write path; `None` outside of tests.
    pub failpoint: Option<Failpoint>,
}

impl Options {
    /// 32 MiB: the open checks the live segment whole, which takes a tenth of a second at this size.
    pub const SEGMENT_BYTES: u64 = 32 << 20;

    /// Options with the usual segment size and no failpoints.
    pub fn new(signer: Arc<dyn Signer>, origin: impl Into<String>, on_durable: OnDurable) -> Self {
        let origin = origin.into();
        let (segment_bytes, on_written, failpoint) = (Self::SEGMENT_BYTES, None, None);
        Self { signer, origin, segment_bytes, on_durable, on_written, failpoint }
    }
}

/// The one writer of a log. Any number of threads may append; dropping it writes what waits and ends the threads, which
/// takes as long as the disk does.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    store: Arc<BlobStore>,
    key: KeyId,
    thread: Option<JoinHandle<()>>,
    // Released last: nobody else may append before the writer thread has ended.
    _lock: Lock,
}

impl Journal {
    /// Opens the log in `dir`, the project's state folder, for append, and repairs what a crash left at its end.
    ///
    /// What was found and cut is in [`Recovery`]; the caller records it. Anything wrong before the end is
    /// [`OpenError::Corrupt`], and then nothing was changed but unfinished pack entries moved aside.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        let (mut journal, writer, recovery) = Self::prepare(dir, options, PackThread::start)?;
        let builder = thread::Builder::new().name("ostk-journal".into());
        let thread = builder.spawn(|| writer.run()).map_err(OpenError::io("start a thread for", dir))?;
        journal.thread = Some(thread);
        Ok((journal, recovery))
    }

    /// The journal and its writer, which does not run yet.
    pub(crate) fn prepare(
        dir: &Path,
        options: Options,
        start: impl FnOnce(PackWriter, Failpoints) -> io::Result<PackThread>,
    ) -> Result<(Self, Writer, Recovery), OpenError> {
        let Options { signer, origin, segment_bytes, on_durable, on_written, failpoint } = options;
        let lock = Lock::take(dir)?;
        create_layout(dir)?;
        let (packs, blobs_cut) = BlobStore::open(&dir.join("packs"))?;
        let Recovered { mut recovery, tree, live_first } =
            recover::run(dir, &*signer, &origin, packs.store())?;
        recovery.blobs_cut = blobs_cut;
        let live = Live::open(dir, live_first).map_err(OpenError::io("open the live segment in", dir))?;
        let failpoints = Failpoints(failpoint);
        let packs = start(packs, failpoints.clone()).map_err(OpenError::io("start a thread for", dir))?;
        let queue = Arc::new(Queue::new(recovery.next_seq, recovery.last_ts, recovery.last_epoch));
        let (key, store) = (*signer.key_id(), packs.store().clone());
        let progress = Progress::new(recovery.head, recovery.next_seq);
        let writer = Writer {
            dir: dir.to_path_buf(),
            queue: queue.clone(),
            signer,
            origin,
            segment_bytes,
            failpoints,
            on_durable,
            on_written,
            live,
            packs,
            tree,
            progress,
        };
        Ok((Self { queue, store, key, thread: None, _lock: lock }, writer, recovery))
    }

    /// Hands over a record that someone waits for, with the blobs it names. Returns before anything is written, and
    /// waits only while the queue is full. The blobs can be read at once; a record is acknowledged when the callback
    /// reports more durable records than its `seq`.
    ///
    /// Records become durable in the order of calls; `draft.seq` is the number after the call before. After an error
    /// nothing was taken and the number is still free.
    pub fn append(&self, draft: Draft, blobs: Vec<(Hash, Arc<[u8]>)>) -> Result<(), AppendError> {
        self.push(draft, blobs, Awaited::Durable)
    }

    /// As [`Self::append`], for a record of which it is enough that it is written: it is so as soon as a sync under way
    /// has ended, and causes none itself.
    pub fn append_written(&self, draft: Draft, blobs: Vec<(Hash, Arc<[u8]>)>) -> Result<(), AppendError> {
        self.push(draft, blobs, Awaited::Written)
    }

    /// As [`Self::append`], for a record that nobody waits for: it is written within [`crate::RELAXED_GATHER`], and becomes
    /// durable with the next awaited record or after [`crate::RELAXED_SYNC`].
    pub fn append_relaxed(&self, draft: Draft, blobs: Vec<(Hash, Arc<[u8]>)>) -> Result<(), AppendError> {
        self.push(draft, blobs, Awaited::Nothing)
    }

    /// The blobs: those of durable records and those just handed over.
    pub fn blobs(&self) -> &Arc<BlobStore> {
        &self.store
    }

    /// Why nothing more is taken, if the journal is poisoned.
    pub fn poisoned(&self) -> Option<Arc<PoisonError>> {
        self.queue.poisoned()
    }

    /// Writes what waits, makes it durable, publishes the tree and ends the threads.
    pub fn close(mut self) -> Result<(), Arc<PoisonError>> {
        self.end();
        self.queue.poisoned().map_or(Ok(()), Err)
    }

    fn push(&self, draft: Draft, blobs: Vec<(Hash, Arc<[u8]>)>, awaited: Awaited) -> Result<(), AppendError> {
        // A draft that cannot be sealed is refused here, on its caller's thread: on the writer's it would be the end.
        seal(&draft, &Hash::ZERO, &Unsigned(self.key))?;
        let mut item = Item { draft, blobs: Vec::with_capacity(blobs.len()), blob_bytes: 0, awaited };
        for (hash, bytes) in blobs {
            item.blob_bytes += bytes.len() as u64;
            item.blobs.push(hash);
            self.store.stage(hash, bytes).map_err(AppendError::Blob)?;
        }
        self.queue.push(item)
    }

    /// No more records are taken.
    pub(crate) fn end(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.queue.poison(Arc::new(PoisonError::new("the writer thread panicked")));
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

/// Signs with zeros, to find out whether a draft can be sealed.
struct Unsigned(KeyId);

impl Signer for Unsigned {
    fn key_id(&self) -> &KeyId {
        &self.0
    }

    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }
}

/// Creates the folders and the link that old tools look for.
fn create_layout(dir: &Path) -> Result<(), OpenError> {
    for name in ["journal", "log", "packs"] {
        let path = dir.join(name);
        fs::create_dir_all(&path).map_err(OpenError::io("create", path))?;
    }
    let link = dir.join("audit.jsonl");
    match fs::symlink("journal.jsonl", &link) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(OpenError::io("link", link)(e)),
        _ => Ok(()),
    }
}
