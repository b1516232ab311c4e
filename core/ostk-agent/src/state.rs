//! The fold: an agent's state after its steps so far.
//!
//! Only ordered maps, integers, strings and digests, so equal logs give equal bytes. The conversation is a list of
//! digests; `compose` turns it back into text, `next` says what the state asks for, and `facts` what others may know of it.

use std::collections::BTreeMap;

use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    budget::{self, Estimate, Spent},
    event::{AgentConfig, AgentEvent, Outcome, ToolCall},
    model::{StopReason, Usage},
};

/// How long a model may fail before its agent gives up: no outage that passes by itself lasts longer.
const PATIENCE_MS: u64 = 24 * 3_600_000;

/// A piece of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// Text from the operator or the kernel.
    User { text_blob: Hash },
    /// The last reply of the session before this one.
    Predecessor { reply_blob: Hash },
    /// A serialized reply of the model.
    Assistant { reply_blob: Hash },
    /// The results of the tools that the reply before asked for, by their identifiers.
    Results { results: BTreeMap<String, ToolResult> },
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
    /// Most of a budget is spent.
    WrapUp,
    /// A budget has room for one more model call.
    LastCall,
}

/// How full the context is. Never goes back before a handoff.
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

/// The tool call that ended last, and how often in a row it was the same with the same result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repeat {
    call: Option<(Hash, Hash)>,
    pub(crate) times: u32,
}

impl Repeat {
    fn heard(&mut self, call: Option<Hash>, result: Hash) {
        let call = call.map(|call| (call, result));
        self.times = if call.is_some() && call == self.call { self.times.saturating_add(1) } else { 1 };
        self.call = call;
    }
}

/// A turn whose tools are not all answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) call_no: u64,
    pub(crate) reply_blob: Hash,
    /// In the order of the reply, each identifier once.
    pub(crate) tools: Vec<ToolCall>,
    pub(crate) results: BTreeMap<String, ToolResult>,
}

/// An agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    pub(crate) config: AgentConfig,
    pub(crate) started: Timestamp,
    /// The conversation; empty only before the spawn.
    pub(crate) entries: Vec<Entry>,
    /// Messages that came while the model or a tool was at work.
    pub(crate) nudges: Vec<Hash>,
    /// Number of the last model call.
    pub(crate) calls: u64,
    /// The call that has an intent and no receipt.
    pub(crate) calling: Option<u64>,
    pub(crate) turn: Option<Turn>,
    pub(crate) last_stop: Option<StopReason>,
    pub(crate) last_reply: Option<Hash>,
    /// Replies in a row that the model did not finish.
    pub(crate) unfinished: u32,
    /// Failures in a row of model calls, and when the first of them was.
    pub(crate) failures: u32,
    pub(crate) failing_since: Timestamp,
    /// The model that its last call went to, where that is not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fallback: Option<String>,
    /// Such a model refused its conversation, and its own has not answered since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fallback_refused: bool,
    /// Why it cannot go on.
    pub(crate) fatal: Option<String>,
    pub(crate) spent: Spent,
    pub(crate) estimate: Estimate,
    /// The model whose call that estimate goes by, where that is not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) estimate_of: Option<String>,
    /// It was told that a budget is nearly spent.
    pub(crate) warned: bool,
    /// The limit that ends with its next reply, of which it was told.
    #[serde(default)]
    pub(crate) last_call: Option<String>,
    /// The limit that makes its next call the last, of which it is yet to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) closing: Option<String>,
    /// The tool call that ended last.
    #[serde(default)]
    pub(crate) repeat: Repeat,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) handoffs: u64,
    /// It takes work and was given none yet in this session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fresh: bool,
    pub(crate) outcome: Option<Outcome>,
}

/// A step that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("agent step out of place: {0}")]
pub struct ApplyError(String);

fn out_of_place<T>(why: impl Into<String>) -> Result<T, ApplyError> {
    Err(ApplyError(why.into()))
}

