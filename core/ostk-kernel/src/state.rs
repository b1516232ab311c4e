//! The fold: everything the kernel knows, built from records and nothing else.
//!
//! Only ordered maps, integers and strings live here, so that the serialized state has one form and [`State::hash`]
//! is the same on every machine. What is in flight (queues, open calls) is not state and lives in `kernel`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ostk_agent::AgentState;
use ostk_log::{Draft, Hash, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Change, Event, FileImage};

/// Results of calls with an idempotency key that are kept; an agent repeats a call within one turn, never 10,000 later.
const MAX_KEYS: usize = 10_000;
/// Versions kept for one file; older lines are blamed on the oldest version kept.
const MAX_VERSIONS: usize = 4_096;
/// Files that one lineage is remembered to have read; the oldest read is forgotten first.
const MAX_READS: usize = 10_000;
/// Open conflicts kept; the oldest is forgotten first and its token stops working.
const MAX_CONFLICTS: usize = 1_024;
/// Notes kept for display.
const MAX_NOTES: usize = 256;

/// The state of the system after some record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Sequence number of the next record.
    pub next_seq: u64,
    /// Time of the last record.
    pub last_ts: Timestamp,
    /// Epoch of the anchor that wrote it.
    pub epoch: u64,
    /// Fingerprint of the active policy and its documents.
    pub policy: Option<(Hash, Hash)>,
    /// Every file the kernel has touched.
    pub files: BTreeMap<String, FileEntry>,
    /// Every lineage that ever was.
    pub lineages: BTreeMap<String, Lineage>,
    /// Native agents.
    pub agents: BTreeMap<String, AgentState>,
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
    /// Results by idempotency key.
    pub keys: BTreeMap<String, Keyed>,
    /// The last notes: (sequence number, actor, blob).
    pub notes: VecDeque<(u64, String, Hash)>,
    /// Undelivered messages, by lineage: (from, blob).
    pub nudges: BTreeMap<String, Vec<(String, Hash)>>,
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
    pub history: Vec<Version>,
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
}

/// A write in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWrite {
    /// Who writes.
    pub actor: String,
    /// The lineage whose beliefs follow.
    pub lineage: String,
    /// What.
    pub changes: Vec<Change>,
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
    /// The kind of record: `write`, `conflict`, `shell`.
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
    /// Its calls are held.
    Stopped,
    /// It ended.
    Exited,
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
    /// What it believes the files to be.
    pub reads: BTreeMap<String, Read>,
    /// Writes acknowledged to it.
    pub writes: u64,
    /// Calls refused to it.
    pub denied: u64,
    /// Sequence number of its first session's record.
    pub since: u64,
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
    let fail = |what: String| FoldError { seq: draft.seq, what };
    if draft.seq != state.next_seq {
        return Err(fail(format!("expected sequence number {}", state.next_seq)));
    }
    let event = crate::log_view::event_of(draft).map_err(fail)?;
    state.next_seq += 1;
    state.last_ts = draft.ts;
    state.epoch = draft.epoch;
    state.apply(draft.seq, draft.ts, &draft.actor, event).map_err(fail)
}

impl State {
    /// SHA-256 over the serialized state: equal for equal logs.
    pub fn hash(&self) -> Hash {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        debug_assert!(!bytes.is_empty(), "the state holds only maps with string keys and integers");
        Hash::of(&bytes)
    }

    /// The generation of a path, 0 if it was never touched.
    pub fn generation(&self, path: &str) -> u64 {
        self.files.get(path).map_or(0, |entry| entry.generation)
    }

