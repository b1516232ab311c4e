//! What may happen next: somebody asks, an operation ends, the journal writes, a person edits, time jumps, something
//! breaks. One thing a step, chosen by the seed.

use ostk_kernel::{CallId, Caller, Found, SIGNALS};
use serde_json::json;

use crate::{
    agents,
    clients::{SHARED, Wish, first_line},
    disk::Trouble,
    features::allowance,
    ledger::Deed,
    timers,
    world::{Asker, Death, LONG_GRACE, World},
};

/// A step of the clock, in microseconds.
const STEP: u64 = 6_000;
/// Operations of the machine after which an armed death comes at the latest.
const DEATH_WITHIN: u64 = 60;

impl World {
    /// One step.
    pub(crate) fn step(&mut self) {
        let pause = if self.rng.chance(3) { self.rng.within(0, 4_000_000) } else { self.rng.within(0, STEP) };
        self.pass(pause);
        match self.rng.below(100) {
            0..=29 => self.client_asks(),
            30..=59 => {
                if !self.operate() {
                    self.write_journal();
                }
            }
            60..=79 => self.write_journal(),
            80..=86 => self.tick(),
            87..=90 => self.person_edits(),
            91 => self.yard_is_written_back(),
            92 => self.noticed(),
            93..=94 => self.ada_asks(),
            95 => self.clock_jumps(),
            96..=97 => self.something_breaks(),
            98 => self.somebody_gives_up(),
            _ => self.death_is_near(),
        }
        self.look();
    }

    pub(crate) fn client_asks(&mut self) {
        let at = self.rng.below(self.clients.len());
        if self.features.mortals && self.rng.chance(4) {
            self.client_dies(at);
        }
        let others = self.names();
        let Some(client) = self.clients.get_mut(at).filter(|client| client.open.is_none()) else { return };
        let wish = client.wish(&mut self.rng, &others);
        let caller = Caller::Agent(client.name.clone());
        if let Some(content) = wish.args.get("content").and_then(serde_json::Value::as_str) {
            self.ledger.shown(caller.lineage(), &wish.path, content);
        }
        if let (Some(from), Some(to)) = (text_of(&wish, "from"), text_of(&wish, "to")) {
            self.ledger.renamed(caller.lineage(), &from, &to);
        }
        let id = self.ask(caller, Asker::Client(at), wish);
        if let Some(client) = self.clients.get_mut(at) {
            client.open = Some(id);
        }
    }

    /// A client dies, whatever it waits for, and another process takes its place.
    fn client_dies(&mut self, at: usize) {
        let notes = self.rng.chance(70);
        let Some(client) = self.clients.get_mut(at) else { return };
        let asked = client.open.and_then(|open| self.asked.get_mut(&open));
        let wish = asked.map(|asked| {
            asked.asker = Asker::Gone(at);
            asked.wish.clone()
        });
        let name = client.name.clone();
        client.die(wish, notes);
        self.counts.one("clients killed");
        self.note(format_args!("{name} dies"));
        self.begin_session(at);
    }

