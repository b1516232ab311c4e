//! What all modules share: a signer, drafts, and a journal whose durable records can be waited for.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use ed25519_dalek::{Signer as _, SigningKey};
use ostk_journal::{Failpoint, Journal, OnWritten, OpenError, Options, Recovery};
use ostk_log::{Draft, Hash, KeyId, Signer, Timestamp};

pub(crate) const ORIGIN: &str = "example.org/ostk/test";

struct Key(SigningKey, KeyId);

impl Signer for Key {
    fn key_id(&self) -> &KeyId {
        &self.1
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

pub(crate) fn signer(seed: u8) -> Arc<dyn Signer> {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let id = KeyId::from_public_key(key.verifying_key().to_bytes());
    Arc::new(Key(key, id))
}

pub(crate) type Blobs = Vec<(Hash, Arc<[u8]>)>;

/// Record `seq`; every third names a blob.
pub(crate) fn draft(seq: u64) -> (Draft, Blobs) {
    let mut body = serde_json::Map::new();
    body.insert("n".into(), seq.into());
    let mut blobs = Vec::new();
    if seq % 3 == 1 {
        let bytes = blob(seq);
        body.insert("new_blob".into(), Hash::of(&bytes).to_string().into());
        blobs.push((Hash::of(&bytes), bytes.into()));
    }
    let ts = Timestamp::from_micros(1_767_323_045_000_000 + seq);
    let (actor, event) = ("agent:test".into(), "test.happened".into());
    (Draft { seq, ts, epoch: 1, actor, event, body }, blobs)
}

pub(crate) fn blob(seq: u64) -> Vec<u8> {
    format!("blob of record {seq}\n").into_bytes()
}

/// How many records are durable, or why no more will be.
#[derive(Default)]
pub(crate) struct Durable {
    state: Mutex<(u64, Option<String>)>,
    changed: Condvar,
}

impl Durable {
    /// Waits until `count` records are durable or the journal gave up; a minute at most.
    pub(crate) fn wait_for(&self, count: u64) -> Result<(), String> {
        let state = self.state.lock().unwrap();
        let waiting = |s: &mut (u64, Option<String>)| s.0 < count && s.1.is_none();
        let (state, _) = self.changed.wait_timeout_while(state, Duration::from_secs(60), waiting).unwrap();
        if state.0 >= count { Ok(()) } else { Err(state.1.clone().unwrap_or("timed out".into())) }
    }

    pub(crate) fn count(&self) -> u64 {
        self.state.lock().unwrap().0
    }
}

pub(crate) struct Setup {
    pub(crate) segment_bytes: u64,
    pub(crate) failpoint: Option<Failpoint>,
    pub(crate) acked_file: Option<PathBuf>,
    pub(crate) on_written: Option<OnWritten>,
    pub(crate) key: u8,
}

impl Default for Setup {
    fn default() -> Self {
        Self { segment_bytes: 3000, failpoint: None, acked_file: None, on_written: None, key: 1 }
    }
}

impl Setup {
    pub(crate) fn open(self, dir: &Path) -> Result<(Journal, Recovery, Arc<Durable>), OpenError> {
        let durable = Arc::new(Durable::default());
        let shared = durable.clone();
        let acked = self.acked_file;
        let on_durable = Box::new(move |news: Result<u64, Arc<ostk_journal::PoisonError>>| {
            if let (Some(file), Ok(count)) = (&acked, &news) {
                std::fs::write(file, count.to_string()).unwrap();
            }
            let mut state = shared.state.lock().unwrap();
            match news {
                Ok(count) => state.0 = count,
                Err(reason) => state.1 = Some(reason.to_string()),
            }
            shared.changed.notify_all();
        });
        let mut options = Options::new(signer(self.key), ORIGIN, on_durable);
        (options.segment_bytes, options.failpoint) = (self.segment_bytes, self.failpoint);
        options.on_written = self.on_written;
        let (journal, recovery) = Journal::open(dir, options)?;
        Ok((journal, recovery, durable))
    }
}

pub(crate) fn open(dir: &Path) -> (Journal, Recovery, Arc<Durable>) {
    Setup::default().open(dir).unwrap()
}

/// Appends records up to `count` without waiting and closes.
pub(crate) fn fill(dir: &Path, count: u64) {
    let (journal, recovery, _) = open(dir);
    for seq in recovery.next_seq..count {
        let (draft, blobs) = draft(seq);
        journal.append_relaxed(draft, blobs).unwrap();
        if seq % 8 == 7 {
            // Another group, so that segments rotate.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    journal.close().unwrap();
}

/// Appends record `seq` and waits until it is durable.
pub(crate) fn append(journal: &Journal, durable: &Durable, seq: u64) {
    let (draft, blobs) = draft(seq);
    journal.append(draft, blobs).unwrap();
    durable.wait_for(seq + 1).unwrap();
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if entry.is_symlink() {
            continue;
        } else if entry.is_dir() {
            copy_dir(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}
