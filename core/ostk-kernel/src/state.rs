//! The fold: everything the kernel knows, built from records and nothing else.
//!
//! Only ordered maps, integers and strings live here, so that the serialized state has one form and [`State::hash`]
//! is the same on every machine. How each record changes it is in `apply`. What is in flight (queues, open calls) is not
//! state and lives in `kernel`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ostk_agent::AgentState;
use ostk_log::{Draft, Hash, Header, Timestamp};
use ostk_policy::Mode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    approvals::Approval,
    event::{Change, Event, FileImage},
    lineages::Revival,
    log_view,
    panic::Panic,
    signals::Signals,
};

/// The state of the system after some record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Sequence number of the next record.
    pub next_seq: u64,
    /// Time of the last record.
    pub last_ts: Timestamp,
    /// Epoch of the anchor that wrote it.
    pub epoch: u64,
    /// The last daemon let the journal go in good order, so that no record was lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// Fingerprint of the active policy and its documents.
    pub policy: Option<(Hash, Hash)>,
    /// Every file the kernel has touched.
    pub files: BTreeMap<String, FileEntry>,
    /// Every lineage that ever was.
    pub lineages: BTreeMap<String, Lineage>,
    /// Native agents.
    pub agents: BTreeMap<String, AgentState>,
    /// Pipes between processes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pipes: BTreeMap<String, crate::pipes::Pipe>,
    /// Sagas, by their first record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sagas: BTreeMap<u64, crate::sagas::Saga>,
    /// Processes that are started again when they end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub supervised: BTreeMap<String, crate::supervise::Supervision>,
    /// How the model calls of all of them fare, by model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lanes: BTreeMap<String, crate::lanes::Lane>,
    /// What was spent today, and may be.
    #[serde(default, skip_serializing_if = "crate::budget::Spending::is_plain")]
    pub spending: crate::budget::Spending,
    /// Sub-stacks that ever were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stacks: BTreeMap<String, crate::stacks::Stack>,
    /// The stack that this log is of, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<crate::stacks::Within>,
    /// Writes whose receipt is missing, by the intent's sequence number.
    pub open_writes: BTreeMap<u64, OpenWrite>,
    /// Commands whose receipt is missing, by the intent's sequence number.
    pub open_shells: BTreeMap<u64, OpenShell>,
    /// Background processes that are thought alive: alias to (lineage, sequence number of the intent).
    pub processes: BTreeMap<String, (String, u64)>,
    /// Conflicts that wait for a decision, by token.
    pub conflicts: BTreeMap<String, Conflict>,
    /// Advisory locks.
    pub locks: BTreeMap<String, Lock>,
    /// Questions to people and their answers, by the question's sequence number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approvals: BTreeMap<u64, Approval>,
    /// Results by idempotency key.
    pub keys: BTreeMap<String, Keyed>,
    /// The last notes: (sequence number, actor, blob).
    pub notes: VecDeque<(u64, String, Hash)>,
    /// Undelivered messages, by lineage: (from, blob).
    pub nudges: BTreeMap<String, Vec<(String, Hash)>>,
    /// Needles, hay and decisions.
    #[serde(default, skip_serializing_if = "ostk_work::Board::is_empty")]
    pub work: ostk_work::Board,
    /// Spawns that wait for a place, by the name of their lineage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queue: BTreeMap<String, crate::places::QueuedSpawn>,
    /// What is done at a time, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timers: BTreeMap<String, crate::timers::Timer>,
    /// Native agents that are given needles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workers: BTreeMap<String, crate::workers::Worker>,
    /// The operator's keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trust: crate::trust::TrustedKeys,
    /// Everything stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic: Option<Panic>,
    /// Counts for the summary.
    pub counts: Counts,
}

/// Totals since the first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Writes whose files are in place.
    pub writes: u64,
    /// Of these, writes that took in another writer's change.
    pub merged: u64,
    /// Conflicts handed back.
    pub conflicts: u64,
    /// Calls refused by the gate.
    pub denied: u64,
    /// Changes made outside the kernel.
    pub foreign: u64,
}