    pub(crate) fn apply(&mut self, seq: u64, ts: Timestamp, actor: &str, event: Event) -> Result<(), String> {
        match event {
            Event::AnchorStarted { .. } => self.forget_clients(),
            Event::PolicyLoaded { fingerprint, documents_blob } => {
                self.policy = Some((fingerprint, documents_blob))
            }
            Event::SessionStarted { lineage, kind, pin, client } => {
                self.session(seq, lineage, kind, pin, client)
            }
            Event::SessionEnded { lineage } => self.set_state(&lineage, LineageState::Exited),
            Event::GateDenied { .. } => {
                self.counts.denied += 1;
                if let Some(lineage) = self.lineage_of(actor) {
                    lineage.denied += 1;
                }
            }
            Event::FileRead { path, image, .. } => {
                self.know(seq, ts, &path, Some(image), "initial");
                self.believe(seq, name_of(actor), &path, image.blob);
            }
            Event::WriteIntent { changes, key, token, .. } => {
                let lineage = name_of(actor).to_owned();
                self.open_writes
                    .insert(seq, OpenWrite { actor: actor.to_owned(), lineage, changes, ts, key, token });
            }
            Event::WriteReceipt { intent, done, problem } => self.settle(seq, intent, done, problem)?,
            Event::FileConflict { token, path, current_blob, proposed_blob, candidate_blob, key, .. } => {
                self.counts.conflicts += 1;
                let facts = serde_json::json!({ "path": path, "token": token });
                self.remember(key, seq, "conflict", false, facts);
                if let (Some(token), Some(candidate)) = (token, candidate_blob) {
                    let lineage = name_of(actor).to_owned();
                    let conflict = Conflict {
                        seq,
                        lineage,
                        path,
                        current: current_blob,
                        candidate,
                        proposed: proposed_blob,
                    };
                    self.conflicts.insert(token, conflict);
                    forget_oldest(&mut self.conflicts, MAX_CONFLICTS, |c| c.seq);
                }
            }
            Event::FileForeign { change, .. } => {
                self.counts.foreign += 1;
                self.know(seq, ts, &change.path, change.before, "initial");
                self.advance(seq, ts, actor, &change);
            }
            Event::ShellIntent { key, .. } => {
                self.open_shells.insert(seq, OpenShell { actor: actor.to_owned(), key });
            }
            Event::ShellReceipt {
                intent,
                exit,
                timed_out,
                stdout_blob,
                stderr_blob,
                changed,
                problem,
                ..
            } => {
                let shell =
                    self.open_shells.remove(&intent).ok_or("a command's receipt without its intent")?;
                let facts = serde_json::json!({ "intent": intent, "exit": exit, "timed_out": timed_out,
                    "stdout_blob": stdout_blob, "stderr_blob": stderr_blob, "changed": changed, "problem": problem });
                self.remember(shell.key, seq, "shell", exit.is_some(), facts);
            }
            Event::ProcessIntent { alias, .. } => {
                self.processes.insert(alias, (name_of(actor).to_owned(), seq));
            }
            Event::ProcessEnded { alias, .. } => {
                self.processes.remove(&alias);
            }
            Event::LockChanged { name, holder, until } => match (holder, until) {
                (Some(holder), Some(until)) => {
                    self.locks.insert(name, Lock { holder, until });
                }
                _ => {
                    self.locks.remove(&name);
                }
            },
            Event::NoteAdded { text_blob } => {
                self.notes.push_back((seq, actor.to_owned(), text_blob));
                if self.notes.len() > MAX_NOTES {
                    self.notes.pop_front();
                }
            }
            Event::NudgeSent { to, text_blob } => {
                self.nudges.entry(to).or_default().push((actor.to_owned(), text_blob));
            }
            Event::AgentStep { lineage, step } => self.agent_step(seq, ts, lineage, &step)?,
            Event::AgentSignalled { lineage, signal } => self.signalled(&lineage, &signal),
            Event::AnchorStopped { .. }
            | Event::PolicyRejected { .. }
            | Event::SearchReceipt { .. }
            | Event::CallReceipt { .. } => {}
        }
        Ok(())
    }

    fn forget_clients(&mut self) {
        for lineage in self.lineages.values_mut() {
            if lineage.kind == LineageKind::Client && lineage.state == LineageState::Running {
                lineage.state = LineageState::Exited;
            }
        }
    }

    fn session(
        &mut self,
        seq: u64,
        name: String,
        kind: LineageKind,
        pin: Option<String>,
        client: Option<String>,
    ) {
        let lineage = self.lineages.entry(name).or_insert_with(|| Lineage {
            kind,
            generation: 0,
            state: LineageState::Running,
            pin: None,
            client: None,
            reads: BTreeMap::new(),
            writes: 0,
            denied: 0,
            since: seq,
        });
        lineage.kind = kind;
        lineage.generation += 1;
        lineage.state = LineageState::Running;
        lineage.pin = pin;
        lineage.client = client;
    }

    fn agent_step(
        &mut self,
        seq: u64,
        ts: Timestamp,
        name: String,
        step: &ostk_agent::AgentEvent,
    ) -> Result<(), String> {
        let agent = self.agents.entry(name.clone()).or_default();
        agent.apply(seq, ts, step).map_err(|error| error.to_string())?;
        if agent.is_finished() {
            self.set_state(&name, LineageState::Exited);
        }
        if matches!(step, ostk_agent::AgentEvent::ToolReceipt { .. }) {
            self.nudges.remove(&name);
        }
        Ok(())
    }

