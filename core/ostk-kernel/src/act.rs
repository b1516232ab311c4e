//! What the kernel asks its host to do, and what the host answers.
//!
//! An act carries everything it needs: the host looks nothing up and decides nothing. `after` says how far the log must
//! be on its way to the disk before the act may start; the host holds the act until then.

use std::{collections::BTreeMap, sync::Arc};

use ostk_agent::{AgentState, model::ModelReply};
use ostk_log::{Draft, Hash, Timestamp};
use ostk_policy::Bounds;
use serde_json::Value;

use crate::{
    call::{CallError, CallId},
    gatekeeper::Readable,
};

/// Identifies an operation from its start to its outcome.
pub type OpId = u64;

/// Bytes on their way to a pack or a file.
pub type BlobBytes = Arc<[u8]>;

/// One thing the host must do.
#[derive(Clone, Debug)]
pub enum Act {
    /// Append a record, and these blobs in the same group.
    Append {
        /// The record, unsealed.
        draft: Draft,
        /// Bytes that the record names.
        blobs: Vec<(Hash, BlobBytes)>,
        /// What somebody waits for.
        awaited: Awaited,
    },
    /// Start an operation and report its outcome with [`crate::Kernel::complete`].
    Run {
        /// Names the operation.
        id: OpId,
        /// What to do.
        op: Op,
        /// Records that must be durable first.
        after: Option<u64>,
    },
    /// Answer a call.
    Reply {
        /// The call.
        call: CallId,
        /// Its result.
        result: Result<Value, CallError>,
        /// What must be so first.
        after: After,
    },
    /// End what runs under this operation: its process group is killed, its outcome is still reported.
    Abort {
        /// The operation.
        id: OpId,
    },
    /// Stop, continue or ask to end what runs under this operation, with all its processes.
    Signal {
        /// The operation.
        id: OpId,
        /// Which.
        signal: ProcessSignal,
    },
}

impl Act {
    /// What the log must hold before it is carried out.
    pub fn after(&self) -> After {
        match self {
            Self::Run { after, .. } => (*after).into(),
            Self::Reply { after, .. } => *after,
            Self::Append { .. } | Self::Abort { .. } | Self::Signal { .. } => After::Nothing,
        }
    }
}

/// What is done to the processes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessSignal {
    /// They do not run, and their deadline waits, until they are continued.
    Stop,
    /// They run on.
    Continue,
    /// They are asked to end, and killed if they do not.
    Terminate,
}

/// What somebody waits for when a record is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nobody waits: the record need not cause a sync of its own, nor be written at once.
    Nothing,
    /// That the record is written: the death of the daemon does not take it away any more, a power cut may.
    Written,
    /// That the record is durable: a power cut does not take it away any more.
    Durable,
}

/// What must be so before an answer may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// So many records are written, or even durable.
    Written(u64),
    /// So many records are durable.
    Durable(u64),
}

impl From<Option<u64>> for After {
    /// A number of records that must be durable.
    fn from(durable: Option<u64>) -> Self {
        durable.map_or(Self::Nothing, Self::Durable)
    }
}

/// An operation on the outside world.
#[derive(Clone, Debug)]
pub enum Op {
    /// Resolve paths against the workspace: what file would be touched?
    Resolve {
        /// Workspace-relative directory that relative paths start from.
        cwd: String,
        /// Paths as the caller wrote them.
        paths: Vec<String>,
    },
    /// Look at files and load blobs.
    Observe {
        /// Resolved paths.
        paths: Vec<String>,
        /// Blobs to load from the packs.
        blobs: Vec<Hash>,
    },
    /// Put files into place, in order, stopping at the first that cannot be placed.
    Place {
        /// What to place.
        steps: Vec<Found>,
    },
    /// List a directory.
    List {
        /// Resolved path.
        path: String,
    },
    /// Run a command in the sandbox, with a scan of the workspace before and after.
    Shell(Box<Command>),
    /// Scan the workspace for changes made outside the kernel.
    Scan,
    /// Start a background process in the sandbox.
    Start {
        /// Whose it is.
        lineage: String,
        /// Its alias, unique among live processes.
        alias: String,
        /// A command line for `sh -c`.
        command: String,
        /// What the sandbox keeps it to.
        bounds: Box<Bounds>,
        /// Return when this text appears in the output.
        wait_for: Option<String>,
        /// How long to wait for it.
        timeout_ms: u64,
    },
    /// Talk to a background process.
    Interact {
        /// Its alias.
        alias: String,
        /// `read_tail`, `write`, `wait_for`, `kill`, and for the kernel itself `stop` and `continue`.
        action: String,
        /// Text for `write` and `wait_for`.
        input: Option<String>,
        /// How many lines of output to return.
        lines: u64,
        /// Deadline of the interaction.
        timeout_ms: u64,
    },
    /// Search the workspace.
    Search {
        /// The arguments of `search` as the caller gave them, checked against the table.
        query: Value,
        /// Files that may not be read are not searched; the result says how many there are.
        may_read: Box<Readable>,
        /// Deadline.
        timeout_ms: u64,
    },
    /// Say what is known of a model; connects to nothing.
    DescribeModel {
        /// Its name in the Agentfile.
        model: String,
    },
    /// Call a language model with the conversation of this agent.
    Model {
        /// The agent whose conversation is sent; blobs are loaded by the host.
        agent: Box<AgentState>,
        /// When to give up.
        deadline: Timestamp,
        /// Names of the secrets that may be used for it.
        secrets: Vec<String>,
    },
    /// Say what is in quarantine.
    ListQuarantine,
    /// Put something back from quarantine.
    Restore {
        /// Its name there.
        item: String,
    },
    /// Start or end a stack.
    Stack(crate::stacks::StackOp),
    /// Load the policy documents from disk again, and what may be spent in a day.
    LoadDocuments,
}