/// What the kernel knows about one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Rises by one with each change; 1 is the first version seen.
    pub generation: u64,
    /// What is there; `None` is deleted.
    pub image: Option<FileImage>,
    /// Every version, oldest first.
    #[serde(with = "crate::files::columns")]
    pub history: Vec<Version>,
    /// Labels of the data in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
}

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its generation.
    pub generation: u64,
    /// The record that made it known: a read, a write's intent, or a foreign change.
    pub seq: u64,
    /// When.
    pub ts: Timestamp,
    /// Who wrote it: an actor, or `initial` for what was there first.
    pub writer: String,
    /// What it was; `None` is deleted.
    pub image: Option<FileImage>,
    /// It was made outside the kernel; if it is the first version, what was there before is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// A write in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWrite {
    /// Who writes.
    pub actor: String,
    /// The lineage whose beliefs follow, unless it has forgotten meanwhile.
    pub lineage: String,
    /// Since when that lineage knew what it knew.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub knows_since: u64,
    /// What.
    pub changes: Vec<Change>,
    /// Bytes that are charged to a native agent.
    #[serde(default)]
    pub bytes: u64,
    /// The call gave the whole file, so that its caller knows all of what it wrote.
    pub whole: bool,
    /// When the intent was written.
    pub ts: Timestamp,
    /// Idempotency key.
    pub key: Option<String>,
    /// The conflict that it settles.
    pub token: Option<String>,
}

/// A command in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenShell {
    /// Who runs it.
    pub actor: String,
    /// Idempotency key.
    pub key: Option<String>,
}

/// A write that was handed back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Sequence number of the record.
    pub seq: u64,
    /// Whose write.
    pub lineage: String,
    /// Workspace path.
    pub path: String,
    /// The version the candidate was made against.
    pub current: Hash,
    /// The ready merge.
    pub candidate: Hash,
    /// What the caller wanted there.
    pub proposed: Hash,
}

/// An advisory lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Who holds it.
    pub holder: String,
    /// When it lapses.
    pub until: Timestamp,
}

/// The result of a call that carried an idempotency key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keyed {
    /// The record that settled it; the oldest is forgotten first.
    pub seq: u64,
    /// The kind of record: `write`, `conflict`, `shell`, `process`, or `call` for anything else.
    pub kind: String,
    /// Whether the effect is there.
    pub done: bool,
    /// What a repeat is told.
    pub facts: Value,
}

/// What kind of process a lineage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineageKind {
    /// A native agent inside the daemon.
    Native,
    /// A client speaking MCP, JSON-RPC or hooks.
    Client,
    /// A person.
    Human,
}

/// Where a lineage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineageState {
    /// It may call.
    Running,
    /// It and everything that runs for it is held.
    Stopped,
    /// What it does goes on to its end, its next call is held.
    Frozen,
    /// It was asked to end and finishes what it is doing.
    Exiting,
    /// The daemon that it ran in is gone, and nobody has said yet what becomes of it.
    Orphaned,
    /// It ended.
    Exited,
}

impl LineageState {
    /// The word for it, as in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Frozen => "frozen",
            Self::Exiting => "exiting",
            Self::Orphaned => "orphaned",
            Self::Exited => "exited",
        }
    }

    /// Whether its calls are held.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Stopped | Self::Frozen | Self::Orphaned)
    }

    /// Whether a process may come from this state into that one.
    pub const fn may_become(self, next: Self) -> bool {
        use LineageState::{Exited, Exiting, Frozen, Orphaned, Running, Stopped};
        match (self, next) {
            (Running, Stopped | Frozen | Exiting | Orphaned | Exited)
            | (Stopped | Frozen, Running | Exiting | Orphaned | Exited)
            | (Frozen, Stopped)
            | (Orphaned, Running | Stopped | Frozen | Exiting | Exited)
            | (Exiting, Exited)
            // A new session of the lineage.
            | (Exited, Running) => true,
            _ => self as u8 == next as u8,
        }
    }
}

/// One line of work, across its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// What it is.
    pub kind: LineageKind,
    /// Rises with each session.
    pub generation: u64,
    /// Where it stands.
    pub state: LineageState,
    /// The pin that bounds it.
    pub pin: Option<String>,
    /// What the client calls itself.
    pub client: Option<String>,
    /// What it may do without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The task that it works on, as rules name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Labels of the data that it has seen.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// What it believes the files to be.
    pub reads: BTreeMap<String, Read>,
    /// The record since which it has seen what it knows; a call that was made before it speaks for one who forgot.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub knows_since: u64,
    /// Writes acknowledged to it.
    pub writes: u64,
    /// Calls refused to it.
    pub denied: u64,
    /// Sequence number of its first session's record.
    pub since: u64,
    /// When its last session began.
    #[serde(default)]
    pub started: Timestamp,
    /// Who started it, if that is another lineage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What becomes of it when the daemon that it ran in is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revival: Option<Revival>,
    /// The state in which it was orphaned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphaned_from: Option<LineageState>,
    /// Its signals.
    #[serde(default, skip_serializing_if = "Signals::is_plain")]
    pub signals: Signals,
}

