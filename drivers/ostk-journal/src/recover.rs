//! What a crash left, read at open: finds the end of the log, checks it, cuts what was never acknowledged.
//!
//! Records below the *floor* (the checkpoint's size, or what full tiles cover) were acknowledged: anything wrong with
//! them is corruption, which stops the open before anything is changed. From the floor on, the first line that is torn,
//! unchained, unsigned or names a blob that no pack holds ends the log; it and the rest are moved aside.
//!
//! Only the live segment and the end of the one before are read. The tree over everything earlier comes from its tiles
//! and is believed once its root is the signed checkpoint's. If that fails, everything is read.

use std::{
    io::{self, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use ostk_blobs::{BlobStore, Cut};
use ostk_disk::fs::{self, File, OpenOptions};
use ostk_log::{
    ChainVerifier, Checkpoint, Depth, Hash, Header, NodeId, Record, SignedCheckpoint, Signer, TILE_WIDTH,
    Tile, Timestamp, Tip, VerifierKey, leaf_hash,
};

use crate::{
    OpenError,
    failpoint::Failpoints,
    lines::Line,
    live::sync_dir,
    publish::{checkpoint_path, clear_unfinished, log_dir, read_full_tile, write_checkpoint, write_tiles},
    reader::Walk,
    refs::blob_refs,
    segments::{closed_dir, list, live_path, seq_of},
    tree::{TileFile, Tree},
};

/// What was found at open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The number of the next record.
    pub next_seq: u64,
    /// Time of the last record.
    pub last_ts: Timestamp,
    /// Epoch of the last record.
    pub last_epoch: u64,
    /// Digest of the last line, [`Hash::ZERO`] in an empty log.
    pub head: Hash,
    /// Lines that were cut from the end.
    pub torn: Option<Torn>,
    /// Bytes that were cut from the last pack.
    pub blobs_cut: Option<Cut>,
    /// There was no checkpoint although there are records; a new one was signed.
    pub checkpoint_rebuilt: bool,
    /// The tiles did not lead to the checkpoint's root; they were computed again from the records.
    pub tiles_rebuilt: bool,
}

/// Lines that were never acknowledged, cut from the end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The number that the first of them had or would have had.
    pub first_seq: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// Where they are now.
    pub moved_to: PathBuf,
    /// Why the first of them was not accepted.
    pub why: String,
}

/// What the writer begins with.
pub(crate) struct Recovered {
    pub(crate) recovery: Recovery,
    pub(crate) tree: Tree,
    /// The number of the live segment's first record, or of the one to come.
    pub(crate) live_first: u64,
}

/// Reads, checks, cuts and publishes. The caller holds the lock.
pub(crate) fn run(
    dir: &Path,
    signer: &dyn Signer,
    origin: &str,
    blobs: &BlobStore,
) -> Result<Recovered, OpenError> {
    let published = read_checkpoint(dir)?;
    let size = published.as_ref().map_or(0, |c| c.unverified().size);
    let source = Source { dir, origin, blobs, published: published.as_ref(), floor: floor(dir, size) };
    let (pass, tiles_rebuilt) = source.read()?;
    let torn = match &pass.cut {
        Some(cut) => Some(move_aside(dir, cut).map_err(OpenError::io("cut the end of", live_path(dir)))?),
        None => None,
    };
    sync_found(dir).map_err(OpenError::io("sync", dir))?;
    publish(dir, &pass, published.as_ref(), signer, origin)?;
    let recovery = Recovery {
        next_seq: pass.tree.size(),
        last_ts: pass.last_ts,
        last_epoch: pass.last_epoch,
        head: pass.head,
        torn,
        blobs_cut: None,
        checkpoint_rebuilt: published.is_none() && pass.tree.size() > 0,
        tiles_rebuilt,
    };
    let live_first = pass.live_first.unwrap_or(pass.tree.size());
    Ok(Recovered { recovery, tree: pass.tree, live_first })
}

/// The checkpoint; `None` if it is missing or the rename that replaced it outlived its bytes.
fn read_checkpoint(dir: &Path) -> Result<Option<SignedCheckpoint>, OpenError> {
    let path = checkpoint_path(dir);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(OpenError::io("read", path)(e)),
    };
    if text.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    SignedCheckpoint::parse(&text).map(Some).map_err(|e| OpenError::corrupt(&path, 0, None, e.to_string()))
}

