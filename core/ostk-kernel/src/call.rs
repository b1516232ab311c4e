//! A system call as it arrives and the error it may end in.
//!
//! Callers and arguments are generic: a model's tool call, a program's JSON-RPC request and a person's command line
//! all become a [`Call`]. What the arguments mean is said by the table, not here.

use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::act::Outcome;

/// Identifies a call from submission to reply; chosen by the host, unique while the call is open.
pub type CallId = u64;

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Caller {
    /// A person at a terminal.
    Human(String),
    /// An agent, by its lineage.
    Agent(String),
    /// A deterministic process of cells.
    World(String),
    /// A sub-stack, as the author of changes.
    Stack(String),
    /// The kernel on its own behalf.
    Kernel,
}

impl Caller {
    /// The `actor` field of a record, for example `agent:worker-a`.
    pub fn actor(&self) -> String {
        match self {
            Self::Human(name) => format!("human:{name}"),
            Self::Agent(name) => format!("agent:{name}"),
            Self::World(name) => format!("world:{name}"),
            Self::Stack(name) => format!("stack:{name}"),
            Self::Kernel => "kernel".to_owned(),
        }
    }

    /// The lineage of a process, which can be held, ended and bound: an agent or a world.
    pub fn process(&self) -> Option<&str> {
        match self {
            Self::Agent(name) | Self::World(name) => Some(name),
            Self::Human(_) | Self::Stack(_) | Self::Kernel => None,
        }
    }

    /// The name under which reads and writes are remembered.
    pub fn lineage(&self) -> &str {
        match self {
            Self::Human(name) | Self::Agent(name) | Self::World(name) | Self::Stack(name) => name,
            Self::Kernel => "kernel",
        }
    }
}

/// One system call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Chosen by the host.
    pub id: CallId,
    /// Who calls.
    pub caller: Caller,
    /// The name in the table, for example `file.edit`.
    pub verb: String,
    /// The arguments, an object.
    pub args: Value,
    /// A repeated call with the same key gets the first call's result and no second effect.
    pub idempotency: Option<String>,
    /// When the caller stops waiting.
    pub deadline: Timestamp,
}

/// What kind of failure a call ended in. The names are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No such system call, or arguments that do not fit its types.
    Usage,
    /// The gate refused.
    Denied,
    /// The file changed in a way that needs a decision by the caller; `data` holds what it needs.
    Conflict,
    /// The caller must read the file before it replaces it.
    Unread,
    /// The named thing does not exist.
    NotFound,
    /// Larger or more than the limit that the message names.
    TooLarge,
    /// The deadline passed.
    Deadline,
    /// The outside world failed: disk, process, network.
    Failed,
    /// The log accepts no more records; nothing more is acknowledged until a restart.
    Poisoned,
    /// The caller was stopped or killed.
    Stopped,
    /// Too many calls wait; try again later.
    Busy,
}

/// Why a call failed, for people (`message`, `hint`) and programs (`code`, `data`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// The kind of failure.
    pub code: Code,
    /// What happened, one or a few lines.
    pub message: String,
    /// What to do next, where something can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Fields of this kind of failure.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl CallError {
    /// An error without hint or data.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, data: Value::Null }
    }

    /// The same error with a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with fields for programs.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    /// The message and the hint as a person or a model reads them.
    pub fn to_text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}\nHint: {hint}", self.message),
            None => self.message.clone(),
        }
    }
}

/// The arguments of a call that was kept in this blob, once the blob is loaded; `None` if they are lost.
pub(crate) fn kept_arguments(outcome: &Outcome, call_blob: &Hash) -> Option<Value> {
    let Outcome::Observed { blobs, .. } = outcome else { return None };
    serde_json::from_slice(blobs.get(call_blob)?).ok()
}

/// Names of blobs must survive a trip through JSON arguments; this reads one.
pub(crate) fn hash_arg(args: &Value, name: &str) -> Option<Hash> {
    args.get(name)?.as_str()?.parse().ok()
}
