//! What an agent needs now: a pure function of its state and the time. Whoever hosts it does that, and records a step.

use ostk_log::{Hash, Timestamp};

use crate::{
    budget,
    event::Outcome,
    model::StopReason,
    state::{AgentState, Entry, Lifecycle, Note, Turn},
};

/// How often in a row a reply that was cut by its length limit is continued.
const MAX_CONTINUED: u32 = 3;
/// How often in a row a reply that the vendor paused is taken up again; each pause follows several of its own tools.
const MAX_PAUSED: u32 = 16;
/// Entries of one session's conversation; past that it is handed off, whatever its tokens.
const MAX_ENTRIES: usize = 10_000;
/// Handoffs since the spawn; an agent whose task fills its context alone must end too.
const MAX_HANDOFFS: u64 = 1_000;

/// What an agent needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call the model. When that may be is a matter of the whole fleet, and so the host's.
    CallModel {
        /// The number of the call.
        call_no: u64,
    },
    /// Make these tool calls, at once or one by one; those with a receipt are not among them.
    CallTools(Vec<PendingTool>),
    /// The context is full: write a handoff.
    Handoff,
    /// It is over; record it.
    Finish(Outcome),
    /// Nothing until it is given work, or told something.
    Rest,
    /// Nothing: it has ended, or never began.
    Idle,
}

/// A tool call without a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingTool {
    /// The model call that asked for it.
    pub call_no: u64,
    /// The vendor's identifier.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The reply that holds its input.
    pub reply_blob: Hash,
    /// Idempotency key, `lineage/session/call/identifier`: the same after a crash, never that of another call.
    pub key: String,
}

impl AgentState {
    /// What the agent needs at `now`.
    pub fn next(&self, now: Timestamp) -> Next {
        if self.outcome.is_some() || self.entries.is_empty() {
            return Next::Idle;
        }
        if let Some(error) = &self.fatal {
            return failed(error);
        }
        match (&self.turn, &self.last_call) {
            // It was told that no tool is called any more.
            (Some(_), Some(which)) => return Next::Finish(Outcome::BudgetExhausted { which: which.clone() }),
            (Some(turn), None) => return Next::CallTools(self.pending(turn)),
            (None, _) => {}
        }
        if self.is_at_rest() {
            return self
                .used_up(now)
                .map_or(Next::Rest, |which| Next::Finish(Outcome::BudgetExhausted { which }));
        }
        if self.has_nothing_more_to_say() {
            return Next::Finish(Outcome::Done);
        }
        if self.context_is_full() {
            return if self.handoffs < MAX_HANDOFFS {
                Next::Handoff
            } else {
                failed("it was handed off too often")
            };
        }
        match self.last_stop {
            Some(StopReason::MaxTokens) if self.unfinished > MAX_CONTINUED => {
                return failed("the reply was cut by its length limit too often");
            }
            Some(StopReason::Pause) if self.unfinished > MAX_PAUSED => {
                return failed("the vendor paused the reply too often");
            }
            _ => {}
        }
        if let Some(which) = self.exhausted(now) {
            return Next::Finish(Outcome::BudgetExhausted { which });
        }
        Next::CallModel { call_no: self.next_call_no() }
    }

    /// The limit that one more model call would pass.
    fn exhausted(&self, now: Timestamp) -> Option<String> {
        let elapsed_ms = now.millis_since(self.started);
        let which = budget::exhausted(&self.config.limits, self.spent, self.estimate, elapsed_ms)?;
        Some(which.to_owned())
    }

    /// The limit for which an agent at rest can be given nothing more.
    fn used_up(&self, now: Timestamp) -> Option<String> {
        self.last_call.clone().or_else(|| self.exhausted(now))
    }

    fn pending(&self, turn: &Turn) -> Vec<PendingTool> {
        let open = turn.tools.iter().filter(|tool| !turn.results.contains_key(&tool.id));
        open.map(|tool| PendingTool {
            call_no: turn.call_no,
            id: tool.id.clone(),
            name: tool.name.clone(),
            reply_blob: turn.reply_blob,
            key: format!("{}/{}/{}/{}", self.config.lineage, self.config.session, turn.call_no, tool.id),
        })
        .collect()
    }

    pub(crate) fn has_nothing_more_to_say(&self) -> bool {
        matches!(self.last_stop, Some(StopReason::EndTurn | StopReason::ToolUse))
            && matches!(self.entries.last(), Some(Entry::Assistant { .. }))
    }

    /// A dying session is over when the model has answered after being told that this turn is its last.
    fn context_is_full(&self) -> bool {
        let told = |entry: &Entry| *entry == Entry::Note { note: Note::LastTurn };
        let mut since = self.entries.iter().skip_while(|entry| !told(entry));
        let had_last_turn = since.any(|entry| matches!(entry, Entry::Assistant { .. }));
        (self.lifecycle == Lifecycle::Dying && had_last_turn) || self.entries.len() > MAX_ENTRIES
    }
}

fn failed(error: &str) -> Next {
    Next::Finish(Outcome::Failed { error: error.to_owned() })
}