/// How many records are known to be acknowledged: tiles are written after the sync, so a full one vouches for its records.
fn floor(dir: &Path, size: u64) -> u64 {
    let full = |index: &u64| {
        let node = NodeId { level: 0, index: index * TILE_WIDTH };
        let tile = Tile::holding(node, (index + 1) * TILE_WIDTH);
        tile.is_some_and(|t| {
            fs::metadata(log_dir(dir).join(t.path())).is_ok_and(|m| m.len() == TILE_WIDTH * 32)
        })
    };
    let first = size / TILE_WIDTH;
    let beyond = (first..).take_while(full).count() as u64;
    size.max(if beyond > 0 { (first + beyond) * TILE_WIDTH } else { 0 })
}

/// What the log is checked against.
struct Source<'a> {
    dir: &'a Path,
    origin: &'a str,
    blobs: &'a BlobStore,
    published: Option<&'a SignedCheckpoint>,
    floor: u64,
}

/// The log as read so far.
#[derive(Default)]
struct Pass {
    tree: Tree,
    full_tiles: Vec<TileFile>,
    head: Hash,
    last_ts: Timestamp,
    last_epoch: u64,
    live_first: Option<u64>,
    cut: Option<CutAt>,
}

/// Where the log ends although the file goes on.
struct CutAt {
    offset: u64,
    seq: u64,
    why: String,
}

impl Source<'_> {
    /// Reads from the tiles on if that works, otherwise everything; `true` if tiles had to be given up.
    fn read(&self) -> Result<(Pass, bool), OpenError> {
        let base = self.base()?;
        let short_cut = base.as_ref().is_some_and(|tree| tree.size() > 0);
        match self.pass(base.unwrap_or_default()) {
            Err(OpenError::Corrupt { .. }) if short_cut => Ok((self.pass(Tree::default())?, true)),
            other => Ok((other?, false)),
        }
    }

    /// The tree before the live segment, from tiles.
    fn base(&self) -> Result<Option<Tree>, OpenError> {
        let Some(published) = self.published else { return Ok(None) };
        let size = published.unverified().size;
        let live = list(self.dir)?.pop().filter(|segment| segment.is_live());
        let first = live.and_then(|segment| segment.first_seq).unwrap_or(size).min(size);
        Ok(Tree::load(first - first % TILE_WIDTH, |tile| read_full_tile(self.dir, tile)))
    }

    fn pass(&self, tree: Tree) -> Result<Pass, OpenError> {
        let first = tree.size();
        let mut walk = if first == 0 { Walk::open(self.dir)? } else { Walk::open_before(self.dir, first)? };
        let mut pass = Pass { tree, ..Pass::default() };
        let mut chain: Option<ChainVerifier> = None;
        while walk.advance()? {
            let line = walk.line();
            if first > 0 && chain.is_none() && seq_of(line.bytes).is_some_and(|seq| seq < first) {
                continue;
            }
            let chain = chain.get_or_insert_with(|| begin(&pass.tree, line.bytes));
            let (offset, seq) = (line.offset, pass.tree.size());
            let wrong = self.wrong(chain, seq, line);
            let leaf = leaf_hash(line.bytes);
            let wrong = wrong.or_else(|| misnamed(&walk, offset, seq));
            if walk.in_live() {
                pass.live_first.get_or_insert(seq);
            }
            match wrong {
                None => pass.took(leaf, chain.tip()),
                Some(why) if seq >= self.floor && walk.in_live() => {
                    pass.cut = Some(CutAt { offset, seq, why });
                    break;
                }
                Some(why) => return Err(OpenError::corrupt(walk.path(), offset, Some(seq), why)),
            }
            self.compare(&pass, chain)?;
        }
        self.check_length(&pass, &walk)?;
        Ok(pass)
    }

    /// What is wrong with record `seq`, if anything. Records that nobody acknowledged must prove more, because no
    /// checkpoint covers the last of them.
    fn wrong(&self, chain: &mut ChainVerifier, seq: u64, line: Line<'_>) -> Option<String> {
        if let Some(problem) = chain.push(line.offset, line.raw).into_iter().next() {
            return Some(problem.what);
        }
        let line = line.bytes;
        if seq >= self.floor {
            let sound = Record::parse(line).map_err(|e| e.to_string());
            let signed = sound.and_then(|_| Record::verify_signature(line).map_err(|e| e.to_string()));
            if let Err(what) = signed {
                return Some(what);
            }
        }
        let missing = blob_refs(line).find(|hash| !self.blobs.contains(hash));
        missing.map(|hash| format!("it names blob {hash}, which no pack holds"))
    }

    /// Compares the tree with the checkpoint when it has grown to its size.
    fn compare(&self, pass: &Pass, chain: &ChainVerifier) -> Result<(), OpenError> {
        let Some(published) = self.published.filter(|c| c.unverified().size == pass.tree.size()) else {
            return Ok(());
        };
        let corrupt = |what: String| OpenError::corrupt(&checkpoint_path(self.dir), 0, None, what);
        let root = pass.tree.root();
        if published.unverified().root != root {
            return Err(corrupt(format!("its root is not {root}, the root over the records")));
        }
        let Some(key) = chain.last_key() else { return Ok(()) };
        let key = VerifierKey::new(self.origin, *key).map_err(|e| corrupt(e.to_string()))?;
        published.verify(&key).map(|_| ()).map_err(|e| corrupt(e.to_string()))
    }

    fn check_length(&self, pass: &Pass, walk: &Walk) -> Result<(), OpenError> {
        let size = pass.tree.size();
        if size >= self.floor {
            return Ok(());
        }
        let what = format!("the log ends here after {size} records, {} were acknowledged", self.floor);
        Err(OpenError::corrupt(walk.path(), walk.offset(), Some(size), what))
    }
}

