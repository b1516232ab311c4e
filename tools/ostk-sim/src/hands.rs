//! Operations as they run: files at once or soon, commands and models after a while, in any order.

use std::collections::BTreeMap;

use ostk_kernel::{CallError, Code, Command, LineageState, Op, OpId, Outcome, ProcessSignal, ShellEnd};
use ostk_log::Hash;
use serde_json::json;

use crate::{
    agents,
    daemon::Order,
    world::{Running, World},
};

/// Longest time of an operation on files, in microseconds.
const SHORT: u64 = 40_000;
/// The same when the disk is slow.
const SLOW: u64 = 3_000_000;
/// Longest time of a command.
const COMMAND: u64 = 8_000_000;
/// The same of one that is an agent, unless it is ended.
const WARD: u64 = 20_000_000;
/// Longest time of a model call.
const MODEL: u64 = 20_000_000;

impl World {
    /// The kernel started an operation.
    pub(crate) fn begin(&mut self, id: OpId, op: Op) {
        self.counts.one(&format!("operations: {}", name_of(&op)));
        let slow = !self.calm && self.rng.chance(3);
        let takes = match &op {
            Op::Shell(command) => self.command_takes(command),
            Op::Model { .. } => self.rng.within(0, MODEL),
            Op::Start { .. } | Op::Interact { .. } | Op::Search { .. } => self.rng.within(0, SLOW),
            _ if slow => self.rng.within(0, SLOW),
            _ => self.rng.within(0, SHORT),
        };
        if let Op::Shell(command) = &op
            && is_ward(&command.line)
            && self
                .running
                .iter()
                .any(|running| matches!(&running.op, Op::Shell(other) if other.line == command.line))
        {
            self.fail(format!("{} lives twice", command.lineage));
        }
        let before = match &op {
            // A scan that finds nothing is told from one that was not made.
            Op::Shell(_) => [vec![String::new()], self.yard.scan().unwrap_or_default()].concat(),
            _ => Vec::new(),
        };
        let ready = self.clock + takes;
        if let Op::Model { .. } = op {
            *self.tries.entry(self.clock / 1_000_000).or_default() += 1;
        }
        self.running.push(Running { id, op, ready, before, aborted: false, held_since: None });
        for order in self.early.remove(&id).unwrap_or_default() {
            self.order(id, order);
        }
    }

    /// An operation is stopped, continued or ended; one that has not begun obeys as it begins.
    pub(crate) fn order(&mut self, id: OpId, order: Order) {
        self.note(format_args!("order {id} {order:?}"));
        let clock = self.clock;
        match self.running.iter().position(|running| running.id == id) {
            None => self.early.entry(id).or_default().push(order),
            Some(at) if matches!(self.running.get(at).map(|running| &running.op), Some(Op::Model { .. })) => {
                // Nobody hears how a model call ended that was given up.
                self.running.remove(at);
            }
            Some(at) => {
                if let Some(running) = self.running.get_mut(at) {
                    running.obey(order, clock);
                }
            }
        }
    }

    /// Whether nothing of this lineage may go on.
    pub(crate) fn is_held(&self, lineage: &str) -> bool {
        let Some(state) = self.daemon.as_ref().map(|daemon| daemon.kernel.state()) else { return false };
        let stopped = |known: &ostk_kernel::Lineage| known.state == LineageState::Stopped;
        state.panic.is_some() || state.lineages.get(lineage).is_some_and(stopped)
    }

