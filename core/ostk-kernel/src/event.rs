//! The closed set of events: what a record's `event` and `body` may be.
//!
//! A body holds names, numbers and the digests of blobs, never the bytes of a prompt, a file or an output. A member
//! that names a blob is called `blob` or ends in `_blob`: recovery relies on it.

use std::collections::BTreeMap;

use ostk_agent::AgentEvent;
use ostk_log::{Hash, KeyId, Timestamp};
use ostk_policy::{Mode, Request};
use ostk_work::{AcResult, Change as NeedleChange, Links, NeedleId, Priority};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    approvals::Scope,
    budget::{Allowance, Charge},
    lineages::{Resolution, Revival},
    pipes::End,
    sagas::{SagaState, StepChange, StepPlan},
    signals::Disposition,
    stacks::{Attestation, Within},
    state::LineageKind,
    supervise::Terms,
};

/// The bytes and the mode of a file at one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileImage {
    /// Digest of its bytes.
    pub blob: Hash,
    /// Whether its owner may execute it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// One file before and after: absent is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Workspace path.
    pub path: String,
    /// What was there.
    pub before: Option<FileImage>,
    /// What shall be there.
    pub after: Option<FileImage>,
    /// What the caller now believes the file to be, where a merge made it differ from `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belief_blob: Option<Hash>,
    /// Whether another writer's change was merged in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub merged: bool,
    /// The caller has not seen the file that it changes, so that what it believes of it stays as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
}

/// How a change made outside the kernel was noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A hash check when a call touched the file.
    Touch,
    /// The file watcher.
    Watcher,
    /// The scan around the command whose intent has this sequence number.
    Shell(u64),
    /// A client's own tool, reported by its hook.
    Hook,
    /// What a stack had changed when it was sealed.
    Stack,
}

