//! What the kernel does about a signal once its consequence is known.
//!
//! Every delivery is a record before it is an act. A signal that waits is delivered by a record of its own when its time
//! has come, in the order of arrival, so that a restart in between loses none and delivers none twice.

use std::collections::BTreeSet;

use ostk_agent::{AgentState, Outcome as Ending};
use ostk_log::{Hash, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    Consequence, Disposition, GRACE_MS, MAX_QUEUED, SIGNALS, Signal, SignalEffect, Waiting, consequence,
    lookup,
};
use crate::{
    act::{Act, Awaited, BlobBytes, Op, OpId, ProcessSignal},
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Stage, Target},
    shell::blob,
    state::{Lineage, LineageKind, LineageState, name_of},
    work::{no_lineage, short_text},
};

/// How long a background process may take to die.
const KILL_MS: u64 = 10_000;
/// Longest wait of `signal.wait`.
const MAX_WAIT_MS: u64 = 3_600_000;

impl Kernel {
    /// Whether `caller` may send signals to `target`: people may, others to themselves and to those they started.
    pub(crate) fn may_signal(&self, caller: &Caller, target: &str) -> bool {
        let Some(own) = caller.process() else { return true };
        let mut seen = BTreeSet::new();
        let mut at = target;
        while at != own {
            let queued = self.state.queue.get(at).map(|waiting| name_of(&waiting.by));
            let parent = self.state.lineages.get(at).and_then(|known| known.parent.as_deref());
            match queued.or(parent) {
                Some(parent) if seen.insert(at) => at = parent,
                _ => return false,
            }
        }
        true
    }

    pub(crate) fn signal(&mut self, job: &Job, target: &str) -> Result<Value, CallError> {
        let name = job.text("signal").unwrap_or_default();
        let Some(signal) = lookup(name) else {
            let names: Vec<&str> = SIGNALS.iter().map(|signal| signal.name).collect();
            return Err(CallError::new(Code::Usage, format!("no signal is called {name:?}"))
                .hint(format!("one of: {}", names.join(", "))));
        };
        let text = short_text(job)?;
        self.send(&job.caller, target, signal, &text, job.key.clone())
    }

    /// Records a signal and does what it does.
    pub(crate) fn send(
        &mut self,
        from: &Caller,
        target: &str,
        signal: &'static Signal,
        text: &str,
        key: Option<String>,
    ) -> Result<Value, CallError> {
        if let Some(answer) = self.call_off_spawn(from, target, signal) {
            return answer;
        }
        let known = self.state.lineages.get(target).ok_or_else(|| no_lineage(target))?;
        if known.kind == LineageKind::Human {
            return Err(CallError::new(Code::Usage, format!("{target} is a person, not a process"))
                .hint("send a message: ostk nudge"));
        }
        let fate = consequence(signal, known.state, known.signals.disposition(signal));
        let (state, queued) = (known.state, known.signals.queued.len());
        match fate {
            Consequence::Gone if ends(signal) && self.call_off(from, target, signal.name) => {
                return Ok(json!({ "lineage": target, "signal": signal.name, "fate": "done", "state": state,
                    "seq": self.state.next_seq.saturating_sub(1) }));
            }
            Consequence::Gone => {
                let how = if state == LineageState::Exited { "has ended" } else { "is ending" };
                return Err(CallError::new(Code::NotFound, format!("{target} {how}")).hint("ostk ps"));
            }
            Consequence::Misplaced => {
                let message = format!("{} means nothing to {target}, which is {}", signal.name, state.word());
                return Err(CallError::new(Code::Usage, message).hint("SIGCONT lets a stopped process go on"));
            }
            Consequence::Queued if queued >= MAX_QUEUED => {
                let message = format!("{MAX_QUEUED} signals wait for {target} already");
                return Err(CallError::new(Code::Busy, message).hint(format!("ostk kill -SIGCONT {target}")));
            }
            _ => {}
        }
        let (text_blob, blobs) = text_blob(text);
        if let Some(hash) = text_blob {
            self.nudge_texts.insert(hash, text.to_owned());
        }
        let name = signal.name.to_owned();
        let event = Event::AgentSignalled { lineage: target.to_owned(), signal: name, text_blob, key };
        let seq = self.record_with(from, &event, blobs, Awaited::Durable);
        let mut answer = self.effect(target, signal, fate, seq, text);
        answer.insert("lineage".to_owned(), json!(target));
        answer.insert("signal".to_owned(), json!(signal.name));
        let fate = match fate {
            Consequence::Queued => "queued",
            Consequence::Ignored => "ignored",
            Consequence::Told => "told",
            _ => "done",
        };
        answer.insert("fate".to_owned(), json!(fate));
        let state = self.state.lineages.get(target).map(|known| known.state);
        answer.insert("state".to_owned(), json!(state));
        Ok(Value::Object(answer))
    }

