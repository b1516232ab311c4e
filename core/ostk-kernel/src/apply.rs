//! The fold's steps: how each event changes the state.
//!
//! The kernel applies a record when it writes it and the boot applies it when it reads it back; both come through
//! [`State::apply`], so that they cannot differ. Nothing here looks at a clock, a file or a policy. Events of files are
//! folded in `files/fold`, others with many of their kind beside what they are about.

use std::collections::BTreeMap;

use ostk_agent::AgentEvent;
use ostk_log::{Hash, Timestamp};
use serde_json::{Value, json};

use crate::{
    approvals::{Answer, Approval, MAX_APPROVALS},
    budget::{Charge, RelayEnd, relay_key},
    event::Event,
    fallback::Fallback,
    labels::{DISTRUSTED, MAX_LABELS, NETWORK},
    lineages::Resolution,
    panic::Panic,
    places::QueuedSpawn,
    signals::{self, Consequence, SignalEffect, Signals, Waiting, consequence},
    state::{Keyed, Lineage, LineageKind, LineageState, Lock, OpenShell, State, name_of},
    trust,
};

/// Results of calls with an idempotency key that are kept; an agent repeats a call within one turn, never 10,000 later.
const MAX_KEYS: usize = 10_000;
/// Notes kept for display.
const MAX_NOTES: usize = 256;

/// Where and when an event stands in the log.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) seq: u64,
    pub(crate) ts: Timestamp,
    pub(crate) actor: &'a str,
}

impl State {
    /// Folds one event.
    pub(crate) fn apply(&mut self, seq: u64, ts: Timestamp, actor: &str, event: Event) -> Result<(), String> {
        let at = At { seq, ts, actor };
        match event {
            Event::FileRead { .. }
            | Event::FileMissing { .. }
            | Event::WriteIntent { .. }
            | Event::WriteReceipt { .. }
            | Event::FileConflict { .. }
            | Event::FileForeign { .. } => self.apply_file(at, event),
            Event::ShellIntent { .. }
            | Event::ShellReceipt { .. }
            | Event::ProcessIntent { .. }
            | Event::ProcessEnded { .. } => self.apply_process(at, event),
            Event::ApprovalRequested { .. } | Event::ApprovalAnswered { .. } | Event::ApprovalUsed { .. } => {
                self.apply_approval(at, event);
                Ok(())
            }
            Event::NetIntent { .. }
            | Event::NetReceipt { .. }
            | Event::RelayIntent { .. }
            | Event::RelayReceipt { .. }
            | Event::LabelChanged { .. }
            | Event::SearchReceipt { .. } => {
                self.apply_labels(at, event);
                Ok(())
            }
            Event::LockChanged { .. }
            | Event::NoteAdded { .. }
            | Event::QuarantineTaken { .. }
            | Event::NudgeSent { .. }
            | Event::NudgeDelivered { .. }
            | Event::CallReceipt { .. } => {
                self.apply_work(at, event);
                Ok(())
            }
            _ => self.apply_part(at, event),
        }
    }

    /// Events whose fold stands with what they are about.
    fn apply_part(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        let At { seq, ts, actor } = at;
        match event {
            Event::BudgetSet { .. } | Event::BudgetReached { .. } => {
                self.spending.apply(ts, event);
                Ok(())
            }
            Event::HayFiled { .. }
            | Event::NeedleAdded { .. }
            | Event::NeedleChanged { .. }
            | Event::NeedleLinked { .. }
            | Event::NeedleClaimed { .. }
            | Event::NeedleAssigned { .. }
            | Event::NeedleReminded { .. }
            | Event::NeedleReleased { .. }
            | Event::NeedleChecked { .. }
            | Event::NeedleClosed { .. }
            | Event::DecisionMade { .. } => self.apply_needles(at, event),
            Event::TimerSet { .. }
            | Event::TimerFired { .. }
            | Event::TimerEnded { .. }
            | Event::TimerRemoved { .. } => self.apply_timer(at, event),
            Event::StackSpawned { .. }
            | Event::StackActive { .. }
            | Event::StackSaid { .. }
            | Event::StackSealed { .. }
            | Event::StackFailed { .. }
            | Event::StackEntered { .. } => {
                self.apply_stack(seq, ts, actor, event);
                Ok(())
            }
            Event::TrustSigned { .. } | Event::TrustRotated { .. } | Event::TrustRevoked { .. } => {
                trust::apply(&mut self.trust, seq, event);
                Ok(())
            }
            Event::PipeMade { .. }
            | Event::PipeOpened { .. }
            | Event::PipeWritten { .. }
            | Event::PipeDelivered { .. }
            | Event::PipeClosed { .. } => self.apply_pipe(seq, ts, actor, event),
            Event::SagaBegan { .. } | Event::SagaStep { .. } | Event::SagaTurned { .. } => {
                self.apply_saga((seq, ts), actor, event)
            }
            Event::SuperviseBegan { .. }
            | Event::SuperviseFell { .. }
            | Event::SuperviseRestarted { .. }
            | Event::SuperviseChecked { .. }
            | Event::SessionIdentified { .. } => self.apply_supervision(seq, ts, event),
            _ => self.apply_life(at, event),
        }
    }

