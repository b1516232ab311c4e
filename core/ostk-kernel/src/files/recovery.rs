//! Recovery: a write whose receipt a crash hid is compared with its files and finished, or put back.
//!
//! The bytes are in the packs, because the intent is in the log. Bytes that are neither the old nor the new ones are
//! somebody else's and stay; then the other files of the same write go back to what they were, so that a batch is
//! whole or not at all.

use std::collections::BTreeSet;

use ostk_log::Hash;
use serde_json::Value;

use super::{
    FileStage, Looked, caller_of,
    decide::{self, Content},
};
use crate::{
    act::{Found, Op, Placed, Seen},
    event::{Change, Event, FileImage},
    kernel::{Job, Kernel, ReplyTo, Stage},
    limits,
};

/// How often a write starts over because a file changed while it was being recovered.
const MAX_ATTEMPTS: u8 = 5;
/// Deadline of the whole recovery of one write.
const RECOVERY_DEADLINE_MS: u64 = 600_000;

/// A write that is being finished, or put back because of `problem`.
#[derive(Debug)]
pub(crate) struct Redo {
    intent: u64,
    attempt: u8,
    problem: Option<String>,
    /// Of a write that is put back, the files that are not what they were before it.
    left: BTreeSet<String>,
}

impl Kernel {
    /// Starts the recovery of every write whose receipt is missing. Calls on the same files wait behind it.
    pub(crate) fn redo_open_writes(&mut self) {
        let Some(syscall) = crate::table::lookup("file.write") else { return };
        let open: Vec<_> =
            self.state.open_writes.iter().map(|(intent, write)| (*intent, write.clone())).collect();
        for (intent, write) in open {
            let paths: BTreeSet<String> = write.changes.iter().map(|change| change.path.clone()).collect();
            let deadline = self.now.plus_millis(RECOVERY_DEADLINE_MS);
            let (id, caller) = (self.fresh_id(), caller_of(&write.actor));
            let mut job = Job::new(id, caller, syscall, Value::Null, deadline, ReplyTo::Nobody);
            job.paths = paths.into_iter().collect();
            job.key = write.key;
            if let Some(key) = &job.key {
                self.open_keys.entry(key.clone()).or_default();
            }
            self.queues.enter(job.id, &job.paths);
            self.observe_redo(job, Redo { intent, attempt: 0, problem: None, left: BTreeSet::new() });
        }
    }

    fn observe_redo(&mut self, mut job: Job, redo: Redo) {
        let images =
            self.open_changes(redo.intent).into_iter().flat_map(|change| [change.before, change.after]);
        let blobs: BTreeSet<Hash> = images.flatten().map(|image| image.blob).collect();
        job.stage = Stage::File(FileStage::Redoing(redo));
        let op = Op::Observe { paths: job.paths.clone(), blobs: blobs.into_iter().collect() };
        self.run_for(job, op, None);
    }

    fn open_changes(&self, intent: u64) -> Vec<Change> {
        self.state.open_writes.get(&intent).map(|write| write.changes.clone()).unwrap_or_default()
    }

    pub(super) fn redo(&mut self, mut job: Job, mut redo: Redo, looked: &Looked) {
        let changes = self.open_changes(redo.intent);
        let found: Vec<Result<Option<FileImage>, String>> =
            changes.iter().map(|change| image_of(looked, change)).collect();
        if redo.problem.is_none() {
            redo.problem =
                changes.iter().zip(&found).find_map(|(change, found)| obstacle(looked, change, found));
        }
        let steps: Vec<Found> = changes
            .iter()
            .zip(&found)
            .filter_map(|(change, found)| step(looked, change, found, redo.problem.is_some()))
            .collect();
        if redo.problem.is_some() {
            let other = |(change, found): &(&Change, &Result<_, _>)| **found != Ok(change.before);
            let others = changes.iter().zip(&found).filter(other);
            redo.left = others.map(|(change, _)| change.path.clone()).collect();
        }
        if steps.is_empty() {
            return self.settle_redo(job, redo);
        }
        let paths = steps.iter().map(|step| step.path.clone()).collect();
        job.stage = Stage::File(FileStage::Replacing(redo, paths));
        self.run_for(job, Op::Place { steps }, None);
    }

    /// The files at `paths` were to be placed.
    pub(super) fn redone(&mut self, job: Job, mut redo: Redo, paths: &[String], placed: Placed) {
        redo.attempt += 1;
        match placed {
            Placed::All => {
                redo.left.retain(|path| !paths.contains(path));
                self.settle_redo(job, redo);
            }
            _ if redo.attempt > MAX_ATTEMPTS => {
                if redo.problem.is_none() {
                    redo.problem = Some("the files kept changing during recovery".to_owned());
                    redo.left = job.paths.iter().cloned().collect();
                }
                self.settle_redo(job, redo);
            }
            Placed::Displaced { .. } => self.observe_redo(job, redo),
            Placed::Failed { reason, .. } => {
                redo.problem.get_or_insert(limits::clip(&reason));
                self.observe_redo(job, redo);
            }
        }
    }

    fn settle_redo(&mut self, job: Job, redo: Redo) {
        let Redo { intent, mut problem, left, .. } = redo;
        if let Some(problem) = problem.as_mut().filter(|_| !left.is_empty()) {
            let left = left.into_iter().collect::<Vec<_>>().join(", ");
            // As long as its intent at the most.
            *problem = format!("{problem}; {left} could not be put back: what it holds is unknown");
        }
        let receipt = Event::WriteReceipt { intent, done: problem.is_none(), problem };
        self.record(&job.caller.clone(), &receipt);
        self.finish(job, Ok(Value::Null), None);
    }
}

fn image_of(looked: &Looked, change: &Change) -> Result<Option<FileImage>, String> {
    let seen = looked.files.get(&change.path).unwrap_or(&Seen::Absent);
    let content = decide::content_of(&change.path, seen).map_err(|error| error.message)?;
    Ok(content.as_ref().map(Content::image))
}

/// Why this change cannot be finished, if it cannot.
fn obstacle(looked: &Looked, change: &Change, found: &Result<Option<FileImage>, String>) -> Option<String> {
    let found = match found {
        Ok(found) => found,
        Err(problem) => return Some(problem.clone()),
    };
    if *found == change.after {
        return None;
    }
    if *found != change.before {
        return Some(format!("{} was changed by somebody else while no daemon ran", change.path));
    }
    let missing = change.after.filter(|image| !looked.blobs.contains_key(&image.blob))?;
    Some(format!("blob {} is not stored", missing.blob))
}

/// What turns the file as found into what it shall be: the new bytes, or the old ones if the write is put back.
fn step(
    looked: &Looked,
    change: &Change,
    found: &Result<Option<FileImage>, String>,
    back: bool,
) -> Option<Found> {
    let (from, to) = if back { (change.after, change.before) } else { (change.before, change.after) };
    if *found != Ok(from) || from == to {
        return None;
    }
    let wanted = match to {
        None => None,
        Some(image) => Some((looked.blobs.get(&image.blob)?.clone(), image.executable)),
    };
    Some(Found { path: change.path.clone(), expected: from.map(|image| image.blob), wanted })
}
