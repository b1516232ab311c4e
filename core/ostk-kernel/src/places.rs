//! Places: how many agents may run at once, and which spawns wait for a place.
//!
//! A spawn that finds no place has passed every check and is accepted; what it asked for is kept as a blob, and when a
//! place is free it is asked for again, in the name of whoever asked, before the gate as it is then. Who waits is folded
//! from the log, so a restart forgets nobody; the order is priority, then arrival. `spawn` and `supervise` ask here.

use ostk_log::{Hash, Timestamp};
use ostk_work::Priority;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    act::{Awaited, Op, Outcome},
    call::{CallError, Caller, Code, kept_arguments},
    event::Event,
    files::caller_of,
    kernel::{Job, Kernel, ReplyTo, Stage, Target},
    shell::blob,
    signals::{Signal, SignalEffect},
    state::{Lineage, LineageKind, LineageState},
    supervise::Phase,
    table,
};

/// Spawns that may wait: a hundred for each place of a busy machine.
const MAX_WAITING: usize = 1_000;
/// Deadline of a spawn whose turn has come, a person's consent included.
const START_MS: u64 = 600_000;

/// A spawn that waits for a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedSpawn {
    /// The record that queued it.
    pub seq: u64,
    /// When.
    pub since: Timestamp,
    /// Who asked: an actor.
    pub by: String,
    /// Whom it goes before.
    pub priority: Priority,
    /// The arguments of the call.
    pub call_blob: Hash,
}

impl Kernel {
    /// Whether a spawn has to wait: there is no place, or others wait already. One whose turn had come goes on waiting when
    /// somebody who had waited for a word has come back meanwhile, and the place is his or that of one before it.
    pub(crate) fn must_wait(&self, job: &Job) -> bool {
        match &job.reply_to {
            ReplyTo::Queued { name, .. } => {
                self.alive() + self.place_in_line(name).unwrap_or_default() > self.config.agent_slots
            }
            _ => !self.state.queue.is_empty() || !self.has_place(),
        }
    }

    fn has_place(&self) -> bool {
        self.config.agent_slots > self.alive() + self.starting.len()
    }

    /// Agents that run, are held, are about to be started again or have been let go and not ended yet. One that waits for a
    /// word after a restart has no place.
    fn alive(&self) -> usize {
        let lives = |name: &String| {
            let state = self.state.lineages.get(name).map(|known| known.state);
            !matches!(state, None | Some(LineageState::Exited | LineageState::Orphaned))
        };
        let agents = self.state.agents.iter().filter(|(name, agent)| !agent.is_finished() && lives(name));
        let kept = self.state.supervised.iter().filter(|(name, known)| match known.phase {
            Phase::Up => known.is_foreign(),
            Phase::Due(_) => true,
            Phase::Over => self.command_runs(name),
        });
        agents.count() + kept.count()
    }

    /// A name that waits in line is not given twice, and a spawn that was called off meanwhile does not begin.
    pub(crate) fn check_line(&self, job: &Job) -> Result<(), CallError> {
        let name = job.text("name").unwrap_or_default();
        match (&job.reply_to, self.state.queue.get(name)) {
            (ReplyTo::Queued { seq, .. }, Some(waiting)) if waiting.seq == *seq => Ok(()),
            (ReplyTo::Queued { .. }, _) => {
                Err(CallError::new(Code::Stopped, format!("{name} waits for a place no more")))
            }
            (_, None) => Ok(()),
            (_, Some(_)) => Err(CallError::new(Code::Conflict, format!("{name} waits for a place already"))
                .hint(format!("ostk kill {name}, or choose another name"))),
        }
    }

    /// Puts a spawn that has passed every check into the line, where it keeps its place if it has one.
    pub(crate) fn enqueue(&mut self, job: &Job, name: &str, pin: Option<&str>) -> Result<Value, CallError> {
        if !self.state.queue.contains_key(name) {
            if self.state.queue.len() >= MAX_WAITING {
                let message = format!("{MAX_WAITING} agents wait for a place already");
                return Err(CallError::new(Code::Busy, message).hint("ostk ps"));
            }
            let (call_blob, bytes) = blob(job.args.to_string().as_bytes());
            let (lineage, priority) = (name.to_owned(), priority_of(job)?);
            let event = Event::AgentQueued { lineage, priority, call_blob, key: job.key.clone() };
            self.record_with(&job.caller, &event, vec![(call_blob, bytes)], Awaited::Durable);
        }
        Ok(json!({ "lineage": name, "generation": null, "pin": pin, "context_window": null,
            "queued": self.place_in_line(name) }))
    }

    /// 1 is the next one.
    fn place_in_line(&self, name: &str) -> Option<usize> {
        let own = self.state.queue.get(name).map(|waiting| (waiting.priority, waiting.seq))?;
        let before = self.state.queue.values().filter(|waiting| (waiting.priority, waiting.seq) <= own);
        Some(before.count())
    }