    /// Events of commands and background processes.
    fn apply_process(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        match event {
            Event::ShellIntent { key, .. } => {
                self.open_shells.insert(at.seq, OpenShell { actor: at.actor.to_owned(), key });
            }
            Event::ShellReceipt {
                intent,
                exit,
                timed_out,
                stdout_blob,
                stderr_blob,
                dropped_bytes,
                duration_ms,
                changed,
                problem,
                ..
            } => {
                let shell =
                    self.open_shells.remove(&intent).ok_or("a command's receipt without its intent")?;
                let facts = || {
                    json!({ "intent": intent, "exit": exit, "timed_out": timed_out,
                    "stdout_blob": stdout_blob, "stderr_blob": stderr_blob, "dropped_bytes": dropped_bytes,
                    "duration_ms": duration_ms, "changed": changed, "problem": problem })
                };
                self.remember(shell.key, at.seq, "shell", exit.is_some(), facts);
            }
            Event::ProcessIntent { alias, key, .. } => {
                self.remember(key, at.seq, "process", true, || json!({ "alias": alias, "intent": at.seq }));
                self.processes.insert(alias, (name_of(at.actor).to_owned(), at.seq));
            }
            Event::ProcessEnded { alias, .. } => {
                self.processes.remove(&alias);
            }
            _ => {}
        }
        Ok(())
    }

    /// Events of locks, notes and messages.
    fn apply_work(&mut self, at: At<'_>, event: Event) {
        match event {
            Event::LockChanged { name, holder, until, key } => {
                let facts = || json!({ "name": name, "holder": holder, "until": until });
                self.remember(key, at.seq, "call", true, facts);
                match (holder, until) {
                    (Some(holder), Some(until)) => {
                        self.locks.insert(name, Lock { holder, until });
                    }
                    _ => {
                        self.locks.remove(&name);
                    }
                }
            }
            Event::NoteAdded { text_blob, key } => {
                self.remember(key, at.seq, "call", true, || json!({ "seq": at.seq }));
                self.remark(at.seq, at.actor, text_blob);
            }
            Event::NudgeSent { to, text_blob, key } => {
                self.remember(key, at.seq, "call", true, || json!({ "seq": at.seq }));
                if self.lineages.get(&to).is_some_and(|lineage| lineage.kind != LineageKind::Native) {
                    self.nudges.entry(to).or_default().push((at.actor.to_owned(), text_blob));
                }
            }
            Event::NudgeDelivered { to } => {
                self.nudges.remove(&to);
            }
            Event::CallReceipt { facts, key, .. } => {
                self.remember(key, at.seq, "call", true, || json!(facts));
            }
            _ => {}
        }
    }

    /// Keeps a note for display.
    pub(crate) fn remark(&mut self, seq: u64, actor: &str, text_blob: Hash) {
        self.notes.push_back((seq, actor.to_owned(), text_blob));
        if self.notes.len() > MAX_NOTES {
            self.notes.pop_front();
        }
    }