    /// Carries out one of the operations that are due.
    pub(crate) fn operate(&mut self) -> bool {
        let due: Vec<usize> = (0..self.running.len())
            .filter(|at| self.running.get(*at).is_some_and(|running| running.is_due(self.clock)))
            .collect();
        let Some(at) = self.rng.pick(&due).copied() else { return false };
        let running = self.running.remove(at);
        let id = running.id;
        self.note(format_args!("operation {id} {}", name_of(&running.op)));
        let Some(outcome) = self.outcome(running) else { return true };
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            daemon.complete(now, id, outcome);
        }
        true
    }

    /// What an operation comes to; `None` if the machine died in it.
    fn outcome(&mut self, running: Running) -> Option<Outcome> {
        Some(match running.op {
            Op::Resolve { cwd, paths } => {
                Outcome::Resolved(paths.iter().map(|path| self.yard.resolve(&cwd, path)).collect())
            }
            Op::Observe { paths, blobs } => self.observe(paths, &blobs),
            Op::Place { steps } => {
                if !self.calm && self.rng.chance(3) {
                    self.counts.one("files that could not be placed");
                    self.yard.refuse = Some(1 + self.rng.below(2));
                }
                let intruded = self.intrude(&steps);
                let placed = self.yard.place(&steps);
                if intruded {
                    self.end_intrusion();
                }
                Outcome::Placed(placed?)
            }
            Op::List { path } => Outcome::Listed(self.yard.list(&path)),
            Op::Scan => Outcome::Scanned(self.yard.scan()),
            Op::Shell(command) => self.run_command(&command, running.before, running.aborted)?,
            Op::Start { alias, .. } => {
                if self.processes.insert(alias.clone()) {
                    Outcome::Json(Ok(json!({ "alias": alias, "pid": 7 })))
                } else {
                    Outcome::Json(Err(CallError::new(Code::Conflict, "it runs already")))
                }
            }
            Op::Interact { alias, action, .. } => {
                let alive = action != "kill" && self.processes.contains(&alias);
                if !alive {
                    self.processes.remove(&alias);
                }
                Outcome::Json(Ok(json!({ "output": "", "alive": alive })))
            }
            Op::Search { .. } => Outcome::Json(Ok(json!({ "matches": [] }))),
            // No workload of the simulator spawns one.
            Op::Stack(_) => Outcome::Json(Err(CallError::new(Code::Failed, "there are no stacks here"))),
            Op::ListQuarantine | Op::Restore { .. } => Outcome::Json(Ok(json!({ "items": [] }))),
            Op::DescribeModel { .. } => Outcome::Described(Err("asked too late".to_owned())),
            Op::Model { agent, .. } => {
                let name = agents::name_of(&agent);
                let trouble = self.model_trouble(agent.called() == agent.model());
                let daemon = self.daemon.as_ref()?;
                agents::call(&agent, &name, self.seed, daemon.blobs(), &self.features, trouble)
            }
            Op::LoadDocuments => {
                let documents = Box::new(self.setup.documents.clone());
                Outcome::Documents { documents, allowance: Ok(self.setup.allowance) }
            }
        })
    }

    /// A command ends; `None` if the machine died in it.
    fn run_command(&mut self, command: &Command, mut before: Vec<String>, aborted: bool) -> Option<Outcome> {
        before.retain(|path| !path.is_empty());
        if !aborted && self.is_held(&command.lineage) {
            self.fail(format!("a command of {} went on while it was stopped", command.lineage));
        }
        // A command that was killed may have done its work before.
        if !aborted || self.rng.chance(50) {
            self.work(&command.line);
        }
        if !self.doom.survives("command.ended") {
            return None;
        }
        let exit = if aborted { 137 } else { self.exit_of(&command.line) };
        let end = ShellEnd { exit, stdout: command.line.clone().into_bytes(), ..ShellEnd::default() };
        let after = self.yard.scan().unwrap_or_default();
        Some(Outcome::Shell { end: Ok(end), before, after })
    }

    /// A command that is an agent ends when it likes, and at the end of the run not by itself.
    fn command_takes(&mut self, command: &Command) -> u64 {
        let longest = command.timeout_ms * 1_000;
        match is_ward(&command.line) {
            true if self.calm => longest,
            true => self.rng.within(0, WARD).min(longest),
            false => self.rng.within(0, COMMAND).min(longest),
        }
    }

    /// Agents that are commands fail, and so do checks of whether somebody works.
    fn exit_of(&mut self, line: &str) -> i32 {
        let fails = (is_ward(line) && self.rng.chance(50))
            || (line.starts_with("check ") && !self.calm && self.rng.chance(30))
            || chance_of(line).is_some_and(|chance| self.rng.chance(chance));
        i32::from(fails)
    }

    fn observe(&mut self, paths: Vec<String>, wanted: &[Hash]) -> Outcome {
        let files = paths.into_iter().map(|path| (path.clone(), self.yard.see(&path))).collect();
        let mut blobs = BTreeMap::new();
        for hash in wanted {
            let found = self.daemon.as_ref().and_then(|daemon| daemon.blobs().get(hash).ok().flatten());
            if let Some(bytes) = found {
                blobs.insert(*hash, bytes.into());
            }
        }
        Outcome::Observed { files, blobs }
    }

    /// What is wrong with a call of the agents' own model, or of the one in its place, which has no outages.
    fn model_trouble(&mut self, own: bool) -> Option<usize> {
        if own && self.clock < self.outage {
            self.counts.one("model calls in an outage");
            return Some(1);
        }
        if self.calm || !self.rng.chance(20) {
            return None;
        }
        self.counts.one("model calls that failed");
        // Now and then one that no retry mends.
        Some(if self.rng.chance(5) { 4 } else { self.rng.below(4) })
    }

    /// A command does its work.
    pub(crate) fn work(&mut self, line: &str) {
        if is_ward(line) || line.starts_with("check ") {
            return;
        }
        let words: Vec<&str> = line.split('\t').collect();
        let times = self.ran.entry(line.to_owned()).or_default();
        *times += 1;
        if *times > 1 && chance_of(line).is_none() {
            self.fail(format!("a command ran twice: {line}"));
        }
        self.counts.one("commands that ran");
        if let ["set", path, old, new] = words.as_slice()
            && let Some(text) = self.yard.text(path)
            && text.contains(&format!("{old}\n"))
            && let Err(error) = self.yard.put(path, &text.replacen(old, new, 1), false)
        {
            self.fail(format!("the simulator itself: {error}"));
        }
    }
}