    pub(crate) fn write_journal(&mut self) {
        let max = if self.rng.chance(50) { usize::MAX } else { 1 + self.rng.below(4) };
        let due = self.rng.chance(30);
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            daemon.step_journal(now, max, due);
        }
    }

    pub(crate) fn tick(&mut self) {
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            self.wake = daemon.tick(now);
        }
        self.look_for_late_calls();
    }

    /// The commands of whoever is held have as much time as they had when they go on.
    fn look_for_late_calls(&mut self) {
        let held: Vec<bool> = self.clients.iter().map(|client| self.is_held(&client.name)).collect();
        let mut late = None;
        for asked in self.asked.values_mut() {
            match asked.asker {
                Asker::Client(at) | Asker::Gone(at)
                    if held.get(at) == Some(&true) && asked.wish.is_long() =>
                {
                    asked.until = asked.until.max(self.clock + asked.wish.timeout_ms * 1_000 + LONG_GRACE);
                }
                _ if asked.until < self.clock => late = Some(asked.wish.verb),
                _ => {}
            }
        }
        if let Some(verb) = late {
            self.fail(format!("{verb} has no answer although its deadline and grace are over"));
        }
    }

    /// The next change of the person's line in a file.
    fn person_change(&mut self, path: &str) -> (String, String) {
        let count = self.person.entry(path.to_owned()).or_default();
        let line =
            |n: u64| if n == 0 { first_line("person", path) } else { format!("person in {path}: {n};") };
        let change = (line(*count), line(*count + 1));
        *count += 1;
        change
    }

    fn person_edits(&mut self) {
        let path = self.rng.pick(SHARED).copied().unwrap_or_default();
        let (old, new) = self.person_change(path);
        let Some(text) = self.yard.text(path) else {
            return self.fail(format!("{path} is gone"));
        };
        if !text.contains(&old) {
            // A power cut took an edit back: the person finds an older line and goes on from there.
            return;
        }
        self.note(format_args!("person: {new}"));
        self.counts.one("edits by a person");
        let in_place = self.rng.chance(50);
        self.person_did(path, &old, &new);
        if let Err(error) = self.yard.put(path, &text.replacen(&old, &new, 1), in_place) {
            self.fail(format!("the simulator itself: {error}"));
        }
    }

    fn person_did(&mut self, path: &str, old: &str, new: &str) {
        let at = |line: &str| vec![(path.to_owned(), line.to_owned())];
        self.ledger.done_outside(&Deed { adds: at(new), removes: at(old) });
    }

    /// A person changes a file in the middle of its being placed; true if that is going to happen.
    pub(crate) fn intrude(&mut self, steps: &[Found]) -> bool {
        let path = steps.first().map(|step| step.path.clone()).unwrap_or_default();
        if self.calm || !SHARED.contains(&path.as_str()) || !self.rng.chance(10) {
            return false;
        }
        let change = self.person_change(&path);
        self.yard.intrude(&path, change);
        true
    }

    pub(crate) fn end_intrusion(&mut self) {
        let Some(intrusion) = self.yard.end_intrusion() else { return };
        let (old, new) = intrusion.change;
        if intrusion.done && !new.is_empty() {
            self.counts.one("edits while a file was placed");
            self.person_did(&intrusion.path, &old, &new);
        } else if let Some(count) = self.person.get_mut(&intrusion.path) {
            *count -= 1;
        }
    }

    fn yard_is_written_back(&mut self) {
        self.note("the cache is written back");
        self.yard.flush();
    }

    fn noticed(&mut self) {
        let paths = match self.rng.below(3) {
            0 => Vec::new(),
            _ => SHARED.iter().map(|path| (*path).to_owned()).collect(),
        };
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            daemon.notice(now, &paths);
        }
    }

    /// The person starts agents and sends signals.
    fn ada_asks(&mut self) {
        let name = format!("a{}", self.rng.below(self.settings.agents));
        if !self.spawned.contains_key(&name) {
            let revival = self.rng.pick(&["revive", "revive", "revive", "ask", "reap"]).copied();
            return self.spawn(&name, revival.unwrap_or_default());
        }
        if self.features.supervision && self.rng.chance(40) && self.ward_starts() {
            return;
        }
        if self.features.timers && self.timers < timers::MOST && self.rng.chance(30) {
            let args = timers::args(self.timers, &mut self.rng);
            self.timers += 1;
            self.ada("timer.set", args);
            return;
        }
        if self.features.budget && self.rng.chance(20) {
            self.setup.allowance = allowance(&mut self.rng);
            self.counts.one("limits of a day changed");
            self.ada("policy.reload", json!({}));
            return;
        }
        match self.rng.below(20) {
            0 => self.ada("kernel.panic", json!({ "reason": "a drill" })),
            1..=2 => self.ada("kernel.resume", json!({})),
            3..=4 => {
                let resolution = if self.rng.chance(80) { "revive" } else { "reap" };
                self.ada("lineage.resolve", json!({ "lineage": name, "resolution": resolution }))
            }
            _ => self.ada_signals(),
        };
    }

    pub(crate) fn spawn(&mut self, name: &str, revival: &str) {
        let (text, turns) = agents::agentfile(name, self.seed, &self.features);
        self.spawned.insert(name.to_owned(), turns);
        self.ada("agent.spawn", json!({ "name": name, "agentfile": text, "revival": revival }));
    }

    /// A command that is an agent starts under supervision; false if all have.
    fn ward_starts(&mut self) -> bool {
        let Some(name) = agents::WARDS.iter().find(|name| !self.wards.contains(**name)) else { return false };
        self.wards.insert((*name).to_owned());
        let file = agents::ward_file(name, self.seed);
        let revival = if self.rng.chance(80) { "revive" } else { "reap" };
        let command = format!("serve {name}");
        let args = json!({ "name": name, "agentfile": file, "command": command, "revival": revival });
        self.ada("agent.spawn", args);
        true
    }

    fn ada_signals(&mut self) -> CallId {
        let names = self.names();
        let name = self.rng.pick(&names).cloned().unwrap_or_default();
        let signal = match self.rng.below(10) {
            0..=2 => "SIGSTOP",
            3..=6 => "SIGCONT",
            _ => self.rng.pick(SIGNALS).map_or("SIGCONT", |signal| signal.name),
        };
        self.counts.one("signals");
        let text = format!("signal {}", self.clock);
        self.ada("agent.signal", json!({ "lineage": name, "signal": signal, "text": text }))
    }

    fn clock_jumps(&mut self) {
        if self.features.budget && self.rng.chance(40) {
            let by = i64::try_from(self.rng.within(0, 4_000_000)).unwrap_or(0) - 2_000_000;
            return self.jump_to_midnight(by);
        }
        let by = match self.rng.below(4) {
            0 => i64::try_from(self.rng.within(0, 7_200_000_000)).unwrap_or(0),
            1 => -i64::try_from(self.rng.within(0, self.settings.back_jump_us)).unwrap_or(0),
            2 => i64::try_from(self.rng.within(0, 2_000_000)).unwrap_or(0),
            _ => return self.pass_quickly(),
        };
        self.note(format_args!("the wall clock jumps by {by} µs"));
        self.counts.one(if by < 0 { "clock jumps back" } else { "clock jumps forward" });
        self.skew += by;
    }

    /// Nothing happens for a while, but the daemon's own clock.
    fn pass_quickly(&mut self) {
        for _ in 0..4 {
            self.pass(1_000_000);
            while self.operate() {
                self.write_journal();
                self.look();
            }
            self.tick();
            self.look();
        }
    }

    fn something_breaks(&mut self) {
        let after = self.rng.within(1, 12);
        match self.rng.below(6) {
            0 => self.disk.trouble(Trouble::WriteFails, after),
            1 => {
                self.disk.trouble(Trouble::SyncFails, after);
                self.death = Death::PowerCut;
            }
            2 => self.disk.trouble(Trouble::Full, after),
            3 => {
                self.counts.one("outages of an hour");
                self.outage = self.clock + 3_600_000_000;
            }
            4 if self.features.fallback => {
                self.counts.one("outages of minutes");
                self.outage = self.clock + self.rng.within(1, 300) * 1_000_000;
            }
            _ if self.settings.lies && self.rng.chance(30) => self.disk.trouble(Trouble::Lies, 1),
            _ => {}
        }
    }

    /// A client no longer waits for a call that has a key.
    fn somebody_gives_up(&mut self) {
        let open = self.asked.values().filter_map(|asked| match asked.asker {
            Asker::Client(at) => Some((at, asked.wish.key.clone()?)),
            Asker::Ada | Asker::Gone(_) => None,
        });
        let open: Vec<(usize, String)> = open.collect();
        let Some((at, key)) = self.rng.pick(&open).cloned() else { return };
        let Some(name) = self.clients.get(at).map(|client| client.name.clone()) else { return };
        self.counts.one("calls withdrawn");
        self.note(format_args!("withdraws {key}"));
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            daemon.withdraw(now, &Caller::Agent(name), &key);
        }
    }

    fn death_is_near(&mut self) {
        if !self.rng.chance(60) {
            return;
        }
        let death = if self.rng.chance(50) { Death::Kill } else { Death::PowerCut };
        let moments = self.rng.within(1, DEATH_WITHIN);
        self.arm(death, moments);
    }
}

fn text_of(wish: &Wish, name: &str) -> Option<String> {
    Some(wish.args.get(name)?.as_str()?.to_owned())
}
