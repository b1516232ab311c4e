//! From plans to files: the intent, its placing once it is durable, and the receipt; or everything put back.
//!
//! All files of a call change or none does. A file that an outside edit changed between the look and the placing keeps
//! that edit: the placing reports it, what was placed goes back, and the call starts over with a fresh look.

use serde_json::{Value, json};

use super::{
    FileStage,
    decide::{Clash, Content, Plan},
};
use crate::{
    act::{After, Awaited, Found, Op, Placed},
    call::{CallError, Code},
    event::{Change, Event},
    kernel::{Job, Kernel, Stage},
    limits,
    state::LineageState,
};

/// How often a write starts over because the file changed between the look and the placing.
const MAX_ATTEMPTS: u8 = 5;

/// A write that is being taken back.
#[derive(Debug)]
pub(crate) struct Rollback {
    intent: u64,
    attempt: u8,
    /// Why, unless the file had only changed and another attempt may succeed.
    problem: Option<String>,
    /// Steps to go, the one under way first.
    steps: Vec<Found>,
    /// Files that could not be put back.
    left: Vec<String>,
}

impl Kernel {
    /// Appends the intent and, once it is durable, lets the files be placed.
    pub(super) fn intend(&mut self, mut job: Job, plans: Vec<Plan>, attempt: u8) {
        let bytes = plans.iter().filter_map(|plan| plan.after.as_ref()).map(|after| after.bytes.len() as u64);
        let bytes = bytes.sum();
        if let Err(error) = self.afford_bytes(&job, bytes) {
            return self.finish(job, Err(error), None);
        }
        let blind = self.has_forgotten(&job);
        let change = |plan: &Plan| Change { blind: plan.blind || blind, ..plan.change() };
        let event = Event::WriteIntent {
            changes: plans.iter().map(change).collect(),
            verb: job.syscall.name.to_owned(),
            bytes,
            token: job.text("token").map(str::to_owned),
            reason: job.text("reason").map(str::to_owned),
            key: job.key.clone(),
            requests: job.requests.clone(),
        };
        let fits = |plan: &Plan| {
            plan.after.as_ref().map_or(Ok(()), |after| limits::check_bytes(&plan.path, &after.bytes))
        };
        if let Err(error) = plans.iter().try_for_each(fits).and_then(|()| limits::check_record(&event)) {
            return self.finish(job, Err(error), None);
        }
        let blobs = plans.iter().flat_map(Plan::blobs).collect();
        let intent = self.record_with(&job.caller.clone(), &event, blobs, Awaited::Durable);
        let steps = plans.iter().map(forward).collect();
        job.stage = Stage::File(FileStage::Placing { intent, plans, attempt });
        self.run_for(job, Op::Place { steps }, Some(intent + 1));
    }

    pub(super) fn placed(&mut self, job: Job, intent: u64, plans: &[Plan], attempt: u8, placed: Placed) {
        let (done, problem) = match placed {
            Placed::All => return self.written(job, intent, plans),
            Placed::Displaced { done } => (done, None),
            Placed::Failed { done, reason } => (done, Some(limits::clip(&reason))),
        };
        let steps: Vec<Found> = plans.iter().take(done).rev().map(backward).collect();
        self.roll_back(job, Rollback { intent, attempt, problem, steps, left: Vec::new() });
    }

    fn roll_back(&mut self, mut job: Job, rollback: Rollback) {
        if rollback.steps.is_empty() {
            return self.rolled_back(job, rollback);
        }
        let steps = rollback.steps.clone();
        job.stage = Stage::File(FileStage::RollingBack(rollback));
        self.run_for(job, Op::Place { steps }, None);
    }

    /// A file that cannot be put back was changed again from outside, or cannot be written: it stays as it is, the
    /// next touch records it, the caller is told, and the files after it are put back all the same.
    pub(super) fn resume_rollback(&mut self, job: Job, mut rollback: Rollback, placed: &Placed) {
        match placed {
            Placed::All => rollback.steps.clear(),
            Placed::Displaced { done } | Placed::Failed { done, .. } => {
                rollback.left.extend(rollback.steps.get(*done).map(|step| step.path.clone()));
                rollback.steps.drain(..rollback.steps.len().min(done + 1));
            }
        }
        self.roll_back(job, rollback);
    }

