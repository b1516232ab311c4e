//! One run: a machine with a daemon, its disk and its files; clients, agents and a person; and the faults that come to
//! them. Everything that happens is drawn from the seed, one step after the other.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    rc::Rc,
    sync::Arc,
};

use anyhow::Result;
use camino::Utf8PathBuf;
use ostk_disk::Mounted;
use ostk_kernel::{Call, CallId, Caller, Code, Op, OpId, SteadyClock};
use ostk_log::{Timestamp, planted};
use serde_json::{Value, json};

use crate::{
    Settings, agents,
    clients::{Client, FREE, SHARED, Wish, first_line},
    counts::Counts,
    daemon::{Answer, Daemon, MODEL_SLOTS, Order, Setup},
    disk::{SimDisk, Trouble},
    doom::Doom,
    features::{Features, allowance},
    ledger::{Deed, Ledger},
    pipes::Pipes,
    rng::Rng,
    standins::SPARE,
    trace::Trace,
    yard::Yard,
};

/// The wall clock when a run begins, in microseconds.
const BEGIN: u64 = 1_790_000_000_000_000;
/// A day of the wall clock, in microseconds.
const DAY_US: u64 = 86_400_000_000;
/// Agents beyond those of other runs where they wait for places.
const MORE_AGENTS: usize = 2;
/// A call that needs no command ends this long after its deadline at the latest, in microseconds: time jumps by seconds
/// from one step to the next, and each stage of a call may wait for the disk.
const GRACE: u64 = 60_000_000;
/// A call that needs a command may take that long beyond it.
pub(crate) const LONG_GRACE: u64 = 120_000_000;

/// Who waits for a call.
pub(crate) enum Asker {
    Client(usize),
    /// The person, or nobody in particular.
    Ada,
    /// A client that has died since, and come back.
    Gone(usize),
}

/// A call without an answer.
pub(crate) struct Asked {
    pub(crate) asker: Asker,
    pub(crate) wish: Wish,
    /// Records of the log when it was made.
    pub(crate) since: u64,
    /// When it was made; the clock may jump before it is answered.
    pub(crate) at: Timestamp,
    /// When it must have ended, by the steady clock; later if its caller is held.
    pub(crate) until: u64,
}

/// An operation that runs.
pub(crate) struct Running {
    pub(crate) id: OpId,
    pub(crate) op: Op,
    /// When it is done, by the steady clock.
    pub(crate) ready: u64,
    /// What the scan before a command found.
    pub(crate) before: Vec<String>,
    pub(crate) aborted: bool,
    /// Since when it has been held; its time stands still.
    pub(crate) held_since: Option<u64>,
}

/// How the machine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    Kill,
    PowerCut,
}

/// The world of one run.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) features: Features,
    pub(crate) rng: Rng,
    pub(crate) doom: Arc<Doom>,
    pub(crate) disk: SimDisk,
    pub(crate) yard: Yard,
    pub(crate) daemon: Option<Daemon>,
    /// The steady clock, in microseconds, and by how much the wall clock differs from it.
    pub(crate) clock: u64,
    pub(crate) skew: i64,
    pub(crate) time: Cell<SteadyClock>,
    pub(crate) clients: Vec<Client>,
    pub(crate) asked: BTreeMap<CallId, Asked>,
    next_call: CallId,
    pub(crate) running: Vec<Running>,
    /// Orders about operations that have not begun, which obey as they begin.
    pub(crate) early: BTreeMap<OpId, Vec<Order>>,
    pub(crate) ledger: Ledger,
    pub(crate) pipes: Pipes,
    pub(crate) person: BTreeMap<String, u64>,
    /// How often each command ran.
    pub(crate) ran: BTreeMap<String, u64>,
    /// Messages and signals that reached their clients.
    pub(crate) heard: BTreeSet<String>,
    /// Agents, with the turns that each may take, and the calls for which its tokens are enough.
    pub(crate) spawned: BTreeMap<String, [u64; 2]>,
    /// Commands that are agents, of those that were spawned.
    pub(crate) wards: BTreeSet<String>,
    /// Records of the log when everything had come to rest, and nobody was ended for it.
    pub(crate) rested: u64,
    /// Timers that were set.
    pub(crate) timers: usize,
    /// They are ended, so that everything can come to rest.
    pub(crate) wards_end: bool,
    /// How often the clock was moved on in a row, and no model was called.
    pub(crate) idle: u64,
    pub(crate) processes: BTreeSet<String>,
    /// No model answers until then.
    pub(crate) outage: u64,
    /// Calls that reached the model, by the second of the steady clock.
    pub(crate) tries: BTreeMap<u64, u64>,
    pub(crate) death: Death,
    pub(crate) calm: bool,
    pub(crate) wake: Option<Timestamp>,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    pub(crate) wrong: Vec<String>,
    pub(crate) setup: Setup,
    /// A snapshot of a copy of the project, whose log is another: where somebody puts it, and its bytes.
    pub(crate) copied: Option<(std::path::PathBuf, Vec<u8>)>,
    _mounted: Mounted,
}