/// Every event of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "body")]
pub enum Event {
    /// A daemon took the journal.
    #[serde(rename = "anchor.started")]
    AnchorStarted {
        /// Version of the binary.
        version: String,
        /// What recovery had to cut, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovered: Option<Value>,
    },
    /// A daemon let the journal go in good order.
    #[serde(rename = "anchor.stopped")]
    AnchorStopped {
        /// Why.
        reason: String,
    },
    /// The active governance documents, from here on.
    #[serde(rename = "policy.loaded")]
    PolicyLoaded {
        /// Fingerprint of the effective policy.
        fingerprint: Hash,
        /// The documents' texts as one JSON blob.
        documents_blob: Hash,
    },
    /// New documents did not parse; the old ones stay active for readers and effects are refused.
    #[serde(rename = "policy.rejected")]
    PolicyRejected {
        /// What is wrong with them.
        problems: Vec<String>,
    },
    /// A client or agent got a lineage.
    #[serde(rename = "session.started")]
    SessionStarted {
        /// The lineage.
        lineage: String,
        /// What kind of process it is.
        kind: LineageKind,
        /// The pin that bounds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pin: Option<String>,
        /// What it may do without asking.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<Mode>,
        /// The task that it works on, as rules name it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<String>,
        /// What the client calls itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// What becomes of it when the daemon that it ran in is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revival: Option<Revival>,
        /// Whoever comes was here before and knows what it saw then; otherwise it has seen nothing yet.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        resumed: bool,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A client went away.
    #[serde(rename = "session.ended")]
    SessionEnded {
        /// The lineage.
        lineage: String,
    },
    /// The gate refused a call.
    #[serde(rename = "gate.denied")]
    GateDenied {
        /// The inputs of the verdict.
        request: Box<Request>,
        /// `deny`; or, when no rule was asked, `boundary` for a path outside the workspace and `secret` for a call that
        /// carries a secret or a file that holds one.
        effect: String,
        /// The rules that decided.
        rules: Vec<String>,
        /// Why.
        reason: String,
    },
    /// A call needs a person's consent, and waits. The record's number is the question's.
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        /// The inputs of the verdict.
        request: Box<Request>,
        /// SHA-256 of the whole call: lineage, name and arguments.
        call: Hash,
        /// When the question lapses.
        until: Timestamp,
        /// The rules that ask.
        rules: Vec<String>,
        /// Why.
        reason: String,
    },
    /// A person answered, or nobody did in time.
    #[serde(rename = "approval.answered")]
    ApprovalAnswered {
        /// The question.
        approval: u64,
        /// Whether the call may go on.
        granted: bool,
        /// How far a consent reaches.
        scope: Scope,
        /// Why, in the person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A call went on under a consent for once, which is used up by it.
    #[serde(rename = "approval.used")]
    ApprovalUsed {
        /// The question.
        approval: u64,
    },
    /// A process is about to connect to a host.
    #[serde(rename = "net.intent")]
    NetIntent {
        /// Host and port as the process named them.
        target: String,
        /// The address and port about to be dialled.
        address: String,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
    /// A connection is over, or was never made.
    #[serde(rename = "net.receipt")]
    NetReceipt {
        /// Sequence number of the intent.
        intent: u64,
        /// Bytes that went to the host.
        sent_bytes: u64,
        /// Bytes that came from it.
        received_bytes: u64,
        /// Why it was not made or did not end by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A foreign agent's request to a model is about to be sent.
    #[serde(rename = "relay.intent")]
    RelayIntent {
        /// Who it is for.
        vendor: String,
        /// The model that it names.
        model: String,
        /// Method of the request.
        method: String,
        /// Path and query.
        path: String,
        /// Its body.
        body_blob: Hash,
        /// Tokens that it is expected to take.
        #[serde(default, skip_serializing_if = "is_zero")]
        reserved_tokens: u64,
        /// Millionths of a dollar that it is expected to take.
        #[serde(default, skip_serializing_if = "is_zero")]
        reserved_micro_usd: u64,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
    /// A foreign agent's request to a model is over.
    #[serde(rename = "relay.receipt")]
    RelayReceipt {
        /// Sequence number of the intent.
        intent: u64,
        /// The vendor's status; absent if it gave no answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The body as the agent got it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_blob: Option<Hash>,
        /// Bytes that the agent got.
        size_bytes: u64,
        /// Whether it got all of the reply.
        complete: bool,
        /// Tokens of the request, as the reply says.
        #[serde(default, skip_serializing_if = "is_zero")]
        input_tokens: u64,
        /// Tokens of the reply, as it says.
        #[serde(default, skip_serializing_if = "is_zero")]
        output_tokens: u64,
        /// Tokens of the request that were read from the vendor's prompt cache, or written to it.
        #[serde(default, skip_serializing_if = "is_zero")]
        cached_tokens: u64,
        /// Price in millionths of a dollar, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_micro_usd: Option<u64>,
        /// It did not reach the vendor.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unsent: bool,
        /// Wall clock.
        duration_ms: u64,
        /// Why it is not complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A lineage or a file took a label, or a person took it off.
    #[serde(rename = "label.changed")]
    LabelChanged {
        /// The lineage.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lineage: Option<String>,
        /// The file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// The label.
        label: String,
        /// Whether it was taken, or taken off.
        taken: bool,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A file was read.
    #[serde(rename = "file.read")]
    FileRead {
        /// Workspace path.
        path: String,
        /// What was there.
        image: FileImage,
        /// The caller had seen these bytes already and got one line.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        elided: bool,
        /// Only some of its lines were shown.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
        /// Idempotency key of the call: its repetition is answered in full again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
    /// A caller that knew the file was told that it is gone.
    #[serde(rename = "file.missing")]
    FileMissing {
        /// Workspace path.
        path: String,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
    /// Files are about to change, all or none.
    #[serde(rename = "file.write.intent")]
    WriteIntent {
        /// The changes, in the order in which they are made.
        changes: Vec<Change>,
        /// The verb that asked.
        verb: String,
        /// Bytes of the files that shall be there.
        #[serde(default, skip_serializing_if = "is_zero")]
        bytes: u64,
        /// The conflict whose candidate this is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// Why, in the caller's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The inputs of the verdicts, one for each path.
        requests: Vec<Request>,
    },
    /// How a write ended.
    #[serde(rename = "file.write.receipt")]
    WriteReceipt {
        /// Sequence number of the intent.
        intent: u64,
        /// Whether the files hold what was intended.
        done: bool,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A write met a concurrent change that it may not decide alone; nothing was written.
    #[serde(rename = "file.conflict")]
    FileConflict {
        /// Accepts the candidate in one call; absent if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// Workspace path.
        path: String,
        /// What the caller started from.
        base_blob: Hash,
        /// What is there.
        current_blob: Hash,
        /// What the caller wants there.
        proposed_blob: Hash,
        /// A merge of both, free of markers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        candidate_blob: Option<Hash>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A file changed outside the kernel.
    #[serde(rename = "file.foreign")]
    FileForeign {
        /// The change.
        change: Change,
        /// How it was noticed.
        via: Via,
        /// Lineages whose commands ran when it happened, when that is not one only.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        suspects: Vec<String>,
    },
    /// A command is about to run.
    #[serde(rename = "shell.intent")]
    ShellIntent {
        /// The command line, as a blob.
        command_blob: Hash,
        /// Workspace-relative directory.
        cwd: String,
        /// Deadline of the command.
        timeout_ms: u64,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
    /// A command ended.
    #[serde(rename = "shell.receipt")]
    ShellReceipt {
        /// Sequence number of the intent.
        intent: u64,
        /// Exit code; 128 + signal when it was killed; absent when it never started or a crash hid its end.
        exit: Option<i32>,
        /// The deadline passed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        timed_out: bool,
        /// Standard output.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stdout_blob: Option<Hash>,
        /// Standard error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stderr_blob: Option<Hash>,
        /// Output that was not kept.
        #[serde(default, skip_serializing_if = "is_zero")]
        dropped_bytes: u64,
        /// Wall clock.
        duration_ms: u64,
        /// Files that changed meanwhile and are ascribed to it.
        changed: Vec<String>,
        /// Changed files that did not fit into the list; each has a record of its own.
        #[serde(default, skip_serializing_if = "is_zero")]
        changed_more: u64,
        /// Why it did not run or its end is unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A background process is about to start.
    #[serde(rename = "process.intent")]
    ProcessIntent {
        /// Its alias.
        alias: String,
        /// The command line, as a blob.
        command_blob: Hash,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
    /// A background process ended, or a restart lost it.
    #[serde(rename = "process.ended")]
    ProcessEnded {
        /// Its alias.
        alias: String,
        /// How.
        outcome: String,
    },
    /// The workspace was searched.
    #[serde(rename = "search.receipt")]
    SearchReceipt {
        /// What for.
        pattern: String,
        /// How many matches were returned.
        matches: u64,
        /// Labels of the files in which they stand.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        labels: Vec<String>,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
    /// An advisory lock changed hands.
    #[serde(rename = "lock.changed")]
    LockChanged {
        /// The lock.
        name: String,
        /// Who holds it now.
        holder: Option<String>,
        /// When it lapses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A key came into force: one that is in force vouches for it.
    #[serde(rename = "trust.signed")]
    TrustSigned {
        /// The key.
        key: KeyId,
        /// Who vouches for it.
        by: KeyId,
        /// By which signature over the statement of both.
        signature: String,
    },
    /// A key handed over to its successor. What it signed before stays valid.
    #[serde(rename = "trust.rotated")]
    TrustRotated {
        /// The key that goes.
        old: KeyId,
        /// The key that comes.
        new: KeyId,
        /// The old key's signature over the statement of both.
        signature: String,
    },
    /// A key was revoked: nothing that it signs from here on is valid.
    #[serde(rename = "trust.revoked")]
    TrustRevoked {
        /// The key.
        key: KeyId,
        /// Why, in the operator's words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Something that a contained command made, and that other programs would obey, is in quarantine.
    #[serde(rename = "quarantine.taken")]
    QuarantineTaken {
        /// Its name there; empty if it is not there.
        item: String,
        /// Where it was in the workspace, with invalid bytes replaced.
        path: String,
        /// `program`, `hook`, `settings`, `lead` or `steps`.
        what: String,
        /// Whether the harmless part of it stayed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        kept: bool,
        /// Why it is not in quarantine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A remark for the log's readers.
    #[serde(rename = "note.added")]
    NoteAdded {
        /// The remark, as a blob.
        text_blob: Hash,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A message for an agent, shown with its next tool result.
    #[serde(rename = "nudge.sent")]
    NudgeSent {
        /// The lineage it is for.
        to: String,
        /// The message, as a blob.
        text_blob: Hash,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A client was handed the messages that waited for it; a native agent takes them as steps.
    #[serde(rename = "nudge.delivered")]
    NudgeDelivered {
        /// The lineage.
        to: String,
    },
    /// A thought was filed.
    #[serde(rename = "hay.filed")]
    HayFiled {
        /// The thought.
        text: String,
        /// Where it came from, in the filer's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A needle was added.
    #[serde(rename = "needle.added")]
    NeedleAdded {
        /// Its number, the next one.
        id: NeedleId,
        /// What is to be done.
        title: String,
        /// How urgent it is.
        priority: Priority,
        /// What whoever takes it must know.
        description: String,
        /// Commands that must all pass, in order; none if no command can tell.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ac: Vec<String>,
        /// Words to find it by.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        /// The milestone that it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        milestone: Option<String>,
        /// What must be closed before it is ready.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        depends_on: Vec<NeedleId>,
        /// What waits for it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        blocks: Vec<NeedleId>,
        /// The straws that it came from, by record.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hay: Vec<u64>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Members of a needle changed.
    #[serde(rename = "needle.changed")]
    NeedleChanged {
        /// The needle.
        id: NeedleId,
        /// What changed.
        change: NeedleChange,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Needles were tied to each other, or untied.
    #[serde(rename = "needle.linked")]
    NeedleLinked {
        /// The edges.
        links: Links,
        /// They were taken off.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        removed: bool,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The actor works on a needle from here on, or for longer than it was going to.
    #[serde(rename = "needle.claimed")]
    NeedleClaimed {
        /// The needle.
        id: NeedleId,
        /// When the lease ends.
        until: Timestamp,
        /// How long a lease is.
        lease_ms: u64,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A worker is given a needle, claimed for it.
    #[serde(rename = "needle.assigned")]
    NeedleAssigned {
        /// The needle.
        id: NeedleId,
        /// The worker.
        lineage: String,
        /// When the lease ends.
        until: Timestamp,
        /// How long a lease is.
        lease_ms: u64,
        /// What it is told.
        text_blob: Hash,
        /// Its context was filling up, so that it begins with this in a fresh one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anew: bool,
    },
    /// A worker's turn ended while it held needles; it is told so, once.
    #[serde(rename = "needle.reminded")]
    NeedleReminded {
        /// The worker.
        lineage: String,
        /// What it holds.
        needles: Vec<NeedleId>,
        /// What it is told.
        text_blob: Hash,
    },
    /// Nobody works on a needle any more.
    #[serde(rename = "needle.released")]
    NeedleReleased {
        /// The needle.
        id: NeedleId,
        /// Who did.
        holder: String,
        /// Why no longer.
        reason: String,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The acceptance commands of a needle ran, and it stays open.
    #[serde(rename = "needle.checked")]
    NeedleChecked {
        /// The needle.
        id: NeedleId,
        /// How they ended.
        ac_result: AcResult,
        /// The commands that ran, by the records of their intents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        runs: Vec<u64>,
        /// Why it stays open.
        problem: String,
    },
    /// A needle is done or given up.
    #[serde(rename = "needle.closed")]
    NeedleClosed {
        /// The needle.
        id: NeedleId,
        /// How its acceptance commands ended; absent if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ac_result: Option<AcResult>,
        /// The commands that ran, by the records of their intents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        runs: Vec<u64>,
        /// It was closed although they did not pass.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        forced: bool,
        /// Why, in the closer's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The commit that the work ended in, as the closer says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit_ref: Option<String>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Something was decided.
    #[serde(rename = "decision.made")]
    DecisionMade {
        /// About what.
        name: String,
        /// What.
        value: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A step of a native agent.
    #[serde(rename = "agent.step")]
    AgentStep {
        /// The agent.
        lineage: String,
        /// What happened to it.
        step: Box<AgentEvent>,
    },
    /// Somebody began a saga. The record's number is the saga's.
    #[serde(rename = "saga.began")]
    SagaBegan {
        /// What it is called.
        name: String,
        /// The calls of its steps with their arguments.
        plan_blob: Hash,
        /// Its steps, in order.
        steps: Vec<StepPlan>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A step of a saga came to another state.
    #[serde(rename = "saga.step")]
    SagaStep {
        /// Which, and to what.
        #[serde(flatten)]
        change: StepChange,
    },
    /// A saga came to another state.
    #[serde(rename = "saga.turned")]
    SagaTurned {
        /// The saga, by its first record.
        saga: u64,
        /// What it is now.
        state: SagaState,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A model is down, and another one answers its agents until it is up again.
    #[serde(rename = "model.substituted")]
    ModelSubstituted {
        /// The one that is down.
        model: String,
        /// The one in its place, as HUMANFILE names it.
        fallback: String,
        /// Why it is taken for down.
        why: String,
        /// Tokens that the other one's context window holds.
        context_window: u64,
        /// Whether the price of the other one's calls can be told.
        has_price: bool,
        /// Why no call can reach it, so that everybody waits for the model that is down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A spawn was accepted and waits for a place.
    #[serde(rename = "agent.queued")]
    AgentQueued {
        /// The lineage that it will be.
        lineage: String,
        /// Whom it goes before.
        priority: Priority,
        /// The arguments of the call.
        call_blob: Hash,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A spawn that waited for a place will not begin.
    #[serde(rename = "agent.unqueued")]
    AgentUnqueued {
        /// The lineage that it would have been.
        lineage: String,
        /// Why not.
        reason: String,
    },
    /// Somebody set a timer.
    #[serde(rename = "timer.set")]
    TimerSet {
        /// Its name.
        name: String,
        /// Whom it spawns, or sends a message to.
        lineage: String,
        /// The call that it makes.
        call: String,
        /// The arguments of that call.
        call_blob: Hash,
        /// When it fires first.
        due: Timestamp,
        /// Milliseconds between two firings; absent if it fires once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every_ms: Option<u64>,
        /// How often it fires; absent without a bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u64>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The time of a timer has come: its call is made.
    #[serde(rename = "timer.fired")]
    TimerFired {
        /// The timer.
        name: String,
    },
    /// The call of a timer ended.
    #[serde(rename = "timer.ended")]
    TimerEnded {
        /// The timer.
        name: String,
        /// Why it came to nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// Somebody removed a timer.
    #[serde(rename = "timer.removed")]
    TimerRemoved {
        /// The timer.
        name: String,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A signal was sent to a process.
    #[serde(rename = "agent.signalled")]
    AgentSignalled {
        /// The process.
        lineage: String,
        /// The signal's name.
        signal: String,
        /// The sender's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_blob: Option<Hash>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A signal that had waited was delivered.
    #[serde(rename = "signal.delivered")]
    SignalDelivered {
        /// The process.
        lineage: String,
        /// The record of the signal.
        seq: u64,
    },
    /// A process says what it does with signals.
    #[serde(rename = "signal.masked")]
    SignalMasked {
        /// The process.
        lineage: String,
        /// Every signal that does not do what it does by itself.
        dispositions: BTreeMap<String, Disposition>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A client took the signals that it handles.
    #[serde(rename = "signal.taken")]
    SignalTaken {
        /// The client.
        lineage: String,
    },
    /// A process that a restart had orphaned goes on, or does not.
    #[serde(rename = "lineage.resolved")]
    LineageResolved {
        /// The process.
        lineage: String,
        /// Which.
        resolution: Resolution,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Somebody made a pipe.
    #[serde(rename = "pipe.made")]
    PipeMade {
        /// Its name.
        pipe: String,
        /// Messages that it holds at most.
        messages: u64,
        /// Bytes that it holds at most.
        bytes: u64,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A process took an end of a pipe.
    #[serde(rename = "pipe.opened")]
    PipeOpened {
        /// The pipe.
        pipe: String,
        /// Which end.
        end: End,
    },
    /// A message went into a pipe. The record's number is the message's.
    #[serde(rename = "pipe.written")]
    PipeWritten {
        /// The pipe.
        pipe: String,
        /// The message, as a blob.
        text_blob: Hash,
        /// Its size.
        bytes: u64,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A message came out of a pipe.
    #[serde(rename = "pipe.delivered")]
    PipeDelivered {
        /// The pipe.
        pipe: String,
        /// The record by which it went in.
        message: u64,
        /// Its reader.
        to: String,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A process let an end of a pipe go, or the whole pipe was closed.
    #[serde(rename = "pipe.closed")]
    PipeClosed {
        /// The pipe.
        pipe: String,
        /// Which end; absent for the whole pipe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<End>,
        /// Whose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lineage: Option<String>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A process is supervised from here on.
    #[serde(rename = "supervise.began")]
    SuperviseBegan {
        /// The process.
        lineage: String,
        /// How.
        #[serde(flatten)]
        terms: Box<Terms>,
    },
    /// A supervised process has ended.
    #[serde(rename = "supervise.fell")]
    SuperviseFell {
        /// The process.
        lineage: String,
        /// Why.
        reason: String,
        /// The exit code of its command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
        /// When it is started again; absent if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The restart counts against its bound.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        counts: bool,
    },
    /// A supervised process starts again, in a new session of its lineage.
    #[serde(rename = "supervise.restarted")]
    SuperviseRestarted {
        /// The process.
        lineage: String,
        /// What a native agent is told.
        text_blob: Hash,
    },
    /// A process's health check failed, or passed after it had failed.
    #[serde(rename = "supervise.checked")]
    SuperviseChecked {
        /// The process.
        lineage: String,
        /// Failures in a row.
        failures: u32,
    },
    /// A supervised process's client told under which name it takes its session up again.
    #[serde(rename = "session.identified")]
    SessionIdentified {
        /// The process.
        lineage: String,
        /// The client's name for the session.
        session: String,
    },
    /// A person stopped everything.
    #[serde(rename = "kernel.panicked")]
    KernelPanicked {
        /// Why.
        reason: String,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A person let everything go on.
    #[serde(rename = "kernel.resumed")]
    KernelResumed {
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// What the fleet may spend in a day is this from here on.
    #[serde(rename = "budget.set")]
    BudgetSet {
        /// The limits.
        #[serde(flatten)]
        allowance: Allowance,
    },
    /// So much of a limit of the day is spent; once a day for each limit and percentage.
    #[serde(rename = "budget.reached")]
    BudgetReached {
        /// `usd_per_day` or `tokens_per_day`.
        limit: String,
        /// 85, or 100 when a call found no room.
        percent: u64,
        /// The limit, in tokens or millionths of a dollar.
        of: u64,
        /// What of it was spent.
        spent: u64,
        /// What of it was reserved for calls under way.
        reserved: u64,
    },
    /// A part of the repository is delegated to a stack.
    #[serde(rename = "stack.spawned")]
    StackSpawned {
        /// Its name.
        name: String,
        /// The directory.
        scope: String,
        /// The pin that bounds everybody in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pin: Option<String>,
        /// What they may do without asking at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<Mode>,
        /// What it may spend in all.
        budget: Allowance,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The daemon of a stack was started and answers.
    #[serde(rename = "stack.active")]
    StackActive {
        /// The stack.
        name: String,
    },
    /// Somebody in a stack wrote to the project.
    #[serde(rename = "stack.said")]
    StackSaid {
        /// The stack.
        name: String,
        /// The record of it in the stack's log.
        seq: u64,
        /// The lineage that it is for: whoever spawned the stack; a note, if that is a person or has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Who wrote, and what.
        text_blob: Hash,
    },
    /// A stack has ended: what this log vouches for of its own.
    #[serde(rename = "stack.sealed")]
    StackSealed {
        /// The stack.
        name: String,
        /// Why.
        reason: String,
        /// The end of its log.
        attestation: Attestation,
        /// Files that it changed.
        changed: Vec<String>,
        /// Changed files that did not fit into the list; each has a record of its own.
        #[serde(default, skip_serializing_if = "is_zero")]
        changed_more: u64,
        /// What its model calls took.
        spent: Charge,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A stack cannot go on.
    #[serde(rename = "stack.failed")]
    StackFailed {
        /// The stack.
        name: String,
        /// Why.
        problem: String,
    },
    /// This log is a stack's, and this is what holds in it from here on.
    #[serde(rename = "stack.entered")]
    StackEntered {
        /// What it keeps to.
        within: Within,
    },
    /// A call that leaves nothing to redo: a listing, a history, words to a background process.
    #[serde(rename = "call.receipt")]
    CallReceipt {
        /// The verb.
        verb: String,
        /// Small facts about it.
        facts: BTreeMap<String, Value>,
        /// Idempotency key of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The inputs of the verdict.
        request: Box<Request>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
pub(crate) fn is_zero(n: &u64) -> bool {
    *n == 0
}
