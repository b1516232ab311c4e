//! The fold: an agent's state after its steps so far.
//!
//! Only ordered maps, integers, strings and digests, so equal logs give equal bytes. The conversation is a list of
//! digests; `compose` turns it back into text.

use std::collections::BTreeMap;

use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    agentfile::ToolGrant,
    budget::Spent,
    event::{AgentConfig, AgentEvent, At, Outcome, ToolCall},
    model::StopReason,
};

/// Entries of one session's conversation; a handoff comes long before.
const MAX_ENTRIES: usize = 100_000;

/// A piece of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// Text from the operator, the kernel, or a predecessor.
    User { text_blob: Hash },
    /// A serialized reply of the model.
    Assistant { reply_blob: Hash },
    /// The results of the tools that the reply before asked for.
    Results { results: BTreeMap<String, ToolResult>, order: Vec<String>, notes: Vec<Note> },
    /// A fixed remark of the kernel.
    Note { note: Note },
}

/// What a tool said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToolResult {
    pub(crate) blob: Hash,
    pub(crate) is_error: bool,
}

/// Remarks of the kernel to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// The reply was cut by its length limit.
    Continue,
    /// The context is 70 % full.
    PrepareHandoff,
    /// The context is 90 % full: this is the last turn of the session.
    LastTurn,
    /// Four fifths of a budget are spent.
    WrapUp,
}

/// How full the context is. Never goes back within a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Below 70 %.
    #[default]
    Healthy,
    /// From 70 %: a handoff is prepared.
    Aging,
    /// From 90 %: one final turn.
    Dying,
}

/// A turn whose tools are not all answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) call_no: u64,
    pub(crate) reply_blob: Hash,
    pub(crate) tools: Vec<ToolCall>,
    pub(crate) results: BTreeMap<String, ToolResult>,
}

/// An agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    pub(crate) config: AgentConfig,
    pub(crate) started: At,
    /// Model calls begun in this session.
    pub(crate) calls: u64,
    /// The call that has an intent and no receipt.
    pub(crate) calling: Option<u64>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) turn: Option<Turn>,
    pub(crate) nudges: Vec<Hash>,
    pub(crate) spent: Spent,
    pub(crate) warned: bool,
    pub(crate) lifecycle: Lifecycle,
    /// Prompt and reply tokens of the last call: what the next prompt starts from.
    pub(crate) context_tokens: u64,
    pub(crate) last_stop: Option<StopReason>,
    pub(crate) continued: u8,
    /// Failures of the current call, and when the last one was.
    pub(crate) failures: u32,
    pub(crate) failed_at: At,
    pub(crate) fatal: Option<String>,
    pub(crate) last_reply: Option<Hash>,
    pub(crate) outcome: Option<Outcome>,
}

/// A step that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("agent step out of place: {0}")]
pub struct ApplyError(String);

impl AgentState {
    /// Folds one step.
    ///
    /// # Errors
    /// When the step cannot follow the ones before; the state is unchanged then.
    pub fn apply(&mut self, _seq: u64, ts: Timestamp, event: &AgentEvent) -> Result<(), ApplyError> {
        if self.outcome.is_some() && !matches!(event, AgentEvent::Spawned { .. }) {
            return Err(ApplyError("it has finished".to_owned()));
        }
        match event {
            AgentEvent::Spawned { config } => self.begin(config, ts),
            AgentEvent::ModelIntent { call_no } => {
                self.calls = self.calls.max(*call_no);
                self.calling = Some(*call_no);
            }
            AgentEvent::ModelReceipt { call_no, reply_blob, stop, usage, cost_micro_usd, tools } => {
                if self.calling != Some(*call_no) {
                    return Err(ApplyError(format!("a reply to call {call_no}, which is not open")));
                }
                self.spent.charge(usage, *cost_micro_usd);
                self.context_tokens = usage.total_tokens();
                self.replied(*call_no, *reply_blob, *stop, tools);
            }
            AgentEvent::ModelFailed { error, retryable, .. } => self.failed(ts, error, *retryable),
            AgentEvent::ToolReceipt { call_no, id, result_blob, is_error } => {
                let result = ToolResult { blob: *result_blob, is_error: *is_error };
                self.tool_done(*call_no, id, result)?;
            }
            AgentEvent::Nudged { text_blob } => self.nudges.push(*text_blob),
            AgentEvent::HandedOff { summary_blob } => self.hand_off(*summary_blob),
            AgentEvent::Finished { outcome } => {
                self.outcome = Some(outcome.clone());
                self.calling = None;
            }
        }
        debug_assert!(self.entries.len() <= MAX_ENTRIES, "a handoff comes long before");
        Ok(())
    }

    fn begin(&mut self, config: &AgentConfig, ts: Timestamp) {
        let task = Entry::User { text_blob: config.task_blob };
        *self = Self { config: config.clone(), started: ts, entries: vec![task], ..Self::default() };
    }

