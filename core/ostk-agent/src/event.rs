//! The steps of an agent's life, as the log keeps them.
//!
//! Closed and serialized: a change here is a change of a persisted format. Text is never inside a step, only the digest
//! of the blob that holds it.

use ostk_log::Hash;
use serde::{Deserialize, Serialize};

use crate::{
    agentfile::{Agentfile, Limits, ToolGrant, WorkTerm},
    model::{StopReason, Usage},
};

/// Upper bound of one reply in tokens, unless the Agentfile's token limit is lower; every current model accepts it.
const MAX_TOKENS: u32 = 8_192;

/// What an agent is, fixed when a session starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// The lineage.
    pub lineage: String,
    /// Which run of it; makes the keys of its tool calls differ from those of earlier runs.
    pub session: u64,
    /// Model identifier.
    pub model: String,
    /// The system prompt.
    pub system_blob: Hash,
    /// The first user message.
    pub task_blob: Hash,
    /// What the Agentfile grants; `None` grants whatever the pin leaves.
    pub tools: Option<Vec<ToolGrant>>,
    /// Budgets.
    pub limits: Limits,
    /// Tokens that the model's context holds.
    pub context_window: u64,
    /// Upper bound of one reply in tokens.
    pub max_tokens: u32,
    /// Which work it is given when it has nothing to do; empty if its task is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<WorkTerm>,
}

impl AgentConfig {
    /// The configuration that an Agentfile asks for.
    pub fn from_agentfile(
        file: &Agentfile,
        lineage: &str,
        session: u64,
        system_blob: Hash,
        task_blob: Hash,
        context_window: u64,
    ) -> Self {
        let max_tokens = file
            .limits
            .tokens
            .map_or(MAX_TOKENS, |tokens| u32::try_from(tokens).unwrap_or(MAX_TOKENS).min(MAX_TOKENS));
        Self {
            lineage: lineage.to_owned(),
            session,
            model: file.from.clone(),
            system_blob,
            task_blob,
            tools: (!file.tools.is_empty()).then(|| file.tools.clone()),
            limits: file.limits.clone(),
            context_window,
            max_tokens,
            work: file.work.clone(),
        }
    }
}

/// A tool that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The vendor's identifier, unique within the conversation.
    pub id: String,
    /// The tool.
    pub name: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum AgentEvent {
    /// A session starts.
    Spawned {
        /// What the agent is.
        config: Box<AgentConfig>,
    },
    /// The model is about to be called.
    ModelIntent {
        /// Counts the calls since the spawn, from 1; a call that a crash interrupted keeps its number.
        call_no: u64,
        /// The model that is called in place of the agent's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<String>,
    },
    /// The model answered.
    ModelReceipt {
        /// Which call.
        call_no: u64,
        /// The serialized reply.
        reply_blob: Hash,
        /// Why it stopped.
        stop: StopReason,
        /// Tokens.
        usage: Usage,
        /// Price in millionths of a dollar, where it is known.
        cost_micro_usd: Option<u64>,
        /// The tools it asks for, in order; their inputs are in the reply.
        tools: Vec<ToolCall>,
    },
    /// The model call failed.
    ModelFailed {
        /// Which call.
        call_no: u64,
        /// What happened.
        error: String,
        /// Whether the same call may succeed later.
        retryable: bool,
        /// Milliseconds that the vendor asked to wait.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// Whether the vendor may have done the work and charged for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unsettled: bool,
    },
    /// A tool call ended.
    ToolReceipt {
        /// The model call that asked for it.
        call_no: u64,
        /// Its identifier.
        id: String,
        /// What the tool said.
        result_blob: Hash,
        /// Whether it failed or was refused.
        is_error: bool,
        /// Digest of the tool's name and input, by which a call that is made again and again is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Hash>,
    },
    /// Somebody sent the agent a message.
    Nudged {
        /// The message.
        text_blob: Hash,
    },
    /// A budget that it shares with others is used up: its next reply is its last.
    Closing {
        /// The limit.
        which: String,
    },
    /// The context is full: a successor starts with the task, the last words, and this text.
    HandedOff {
        /// What the successor is told.
        summary_blob: Hash,
    },
    /// The end.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
}

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The model had nothing more to do.
    Done,
    /// A limit was reached.
    BudgetExhausted {
        /// `turns`, `tokens`, `wall_clock`, `budget_usd`, `tool_calls` or `bytes_written`.
        which: String,
    },
    /// It cannot go on.
    Failed {
        /// Why.
        error: String,
    },
    /// Somebody ended it.
    Cancelled {
        /// The signal.
        reason: String,
    },
}
