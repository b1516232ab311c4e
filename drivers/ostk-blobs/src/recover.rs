//! Builds the index at start and cuts what a crash left unfinished at the end of the last pack.
//!
//! Entries before the mark (see `mark.rs`) must be whole. After the mark the bytes are rehashed, because a power cut may
//! have kept an entry's header and lost its bytes; from the first entry that is not whole the rest is moved aside.

use std::{
    collections::HashMap,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use ostk_disk::fs::{File, OpenOptions};
use ostk_log::Hash;

use crate::{
    BlobError,
    mark::Mark,
    scan::{Scan, Step, packs},
    store::Place,
};

/// What was cut from the last pack at start: bytes of a write that was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The pack.
    pub pack: PathBuf,
    /// The pack's size after the cut.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// Where they are now.
    pub moved_to: PathBuf,
}

/// The packs as found: where each blob lies, and the end of the last pack.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) index: HashMap<Hash, Place>,
    /// Number and path of each pack.
    pub(crate) packs: Vec<(u64, PathBuf)>,
    /// Entries of all packs.
    pub(crate) entries: u64,
    /// Size of the last pack up to its last whole entry.
    pub(crate) last_len: u64,
    /// Bytes after that.
    pub(crate) unfinished: u64,
}

/// Reads all headers of `dir` without changing anything.
pub(crate) fn find(dir: &Path) -> Result<Found, BlobError> {
    let packs = packs(dir)?;
    let mark = Mark::read(dir)?;
    check_mark(dir, mark, &packs)?;
    let mut found = Found::default();
    let last = packs.last().map(|(number, _)| *number);
    for (number, path) in packs {
        if number != found.entries {
            let what = format!("its name says blob {number}, but {} blobs come before it", found.entries);
            return Err(BlobError::corrupt(path, 0, what));
        }
        let tail = if last == Some(number) { Tail::of(mark, number) } else { Tail::Closed };
        found.add(number, path, tail)?;
    }
    Ok(found)
}

fn check_mark(dir: &Path, mark: Option<Mark>, packs: &[(u64, PathBuf)]) -> Result<(), BlobError> {
    let Some(mark) = mark else { return Ok(()) };
    let known = packs.iter().any(|(number, _)| *number == mark.pack);
    if known || mark.bytes == 0 {
        return Ok(());
    }
    let missing = dir.join(crate::format::pack_name(mark.pack));
    Err(BlobError::corrupt(missing, 0, "the pack is missing"))
}

/// What is known about the end of a pack.
#[derive(Clone, Copy)]
enum Tail {
    /// Closed packs were synced whole.
    Closed,
    /// Synced up to this byte.
    Synced(u64),
    /// No mark: all but an unfinished last entry must be whole.
    Unknown,
}

impl Tail {
    fn of(mark: Option<Mark>, number: u64) -> Self {
        match mark {
            Some(mark) if mark.pack == number => Self::Synced(mark.bytes),
            // The mark lags behind: the pack was begun after it was last written.
            Some(_) => Self::Synced(0),
            None => Self::Unknown,
        }
    }

    /// Entries from here on are rehashed.
    fn rehash_from(self) -> u64 {
        match self {
            Self::Synced(bytes) => bytes,
            Self::Closed | Self::Unknown => u64::MAX,
        }
    }

    /// Whether trouble at `offset` may be what a crash leaves.
    fn forgives(self, offset: u64, step: &Step) -> bool {
        match self {
            Self::Closed => false,
            Self::Synced(bytes) => offset >= bytes,
            Self::Unknown => matches!(step, Step::Unfinished),
        }
    }
}

impl Found {
    fn add(&mut self, number: u64, path: PathBuf, tail: Tail) -> Result<(), BlobError> {
        let mut scan = Scan::open(&path)?;
        if let Tail::Synced(bytes) = tail
            && scan.len() < bytes
        {
            return Err(BlobError::corrupt(
                path,
                scan.len(),
                format!("the pack ends here, {bytes} bytes were synced"),
            ));
        }
        let pack = self.packs.len();
        let mut end = 0;
        loop {
            match scan.step(tail.rehash_from())? {
                Step::End => break,
                Step::Entry(entry) if entry.intact => {
                    self.index.entry(entry.hash).or_insert(Place {
                        pack,
                        start: entry.start,
                        data: entry.data,
                        size: entry.size,
                    });
                    self.entries += 1;
                    end = entry.end();
                }
                step if tail.forgives(end, &step) => break,
                step => return Err(BlobError::corrupt(path, end, trouble(&step))),
            }
        }
        self.last_len = end;
        self.unfinished = scan.len() - end;
        self.packs.push((number, path));
        Ok(())
    }

    /// Moves the unfinished end of the last pack into a file beside it. The pack is synced afterwards.
    pub(crate) fn cut(&mut self, dir: &Path) -> Result<Option<Cut>, BlobError> {
        let Some((number, pack)) = self.packs.last() else { return Ok(None) };
        if self.unfinished == 0 {
            return Ok(None);
        }
        let moved_to = dir.join(format!("torn-{number:020}-{}", self.last_len));
        move_tail(pack, self.last_len, &moved_to).map_err(BlobError::io("cut the end of", pack))?;
        let bytes = std::mem::take(&mut self.unfinished);
        Ok(Some(Cut { pack: pack.clone(), offset: self.last_len, bytes, moved_to }))
    }
}

/// Why a step is trouble, in words.
pub(crate) fn trouble(step: &Step) -> &'static str {
    match step {
        Step::Entry(_) => "the bytes do not have the hash of the header",
        Step::Unfinished => "the pack ends inside an entry",
        Step::Malformed(what) => what,
        Step::End => "the pack ends",
    }
}

/// Copies what follows `offset` to `to`, makes it durable, and only then shortens `from`.
fn move_tail(from: &Path, offset: u64, to: &Path) -> io::Result<()> {
    let mut source = OpenOptions::new().read(true).write(true).open(from)?;
    source.seek(SeekFrom::Start(offset))?;
    let mut target = File::create(to)?;
    io::copy(&mut source.by_ref().take(u64::MAX), &mut target)?;
    target.sync_all()?;
    source.set_len(offset)?;
    source.sync_all()
}
