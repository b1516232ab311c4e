//! Closing a needle: its acceptance commands run one after the other, each as a `shell.run` of whoever closes it, with
//! the same gate, sandbox, masker and records. The first that does not pass keeps the needle open, unless it is forced.
//!
//! A needle lends no rights: a command that somebody else gave runs only if he may run it too, within the bounds of both.
//!
//! A call that is repeated after a crash does not run again what has a record: each command has a key of its own, made
//! from the call's.

use ostk_policy::{Bounds, Class, Effect, Resource};
use ostk_work::{AcResult, NeedleId, Status};
use serde_json::{Value, json};

use crate::{
    call::{CallError, Caller, Code},
    event::Event,
    files::caller_of,
    kernel::{Job, Kernel, ReplyTo, Stage},
    limits,
    queue::JobId,
    shell::{DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS},
};

/// How long a command may wait for its turn and for a person's consent, however late it is begun.
const PATIENCE_MS: u64 = 600_000;
/// Output of a failed command in the error, in characters: its end. All of it is in the record.
const MAX_SAID: usize = 2_000;

/// A needle that is being closed.
#[derive(Debug)]
pub(crate) struct Closing {
    id: NeedleId,
    ac: Vec<String>,
    /// Who gave the commands.
    author: Caller,
    runs: Vec<Run>,
}

/// One acceptance command that has ended.
#[derive(Debug)]
struct Run {
    /// The record of its intent; absent if it never started.
    intent: Option<u64>,
    /// What went wrong, if anything did.
    problem: Option<CallError>,
}

impl Closing {
    fn intents(&self) -> Vec<u64> {
        self.runs.iter().filter_map(|run| run.intent).collect()
    }

    fn problem(&self) -> Option<&CallError> {
        self.runs.last()?.problem.as_ref()
    }

    fn result(&self) -> Option<AcResult> {
        let result = if self.problem().is_some() { AcResult::Fail } else { AcResult::Pass };
        (!self.ac.is_empty()).then_some(result)
    }
}

/// Whether a key is that of a call, or of an acceptance command of it.
pub(crate) fn is_part(key: &str, of: &str) -> bool {
    key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("/ac"))
}

impl Kernel {
    pub(super) fn start_close(&mut self, mut job: Job) {
        match self.closing(&job) {
            Ok(closing) => {
                let id = job.id;
                job.stage = Stage::Closing(Box::new(closing));
                self.jobs.insert(id, job);
                self.go_on_closing(id);
            }
            Err(error) => self.finish(job, Err(error), None),
        }
    }

    fn closing(&self, job: &Job) -> Result<Closing, CallError> {
        if job.flag("force") && job.text("reason").is_none_or(|reason| reason.trim().is_empty()) {
            return Err(CallError::new(Code::Usage, "whoever closes a needle that has not passed says why")
                .hint("ostk work close ID --force --reason TEXT"));
        }
        let id = self.own_needle(job)?;
        let under_way = self.jobs.values().find(|other| match &other.stage {
            Stage::Closing(closing) => closing.id == id,
            _ => false,
        });
        if let Some(other) = under_way {
            return Err(CallError::new(
                Code::Conflict,
                format!("{} is closing {id} already", other.caller.lineage()),
            ));
        }
        let needle = self.state.work.needles.get(&id);
        if needle.map(|needle| needle.status) == Some(Status::Shelved) {
            return Err(CallError::new(Code::Conflict, format!("{id} is shelved"))
                .hint(format!("ostk work edit {} --status open", id.number())));
        }
        let ac = needle.map(|needle| needle.ac.clone()).unwrap_or_default();
        let author = needle.map_or(Caller::Kernel, |needle| caller_of(&needle.ac_by));
        if ac.is_empty() && !job.flag("force") {
            let message = format!("{id} has no acceptance command, so nothing shows that it is done");
            return Err(CallError::new(Code::Failed, message).hint(forcing(id)));
        }
        Ok(Closing { id, ac, author, runs: Vec::new() })
    }