impl Running {
    /// Whether it may end now.
    pub(crate) fn is_due(&self, clock: u64) -> bool {
        self.ready <= clock && self.held_since.is_none()
    }

    fn obey(&mut self, order: Order, clock: u64) {
        match order {
            Order::Abort | Order::Signal(ProcessSignal::Terminate) => {
                (self.aborted, self.ready, self.held_since) = (true, clock, None);
            }
            Order::Signal(ProcessSignal::Stop) if !self.aborted => {
                self.held_since.get_or_insert(clock);
            }
            Order::Signal(ProcessSignal::Stop) => {}
            Order::Signal(ProcessSignal::Continue) => {
                if let Some(since) = self.held_since.take() {
                    self.ready += clock - since;
                }
            }
        }
    }
}

/// In how many of 100 cases a command fails that is a step of a saga, or undoes one; it may run more than once.
fn chance_of(line: &str) -> Option<usize> {
    let of_saga = line.starts_with("step ") || line.starts_with("undo ");
    line.rsplit(' ').next().filter(|_| of_saga)?.parse().ok()
}

/// Whether it is a command that is an agent.
pub(crate) fn is_ward(line: &str) -> bool {
    line.starts_with("serve ")
}

fn name_of(op: &Op) -> &'static str {
    match op {
        Op::Resolve { .. } => "resolve",
        Op::Observe { .. } => "observe",
        Op::Place { .. } => "place",
        Op::List { .. } => "list",
        Op::Shell(_) => "command",
        Op::Scan => "scan",
        Op::Start { .. } => "start",
        Op::Interact { .. } => "interact",
        Op::Search { .. } => "search",
        Op::ListQuarantine | Op::Restore { .. } => "quarantine",
        Op::DescribeModel { .. } => "describe model",
        Op::Model { .. } => "model",
        Op::Stack(_) => "stack",
        Op::LoadDocuments => "load documents",
    }
}