    /// Events of the daemon, the policy, sessions and agents.
    fn apply_life(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        match event {
            Event::AnchorStarted { .. } => {
                self.orphan();
                self.spending.lose(at.ts);
                if !std::mem::take(&mut self.stopped) {
                    self.doubt_beliefs(at.seq);
                }
            }
            Event::AnchorStopped { .. } => self.stopped = true,
            Event::PolicyLoaded { fingerprint, documents_blob } => {
                self.policy = Some((fingerprint, documents_blob));
            }
            Event::AgentQueued { lineage, priority, call_blob, key } => {
                let (seq, since, by) = (at.seq, at.ts, at.actor.to_owned());
                let facts = || json!({ "lineage": lineage, "generation": null, "queued": true });
                self.remember(key, at.seq, "call", true, facts);
                self.queue.insert(lineage, QueuedSpawn { seq, since, by, priority, call_blob });
            }
            Event::AgentUnqueued { lineage, .. } => {
                self.queue.remove(&lineage).ok_or("nobody who waited for a place")?;
            }
            Event::SessionStarted { lineage, kind, pin, mode, task, client, revival, resumed, key } => {
                // A client may come under the same name; that is not what waits.
                if self.queue.get(&lineage).is_some_and(|waiting| waiting.by == at.actor) {
                    self.queue.remove(&lineage);
                }
                let generation = self.session(at.seq, &lineage, kind, pin.clone(), client);
                if kind == LineageKind::Native {
                    self.supervised.remove(&lineage);
                }
                if let Some(known) = self.lineages.get_mut(&lineage) {
                    (known.mode, known.task, known.revival) = (mode, task, revival);
                    if !resumed && !ostk_log::planted!("memories of the dead") {
                        known.forget(at.seq);
                    }
                    known.started = at.ts;
                    let starter = at.actor.strip_prefix("agent:").or_else(|| at.actor.strip_prefix("world:"));
                    known.parent = starter.filter(|starter| *starter != lineage).map(str::to_owned);
                }
                let facts = || json!({ "lineage": lineage, "generation": generation, "pin": pin });
                self.remember(key, at.seq, "call", true, facts);
            }
            Event::SessionEnded { lineage } => self.set_state(&lineage, LineageState::Exited)?,
            Event::GateDenied { .. } => {
                self.counts.denied += 1;
                if let Some(lineage) = self.lineages.get_mut(name_of(at.actor)) {
                    lineage.denied += 1;
                }
            }
            Event::AgentStep { lineage, step } => self.agent_step(at, lineage, &step)?,
            Event::ModelSubstituted { model, fallback, context_window, has_price, problem, .. } => {
                let lane = self.lanes.get_mut(&model).ok_or("a model that nobody called")?;
                lane.fallback = Some(Fallback { model: fallback, context_window, has_price, problem });
            }
            Event::KernelPanicked { reason, key } => {
                self.panic = Some(Panic { seq: at.seq, by: at.actor.to_owned(), reason });
                self.remember(key, at.seq, "call", true, || json!({ "panic": at.seq }));
            }
            Event::KernelResumed { key } => {
                self.panic = None;
                self.remember(key, at.seq, "call", true, || json!({ "panic": null }));
            }
            Event::AgentSignalled { .. }
            | Event::SignalDelivered { .. }
            | Event::SignalMasked { .. }
            | Event::SignalTaken { .. }
            | Event::LineageResolved { .. } => self.apply_signal(at, event)?,
            _ => {}
        }
        Ok(())
    }

    /// Questions to people and their answers.
    fn apply_approval(&mut self, at: At<'_>, event: Event) {
        match event {
            Event::ApprovalRequested { request, call, until, reason, .. } => {
                let lineage = name_of(at.actor).to_owned();
                let session = self.lineages.get(&lineage).map_or(0, |known| known.generation);
                let (since, request) = (at.ts, *request);
                let approval =
                    Approval { lineage, session, request, call, reason, since, until, answer: None };
                self.approvals.insert(at.seq, approval);
                let settled = |(id, approval): (&u64, &Approval)| approval.answer.is_some().then_some(*id);
                if self.approvals.len() > MAX_APPROVALS
                    && let Some(oldest) = self.approvals.iter().find_map(settled)
                {
                    self.approvals.remove(&oldest);
                }
            }
            Event::ApprovalAnswered { approval, granted, scope, key, .. } => {
                let facts = || json!({ "id": approval, "granted": granted, "scope": scope, "seq": at.seq });
                self.remember(key, at.seq, "call", true, facts);
                if let Some(asked) = self.approvals.get_mut(&approval) {
                    let by = at.actor.to_owned();
                    asked.answer = Some(Answer { seq: at.seq, granted, scope, by, used: false });
                }
            }
            Event::ApprovalUsed { approval } => {
                let asked = self.approvals.get_mut(&approval);
                if let Some(answer) = asked.and_then(|asked| asked.answer.as_mut()) {
                    answer.used = true;
                }
            }
            _ => {}
        }
    }

