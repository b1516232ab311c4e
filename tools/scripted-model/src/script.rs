//! The script: what the server answers, as JSON.
//!
//! Only the shapes and their checks live here; choosing a turn is `play.rs`, rendering one is `wires/`.
//! Everything is `deny_unknown_fields`: a misspelt key in a test's script is an error, not a silent default.

use std::path::Path;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything a server plays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The conversations, the first that matches a request wins.
    #[serde(default)]
    pub conversations: Vec<Conversation>,
    /// What a request gets that no conversation matches; absent means the text `ok`.
    #[serde(default)]
    pub default: Option<Vec<ReplyBlock>>,
}

/// One conversation, told turn by turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Unique name, used in counts, in message ids and in complaints.
    pub name: String,
    /// Which requests belong to it; absent members match everything.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// The replies; the n-th answers a request that already holds n assistant turns.
    pub turns: Vec<Turn>,
}

/// The requests that a conversation claims. All given members must hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Of the model's name.
    pub model: Option<Pattern>,
    /// Of the system prompt.
    pub system: Option<Pattern>,
    /// Of the text of the first user message.
    pub first_user: Option<Pattern>,
    /// A tool of this name is announced (auxiliary requests of real clients announce none).
    pub tool: Option<String>,
}

/// A text to find: a plain string is a substring, `{"regex": "…"}` a regular expression.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Pattern {
    /// Found anywhere in the text.
    Substring(String),
    /// Matches anywhere in the text.
    Regex {
        /// Syntax of the crate `regex`.
        regex: String,
    },
}

impl Pattern {
    /// Whether `text` holds the pattern. A regular expression that does not compile was refused at start.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Substring(part) => text.contains(part.as_str()),
            Self::Regex { regex } => Regex::new(regex).is_ok_and(|r| r.is_match(text)),
        }
    }
}

/// One reply and the misfortunes on its way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// What the request must look like; otherwise it is answered with HTTP 400.
    #[serde(default)]
    pub expect: Expect,
    /// The assistant's content, in order.
    #[serde(default)]
    pub reply: Vec<ReplyBlock>,
    /// Why the model stopped; absent means `tool_use` if the reply calls a tool, else `end_turn`.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Reported token counts; absent means counts estimated from the sizes, the same on every run.
    #[serde(default)]
    pub usage: Option<Tokens>,
    /// Refuse the first requests for this turn.
    #[serde(default)]
    pub fail: Option<Fail>,
    /// Silence between the response's head and its first byte, in milliseconds.
    #[serde(default)]
    pub stall_ms: Option<u64>,
    /// How many deliveries stall; absent means all.
    #[serde(default)]
    pub stall_times: Option<u64>,
    /// Size of the pieces in which the body is sent; absent means one piece per event.
    #[serde(default)]
    pub split_at: Option<Split>,
    /// Break the connection after this many bytes of the body.
    #[serde(default)]
    pub cut_after_bytes: Option<usize>,
    /// How many deliveries are cut; absent means the first one.
    #[serde(default)]
    pub cut_times: Option<u64>,
}

/// Demands on a request. All given members must hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Of the text the user said after the last assistant turn.
    pub last_user_contains: Option<Pattern>,
    /// Of at least one of the tool results after the last assistant turn.
    pub tool_result_contains: Option<Pattern>,
    /// Whether one of those results is marked as an error. OpenAI's wires have no such mark: there it never is.
    pub tool_result_is_error: Option<bool>,
    /// How many tool results follow the last assistant turn.
    pub tool_results: Option<usize>,
    /// Tools that must be announced.
    #[serde(default)]
    pub tools_include: Vec<String>,
    /// Tools that must not be announced.
    #[serde(default)]
    pub tools_exclude: Vec<String>,
    /// Of the system prompt.
    pub system_contains: Option<Pattern>,
}

/// One piece of a reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ReplyBlock {
    /// Prose.
    Text(String),
    /// Reasoning: a signed block on Anthropic's wire, a reasoning item on Responses, nothing on Chat Completions.
    Thinking(String),
    /// A tool call.
    Tool(ToolCall),
}

/// A tool call. Its identifier is made from the conversation and the turn, so a repeated request gets the same one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments. Anywhere inside, `{"$from_last_result": "regex with one group"}` is replaced by what the group
    /// captured in the last tool results.
    #[serde(default)]
    pub input: Value,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Nothing more to say.
    EndTurn,
    /// Waits for tool results.
    ToolUse,
    /// Reached the limit of the request.
    MaxTokens,
    /// Declined.
    Refusal,
}

