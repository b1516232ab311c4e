//! Foreign agents under supervision: a command that the kernel itself starts in a lineage of its own, and starts again.
//!
//! It runs as `shell.run` does for an agent, with nobody waiting for it, so it outlives whoever asked. A client that can take
//! up a session of its own (its command line has a `{session}`) does so when its hooks have told the session's name.

use ostk_agent::{Lifetime, Restart, RestartRule};
use serde_json::{Value, json};

use super::{Phase, Terms, health::hung, keep::End};
use crate::{
    act::Awaited,
    call::{Call, CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, ReplyTo},
    limits,
    lineages::Revival,
    shell::{MAX_AGENT_MS, blob},
    spawn::{Draft, mode_of},
    state::{LineageKind, LineageState},
};

/// Stands in a command line for the name of the client's session.
pub const SESSION: &str = "{session}";
/// The longest name of a client's session.
const MAX_SESSION: usize = 128;
/// What the call may take beyond its command.
const SLACK_MS: u64 = 600_000;

impl Kernel {
    /// `agent.spawn` with a command: records what it is and starts it.
    pub(crate) fn spawn_foreign(&mut self, job: Job, draft: &Draft) {
        let name = job.text("name").unwrap_or_default().to_owned();
        let result = self.admit_foreign(&job, &name, draft);
        let good = result.as_ref().is_ok_and(|begun| begun.get("queued").is_none());
        let after = Some(self.state.next_seq);
        self.finish(job, result, after);
        if good {
            self.start_command(&name);
        }
    }

    fn admit_foreign(&mut self, job: &Job, name: &str, draft: &Draft) -> Result<Value, CallError> {
        self.is_free(name)?;
        let file = draft.file();
        self.bounded_tools(&job.caller, file)?;
        let by_name = self.pin_of_name(name);
        let pin = self.pin_for(&job.caller, file.pin.as_deref(), name, by_name.as_deref())?;
        let revival = job.text("revival").or(file.limits.mode("revival_policy"));
        let revival = revival.map(Revival::parse).transpose()?;
        if revival == Some(Revival::Ask) {
            let message = "a command that ended with its daemon cannot wait for an answer";
            return Err(CallError::new(Code::Usage, message).hint("revival: revive or reap"));
        }
        let (command, resume) = (job.text("command").unwrap_or_default(), job.text("resume"));
        let (command_blob, bytes) = blob(command.as_bytes());
        let mut blobs = vec![(command_blob, bytes)];
        let resume_blob = resume.map(|line| {
            let (hash, bytes) = blob(line.as_bytes());
            blobs.push((hash, bytes));
            hash
        });
        let never = RestartRule { strategy: Restart::OneForOne, times: 1, within_s: 1 };
        let lifetime = file.lifetime.unwrap_or(Lifetime::Transient);
        let terms = Terms {
            rule: file.restart.unwrap_or(never),
            lifetime: if file.restart.is_some() { lifetime } else { Lifetime::Temporary },
            health: file.health.clone(),
            command_blob: Some(command_blob),
            resume_blob,
            timeout_ms: file.limits.wall_clock_s.map(|seconds| seconds.saturating_mul(1_000)),
        };
        let session = Event::SessionStarted {
            lineage: name.to_owned(),
            kind: LineageKind::Client,
            pin: pin.clone(),
            mode: self.mode_for(&job.caller, mode_of(file), name),
            task: self.task_of(name),
            client: Some(command.chars().take(200).collect()),
            revival,
            resumed: false,
            key: job.key.clone(),
        };
        let began = Event::SuperviseBegan { lineage: name.to_owned(), terms: Box::new(terms) };
        limits::check_record(&began)?;
        if self.must_wait(job) {
            return self.enqueue(job, name, pin.as_deref());
        }
        self.end_processes_of_another_pin(name, pin.as_deref());
        self.record(&job.caller, &session);
        self.record_with(&Caller::Kernel, &began, blobs, Awaited::Durable);
        self.nudge_texts.insert(command_blob, command.to_owned());
        if let (Some(hash), Some(line)) = (resume_blob, resume) {
            self.nudge_texts.insert(hash, line.to_owned());
        }
        let generation = self.state.lineages.get(name).map_or(1, |known| known.generation);
        Ok(json!({ "lineage": name, "generation": generation, "pin": pin, "context_window": null }))
    }

    fn is_free(&self, name: &str) -> Result<(), CallError> {
        let taken = |what: &str, hint: &str| {
            Err(CallError::new(Code::Conflict, format!("{name} {what}")).hint(hint.to_owned()))
        };
        if self.state.agents.contains_key(name) {
            return taken("is a native agent of this project", "choose another name");
        }
        if !self.is_over(name) || self.command_runs(name) {
            return taken("is running already, or is about to", "end it: ostk kill, or choose another name");
        }
        match self.state.lineages.get(name).map(|known| (known.kind, known.state)) {
            Some((LineageKind::Human, _)) => taken("is a person", "choose another name"),
            Some((_, state)) if state != LineageState::Exited => {
                taken("is running already", "end it: ostk kill, or choose another name")
            }
            _ => Ok(()),
        }
    }