impl Lineage {
    /// One that has had no session yet; `since` is the record of its first.
    pub(crate) fn new(kind: LineageKind, since: u64) -> Self {
        Self {
            kind,
            generation: 0,
            state: LineageState::Running,
            pin: None,
            client: None,
            mode: None,
            task: None,
            labels: BTreeSet::new(),
            reads: BTreeMap::new(),
            knows_since: 0,
            writes: 0,
            denied: 0,
            since,
            started: Timestamp::default(),
            parent: None,
            revival: None,
            orphaned_from: None,
            signals: Signals::default(),
        }
    }

    /// Whoever goes on under this name has seen nothing yet, and what calls under way see, it does not see.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.reads.clear();
        self.knows_since = seq;
    }
}

/// What a lineage last saw of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The bytes it believes to be there.
    pub blob: Hash,
    /// The generation it was told.
    pub generation: u64,
    /// When it saw them.
    pub seq: u64,
    /// Its session then: a new session has an empty context, so that the file is sent to it again.
    pub session: u64,
    /// Whether it has seen all lines.
    pub whole: bool,
    /// Digest of the idempotency key of the call that sent them; a repetition of that call is answered in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Hash>,
}

/// A record that does not fit the state it is folded into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} cannot be folded: {what}")]
pub struct FoldError {
    seq: u64,
    what: String,
}

/// Folds one record into the state.
///
/// # Errors
/// When the sequence number is not the next one, or the event is unknown or malformed: the log was written by a newer
/// version, or not by ostk.
pub fn fold(state: &mut State, draft: &Draft) -> Result<(), FoldError> {
    let at = (draft.seq, draft.ts, draft.epoch);
    step(state, at, &draft.actor, || log_view::event_of(draft))
}

/// Folds the record of a line (without its newline) into the state. Its place in the chain and its signature are not
/// looked at: recovery and `ostk audit verify` do that.
///
/// # Errors
/// As [`fold`], and when the line is no record.
pub fn fold_line(state: &mut State, line: &[u8]) -> Result<(), FoldError> {
    let header =
        Header::scan(line).map_err(|error| FoldError { seq: state.next_seq, what: error.to_string() })?;
    let at = (header.seq, header.ts, header.epoch);
    step(state, at, header.actor, || log_view::event_of_line(&header))
}

fn step(
    state: &mut State,
    (seq, ts, epoch): (u64, Timestamp, u64),
    actor: &str,
    event: impl FnOnce() -> Result<Event, String>,
) -> Result<(), FoldError> {
    let fail = |what: String| FoldError { seq, what };
    if seq != state.next_seq {
        return Err(fail(format!("expected sequence number {}", state.next_seq)));
    }
    let event = event().map_err(fail)?;
    state.next_seq += 1;
    state.last_ts = ts;
    state.epoch = epoch;
    state.apply(seq, ts, actor, event).map_err(fail)
}

impl State {
    /// SHA-256 over the serialized state: equal for equal logs.
    pub fn hash(&self) -> Hash {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        debug_assert!(!bytes.is_empty(), "the state holds only maps with string keys and integers");
        Hash::of(&bytes)
    }

    /// The record since which a lineage has seen what it knows.
    pub(crate) fn knows_since(&self, lineage: &str) -> u64 {
        self.lineages.get(lineage).map_or(0, |known| known.knows_since)
    }

    /// The generation of a path, 0 if it was never touched.
    pub fn generation(&self, path: &str) -> u64 {
        self.files.get(path).map_or(0, |entry| entry.generation)
    }

    /// Lineages other than `writer` that believe something else of `path` than what is there now.
    pub fn stale_readers(&self, path: &str, writer: &str) -> BTreeSet<String> {
        let current = self.files.get(path).and_then(|entry| entry.image).map(|image| image.blob);
        let stale = |(name, lineage): &(&String, &Lineage)| {
            *name != writer && lineage.reads.get(path).is_some_and(|read| Some(read.blob) != current)
        };
        self.lineages.iter().filter(stale).map(|(name, _)| name.clone()).collect()
    }
}

/// The lineage in an actor such as `agent:worker-a`.
pub(crate) fn name_of(actor: &str) -> &str {
    actor.split_once(':').map_or(actor, |(_, name)| name)
}
