//! Streams records across segments in order, each checked against the one before. Used by replay and by clients.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use ostk_log::{Hash, Header, ParseError, Record};

use crate::{
    ReadError,
    lines::{Line, Lines},
    segments::{Segment, list, list_from, seek_before, seq_of},
};

/// One record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// The file it was read from.
    pub file: Arc<Path>,
    /// Where its line begins in the file.
    pub offset: u64,
    /// The line without its newline.
    pub line: Vec<u8>,
    /// The digest of the line: the next record's `prev_hash`.
    pub hash: Hash,
}

impl Entry {
    /// The record; its signature is not checked here.
    pub fn record(&self) -> Result<Record, ParseError> {
        Record::parse(&self.line)
    }
}

/// Raw lines of all segments, unchecked. The file of the last line is `path`.
#[derive(Debug)]
pub(crate) struct Walk {
    segments: VecDeque<Segment>,
    lines: Option<Lines>,
    path: Arc<Path>,
    live: bool,
    first_seq: Option<u64>,
}

impl Walk {
    /// From the first segment's first line.
    pub(crate) fn open(dir: &Path) -> Result<Self, ReadError> {
        Ok(Self { segments: list(dir)?.into(), lines: None, path: dir.into(), live: false, first_seq: None })
    }

    /// From a line at or before record `seq`, not far from it.
    pub(crate) fn open_before(dir: &Path, seq: u64) -> Result<Self, ReadError> {
        let mut walk = Self {
            segments: list_from(dir, seq)?.into(),
            lines: None,
            path: dir.into(),
            live: false,
            first_seq: None,
        };
        if let Some(segment) = walk.segments.pop_front() {
            walk.enter(&segment);
            let path = segment.path.clone();
            let file = segment.into_file()?;
            let at = seek_before(&file, seq).and_then(|at| Lines::at(file, at));
            walk.lines = Some(at.map_err(ReadError::io("read", &*path))?);
        }
        Ok(walk)
    }

    /// The file of the line returned last.
    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether that file is the live segment.
    pub(crate) fn in_live(&self) -> bool {
        self.live
    }

    /// Where the next line begins in that file.
    pub(crate) fn offset(&self) -> u64 {
        self.lines.as_ref().map_or(0, Lines::offset)
    }

    /// The number that the name of that file gives to its first record; of the live segment, what its first line says.
    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.first_seq
    }

    fn enter(&mut self, segment: &Segment) {
        (self.path, self.live, self.first_seq) = (segment.path.clone(), segment.is_live(), segment.first_seq);
    }

    fn next_file(&mut self) -> Result<(), ReadError> {
        let Some(segment) = self.segments.pop_front() else { return Ok(()) };
        self.enter(&segment);
        self.lines = Some(Lines::new(segment.into_file()?, 0));
        Ok(())
    }

    /// Reads the next line; `false` after the last.
    pub(crate) fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            if let Some(lines) = &mut self.lines
                && lines.advance().map_err(ReadError::io("read", &*self.path))?
            {
                return Ok(true);
            }
            if self.segments.is_empty() {
                return Ok(false);
            }
            self.next_file()?;
        }
    }

    /// The line read last.
    pub(crate) fn line(&self) -> Line<'_> {
        self.lines.as_ref().map_or(Line { offset: 0, bytes: &[], raw: &[], whole: false }, Lines::line)
    }
}

/// Reads the log from a record on. Stops before an unfinished last line, and sees nothing that is appended after the
/// end was reached; [`crate::Tail`] follows.
#[derive(Debug)]
pub struct Reader {
    walk: Walk,
    next_seq: u64,
    last_hash: Option<Hash>,
    done: bool,
}

impl Reader {
    /// From the first record of the log in `dir`, the project's state folder.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Ok(Self { walk: Walk::open(dir)?, next_seq: 0, last_hash: Some(Hash::ZERO), done: false })
    }

    /// From record `seq` on, found by the names of the segments and by bisection. The first record returned is the
    /// one numbered `seq`; what it is chained to is not checked.
    pub fn open_at(dir: &Path, seq: u64) -> Result<Self, ReadError> {
        if seq == 0 {
            return Self::open(dir);
        }
        Ok(Self { walk: Walk::open_before(dir, seq)?, next_seq: seq, last_hash: None, done: false })
    }

    fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        let first = self.next_seq;
        let skipping = self.last_hash.is_none();
        let (offset, line) = loop {
            if !self.walk.advance()? {
                return Ok(None);
            }
            let line = self.walk.line();
            if !line.whole && self.walk.segments.is_empty() {
                return Ok(None);
            }
            if !(skipping && seq_of(line.bytes).is_some_and(|seq| seq < first)) {
                break (line.offset, line.bytes.to_vec());
            }
        };
        let hash = Hash::of(&line);
        let wrong = self.compare(&line);
        let (seq, file) = (self.next_seq, self.walk.path().clone());
        if let Some(what) = wrong {
            return Err(ReadError::Corrupt { file: PathBuf::from(&*file), offset, seq: Some(seq), what });
        }
        self.next_seq += 1;
        self.last_hash = Some(hash);
        Ok(Some(Entry { seq, file, offset, line, hash }))
    }

    fn compare(&self, line: &[u8]) -> Option<String> {
        compare(line, self.next_seq, self.last_hash.as_ref())
    }
}

/// What is wrong with a line that should be record `seq` after the line with digest `prev`.
pub(crate) fn compare(line: &[u8], seq: u64, prev: Option<&Hash>) -> Option<String> {
    match Header::scan(line) {
        Err(error) => Some(error.to_string()),
        Ok(header) if header.seq != seq => Some(format!("seq is {}, expected {seq}", header.seq)),
        Ok(header) if prev.is_some_and(|prev| header.prev_hash != *prev) => {
            Some("prev_hash is not the digest of the line before: one of the two was changed".into())
        }
        Ok(_) => None,
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, ReadError>;

    /// The next record; nothing more after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let entry = self.read().transpose();
        self.done = !matches!(entry, Some(Ok(_)));
        entry
    }
}