/// A command for the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Whose it is.
    pub lineage: String,
    /// A command line for `sh -c`.
    pub line: String,
    /// Workspace-relative directory.
    pub cwd: String,
    /// Deadline of the command.
    pub timeout_ms: u64,
    /// What the sandbox keeps it to.
    pub bounds: Bounds,
    /// It is an agent: it gets ways to models and to this system, and the home of this name.
    pub home: Option<String>,
    /// The name under which its caller follows its output and writes its input.
    pub stream: Option<String>,
    /// Lines and columns of its terminal, if it shall have one.
    pub window: Option<(u16, u16)>,
    /// Note what it asks the system for.
    pub observe: bool,
}

/// A file as it is, or shall be: `None` is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Resolved path.
    pub path: String,
    /// What must be there now; the step fails if it is not.
    pub expected: Option<Hash>,
    /// What shall be there.
    pub wanted: Option<(BlobBytes, bool)>,
}

/// Why a path names nothing in the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// It leads out of the workspace: an attempt that is recorded as refused, not a slip of the pen.
    pub outside: bool,
    /// What is wrong with it.
    pub message: String,
}

/// A file as the host saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing there.
    Absent,
    /// A regular file.
    File {
        /// Its digest.
        hash: Hash,
        /// Its bytes.
        bytes: BlobBytes,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// A regular file that holds secrets: its bytes stay outside.
    Withheld {
        /// Their names.
        secrets: Vec<String>,
    },
    /// Something that cannot be read as a file, and why.
    Unreadable(String),
}

/// How placing files went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Every step is done.
    All,
    /// `done` steps are done; the next one found something unexpected and left it in place.
    Displaced {
        /// Steps carried out.
        done: usize,
    },
    /// `done` steps are done; the next one failed.
    Failed {
        /// Steps carried out.
        done: usize,
        /// Why.
        reason: String,
    },
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellEnd {
    /// Exit code, or 128 + signal.
    pub exit: i32,
    /// The deadline passed and the process group was killed.
    pub timed_out: bool,
    /// Captured standard output, bounded.
    pub stdout: Vec<u8>,
    /// Captured standard error, bounded.
    pub stderr: Vec<u8>,
    /// Bytes that did not fit.
    pub dropped_bytes: u64,
    /// Wall clock.
    pub duration_ms: u64,
    /// What the host did about it, in lines: also at the end of `stderr`.
    pub remarks: Vec<String>,
    /// What it asked for, when it was observed: the member `observed` of the result of `process.learn`.
    pub observed: Option<Value>,
}

/// What is known of a model before it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// Tokens that its context window holds.
    pub context_window: u64,
    /// Whether the price of a call can be told.
    pub has_price: bool,
}

/// Why a model call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFailure {
    /// What happened, without credentials.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Milliseconds that the vendor asked to wait; where the same call would not succeed soon, after which it may.
    pub retry_after_ms: Option<u64>,
    /// Whether the vendor may have done the work and charged for it.
    pub unsettled: bool,
}

/// What an operation came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// [`Op::Resolve`]: for each path the resolved path, or why it has none.
    Resolved(Vec<Result<String, Unresolved>>),
    /// [`Op::Observe`].
    Observed {
        /// By path.
        files: BTreeMap<String, Seen>,
        /// By digest; a blob that no pack holds is missing here, and beside files one that holds a secret.
        blobs: BTreeMap<Hash, BlobBytes>,
    },
    /// [`Op::Place`].
    Placed(Placed),
    /// [`Op::List`]: names, directories with a trailing slash.
    Listed(Result<Vec<String>, String>),
    /// [`Op::Shell`].
    Shell {
        /// How it ended, or why it could not start.
        end: Result<ShellEnd, String>,
        /// Paths found changed before the command started.
        before: Vec<String>,
        /// Paths found changed after it.
        after: Vec<String>,
    },
    /// [`Op::Scan`]: changed paths.
    Scanned(Result<Vec<String>, String>),
    /// [`Op::Start`], [`Op::Interact`], [`Op::Search`], [`Op::ListQuarantine`], [`Op::Restore`]: a JSON result.
    Json(Result<Value, CallError>),
    /// [`Op::DescribeModel`]: or why no call can reach it.
    Described(Result<ModelFacts, String>),
    /// [`Op::Model`]: the reply and its price in millionths of a dollar.
    Model(Result<(ModelReply, Option<u64>), ModelFailure>),
    /// [`Op::LoadDocuments`].
    Documents {
        /// The documents that govern.
        documents: Box<ostk_policy::Documents>,
        /// What the settings allow to be spent in a day, or what is wrong with them.
        allowance: Result<crate::budget::Allowance, String>,
    },
}
