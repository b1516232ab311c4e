//! Changes made outside the kernel: an editor, a command, a client's own tool.
//!
//! They are found by a look at the file before each decision, by the watcher, and by the scans around a command. Each
//! becomes a record by whoever most likely made it, so that it takes part in merging, blame and undo like any write.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    FileStage, caller_of,
    decide::{self, Content},
};
use crate::{
    act::{Awaited, Op, Seen},
    call::Caller,
    event::{Change, Event, Via},
    kernel::{Job, Kernel, ReplyTo, Stage},
    queue::JobId,
    stacks::delegate,
    state::name_of,
};

/// How long a look at a file may take before the host reports a failure.
const LOOK_DEADLINE_MS: u64 = 60_000;

impl Kernel {
    /// Records every file that is not what the log says; returns their paths.
    pub(super) fn note_foreign(
        &mut self,
        files: &BTreeMap<String, Seen>,
        via: &Via,
        actor: &Caller,
    ) -> Vec<String> {
        let mut changed = Vec::new();
        for (path, seen) in files {
            let Some((change, content)) = self.foreign_change(path, seen, via) else { continue };
            let event = Event::FileForeign { change, via: via.clone(), suspects: self.suspects() };
            let blobs = content.iter().map(|content| (content.hash, content.bytes.clone())).collect();
            // In a directory that is delegated nobody else is at work.
            let actor = &delegate(&self.state, path).unwrap_or_else(|| actor.clone());
            self.record_with(actor, &event, blobs, Awaited::Nothing);
            changed.push(path.clone());
        }
        self.ascribe(actor, &changed);
        changed
    }

    fn foreign_change(&self, path: &str, seen: &Seen, via: &Via) -> Option<(Change, Option<Content>)> {
        let content = match seen {
            Seen::File { .. } | Seen::Absent => decide::content_of(path, seen).ok().flatten(),
            Seen::Directory => None,
            Seen::Withheld { .. } | Seen::Unreadable(_) => return None,
        };
        let before = self.state.files.get(path).map(|entry| entry.image);
        let after = content.as_ref().map(Content::image);
        let differs = match before {
            Some(before) => before != after,
            // A file never touched before is only news when somebody is known to have made it.
            None => after.is_some() && !matches!(via, Via::Touch),
        };
        let (path, before) = (path.to_owned(), before.flatten());
        let change = Change { path, before, after, belief_blob: None, merged: false, blind: false };
        differs.then_some((change, content))
    }

    /// A change that was noticed while its author's command still runs belongs into that command's receipt.
    fn ascribe(&mut self, actor: &Caller, changed: &[String]) {
        for job in self.jobs.values_mut().filter(|job| job.caller == *actor) {
            if let Some(touched) = job.stage.touched() {
                touched.extend(changed.iter().cloned());
            }
        }
    }

    /// Lineages whose commands run now, if they are several.
    fn suspects(&self) -> Vec<String> {
        let running: BTreeSet<&str> =
            self.state.open_shells.values().map(|shell| name_of(&shell.actor)).collect();
        if running.len() > 1 { running.into_iter().map(str::to_owned).collect() } else { Vec::new() }
    }

    /// Who most likely made a change that nobody announced: the one whose command runs, the command `except` aside;
    /// else somebody outside.
    pub(crate) fn suspect(&self, except: Option<u64>) -> Caller {
        let others = self.state.open_shells.iter().filter(|(intent, _)| Some(**intent) != except);
        let running: BTreeSet<&str> = others.map(|(_, shell)| shell.actor.as_str()).collect();
        match running.iter().next() {
            Some(actor) if running.len() == 1 => caller_of(actor),
            _ => Caller::Human("external".to_owned()),
        }
    }

    /// Looks at paths behind whatever is queued on them and records what changed, by `actor` or by whoever is the
    /// suspect then. The job `waiting`, if any, is told of each.
    pub(crate) fn settle_foreign(
        &mut self,
        paths: &[String],
        via: &Via,
        actor: Option<&Caller>,
        waiting: Option<JobId>,
    ) {
        let Some(syscall) = crate::table::lookup("file.read") else { return };
        for path in paths {
            let deadline = self.now.plus_millis(LOOK_DEADLINE_MS);
            let reply_to = waiting.map_or(ReplyTo::Nobody, ReplyTo::Shell);
            let job = Job {
                paths: vec![path.clone()],
                stage: Stage::File(FileStage::Settling { via: via.clone(), actor: actor.cloned() }),
                ..Job::new(self.fresh_id(), Caller::Kernel, syscall, Value::Null, deadline, reply_to)
            };
            if self.queues.enter(job.id, &job.paths) {
                self.look(job);
            } else {
                self.jobs.insert(job.id, job);
            }
        }
    }

    /// Looks at the files of a job without changing its stage.
    pub(crate) fn look(&mut self, job: Job) {
        let op = Op::Observe { paths: job.paths.clone(), blobs: Vec::new() };
        self.run_for(job, op, None);
    }
}
