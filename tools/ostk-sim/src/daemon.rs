//! The daemon as the simulator runs it: the kernel and the journal of the real one, and its rules for when an act may be
//! carried out. It differs from `ostk-daemon`'s host in that nothing happens by itself: the world says when the journal's
//! writer takes a turn, and carries the operations out.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use ed25519_dalek::{Signer as _, SigningKey};
use ostk_blobs::BlobStore;
use ostk_journal::{OpenError, Options, Reader, SteppedJournal};
use ostk_kernel::{
    Act, After, Allowance, Awaited, Call, CallError, CallId, Caller, Config, Kernel, Op, OpId, Outcome,
    ProcessSignal, State, fold, fold_line,
};
use ostk_log::{Draft, Header, KeyId, Signer, Timestamp, planted};
use ostk_policy::{Documents, Gate};
use serde_json::{Value, json};

use crate::{
    doom::Doom,
    snapshots::{Taking, resume},
};

/// Where the daemon's files are on the simulated disk.
pub(crate) const STATE_DIR: &str = "/sim/.ostk";
/// Calls of the model that may be under way at once: fewer than agents, so that they stand in line.
pub(crate) const MODEL_SLOTS: usize = 4;
/// The live segment is closed at this size, so that most runs see it happen.
const SEGMENT_BYTES: u64 = 48 << 10;

/// What a call came to.
pub(crate) type Answer = Result<Value, CallError>;

/// How far the journal says it is.
#[derive(Debug, Default)]
struct Progress {
    written: u64,
    durable: u64,
    poison: Option<String>,
}

/// What an operation is told while it runs, or before it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Abort,
    Signal(ProcessSignal),
}

/// Why there is no daemon.
#[derive(Debug)]
pub(crate) enum NoStart {
    /// The machine died, or the disk refused: the next start may succeed.
    Later(String),
    /// Something is wrong that no start will mend.
    Never(String),
}

/// What the operator has set up: the same for every daemon until the operator changes it.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) documents: Documents,
    pub(crate) allowance: Allowance,
    /// Agents that may run at once, if that is bounded.
    pub(crate) agent_slots: Option<usize>,
    /// Daemons take snapshots.
    pub(crate) snapshots: bool,
    /// The program that they run, as snapshots name it.
    pub(crate) build: String,
}

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) kernel: Kernel,
    journal: SteppedJournal,
    progress: Arc<Mutex<Progress>>,
    parked: BTreeMap<u64, Vec<Act>>,
    held: BTreeMap<u64, Vec<Act>>,
    durable: u64,
    written: u64,
    pub(crate) poisoned: Option<String>,
    /// Answers that were sent, and not yet looked at.
    pub(crate) answers: Vec<(CallId, Answer)>,
    /// Operations that may run.
    pub(crate) started: Vec<(OpId, Op)>,
    /// What operations are to obey, in this order.
    pub(crate) orders: Vec<(OpId, Order)>,
    /// The fold of every record that was handed to the journal, and whether it has changed since it was compared.
    pub(crate) shadow: State,
    pub(crate) has_changed: bool,
    /// Every record of the log, as it was handed to the journal.
    pub(crate) history: Vec<Draft>,
    doom: Arc<Doom>,
    /// Takes snapshots, in the name of this build.
    snapshots: Option<(Taking, String)>,
    pub(crate) from_snapshot: bool,
    pub(crate) acts: u64,
}

struct Key(SigningKey, KeyId);

