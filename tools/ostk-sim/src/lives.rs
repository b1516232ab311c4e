//! The judge of lives: follows every lineage from state to state through the records of its sessions, signals and daemons,
//! with a table of its own, which is the one in the documents (`docs/src/signals.md`).
//!
//! What must not be: a record about somebody who has ended, a signal that is delivered without having waited, or twice,
//! and an orphan that nobody made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Where a lineage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Stopped,
    Frozen,
    Exiting,
    Orphaned,
    Exited,
}

/// What a signal does to its target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stop,
    Freeze,
    Continue,
    Resume,
    Exit,
    Kill,
    Other,
}

/// What becomes of a signal.
enum Fate {
    Nothing,
    Waits,
    Moves(Stage),
}

struct Life {
    stage: Stage,
    native: bool,
    /// Its end was ordered, and its record follows.
    killed: bool,
    /// An agent's first step has a record.
    spawned: bool,
    orphaned_from: Option<Stage>,
    /// Its end was decided because of another's; its last record follows.
    taken_along: bool,
    /// By signal: block, ignore or handle.
    dispositions: BTreeMap<String, String>,
    /// Signals that wait, by the record that brought them.
    waiting: BTreeMap<u64, String>,
}

/// Everybody who was in the log so far.
#[derive(Default)]
pub(crate) struct Lives(BTreeMap<String, Life>);

/// What is wrong with a record.
type Judged = Result<(), String>;

impl Lives {
    /// Takes in a record; one that is about no life is let pass.
    pub(crate) fn record(&mut self, seq: u64, event: &str, body: &Value) -> Judged {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let lineage = text("lineage");
        match event {
            "anchor.started" => {
                self.0.values_mut().for_each(Life::orphan);
                Ok(())
            }
            "session.started" => {
                self.begins(lineage, text("kind") == "native");
                Ok(())
            }
            "session.ended" => self.ends(lineage),
            "agent.step" => match body.pointer("/step/step").and_then(Value::as_str) {
                Some("spawned") => {
                    self.life(lineage)?.spawned = true;
                    Ok(())
                }
                Some("finished") => self.ends(lineage),
                _ => Ok(()),
            },
            "supervise.fell" => {
                self.life(lineage)?.falls();
                Ok(())
            }
            "supervise.restarted" => {
                self.life(lineage)?.starts_again();
                Ok(())
            }
            "needle.assigned" if !self.runs(lineage) => {
                Err(format!("{lineage} is given work and does not run"))
            }
            "agent.signalled" => self.life(lineage)?.take(seq, text("signal")),
            "signal.delivered" => self.life(lineage)?.deliver(body),
            "signal.masked" => {
                self.life(lineage)?.mask(body);
                Ok(())
            }
            "lineage.resolved" => self.life(lineage)?.resolve(text("resolution") == "revived"),
            _ => Ok(()),
        }
    }

    /// Whether somebody has ended, so that nothing may begin under its name.
    pub(crate) fn has_ended(&self, lineage: &str) -> bool {
        self.0.get(lineage).is_some_and(|life| life.stage == Stage::Exited)
    }

    /// Whether somebody is there, and nothing holds it.
    pub(crate) fn runs(&self, lineage: &str) -> bool {
        self.0.get(lineage).is_some_and(|life| life.stage == Stage::Running)
    }

    /// Agents that have begun and not ended, and for which nobody has to say first what becomes of them.
    pub(crate) fn agents(&self) -> usize {
        let lives = |life: &&Life| {
            life.native && !life.killed && !matches!(life.stage, Stage::Exited | Stage::Orphaned)
        };
        self.0.values().filter(lives).count()
    }

    /// Who has ended.
    pub(crate) fn ended(&self) -> BTreeSet<&str> {
        let ended = self.0.iter().filter(|(_, life)| life.stage == Stage::Exited);
        ended.map(|(name, _)| name.as_str()).collect()
    }

    fn life(&mut self, lineage: &str) -> Result<&mut Life, String> {
        self.0.get_mut(lineage).ok_or_else(|| format!("{lineage} was never there"))
    }

    /// A session of somebody who is there already changes nothing about where it stands.
    fn begins(&mut self, lineage: &str, native: bool) {
        let life = self.0.entry(lineage.to_owned()).or_insert_with(Life::new);
        life.native = native;
        if life.stage == Stage::Exited {
            *life = Life { native, ..Life::new() };
        }
    }

    fn ends(&mut self, lineage: &str) -> Judged {
        let life = self.life(lineage)?;
        if life.stage == Stage::Exited && !std::mem::take(&mut life.taken_along) {
            return Err(format!("{lineage} ends a second time"));
        }
        (life.stage, life.orphaned_from) = (Stage::Exited, None);
        life.waiting.clear();
        Ok(())
    }
}