    fn written(&mut self, job: Job, intent: u64, plans: &[Plan]) {
        let receipt = Event::WriteReceipt { intent, done: true, problem: None };
        let several = plans.len() > 1;
        let awaited = if several { Awaited::Durable } else { Awaited::Written };
        let end = self.record_with(&job.caller.clone(), &receipt, Vec::new(), awaited) + 1;
        let files: Vec<Value> = plans.iter().map(|plan| self.file_facts(&plan.path, plan.merged)).collect();
        for plan in plans {
            self.mark_told(job.caller.lineage(), &plan.path);
        }
        // Without the receipt, the daemon's death followed by an outside edit would leave recovery no way to tell a
        // write that was placed and then overwritten from one that was never placed. Against a power cut the intent
        // alone is enough: nobody edits a file while the power is out, and the intent is done again. But if somebody
        // edited one of several files before, a start that does not find the receipt puts the others back.
        let result = Ok(json!({ "intent": intent, "files": files }));
        self.finish(job, result, if several { After::Durable(end) } else { After::Written(end) });
    }

    fn rolled_back(&mut self, job: Job, rollback: Rollback) {
        let Rollback { intent, attempt, problem, left, .. } = rollback;
        let mut text = problem.clone().unwrap_or_else(|| "the file changed before it was placed".to_owned());
        if !left.is_empty() {
            text = format!("{text}; {} could not be put back: what it holds is unknown", left.join(", "));
        }
        let receipt = Event::WriteReceipt { intent, done: false, problem: Some(text.clone()) };
        // Unlike a write that was done, this one is not safe with its intent alone: a start that does not find the
        // receipt carries the intent out, after its caller was told that nothing was changed.
        let seq = self.record_with(&job.caller.clone(), &receipt, Vec::new(), Awaited::Durable);
        // Whoever was killed meanwhile begins nothing any more.
        let caller = self.state.lineages.get(job.caller.lineage());
        let has_ended = caller.is_some_and(|known| known.state == LineageState::Exited);
        if problem.is_none() && left.is_empty() && attempt < MAX_ATTEMPTS && !has_ended {
            return self.observe_again(job, attempt + 1);
        }
        let end = if left.is_empty() { "; nothing was changed" } else { "" };
        let error = CallError::new(Code::Failed, format!("{}: {text}{end}", job.paths.join(", ")));
        self.finish(job, Err(error), After::Durable(seq + 1));
    }

    /// Records a conflict and hands the decision to the caller.
    pub(super) fn hand_back(&mut self, job: Job, clash: &Clash) {
        let token = clash.candidate.as_ref().map(|_| format!("c{}", self.state.next_seq));
        let event = Event::FileConflict {
            token: token.clone(),
            path: clash.path.clone(),
            base_blob: clash.base.hash,
            current_blob: clash.current.hash,
            proposed_blob: clash.proposed.hash,
            candidate_blob: clash.candidate.as_ref().map(|candidate| candidate.hash),
            key: job.key.clone(),
        };
        let contents =
            [Some(&clash.base), Some(&clash.current), Some(&clash.proposed), clash.candidate.as_ref()];
        let blobs =
            contents.into_iter().flatten().map(|content| (content.hash, content.bytes.clone())).collect();
        let seq = self.record_with(&job.caller.clone(), &event, blobs, Awaited::Durable);
        let error = clash.to_error(token.as_deref());
        self.finish(job, Err(error), Some(seq + 1));
    }
}

fn forward(plan: &Plan) -> Found {
    step(&plan.path, plan.before.as_ref(), plan.after.as_ref())
}

fn backward(plan: &Plan) -> Found {
    step(&plan.path, plan.after.as_ref(), plan.before.as_ref())
}

fn step(path: &str, from: Option<&Content>, to: Option<&Content>) -> Found {
    Found {
        path: path.to_owned(),
        expected: from.map(|content| content.hash),
        wanted: to.map(|content| (content.bytes.clone(), content.executable)),
    }
}