    /// Events after which somebody carries other labels.
    fn apply_labels(&mut self, at: At<'_>, event: Event) {
        match event {
            Event::RelayIntent { model, reserved_tokens, reserved_micro_usd, .. } => {
                let charge = Charge::call(reserved_tokens, reserved_micro_usd);
                self.spending.reserve(at.ts, relay_key(at.seq), &model, charge);
            }
            Event::RelayReceipt {
                intent,
                status,
                complete,
                input_tokens,
                output_tokens,
                cached_tokens,
                cost_micro_usd,
                unsent,
                ..
            } => {
                let tokens = input_tokens.saturating_add(output_tokens).saturating_add(cached_tokens);
                let is_refused = status.is_some_and(|status| status >= 400);
                let is_settled = unsent || is_refused || (complete && tokens > 0);
                let end = RelayEnd { is_settled, tokens, micro_usd: cost_micro_usd };
                self.spending.relayed(at.ts, intent, end);
            }
            Event::NetIntent { .. } => self.label(name_of(at.actor), vec![NETWORK.to_owned()]),
            Event::SearchReceipt { labels, .. } => self.label(name_of(at.actor), labels),
            Event::LabelChanged { lineage, path, label, taken, key } => {
                self.remember(key, at.seq, "call", true, || json!({ "label": label, "taken": taken }));
                let of_lineage = lineage.and_then(|name| Some(&mut self.lineages.get_mut(&name)?.labels));
                let of_file = path.and_then(|path| Some(&mut self.files.get_mut(&path)?.labels));
                for labels in of_lineage.into_iter().chain(of_file) {
                    if taken {
                        labels.insert(label.clone())
                    } else {
                        labels.remove(&label)
                    };
                }
            }
            _ => {}
        }
    }

    /// A lineage has seen data with these labels.
    pub(crate) fn label(&mut self, lineage: &str, labels: Vec<String>) {
        if let Some(known) = self.lineages.get_mut(lineage)
            && known.labels.len() < MAX_LABELS
        {
            known.labels.extend(labels);
        }
    }

    /// The daemon that everybody ran in is gone: clients have to come back, native agents are orphans. An agent whose
    /// session has a record and whose first step has none never lived.
    fn orphan(&mut self) {
        for (name, lineage) in &mut self.lineages {
            let lives = self.agents.get(name).is_some_and(|agent| !agent.is_finished());
            match (lineage.kind, lineage.state) {
                (LineageKind::Native, _) if !lives => {
                    lineage.state = LineageState::Exited;
                    lineage.signals.exiting = None;
                }
                (
                    LineageKind::Client,
                    LineageState::Running | LineageState::Frozen | LineageState::Exiting,
                ) => {
                    lineage.state = LineageState::Exited;
                    lineage.signals.exiting = None;
                }
                (
                    LineageKind::Native,
                    LineageState::Running | LineageState::Stopped | LineageState::Frozen,
                ) => {
                    lineage.orphaned_from = Some(lineage.state);
                    lineage.state = LineageState::Orphaned;
                }
                _ => {}
            }
        }
    }