    /// Whether what a restart needs is there.
    pub(super) fn may_start(&self, lineage: &str) -> bool {
        let Some(known) = self.state.supervised.get(lineage) else { return false };
        let blobs = known.terms.command_blob.iter().chain(&known.terms.resume_blob);
        !self.command_runs(lineage) && blobs.into_iter().all(|blob| self.nudge_texts.contains_key(blob))
    }

    /// Whether its command has not reported its end yet.
    pub(crate) fn command_runs(&self, lineage: &str) -> bool {
        let own =
            |job: &Job| matches!(&job.reply_to, ReplyTo::Supervised { lineage: of, .. } if of == lineage);
        self.jobs.values().chain(&self.held).any(own)
    }

    /// Starts the command of a supervised lineage.
    pub(super) fn start_command(&mut self, lineage: &str) {
        let Some(known) = self.state.supervised.get(lineage) else { return };
        let text = |hash: Option<ostk_log::Hash>| self.nudge_texts.get(&hash?).cloned();
        let taken_up = known.session.as_ref().filter(|_| known.restarts > 0);
        let resumed =
            taken_up.and_then(|session| Some(text(known.terms.resume_blob)?.replace(SESSION, session)));
        let Some(command) = resumed.or_else(|| text(known.terms.command_blob)) else { return };
        let timeout_ms = known.terms.timeout_ms.unwrap_or(MAX_AGENT_MS).clamp(1, MAX_AGENT_MS);
        let run = known.run;
        let call = Call {
            id: 0,
            caller: Caller::Agent(lineage.to_owned()),
            verb: "shell.run".to_owned(),
            args: json!({ "command": command, "timeout_ms": timeout_ms, "agent": true }),
            idempotency: None,
            deadline: self.now.plus_millis(timeout_ms + SLACK_MS),
        };
        self.enter(call, ReplyTo::Supervised { lineage: lineage.to_owned(), run });
    }

    /// The command of a supervised lineage has ended, or was never started.
    pub(crate) fn command_ended(&mut self, lineage: &str, run: u64, result: &Result<Value, CallError>) {
        let Some(known) = self.state.supervised.get(lineage) else { return };
        if known.run == run && known.phase == Phase::Up {
            let end = end_of(known, result);
            // What is refused now is refused again.
            let is_no = |error: &CallError| matches!(error.code, Code::Denied | Code::Usage | Code::TooLarge);
            if result.as_ref().is_err_and(is_no) {
                self.fell(lineage, end.reason, None, None, false);
            } else {
                self.judge(lineage, end);
            }
            self.kill_processes(lineage);
            self.forget_told(lineage);
        }
        self.answer_waiters(lineage);
        self.restart_due();
    }

    /// `session.resumable`: the caller's client says how it calls this session.
    pub(crate) fn identify_session(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let session = job.text("session").unwrap_or_default().to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if session.is_empty() || session.len() > MAX_SESSION || !session.chars().all(plain) {
            let message = format!("not the name of a session: {session:?}");
            let hint = format!("1 to {MAX_SESSION} of a-z A-Z 0-9 - _");
            return (Err(CallError::new(Code::Usage, message).hint(hint)), None);
        }
        let lineage = job.caller.lineage().to_owned();
        let kept = match self.state.supervised.get(&lineage) {
            Some(known) if known.session.as_deref() == Some(session.as_str()) => true,
            Some(known) if known.terms.resume_blob.is_some() => {
                let event = Event::SessionIdentified { lineage: lineage.clone(), session: session.clone() };
                self.record_with(&job.caller, &event, Vec::new(), Awaited::Written);
                true
            }
            _ => false,
        };
        (Ok(json!({ "lineage": lineage, "kept": kept })), None)
    }
}

fn end_of(known: &super::Supervision, result: &Result<Value, CallError>) -> End {
    let exit = result.as_ref().ok().and_then(|end| end.get("exit")).and_then(Value::as_i64);
    let exit = exit.and_then(|exit| i32::try_from(exit).ok());
    let timed_out = result.as_ref().is_ok_and(|end| end.get("timed_out") == Some(&Value::Bool(true)));
    let hangs = known.terms.health.as_ref().is_some_and(|health| known.failed_checks >= health.failures);
    let reason = match (result, exit) {
        _ if hangs => hung(known.failed_checks),
        (Err(error), _) => limits::clip(&error.message),
        _ if timed_out => "it did not end in time".to_owned(),
        (_, Some(exit)) => format!("exit {exit}"),
        _ => "it ended".to_owned(),
    };
    End { reason, exit, failed: hangs || exit != Some(0) }
}