impl World {
    pub(crate) fn new(seed: u64, mut settings: Settings, root: Utf8PathBuf) -> Result<Self> {
        let (mut rng, trace) = (Rng::new(seed), Trace::new(settings.trace));
        let doom: Arc<Doom> = Arc::default();
        let disk = SimDisk::new(Arc::clone(&doom), rng.fork());
        let mounted = ostk_disk::mount(Rc::new(disk.clone()));
        ostk_disk::fs::create_dir_all(crate::daemon::STATE_DIR)?;
        let yard = Yard::new(root, &doom)?;
        let features = Features::of(seed, settings.features);
        let client = |n| Client::new(format!("c{n}"), settings.work, &features);
        let clients = (0..2 + rng.below(3)).map(client).collect();
        let mut setup = Setup { snapshots: features.snapshots, ..Setup::default() };
        if features.places {
            settings.agents += MORE_AGENTS;
            setup.agent_slots = Some(1 + rng.below(2));
        }
        if features.fallback {
            setup.documents.humanfile = Some(format!("IDENTITY ada\nMODEL scripted\nFALLBACK {SPARE}\n"));
        }
        let mut world = Self {
            settings,
            seed,
            features,
            rng,
            doom,
            disk,
            yard,
            daemon: None,
            clock: 0,
            skew: 0,
            time: Cell::default(),
            clients,
            asked: BTreeMap::new(),
            next_call: 0,
            running: Vec::new(),
            early: BTreeMap::new(),
            ledger: Ledger::default(),
            pipes: Pipes::default(),
            person: BTreeMap::new(),
            ran: BTreeMap::new(),
            heard: BTreeSet::new(),
            spawned: BTreeMap::new(),
            wards: BTreeSet::new(),
            rested: 0,
            timers: 0,
            wards_end: false,
            idle: 0,
            processes: BTreeSet::new(),
            outage: 0,
            tries: BTreeMap::new(),
            death: Death::Kill,
            calm: false,
            wake: None,
            counts: Counts::default(),
            trace,
            wrong: Vec::new(),
            setup,
            copied: None,
            _mounted: mounted,
        };
        world.lay_out()?;
        if world.features.budget {
            world.setup.allowance = allowance(&mut world.rng);
        }
        world.start(Vec::new(), 0, 0);
        Ok(world)
    }

    /// The files as they are first.
    fn lay_out(&mut self) -> Result<()> {
        let agents = (0..self.settings.agents).map(|n| format!("a{n}"));
        let owners: Vec<String> =
            self.clients.iter().map(|client| client.name.clone()).chain(agents).collect();
        for path in SHARED {
            let mut text = String::new();
            for owner in owners.iter().map(String::as_str).chain(["person"]) {
                let line = first_line(owner, path);
                let filler: String = (0..5).map(|n| format!("{path} of {owner}, filler {n}\n")).collect();
                text.push_str(&format!("{line}\n{filler}"));
                self.ledger.begins(((*path).to_owned(), line.clone()));
                if owner.starts_with('a') {
                    let adds = vec![((*path).to_owned(), agents::agent_line(owner, path))];
                    self.ledger.asked(&Deed { adds, removes: vec![((*path).to_owned(), line)] });
                }
            }
            self.yard.put(path, &text, true)?;
        }
        self.yard.put("f0", "first\nsecond\n", true)?;
        self.yard.flush();
        Ok(())
    }