    /// Signals and what follows from them.
    fn apply_signal(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        match event {
            Event::AgentSignalled { lineage, signal, text_blob, key } => {
                let from = at.actor.to_owned();
                self.take_signal(
                    &lineage,
                    Waiting { seq: at.seq, signal: signal.clone(), from, text_blob },
                    at.ts,
                )?;
                let facts = || json!({ "lineage": lineage, "signal": signal });
                self.remember(key, at.seq, "call", true, facts);
            }
            Event::SignalDelivered { lineage, seq } => {
                let known = self.lineages.get_mut(&lineage).ok_or("a signal to nobody")?;
                let queued = &mut known.signals.queued;
                let place = queued.iter().position(|waiting| waiting.seq == seq);
                let waiting =
                    place.and_then(|place| queued.remove(place)).ok_or("a signal that did not wait")?;
                self.take_signal(&lineage, waiting, at.ts)?;
            }
            Event::SignalMasked { lineage, dispositions, key } => {
                self.remember(
                    key,
                    at.seq,
                    "call",
                    true,
                    || json!({ "lineage": lineage, "dispositions": dispositions }),
                );
                if let Some(known) = self.lineages.get_mut(&lineage) {
                    known.signals.dispositions = dispositions;
                }
            }
            Event::SignalTaken { lineage } => {
                if let Some(known) = self.lineages.get_mut(&lineage) {
                    known.signals.told.clear();
                }
            }
            Event::LineageResolved { lineage, resolution, key } => {
                let known = self.lineages.get_mut(&lineage).ok_or("nobody who was there")?;
                let was = known.orphaned_from.take();
                let next = match resolution {
                    Resolution::Revived => was.ok_or("nobody who was orphaned")?,
                    // Its last step follows; if a crash comes first, the next daemon ends it.
                    Resolution::Reaped => {
                        known.signals.exiting = Some((at.ts, "reap".to_owned()));
                        self.let_go(&lineage);
                        LineageState::Exiting
                    }
                };
                self.set_state(&lineage, next)?;
                self.remember(key, at.seq, "call", true, || json!({ "lineage": lineage, "state": next }));
            }
            _ => {}
        }
        Ok(())
    }

    /// What a signal changes of its target.
    fn take_signal(&mut self, lineage: &str, waiting: Waiting, ts: Timestamp) -> Result<(), String> {
        let signal = signals::lookup(&waiting.signal).ok_or("a signal that there is not")?;
        let known = self.lineages.get_mut(lineage).ok_or("a signal to nobody")?;
        let disposition = known.signals.disposition(signal);
        let fate = consequence(signal, known.state, disposition);
        let done = fate == Consequence::Done;
        let next = match (fate, signal.effect) {
            (Consequence::Queued, _) => {
                known.signals.queued.push_back(waiting);
                None
            }
            (Consequence::Told, _) => {
                if known.kind != LineageKind::Native {
                    known.signals.told.push_back(waiting);
                }
                None
            }
            (Consequence::Done, SignalEffect::Stop) => Some(LineageState::Stopped),
            (Consequence::Done, SignalEffect::Continue | SignalEffect::Resume) => Some(LineageState::Running),
            (Consequence::Done, SignalEffect::Freeze) => Some(LineageState::Frozen),
            (Consequence::Done, SignalEffect::Exit) => {
                known.signals.exiting = Some((ts, signal.name.to_owned()));
                Some(LineageState::Exiting)
            }
            // The record of its end follows; if a crash comes first, the next daemon ends it. A client's session ends
            // with its daemon anyway.
            (Consequence::Done, SignalEffect::Kill)
                if known.kind == LineageKind::Native && known.state != LineageState::Exiting =>
            {
                known.signals.exiting = Some((ts, signal.name.to_owned()));
                Some(LineageState::Exiting)
            }
            _ => None,
        };
        // Whoever keeps such a signal from itself is not believed as before.
        if signal.name == "SIGTRUST" && disposition.is_some() {
            known.labels.insert(DISTRUSTED.to_owned());
        }
        if done && matches!(signal.effect, SignalEffect::Exit | SignalEffect::Kill) {
            self.let_go(lineage);
        }
        next.map_or(Ok(()), |next| self.set_state(lineage, next))
    }

    /// A crash may have taken the records of the last reads, which nobody waited for, and left what a client had seen
    /// before. A write from such a belief could take another's change back unseen, so clients and people read again
    /// before they replace a file. What a native agent has seen is in its conversation, whose records came later.
    fn doubt_beliefs(&mut self, seq: u64) {
        for lineage in self.lineages.values_mut().filter(|lineage| lineage.kind != LineageKind::Native) {
            lineage.forget(seq);
        }
    }

