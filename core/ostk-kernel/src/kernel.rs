//! The kernel itself: a call comes in, acts go out, and every change of state is a record.
//!
//! A call becomes a [`Job`], which walks through stages: resolve its paths, pass the gate, wait its turn on each path,
//! look at the files, append the intent, place the files, append the receipt, reply. The stages of one family of calls
//! live in a module of their own (`files`, `shell`, `agents`, `work`); this one owns the walk and the bookkeeping.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ostk_agent::AgentEvent;
use ostk_log::{Hash, Timestamp};
use ostk_policy::{Gate, Request};
use serde_json::{Value, json};

use crate::{
    act::{Act, After, Awaited, BlobBytes, Op, OpId, Outcome},
    approvals::still_waiting,
    call::{Call, CallError, CallId, Caller, Code},
    event::{Event, Via},
    files::FileStage,
    limits, log_view,
    queue::{JobId, PathQueues},
    shell::ShellStage,
    state::{LineageKind, LineageState, State},
    table::{self, Syscall},
};

/// Calls open at once; beyond it callers are told to come back. A fleet of 1,000 agents with four calls each fits.
const MAX_JOBS: usize = 4_096;

/// What the kernel cannot know by itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Version of the binary.
    pub version: String,
    /// Epoch of this anchor.
    pub epoch: u64,
    /// What recovery of the log had to do, for the first record.
    pub recovered: Option<Value>,
    /// Calls of one model that may be under way at once.
    pub model_slots: usize,
    /// Agents that may run at once; a spawn beyond it waits.
    pub agent_slots: usize,
    /// What the fleet may spend in a day.
    pub allowance: crate::budget::Allowance,
    /// The stack that this daemon is of, if it is.
    pub within: Option<crate::stacks::Within>,
}

/// The kernel: its folded state and what is in flight.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) gate: Gate,
    pub(crate) now: Timestamp,
    pub(crate) acts: Vec<Act>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) queues: PathQueues,
    pub(crate) ops: BTreeMap<OpId, Target>,
    pub(crate) held: VecDeque<Job>,
    /// Idempotency keys of open calls, and who repeated them meanwhile.
    pub(crate) open_keys: BTreeMap<String, Vec<(Caller, ReplyTo)>>,
    /// Texts of messages that wait for a client.
    pub(crate) nudge_texts: BTreeMap<Hash, String>,
    /// Those that waited when the daemon started are here; one that is not is not stored any more.
    pub(crate) texts_loaded: bool,
    /// Generations that a lineage's digest has told it already, so that it is told once.
    pub(crate) told: BTreeMap<(String, String), u64>,
    pub(crate) agents: BTreeMap<String, crate::agents::Live>,
    pub(crate) sagas: BTreeMap<u64, crate::sagas::LiveSaga>,
    /// When the ends of pipes are let go whose clients did not come back.
    pub(crate) lost_ends_at: Option<Timestamp>,
    /// Health checks, by lineage.
    pub(crate) checks: BTreeMap<String, crate::supervise::Check>,
    /// The state of the board for which workers at rest have been looked after.
    pub(crate) work_seen: Option<u64>,
    /// Spawns that waited for a place and are being begun.
    pub(crate) starting: BTreeSet<String>,
    next_id: u64,
    broken: Option<String>,
}

/// Who waits for an operation.
#[derive(Debug)]
pub(crate) enum Target {
    Job(JobId),
    Model {
        lineage: String,
        call_no: u64,
    },
    Replies {
        lineage: String,
    },
    /// What is known of the model in the place of one that is down.
    Fallback {
        model: String,
        named: String,
    },
    Scan,
    /// The calls of this saga are loaded.
    SagaPlan {
        saga: u64,
    },
    /// Texts of messages are loaded.
    Nudges,
    /// The daemon of this stack is started again.
    Stack(String),
    /// A stack that has spent its budget is sealed.
    StackSeal(String),
    /// Nobody asks how it ended.
    Unwatched,
    /// Documents are read again because of a signal.
    Reload,
    /// What a spawn asked for that has a place now, and the record that queued it.
    Queued {
        name: String,
        seq: u64,
    },
    /// What a timer does is loaded.
    Timer {
        name: String,
        seq: u64,
    },
    /// A background process is being killed.
    Killed {
        alias: String,
    },
}