    fn replied(&mut self, call_no: u64, reply_blob: Hash, stop: StopReason, tools: &[ToolCall]) {
        self.calling = None;
        self.failures = 0;
        self.last_stop = Some(stop);
        self.last_reply = Some(reply_blob);
        self.entries.push(Entry::Assistant { reply_blob });
        self.age();
        if !tools.is_empty() {
            let tools = tools.to_vec();
            self.turn = Some(Turn { call_no, reply_blob, tools, results: BTreeMap::new() });
            return;
        }
        match stop {
            StopReason::MaxTokens => {
                self.continued += 1;
                self.entries.push(Entry::Note { note: Note::Continue });
            }
            StopReason::Refusal => self.fatal = Some("the model refused to answer".to_owned()),
            _ => self.take_nudges(),
        }
    }

    fn failed(&mut self, ts: Timestamp, error: &str, retryable: bool) {
        self.calling = None;
        self.failures += 1;
        self.failed_at = ts;
        if !retryable || self.failures >= crate::next::MAX_FAILURES {
            self.fatal = Some(error.to_owned());
        }
    }

    fn tool_done(&mut self, call_no: u64, id: &str, result: ToolResult) -> Result<(), ApplyError> {
        let turn = self
            .turn
            .as_mut()
            .filter(|turn| turn.call_no == call_no && turn.tools.iter().any(|tool| tool.id == id));
        let Some(turn) = turn else {
            return Err(ApplyError(format!("a result of {id:?}, which nobody asked for")));
        };
        turn.results.insert(id.to_owned(), result);
        if turn.results.len() == turn.tools.len()
            && let Some(turn) = self.turn.take()
        {
            let notes = self.due_notes();
            let order = turn.tools.into_iter().map(|tool| tool.id).collect();
            self.entries.push(Entry::Results { results: turn.results, order, notes });
            self.take_nudges();
        }
        Ok(())
    }

    /// Messages that came meanwhile follow what the model is told next.
    fn take_nudges(&mut self) {
        let nudges = std::mem::take(&mut self.nudges);
        self.entries.extend(nudges.into_iter().map(|text_blob| Entry::User { text_blob }));
    }

    fn due_notes(&mut self) -> Vec<Note> {
        let mut notes = Vec::new();
        if !self.warned && self.nearly_spent() {
            self.warned = true;
            notes.push(Note::WrapUp);
        }
        let told = |wanted: Note| {
            self.entries
                .iter()
                .any(|entry| matches!(entry, Entry::Results { notes, .. } if notes.contains(&wanted)))
        };
        match self.lifecycle {
            Lifecycle::Dying if !told(Note::LastTurn) => notes.push(Note::LastTurn),
            Lifecycle::Aging if !told(Note::PrepareHandoff) => notes.push(Note::PrepareHandoff),
            _ => {}
        }
        notes
    }

    /// Four fifths of a budget are spent.
    fn nearly_spent(&self) -> bool {
        let near = |limit: Option<u64>, value: u64| {
            limit.is_some_and(|limit| value.saturating_mul(5) >= limit.saturating_mul(4))
        };
        let limits = &self.config.limits;
        near(limits.turns, self.spent.turns)
            || near(limits.tokens, self.spent.tokens)
            || near(limits.budget_micro_usd, self.spent.micro_usd)
    }

    /// Thresholds of the reference: aging at 70 % of the window, dying at 90 %.
    fn age(&mut self) {
        let window = self.config.context_window.max(1);
        let percent = self.context_tokens.saturating_mul(100) / window;
        let now = match percent {
            90.. => Lifecycle::Dying,
            70.. => Lifecycle::Aging,
            _ => Lifecycle::Healthy,
        };
        self.lifecycle = self.lifecycle.max(now);
    }

    /// A fresh context for the same lineage; what was spent stays spent.
    fn hand_off(&mut self, summary_blob: Hash) {
        let task = Entry::User { text_blob: self.config.task_blob };
        self.config.session += 1;
        self.entries = vec![task, Entry::User { text_blob: summary_blob }];
        self.turn = None;
        self.calling = None;
        self.calls = 0;
        self.lifecycle = Lifecycle::Healthy;
        self.context_tokens = 0;
        self.last_stop = None;
        self.continued = 0;
        self.take_nudges();
    }

    /// Whether it has ended.
    pub const fn is_finished(&self) -> bool {
        self.outcome.is_some()
    }

    /// How it ended.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// What it has spent.
    pub const fn spent(&self) -> Spent {
        self.spent
    }

    /// How full its context is.
    pub const fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Its model.
    pub fn model(&self) -> &str {
        &self.config.model
    }

    /// What its Agentfile grants.
    pub fn tool_grants(&self) -> Option<&[ToolGrant]> {
        self.config.tools.as_deref()
    }

    /// The tool behind a call of the open turn.
    pub fn tool_name(&self, call_no: u64, id: &str) -> Option<&str> {
        let turn = self.turn.as_ref().filter(|turn| turn.call_no == call_no)?;
        turn.tools.iter().find(|tool| tool.id == id).map(|tool| tool.name.as_str())
    }

    /// The blob of the last reply.
    pub const fn last_reply(&self) -> Option<Hash> {
        self.last_reply
    }
}
