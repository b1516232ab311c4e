//! The end of a run: everything calms down, everyone gets an answer, and then everything is compared.

use std::collections::BTreeSet;

use ostk_kernel::{Caller, LineageState, Op, Phase, State};
use serde_json::{Value, json};

use crate::{
    agents,
    clients::{SHARED, Wish},
    daemon::Daemon,
    hands, plumbing, spending,
    walk::Walk,
    workers::{self, Filter},
    world::{Asker, Running, World},
};

/// Steps until everything has come to rest; a run has a few hundred before.
const MAX_STEPS: usize = 20_000;
/// Times that the clock is moved on without a call of the model, after which everybody waits for the next day.
const IDLE: u64 = 12;
/// Times that resting workers are ended: no more wait in line.
const MAX_ROUNDS: usize = 20;
/// The longest outage at the end, in microseconds.
const LAST_OUTAGE: u64 = 200_000_000;
/// Records that are counted for the report, and as what.
const COUNTED: &[(&str, &str)] = &[
    ("budget.reached", "limits of a day that were reached"),
    ("supervise.restarted", "processes started again"),
    ("needle.claimed", "needles claimed"),
    ("needle.released", "claims that ended"),
    ("needle.assigned", "needles given to workers"),
    ("model.substituted", "models that another answered for"),
    ("timer.fired", "timers that fired"),
    ("agent.queued", "agents that waited for a place"),
    ("saga.began", "sagas"),
    ("saga.step", "turns of a saga's steps"),
];

impl World {
    /// Calms down, waits for every answer, and compares.
    pub(crate) fn finish(&mut self) {
        self.calm = true;
        self.outage = self.outage.min(self.clock);
        self.doom.arm(0);
        self.disk.mend();
        if self.daemon.as_ref().is_some_and(|daemon| daemon.poisoned.is_some()) {
            self.restart();
        }
        if self.features.fallback {
            self.one_more_outage();
        }
        self.release_everybody();
        if !self.rest() || !self.wrong.is_empty() {
            return;
        }
        self.repeat_what_is_open();
        self.read_everything();
        self.end_workers();
        self.end_pipes();
        self.end_wards();
        self.end_workers();
        if self.wrong.is_empty() {
            self.compare();
        }
        if self.wrong.is_empty() {
            self.stop();
        }
    }

    /// The model of the agents is down for some minutes while all of them are at work, which another one then does.
    fn one_more_outage(&mut self) {
        self.outage = self.clock + self.rng.within(0, LAST_OUTAGE);
        for name in (0..self.settings.agents).map(|n| format!("a{n}")) {
            if !self.spawned.contains_key(&name) {
                self.spawn(&name, "revive");
            }
        }
    }

    /// Whoever is held, stopped or orphaned goes on.
    fn release_everybody(&mut self) {
        self.ada("kernel.resume", json!({}));
        for name in self.names() {
            self.ada("lineage.resolve", json!({ "lineage": name, "resolution": "revive" }));
            self.ada("agent.signal", json!({ "lineage": name, "signal": "SIGCONT" }));
        }
    }

    /// A signal that waited may hold somebody again who was just let go, and nobody knew of an agent whose spawn was not
    /// answered.
    fn continue_held(&mut self) {
        let lineages = self.daemon.iter().flat_map(|daemon| &daemon.kernel.state().lineages);
        let held = lineages.filter(|(_, known)| known.state.is_held());
        let held: Vec<(String, LineageState)> =
            held.map(|(name, known)| (name.clone(), known.state)).collect();
        for (name, state) in held {
            if state == LineageState::Orphaned {
                self.ada("lineage.resolve", json!({ "lineage": name, "resolution": "revive" }));
            } else {
                self.ada("agent.signal", json!({ "lineage": name, "signal": "SIGCONT" }));
            }
        }
    }

    /// Runs until nothing moves; false if it never does.
    pub(crate) fn rest(&mut self) -> bool {
        for _ in 0..MAX_STEPS {
            self.look();
            if !self.wrong.is_empty() || self.is_at_rest() {
                return true;
            }
            self.advance();
        }
        let open: Vec<&str> = self.asked.values().map(|asked| asked.wish.verb).collect();
        let lives = self.daemon.iter().flat_map(|daemon| &daemon.kernel.state().lineages);
        let lives: Vec<String> = lives.map(|(name, known)| format!("{name} {:?}", known.state)).collect();
        let what =
            format!("it never comes to rest: {} operations, calls {open:?}, {lives:?}", self.running.len());
        self.fail(what);
        false
    }