    /// Starts a session of a lineage; one that is stopped stays stopped. Returns its generation.
    fn session(
        &mut self,
        seq: u64,
        name: &str,
        kind: LineageKind,
        pin: Option<String>,
        client: Option<String>,
    ) -> u64 {
        let lineage = self.lineages.entry(name.to_owned()).or_insert_with(|| Lineage::new(kind, seq));
        lineage.kind = kind;
        lineage.generation += 1;
        if lineage.state == LineageState::Exited {
            lineage.state = LineageState::Running;
            lineage.signals = Signals::default();
        }
        lineage.pin = pin;
        lineage.client = client;
        lineage.generation
    }

    fn agent_step(&mut self, at: At<'_>, name: String, step: &AgentEvent) -> Result<(), String> {
        if matches!(step, AgentEvent::Spawned { .. }) {
            self.workers.remove(&name);
        }
        let agent = self.agents.entry(name.clone()).or_default();
        agent.apply(at.seq, at.ts, step).map_err(|error| error.to_string())?;
        if matches!(step, AgentEvent::ModelReceipt { .. } | AgentEvent::ModelFailed { .. }) {
            self.lanes.entry(agent.called().to_owned()).or_default().heard(at.seq, at.ts, step);
        }
        self.spending.step(at.ts, &name, agent, step);
        if agent.is_finished() {
            self.set_state(&name, LineageState::Exited)?;
        }
        // A fresh context has seen no file.
        if matches!(step, AgentEvent::Spawned { .. } | AgentEvent::HandedOff { .. })
            && let Some(lineage) = self.lineages.get_mut(&name)
        {
            lineage.forget(at.seq);
        }
        self.mind_rest(at.seq, &name);
        Ok(())
    }

    pub(crate) fn set_state(&mut self, name: &str, state: LineageState) -> Result<(), String> {
        if let Some(lineage) = self.lineages.get_mut(name) {
            if !lineage.state.may_become(state) {
                return Err(format!("{name} cannot become {} after {}", state.word(), lineage.state.word()));
            }
            lineage.state = state;
            if state == LineageState::Exited {
                (lineage.signals.exiting, lineage.orphaned_from) = (None, None);
                lineage.signals.queued.clear();
            }
        }
        if state == LineageState::Exited {
            self.locks.retain(|_, lock| lock.holder != name);
            self.let_pipes_go(name);
            self.work.holder_ended(name);
        }
        Ok(())
    }

    /// Keeps the result of a call that carried a key; without one, `facts` are not even put together.
    pub(crate) fn remember(
        &mut self,
        key: Option<String>,
        seq: u64,
        kind: &str,
        done: bool,
        facts: impl FnOnce() -> Value,
    ) {
        if let Some(key) = key {
            self.keys.insert(key, Keyed { seq, kind: kind.to_owned(), done, facts: facts() });
            forget_oldest(&mut self.keys, MAX_KEYS, |keyed| keyed.seq);
        }
    }
}

/// Forgets the entries with the lowest sequence numbers once there are a quarter more than `limit`, down to `limit`.
///
/// The scan is over `limit` entries and is paid once for `limit / 4` insertions.
pub(crate) fn forget_oldest<V>(map: &mut BTreeMap<String, V>, limit: usize, seq: impl Fn(&V) -> u64) {
    if map.len() <= limit + limit / 4 {
        return;
    }
    let mut seqs: Vec<u64> = map.values().map(&seq).collect();
    seqs.sort_unstable();
    let oldest_kept = seqs.get(seqs.len() - limit).copied().unwrap_or_default();
    map.retain(|_, value| seq(value) >= oldest_kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_a_quarter_at_a_time() {
        let mut map: BTreeMap<String, u64> =
            (0..125).map(|seq| (format!("k{:03}", 124 - seq), seq)).collect();
        forget_oldest(&mut map, 100, |seq| *seq);
        assert_eq!(map.len(), 125, "a quarter more than the limit is borne");
        map.insert("newest".to_owned(), 125);
        forget_oldest(&mut map, 100, |seq| *seq);
        assert_eq!((map.len(), map.values().min().copied()), (100, Some(26)));
    }
}
