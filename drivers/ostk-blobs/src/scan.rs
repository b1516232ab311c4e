//! Walks the entries of one pack by their headers. Knows where each entry lies and why a walk ended; decides nothing.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use ostk_disk::fs::{self, File};
use ostk_log::Hash;
use sha2::{Digest, Sha256};

use crate::{
    BlobError,
    format::{HEADER_MAX, Header, pack_name, pack_number},
};

/// Large enough that small blobs are read sequentially; large blobs are skipped by seeking.
const BUFFER_BYTES: usize = 64 << 10;

/// One whole entry of a pack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) hash: Hash,
    /// Where the entry's header begins.
    pub(crate) start: u64,
    /// Where the blob's bytes begin.
    pub(crate) data: u64,
    /// Bytes of the blob.
    pub(crate) size: u64,
    /// Whether the bytes have the hash; `true` as well when the walk does not read them.
    pub(crate) intact: bool,
}

impl Entry {
    /// The offset after the entry.
    pub(crate) fn end(&self) -> u64 {
        self.data + self.size + 1
    }
}

/// What the walk found at its position.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole entry.
    Entry(Entry),
    /// The pack ends here, after a whole entry.
    End,
    /// The pack ends inside the entry that begins here.
    Unfinished,
    /// The bytes here are no entry.
    Malformed(&'static str),
}

/// A walk over one pack.
pub(crate) struct Scan {
    reader: BufReader<File>,
    path: PathBuf,
    offset: u64,
    len: u64,
}

impl Scan {
    /// Begins at the first entry of `path`; entries appended later are not seen.
    pub(crate) fn open(path: &Path) -> Result<Self, BlobError> {
        let file = File::open(path).map_err(BlobError::io("open", path))?;
        let len = file.metadata().map_err(BlobError::io("stat", path))?.len();
        Ok(Self { reader: BufReader::with_capacity(BUFFER_BYTES, file), path: path.into(), offset: 0, len })
    }

    /// Where the next entry begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The pack's size when the walk began.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Moves over one entry; from `rehash_from` on it reads the bytes and compares their hash.
    pub(crate) fn step(&mut self, rehash_from: u64) -> Result<Step, BlobError> {
        let rehash = self.offset >= rehash_from;
        self.try_step(rehash).map_err(BlobError::io("read", &self.path))
    }

    fn try_step(&mut self, rehash: bool) -> io::Result<Step> {
        let left = self.len.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Step::End);
        }
        let mut line = Vec::with_capacity(HEADER_MAX);
        (&mut self.reader).take(left.min(HEADER_MAX as u64)).read_until(b'\n', &mut line)?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            let whole = line.len() < HEADER_MAX;
            return Ok(if whole { Step::Unfinished } else { Step::Malformed("no entry header") });
        }
        let Some(header) = Header::decode(&line) else { return Ok(Step::Malformed("no entry header")) };
        if header.entry_len() > left {
            return Ok(Step::Unfinished);
        }
        self.body(header, rehash)
    }

    fn body(&mut self, header: Header, rehash: bool) -> io::Result<Step> {
        let intact = if rehash {
            digest(&mut self.reader, header.size)? == header.hash
        } else {
            self.reader.seek_relative(i64::try_from(header.size).map_err(io::Error::other)?)?;
            true
        };
        let mut close = [0];
        self.reader.read_exact(&mut close)?;
        if close != *b"\n" {
            return Ok(Step::Malformed("the entry does not end with a newline"));
        }
        let start = self.offset;
        self.offset += header.entry_len();
        let data = self.offset - header.size - 1;
        Ok(Step::Entry(Entry { hash: header.hash, start, data, size: header.size, intact }))
    }
}

/// The digest of the next `size` bytes.
fn digest(reader: &mut impl BufRead, size: u64) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    let copied = io::copy(&mut reader.take(size), &mut hasher)?;
    if copied < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Hash::from_bytes(hasher.finalize().into()))
}

/// The packs of `dir` in order: number and path. Other files are not packs and are left alone.
pub(crate) fn packs(dir: &Path) -> Result<Vec<(u64, PathBuf)>, BlobError> {
    let names = match fs::names(dir) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(BlobError::io("list", dir)(e)),
    };
    let mut packs = Vec::new();
    for name in names {
        if let Some(number) = name.to_str().and_then(pack_number) {
            packs.push((number, dir.join(pack_name(number))));
        }
    }
    packs.sort_unstable();
    Ok(packs)
}