    /// Runs the next acceptance command, or ends.
    fn go_on_closing(&mut self, parent: JobId) {
        let Some(job) = self.jobs.get(&parent) else { return };
        let Stage::Closing(closing) = &job.stage else { return };
        let next = closing.runs.len();
        match closing.ac.get(next).filter(|_| closing.problem().is_none()) {
            Some(command) => {
                let (id, command) = (closing.id, command.clone());
                self.run_acceptance(parent, id, next, &command);
            }
            None => self.end_closing(parent),
        }
    }

    fn run_acceptance(&mut self, parent: JobId, id: NeedleId, number: usize, command: &str) {
        if let Some(refused) = self.author_may_not(parent, command) {
            return self.acceptance_ended(parent, Err(refused));
        }
        let Some(syscall) = crate::table::lookup("shell.run") else { return };
        let Some(job) = self.jobs.get(&parent) else { return };
        let timeout_ms = job.number("timeout_ms").unwrap_or(DEFAULT_TIMEOUT_MS).clamp(1, MAX_TIMEOUT_MS);
        let (caller, key) = (job.caller.clone(), job.key.as_ref().map(|key| format!("{key}/ac{number}")));
        let deadline = job.deadline.max(self.now.plus_millis(PATIENCE_MS));
        let args =
            json!({ "command": command, "timeout_ms": timeout_ms, "reason": format!("acceptance of {id}") });
        self.keep_claim(&caller, id, timeout_ms.saturating_add(PATIENCE_MS));
        let reply_to = ReplyTo::Closing(parent);
        let job = Job { key, ..Job::new(self.fresh_id(), caller, syscall, args, deadline, reply_to) };
        if let Some(job) = self.first_of_its_key(job) {
            self.admit(job);
        }
    }

    /// Why whoever gave an acceptance command may not run it himself: a needle lends nobody another's rights.
    fn author_may_not(&self, parent: JobId, command: &str) -> Option<CallError> {
        let author = self.author_of(parent)?;
        let resource = Resource::Command(command.to_owned());
        let verdict = self.foresee(author, "shell.run", Class::ShellExec, resource);
        (verdict.effect == Effect::Deny).then(|| {
            let message = format!("{} gave it and may not run it: {}", author.actor(), verdict.reason);
            CallError::new(Code::Denied, message)
                .hint("look at it, and give it under your own name: ostk work edit ID --ac COMMAND")
        })
    }

    /// What an acceptance command is kept to: what both its author and whoever closes may do.
    pub(crate) fn acceptance_bounds(&self, job: &Job, bounds: Bounds) -> Bounds {
        let ReplyTo::Closing(parent) = job.reply_to else { return bounds };
        let Some(author) = self.author_of(parent) else { return bounds };
        let request = self.request(author, "shell.run", Class::ShellExec, Resource::None);
        bounds.within(self.bounds_of(&request.actor))
    }

    /// Who gave the commands of a needle that is being closed, if it was no person.
    fn author_of(&self, parent: JobId) -> Option<&Caller> {
        match &self.jobs.get(&parent)?.stage {
            Stage::Closing(closing) if !matches!(closing.author, Caller::Human(_)) => Some(&closing.author),
            _ => None,
        }
    }

    /// An acceptance command ended, or was not let run.
    pub(crate) fn acceptance_ended(&mut self, parent: JobId, result: Result<Value, CallError>) {
        if let Some(job) = self.jobs.get_mut(&parent)
            && let Stage::Closing(closing) = &mut job.stage
        {
            let command = closing.ac.get(closing.runs.len()).cloned().unwrap_or_default();
            closing.runs.push(run(&command, result));
        }
        self.go_on_closing(parent);
    }

