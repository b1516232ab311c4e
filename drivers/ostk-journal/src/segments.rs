//! Where the segments of a log are, which holds a record, and at which byte. Reads only.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ostk_disk::fs::{self, File};
use ostk_log::MAX_LINE;

use crate::ReadError;

/// A file with consecutive records.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: Arc<Path>,
    /// From the name, or from the live segment's first line; `None` if that is no record.
    pub(crate) first_seq: Option<u64>,
    /// The live segment stays open from the moment it is listed: its name may be another file's soon.
    live: Option<File>,
}

impl Segment {
    /// Whether this is the live segment.
    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// The file, at its beginning.
    pub(crate) fn into_file(self) -> Result<File, ReadError> {
        match self.live {
            Some(file) => Ok(file),
            None => File::open(&self.path).map_err(ReadError::io("open", &*self.path)),
        }
    }
}

/// The live segment.
pub(crate) fn live_path(dir: &Path) -> PathBuf {
    dir.join("journal.jsonl")
}

/// The folder of closed segments.
pub(crate) fn closed_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// The name that the live segment gets when it is closed.
pub(crate) fn closed_path(dir: &Path, first_seq: u64) -> PathBuf {
    closed_dir(dir).join(format!("{first_seq:020}.jsonl"))
}

fn closed_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// All segments in order, the live one last. A rotation meanwhile makes none appear twice and loses none.
pub(crate) fn list(dir: &Path) -> Result<Vec<Segment>, ReadError> {
    // The live segment is opened first: if it is closed afterwards, it is found again under its new name.
    let live = open_live(dir)?;
    let mut segments = closed(dir)?;
    if let Some(live) = live {
        let renamed = segments.iter().any(|s| s.first_seq == live.first_seq);
        if !renamed {
            segments.push(live);
        }
    }
    Ok(segments)
}

fn open_live(dir: &Path) -> Result<Option<Segment>, ReadError> {
    let path = live_path(dir);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ReadError::io("open", &path)(e)),
    };
    let mut start = [0; 40];
    let read = file.read_at(&mut start, 0).map_err(ReadError::io("read", &path))?;
    let first_seq = start.get(..read).and_then(seq_of);
    Ok(Some(Segment { path: path.into(), first_seq, live: Some(file) }))
}

fn closed(dir: &Path) -> Result<Vec<Segment>, ReadError> {
    let folder = closed_dir(dir);
    let names = match fs::names(&folder) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(ReadError::io("list", &folder)(e)),
    };
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.to_str().and_then(closed_number)).collect();
    numbers.sort_unstable();
    let segment = |n| Segment { path: closed_path(dir, n).into(), first_seq: Some(n), live: None };
    Ok(numbers.into_iter().map(segment).collect())
}

/// The segments from the one that may hold `seq` on. `seq` may be the next record to come.
pub(crate) fn list_from(dir: &Path, seq: u64) -> Result<Vec<Segment>, ReadError> {
    let mut segments = list(dir)?;
    let begun = segments.iter().take_while(|s| s.first_seq.is_some_and(|first| first <= seq)).count();
    segments.drain(..begun.saturating_sub(1));
    Ok(segments)
}

/// The number that a line claims; does not look at the rest of it.
pub(crate) fn seq_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let digits = rest.iter().take(21).take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

/// A place at or before record `seq`, at the start of a line, found by bisection: at most 64 reads of two lines' length.
/// Lines that are no records only make the place earlier.
pub(crate) fn seek_before(file: &File, seq: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0u64, file.metadata()?.len());
    let mut window = vec![0; 2 * MAX_LINE];
    while high - low > window.len() as u64 {
        let middle = low + (high - low) / 2;
        let read = file.read_at(&mut window, middle)?;
        let found = window.get(..read).and_then(|bytes| {
            let start = memchr::memchr(b'\n', bytes)? + 1;
            Some((middle + start as u64, seq_of(bytes.get(start..)?)?))
        });
        match found {
            Some((start, here)) if here <= seq && start < high => low = start,
            _ => high = middle,
        }
    }
    Ok(low)
}