    /// Begins the spawns that there are places for.
    pub(crate) fn fill_places(&mut self) {
        while !self.is_held() && !self.state.queue.is_empty() && self.has_place() {
            let idle = self.state.queue.iter().filter(|(name, _)| !self.starting.contains(*name));
            let is_last_first = ostk_log::planted!("last in, first out");
            let place = |seq: u64| if is_last_first { u64::MAX - seq } else { seq };
            let next = idle.min_by_key(|(_, waiting)| (waiting.priority, place(waiting.seq)));
            let Some((name, waiting)) = next.map(|(name, waiting)| (name.clone(), waiting.clone())) else {
                return;
            };
            self.starting.insert(name.clone());
            let op = Op::Observe { paths: Vec::new(), blobs: vec![waiting.call_blob] };
            let seq = waiting.seq;
            self.run(op, Target::Queued { name, seq }, Some(seq + 1));
        }
    }

    /// What the spawn of this record asked for is loaded: it is asked for again.
    pub(crate) fn start_queued(&mut self, name: &str, seq: u64, outcome: &Outcome) {
        if self.is_another_in_line(name, seq) {
            return;
        }
        if self.is_held() {
            // It is begun when the panic is over.
            self.starting.remove(name);
            return;
        }
        let waiting = self.state.queue.get(name).cloned();
        let args = waiting.as_ref().and_then(|waiting| kept_arguments(outcome, &waiting.call_blob));
        match (waiting, args, table::lookup("agent.spawn")) {
            (Some(waiting), Some(args), Some(syscall)) => {
                let (id, caller) = (self.fresh_id(), caller_of(&waiting.by));
                let deadline = self.now.plus_millis(START_MS);
                let reply_to = ReplyTo::Queued { name: name.to_owned(), seq };
                self.start_agent_call(Job::new(id, caller, syscall, args, deadline, reply_to));
            }
            _ => {
                let lost = CallError::new(Code::Failed, "what it was asked with is lost");
                self.queued_began(name, seq, &Err(lost));
            }
        }
    }

    /// A spawn from the line began, waits again, or cannot begin any more: then whoever asked for it is told.
    pub(crate) fn queued_began(&mut self, name: &str, seq: u64, result: &Result<Value, CallError>) {
        if self.is_another_in_line(name, seq) {
            return;
        }
        self.starting.remove(name);
        let Some(waiting) = self.state.queue.get(name).cloned() else { return };
        let Err(error) = result else { return };
        let reason = crate::limits::clip(&error.message);
        let text = format!("{name} waited for a place and cannot begin: {reason}");
        self.leave_line(&Caller::Kernel, name, reason);
        if let Some(parent) = caller_of(&waiting.by).process() {
            self.tell(parent, &text);
        }
        self.note(&text);
    }

    /// Whether the spawn of this record was called off, and another of the same name waits.
    fn is_another_in_line(&self, name: &str, seq: u64) -> bool {
        self.state.queue.get(name).is_some_and(|waiting| waiting.seq != seq)
    }

    /// Somebody ends a process that has not begun. `None` if it does not wait for a place.
    pub(crate) fn call_off_spawn(
        &mut self,
        by: &Caller,
        name: &str,
        signal: &Signal,
    ) -> Option<Result<Value, CallError>> {
        self.state.queue.get(name)?;
        if !matches!(signal.effect, SignalEffect::Exit | SignalEffect::Kill) {
            let message = format!("{name} waits for a place, and {} means nothing to it", signal.name);
            return Some(Err(
                CallError::new(Code::Usage, message).hint(format!("ostk kill {name} calls it off"))
            ));
        }
        self.leave_line(by, name, signal.name.to_owned());
        Some(Ok(
            json!({ "lineage": name, "signal": signal.name, "fate": "done", "state": LineageState::Exited,
            "seq": self.state.next_seq.saturating_sub(1) }),
        ))
    }

    fn leave_line(&mut self, by: &Caller, name: &str, reason: String) {
        let message = format!("{name} never began: {reason}");
        self.record(by, &Event::AgentUnqueued { lineage: name.to_owned(), reason });
        self.starting.remove(name);
        let waits = |job: &Job| {
            matches!(&job.stage, Stage::Agent(lineage) if lineage == name)
                || matches!(&job.reply_to, ReplyTo::Queued { name: queued, .. } if queued == name)
        };
        self.cancel(waits, |_| CallError::new(Code::Stopped, message.clone()));
    }

    /// The rows of `ps` of those who wait for a place; a lineage that ran before has one already.
    pub(crate) fn show_line(&self, rows: &mut Vec<Value>) {
        for (name, waiting) in &self.state.queue {
            let place = self.place_in_line(name).unwrap_or_default();
            let doing = format!("waits for a place, number {place} in line");
            let own = |row: &Value| row["lineage"] == name.as_str();
            if !rows.iter().any(own) {
                let mut unborn = Lineage::new(LineageKind::Native, waiting.seq);
                unborn.started = waiting.since;
                unborn.parent = caller_of(&waiting.by).process().map(str::to_owned);
                rows.push(self.process_row(name, &unborn));
            }
            if let Some(row) = rows.iter_mut().find(|row| own(row)) {
                (row["state"], row["doing"]) = (json!("queued"), json!(doing));
            }
        }
    }
}

fn priority_of(job: &Job) -> Result<Priority, CallError> {
    let word = job.text("priority").unwrap_or(Priority::P2.word());
    word.parse().map_err(|_| {
        CallError::new(Code::Usage, format!("no such priority: {word:?}")).hint("P0, P1, P2 or P3")
    })
}