    fn end_closing(&mut self, parent: JobId) {
        let Some(mut job) = self.jobs.remove(&parent) else { return };
        let Stage::Closing(closing) = std::mem::replace(&mut job.stage, Stage::New) else { return };
        let forced = job.flag("force");
        let result = match self.state.work.needles.get(&closing.id) {
            Some(needle) if needle.status == Status::Closed || needle.ac != closing.ac => {
                let message = format!("{} was changed while its acceptance ran", closing.id);
                Err(CallError::new(Code::Conflict, message)
                    .hint("look at it and close it again: ostk work show ID"))
            }
            _ => match closing.problem() {
                Some(problem) if !forced => Err(self.keep_open(&job, &closing, problem)),
                _ => self.close_needle(&job, &closing),
            },
        };
        let after = Some(self.state.next_seq);
        self.finish(job, result, after);
    }

    fn close_needle(&mut self, job: &Job, closing: &Closing) -> Result<Value, CallError> {
        let (id, ac_result, runs) = (closing.id, closing.result(), closing.intents());
        let forced = ac_result != Some(AcResult::Pass);
        let text = |name: &str| job.text(name).map(str::to_owned);
        let (reason, commit_ref) = (text("reason"), text("commit"));
        let (key, listed) = (job.key.clone(), runs.clone());
        let event = Event::NeedleClosed { id, ac_result, runs, forced, reason, commit_ref, key };
        limits::check_record(&event)?;
        let seq = self.record(&job.caller, &event);
        Ok(
            json!({ "id": id, "status": Status::Closed, "ac_result": ac_result, "forced": forced, "runs": listed,
            "seq": seq, "commit_ref": job.text("commit") }),
        )
    }

    /// Records that the needle did not pass, and words why.
    fn keep_open(&mut self, job: &Job, closing: &Closing, problem: &CallError) -> CallError {
        let id = closing.id;
        let head = problem.message.lines().next().unwrap_or_default();
        let (ac_result, runs, head) = (AcResult::Fail, closing.intents(), limits::clip(head));
        self.record(&job.caller, &Event::NeedleChecked { id, ac_result, runs: runs.clone(), problem: head });
        let remedy = match &problem.hint {
            Some(hint) => format!("{hint}\nor close it as it is: {}", forcing(id)),
            None => format!("mend it and close it again; or close it as it is: {}", forcing(id)),
        };
        CallError::new(problem.code, format!("{id} stays open: {}", problem.message))
            .hint(remedy)
            .data(json!({ "id": id, "ac_result": ac_result, "runs": runs }))
    }
}

fn forcing(id: NeedleId) -> String {
    format!("ostk work close {} --force --reason TEXT", id.number())
}

/// What an acceptance command came to.
fn run(command: &str, result: Result<Value, CallError>) -> Run {
    match result {
        Ok(end) => {
            let intent = end.get("intent").and_then(Value::as_u64);
            let exit = end.get("exit").and_then(Value::as_i64);
            let late = end.get("timed_out") == Some(&Value::Bool(true));
            let problem = match exit {
                _ if late => Some(failed(command, "did not end by its deadline", &end)),
                Some(0) => None,
                Some(exit) => Some(failed(command, &format!("ended with exit code {exit}"), &end)),
                None => Some(failed(command, "ended nobody knows how", &end)),
            };
            Run { intent, problem }
        }
        Err(error) => {
            let message = format!("`{}` did not run: {}", limits::clip(command), error.message);
            Run { intent: None, problem: Some(CallError { message, ..error }) }
        }
    }
}

fn failed(command: &str, how: &str, end: &Value) -> CallError {
    let text = |name: &str| end.get(name).and_then(Value::as_str).unwrap_or_default().trim_end();
    let said = format!("{}\n{}", text("stdout"), text("stderr"));
    let said = said.trim();
    let skip = said.chars().count().saturating_sub(MAX_SAID);
    let mut tail: String = said.chars().skip(skip).collect();
    if skip > 0 {
        tail.insert(0, '…');
    }
    let tail = if tail.is_empty() { String::new() } else { format!("\n{tail}") };
    CallError::new(Code::Failed, format!("`{}` {how}{tail}", limits::clip(command)))
}