    /// The part of a signal that is not a change of state. Returns what its sender is told.
    fn effect(
        &mut self,
        target: &str,
        signal: &Signal,
        fate: Consequence,
        seq: u64,
        text: &str,
    ) -> Map<String, Value> {
        let mut answer = Map::from_iter([("seq".to_owned(), json!(seq))]);
        match fate {
            Consequence::Told => self.tell_of(target, signal, text),
            Consequence::Done => match signal.effect {
                SignalEffect::Stop => self.halt(target, ProcessSignal::Stop),
                SignalEffect::Continue | SignalEffect::Resume => self.continue_lineage(target),
                SignalEffect::Freeze => {}
                SignalEffect::Exit => self.begin_exit(target, signal, text),
                SignalEffect::Kill => self.terminate(target, signal.name),
                SignalEffect::Tell => self.tell_signal(target, signal, text),
                SignalEffect::Note if signal.name == "SIGUSR1" => {
                    answer.insert("open".to_owned(), self.open_of(target));
                }
                SignalEffect::Note if signal.name == "SIGUSR2" => {
                    answer.insert("state_hash".to_owned(), json!(self.state.hash()));
                }
                SignalEffect::Note if signal.name == "SIGRELOAD" => {
                    self.run(Op::LoadDocuments, Target::Reload, None);
                }
                SignalEffect::Note => {}
            },
            _ => {}
        }
        answer
    }

    /// Delivers what waits for a lineage and may be delivered now: to one that ends on the way, nothing that came later.
    /// After a start, whatever comes with words waits until they are loaded.
    pub(crate) fn deliver_queued(&mut self, target: &str) {
        loop {
            let Some(known) = self.state.lineages.get(target) else { return };
            let due = known.signals.queued.iter().find_map(|waiting| {
                let signal = lookup(&waiting.signal)?;
                let fate = consequence(signal, known.state, known.signals.disposition(signal));
                let may_be = !matches!(fate, Consequence::Queued | Consequence::Gone);
                may_be.then(|| (waiting.clone(), signal, fate))
            });
            let Some((waiting, signal, fate)) = due else { return };
            if !self.has_words(&waiting) {
                return;
            }
            let event = Event::SignalDelivered { lineage: target.to_owned(), seq: waiting.seq };
            self.record(&Caller::Kernel, &event);
            let text = waiting.text_blob.and_then(|hash| self.nudge_texts.get(&hash).cloned());
            self.effect(target, signal, fate, waiting.seq, &text.unwrap_or_default());
        }
    }

    /// Whether what its sender said is at hand, if it is to be had at all.
    fn has_words(&self, signal: &Waiting) -> bool {
        self.texts_loaded || signal.text_blob.is_none_or(|hash| self.nudge_texts.contains_key(&hash))
    }

    /// Whether a signal waits for it whose words are being loaded: it may be one to end, so nothing is begun before.
    pub(crate) fn lacks_words(&self, lineage: &str) -> bool {
        let lacks = |known: &Lineage| known.signals.queued.iter().any(|signal| !self.has_words(signal));
        !self.texts_loaded && self.state.lineages.get(lineage).is_some_and(lacks)
    }

    /// The words of what waited when the daemon started are loaded.
    pub(crate) fn deliver_what_waited(&mut self) {
        let lineages: Vec<String> = self.state.lineages.keys().cloned().collect();
        for lineage in &lineages {
            self.deliver_queued(lineage);
            self.wake_waiter(lineage);
        }
        self.release_held();
        for lineage in lineages {
            self.drive(&lineage);
        }
    }