/// Where a job's result goes.
#[derive(Clone, Debug)]
pub(crate) enum ReplyTo {
    Host(CallId),
    Tool {
        lineage: String,
        generation: u64,
        call_no: u64,
        tool: String,
    },
    Shell(JobId),
    /// A step of a saga, or the call that undoes it.
    Saga {
        saga: u64,
        step: usize,
        undo: bool,
    },
    /// An acceptance command, for the call that closes a needle.
    Closing(JobId),
    /// It asked whether this lineage works, in the run that began with this record.
    Check {
        lineage: String,
        run: u64,
    },
    /// It is a spawn that waited for a place since this record.
    Queued {
        name: String,
        seq: u64,
    },
    /// It is the call of a timer, for its firing with this record.
    Timer {
        name: String,
        seq: u64,
    },
    /// It is the command of a supervised lineage.
    Supervised {
        lineage: String,
        run: u64,
    },
    Nobody,
}

/// A call on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) caller: Caller,
    pub(crate) syscall: &'static Syscall,
    pub(crate) args: Value,
    pub(crate) key: Option<String>,
    /// Since when its caller knew what it knew when it called.
    pub(crate) knows_since: u64,
    pub(crate) deadline: Timestamp,
    pub(crate) reply_to: ReplyTo,
    pub(crate) paths: Vec<String>,
    pub(crate) requests: Vec<Request>,
    /// The record by which a person consented to it.
    pub(crate) approved: Option<u64>,
    pub(crate) stage: Stage,
}

/// How far a job has come.
#[derive(Debug)]
pub(crate) enum Stage {
    New,
    File(FileStage),
    Shell(ShellStage),
    /// An operation whose JSON result is the reply.
    Json,
    /// The host says what it knows of a new agent's model.
    Spawn(Box<crate::spawn::Draft>),
    /// Waits for an agent to end.
    Agent(String),
    /// Waits for what becomes of this saga.
    Saga(u64),
    /// Looks up where the path of a question leads.
    Why,
    /// The daemon of this stack is started or ended.
    Stack(String),
    /// Waits for documents from disk.
    Documents,
    /// Waits for the answer to this question.
    Asking(u64),
    /// Waits for a signal that its caller handles.
    Signal,
    Pipe(crate::pipes::PipeStage),
    /// Waits for the acceptance commands of a needle.
    Closing(Box<crate::needles::Closing>),
    /// Loads what the result of the call with this key needs.
    Repeat(String),
}

impl Job {
    /// A job that has done nothing yet.
    pub(crate) fn new(
        id: JobId,
        caller: Caller,
        syscall: &'static Syscall,
        args: Value,
        deadline: Timestamp,
        reply_to: ReplyTo,
    ) -> Self {
        Self {
            id,
            caller,
            syscall,
            args,
            key: None,
            knows_since: 0,
            deadline,
            reply_to,
            paths: Vec::new(),
            requests: Vec::new(),
            approved: None,
            stage: Stage::New,
        }
    }

