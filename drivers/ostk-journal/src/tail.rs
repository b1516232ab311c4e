//! Follows the log as it grows: every durable record once, in order, whatever happens to the files meanwhile.
//!
//! Only records below the published checkpoint are returned. They are durable, so a crash can neither take one back
//! nor put another in its place. The follower keeps its file open, so a segment renamed by rotation is read to its end;
//! when the next record is not where it was expected (end of file, truncated, replaced), it is looked up again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ostk_disk::fs;
use ostk_log::{Hash, SignedCheckpoint};

use crate::{
    Entry, ReadError,
    lines::Lines,
    publish::checkpoint_path,
    reader::compare,
    segments::{list_from, seek_before, seq_of},
};

/// How often the checkpoint is looked at: below what a person notices, and cheap (one small file).
pub const POLL: Duration = Duration::from_millis(10);

/// A follower of the log.
#[derive(Debug)]
pub struct Tail {
    dir: PathBuf,
    next_seq: u64,
    last_hash: Option<Hash>,
    published: u64,
    file: Option<(Arc<Path>, Lines)>,
}

impl Tail {
    /// Follows the log in `dir`, the project's state folder, from record `seq` on. The log need not exist yet.
    pub fn new(dir: &Path, seq: u64) -> Self {
        let last_hash = (seq == 0).then_some(Hash::ZERO);
        Self { dir: dir.into(), next_seq: seq, last_hash, published: 0, file: None }
    }

    /// The number of the record that is returned next.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The next durable record, `None` if there is none after `wait`. An error if the log now holds another history
    /// than the one that was followed.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Entry>, ReadError> {
        let deadline = Instant::now() + wait;
        loop {
            if self.next_seq >= self.published {
                self.published = self.read_published();
            }
            if self.next_seq < self.published
                && let Some(entry) = self.read()?
            {
                return Ok(Some(entry));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(POLL));
        }
    }

    /// Size of the published checkpoint; what was known before while there is none to read.
    fn read_published(&self) -> u64 {
        let text = fs::read(checkpoint_path(&self.dir)).unwrap_or_default();
        SignedCheckpoint::parse(&text).map_or(self.published, |checkpoint| checkpoint.unverified().size)
    }

    /// The record that is due: from the open file, or from wherever it is now.
    fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        if let Some((path, mut lines)) = self.file.take()
            && let Ok(Some(line)) = lines.next()
            && line.whole
            && compare(line.bytes, self.next_seq, self.last_hash.as_ref()).is_none()
        {
            let (offset, line) = (line.offset, line.bytes.to_vec());
            self.file = Some((path.clone(), lines));
            return Ok(Some(self.took(path, offset, line)));
        }
        self.find()
    }

    /// Looks the record up in the segments as they are now.
    fn find(&mut self) -> Result<Option<Entry>, ReadError> {
        for segment in list_from(&self.dir, self.next_seq)? {
            let path = segment.path.clone();
            let read = |e| ReadError::io("read", &*path)(e);
            // Removed since it was listed: the next round lists again.
            let Ok(file) = segment.into_file() else { return Ok(None) };
            let at = seek_before(&file, self.next_seq).map_err(read)?;
            let mut lines = Lines::at(file, at).map_err(read)?;
            while let Some(line) = lines.next().map_err(read)? {
                if !line.whole || seq_of(line.bytes).is_some_and(|seq| seq < self.next_seq) {
                    continue;
                }
                let (offset, line) = (line.offset, line.bytes.to_vec());
                if let Some(what) = compare(&line, self.next_seq, self.last_hash.as_ref()) {
                    let (file, seq) = (PathBuf::from(&*path), Some(self.next_seq));
                    return Err(ReadError::Corrupt { file, offset, seq, what });
                }
                self.file = Some((path.clone(), lines));
                return Ok(Some(self.took(path, offset, line)));
            }
        }
        Ok(None)
    }

    fn took(&mut self, file: Arc<Path>, offset: u64, line: Vec<u8>) -> Entry {
        let (seq, hash) = (self.next_seq, Hash::of(&line));
        self.next_seq += 1;
        self.last_hash = Some(hash);
        Entry { seq, file, offset, line, hash }
    }
}
