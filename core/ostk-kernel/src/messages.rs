//! Messages to agents: a native agent takes one as a step of its own, a client gets it with its next reply.
//!
//! The log keeps the text as a blob. What still waits for a client is loaded once at boot, so that a reply needs no
//! look into the packs.

use std::collections::BTreeSet;

use ostk_log::Hash;
use serde_json::{Value, json};

use crate::{
    act::{Awaited, Op, Outcome},
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Target},
    shell::blob,
    state::{LineageKind, LineageState},
    work::{no_lineage, short_text},
};

/// To whom agents of a stack write to reach whoever spawned it.
pub const PROJECT: &str = "project";
/// Messages that wait for one client; whoever does not read 64 will not read the next.
const MAX_WAITING: usize = 64;

impl Kernel {
    pub(crate) fn nudge(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let to = job.text("lineage").unwrap_or_default().to_owned();
        let may = if self.is_upward(&to) { Ok(()) } else { self.may_nudge(&to) };
        let text = match may.and_then(|()| short_text(job)) {
            Ok(text) => text,
            Err(error) => return (Err(error), None),
        };
        let (text_blob, bytes) = blob(text.as_bytes());
        let event = Event::NudgeSent { to: to.clone(), text_blob, key: job.key.clone() };
        let seq = self.record_with(&job.caller, &event, vec![(text_blob, bytes)], Awaited::Durable);
        if self.state.nudges.contains_key(&to) {
            self.nudge_texts.insert(text_blob, text);
        } else {
            self.nudged(&to, text_blob);
        }
        (Ok(json!({ "seq": seq })), Some(self.state.next_seq))
    }

    /// Whether a message leaves this stack: the project's daemon finds it in the log.
    fn is_upward(&self, to: &str) -> bool {
        to == PROJECT && self.state.within.is_some()
    }

    /// A message of the kernel to a lineage that can take one.
    pub(crate) fn tell(&mut self, to: &str, text: &str) {
        if self.may_nudge(to).is_err() {
            return;
        }
        let (text_blob, bytes) = blob(text.as_bytes());
        let event = Event::NudgeSent { to: to.to_owned(), text_blob, key: None };
        self.record_with(&Caller::Kernel, &event, vec![(text_blob, bytes)], Awaited::Written);
        if self.state.nudges.contains_key(to) {
            self.nudge_texts.insert(text_blob, text.to_owned());
        } else {
            self.nudged(to, text_blob);
        }
    }

    pub(crate) fn may_nudge(&self, to: &str) -> Result<(), CallError> {
        let lineage = self.state.lineages.get(to).ok_or_else(|| no_lineage(to))?;
        if lineage.kind == LineageKind::Native && lineage.state == LineageState::Exited {
            return Err(CallError::new(Code::Stopped, format!("{to} has ended")).hint("ostk ps"));
        }
        if self.state.nudges.get(to).map_or(0, Vec::len) >= MAX_WAITING {
            let message = format!("{MAX_WAITING} messages wait for {to} already");
            return Err(CallError::new(Code::Busy, message));
        }
        Ok(())
    }

    /// Loads the texts of what still waits.
    pub(crate) fn load_nudges(&mut self) {
        let waiting = self.waiting_texts();
        self.texts_loaded = waiting.is_empty();
        if !waiting.is_empty() {
            let blobs = waiting.into_iter().collect();
            self.run(Op::Observe { paths: Vec::new(), blobs }, Target::Nudges, None);
        }
    }

    pub(crate) fn nudges_loaded(&mut self, outcome: Outcome) {
        self.texts_loaded = true;
        if let Outcome::Observed { blobs, .. } = outcome {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.nudge_texts.extend(blobs.into_iter().map(|(hash, bytes)| (hash, text(&bytes))));
            self.restart_due();
        }
        if !self.state.stopped {
            self.deliver_what_waited();
        }
    }

    /// The messages that wait for a client, each `sender: text`. They count as delivered.
    pub(crate) fn take_nudges(&mut self, caller: &Caller) -> Vec<String> {
        let Some(waiting) = self.state.nudges.get(caller.lineage()) else { return Vec::new() };
        let texts: Option<Vec<String>> = waiting
            .iter()
            .map(|(from, blob)| {
                let lost = self.texts_loaded.then_some("(the text of this message is not stored any more)");
                let text = self.nudge_texts.get(blob).map(String::as_str).or(lost)?;
                Some(format!("{from}: {text}"))
            })
            .collect();
        // Not loaded yet: the next reply takes them.
        let Some(texts) = texts else { return Vec::new() };
        let to = caller.lineage().to_owned();
        self.record(caller, &Event::NudgeDelivered { to });
        self.forget_texts();
        texts
    }

    /// Texts of messages and signals that are not delivered yet, and of commands that may have to be started again.
    fn waiting_texts(&self) -> BTreeSet<Hash> {
        let messages = self.state.nudges.values().flatten().map(|(_, blob)| *blob);
        let signals = self.state.lineages.values().flat_map(|known| {
            known.signals.queued.iter().chain(&known.signals.told).filter_map(|waiting| waiting.text_blob)
        });
        let commands =
            self.state.supervised.values().filter(|known| known.phase != crate::supervise::Phase::Over);
        let commands =
            commands.flat_map(|known| known.terms.command_blob.into_iter().chain(known.terms.resume_blob));
        messages.chain(signals).chain(commands).collect()
    }

    /// Forgets the texts that nobody waits for any more.
    pub(crate) fn forget_texts(&mut self) {
        let waiting = self.waiting_texts();
        self.nudge_texts.retain(|blob, _| waiting.contains(blob));
    }
}