    /// Whether it is a command of this lineage that runs now.
    pub(crate) fn is_shell_of(&self, lineage: &str) -> bool {
        matches!(self.stage, Stage::Shell(_) | Stage::Json) && self.caller.lineage() == lineage
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.args.get(name).and_then(Value::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.args.get(name).and_then(Value::as_u64)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.args.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

impl Kernel {
    /// A kernel over a state folded from the log and a gate loaded from the documents.
    pub fn new(config: Config, state: State, gate: Gate) -> Self {
        let now = state.last_ts;
        Self {
            config,
            state,
            gate,
            now,
            acts: Vec::new(),
            jobs: BTreeMap::new(),
            queues: PathQueues::default(),
            ops: BTreeMap::new(),
            held: VecDeque::new(),
            open_keys: BTreeMap::new(),
            nudge_texts: BTreeMap::new(),
            texts_loaded: false,
            told: BTreeMap::new(),
            agents: BTreeMap::new(),
            sagas: BTreeMap::new(),
            lost_ends_at: None,
            checks: BTreeMap::new(),
            work_seen: None,
            starting: BTreeSet::new(),
            next_id: 1,
            broken: None,
        }
    }

    /// The folded state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// How much is under way, by kind: all of it is bounded, and none is left when every call was answered.
    pub fn in_flight(&self) -> [(&'static str, usize); 5] {
        [
            ("calls", self.jobs.len()),
            ("operations", self.ops.len()),
            ("held calls", self.held.len()),
            ("queues", self.queues.len()),
            ("open keys", self.open_keys.len()),
        ]
    }

    /// Takes the journal: records the new epoch and the policy, finishes what a crash interrupted, wakes the agents.
    pub fn boot(&mut self, now: Timestamp, documents: &ostk_policy::Documents) -> Vec<Act> {
        self.clock(now);
        let event = Event::AnchorStarted {
            version: self.config.version.clone(),
            recovered: self.config.recovered.take(),
        };
        self.record(&Caller::Kernel, &event);
        self.record_policy(documents);
        self.enter_stack(self.config.within.clone());
        self.set_allowance(self.config.allowance);
        self.end_lost_processes();
        self.report_lost_shells();
        self.redo_open_writes();
        self.load_nudges();
        self.start_stacks();
        self.revive_orphans();
        self.judge_after_boot();
        self.mind_lost_ends();
        self.fire_again();
        self.take_acts()
    }

    /// Records a clean stop; the host flushes the journal after it.
    pub fn stop(&mut self, now: Timestamp, reason: &str) -> Vec<Act> {
        self.clock(now);
        self.record(&Caller::Kernel, &Event::AnchorStopped { reason: reason.to_owned() });
        self.take_acts()
    }

    /// A call arrives.
    pub fn submit(&mut self, now: Timestamp, call: Call) -> Vec<Act> {
        self.clock(now);
        let reply_to = ReplyTo::Host(call.id);
        self.enter(call, reply_to);
        self.take_acts()
    }

    /// An operation ended.
    pub fn complete(&mut self, now: Timestamp, op: OpId, outcome: Outcome) -> Vec<Act> {
        self.clock(now);
        match self.ops.remove(&op) {
            Some(Target::Job(id)) => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.resume(job, outcome);
                }
            }
            Some(Target::Model { lineage, call_no }) => self.model_replied(&lineage, call_no, outcome),
            Some(Target::Replies { lineage }) => self.replies_loaded(&lineage, outcome),
            Some(Target::Fallback { model, named }) => self.fallback_described(&model, named, outcome),
            Some(Target::Scan) => {
                if let Outcome::Scanned(Ok(paths)) = outcome {
                    self.settle_foreign(&paths, &Via::Watcher, None, None);
                }
            }
            Some(Target::Nudges) => self.nudges_loaded(outcome),
            Some(Target::Reload) => {
                // What is wrong with them is in the log.
                let _ = self.reload(outcome);
            }
            Some(Target::SagaPlan { saga }) => self.saga_plan_loaded(saga, outcome),
            Some(Target::Stack(name)) => self.stack_restarted(&name, outcome),
            Some(Target::StackSeal(name)) => self.stack_force_sealed(&name, outcome),
            Some(Target::Queued { name, seq }) => self.start_queued(&name, seq, &outcome),
            Some(Target::Timer { name, seq }) => self.timer_loaded(name, seq, &outcome),
            Some(Target::Unwatched) => {}
            Some(Target::Killed { alias }) => {
                self.record(&Caller::Kernel, &Event::ProcessEnded { alias, outcome: "killed".to_owned() });
            }
            None => {}
        }
        self.take_acts()
    }

    /// The watcher saw these paths change; an empty list means that it lost count and everything must be scanned.
    pub fn notice(&mut self, now: Timestamp, paths: &[String]) -> Vec<Act> {
        self.clock(now);
        if paths.is_empty() {
            self.run(Op::Scan, Target::Scan, None);
        } else {
            self.settle_foreign(paths, &Via::Watcher, None, None);
        }
        self.take_acts()
    }

    /// Time passed: ends what waited too long and wakes agents that wait for a moment. Returns the acts and, if
    /// anything waits for a moment, the next one.
    pub fn tick(&mut self, now: Timestamp) -> (Vec<Act>, Option<Timestamp>) {
        self.clock(now);
        let open = self.jobs.values().chain(&self.held).filter(|job| job.deadline <= now && job.may_expire());
        let late: BTreeSet<JobId> = open.filter(|job| !self.is_suspended(job)).map(|job| job.id).collect();
        self.cancel(
            |job| late.contains(&job.id),
            |job| match job.stage {
                Stage::Asking(id) => still_waiting(id),
                Stage::Saga(id) => CallError::new(Code::Deadline, format!("saga {id} goes on"))
                    .hint(format!("see where it stands: ostk saga show {id}")),
                Stage::Repeat(_) => {
                    CallError::new(Code::Deadline, "the result of the first call is not read yet")
                        .hint("ask again with the same key: the call itself is not made again")
                }
                _ => CallError::new(
                    Code::Deadline,
                    format!("{} did not end by its deadline", job.syscall.name),
                )
                .hint("nothing was changed by this call; repeat it with a longer timeout_ms"),
            },
        );
        self.expire_locks();
        self.expire_claims();
        self.expire_approvals();
        self.end_overdue();
        self.restart_due();
        self.let_lost_ends_go();
        self.check_health();
        self.fire_timers();
        self.drive_due();
        (self.take_acts(), self.next_deadline())
    }

    /// Ends the jobs that `chosen` names: such as have had no effect yet.
    pub(crate) fn cancel(&mut self, chosen: impl Fn(&Job) -> bool, why: impl Fn(&Job) -> CallError) {
        let open: Vec<JobId> = self.jobs.values().filter(|job| chosen(job)).map(|job| job.id).collect();
        let (held, kept) = std::mem::take(&mut self.held).into_iter().partition::<VecDeque<_>, _>(&chosen);
        self.held = kept;
        let open: Vec<Job> = open.iter().filter_map(|id| self.jobs.remove(id)).collect();
        for job in open.into_iter().chain(held) {
            let error = why(&job);
            self.finish(job, Err(error), None);
        }
    }

    /// Whether the clock of a call stands still: an agent's own, while it is held.
    fn is_suspended(&self, job: &Job) -> bool {
        let held = |name: &str| {
            self.state.panic.is_some()
                || self.state.lineages.get(name).is_some_and(|known| known.state.is_held())
        };
        matches!(job.reply_to, ReplyTo::Tool { .. } | ReplyTo::Saga { .. }) && held(job.caller.lineage())
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let jobs =
            self.jobs.values().chain(&self.held).filter(|job| job.may_expire() && !self.is_suspended(job));
        let jobs = jobs.map(|job| job.deadline);
        let agents = self.agents.values().filter_map(|live| live.wake_at);
        let locks = self.state.locks.values().map(|lock| lock.until);
        jobs.chain(agents)
            .chain(locks)
            .chain(self.next_release())
            .chain(self.next_restart())
            .chain(self.next_check())
            .chain(self.next_timer())
            .chain(self.lost_ends_at)
            .chain(self.next_lapse())
            .chain(self.next_saga())
            .chain(self.next_kill())
            .min()
    }

    pub(crate) fn clock(&mut self, now: Timestamp) {
        self.now = self.now.max(now).max(self.state.last_ts);
    }

    pub(crate) fn take_acts(&mut self) -> Vec<Act> {
        self.drive_sagas();
        self.settle_work();
        self.fill_places();
        std::mem::take(&mut self.acts)
    }

    /// Whether nothing begins by itself: in a panic, after a bug, and after the record by which this daemon lets the journal
    /// go.
    pub(crate) const fn is_held(&self) -> bool {
        self.state.panic.is_some() || self.state.stopped || self.is_broken()
    }

    /// Whether a bug keeps the kernel from taking any further call.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Starts an operation for `target`.
    pub(crate) fn run(&mut self, op: Op, target: Target, after: Option<u64>) -> OpId {
        let id = self.fresh_id();
        self.ops.insert(id, target);
        self.acts.push(Act::Run { id, op, after });
        id
    }

    /// Appends a record that somebody waits for; returns its sequence number.
    pub(crate) fn record(&mut self, caller: &Caller, event: &Event) -> u64 {
        self.record_with(caller, event, Vec::new(), Awaited::Durable)
    }

    /// Appends a record and the blobs it names, and folds it. The host must append in the order of the acts.
    pub(crate) fn record_with(
        &mut self,
        caller: &Caller,
        event: &Event,
        blobs: Vec<(Hash, BlobBytes)>,
        awaited: Awaited,
    ) -> u64 {
        let seq = self.state.next_seq;
        let draft = log_view::draft_of(seq, self.now, self.config.epoch, caller.actor(), event);
        if let Err(what) = self.state.apply(seq, draft.ts, &draft.actor, event.clone()) {
            // A record that cannot be folded is a bug. It must not reach the log, which could not be read any more;
            // whatever waits for it never starts, and no further call is taken.
            self.broken = Some(format!("bug: record {seq} ({}) does not fold: {what}", draft.event));
            return seq;
        }
        self.state.next_seq += 1;
        self.state.last_ts = draft.ts;
        self.state.epoch = draft.epoch;
        self.acts.push(Act::Append { draft, blobs, awaited });
        seq
    }

    fn record_policy(&mut self, documents: &ostk_policy::Documents) {
        let fingerprint = self.gate.fingerprint();
        let text = serde_json::to_vec(documents).unwrap_or_default();
        let documents_blob = Hash::of(&text);
        if self.state.policy == Some((fingerprint, documents_blob)) {
            return;
        }
        let event = Event::PolicyLoaded { fingerprint, documents_blob };
        self.record_with(&Caller::Kernel, &event, vec![(documents_blob, text.into())], Awaited::Durable);
    }

    /// Admits a call: repeated, malformed, unwelcome or on its way.
    pub(crate) fn enter(&mut self, call: Call, reply_to: ReplyTo) {
        let Call { caller, verb, args, idempotency, deadline, .. } = call;
        let refuse =
            |kernel: &mut Self, error| kernel.deliver(&caller.clone(), reply_to.clone(), Err(error), None);
        if let Some(broken) = &self.broken {
            let error =
                CallError::new(Code::Poisoned, broken.clone()).hint("restart the daemon: ostk listen");
            return refuse(self, error);
        }
        let Some(syscall) = table::lookup(&verb) else {
            let error =
                CallError::new(Code::Usage, format!("no such system call: {verb}")).hint("ostk abi list");
            return refuse(self, error);
        };
        let sized = limits::check_size(syscall, &caller, &args, idempotency.as_deref());
        if let Err(error) = syscall.check(&args).and(sized) {
            return refuse(self, error);
        }
        if self.is_full() {
            let error = CallError::new(Code::Busy, format!("{MAX_JOBS} calls are open"))
                .hint("repeat it in a moment");
            return refuse(self, error);
        }
        let key = idempotency.map(|key| self.scoped_key(&caller, &reply_to, &key));
        let knows_since = match &reply_to {
            // Its calls were written when the saga began.
            ReplyTo::Saga { saga, undo: false, .. } => {
                self.state.sagas.get(saga).map(|saga| saga.knows_since)
            }
            _ => None,
        };
        let knows_since = knows_since.unwrap_or_else(|| self.state.knows_since(caller.lineage()));
        let job = Job::new(self.fresh_id(), caller, syscall, args, deadline, reply_to);
        let job = Job { key, knows_since, ..job };
        if let Some(job) = self.first_of_its_key(job) {
            self.admit(job);
        }
    }

    /// Whether as many calls are open as may be; the kernel's own looks at files do not count.
    fn is_full(&self) -> bool {
        let own =
            |job: &&Job| matches!(job.reply_to, ReplyTo::Nobody | ReplyTo::Shell(_) | ReplyTo::Closing(_));
        let open = self.jobs.len() + self.held.len();
        open >= MAX_JOBS && open - self.jobs.values().filter(own).count() >= MAX_JOBS
    }

    pub(crate) fn admit(&mut self, job: Job) {
        let state = self.state.lineages.get(job.caller.lineage()).map(|lineage| lineage.state);
        let is_held = self.state.panic.is_some()
            || state.is_some_and(LineageState::is_held)
            || self.lacks_words(job.caller.lineage());
        let may_be_kept = job.caller.process().is_some() && !is_needed_to_end(&job);
        match (&job.caller, state) {
            _ if may_be_kept && is_held => self.held.push_back(job),
            (_, Some(LineageState::Exited | LineageState::Exiting))
                if may_be_kept && !matches!(job.reply_to, ReplyTo::Saga { undo: true, .. }) =>
            {
                let error = CallError::new(Code::Stopped, format!("{} has ended", job.caller.lineage()))
                    .hint("start a session: session.start");
                self.finish(job, Err(error), None);
            }
            // Whoever reads files has a lineage, in which the fold keeps what it has seen.
            (Caller::Agent(name) | Caller::Human(name), None) => {
                let kind = match job.caller {
                    Caller::Human(_) => LineageKind::Human,
                    _ => LineageKind::Client,
                };
                let lineage = name.clone();
                let pin = self.pin_of_name(&lineage).filter(|_| kind == LineageKind::Client);
                let (mode, task, client, revival, key) = (None, None, None, None, None);
                // What this call sees, it sees.
                let resumed = true;
                let event =
                    Event::SessionStarted { lineage, kind, pin, mode, task, client, revival, resumed, key };
                let caller = job.caller.clone();
                self.record_with(&caller, &event, Vec::new(), Awaited::Nothing);
                self.start(job);
            }
            _ => self.start(job),
        }
    }

    /// Lets held calls of a lineage go on, or ends them.
    pub(crate) fn release_held(&mut self) {
        for job in std::mem::take(&mut self.held) {
            self.admit(job);
        }
        self.pump_pipes();
    }

    fn start(&mut self, job: Job) {
        match job.syscall.name {
            "file.read" | "file.edit" | "file.write" | "file.delete" | "file.rename" | "file.batch"
            | "file.accept" | "file.undo" | "file.blame" | "file.log" | "dir.list" | "hook.before"
            | "hook.after" => {
                self.start_file(job);
            }
            "shell.run" | "process.learn" => self.start_shell(job),
            "process.start" | "process.interact" | "search" | "quarantine.list" | "quarantine.restore" => {
                self.start_op(job);
            }
            "agent.spawn" | "agent.signal" | "agent.wait" => self.start_agent_call(job),
            "net.resolve" | "net.connect" | "net.closed" | "model.relay" | "model.relayed" => {
                self.start_network(job);
            }
            name if crate::needles::is_call(name) => self.start_needles(job),
            "stack.spawn" | "stack.seal" | "stack.list" => self.start_stack(job),
            "timer.set" | "timer.list" | "timer.remove" => self.start_timers(job),
            "pipe.make" | "pipe.write" | "pipe.read" | "pipe.close" | "pipe.list" => self.start_pipe(job),
            "saga.run" | "saga.list" | "saga.show" | "saga.compensate" => self.start_saga(job),
            "quarantine.took" => self.quarantined(job),
            "secret.refused" => self.refuse_secret_call(job),
            _ => self.start_work(job),
        }
    }

    fn resume(&mut self, job: Job, outcome: Outcome) {
        match &job.stage {
            Stage::File(_) => self.resume_file(job, outcome),
            Stage::Shell(_) => self.resume_shell(job, outcome),
            Stage::Why => self.resume_why(job, outcome),
            Stage::Documents => self.resume_documents(job, outcome),
            Stage::Stack(name) => {
                let name = name.clone();
                self.resume_stack(job, name, outcome);
            }
            Stage::Pipe(_) => self.resume_pipe(job, outcome),
            Stage::Spawn(_) => self.resume_spawn(job, outcome),
            Stage::Repeat(key) => {
                let result = match outcome {
                    Outcome::Observed { blobs, .. } => self.repeated(key, &blobs),
                    _ => Err(CallError::new(Code::Failed, "bug: unexpected outcome")),
                };
                let after = Some(self.state.next_seq);
                self.finish(job, result, after);
            }
            Stage::New
            | Stage::Json
            | Stage::Agent(_)
            | Stage::Saga(_)
            | Stage::Asking(_)
            | Stage::Signal
            | Stage::Closing(_) => match outcome {
                Outcome::Json(result) => self.finish_op(job, result),
                Outcome::Listed(Ok(entries)) => {
                    self.finish(job, Ok(json!({ "entries": entries })), None);
                }
                Outcome::Listed(Err(message)) => {
                    self.finish(job, Err(CallError::new(Code::NotFound, message)), None)
                }
                other => {
                    debug_assert!(false, "unexpected outcome {other:?}");
                    self.finish(job, Err(CallError::new(Code::Failed, "bug: unexpected outcome")), None);
                }
            },
        }
    }

    fn resume_documents(&mut self, job: Job, outcome: Outcome) {
        let result = self.reload(outcome);
        let after = Some(self.state.next_seq);
        self.finish(job, result, after);
    }

    /// Takes documents that were read from disk as the policy from here on.
    fn reload(&mut self, outcome: Outcome) -> Result<Value, CallError> {
        let Outcome::Documents { documents, allowance } = outcome else {
            return Err(CallError::new(Code::Failed, "bug: no documents came back"));
        };
        match self.gate.reload(&documents) {
            Ok(()) => {
                self.record_policy(&documents);
                self.work_seen = None;
                let allowance = allowance.map_err(|problem| {
                    CallError::new(Code::Usage, problem).hint("the budget of the day stays what it was")
                })?;
                self.set_allowance(allowance);
                Ok(json!({ "fingerprint": self.gate.fingerprint() }))
            }
            Err(errors) => {
                let problems: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let message = problems.join("\n");
                self.record(&Caller::Kernel, &Event::PolicyRejected { problems });
                Err(CallError::new(Code::Usage, message).hint(
                    "the old policy stays in force for readers; writes are refused until this is mended",
                ))
            }
        }
    }

    /// Ends a job: frees its paths, answers, and starts whoever waited behind it.
    pub(crate) fn finish(&mut self, job: Job, result: Result<Value, CallError>, after: impl Into<After>) {
        let heads = self.queues.leave(job.id, &job.paths);
        let lineage = job.caller.lineage().to_owned();
        let silent = job.flag("silent");
        let repeatable = job.key.filter(|key| self.open_keys.contains_key(key));
        let kept = repeatable.map(|key| (key, result.clone()));
        match job.reply_to {
            ReplyTo::Host(call) if silent => self.acts.push(Act::Reply { call, result, after: after.into() }),
            reply_to => self.deliver(&job.caller, reply_to, result, after),
        }
        if let Some((key, result)) = kept {
            self.answer_repetitions(&key, &result);
        }
        for head in heads {
            self.wake(head);
        }
        self.end_if_idle(&lineage);
    }

    /// Starts a queued job that heads all its queues.
    fn wake(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        match &job.stage {
            Stage::File(FileStage::Queued) if self.queues.ready(id, &job.paths) => self.observe(job),
            Stage::File(FileStage::Settling { .. }) if self.queues.ready(id, &job.paths) => self.look(job),
            _ => {
                self.jobs.insert(id, job);
            }
        }
    }

    /// Hands a result to whoever waits for it; a digest goes with it.
    pub(crate) fn deliver(
        &mut self,
        caller: &Caller,
        reply_to: ReplyTo,
        result: Result<Value, CallError>,
        after: impl Into<After>,
    ) {
        match reply_to {
            ReplyTo::Host(call) => {
                let (result, delivers) = self.with_digest(caller, result);
                // A message that was handed over must not come again after a crash.
                let after = if delivers { After::Durable(self.state.next_seq) } else { after.into() };
                self.acts.push(Act::Reply { call, result, after });
            }
            ReplyTo::Tool { lineage, generation, call_no, tool } => {
                let (result, _) = self.with_digest(caller, result);
                self.tool_done(&lineage, generation, call_no, tool, result);
            }
            ReplyTo::Shell(job) => self.shell_settled(job, &result),
            ReplyTo::Saga { saga, step, undo } => self.step_called(saga, step, undo, &result),
            ReplyTo::Closing(job) => self.acceptance_ended(job, result),
            ReplyTo::Check { lineage, run } => self.checked(&lineage, run, &result),
            ReplyTo::Queued { name, seq } => self.queued_began(&name, seq, &result),
            ReplyTo::Timer { name, seq } => self.timer_ended(&name, seq, &result),
            ReplyTo::Supervised { lineage, run } => self.command_ended(&lineage, run, &result),
            ReplyTo::Nobody => {}
        }
    }

    /// Records one step of a native agent.
    pub(crate) fn step(&mut self, lineage: &str, step: AgentEvent, blobs: Vec<(Hash, BlobBytes)>) -> u64 {
        let caller = Caller::Agent(lineage.to_owned());
        let event = Event::AgentStep { lineage: lineage.to_owned(), step: Box::new(step) };
        self.record_with(&caller, &event, blobs, Awaited::Durable)
    }
}

impl Job {
    /// Whether a deadline may end the job: not once its effect has begun, which ends by itself.
    pub(crate) fn may_expire(&self) -> bool {
        match &self.stage {
            Stage::New
            | Stage::Agent(_)
            | Stage::Saga(_)
            | Stage::Spawn(_)
            | Stage::Asking(_)
            | Stage::Signal => true,
            Stage::File(stage) => stage.may_expire(),
            // What a step of a saga did has to be known, whenever that is: it may have to be undone.
            Stage::Repeat(_) => !matches!(self.reply_to, ReplyTo::Saga { .. }),
            Stage::Why => true,
            Stage::Pipe(stage) => matches!(stage, crate::pipes::PipeStage::Waiting(_)),
            Stage::Json | Stage::Shell(_) | Stage::Documents | Stage::Closing(_) | Stage::Stack(_) => false,
        }
    }
}

/// The end of something that was begun before its caller was held: it is only noted.
fn is_needed_to_end(job: &Job) -> bool {
    matches!(job.syscall.name, "session.end" | "net.closed" | "model.relayed")
}
