//! Checks a whole log without changing it, beside a running writer if need be, and says where each trouble is.
//!
//! One thread reads the lines and checks chain, tree and checkpoint. With `deep`, all cores check signatures and bodies,
//! every blob is rehashed and every full tile compared.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use ostk_disk::fs;
use ostk_log::{
    ChainVerifier, Depth, Hash, Header, KeyId, Record, SignatureBatch, SignedCheckpoint, VerifierKey,
    leaf_hash,
};
use serde::Serialize;

use crate::{
    ReadError,
    lines::Line,
    lock::is_locked,
    publish::{checkpoint_path, log_dir},
    reader::Walk,
    recover::misnamed,
    refs::blob_refs,
    tree::{TileFile, Tree},
};

/// Most problems that a report lists; it counts them all.
pub const MAX_PROBLEMS: usize = 1000;
/// How a record begins to say that a key is revoked. Inside a text the quotes would be escaped.
const REVOCATION: &[u8] = b"\"event\":\"trust.revoked\"";
/// Lines handed to a checking thread at once.
const BATCH_LINES: usize = 512;
/// More threads than this wait for the reading one.
const MAX_THREADS: usize = 16;

/// The outcome of [`verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// No problem was found.
    pub ok: bool,
    /// Whole lines read.
    pub records: u64,
    /// Digest of the last line.
    pub head: Hash,
    /// Merkle root over all lines.
    pub root: Hash,
    /// How many records the checkpoint is over, if there is one.
    pub checkpoint_size: Option<u64>,
    /// The log's name in its checkpoint.
    pub origin: Option<String>,
    /// Signatures of records that were checked: all with `deep`, otherwise those that no checkpoint covers.
    pub signatures_checked: u64,
    /// The keys that the records name. Whether they are to be trusted is the reader's question.
    pub keys: Vec<KeyId>,
    /// Blobs in the packs.
    pub blobs: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first [`MAX_PROBLEMS`] of them, in the order of the log, then those of packs.
    pub problems: Vec<Problem>,
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The record, if it is one. A changed line shows at the record after it, whose `prev_hash` does not fit.
    pub seq: Option<u64>,
    /// The file.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// Checks the log in `dir`, the project's state folder. An error means that it could not be read; what is wrong with
/// what was read is in the report.
pub fn verify(dir: &Path, deep: bool) -> Result<Report, ReadError> {
    verify_watched(dir, deep, &AtomicU64::new(0))
}

/// As [`verify`], counting in `passed` the records that have been read, for whoever shows how far the check has come.
/// Packs come first, during which it stays 0.
pub fn verify_watched(dir: &Path, deep: bool, passed: &AtomicU64) -> Result<Report, ReadError> {
    let running = is_locked(dir);
    // In this order a running writer only adds to what is read later.
    let checkpoint = read_checkpoint(dir)?;
    let packs = ostk_blobs::verify(&dir.join("packs"), deep).map_err(pack_error)?;
    let found = Mutex::new(Vec::new());
    let mut check = Check::new(dir, deep, checkpoint, &packs.hashes, &found, passed);
    let (workers, lines) = (if deep { threads() } else { 0 }, Walk::open(dir)?);
    if workers == 0 {
        check.lines(lines, None)?;
    } else {
        let (sender, receiver) = sync_channel(2 * workers);
        let receiver = Mutex::new(receiver);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| check_batches(&receiver, &found));
            }
            check.lines(lines, Some(sender))
        })?;
    }
    check.finish(running);
    let mut report = check.report();
    drop(check);
    let mut problems = found.into_inner().unwrap_or_else(|e| e.into_inner());
    problems.sort_by_key(|p| p.seq.unwrap_or(u64::MAX));
    let unfinished = packs.unfinished.filter(|_| !running);
    problems.extend(packs.problems.into_iter().chain(unfinished).map(pack_problem));
    report.blobs = packs.blobs;
    report.problem_count = problems.len() as u64;
    problems.truncate(MAX_PROBLEMS);
    (report.ok, report.problems) = (problems.is_empty(), problems);
    Ok(report)
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS))
}

fn pack_problem(p: ostk_blobs::Problem) -> Problem {
    Problem { seq: None, file: p.file, offset: p.offset, what: p.what }
}

fn pack_error(error: ostk_blobs::BlobError) -> ReadError {
    match error {
        ostk_blobs::BlobError::Io { doing, path, source } => ReadError::Io { doing, path, source },
        other => ReadError::Io { doing: "read", path: "packs".into(), source: io::Error::other(other) },
    }
}

