//! Undo: a write, the writes of a lineage or of a range are taken back by three-way merge.
//!
//! The versions that a call names are reverted newest first, each against what is there by then. Whatever cannot be
//! taken back without losing somebody else's change refuses the whole call.

use super::{
    Looked,
    decide::{self, Content, Plan, Refusal},
};
use crate::{
    act::Seen,
    call::{CallError, Code},
    event::FileImage,
    kernel::{Job, Kernel},
    state::{FileEntry, Version, name_of},
};

/// A file before and after a change that is taken back.
pub(super) type Revert = (Option<FileImage>, Option<FileImage>);

/// What one file's undo takes back, newest first.
pub(super) struct UndoTarget {
    pub(super) path: String,
    pub(super) reverts: Vec<Revert>,
}

impl Kernel {
    /// The files and changes that an undo is about.
    pub(super) fn undo_targets(&self, job: &Job) -> Result<Vec<UndoTarget>, CallError> {
        let (seq, lineage) = (job.number("seq"), job.text("lineage"));
        let (from, to) = (job.number("from"), job.number("to"));
        if seq.is_none() && lineage.is_none() && from.is_none() {
            return Err(CallError::new(Code::Usage, "undo what? name a seq, a lineage, or from and to")
                .hint("ostk log FILE shows the records"));
        }
        let chosen = |version: &Version| {
            seq.is_none_or(|seq| version.seq == seq)
                && lineage.is_none_or(|lineage| name_of(&version.writer) == lineage)
                && from.is_none_or(|from| version.seq >= from)
                && to.is_none_or(|to| version.seq <= to)
                && version.writer != "initial"
        };
        let only = job.text("path");
        let mut targets = Vec::new();
        for (path, entry) in self.state.files.iter().filter(|(path, _)| only.is_none_or(|only| only == *path))
        {
            let reverts = reverts(path, entry, chosen)?;
            if !reverts.is_empty() {
                targets.push(UndoTarget { path: path.clone(), reverts });
            }
        }
        if targets.is_empty() {
            return Err(CallError::new(Code::NotFound, "no such write in the log")
                .hint("ostk log FILE shows the records"));
        }
        Ok(targets)
    }

    pub(super) fn plan_undo(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let mut plans = Vec::new();
        for target in self.undo_targets(job)? {
            let seen = looked.files.get(&target.path).unwrap_or(&Seen::Absent);
            let found = decide::content_of(&target.path, seen)?;
            let mut current = found.clone();
            for (before, after) in &target.reverts {
                let before = load(looked, before.as_ref(), found.as_ref())?;
                let after = load(looked, after.as_ref(), found.as_ref())?;
                current = decide::revert(&target.path, current, before, after)?;
            }
            if current.as_ref().map(Content::image) != found.as_ref().map(Content::image) {
                plans.push(Plan { blind: true, ..Plan::new(&target.path, found, current) });
            }
        }
        if plans.is_empty() { Err(Refusal::Nothing) } else { Ok(plans) }
    }
}

fn reverts(
    path: &str,
    entry: &FileEntry,
    chosen: impl Fn(&Version) -> bool,
) -> Result<Vec<Revert>, CallError> {
    let mut reverts = Vec::new();
    let mut before = None;
    for (at, version) in entry.history.iter().enumerate() {
        if chosen(version) {
            if at == 0 && (version.foreign || version.generation > 1) {
                let message = format!("what {path} was before record {} is not known", version.seq);
                return Err(CallError::new(Code::NotFound, message)
                    .hint("the log saw the file for the first time then; take it from git"));
            }
            reverts.push((before, version.image));
        }
        before = version.image;
    }
    reverts.reverse();
    Ok(reverts)
}

fn load(
    looked: &Looked,
    image: Option<&FileImage>,
    found: Option<&Content>,
) -> Result<Option<Content>, CallError> {
    let Some(image) = image else { return Ok(None) };
    if let Some(found) = found.filter(|found| found.hash == image.blob) {
        return Ok(Some(Content { executable: image.executable, ..found.clone() }));
    }
    let bytes = looked.blobs.get(&image.blob).cloned();
    let bytes =
        bytes.ok_or_else(|| CallError::new(Code::NotFound, format!("blob {} is not stored", image.blob)))?;
    Ok(Some(Content { bytes, hash: image.blob, executable: image.executable }))
}
