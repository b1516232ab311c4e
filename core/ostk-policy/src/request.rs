//! The inputs of a verdict, exactly as a record keeps them.

use serde::{Deserialize, Serialize};

/// Who asks for what, on which resource, in which context.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// Who.
    pub actor: Actor,
    /// The system call, for example `file.write`.
    pub call: String,
    /// Its capability class.
    pub class: Class,
    /// What it touches.
    pub resource: Resource,
    /// Where the data comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The stack it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Its lineage.
    pub lineage: String,
    /// The pin that bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// What its Agentfile grants; `None` grants whatever the pin leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolGrant>>,
}

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    Human,
    /// An agent.
    Agent,
    /// A deterministic process of cells.
    World,
    /// The kernel itself.
    Kernel,
}

/// A tool class that an Agentfile grants, for every path or for those that match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ToolGrant {
    /// `shell`, `file:read`, `file:edit` or `file:write`.
    pub class: String,
    /// An anchored prefix or glob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// The capability classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Look at a file.
    FileRead,
    /// Change part of a file.
    FileEdit,
    /// Write, delete or rename a file.
    FileWrite,
    /// A command that only reads.
    ShellRead,
    /// A command that writes.
    ShellWrite,
    /// Any command.
    ShellExec,
    /// A command that handles a secret.
    ShellSecret,
    /// Look at the kernel's state.
    KernelRead,
    /// Change the kernel's state.
    KernelWrite,
    /// Start or signal a process.
    KernelSpawn,
    /// Handle a secret.
    KernelSecret,
    /// Call a model.
    ModelCall,
}

/// What a call touches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Resource {
    /// Nothing in particular.
    None,
    /// A workspace path.
    Path(String),
    /// A command line.
    Command(String),
    /// A model.
    Model(String),
    /// A process.
    Agent(String),
    /// A tool.
    Tool(String),
}

impl Resource {
    /// The name as a refusal shows it.
    pub fn name(&self) -> &str {
        match self {
            Self::None => "",
            Self::Path(name)
            | Self::Command(name)
            | Self::Model(name)
            | Self::Agent(name)
            | Self::Tool(name) => name,
        }
    }
}