impl Signer for Key {
    fn key_id(&self) -> &KeyId {
        &self.1
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

pub(crate) fn signer() -> Arc<dyn Signer> {
    static SIGNER: OnceLock<Arc<dyn Signer>> = OnceLock::new();
    let key = || -> Arc<dyn Signer> {
        let key = SigningKey::from_bytes(&[7; 32]);
        let id = KeyId::from_public_key(key.verifying_key().to_bytes());
        Arc::new(Key(key, id))
    };
    Arc::clone(SIGNER.get_or_init(key))
}

impl Daemon {
    /// Starts as `ostk-daemon` does: the journal recovers, the records are folded, the kernel boots. `history` is what the
    /// daemon before handed to its journal, and `floor` how many of those records must still be there.
    pub(crate) fn start(
        doom: &Arc<Doom>,
        setup: &Setup,
        mut history: Vec<Draft>,
        floor: u64,
    ) -> Result<Self, (NoStart, Vec<Draft>)> {
        match Self::open(doom, setup, &mut history, floor) {
            Ok(mut daemon) => {
                daemon.history = history;
                Ok(daemon)
            }
            Err(why) => Err((why, history)),
        }
    }

    fn open(doom: &Arc<Doom>, setup: &Setup, history: &mut Vec<Draft>, floor: u64) -> Result<Self, NoStart> {
        let dir = Path::new(STATE_DIR);
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let (durable, written) = (Arc::clone(&progress), Arc::clone(&progress));
        let on_durable = Box::new(move |news: Result<u64, _>| match news {
            Ok(count) => lock(&durable).durable = count,
            Err(reason) => lock(&durable).poison = Some(format!("{reason}")),
        });
        let mut options = Options::new(signer(), "ostk/sim", on_durable);
        options.segment_bytes = SEGMENT_BYTES;
        options.on_written = Some(Box::new(move |count| lock(&written).written = count));
        let (journal, recovery) = SteppedJournal::open(dir, options).map_err(|error| match error {
            OpenError::Corrupt { .. } | OpenError::Locked { .. } => NoStart::Never(error.to_string()),
            OpenError::Blobs(ostk_blobs::BlobError::Corrupt { .. }) => NoStart::Never(error.to_string()),
            _ => NoStart::Later(error.to_string()),
        })?;
        if recovery.next_seq < floor {
            let lost = format!("{floor} records were promised, {} are left", recovery.next_seq);
            return Err(NoStart::Never(lost));
        }
        let state = refold(dir, recovery.next_seq, history)?;
        let (mut state, mut taken) = (state, None);
        if setup.snapshots
            && let Some((newest, resumed)) =
                resume(&setup.build, recovery.next_seq).map_err(NoStart::Never)?
        {
            if resumed != state || resumed.hash() != state.hash() {
                let what = format!("the snapshot of record {newest} is not the fold of the log");
                return Err(NoStart::Never(what));
            }
            (state, taken) = (resumed, Some(newest));
        }
        let gate = Gate::new(&setup.documents).map_err(|errors| NoStart::Never(format!("{errors:?}")))?;
        let torn = recovery.torn.as_ref();
        let recovered = torn.map(|torn| json!({ "torn_from_seq": torn.first_seq, "torn_bytes": torn.bytes }));
        let epoch = recovery.last_epoch + 1;
        let config = Config {
            version: "sim".to_owned(),
            epoch,
            recovered,
            model_slots: MODEL_SLOTS,
            agent_slots: setup.agent_slots.unwrap_or(usize::MAX),
            allowance: setup.allowance,
            within: None,
        };
        Ok(Self {
            shadow: state.clone(),
            has_changed: true,
            kernel: Kernel::new(config, state, gate),
            journal,
            progress,
            parked: BTreeMap::new(),
            held: BTreeMap::new(),
            durable: recovery.next_seq,
            written: recovery.next_seq,
            poisoned: None,
            answers: Vec::new(),
            started: Vec::new(),
            orders: Vec::new(),
            history: Vec::new(),
            doom: Arc::clone(doom),
            snapshots: setup.snapshots.then(|| (Taking::from(taken.unwrap_or(0)), setup.build.clone())),
            from_snapshot: taken.is_some(),
            acts: 0,
        })
    }

    pub(crate) fn boot(&mut self, now: Timestamp, documents: &Documents) {
        let acts = self.kernel.boot(now, documents);
        self.carry_out(acts, now);
    }

    pub(crate) fn submit(&mut self, now: Timestamp, mut call: Call) {
        if planted!("forgotten key") {
            call.idempotency = None;
        }
        if let Some(reason) = &self.poisoned {
            let error = CallError::new(ostk_kernel::Code::Poisoned, reason.clone());
            return self.answers.push((call.id, Err(error)));
        }
        let acts = self.kernel.submit(now, call);
        self.carry_out(acts, now);
    }

    pub(crate) fn complete(&mut self, now: Timestamp, id: OpId, outcome: Outcome) {
        let acts = self.kernel.complete(now, id, outcome);
        self.carry_out(acts, now);
    }

    pub(crate) fn notice(&mut self, now: Timestamp, paths: &[String]) {
        let acts = self.kernel.notice(now, paths);
        self.carry_out(acts, now);
    }

    pub(crate) fn withdraw(&mut self, now: Timestamp, caller: &Caller, key: &str) {
        let acts = self.kernel.withdraw(now, caller, key);
        self.carry_out(acts, now);
    }

    pub(crate) fn tick(&mut self, now: Timestamp) -> Option<Timestamp> {
        if planted!("no deadlines") {
            return None;
        }
        let (acts, next) = self.kernel.tick(now);
        self.carry_out(acts, now);
        next
    }

    /// The journal's writer takes a turn, and what waited for it goes on.
    pub(crate) fn step_journal(&mut self, now: Timestamp, max: usize, due: bool) {
        self.journal.step(max, due);
        let (written, durable, poison) = {
            let mut progress = lock(&self.progress);
            (progress.written, progress.durable, progress.poison.take())
        };
        let durable = if planted!("written for durable") { written } else { durable };
        if self.doom.is_dead() {
            return;
        }
        self.written = self.written.max(written).max(durable);
        let later = self.held.split_off(&(self.written + 1));
        let ready = std::mem::replace(&mut self.held, later);
        self.carry_out(ready.into_values().flatten().collect(), now);
        self.durable = self.durable.max(durable);
        let later = self.parked.split_off(&(self.durable + 1));
        let ready = std::mem::replace(&mut self.parked, later);
        self.carry_out(ready.into_values().flatten().collect(), now);
        if let Some((taking, build)) = &mut self.snapshots {
            taking.durable(build, self.durable, self.kernel.state());
        }
        if let Some(reason) = poison {
            self.poison(reason);
        }
    }

    /// A stop in good order; false if the journal could not be closed.
    pub(crate) fn stop(mut self, now: Timestamp) -> (bool, Vec<Draft>) {
        let acts = self.kernel.stop(now, "asked to stop");
        self.carry_out(acts, now);
        (self.journal.close(), self.history)
    }

    pub(crate) fn blobs(&self) -> &Arc<BlobStore> {
        self.journal.journal().blobs()
    }

    /// Records that a death of the process, or of the machine, may not take away.
    pub(crate) fn promised(&self) -> (u64, u64) {
        (self.written, self.durable)
    }

    /// Whether nothing waits for the journal.
    pub(crate) fn is_settled(&self) -> bool {
        self.parked.is_empty() && self.held.is_empty() && self.durable == self.history.len() as u64
    }

    fn poison(&mut self, reason: String) {
        self.parked.clear();
        self.held.clear();
        self.poisoned.get_or_insert(reason);
    }

    fn carry_out(&mut self, acts: Vec<Act>, now: Timestamp) {
        let mut queue: VecDeque<Act> = acts.into();
        while let Some(act) = queue.pop_front() {
            match awaited_by(&act) {
                After::Durable(count) if count > self.durable => {
                    self.parked.entry(count).or_default().push(act)
                }
                After::Written(count) if count > self.written => {
                    self.held.entry(count).or_default().push(act)
                }
                // What is known at once goes on after what was to be done before.
                _ => queue.extend(self.perform(act, now)),
            }
        }
    }

    fn perform(&mut self, act: Act, now: Timestamp) -> Vec<Act> {
        if !self.doom.survives(name_of(&act)) {
            return Vec::new();
        }
        self.acts += 1;
        match act {
            Act::Append { draft, blobs, awaited } => {
                if let Err(error) = fold(&mut self.shadow, &draft) {
                    self.poison(format!("bug: {error}"));
                }
                self.has_changed = true;
                self.history.push(draft.clone());
                let journal = self.journal.journal();
                let appended = match awaited {
                    Awaited::Durable => journal.append(draft, blobs),
                    Awaited::Written => journal.append_written(draft, blobs),
                    Awaited::Nothing => journal.append_relaxed(draft, blobs),
                };
                if let Err(error) = appended {
                    self.poison(error.to_string());
                }
            }
            Act::Reply { call, result, .. } => {
                if planted!("answered twice") && call % 100 == 99 {
                    self.answers.push((call, result.clone()));
                }
                self.answers.push((call, result));
            }
            Act::Abort { id } => self.orders.push((id, Order::Abort)),
            Act::Signal { id, signal } => self.orders.push((id, Order::Signal(signal))),
            // Known at once, as in the daemon.
            Act::Run { id, op: Op::DescribeModel { .. }, .. } => {
                let facts = ostk_kernel::ModelFacts { context_window: 200_000, has_price: true };
                return self.kernel.complete(now, id, Outcome::Described(Ok(facts)));
            }
            Act::Run { id, op, .. } => self.started.push((id, op)),
        }
        Vec::new()
    }
}

/// What an act waits for.
fn awaited_by(act: &Act) -> After {
    match act {
        Act::Run { .. } if planted!("effect before intent") => After::Nothing,
        Act::Reply { .. } if planted!("early acknowledgement") => After::Nothing,
        Act::Reply { result: Ok(result), .. }
            if planted!("double delivery") && result.get("nudges").is_some() =>
        {
            After::Nothing
        }
        _ => act.after(),
    }
}

/// The state as the log gives it, whose records must be those that were handed over.
fn refold(dir: &Path, next_seq: u64, history: &mut Vec<Draft>) -> Result<State, NoStart> {
    let never = |what: String| NoStart::Never(what);
    let mut state = State::default();
    let mut expected = State::default();
    for entry in Reader::open(dir).map_err(|error| never(error.to_string()))? {
        let entry = entry.map_err(|error| never(error.to_string()))?;
        let header = Header::scan(&entry.line).map_err(|error| never(error.to_string()))?;
        let handed = usize::try_from(entry.seq).ok().and_then(|at| history.get(at));
        let Some(handed) = handed else {
            return Err(never(format!("record {} was never handed over", entry.seq)));
        };
        if (header.ts, header.epoch, header.actor, header.event)
            != (handed.ts, handed.epoch, &handed.actor, &handed.event)
        {
            return Err(never(format!("record {} is not the one that was handed over", entry.seq)));
        }
        fold_line(&mut state, &entry.line).map_err(|error| never(error.to_string()))?;
        fold(&mut expected, handed).map_err(|error| never(error.to_string()))?;
    }
    if state.next_seq != next_seq {
        return Err(never(format!("recovery saw {next_seq} records, replay {}", state.next_seq)));
    }
    if state != expected || state.hash() != expected.hash() {
        return Err(never("the fold of the log is not the fold of what was handed over".to_owned()));
    }
    history.truncate(usize::try_from(next_seq).unwrap_or(usize::MAX));
    Ok(state)
}

fn name_of(act: &Act) -> &'static str {
    match act {
        Act::Append { .. } => "act.append",
        Act::Run { .. } => "act.run",
        Act::Reply { .. } => "act.reply",
        Act::Abort { .. } => "act.abort",
        Act::Signal { .. } => "act.signal",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