/// Token counts as they are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Input neither read from nor written to a cache.
    #[serde(default)]
    pub input: u64,
    /// Output.
    #[serde(default)]
    pub output: u64,
    /// Read from a cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Written to a cache; only Anthropic's wire can say so, the others report it as plain input.
    #[serde(default)]
    pub cache_write: u64,
}

/// A failure before the reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// The HTTP status.
    pub status: u16,
    /// Sent as `retry-after-ms` and, rounded up to seconds, as `retry-after`.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// How many requests for this turn fail; absent means one.
    #[serde(default = "once")]
    pub times: u64,
}

const fn once() -> u64 {
    1
}

/// The size of the pieces of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Split {
    /// So many bytes each.
    Bytes(std::num::NonZeroUsize),
    /// One byte each.
    Named(SplitName),
}

/// The spelled form of a [`Split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SplitName {
    /// One byte each.
    #[serde(rename = "every-byte")]
    EveryByte,
}

impl Split {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Bytes(n) => n.get(),
            Self::Named(SplitName::EveryByte) => 1,
        }
    }
}

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file could not be read.
    #[error("cannot read the script {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// It is not JSON of this shape.
    #[error("the script is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A regular expression does not compile, or one for `$from_last_result` does not have exactly one group.
    #[error("conversation {conversation}: {message}")]
    BadPattern {
        /// Where.
        conversation: String,
        /// What.
        message: String,
    },
    /// Two conversations have one name, so their counts could not be told apart.
    #[error("two conversations are named {0}")]
    SameName(String),
}

impl Script {
    /// Reads and checks a script file.
    pub fn load(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScriptError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Reads and checks a script.
    pub fn parse(json: &str) -> Result<Self, ScriptError> {
        Self::from_value(serde_json::from_str(json)?)
    }

    /// The same from a value, for scripts written with `json!`.
    pub fn from_value(value: Value) -> Result<Self, ScriptError> {
        let script: Self = serde_json::from_value(value)?;
        script.check()?;
        Ok(script)
    }

    /// Every turn, by conversation and index.
    pub(crate) fn turns(&self) -> impl Iterator<Item = (String, usize)> {
        let of = |c: &Conversation| (0..c.turns.len()).map(|n| (c.name.clone(), n)).collect::<Vec<_>>();
        self.conversations.iter().flat_map(of)
    }

    /// Refuses names used twice and patterns that do not compile.
    pub(crate) fn check(&self) -> Result<(), ScriptError> {
        let mut names = std::collections::BTreeSet::new();
        for conversation in &self.conversations {
            if !names.insert(conversation.name.as_str()) {
                return Err(ScriptError::SameName(conversation.name.clone()));
            }
            conversation.check().map_err(|message| ScriptError::BadPattern {
                conversation: conversation.name.clone(),
                message,
            })?;
        }
        Ok(())
    }
}

impl Conversation {
    fn check(&self) -> Result<(), String> {
        let of_turns = self.turns.iter().flat_map(|turn| {
            let e = &turn.expect;
            [&e.last_user_contains, &e.tool_result_contains, &e.system_contains]
        });
        let m = &self.matches;
        for pattern in [&m.model, &m.system, &m.first_user].into_iter().chain(of_turns).flatten() {
            if let Pattern::Regex { regex } = pattern {
                Regex::new(regex).map_err(|e| e.to_string())?;
            }
        }
        let blocks = self.turns.iter().flat_map(|turn| &turn.reply);
        for block in blocks {
            if let ReplyBlock::Tool(call) = block {
                check_substitutions(&call.input)?;
            }
        }
        Ok(())
    }
}

/// The regular expression of `{"$from_last_result": "…"}`, if `value` is such an object.
pub(crate) fn substitution(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|o| o.len() == 1)?;
    object.get("$from_last_result")?.as_str()
}

fn check_substitutions(value: &Value) -> Result<(), String> {
    if let Some(regex) = substitution(value) {
        let compiled = Regex::new(regex).map_err(|e| e.to_string())?;
        return match compiled.captures_len() {
            2 => Ok(()),
            n => Err(format!("$from_last_result needs exactly one group, `{regex}` has {}", n - 1)),
        };
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(check_substitutions),
        Value::Object(members) => members.values().try_for_each(check_substitutions),
        _ => Ok(()),
    }
}