impl AgentState {
    /// Folds one step, recorded as `_seq` at `ts`.
    ///
    /// # Errors
    /// When the step cannot follow the ones before; the state is unchanged then.
    pub fn apply(&mut self, _seq: u64, ts: Timestamp, event: &AgentEvent) -> Result<(), ApplyError> {
        if let AgentEvent::Spawned { config } = event {
            let entries = vec![Entry::User { text_blob: config.task_blob }];
            let (config, fresh) = ((**config).clone(), !config.work.is_empty());
            *self = Self { config, started: ts, entries, fresh, ..Self::default() };
            return Ok(());
        }
        if self.entries.is_empty() {
            return out_of_place("it was never spawned");
        }
        if self.outcome.is_some() {
            return out_of_place("it has finished");
        }
        match event {
            AgentEvent::Spawned { .. } => {}
            AgentEvent::ModelIntent { call_no, fallback } => {
                self.check_call(*call_no)?;
                (self.calls, self.calling) = (*call_no, Some(*call_no));
                self.fallback.clone_from(fallback);
            }
            AgentEvent::ModelReceipt { call_no, reply_blob, stop, usage, cost_micro_usd, tools } => {
                if self.calling != Some(*call_no) {
                    return out_of_place(format!("a reply to call {call_no}, which is not open"));
                }
                self.charge(usage, *cost_micro_usd);
                self.replied(ts, *reply_blob, *stop, tools);
            }
            AgentEvent::ModelFailed { call_no, error, retryable, .. } => {
                self.check_call(*call_no)?;
                self.calls = *call_no;
                self.failed(ts, error, *retryable);
            }
            AgentEvent::ToolReceipt { call_no, id, result_blob, is_error, call } => {
                let result = ToolResult { blob: *result_blob, is_error: *is_error };
                self.tool_done(ts, *call_no, id, result)?;
                self.repeat.heard(*call, *result_blob);
            }
            AgentEvent::Nudged { text_blob } => self.nudged(*text_blob),
            AgentEvent::Closing { which } => self.close(which),
            AgentEvent::HandedOff { summary_blob } => {
                if self.turn.is_some() || self.calling.is_some() {
                    return out_of_place("a handoff inside a turn");
                }
                self.hand_off(ts, *summary_blob);
            }
            AgentEvent::Finished { outcome } => {
                (self.outcome, self.calling) = (Some(outcome.clone()), None);
            }
        }
        Ok(())
    }

    /// Starts a new session of an agent that has ended: a fresh context with its task and this text. What was spent stays
    /// spent, and its time goes on.
    pub fn restart(&mut self, session: u64, text_blob: Hash) {
        let config = AgentConfig { session, ..std::mem::take(&mut self.config) };
        let task = Entry::User { text_blob: config.task_blob };
        let entries = vec![task, Entry::User { text_blob }];
        let (started, spent, fresh) = (self.started, self.spent, !config.work.is_empty());
        *self = Self { config, started, spent, entries, fresh, ..Self::default() };
    }

    /// Gives an agent at rest something to do; `anew` in a fresh context of which its task is all that stays.
    ///
    /// # Errors
    /// When it is not at rest.
    pub fn give(&mut self, ts: Timestamp, text_blob: Hash, anew: bool) -> Result<(), ApplyError> {
        if !self.is_at_rest() {
            return out_of_place("work for an agent that is not at rest");
        }
        if anew {
            self.begin_anew(vec![Entry::User { text_blob: self.config.task_blob }]);
        }
        self.fresh = false;
        self.entries.push(Entry::User { text_blob });
        self.remind(ts);
        Ok(())
    }

    /// The number of the next model call. One that a crash interrupted is made again under its own number.
    pub(crate) fn next_call_no(&self) -> u64 {
        self.calling.unwrap_or(self.calls + 1)
    }

    fn check_call(&self, call_no: u64) -> Result<(), ApplyError> {
        match &self.turn {
            Some(turn) => out_of_place(format!("call {call_no} while tools of {} are open", turn.call_no)),
            None if call_no != self.next_call_no() => {
                out_of_place(format!("call {call_no} instead of {}", self.next_call_no()))
            }
            None => Ok(()),
        }
    }