    /// `signal.mask`: how a lineage disposes of signals.
    pub(crate) fn mask(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let lineage = job.caller.lineage().to_owned();
        let mut dispositions = match self.state.lineages.get(&lineage) {
            Some(known) => known.signals.dispositions.clone(),
            None => return (Err(no_lineage(&lineage)), None),
        };
        let lists = [
            ("block", Some(Disposition::Block)),
            ("ignore", Some(Disposition::Ignore)),
            ("handle", Some(Disposition::Handle)),
            ("default", None),
        ];
        for (list, disposition) in lists {
            let names = job.args.get(list).and_then(Value::as_array).into_iter().flatten();
            for name in names.filter_map(Value::as_str) {
                let signal = match maskable(name) {
                    Ok(signal) => signal,
                    Err(error) => return (Err(error), None),
                };
                match disposition {
                    Some(disposition) => dispositions.insert(signal.name.to_owned(), disposition),
                    None => dispositions.remove(signal.name),
                };
            }
        }
        let event = Event::SignalMasked {
            lineage: lineage.clone(),
            dispositions: dispositions.clone(),
            key: job.key.clone(),
        };
        self.record(&job.caller, &event);
        self.deliver_queued(&lineage);
        (Ok(json!({ "lineage": lineage, "dispositions": dispositions })), Some(self.state.next_seq))
    }