/// What stands in `log/checkpoint`: nothing, something unreadable, or a note.
fn read_checkpoint(dir: &Path) -> Result<Option<Result<SignedCheckpoint, String>>, ReadError> {
    let path = checkpoint_path(dir);
    match fs::read(&path) {
        Ok(text) => Ok(Some(SignedCheckpoint::parse(&text).map_err(|e| e.to_string()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ReadError::io("read", path)(e)),
    }
}

/// The check of the lines in order.
struct Check<'a> {
    dir: &'a Path,
    deep: bool,
    checkpoint: Option<Result<SignedCheckpoint, String>>,
    blobs: &'a HashSet<Hash>,
    found: &'a Mutex<Vec<Problem>>,
    passed: &'a AtomicU64,
    chain: ChainVerifier,
    /// Grows with the chain when tiles are compared.
    tree: Tree,
    tiles: Vec<TileFile>,
    records: u64,
    signatures: u64,
    /// Keys that were revoked, by the record that says so.
    revoked: BTreeMap<KeyId, u64>,
    /// Root and last key when the tree had the checkpoint's size.
    at_checkpoint: Option<(Hash, KeyId)>,
    /// The log's end is not a whole line.
    unfinished: Option<Problem>,
}

impl<'a> Check<'a> {
    fn new(
        dir: &'a Path,
        deep: bool,
        checkpoint: Option<Result<SignedCheckpoint, String>>,
        blobs: &'a HashSet<Hash>,
        found: &'a Mutex<Vec<Problem>>,
        passed: &'a AtomicU64,
    ) -> Self {
        let (chain, tree, tiles) = (ChainVerifier::new(Depth::Chain), Tree::default(), Vec::new());
        let (records, signatures, at_checkpoint, unfinished) = (0, 0, None, None);
        Self {
            dir,
            deep,
            checkpoint,
            blobs,
            found,
            passed,
            chain,
            tree,
            tiles,
            records,
            signatures,
            revoked: BTreeMap::new(),
            at_checkpoint,
            unfinished,
        }
    }

    fn size(&self) -> Option<u64> {
        self.checkpoint.as_ref()?.as_ref().ok().map(|c| c.unverified().size)
    }

    fn lines(&mut self, mut walk: Walk, workers: Option<SyncSender<Batch>>) -> Result<(), ReadError> {
        let mut batch = Batch::default();
        while walk.advance()? {
            let line = walk.line();
            if !line.whole && walk.in_live() {
                let (seq, what) = (Some(self.records), "the line is not finished".into());
                self.unfinished =
                    Some(Problem { seq, file: walk.path().to_path_buf(), offset: line.offset, what });
                break;
            }
            self.line(&walk, line);
            if let Some(workers) = &workers {
                if !batch.has_room(walk.path()) {
                    self.send(&mut batch, workers);
                }
                batch.add(walk.path(), self.records, line);
            }
            self.records += 1;
            self.passed.store(self.records, Ordering::Relaxed);
            self.note_checkpoint();
        }
        if let Some(workers) = &workers {
            self.send(&mut batch, workers);
        }
        Ok(())
    }

    /// Checks what depends on the lines before.
    fn line(&mut self, walk: &Walk, line: Line<'_>) {
        let (offset, seq) = (line.offset, self.records);
        let covered = self.size().unwrap_or(0);
        let chain = self.chain.push(offset, line.raw).into_iter().map(|p| p.what);
        let missing = if seq < covered { self.missing_blob(line.bytes) } else { None };
        let revoked = self.revoked(seq, line.bytes);
        for what in chain.chain(missing).chain(misnamed(walk, offset, seq)).chain(revoked) {
            add(self.found, Some(seq), walk.path(), offset, what);
        }
        if self.deep {
            self.tree.push(leaf_hash(line.bytes), &mut self.tiles);
        } else if seq >= covered {
            // No checkpoint covers the last line, and no line after it: only its signature does.
            self.signatures += 1;
            let mut signature = SignatureBatch::new();
            check_line(seq, offset, line.bytes, walk.path(), &mut signature, self.found);
            check_signatures(&mut signature, walk.path(), self.found);
        }
    }

    /// What a record signed by a revoked key is worth. The record of a revocation may be signed by the key itself.
    fn revoked(&mut self, seq: u64, line: &[u8]) -> Option<String> {
        let since = self.chain.last_key().and_then(|key| Some((*key, *self.revoked.get(key)?)));
        if memchr::memmem::find(line, REVOCATION).is_some()
            && let Ok(record) = Record::parse(line)
            && let Some(key) = record.body.get("key").and_then(|key| key.as_str()?.parse().ok())
        {
            self.revoked.entry(key).or_insert(seq);
        }
        since.map(|(key, at)| format!("it is signed by {key}, which record {at} revoked"))
    }

    fn send(&mut self, batch: &mut Batch, workers: &SyncSender<Batch>) {
        self.signatures += batch.lines.len() as u64;
        // Fails only when every worker has panicked, which ends the scope with that panic.
        let _sent = workers.send(std::mem::take(batch));
        self.compare_tiles();
    }

    fn note_checkpoint(&mut self) {
        if Some(self.records) == self.size()
            && let Some(key) = self.chain.last_key()
        {
            self.at_checkpoint = Some((self.chain.tip().tree.root(), *key));
        }
    }

    fn missing_blob(&self, line: &[u8]) -> Option<String> {
        let hash = blob_refs(line).find(|hash| !self.blobs.contains(hash))?;
        Some(format!("it names blob {hash}, which no pack holds"))
    }

    /// Full tiles below the checkpoint must be there and be right: proofs are made from them.
    fn compare_tiles(&mut self) {
        let covered = self.records <= self.size().unwrap_or(0);
        for (name, bytes) in self.tiles.drain(..).filter(|_| covered) {
            let path = log_dir(self.dir).join(name);
            if fs::read(&path).ok() != Some(bytes) {
                add(self.found, None, &path, 0, "the tile is missing or not what the records hash to".into());
            }
        }
    }

    /// Compares the end of the log with the checkpoint.
    fn finish(&mut self, running: bool) {
        // A running writer may be in the middle of a line.
        if let Some(p) = self.unfinished.take().filter(|_| !running) {
            add(self.found, p.seq, &p.file, p.offset, p.what);
        }
        let wrong = match &self.checkpoint {
            None if self.records == 0 => None,
            None => Some("there is no checkpoint".to_owned()),
            Some(Err(what)) => Some(what.clone()),
            Some(Ok(checkpoint)) => self.disagrees(checkpoint),
        };
        if let Some(what) = wrong {
            add(self.found, None, &checkpoint_path(self.dir), 0, what);
        }
    }

    fn disagrees(&self, signed: &SignedCheckpoint) -> Option<String> {
        let checkpoint = signed.unverified();
        if checkpoint.size == 0 {
            return None;
        }
        let Some((root, key)) = self.at_checkpoint else {
            return Some(format!("it is over {} records, the log has {}", checkpoint.size, self.records));
        };
        if checkpoint.root != root {
            return Some(format!("its root is {}, the records' is {root}", checkpoint.root));
        }
        let key = VerifierKey::new(&checkpoint.origin, key);
        key.and_then(|key| signed.verify(&key).map(|_| ())).err().map(|e| e.to_string())
    }

    fn report(&self) -> Report {
        let tip = self.chain.tip();
        let signed = self.checkpoint.as_ref().and_then(|c| c.as_ref().ok());
        Report {
            ok: false,
            records: self.records,
            head: tip.last_hash,
            root: tip.tree.root(),
            checkpoint_size: self.size(),
            origin: signed.map(|c| c.unverified().origin.clone()),
            signatures_checked: self.signatures,
            keys: self.chain.keys().iter().copied().collect(),
            blobs: 0,
            problem_count: 0,
            problems: Vec::new(),
        }
    }
}

/// Consecutive lines of one file.
#[derive(Default)]
struct Batch {
    file: Option<Arc<Path>>,
    bytes: Vec<u8>,
    lines: Vec<(u64, u64, Range<usize>)>,
}

impl Batch {
    fn has_room(&self, file: &Arc<Path>) -> bool {
        self.lines.len() < BATCH_LINES && self.file.as_ref().is_none_or(|mine| mine == file)
    }

    fn add(&mut self, file: &Arc<Path>, seq: u64, line: Line<'_>) {
        self.file.get_or_insert_with(|| file.clone());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(line.bytes);
        self.lines.push((seq, line.offset, start..self.bytes.len()));
    }
}

fn check_batches(batches: &Mutex<Receiver<Batch>>, found: &Mutex<Vec<Problem>>) {
    let mut signatures = SignatureBatch::new();
    loop {
        let received = batches.lock().unwrap_or_else(|e| e.into_inner()).recv();
        let Ok(batch) = received else { return };
        let Some(file) = &batch.file else { continue };
        for (seq, offset, range) in batch.lines {
            check_line(seq, offset, batch.bytes.get(range).unwrap_or_default(), file, &mut signatures, found);
        }
        check_signatures(&mut signatures, file, found);
    }
}

/// Checks the body, and takes the signature to be checked with others. A line that is no record at all is reported by
/// the chain.
fn check_line(
    seq: u64,
    offset: u64,
    line: &[u8],
    file: &Path,
    signatures: &mut SignatureBatch<(u64, u64)>,
    found: &Mutex<Vec<Problem>>,
) {
    let Ok(header) = Header::scan(line) else { return };
    if let Err(error) = Record::parse(line) {
        add(found, Some(seq), file, offset, error.to_string());
    }
    signatures.push((seq, offset), &header);
}

fn check_signatures(signatures: &mut SignatureBatch<(u64, u64)>, file: &Path, found: &Mutex<Vec<Problem>>) {
    for ((seq, offset), wrong) in signatures.check() {
        add(found, Some(seq), file, offset, wrong.to_string());
    }
}

fn add(found: &Mutex<Vec<Problem>>, seq: Option<u64>, file: &Path, offset: u64, what: String) {
    let problem = Problem { seq, file: file.into(), offset, what };
    found.lock().unwrap_or_else(|e| e.into_inner()).push(problem);
}