    fn charge(&mut self, usage: &Usage, cost_micro_usd: Option<u64>) {
        let micro_usd = cost_micro_usd.unwrap_or(0);
        self.spent.charge(usage, micro_usd);
        self.estimate = Estimate { tokens: usage.total_tokens(), micro_usd };
        self.estimate_of.clone_from(&self.fallback);
        self.fallback_refused &= self.fallback.is_some();
        if cost_micro_usd.is_none() && self.config.limits.budget_micro_usd.is_some() {
            let why = "the model's price is not known, so LIMIT budget_usd cannot be kept; use LIMIT tokens";
            self.fatal = Some(why.to_owned());
        }
        self.age();
    }

    /// Thresholds of the reference: aging at 70 % of what may be used of the window, dying at 90 %.
    fn age(&mut self) {
        let now = match self.context_pct() {
            90.. => Lifecycle::Dying,
            70.. => Lifecycle::Aging,
            _ => Lifecycle::Healthy,
        };
        self.lifecycle = self.lifecycle.max(now);
    }

    fn replied(&mut self, ts: Timestamp, reply_blob: Hash, stop: StopReason, tools: &[ToolCall]) {
        let call_no = self.next_call_no();
        self.calling = None;
        self.failures = 0;
        (self.last_stop, self.last_reply) = (Some(stop), Some(reply_blob));
        self.entries.push(Entry::Assistant { reply_blob });
        match stop {
            StopReason::Refusal => self.fatal = Some("the model refused to answer".to_owned()),
            // The input of its last tool may be cut, so none of its tools is called; `compose` says so to the model.
            StopReason::MaxTokens => {
                self.unfinished += 1;
                self.entries.push(Entry::Note { note: Note::Continue });
            }
            _ if !tools.is_empty() => {
                self.unfinished = 0;
                let tools = each_once(tools);
                self.turn = Some(Turn { call_no, reply_blob, tools, results: BTreeMap::new() });
                return;
            }
            StopReason::Pause => self.unfinished += 1,
            StopReason::EndTurn | StopReason::ToolUse => self.unfinished = 0,
        }
        self.hear(ts);
    }

    fn failed(&mut self, ts: Timestamp, error: &str, retryable: bool) {
        let of_fallback = self.calling.take().is_some() && self.fallback.is_some();
        if self.failures == 0 {
            self.failing_since = ts;
        }
        self.failures += 1;
        if !retryable && of_fallback {
            // Its own model may still answer.
            self.fallback_refused = true;
        } else if !retryable {
            self.fatal = Some(error.to_owned());
        } else if ts.millis_since(self.failing_since) >= PATIENCE_MS {
            self.fatal = Some(format!("the model has failed for a day: {error}"));
        }
    }

    fn tool_done(
        &mut self,
        ts: Timestamp,
        call_no: u64,
        id: &str,
        result: ToolResult,
    ) -> Result<(), ApplyError> {
        let asked = |turn: &&mut Turn| turn.call_no == call_no && turn.tools.iter().any(|tool| tool.id == id);
        let Some(turn) = self.turn.as_mut().filter(asked) else {
            return out_of_place(format!("a result of {id:?}, which nobody asked for"));
        };
        if turn.results.contains_key(id) {
            return out_of_place(format!("a second result of {id:?}"));
        }
        turn.results.insert(id.to_owned(), result);
        // One beyond the limit is refused and costs nothing.
        let within = self.config.limits.tool_calls.is_none_or(|limit| self.spent.tool_calls < limit);
        self.spent.tool_calls = self.spent.tool_calls.saturating_add(u64::from(within));
        if turn.results.len() == turn.tools.len() {
            let results = std::mem::take(&mut turn.results);
            self.turn = None;
            self.entries.push(Entry::Results { results });
            self.hear(ts);
        }
        Ok(())
    }

