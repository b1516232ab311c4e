//! What an agent needs now: a pure function of its state and the time.

use ostk_log::{Hash, Timestamp};

use crate::{
    budget,
    event::Outcome,
    model::StopReason,
    state::{AgentState, Entry, Lifecycle},
};

/// Tries of one model call before the agent gives up: the waits between them add up to about two minutes.
pub(crate) const MAX_FAILURES: u32 = 8;
/// Longest wait between two tries, in seconds.
const MAX_BACKOFF_S: u64 = 60;
/// How often a reply that was cut by its length limit is continued.
const MAX_CONTINUED: u8 = 3;

/// What an agent needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call the model.
    CallModel {
        /// The number of the call.
        call_no: u64,
    },
    /// Make these tool calls; those with a receipt are not among them.
    CallTools(Vec<PendingTool>),
    /// Ask again at this time.
    Wait {
        /// When.
        until: Timestamp,
    },
    /// The context is full: write a handoff.
    Handoff,
    /// It is over; record it.
    Finish(Outcome),
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
    /// Idempotency key: the same after a crash.
    pub key: String,
}

impl AgentState {
    /// What the agent needs at `now`.
    pub fn next(&self, now: Timestamp) -> Next {
        if self.outcome.is_some() || self.entries.is_empty() {
            return Next::Idle;
        }
        if let Some(error) = &self.fatal {
            return Next::Finish(Outcome::Failed { error: error.clone() });
        }
        if let Some(turn) = &self.turn {
            let open = turn.tools.iter().filter(|tool| !turn.results.contains_key(&tool.id));
            return Next::CallTools(
                open.map(|tool| PendingTool {
                    call_no: turn.call_no,
                    id: tool.id.clone(),
                    name: tool.name.clone(),
                    reply_blob: turn.reply_blob,
                    key: format!(
                        "{}/{}/{}/{}",
                        self.config.lineage, self.config.session, turn.call_no, tool.id
                    ),
                })
                .collect(),
            );
        }
        self.next_call(now)
    }

    fn next_call(&self, now: Timestamp) -> Next {
        let answered = matches!(self.entries.last(), Some(Entry::Assistant { .. }));
        match self.last_stop {
            Some(StopReason::EndTurn | StopReason::ToolUse) if answered => {
                return Next::Finish(Outcome::Done);
            }
            Some(StopReason::MaxTokens) if self.continued > MAX_CONTINUED => {
                let error = "the reply was cut by its length limit too often".to_owned();
                return Next::Finish(Outcome::Failed { error });
            }
            _ => {}
        }
        if self.lifecycle == Lifecycle::Dying && self.had_last_turn() {
            return Next::Handoff;
        }
        let limits = &self.config.limits;
        if let Some(which) = budget::exhausted(limits, &self.spent, self.context_tokens, self.started, now) {
            return Next::Finish(Outcome::BudgetExhausted { which: which.to_owned() });
        }
        let due = self.due();
        if due > now {
            return Next::Wait { until: due };
        }
        // A call with an intent and no receipt was lost in a crash: it is made again under its own number.
        Next::CallModel { call_no: self.calling.unwrap_or(self.calls + 1) }
    }

    /// The final turn of a dying session is over when the model has answered after being told.
    fn had_last_turn(&self) -> bool {
        use crate::state::Note;
        let told = self.entries.iter().rposition(
            |entry| matches!(entry, Entry::Results { notes, .. } if notes.contains(&Note::LastTurn)),
        );
        let Some(told) = told else { return false };
        self.entries.iter().skip(told + 1).any(|entry| matches!(entry, Entry::Assistant { .. }))
    }

    /// When the next try is due: 1, 2, 4, … seconds after the last failure.
    fn due(&self) -> Timestamp {
        if self.failures == 0 {
            return self.started;
        }
        let seconds = 1_u64.checked_shl(self.failures - 1).unwrap_or(MAX_BACKOFF_S).min(MAX_BACKOFF_S);
        self.failed_at.plus_millis(seconds * 1_000)
    }
}
