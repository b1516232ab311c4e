//! The vendor-neutral shape of one exchange with a language model.
//!
//! `ostk-models` translates these to and from the vendors' wires; a serialized [`ModelRequest`] or [`ModelReply`]
//! is what the log keeps as a blob, so a change here is a change of a persisted format.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request: everything a provider needs to produce the next turn, credentials excepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRequest {
    /// Model identifier as the Agentfile names it, for example `claude-sonnet-4-6` or `ollama/qwen3`.
    pub model: String,
    /// System prompt; empty means none.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools the model may call.
    pub tools: Vec<ToolSpec>,
    /// Upper bound of the reply in tokens.
    pub max_tokens: u32,
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The content, in order.
    pub content: Vec<Block>,
}

/// The speaker of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The operator, or the kernel answering a tool call.
    User,
    /// The model.
    Assistant,
}

/// One piece of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Prose.
    Text {
        /// The prose.
        text: String,
    },
    /// The model asks for a tool. Its `id` is unique within the conversation.
    ToolUse {
        /// The vendor's identifier of this call.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments, a JSON object.
        input: Value,
    },
    /// The answer to the [`Block::ToolUse`] with the same `id`.
    ToolResult {
        /// The identifier of the call that is answered.
        id: String,
        /// What the tool said.
        text: String,
        /// Whether the call failed or was refused.
        is_error: bool,
    },
    /// Content the vendor needs back unchanged (reasoning blocks with a signature), kept as it came. It goes back to
    /// the model that made it and to no other.
    Opaque {
        /// The wire it came from: `anthropic`, `openai-chat` or `openai-responses`.
        wire: String,
        /// The model that made it, as the vendor was asked for it; empty in records from before it was kept.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        model: String,
        /// The vendor's own object.
        value: Value,
    },
}

/// A tool as it is announced to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The tool's name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReply {
    /// Model identifier as the provider reported it.
    pub model: String,
    /// The provider's message identifier; one call is counted once by it.
    pub message_id: String,
    /// The assistant's content.
    pub content: Vec<Block>,
    /// Why the model stopped.
    pub stop: StopReason,
    /// What it cost.
    pub usage: Usage,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had nothing more to say.
    EndTurn,
    /// It waits for tool results.
    ToolUse,
    /// The reply reached `max_tokens`.
    MaxTokens,
    /// A stop sequence or a vendor pause; the turn may be continued.
    Pause,
    /// The provider refused to answer.
    Refusal,
}

/// Token counts of one exchange, as the provider reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens that were neither read from nor written to a prompt cache.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
    /// Input tokens read from a prompt cache.
    pub cache_read: u64,
    /// Input tokens written to a prompt cache.
    pub cache_write: u64,
}

impl Usage {
    /// Tokens of the prompt, however they were billed.
    pub const fn prompt_tokens(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// Tokens of the prompt and the reply.
    pub const fn total_tokens(&self) -> u64 {
        self.prompt_tokens().saturating_add(self.output)
    }
}