impl Pass {
    fn took(&mut self, leaf: Hash, tip: &Tip) {
        self.tree.push(leaf, &mut self.full_tiles);
        (self.head, self.last_ts, self.last_epoch) = (tip.last_hash, tip.last_ts, tip.last_epoch);
    }
}

/// A chain that goes on with `line`; what it is chained to is believed if earlier records are not read.
fn begin(tree: &Tree, line: &[u8]) -> ChainVerifier {
    let last_hash = match Header::scan(line) {
        Ok(header) if tree.size() > 0 => header.prev_hash,
        _ => Hash::ZERO,
    };
    let tip = Tip { next_seq: tree.size(), last_hash, tree: tree.frontier().clone(), ..Tip::default() };
    ChainVerifier::resume(tip, Depth::Chain)
}

/// A closed segment whose name is not the number of its first record.
pub(crate) fn misnamed(walk: &Walk, offset: u64, seq: u64) -> Option<String> {
    let named = walk.first_seq().filter(|named| offset == 0 && !walk.in_live() && *named != seq)?;
    Some(format!("the segment's name says record {named}, but its first is {seq}"))
}

/// Copies the end of the live segment beside the closed ones, makes the copy durable, then cuts.
fn move_aside(dir: &Path, cut: &CutAt) -> io::Result<Torn> {
    let mut live = OpenOptions::new().read(true).write(true).open(live_path(dir))?;
    live.seek(SeekFrom::Start(cut.offset))?;
    let (moved_to, mut copy) = create_torn(dir, cut.seq)?;
    let bytes = io::copy(&mut live, &mut copy)?;
    copy.sync_all()?;
    sync_dir(&closed_dir(dir))?;
    live.set_len(cut.offset)?;
    live.sync_all()?;
    Ok(Torn { first_seq: cut.seq, bytes, moved_to, why: cut.why.clone() })
}

/// Crashes in a row at the same record leave several files: `torn-7`, `torn-7.1`, …
fn create_torn(dir: &Path, seq: u64) -> io::Result<(PathBuf, File)> {
    let names = (0..1000).map(|n| if n == 0 { format!("torn-{seq}") } else { format!("torn-{seq}.{n}") });
    for name in names {
        let path = closed_dir(dir).join(name);
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What was found whole counts as durable from now on; it may still be in the page cache only.
fn sync_found(dir: &Path) -> io::Result<()> {
    match File::open(live_path(dir)) {
        Ok(live) => live.sync_all()?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    sync_dir(&closed_dir(dir))?;
    sync_dir(dir)
}

/// Writes tiles that are missing or other than computed, and a checkpoint if the published one is not over all records.
fn publish(
    dir: &Path,
    pass: &Pass,
    published: Option<&SignedCheckpoint>,
    signer: &dyn Signer,
    origin: &str,
) -> Result<(), OpenError> {
    let mut tiles = pass.full_tiles.clone();
    tiles.extend(pass.tree.partial_tiles());
    tiles.retain(|(name, bytes)| fs::read(log_dir(dir).join(name)).ok().as_ref() != Some(bytes));
    write_tiles(dir, &tiles)?;
    clear_unfinished(dir).map_err(OpenError::io("clear", log_dir(dir)))?;
    let current = published.is_some_and(|c| c.unverified().size == pass.tree.size());
    if !current {
        let checkpoint =
            Checkpoint::new(origin, pass.tree.size(), pass.tree.root()).map_err(crate::PublishError::from)?;
        write_checkpoint(dir, &checkpoint, signer, &Failpoints::default())?;
    }
    Ok(())
}
