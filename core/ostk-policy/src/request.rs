//! The question the gate answers: who does what, on which resource, in which context.
//!
//! A [`Request`] is everything a verdict depends on besides the documents. The kernel writes it into the record of
//! every call it admits or refuses, so that anyone can compute the verdict again. Unknown members are refused when
//! it is read back: a request that is only half understood must not be judged. Nothing here decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    consent::{DestructiveOps, Mode},
    grant::ToolGrant,
};

/// What kind of actor asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person: the operator.
    Human,
    /// A coding agent, native or foreign.
    Agent,
    /// A deterministic world.
    World,
    /// The kernel itself.
    Kernel,
}

impl ActorKind {
    /// The name as in a record's `actor`, for example `agent`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::World => "world",
            Self::Kernel => "kernel",
        }
    }
}

/// Who asks, and what bounds the asker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Its stable name, for example `worker-b`.
    pub lineage: String,
    /// The pin that bounds it: a name under `.ostk/pins/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// The TOOL grants and path LIMITs of its Agentfile; `None` when no Agentfile bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolGrant>>,
    /// What it may do without asking; the documents' mode holds as well, and the stricter of the two counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What becomes of its destructive commands; the stricter of this and the documents' word counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_ops: Option<DestructiveOps>,
}

impl Actor {
    /// An actor that nothing bounds but the documents' general rules.
    pub fn new(kind: ActorKind, lineage: impl Into<String>) -> Self {
        Self { kind, lineage: lineage.into(), pin: None, tools: None, mode: None, destructive_ops: None }
    }
}

/// The capability class of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Read a file or list a directory.
    FileRead,
    /// Change a part of a file.
    FileEdit,
    /// Create, replace, rename or delete a file.
    FileWrite,
    /// Run a command known to read only.
    ShellRead,
    /// Run a command known to write files.
    ShellWrite,
    /// Run any command.
    ShellExec,
    /// Run a command that sees a secret.
    ShellSecret,
    /// Read the kernel's state.
    KernelRead,
    /// Change the kernel's state: notes, locks, sessions, policy.
    KernelWrite,
    /// Start or signal an agent.
    KernelSpawn,
    /// Read a secret from the kernel.
    KernelSecret,
    /// Call a language model.
    ModelCall,
    /// Reach a host over the network.
    NetConnect,
}

impl Class {
    /// Every class, in order.
    pub const ALL: [Self; 13] = [
        Self::FileRead,
        Self::FileEdit,
        Self::FileWrite,
        Self::ShellRead,
        Self::ShellWrite,
        Self::ShellExec,
        Self::ShellSecret,
        Self::KernelRead,
        Self::KernelWrite,
        Self::KernelSpawn,
        Self::KernelSecret,
        Self::ModelCall,
        Self::NetConnect,
    ];

    /// The name as in a record and in Cedar's `Action::"…"`, for example `file_write`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FileRead => "file_read",
            Self::FileEdit => "file_edit",
            Self::FileWrite => "file_write",
            Self::ShellRead => "shell_read",
            Self::ShellWrite => "shell_write",
            Self::ShellExec => "shell_exec",
            Self::ShellSecret => "shell_secret",
            Self::KernelRead => "kernel_read",
            Self::KernelWrite => "kernel_write",
            Self::KernelSpawn => "kernel_spawn",
            Self::KernelSecret => "kernel_secret",
            Self::ModelCall => "model_call",
            Self::NetConnect => "net_connect",
        }
    }

    /// Whether the call changes nothing and starts nothing. Such calls go on under the last good policy while the
    /// documents on disk are malformed.
    pub const fn is_read(self) -> bool {
        matches!(self, Self::FileRead | Self::KernelRead)
    }

    /// Whether the class is about one file of the workspace, so that the resource must be a path.
    pub(crate) const fn is_file(self) -> bool {
        matches!(self, Self::FileRead | Self::FileEdit | Self::FileWrite)
    }

    pub(crate) const fn is_file_write(self) -> bool {
        matches!(self, Self::FileEdit | Self::FileWrite)
    }

    pub(crate) const fn is_shell(self) -> bool {
        matches!(self, Self::ShellRead | Self::ShellWrite | Self::ShellExec | Self::ShellSecret)
    }
}

/// What the call acts on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Resource {
    /// Nothing in particular.
    None,
    /// A path relative to the workspace, normalised, `/` between components; `""` is the root.
    Path(String),
    /// A command line for `sh -c`.
    Command(String),
    /// A language model.
    Model(String),
    /// A lineage.
    Agent(String),
    /// A tool or a background process.
    Tool(String),
    /// A host and a port, `example.org:443`; an IPv6 address stands in brackets.
    Host(String),
}

/// One argument of a call, as far as rules may look at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text of at most [`MAX_ARGUMENT_BYTES`].
    Text(String),
    /// Several texts, together at most [`MAX_ARGUMENT_BYTES`].
    Texts(Vec<String>),
    /// An argument that is too long or too deep to be judged. A rule that asks for it cannot be evaluated, so it denies.
    Withheld {
        /// Its size as JSON.
        withheld_bytes: u64,
    },
}

/// Longest argument that a rule sees: addresses, names, amounts. Bodies are longer, and no rule can judge those.
pub const MAX_ARGUMENT_BYTES: usize = 1_024;

/// Most arguments of a call that rules see; a call with more is refused where a rule looks at arguments.
pub const MAX_ARGUMENTS: usize = 64;

/// The inputs of a verdict, as a record keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who asks.
    pub actor: Actor,
    /// The system call, dotted: `file.write`.
    pub call: String,
    /// Its capability class.
    pub class: Class,
    /// What it acts on.
    pub resource: Resource,
    /// Provenance labels of the data involved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The stack the actor runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The task that the actor works on, as the session names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The arguments that rules may look at; a member of an object is named with a dot, `message.to`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Argument>,
    /// The record by which a person consented to exactly this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<u64>,
}

impl Request {
    /// A request without labels, stack, task, arguments and consent.
    pub fn new(actor: Actor, call: impl Into<String>, class: Class, resource: Resource) -> Self {
        Self {
            actor,
            call: call.into(),
            class,
            resource,
            labels: Vec::new(),
            stack: None,
            task: None,
            args: BTreeMap::new(),
            approved: None,
        }
    }

    /// The path this request is about, if it is about one. A read of files that names no path, such as a search,
    /// is about the whole workspace.
    pub(crate) fn path(&self) -> Option<&str> {
        match &self.resource {
            Resource::Path(path) => Some(path),
            Resource::None if self.class == Class::FileRead => Some(""),
            _ => None,
        }
    }

    /// The host and port this request is about, if it is about one.
    pub(crate) fn host(&self) -> Option<&str> {
        match &self.resource {
            Resource::Host(target) => Some(target),
            _ => None,
        }
    }

    /// The command line this request is about, if it is about one.
    pub(crate) fn command(&self) -> Option<&str> {
        match &self.resource {
            Resource::Command(command) => Some(command),
            _ => None,
        }
    }
}
