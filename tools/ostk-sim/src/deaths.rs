//! Deaths and starts: the daemon is killed or the power fails, at any moment and also while a new one starts; whoever
//! asked hears nothing, and the next daemon finds what the disk kept.

use std::sync::Arc;

use ostk_kernel::{Op, SteadyClock};
use ostk_log::Draft;
use serde_json::json;

use crate::{
    clients::SHARED,
    daemon::{Daemon, NoStart},
    pipes::PIPES,
    world::{Asker, Death, World},
};

/// Starts of the daemon in a row, after which something is wrong.
const MAX_STARTS: usize = 40;

impl World {
    /// The machine dies now, or soon.
    pub(crate) fn arm(&mut self, death: Death, moments: u64) {
        self.death = death;
        self.doom.arm(moments);
    }

    /// The daemon is ended and started again, as a person does with one whose journal is poisoned.
    pub(crate) fn restart(&mut self) {
        self.disk.mend();
        self.death = Death::Kill;
        self.die();
    }

    /// The machine died: whoever asked hears nothing, and a new daemon starts.
    pub(crate) fn die(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        let kind = match (self.doom.is_dead(), self.death) {
            (false, _) => "restarts after trouble".to_owned(),
            (true, Death::Kill) => format!("kills at {}", self.doom.place()),
            (true, Death::PowerCut) => format!("power cuts at {}", self.doom.place()),
        };
        self.counts.one(&kind);
        self.note(format_args!("dies: {kind}"));
        self.gather(&daemon);
        let (written, durable) = daemon.promised();
        let history = daemon.history;
        self.copy_the_project(&history, durable);
        let floor = if self.death == Death::PowerCut { durable } else { written.max(durable) };
        for asked in std::mem::take(&mut self.asked).into_values() {
            if let Asker::Client(at) = asked.asker
                && let Some(client) = self.clients.get_mut(at)
            {
                client.daemon_died(Some(asked.wish));
            }
        }
        for client in &mut self.clients {
            client.daemon_died(None);
        }
        self.end_commands();
        self.processes.clear();
        self.black_out();
        self.start(history, floor, durable);
    }

    /// Commands die with their daemon, before or after their work.
    fn end_commands(&mut self) {
        self.early.clear();
        for running in std::mem::take(&mut self.running) {
            if let Op::Shell(command) = &running.op
                && !running.before.is_empty()
                && self.rng.chance(50)
            {
                self.work(&command.line);
            }
        }
    }

    /// The power fails, if that is how the machine died.
    fn black_out(&mut self) {
        if self.death != Death::PowerCut {
            return;
        }
        self.disk.cut_power();
        if self.settings.files_lose {
            let rng = &mut self.rng;
            match self.yard.cut_power(|_| rng.chance(50)) {
                Ok(back) => {
                    self.counts.add("files that a power cut took back", back.len() as u64);
                    for path in back {
                        self.ledger.shaken(&path);
                    }
                }
                Err(error) => self.fail(format!("the simulator itself: {error}")),
            }
        }
        self.yard.flush();
    }

    /// Starts daemons until one stays.
    pub(crate) fn start(&mut self, mut history: Vec<Draft>, mut floor: u64, mut durable: u64) {
        for _ in 0..MAX_STARTS {
            self.doom.revive();
            self.meddle();
            if !self.calm && self.rng.chance(20) {
                let death = if self.rng.chance(50) { Death::Kill } else { Death::PowerCut };
                let moments = self.rng.within(1, 30);
                self.arm(death, moments);
            }
            match Daemon::start(&self.doom, &self.setup, history, floor) {
                Ok(daemon) => {
                    self.begin_life(daemon);
                    if !self.doom.is_dead() {
                        return;
                    }
                    let Some(daemon) = self.daemon.take() else { return };
                    self.gather(&daemon);
                    (floor, durable) = daemon.promised();
                    history = daemon.history;
                }
                Err((NoStart::Never(why), _)) => return self.fail(format!("no start: {why}")),
                Err((NoStart::Later(why), kept)) => {
                    self.note(format_args!("no start yet: {why}"));
                    history = kept;
                }
            }
            self.counts.one("starts that died");
            self.running.clear();
            self.asked.clear();
            self.disk.mend();
            if self.death == Death::PowerCut {
                floor = durable;
            }
            self.black_out();
        }
        self.fail("the daemon did not start");
    }

    fn begin_life(&mut self, mut daemon: Daemon) {
        let store = Arc::clone(daemon.blobs());
        let stored = move |hash: &ostk_log::Hash| store.contains(hash);
        match self.yard.restart(daemon.kernel.state(), &stored) {
            // An edit by a person was put aside, where the person is told to look for it.
            Ok(saved) if !saved.is_empty() => SHARED.iter().for_each(|path| self.ledger.shaken(path)),
            Ok(_) => {}
            Err(error) => return self.fail(format!("the workspace: {error}")),
        }
        self.time.set(SteadyClock::from(daemon.kernel.state().last_ts, self.clock));
        let now = self.now();
        self.note(format_args!("starts with {} records", daemon.kernel.state().next_seq));
        self.counts.one("starts");
        self.counts.add("starts from a snapshot", u64::from(daemon.from_snapshot));
        daemon.boot(now, &self.setup.documents);
        self.daemon = Some(daemon);
        if self.doom.is_dead() {
            return;
        }
        for at in 0..self.clients.len() {
            self.begin_session(at);
        }
        if self.features.pipes {
            let bound = self.rng.within(1, 4);
            self.ada("pipe.make", json!({ "pipe": PIPES.first(), "messages": bound, "bytes": 150 }));
        }
    }
}
