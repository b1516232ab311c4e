//! The calls that only read or change the kernel's own state: sessions, locks, notes, `ps`, `status`.

use ostk_log::Timestamp;
use ostk_policy::{Mode, Resource};
use serde_json::{Value, json};

use crate::{
    act::{Awaited, Op},
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Stage},
    limits,
    shell::blob,
    state::{Lineage, LineageKind, LineageState},
};

/// How long a lock holds when its holder does not say.
const DEFAULT_LOCK_MS: u64 = 600_000;
/// Longest time that a lock holds: a day. Whoever needs it longer takes it again.
const MAX_LOCK_MS: u64 = 24 * 3_600_000;
/// Longest name of a lineage, lock or process in bytes.
const MAX_NAME: usize = 64;
/// Longest note or nudge in bytes.
const MAX_NOTE: usize = 16 * 1024;

impl Kernel {
    pub(crate) fn start_work(&mut self, mut job: Job) {
        let resource = match job.syscall.name {
            "nudge" => Resource::Agent(job.text("lineage").unwrap_or_default().to_owned()),
            _ => Resource::None,
        };
        let (verb, class) = (job.syscall.name, job.syscall.class);
        if let Err(turned) = self.pass(&mut job, verb, class, resource) {
            return self.turn(job, turned);
        }
        let (result, after) = match job.syscall.name {
            "policy.reload" => return self.start_reload(job),
            "session.start" => self.session_start(&job),
            "session.end" => self.session_end(&job),
            "session.resumable" => self.identify_session(&job),
            "lock" => self.lock(&job),
            "note" => self.take_note(&job),
            "nudge" => self.nudge(&job),
            "ps" => (
                Ok(json!({ "processes": self.processes(), "budget": self.budget_row(),
                "escalated": self.escalated_sagas() })),
                None,
            ),
            "status" => (Ok(self.status()), None),
            "why" => return self.start_why(job),
            "approval.list" => (Ok(self.approvals(job.flag("all"))), None),
            "approval.grant" | "approval.deny" => self.answer_approval(&job),
            "label.take" | "label.clear" => self.change_label(&job),
            "kernel.panic" | "kernel.resume" => self.panic_or_resume(&job),
            "lineage.resolve" => self.resolve_lineage(&job),
            "signal.mask" => self.mask(&job),
            "signal.wait" => return self.wait_for_signal(job),
            "trust.list" | "trust.sign" | "trust.rotate" | "trust.revoke" => self.trust(&job),
            "kernel.state_hash" => {
                (Ok(json!({ "state_hash": self.state.hash(), "next_seq": self.state.next_seq })), None)
            }
            other => (Err(CallError::new(Code::Usage, format!("bug: {other} has no code"))), None),
        };
        self.finish(job, result, after);
    }

    fn start_reload(&mut self, mut job: Job) {
        job.stage = Stage::Documents;
        self.run_for(job, Op::LoadDocuments, None);
    }

    fn session_start(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let stem = job.text("name").unwrap_or_else(|| job.caller.lineage());
        if let Err(error) = check_name(stem) {
            return (Err(error), None);
        }
        let lineage = if job.flag("exact") { stem.to_owned() } else { self.free_name(stem) };
        if self.state.agents.contains_key(&lineage) {
            let error =
                CallError::new(Code::Conflict, format!("{lineage} is a native agent of this project"));
            return (Err(error), None);
        }
        let by_name = self.pin_of_name(&lineage);
        let pin = match self.pin_for(&job.caller, job.text("pin"), &lineage, by_name.as_deref()) {
            Ok(pin) => pin,
            Err(error) => return (Err(error), None),
        };
        let mode = match job.text("mode").map(|word| Mode::parse(word).ok_or(word)).transpose() {
            Ok(mode) => mode,
            Err(word) => {
                let error = CallError::new(Code::Usage, format!("no such mode: {word:?}"));
                return (Err(error.hint("plan, governed, auto or autonomous")), None);
            }
        };
        let kind = match job.caller {
            Caller::Human(_) if !job.flag("exact") || job.text("client").is_some() => LineageKind::Client,
            Caller::Human(_) => LineageKind::Human,
            _ => LineageKind::Client,
        };
        let event = Event::SessionStarted {
            lineage: lineage.clone(),
            kind,
            pin: pin.clone(),
            mode: self.mode_for(&job.caller, mode, &lineage),
            task: job.text("task").map(limits::clip).or_else(|| self.task_of(&lineage)),
            client: job.text("client").map(|client| client.chars().take(200).collect()),
            revival: None,
            resumed: job.flag("resume"),
            key: job.key.clone(),
        };
        self.end_processes_of_another_pin(&lineage, pin.as_deref());
        self.record(&Caller::Agent(lineage.clone()), &event);
        let generation = self.state.lineages.get(&lineage).map_or(1, |known| known.generation);
        let result = json!({ "lineage": lineage, "generation": generation, "pin": pin });
        (Ok(result), Some(self.state.next_seq))
    }

