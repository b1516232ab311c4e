//! Checks packs without changing them, beside a running writer if need be, and says where each trouble is.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use ostk_log::Hash;

use crate::{
    BlobError,
    mark::Mark,
    recover::trouble,
    scan::{Scan, Step, packs},
};

/// The outcome of [`verify`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Packs read.
    pub packs: u64,
    /// Whole entries found.
    pub blobs: u64,
    /// Their names, without those that were found damaged.
    pub hashes: HashSet<Hash>,
    /// Bytes of all packs.
    pub bytes: u64,
    /// What is wrong, in the order of the packs.
    pub problems: Vec<Problem>,
    /// An entry at the very end that is not whole and was never synced: a running writer's, or what a crash left.
    pub unfinished: Option<Problem>,
}

/// Something wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The pack.
    pub file: PathBuf,
    /// Where the entry begins.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// Walks all entries of the packs in `dir`; with `deep`, reads and rehashes every blob. Memory grows
/// with the number of blobs (32 bytes each), not with their size.
pub fn verify(dir: &Path, deep: bool) -> Result<Report, BlobError> {
    // The mark is read first: a running writer only moves it forward.
    let mark = Mark::read(dir)?;
    let packs = packs(dir)?;
    let mut report = Report::default();
    if let Some(mark) = mark
        && mark.bytes > 0
        && !packs.iter().any(|(number, _)| *number == mark.pack)
    {
        report.problem(&dir.join(crate::format::pack_name(mark.pack)), 0, "the pack is missing");
    }
    let last = packs.last().map(|(number, _)| *number);
    let mut sound = true;
    for (number, path) in packs {
        if sound && number != report.blobs {
            report.problem(
                &path,
                0,
                &format!("its name says blob {number}, but {} blobs come before it", report.blobs),
            );
        }
        let synced = match mark {
            Some(mark) if mark.pack == number => Some(mark.bytes),
            _ if last == Some(number) => mark.map(|_| 0),
            _ => Some(u64::MAX),
        };
        sound = report.walk(&path, synced, last == Some(number), deep)?;
        // After a break the number of the next blob is unknown: go by the next pack's name.
        if !sound {
            report.blobs = report.blobs.max(number);
        }
    }
    Ok(report)
}

impl Report {
    fn problem(&mut self, file: &Path, offset: u64, what: &str) {
        self.problems.push(Problem { file: file.into(), offset, what: what.into() });
    }

    /// Walks one pack; `false` if it could not be walked to its end.
    fn walk(&mut self, path: &Path, synced: Option<u64>, last: bool, deep: bool) -> Result<bool, BlobError> {
        let mut scan = Scan::open(path)?;
        self.packs += 1;
        self.bytes += scan.len();
        if let Some(synced) = synced.filter(|synced| last && scan.len() < *synced) {
            self.problem(path, scan.len(), &format!("the pack ends here, {synced} bytes were synced"));
        }
        loop {
            let offset = scan.offset();
            match scan.step(if deep { 0 } else { u64::MAX })? {
                Step::End => return Ok(true),
                Step::Entry(entry) => {
                    self.blobs += 1;
                    if entry.intact {
                        self.hashes.insert(entry.hash);
                    } else {
                        self.problem(path, offset, trouble(&Step::Entry(entry)));
                    }
                }
                step => {
                    let harmless =
                        last && synced.map_or(matches!(step, Step::Unfinished), |synced| offset >= synced);
                    let problem = Problem { file: path.into(), offset, what: trouble(&step).into() };
                    if harmless {
                        self.unfinished = Some(problem);
                    } else {
                        self.problems.push(problem);
                    }
                    return Ok(false);
                }
            }
        }
    }
}