    /// `signal.wait`: hands over the signals that the caller handles, or waits for the next.
    pub(crate) fn wait_for_signal(&mut self, mut job: Job) {
        let lineage = job.caller.lineage().to_owned();
        let wait = job.number("timeout_ms").unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS);
        if self.has_told(&lineage) {
            return self.hand_over(job);
        }
        if wait == 0 {
            return self.finish(job, Ok(json!({ "signals": [] })), None);
        }
        job.deadline = job.deadline.min(self.now.plus_millis(wait));
        job.stage = Stage::Signal;
        self.jobs.insert(job.id, job);
    }

    fn has_told(&self, lineage: &str) -> bool {
        self.state.lineages.get(lineage).is_some_and(|known| {
            let told = &known.signals.told;
            !told.is_empty() && told.iter().all(|signal| self.has_words(signal))
        })
    }

    fn hand_over(&mut self, job: Job) {
        let lineage = job.caller.lineage().to_owned();
        let told = self.state.lineages.get(&lineage).map(|known| known.signals.told.clone());
        let rows: Vec<Value> = told
            .into_iter()
            .flatten()
            .map(|waiting| {
                let text = waiting.text_blob.and_then(|hash| self.nudge_texts.get(&hash));
                json!({ "signal": waiting.signal, "from": waiting.from, "seq": waiting.seq, "text": text })
            })
            .collect();
        self.record(&job.caller, &Event::SignalTaken { lineage });
        self.forget_texts();
        let after = Some(self.state.next_seq);
        self.finish(job, Ok(json!({ "signals": rows })), after);
    }

    /// The target handles this signal: a native agent reads of it, a client is woken.
    fn tell_of(&mut self, target: &str, signal: &Signal, text: &str) {
        if self.state.agents.contains_key(target) {
            return self.tell_signal(target, signal, text);
        }
        self.wake_waiter(target);
    }

    /// Hands over what a client handles, if it waits for that.
    fn wake_waiter(&mut self, target: &str) {
        if !self.has_told(target) {
            return;
        }
        let waiting = |job: &&Job| matches!(job.stage, Stage::Signal) && job.caller.lineage() == target;
        let id = self.jobs.values().find(waiting).map(|job| job.id);
        if let Some(job) = id.and_then(|id| self.jobs.remove(&id)) {
            self.hand_over(job);
        }
    }

    /// Puts the signal and its sender's words into the target's conversation.
    fn tell_signal(&mut self, target: &str, signal: &Signal, text: &str) {
        let said = match (signal.name, text) {
            ("SIGREDIRECT", text) if !text.is_empty() => text.to_owned(),
            (name, "") => format!("[{name}] {}", signal.doc),
            (name, text) => format!("[{name}] {text}"),
        };
        self.tell(target, &said);
    }

    /// Stops or continues what runs for a lineage outside of the kernel.
    pub(crate) fn halt(&mut self, target: &str, signal: ProcessSignal) {
        for id in self.commands_of(target) {
            self.acts.push(Act::Signal { id, signal });
        }
        let own = self.state.processes.iter().filter(|(_, (owner, _))| owner == target);
        for alias in own.map(|(alias, _)| alias.clone()).collect::<Vec<_>>() {
            let action = if signal == ProcessSignal::Stop { "stop" } else { "continue" }.to_owned();
            let op = Op::Interact { alias, action, input: None, lines: 0, timeout_ms: KILL_MS };
            self.run(op, Target::Unwatched, None);
        }
    }

    fn continue_lineage(&mut self, target: &str) {
        // In a panic its commands stay as they are; the end of the panic lets them go on.
        if self.state.panic.is_none() {
            self.halt(target, ProcessSignal::Continue);
        }
        self.deliver_queued(target);
        self.release_held();
        self.drive(target);
    }

    /// Commands of a lineage that run now.
    fn commands_of(&self, lineage: &str) -> Vec<OpId> {
        let running = self.ops.iter().filter_map(|(op, target)| match target {
            Target::Job(job) => Some((*op, *job)),
            _ => None,
        });
        let own = |(_, job): &(OpId, u64)| self.jobs.get(job).is_some_and(|job| job.is_shell_of(lineage));
        running.filter(own).map(|(op, _)| op).collect()
    }

    /// What was asked to end ends when its calls with an effect have ended; calls without one end now.
    fn begin_exit(&mut self, target: &str, signal: &Signal, text: &str) {
        if signal.name == "SIGBAIL" {
            self.note_by(&Caller::Agent(target.to_owned()), text, None, Awaited::Durable);
        }
        self.abandon_model_call(target);
        self.cancel_calls_of(target, &format!("was ended by {}", signal.name));
        // A command that is itself an agent is what was asked to end.
        for id in self.commands_of(target).into_iter().filter(|id| self.is_agent(*id)).collect::<Vec<_>>() {
            self.acts.push(Act::Signal { id, signal: ProcessSignal::Terminate });
        }
        self.end_if_idle(target);
    }

    fn is_agent(&self, op: OpId) -> bool {
        let Some(Target::Job(job)) = self.ops.get(&op) else { return false };
        self.jobs.get(job).is_some_and(|job| job.flag("agent"))
    }

    /// Ends a lineage that is ending and has nothing under way.
    pub(crate) fn end_if_idle(&mut self, lineage: &str) {
        let Some(known) = self.state.lineages.get(lineage) else { return };
        let Some((_, signal)) = known.signals.exiting.clone() else { return };
        let own = |job: &Job| job.caller.process() == Some(lineage);
        if known.state == LineageState::Exiting && !self.jobs.values().any(own) {
            self.terminate(lineage, &signal);
        }
    }

    /// Kills what has not ended in time.
    pub(crate) fn end_overdue(&mut self) {
        let overdue = |since: &Timestamp| since.plus_millis(GRACE_MS) <= self.now;
        let late: Vec<(String, String)> = self
            .exiting()
            .filter(|(_, since, _)| overdue(since))
            .map(|(name, _, signal)| (name.to_owned(), signal.to_owned()))
            .collect();
        for (lineage, signal) in late {
            self.terminate(&lineage, &signal);
        }
    }

    /// When the next process that is ending is killed.
    pub(crate) fn next_kill(&self) -> Option<Timestamp> {
        self.exiting().map(|(_, since, _)| since.plus_millis(GRACE_MS)).min()
    }

    fn exiting(&self) -> impl Iterator<Item = (&str, Timestamp, &str)> {
        self.state.lineages.iter().filter(|(_, known)| known.state == LineageState::Exiting).filter_map(
            |(name, known)| {
                known.signals.exiting.as_ref().map(|(since, signal)| (name.as_str(), *since, signal.as_str()))
            },
        )
    }

    /// Ends a lineage and everything of it, now.
    pub(crate) fn terminate(&mut self, lineage: &str, signal: &str) {
        if !self.put_down(lineage, signal, Ending::Cancelled { reason: signal.to_owned() }) {
            self.record(&Caller::Kernel, &Event::SessionEnded { lineage: lineage.to_owned() });
            self.answer_waiters(lineage);
        }
    }

    /// Ends what a lineage runs, and the lineage itself if it is a native agent; returns whether it is.
    pub(crate) fn put_down(&mut self, lineage: &str, by: &str, ending: Ending) -> bool {
        self.abandon_model_call(lineage);
        // A killed command still reports its end, which settles its files and its receipt.
        let commands = self.commands_of(lineage);
        self.acts.extend(commands.into_iter().map(|id| Act::Abort { id }));
        let lives = self.state.agents.get(lineage).is_some_and(|agent| !agent.is_finished());
        if lives {
            self.end_agent(lineage, ending);
        }
        self.forget_told(lineage);
        self.kill_processes(lineage);
        self.cancel_calls_of(lineage, &format!("was ended by {by}"));
        lives
    }

    fn abandon_model_call(&mut self, lineage: &str) {
        if let Some(op) = self.agents.get_mut(lineage).and_then(crate::agents::Live::abandon) {
            self.acts.push(Act::Abort { id: op });
            self.ops.remove(&op);
            self.open_lane_of(lineage);
        }
    }

    /// Calls without an effect so far have none any more; `what` became of their caller.
    pub(crate) fn cancel_calls_of(&mut self, lineage: &str, what: &str) {
        let waiting = |job: &Job| job.may_expire() && job.caller.process() == Some(lineage);
        self.cancel(waiting, |job| CallError::new(Code::Stopped, format!("{} {what}", job.caller.lineage())));
    }

    /// Ends the background processes of a lineage.
    pub(crate) fn kill_processes(&mut self, lineage: &str) {
        let own = self.state.processes.iter().filter(|(_, (owner, _))| owner == lineage);
        for alias in own.map(|(alias, _)| alias.clone()).collect::<Vec<_>>() {
            let (action, timeout_ms) = ("kill".to_owned(), KILL_MS);
            let op = Op::Interact { alias: alias.clone(), action, input: None, lines: 0, timeout_ms };
            self.run(op, Target::Killed { alias }, None);
        }
    }

    /// What is open for a lineage: its calls, locks, processes, messages and spending.
    fn open_of(&self, lineage: &str) -> Value {
        let calls = |jobs: &mut dyn Iterator<Item = &Job>| -> Vec<Value> {
            let own = jobs.filter(|job| job.caller.lineage() == lineage);
            own.map(|job| json!({ "call": job.syscall.name, "deadline": job.deadline })).collect()
        };
        let locks = self.state.locks.iter().filter(|(_, lock)| lock.holder == lineage);
        let processes = self.state.processes.iter().filter(|(_, (owner, _))| owner == lineage);
        let known = self.state.lineages.get(lineage);
        let agent = self.state.agents.get(lineage);
        json!({
            "calls": calls(&mut self.jobs.values()),
            "held": calls(&mut self.held.iter()),
            "locks": locks.map(|(name, _)| name).collect::<Vec<_>>(),
            "processes": processes.map(|(alias, _)| alias).collect::<Vec<_>>(),
            "messages": self.state.nudges.get(lineage).map_or(0, Vec::len),
            "signals": known.map(|known| &known.signals),
            "spent": agent.map(AgentState::spent),
            "limits": agent.map(AgentState::limits),
        })
    }
}

/// Whether a signal is sent so that its target ends.
const fn ends(signal: &Signal) -> bool {
    matches!(signal.effect, SignalEffect::Exit | SignalEffect::Kill)
}

fn maskable(name: &str) -> Result<&'static Signal, CallError> {
    let signal =
        lookup(name).ok_or_else(|| CallError::new(Code::Usage, format!("no signal is called {name:?}")))?;
    if signal.maskable {
        return Ok(signal);
    }
    let message = format!("{} can be neither blocked nor ignored nor handled", signal.name);
    Err(CallError::new(Code::Denied, message).hint("it is the operator's"))
}

fn text_blob(text: &str) -> (Option<Hash>, Vec<(Hash, BlobBytes)>) {
    if text.is_empty() {
        return (None, Vec::new());
    }
    let (hash, bytes) = blob(text.as_bytes());
    (Some(hash), vec![(hash, bytes)])
}