    fn signalled(&mut self, lineage: &str, signal: &str) {
        match signal {
            "SIGSTOP" => self.set_state(lineage, LineageState::Stopped),
            "SIGCONT" => self.set_state(lineage, LineageState::Running),
            _ => {}
        }
    }

    fn set_state(&mut self, name: &str, state: LineageState) {
        if let Some(lineage) = self.lineages.get_mut(name) {
            lineage.state = state;
        }
        if state == LineageState::Exited {
            self.locks.retain(|_, lock| lock.holder != name);
        }
    }

    fn lineage_of(&mut self, actor: &str) -> Option<&mut Lineage> {
        self.lineages.get_mut(name_of(actor))
    }

    /// The first sight of a file makes generation 1.
    fn know(&mut self, seq: u64, ts: Timestamp, path: &str, image: Option<FileImage>, writer: &str) {
        if image.is_none() || self.files.contains_key(path) {
            return;
        }
        let version = Version { generation: 1, seq, ts, writer: writer.to_owned(), image };
        let entry = FileEntry { generation: 1, image, history: vec![version] };
        self.files.insert(path.to_owned(), entry);
    }

    fn believe(&mut self, seq: u64, lineage: &str, path: &str, blob: Hash) {
        let generation = self.generation(path);
        if let Some(lineage) = self.lineages.get_mut(lineage) {
            lineage.reads.insert(path.to_owned(), Read { blob, generation, seq });
            forget_oldest(&mut lineage.reads, MAX_READS, |read| read.seq);
        }
    }

    fn advance(&mut self, seq: u64, ts: Timestamp, writer: &str, change: &Change) {
        let entry = self.files.entry(change.path.clone()).or_insert_with(|| FileEntry {
            generation: 0,
            image: None,
            history: Vec::new(),
        });
        entry.generation += 1;
        entry.image = change.after;
        let version =
            Version { generation: entry.generation, seq, ts, writer: writer.to_owned(), image: change.after };
        entry.history.push(version);
        if entry.history.len() > MAX_VERSIONS {
            entry.history.remove(0);
        }
    }

    fn settle(&mut self, seq: u64, intent: u64, done: bool, problem: Option<String>) -> Result<(), String> {
        let write = self.open_writes.remove(&intent).ok_or("a write's receipt without its intent")?;
        let mut paths = Vec::new();
        for change in &write.changes {
            self.know(intent, write.ts, &change.path, change.before, "initial");
            if !done {
                continue;
            }
            self.advance(intent, write.ts, &write.actor, change);
            match change.belief_blob.or(change.after.map(|image| image.blob)) {
                Some(blob) => self.believe(intent, &write.lineage, &change.path, blob),
                None => self.disbelieve(&write.lineage, &change.path),
            }
            paths.push(serde_json::json!({ "path": change.path, "generation": self.generation(&change.path),
                "merged": change.merged, "blob": change.after.map(|image| image.blob) }));
        }
        if done {
            if let Some(token) = &write.token {
                self.conflicts.remove(token);
            }
            self.counts.writes += 1;
            self.counts.merged += u64::from(write.changes.iter().any(|change| change.merged));
            if let Some(lineage) = self.lineages.get_mut(&write.lineage) {
                lineage.writes += 1;
            }
        }
        let facts = serde_json::json!({ "intent": intent, "files": paths, "problem": problem });
        self.remember(write.key, seq, "write", done, facts);
        Ok(())
    }

    fn disbelieve(&mut self, lineage: &str, path: &str) {
        if let Some(lineage) = self.lineages.get_mut(lineage) {
            lineage.reads.remove(path);
        }
    }

    fn remember(&mut self, key: Option<String>, seq: u64, kind: &str, done: bool, facts: Value) {
        if let Some(key) = key {
            self.keys.insert(key, Keyed { seq, kind: kind.to_owned(), done, facts });
            forget_oldest(&mut self.keys, MAX_KEYS, |keyed| keyed.seq);
        }
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

/// Removes the entry with the lowest sequence number while there are more than `limit`.
///
/// One insertion exceeds the limit by one, so the scan runs at most once per insertion beyond it.
fn forget_oldest<V>(map: &mut BTreeMap<String, V>, limit: usize, seq: impl Fn(&V) -> u64) {
    while map.len() > limit {
        let oldest = map.iter().min_by_key(|(_, value)| seq(value)).map(|(key, _)| key.clone());
        let Some(oldest) = oldest else { return };
        map.remove(&oldest);
    }
}