impl Life {
    fn new() -> Self {
        Self {
            stage: Stage::Running,
            native: false,
            killed: false,
            spawned: false,
            orphaned_from: None,
            taken_along: false,
            dispositions: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// The daemon that it ran in is gone. A client that was stopped is so when it comes back; an agent without a step
    /// never lived.
    fn orphan(&mut self) {
        match (self.native, self.stage) {
            (true, _) if !self.spawned => self.stage = Stage::Exited,
            (false, Stage::Running | Stage::Frozen | Stage::Exiting) => self.stage = Stage::Exited,
            (true, Stage::Running | Stage::Frozen | Stage::Stopped) => {
                self.orphaned_from = Some(self.stage);
                self.stage = Stage::Orphaned;
            }
            _ => {}
        }
    }

    /// It has ended by itself; whoever is held when that happens is so when it is started again.
    fn falls(&mut self) {
        if !matches!(self.stage, Stage::Stopped | Stage::Frozen) {
            self.taken_along = self.stage != Stage::Exited;
            (self.stage, self.orphaned_from) = (Stage::Exited, None);
            self.waiting.clear();
        }
    }

    fn starts_again(&mut self) {
        if self.stage == Stage::Exited {
            (self.stage, self.spawned, self.taken_along) = (Stage::Running, true, false);
            self.killed = false;
            self.dispositions.clear();
            self.waiting.clear();
        }
    }

    fn mask(&mut self, body: &Value) {
        let dispositions = body.get("dispositions").and_then(Value::as_object).into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.dispositions = dispositions.map(|(signal, value)| (signal.clone(), text(value))).collect();
    }

    fn take(&mut self, seq: u64, signal: &str) -> Judged {
        self.killed |= kills(signal) && self.disposition(signal).is_none();
        match self.fate(signal)? {
            Fate::Nothing => {}
            Fate::Waits => drop(self.waiting.insert(seq, signal.to_owned())),
            Fate::Moves(stage) => self.stage = stage,
        }
        Ok(())
    }

    fn deliver(&mut self, body: &Value) -> Judged {
        let seq = body.get("seq").and_then(Value::as_u64).unwrap_or_default();
        let waited = self.waiting.remove(&seq);
        let signal = waited.ok_or_else(|| format!("signal {seq} is delivered and did not wait"))?;
        match self.fate(&signal)? {
            Fate::Nothing => {}
            Fate::Waits => return Err(format!("{signal} is delivered and has to wait")),
            Fate::Moves(stage) => self.stage = stage,
        }
        Ok(())
    }

    fn resolve(&mut self, revived: bool) -> Judged {
        let was = self.orphaned_from.take().ok_or("somebody who is no orphan is resolved")?;
        self.stage = if revived { was } else { Stage::Exiting };
        Ok(())
    }

    fn fate(&self, signal: &str) -> Result<Fate, String> {
        use Stage::{Exited, Exiting, Frozen, Orphaned, Running, Stopped};
        let (kind, disposition) = (kind_of(signal), self.disposition(signal));
        Ok(match (self.stage, kind, disposition) {
            (Exited, ..) => return Err(format!("{signal} to somebody who has ended")),
            // The record of its end follows.
            (_, Kind::Kill, None) => Fate::Nothing,
            (Exiting, ..) => return Err(format!("{signal} to somebody who is ending")),
            (Stopped | Frozen, Kind::Continue, _) | (Frozen, Kind::Resume, _) => Fate::Moves(Running),
            (Orphaned, Kind::Continue, _) => Fate::Waits,
            (Running, Kind::Continue, _) => Fate::Nothing,
            (_, Kind::Resume, _) => return Err(format!("{signal} to somebody who is not frozen")),
            (_, _, Some("block")) => Fate::Waits,
            (_, _, Some("ignore")) => Fate::Nothing,
            (Stopped, Kind::Stop, None) => Fate::Nothing,
            (Running | Frozen, Kind::Stop, None) => Fate::Moves(Stopped),
            (Running | Orphaned, Kind::Exit, None) => Fate::Moves(Exiting),
            (Running, Kind::Freeze, None) => Fate::Moves(Frozen),
            (Running, ..) => Fate::Nothing,
            (Stopped | Frozen | Orphaned, ..) => Fate::Waits,
        })
    }

    /// What the target does with this signal, if it may decide.
    fn disposition(&self, signal: &str) -> Option<&str> {
        let fixed = ["SIGKILL", "SIGPOLICY", "SIGSTOP", "SIGCONT", "SIGRESUME"];
        self.dispositions.get(signal).filter(|_| !fixed.contains(&signal)).map(String::as_str)
    }
}

/// Whether a signal ends its target, whatever that is doing.
pub(crate) fn kills(signal: &str) -> bool {
    kind_of(signal) == Kind::Kill
}

/// Whether a signal asks its target to finish and end.
pub(crate) fn asks_to_end(signal: &str) -> bool {
    kind_of(signal) == Kind::Exit
}

fn kind_of(signal: &str) -> Kind {
    match signal {
        "SIGSTOP" | "SIGBUDGET" => Kind::Stop,
        "SIGFREEZE" | "SIGINT" => Kind::Freeze,
        "SIGCONT" => Kind::Continue,
        "SIGRESUME" => Kind::Resume,
        "SIGTERM" | "SIGCANCEL" | "SIGBAIL" => Kind::Exit,
        "SIGKILL" | "SIGPOLICY" | "SIGTRUST" => Kind::Kill,
        _ => Kind::Other,
    }
}