    /// A message waits until the model or the tools at work are done, so it never changes a request under way.
    fn nudged(&mut self, text_blob: Hash) {
        if self.turn.is_some() || self.calling.is_some() {
            self.nudges.push(text_blob);
        } else {
            self.fresh = false;
            self.entries.push(Entry::User { text_blob });
        }
    }

    /// The turn is over: messages that came meanwhile are heard, and if the model speaks again, due remarks.
    fn hear(&mut self, now: Timestamp) {
        let nudges = std::mem::take(&mut self.nudges);
        self.entries.extend(nudges.into_iter().map(|text_blob| Entry::User { text_blob }));
        if matches!(self.entries.last(), Some(Entry::Assistant { .. })) {
            return;
        }
        self.remind(now);
        self.hear_last_call();
        match self.lifecycle {
            Lifecycle::Healthy => {}
            Lifecycle::Aging => self.note_once(Note::PrepareHandoff),
            Lifecycle::Dying => self.note_once(Note::LastTurn),
        }
    }

    /// What its budgets make it hear before the next call.
    fn remind(&mut self, now: Timestamp) {
        let elapsed_ms = now.millis_since(self.started);
        let limits = &self.config.limits;
        // After a handoff a call takes less than now; how much is not known.
        let dying = self.lifecycle == Lifecycle::Dying;
        let later = if dying { Estimate::default() } else { self.estimate };
        if let Some(which) = budget::last_call(limits, self.spent, (self.estimate, later), elapsed_ms) {
            self.last_call = Some(which.to_owned());
            self.entries.push(Entry::Note { note: Note::LastCall });
        } else if !self.warned && budget::nearly_exhausted(limits, self.spent, elapsed_ms) {
            self.warned = true;
            self.entries.push(Entry::Note { note: Note::WrapUp });
        }
    }

    /// Its next call is the last. It hears so when what it does now is done.
    fn close(&mut self, which: &str) {
        self.closing = Some(which.to_owned());
        if self.turn.is_none() && self.calling.is_none() {
            self.hear_last_call();
        }
    }

    fn hear_last_call(&mut self) {
        if let Some(which) = self.closing.take().filter(|_| self.last_call.is_none()) {
            self.last_call = Some(which);
            self.entries.push(Entry::Note { note: Note::LastCall });
        }
    }

    fn note_once(&mut self, note: Note) {
        let entry = Entry::Note { note };
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
    }

    /// A fresh context for the same lineage; what was spent stays spent, and calls are counted on.
    fn hand_off(&mut self, now: Timestamp, summary_blob: Hash) {
        let task = Entry::User { text_blob: self.config.task_blob };
        let last_words = self.last_reply.take().map(|reply_blob| Entry::Predecessor { reply_blob });
        let summary = Entry::User { text_blob: summary_blob };
        self.begin_anew([task].into_iter().chain(last_words).chain([summary]).collect());
        self.last_call = None;
        self.remind(now);
    }

    /// A fresh context with these entries.
    fn begin_anew(&mut self, entries: Vec<Entry>) {
        self.entries = entries;
        self.handoffs += 1;
        self.lifecycle = Lifecycle::Healthy;
        self.estimate = Estimate::default();
        self.last_stop = None;
        self.last_reply = None;
        self.unfinished = 0;
        self.warned = false;
    }

    /// Files of so many bytes are about to be written.
    pub const fn charge_bytes(&mut self, bytes: u64) {
        self.spent.bytes_written = self.spent.bytes_written.saturating_add(bytes);
    }

    /// They were not written after all.
    pub const fn refund_bytes(&mut self, bytes: u64) {
        self.spent.bytes_written = self.spent.bytes_written.saturating_sub(bytes);
    }
}

/// A model may give two calls one identifier; the second could never be answered apart from the first.
fn each_once(tools: &[ToolCall]) -> Vec<ToolCall> {
    let first = |n: usize, tool: &ToolCall| tools.iter().take(n).all(|earlier| earlier.id != tool.id);
    tools.iter().enumerate().filter(|(n, tool)| first(*n, tool)).map(|(_, tool)| tool.clone()).collect()
}