    /// The time as the daemon has it.
    pub(crate) fn now(&self) -> Timestamp {
        let wall = Timestamp::from_micros((BEGIN + self.clock).saturating_add_signed(self.skew));
        if planted!("clock set back") {
            return wall;
        }
        let mut clock = self.time.get();
        let now = clock.now(wall, self.clock);
        self.time.set(clock);
        now
    }

    pub(crate) fn note(&mut self, what: impl Display) {
        let (clock, passed) = (self.clock, self.doom.passed());
        self.trace.line(format_args!("{clock} {passed} {what}"));
    }

    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(format_args!("WRONG {what}"));
        self.wrong.push(what);
    }

    /// The wall clock jumps to so many microseconds after the next midnight, or before it.
    pub(crate) fn jump_to_midnight(&mut self, by: i64) {
        let day = self.now().as_micros() / DAY_US + 1;
        let wall = (day * DAY_US).saturating_add_signed(by);
        self.skew = i64::try_from(wall).unwrap_or(i64::MAX) - i64::try_from(BEGIN + self.clock).unwrap_or(0);
        self.note(format_args!("the wall clock jumps to midnight and {by} µs"));
        self.counts.one("clock jumps to midnight");
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, micros: u64) {
        self.clock += micros;
    }

    /// Makes a call.
    pub(crate) fn ask(&mut self, caller: Caller, asker: Asker, wish: Wish) -> CallId {
        self.next_call += 1;
        let (id, now) = (self.next_call, self.now());
        let long = wish.is_long();
        let until = self.clock + wish.timeout_ms * 1_000 + if long { LONG_GRACE } else { GRACE };
        self.note(format_args!(
            "call {id} {} {} {} key {:?}",
            caller.actor(),
            wish.verb,
            wish.args,
            wish.key
        ));
        self.counts.one("calls");
        self.counts.add("calls repeated with their key", u64::from(wish.again));
        self.ledger.asked(&wish.deed);
        let call = Call {
            id,
            caller,
            verb: wish.verb.to_owned(),
            args: wish.args.clone(),
            idempotency: wish.key.clone(),
            deadline: now.plus_millis(wish.timeout_ms),
        };
        let (since, at) = (self.records(), self.now());
        self.asked.insert(id, Asked { asker, wish, since, at, until });
        if let Some(daemon) = &mut self.daemon {
            daemon.submit(now, call);
        }
        id
    }

    /// Records of the log so far.
    pub(crate) fn records(&self) -> u64 {
        self.daemon.as_ref().map_or(0, |daemon| daemon.history.len() as u64)
    }

    pub(crate) fn ada(&mut self, verb: &'static str, args: Value) -> CallId {
        self.ask(Caller::Human("ada".to_owned()), Asker::Ada, Wish::new(verb, "", args))
    }

    /// The calls of each model that are under way.
    fn calls_under_way(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for running in &self.running {
            if let Op::Model { agent, .. } = &running.op {
                *calls.entry(agent.called().to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// Looks at what the daemon did: operations that it started, answers that it sent, whether it lives.
    pub(crate) fn look(&mut self) {
        if self.doom.is_dead() {
            return self.die();
        }
        let Some(daemon) = &mut self.daemon else { return };
        let (started, orders) = (std::mem::take(&mut daemon.started), std::mem::take(&mut daemon.orders));
        let answers = std::mem::take(&mut daemon.answers);
        for (id, op) in started {
            self.begin(id, op);
        }
        for (id, order) in orders {
            self.order(id, order);
        }
        for (model, calls) in self.calls_under_way() {
            if calls > MODEL_SLOTS {
                self.fail(format!("{calls} calls of {model} are under way at once"));
            }
        }
        for (call, answer) in answers {
            self.hear(call, &answer);
        }
        if let Some(daemon) = &mut self.daemon
            && !self.doom.is_dead()
            && std::mem::take(&mut daemon.has_changed)
            && daemon.shadow != *daemon.kernel.state()
        {
            self.fail("the fold of the records is not the kernel's state");
        }
        if let Some(reason) = self.daemon.as_ref().and_then(|daemon| daemon.poisoned.clone()) {
            self.note(format_args!("poisoned: {reason}"));
            if reason.starts_with("bug: ") {
                self.fail(reason);
            }
            self.counts.one("journals poisoned");
            self.restart();
        }
    }

    fn hear(&mut self, call: CallId, answer: &Answer) {
        let Some(asked) = self.asked.remove(&call) else {
            return self.fail(format!("call {call} was answered twice, or never asked"));
        };
        let text = match answer {
            Ok(value) => format!("ok {value}"),
            Err(error) => format!("{:?} {} {}", error.code, error.message, error.data),
        };
        self.note(format_args!("answer {call} {text}"));
        self.counts.one("answers");
        if self.clock > asked.until {
            let late = (self.clock - asked.until) / 1_000_000;
            self.fail(format!("{} was answered {late} s after its deadline and grace", asked.wish.verb));
        }
        let until = self.records();
        let Asker::Client(at) = asked.asker else { return };
        let may_be_lost = asked.wish.key.is_some() || self.features.mortals;
        if !self.calm && may_be_lost && self.rng.chance(4) {
            self.counts.one("answers lost");
            if let Some(client) = self.clients.get_mut(at) {
                client.open = None;
                client.unanswered(Some(asked.wish));
            }
            // Its connection broke, so it comes again.
            return self.begin_session(at);
        }
        let Some(client) = self.clients.get_mut(at) else { return };
        client.open = None;
        client.hear(&asked.wish, answer, &mut self.ledger);
        let name = client.name.clone();
        let told = self.pipes.hear(&name, &asked.wish, answer, (asked.since, until));
        if let Err(what) = told {
            self.fail(what);
        }
        self.hear_messages(answer);
        self.hear_signals(answer);
        self.hear_of_lock(&asked, answer);
        if matches!(answer, Err(error) if error.message.ends_with("has ended")) {
            self.begin_session(at);
        }
    }

    /// A lock is refused while somebody holds it, and no longer.
    fn hear_of_lock(&mut self, asked: &Asked, answer: &Answer) {
        let Asked { wish, at, .. } = asked;
        let refused = matches!(answer, Err(error) if error.code == Code::Conflict);
        if wish.verb != "lock" || !refused {
            return;
        }
        let state = self.daemon.as_ref().map(|daemon| daemon.kernel.state());
        let held =
            state.and_then(|state| state.locks.get(&wish.path)).map(|lock| (lock.holder.clone(), lock.until));
        if let Some((holder, until)) = held.filter(|(_, until)| until < at) {
            self.fail(format!("{holder} keeps the lock {} after {until}", wish.path));
        }
    }

    /// Messages that came with an answer.
    fn hear_messages(&mut self, answer: &Answer) {
        let told = match answer {
            Ok(value) => value.get("nudges"),
            Err(error) => error.data.get("nudges"),
        };
        let texts = told.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for text in texts.iter().filter_map(Value::as_str) {
            self.counts.one("messages delivered");
            self.hear_once(text.to_owned());
        }
    }

    /// Signals that a client took.
    fn hear_signals(&mut self, answer: &Answer) {
        let taken = answer.as_ref().ok().and_then(|value| value.get("signals")).and_then(Value::as_array);
        for signal in taken.into_iter().flatten() {
            self.counts.one("signals taken by clients");
            self.hear_once(format!("signal {}", signal.get("seq").unwrap_or(&Value::Null)));
        }
    }

    fn hear_once(&mut self, what: String) {
        if !self.heard.insert(what.clone()) {
            self.fail(format!("delivered twice: {what}"));
        }
    }

    /// A client starts a session under its name.
    pub(crate) fn begin_session(&mut self, at: usize) {
        let Some(name) = self.clients.get(at).map(|client| client.name.clone()) else { return };
        self.ada("session.start", json!({ "name": name, "exact": true, "client": "sim" }));
    }

    /// Adds what a daemon did to the counts.
    pub(crate) fn gather(&mut self, daemon: &Daemon) {
        self.counts.add("acts", daemon.acts);
        for trouble in self.disk.happened() {
            self.counts.one(match trouble {
                Trouble::WriteFails => "writes that failed",
                Trouble::SyncFails => "syncs that failed",
                Trouble::Full => "full disks",
                Trouble::Lies => "syncs that lied",
            });
        }
    }

    /// Everyone who can be sent a message.
    pub(crate) fn names(&self) -> Vec<String> {
        let clients = self.clients.iter().map(|client| client.name.clone());
        clients.chain(self.spawned.keys().cloned()).chain(self.wards.iter().cloned()).collect()
    }

    /// The files that clients use.
    pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
        SHARED.iter().chain(FREE).copied()
    }
}