    /// Nothing goes wrong until then.
    pub(crate) fn live_until(&mut self, clock: u64) {
        while self.clock < clock && self.wrong.is_empty() {
            self.look();
            self.advance();
        }
    }

    /// Whatever can happen happens, and time passes if nothing can.
    fn advance(&mut self) {
        if self.operate() {
            return;
        }
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            daemon.step_journal(now, usize::MAX, true);
        }
        self.look();
        // Where somebody is asked again and again whether he works, this is the moment of rest.
        if !self.is_at_rest() {
            self.wait();
            self.continue_held();
        }
    }

    /// Time passes until something is due.
    fn wait(&mut self) {
        if self.running.iter().any(|running| running.is_due(self.clock)) {
            return;
        }
        let ready = self.running.iter().filter(|running| running.held_since.is_none());
        let ready = ready.map(|running| running.ready).min();
        let wake = self.wake.map(|wake| self.clock + wake.millis_since(self.now()) * 1_000 + 1_000);
        let next = ready.into_iter().chain(wake).min().unwrap_or(self.clock);
        self.wait_for_the_next_day();
        self.clock = self.clock.max(next.min(self.clock + 5_000_000)) + 1_000;
        self.tick();
    }

    /// Whoever has something to do and calls no model for a while waits for the next day.
    fn wait_for_the_next_day(&mut self) {
        let calls = self.running.iter().any(|running| matches!(running.op, Op::Model { .. }));
        let idle = self.features.budget && self.calm && self.asked.is_empty() && !calls;
        self.idle = if idle { self.idle + 1 } else { 0 };
        if self.idle > IDLE {
            self.idle = 0;
            self.jump_to_midnight(1_000);
        }
    }

    fn is_at_rest(&self) -> bool {
        let Some(daemon) = &self.daemon else { return true };
        let state = daemon.kernel.state();
        let agents = workers::are_idle(state);
        let is_ward =
            |running: &Running| matches!(&running.op, Op::Shell(command) if hands::is_ward(&command.line));
        let operations = self.running.iter().all(|running| !self.wards_end && is_ward(running));
        let due = state.supervised.values().any(|known| matches!(known.phase, Phase::Due(_)));
        let sagas = state.sagas.values().all(|saga| !saga.state.is_open());
        let kept = state
            .supervised
            .iter()
            .filter(|(name, known)| known.phase == Phase::Up && self.wards.contains(*name));
        let resting = state.agents.values().filter(|agent| agent.is_at_rest());
        // Where workers that wait for work, or commands, have the places, nobody in line begins.
        let line = state.queue.is_empty()
            || self.setup.agent_slots.is_some_and(|most| resting.count() + kept.count() >= most);
        let timers = state.timers.is_empty();
        line && timers
            && self.asked.is_empty()
            && sagas
            && operations
            && daemon.is_settled()
            && agents
            && !due
    }

    /// Clients whose answer was lost ask again until they know.
    fn repeat_what_is_open(&mut self) {
        for at in 0..self.clients.len() {
            for _ in 0..4 {
                let Some(client) = self.clients.get_mut(at) else { return };
                let Some(wish) = client.next.take() else { break };
                let caller = Caller::Agent(client.name.clone());
                let id = self.ask(caller, Asker::Client(at), wish);
                if let Some(client) = self.clients.get_mut(at) {
                    client.open = Some(id);
                }
                if !self.rest() {
                    return;
                }
            }
        }
    }

    /// Everybody looks at everything once more, so that messages and outside edits are known.
    fn read_everything(&mut self) {
        for at in 0..self.clients.len() {
            let Some(name) = self.clients.get(at).map(|client| client.name.clone()) else { continue };
            let wish = Wish::new("file.read", "s0", json!({ "path": "s0" }));
            self.ask(Caller::Agent(name), Asker::Client(at), wish);
        }
        let known = self.daemon.as_ref().map(|daemon| daemon.kernel.state().files.keys().cloned().collect());
        let known: Vec<String> = known.unwrap_or_default();
        let all: BTreeSet<String> = Self::paths().map(str::to_owned).chain(known).collect();
        for path in all {
            self.ada("file.read", json!({ "path": path }));
        }
        self.rest();
    }

    /// A call of a client, and its answer.
    fn hear_client(&mut self, at: usize, verb: &'static str, args: Value) -> bool {
        let Some(name) = self.clients.get(at).map(|client| client.name.clone()) else { return false };
        self.ask(Caller::Agent(name), Asker::Client(at), Wish::new(verb, "", args));
        self.rest() && self.wrong.is_empty()
    }

    /// Workers that wait for work are ended, after what they left was looked at.
    fn end_workers(&mut self) {
        if self.rested == 0 {
            self.rested = self.records();
        }
        // Their places are for others, who come to rest as well.
        for _ in 0..MAX_ROUNDS {
            let state = self.daemon.as_ref().map(|daemon| daemon.kernel.state());
            let agents = state.into_iter().flat_map(|state| &state.agents);
            let resting: Vec<String> =
                agents.filter(|(_, agent)| agent.is_at_rest()).map(|(name, _)| name.clone()).collect();
            if resting.is_empty() || !self.wrong.is_empty() {
                return;
            }
            for name in resting {
                self.ada("agent.signal", json!({ "lineage": name, "signal": "SIGKILL" }));
            }
            self.rest();
        }
    }

    /// Commands that are agents run if they are to, and then they are ended.
    fn end_wards(&mut self) {
        self.wards_end = true;
        for name in self.wards.clone() {
            let state = self.daemon.as_ref().map(|daemon| daemon.kernel.state());
            let known = state.and_then(|state| state.supervised.get(&name)).map(|known| known.phase);
            let line = format!("serve {name}");
            let runs = |running: &Running| matches!(&running.op, Op::Shell(command) if command.line == line);
            let lives = self.running.iter().any(runs);
            if lives != (known == Some(Phase::Up)) {
                self.fail(format!("{name} is {known:?}, and it is {lives} that it lives"));
            }
            self.ada("agent.signal", json!({ "lineage": name, "signal": "SIGKILL" }));
        }
        self.rest();
    }

    /// Both ends of a pipe learn when the other has gone.
    fn end_pipes(&mut self) {
        if !self.features.pipes {
            return;
        }
        let state = self.daemon.as_ref().map(|daemon| daemon.kernel.state());
        let open = state.into_iter().flat_map(|state| &state.pipes).filter(|(_, pipe)| pipe.writers.had);
        let open: Vec<(String, u64)> = open.map(|(name, pipe)| (name.clone(), pipe.messages)).collect();
        for (pipe, messages) in open {
            for at in 0..self.clients.len() {
                self.hear_client(at, "pipe.close", json!({ "pipe": pipe, "end": "write" }));
            }
            // One more than it holds, and one by which a client learns that its session had ended.
            for _ in 0..messages + 2 {
                self.hear_client(0, "pipe.read", json!({ "pipe": pipe, "timeout_ms": 2_000 }));
            }
            let state = self.daemon.as_ref().map(|daemon| daemon.kernel.state());
            let is_there = state.is_some_and(|state| state.pipes.contains_key(&pipe));
            if is_there && !self.pipes.over.iter().any(|over| over.pipe == pipe && over.reads) {
                self.fail(format!("nobody writes to {pipe} any more, and its reader does not hear of it"));
            }
        }
        self.hear_client(0, "pipe.make", json!({ "pipe": "last" }));
        self.hear_client(1, "pipe.read", json!({ "pipe": "last", "timeout_ms": 0 }));
        self.hear_client(1, "pipe.close", json!({ "pipe": "last" }));
        self.hear_client(0, "pipe.write", json!({ "pipe": "last", "text": "?", "timeout_ms": 2_000 }));
        if self.wrong.is_empty() && !self.pipes.over.iter().any(|over| over.pipe == "last" && !over.reads) {
            self.fail("nobody reads the pipe last any more, and its writer does not hear of it");
        }
    }

    fn compare(&mut self) {
        let Some(daemon) = self.daemon.take() else { return self.fail("there is no daemon at the end") };
        let mut wrong = Vec::new();
        self.compare_log(&daemon, &mut wrong);
        self.compare_files(daemon.kernel.state(), &mut wrong);
        self.compare_agents(daemon.kernel.state(), &mut wrong);
        self.find_what_is_left(&daemon, &mut wrong);
        self.count(&daemon);
        self.note(format_args!("state {}", daemon.kernel.state().hash()));
        self.daemon = Some(daemon);
        for what in wrong {
            self.fail(what);
        }
    }

    fn compare_log(&mut self, daemon: &Daemon, wrong: &mut Vec<String>) {
        let shared: Vec<String> = SHARED.iter().map(|path| (*path).to_owned()).collect();
        let workers = self.spawned.keys().filter(|_| self.features.workers);
        let filters = workers.map(|name| (name.clone(), Filter::of(name, self.seed))).collect();
        let mut walk = Walk::new(daemon.blobs(), &self.ledger, &shared, wrong);
        walk.workers_take(filters);
        walk.places(self.setup.agent_slots);
        for draft in &daemon.history {
            if draft.seq == self.rested {
                walk.rest();
            }
            walk.record(draft);
        }
        walk.finish(&self.ran, |path| self.yard.text(path).is_some());
        spending::judge(&daemon.history, wrong);
        let came = plumbing::judge(&daemon.history, &self.pipes, wrong);
        self.counts.add("messages that came out of pipes", came);
    }

    fn compare_files(&self, state: &State, wrong: &mut Vec<String>) {
        for (path, entry) in &state.files {
            let expected = entry.image.map(|image| image.blob);
            let found = self.yard.text(path).map(|text| ostk_log::Hash::of(text.as_bytes()));
            if found != expected {
                wrong.push(format!("{path} is {found:?}, the log says {expected:?}"));
            }
        }
        for path in SHARED {
            let text = self.yard.text(path).unwrap_or_default();
            self.ledger.check(path, &text, wrong);
        }
    }

    fn compare_agents(&self, state: &State, wrong: &mut Vec<String>) {
        for (name, [turns, calls]) in &self.spawned {
            let spent = state.agents.get(name).map(|agent| agent.spent().turns).unwrap_or_default();
            // Nobody knows what the first call of a fresh context takes: it may be one too many.
            let fresh = state.supervised.get(name).is_some_and(|known| known.restarts > 0);
            let most = *turns.min(&(calls + u64::from(fresh)));
            if spent > most {
                wrong.push(format!("{name} took {spent} turns, its limit is {most}"));
            }
            for path in SHARED {
                let text = self.yard.text(path).unwrap_or_default();
                let (first, second) =
                    (crate::clients::first_line(name, path), agents::agent_line(name, path));
                if text.contains(&first) == text.contains(&second) {
                    wrong.push(format!("{path} must hold one of {name}'s lines"));
                }
            }
        }
    }

    /// Nothing is open, and nothing lies about.
    fn find_what_is_left(&self, daemon: &Daemon, wrong: &mut Vec<String>) {
        let state = daemon.kernel.state();
        if !state.open_writes.is_empty() || !state.open_shells.is_empty() {
            wrong.push("a write or a command is left open".to_owned());
        }
        let in_flight = daemon.kernel.in_flight();
        if in_flight.iter().any(|(_, count)| *count > 0) {
            wrong.push(format!("the kernel keeps what has ended: {in_flight:?}"));
        }
        let temporary =
            self.yard.files().unwrap_or_default().into_iter().find(|name| name.starts_with(".ostk-tmp"));
        if let Some(name) = temporary {
            wrong.push(format!("a temporary file was left behind: {name}"));
        }
    }

    fn count(&mut self, daemon: &Daemon) {
        self.counts.add("records", daemon.history.len() as u64);
        for (event, what) in COUNTED {
            let found = daemon.history.iter().filter(|draft| draft.event == *event);
            self.counts.add(what, found.count() as u64);
        }
        self.counts.add("writes acknowledged", self.ledger.acknowledged);
        self.counts.add("bytes on disk", self.disk.size() as u64);
        self.gather(daemon);
    }

    /// A stop in good order, and a start that finds the same.
    fn stop(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        let now = self.now();
        let (closed, history) = daemon.stop(now);
        if !closed {
            return self.fail("the journal could not be closed");
        }
        if self.settings.rot {
            self.disk.rot(&format!("{}/journal", crate::daemon::STATE_DIR));
            self.counts.one("bits that turned");
        }
        let records = history.len() as u64;
        match crate::daemon::Daemon::start(&self.doom, &self.setup, history, records) {
            Ok(_) => {}
            Err((why, _)) => self.fail(format!("no start after a stop: {why:?}")),
        }
    }
}