    /// `stem-1`, `stem-2`, …: the first that no lineage has had.
    fn free_name(&self, stem: &str) -> String {
        let taken = |name: &String| self.state.lineages.contains_key(name);
        let count = self.state.lineages.len() + 1;
        let mut names = (1..=count).map(|number| format!("{stem}-{number}"));
        names.find(|name| !taken(name)).unwrap_or_else(|| format!("{stem}-{count}"))
    }

    fn session_end(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let lineage = job.caller.lineage().to_owned();
        self.record(&job.caller, &Event::SessionEnded { lineage: lineage.clone() });
        self.forget_told(&lineage);
        self.answer_waiters(&lineage);
        (Ok(json!({ "lineage": lineage })), Some(self.state.next_seq))
    }

    fn lock(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let name = job.text("name").unwrap_or_default().to_owned();
        if let Err(error) = check_name(&name) {
            return (Err(error), None);
        }
        self.expire_locks();
        let me = job.caller.lineage().to_owned();
        let held = self.state.locks.get(&name).map(|lock| (lock.holder.clone(), lock.until));
        match (job.text("action").unwrap_or_default(), held) {
            ("create", Some((holder, _))) if holder != me => {
                let error = CallError::new(Code::Conflict, format!("{holder} holds the lock {name:?}"))
                    .data(json!({ "holder": holder }))
                    .hint("work on something else, or ask for it: nudge");
                (Err(error), None)
            }
            ("create", _) => {
                let held_ms = job.number("timeout_ms").unwrap_or(DEFAULT_LOCK_MS).min(MAX_LOCK_MS);
                let until = self.now.plus_millis(held_ms);
                let (lock, holder) = (name.clone(), Some(me.clone()));
                let event =
                    Event::LockChanged { name: lock, holder, until: Some(until), key: job.key.clone() };
                self.record(&job.caller, &event);
                (Ok(json!({ "name": name, "holder": me, "until": until })), Some(self.state.next_seq))
            }
            ("release", Some((holder, _))) if holder == me || matches!(job.caller, Caller::Human(_)) => {
                let key = job.key.clone();
                let event = Event::LockChanged { name: name.clone(), holder: None, until: None, key };
                self.record(&job.caller, &event);
                (Ok(json!({ "name": name, "holder": null })), Some(self.state.next_seq))
            }
            ("release", _) => {
                (Err(CallError::new(Code::NotFound, format!("you do not hold the lock {name:?}"))), None)
            }
            ("status", held) => {
                let (holder, until): (Option<String>, Option<Timestamp>) = held.unzip();
                (Ok(json!({ "name": name, "holder": holder, "until": until })), None)
            }
            (other, _) => {
                let message = format!("lock: no action {other:?}; create, release or status");
                (Err(CallError::new(Code::Usage, message)), None)
            }
        }
    }

