//! The durable log: 64 callers that each append a record and wait until it is on the disk, for a few seconds.
//!
//! Every record is signed, and acknowledged only after the sync of its group; each acknowledgement of the journal is
//! one group with one sync of the log. The callers are threads of this process, so that no socket is in between.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use ostk_journal::{Journal, Options};
use ostk_keys::KeyStore;
use ostk_log::{Draft, Timestamp};
use serde_json::json;

use crate::figure::Figure;

const CALLERS: usize = 64;
const RUN: Duration = Duration::from_secs(5);
/// Microseconds since 1970 at which invented history begins.
pub(crate) const EPOCH: u64 = 1_767_323_045_000_000;

/// A journal and how much of it is durable.
struct Bench {
    journal: Journal,
    durable: Arc<(Mutex<u64>, Condvar)>,
    next: Mutex<u64>,
}

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>> {
    let groups = Arc::new(AtomicU64::new(0));
    let bench = open(dir, &groups)?;
    let (begun, waits) = (Instant::now(), Mutex::new(Vec::new()));
    // The first failure of a caller ends the measurement with its reason.
    thread::scope(|scope| -> Result<()> {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| caller(&bench, begun, &waits))).collect();
        callers.into_iter().try_for_each(|caller| caller.join().ok().context("a caller panicked")?)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let waits = waits.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (records, groups) = (waits.len() as f64, groups.load(Ordering::Relaxed) as f64);
    bench.journal.close()?;
    Ok(vec![
        Figure::high("durable signed records, 64 callers", "records/s", vec![records / seconds])
            .median(10_000.0),
        Figure::low("append until durable, 64 callers", "ms", waits),
        Figure::high("groups, one sync of the log each", "groups/s", vec![groups / seconds]),
        Figure::high("records per group", "records", vec![records / groups]),
    ])
}

fn open(dir: &Path, groups: &Arc<AtomicU64>) -> Result<Bench> {
    let key = KeyStore::open(dir.join("keys"))?.instance_key()?;
    let durable = Arc::new((Mutex::new(0), Condvar::new()));
    let (shared, groups) = (Arc::clone(&durable), Arc::clone(groups));
    let on_durable = Box::new(move |count: Result<u64, _>| {
        // A broken journal would leave the callers waiting: they time out.
        let Ok(count) = count else { return };
        *lock(&shared.0) = count;
        groups.fetch_add(1, Ordering::Relaxed);
        shared.1.notify_all();
    });
    let options = Options::new(Arc::new(key), "example.org/ostk/bench", on_durable);
    let (journal, recovery) = Journal::open(&dir.join("log"), options)?;
    Ok(Bench { journal, durable, next: Mutex::new(recovery.next_seq) })
}

fn caller(bench: &Bench, begun: Instant, waits: &Mutex<Vec<f64>>) -> Result<()> {
    let mut mine = Vec::new();
    while begun.elapsed() < RUN {
        let asked = Instant::now();
        let seq = bench.append()?;
        bench.wait(seq)?;
        mine.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    lock(waits).extend(mine);
    Ok(())
}

impl Bench {
    fn append(&self) -> Result<u64> {
        let mut next = lock(&self.next);
        let seq = *next;
        self.journal.append(draft(seq), Vec::new())?;
        *next += 1;
        Ok(seq)
    }

    fn wait(&self, seq: u64) -> Result<()> {
        let count = lock(&self.durable.0);
        let waited = self.durable.1.wait_timeout_while(count, Duration::from_secs(30), |count| *count <= seq);
        let (_count, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(!timeout.timed_out(), "record {seq} is not durable after 30 s");
        Ok(())
    }
}

/// A record of the size that a write leaves, without a blob.
pub(crate) fn draft(seq: u64) -> Draft {
    let body = json!({ "path": "src/main.rs", "call": "c-0123456789", "generation": 17 });
    Draft {
        seq,
        ts: Timestamp::from_micros(EPOCH + seq),
        epoch: 1,
        actor: "agent:worker-a".to_owned(),
        event: "file.write.intent".to_owned(),
        body: body.as_object().cloned().unwrap_or_default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
