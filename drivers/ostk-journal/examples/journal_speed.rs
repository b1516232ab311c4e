//! Prints how fast the journal is here: durable records with 64 callers that each wait for theirs, with and without
//! blobs, records per sync, and verification of a million records. Run with `--release`; the folder for the files is
//! the first argument (default: a temporary folder below the current one), the length of the long log the second.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints measurements")]

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ed25519_dalek::{Signer as _, SigningKey};
use ostk_journal::{Journal, Options, Reader, verify};
use ostk_log::{Draft, Hash, KeyId, Signer, Timestamp};

const CALLERS: usize = 64;
const RUN: Duration = Duration::from_secs(5);

struct Key(SigningKey, KeyId);

impl Signer for Key {
    fn key_id(&self) -> &KeyId {
        &self.1
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

struct Bench {
    journal: Journal,
    durable: Arc<(Mutex<u64>, Condvar)>,
    syncs: Arc<AtomicU64>,
    next: Mutex<u64>,
}

fn open(dir: &Path) -> Bench {
    let key = SigningKey::from_bytes(&[1; 32]);
    let id = KeyId::from_public_key(key.verifying_key().to_bytes());
    let durable = Arc::new((Mutex::new(0), Condvar::new()));
    let syncs = Arc::new(AtomicU64::new(0));
    let (shared, counter) = (durable.clone(), syncs.clone());
    let on_durable = Box::new(move |count: Result<u64, _>| {
        *shared.0.lock().unwrap() = count.unwrap();
        counter.fetch_add(1, Ordering::Relaxed);
        shared.1.notify_all();
    });
    let options = Options::new(Arc::new(Key(key, id)), "example.org/ostk/speed", on_durable);
    let (journal, recovery) = Journal::open(dir, options).unwrap();
    *durable.0.lock().unwrap() = recovery.next_seq;
    Bench { journal, durable, syncs, next: Mutex::new(recovery.next_seq) }
}

impl Bench {
    /// Appends the next record; its number.
    fn append(&self, blob: Option<Arc<[u8]>>, relaxed: bool) -> u64 {
        let mut body = serde_json::Map::new();
        body.insert("path".into(), "src/main.rs".into());
        body.insert("call".into(), "c-0123456789".into());
        body.insert("generation".into(), 17.into());
        let blobs: Vec<_> = blob.into_iter().map(|bytes| (Hash::of(&bytes), bytes)).collect();
        if let Some((hash, _)) = blobs.first() {
            body.insert("new_blob".into(), hash.to_string().into());
        }
        let mut next = self.next.lock().unwrap();
        let seq = *next;
        let ts = Timestamp::from_micros(1_767_323_045_000_000 + seq);
        let draft = Draft {
            seq,
            ts,
            epoch: 1,
            actor: "agent:worker-a".into(),
            event: "file.write.intent".into(),
            body,
        };
        if relaxed { self.journal.append_relaxed(draft, blobs) } else { self.journal.append(draft, blobs) }
            .unwrap();
        *next += 1;
        seq
    }

    fn wait(&self, seq: u64) {
        let count = self.durable.0.lock().unwrap();
        drop(self.durable.1.wait_while(count, |count| *count <= seq).unwrap());
    }
}

fn callers(name: &str, dir: &Path, blob_bytes: usize) {
    let bench = open(dir);
    let (start, records, waits) = (Instant::now(), AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (bench, records, waits) = (&bench, &records, &waits);
            scope.spawn(move || {
                let (mut mine, mut n) = (Vec::new(), 0u64);
                while start.elapsed() < RUN {
                    let text = format!("{caller} {n} ");
                    n += 1;
                    let blob =
                        (blob_bytes > 0).then(|| text.repeat(blob_bytes / text.len()).into_bytes().into());
                    let begun = Instant::now();
                    bench.wait(bench.append(blob, false));
                    mine.push(begun.elapsed());
                }
                records.fetch_add(n, Ordering::Relaxed);
                waits.lock().unwrap().extend(mine);
            });
        }
    });
    let (took, records) = (start.elapsed().as_secs_f64(), records.into_inner() as f64);
    let mut waits = waits.into_inner().unwrap();
    waits.sort_unstable();
    let part = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or_default();
    let groups = bench.syncs.load(Ordering::Relaxed) as f64;
    println!(
        "{name}: {:.0} durable records/s, {:.0} groups/s, {:.1} records per group, wait p50 {:?} p99 {:?}",
        records / took,
        groups / took,
        records / groups,
        part(50),
        part(99)
    );
}

fn timed<T>(name: &str, records: u64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    println!("{name}: {took:.2?}, {:.0} records/s", records as f64 / took.as_secs_f64());
    result
}

fn main() {
    let mut args = std::env::args().skip(1);
    let parent = args.next().unwrap_or(".".into());
    let records: u64 = args.next().map_or(1_000_000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir_in(parent).unwrap();
    callers("64 callers", &dir.path().join("small"), 0);
    callers("64 callers, 4 KiB blob each", &dir.path().join("blobs"), 4096);
    let long = dir.path().join("long");
    timed("append, nobody waits", records, || {
        let bench = open(&long);
        for _ in 0..records {
            bench.append(None, true);
        }
        bench.journal.close().unwrap();
    });
    timed("open", records, || open(&long).journal.close().unwrap());
    timed("read", records, || {
        assert_eq!(Reader::open(&long).unwrap().map(Result::unwrap).count() as u64, records)
    });
    assert!(timed("verify", records, || verify(&long, false).unwrap()).ok);
    assert!(timed("verify --deep", records, || verify(&long, true).unwrap()).ok);
}