    pub(crate) fn expire_locks(&mut self) {
        let lapsed = self.state.locks.iter().filter(|(_, lock)| lock.until <= self.now);
        for name in lapsed.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.record(&Caller::Kernel, &Event::LockChanged { name, holder: None, until: None, key: None });
        }
    }

    fn take_note(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        match short_text(job) {
            Ok(text) => {
                let seq = self.note_by(&job.caller, &text, job.key.clone(), Awaited::Durable);
                (Ok(json!({ "seq": seq })), Some(seq + 1))
            }
            Err(error) => (Err(error), None),
        }
    }

    /// Notes for the readers of the log what the kernel did or left; nobody waits for it.
    pub(crate) fn note(&mut self, text: &str) {
        self.note_by(&Caller::Kernel, text, None, Awaited::Written);
    }

    /// The same in the name of `by`; returns the record's number.
    pub(crate) fn note_by(&mut self, by: &Caller, text: &str, key: Option<String>, awaited: Awaited) -> u64 {
        let (text_blob, bytes) = blob(text.as_bytes());
        let event = Event::NoteAdded { text_blob, key };
        self.record_with(by, &event, vec![(text_blob, bytes)], awaited)
    }

    fn processes(&self) -> Vec<Value> {
        let rows = self.state.lineages.iter().map(|(name, lineage)| {
            let mut row = self.process_row(name, lineage);
            self.describe_agent(name, &mut row);
            let asks = self.open_question(name).map(|id| format!("asks for consent (question {id})"));
            let waits = asks.or_else(|| self.saga_in_words(name)).or_else(|| self.waits_for_restart(name));
            if let (Some(waits), Some(doing)) = (waits, row.get_mut("doing")) {
                *doing = json!(waits);
            }
            row
        });
        let mut rows: Vec<Value> = rows.collect();
        self.show_line(&mut rows);
        rows
    }

    /// A row of `ps` without what only a native agent has.
    pub(crate) fn process_row(&self, name: &str, lineage: &Lineage) -> Value {
        json!({ "lineage": name, "generation": lineage.generation, "kind": lineage.kind,
            "state": lineage.state, "model": null, "turns": 0, "tokens": 0, "usd": 0.0, "doing": "",
            "writes": lineage.writes, "refused": lineage.denied, "pin": lineage.pin, "client": lineage.client,
            "parent": lineage.parent, "revival": lineage.revival, "started": lineage.started,
            "restarts": self.state.supervised.get(name).map(|known| known.restarts),
            "age_s": self.now.millis_since(lineage.started) / 1_000, "context_pct": null, "budget_pct": null })
    }

    fn status(&self) -> Value {
        json!({ "version": self.config.version, "epoch": self.config.epoch, "next_seq": self.state.next_seq,
            "policy": self.state.policy.map(|(fingerprint, _)| fingerprint), "counts": self.state.counts,
            "files": self.state.files.len(), "lineages": self.state.lineages.len(),
            "running": self.state.lineages.values().filter(|lineage| lineage.state == LineageState::Running).count(),
            "conflicts": self.state.conflicts.len(), "open_calls": self.jobs.len(), "panic": self.state.panic,
            "queued": self.state.queue.len(), "working": self.state.agents.values().filter(|agent| !agent.is_finished()).count(),
            "budget": self.budget_row() })
    }
}

pub(crate) fn no_lineage(name: &str) -> CallError {
    CallError::new(Code::NotFound, format!("no process is called {name:?}")).hint("ostk ps")
}

pub(crate) fn short_text(job: &Job) -> Result<String, CallError> {
    let text = job.text("text").unwrap_or_default();
    if text.len() > MAX_NOTE {
        return Err(CallError::new(Code::TooLarge, format!("the text is longer than {MAX_NOTE} bytes")));
    }
    Ok(text.to_owned())
}

/// A name that is safe in a path, an actor and a terminal.
pub(crate) fn check_name(name: &str) -> Result<(), CallError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) || name.starts_with('.') {
        return Err(CallError::new(Code::Usage, format!("not a name: {name:?}"))
            .hint(format!("1 to {MAX_NAME} of a-z A-Z 0-9 - _ . @, not starting with a dot")));
    }
    Ok(())
}
