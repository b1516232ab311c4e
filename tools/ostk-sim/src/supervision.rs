//! The judge of supervision: who ends is started again when its rule says so, not more often, and never while it lives.
//!
//! Called by `walk` with every record, as JSON; shares no code with the kernel. Who is alive is also looked at where
//! commands run (`hands`).

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::Timestamp;
use serde_json::Value;

use crate::lives::{asks_to_end, kills};

/// Where somebody who is supervised stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Up,
    Due(Timestamp),
    Over,
}

#[derive(Debug)]
struct Ward {
    times: u64,
    within_ms: u64,
    lifetime: String,
    native: bool,
    phase: Phase,
    /// The blob of its command, if it is one, and the record of its start while it runs.
    command: Option<String>,
    runs: Option<u64>,
    /// Its context has ended, and no other has begun.
    ended: bool,
    /// Its end was decided and its daemon died: nothing of it runs, its context may still be ended by the next daemon.
    lost: bool,
    /// It ended by itself and its lifetime asks for a restart; the verdict is not recorded yet.
    owed: bool,
    /// Somebody ended it.
    excused: bool,
    /// The records of signals that ask it to end.
    asked_to_end: BTreeSet<u64>,
    /// When it ended by itself and was to be started again.
    counted: Vec<Timestamp>,
}

/// Everybody who is supervised.
#[derive(Debug, Default)]
pub(crate) struct Supervision {
    wards: BTreeMap<String, Ward>,
    /// How often each was started again.
    restarts: BTreeMap<String, u64>,
}

impl Supervision {
    /// Takes the next record.
    pub(crate) fn record(
        &mut self,
        seq: u64,
        actor: &str,
        event: &str,
        ts: Timestamp,
        body: &Value,
    ) -> Result<(), String> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let lineage = match event {
            "shell.intent" | "shell.receipt" => actor.strip_prefix("agent:").unwrap_or_default(),
            _ => text("lineage"),
        };
        if event == "supervise.began" {
            self.wards.insert(lineage.to_owned(), Ward::new(body));
            return Ok(());
        }
        if event == "anchor.started" {
            // Whose end was decided, ended with its daemon if not before.
            for ward in self.wards.values_mut() {
                ward.lost |= ward.phase != Phase::Up;
                ward.runs = None;
            }
            return Ok(());
        }
        if event == "session.started" && text("kind") == "native" {
            self.wards.remove(lineage);
        }
        let Some(ward) = self.wards.get_mut(lineage) else { return Ok(()) };
        match event {
            "shell.intent" if ward.command.as_deref() == Some(text("command_blob")) => {
                ward.runs = Some(seq);
                Ok(())
            }
            "shell.receipt" if ward.runs == body.get("intent").and_then(Value::as_u64) => {
                ward.runs = None;
                Ok(())
            }
            "agent.step" => ward.step(body.get("step").unwrap_or(&Value::Null)),
            "agent.signalled" if kills(text("signal")) => {
                (ward.phase, ward.excused, ward.owed) = (Phase::Over, true, false);
                Ok(())
            }
            "agent.signalled" | "signal.delivered" | "lineage.resolved" => {
                (ward.excused, ward.owed) = (true, false);
                if asks_to_end(text("signal")) {
                    ward.asked_to_end.insert(seq);
                }
                // Such a signal had waited for it to go on, and it goes on no more.
                let came = body.get("seq").and_then(Value::as_u64);
                if came.is_some_and(|seq| ward.asked_to_end.contains(&seq)) {
                    ward.phase = Phase::Over;
                }
                Ok(())
            }
            "supervise.fell" => {
                let until = body.get("until").and_then(Value::as_str).map(str::parse::<Timestamp>);
                let until = until.transpose().map_err(|_| format!("{lineage} is due at no time"))?;
                ward.fall(ts, until, body.get("counts") == Some(&Value::Bool(true)))
            }
            "supervise.restarted" => {
                *self.restarts.entry(lineage.to_owned()).or_default() += 1;
                ward.restart(ts)
            }
            _ => Ok(()),
        }
        .map_err(|what| format!("{lineage} {what}"))
    }

    /// How often somebody was started again.
    pub(crate) fn restarts(&self, lineage: &str) -> u64 {
        self.restarts.get(lineage).copied().unwrap_or(0)
    }

    /// How many have a place without being an agent that lives: they are about to be started again, or are commands. At
    /// least so many, and at most: one that was asked to end has its place until its command has ended.
    pub(crate) fn places(&self) -> (usize, usize) {
        let keeps = |ward: &&Ward, perhaps: bool| match ward.phase {
            Phase::Up => !ward.native && (perhaps || ward.asked_to_end.is_empty()),
            Phase::Due(_) => true,
            Phase::Over => perhaps && ward.runs.is_some(),
        };
        let count = |perhaps| self.wards.values().filter(|ward| keeps(ward, perhaps)).count();
        (count(false), count(true))
    }

    /// What is wrong at the end, when everything has come to rest.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        let left = self.wards.iter().filter(|(_, ward)| ward.owed || matches!(ward.phase, Phase::Due(_)));
        left.map(|(name, ward)| format!("{name} has ended and was not started again: {ward:?}"))
    }
}

impl Ward {
    fn new(body: &Value) -> Self {
        let number = |name: &str| body.pointer(name).and_then(Value::as_u64).unwrap_or_default();
        Self {
            times: number("/rule/times"),
            within_ms: number("/rule/within_s") * 1_000,
            lifetime: body.get("lifetime").and_then(Value::as_str).unwrap_or_default().to_owned(),
            native: body.get("command_blob").is_none(),
            phase: Phase::Up,
            command: body.get("command_blob").and_then(Value::as_str).map(str::to_owned),
            runs: None,
            ended: false,
            lost: false,
            owed: false,
            excused: false,
            asked_to_end: BTreeSet::new(),
            counted: Vec::new(),
        }
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        let finished = step.get("step").and_then(Value::as_str) == Some("finished");
        if self.native && (self.ended || self.lost && !finished) {
            return Err("takes a step after its end, and was not started again".to_owned());
        }
        if !finished {
            return Ok(());
        }
        self.ended = true;
        let ending = step.pointer("/outcome/kind");
        let wants = matches!(
            (ending.and_then(Value::as_str), self.lifetime.as_str()),
            (Some("failed"), "permanent" | "transient") | (Some("done"), "permanent")
        );
        self.owed = wants && self.phase == Phase::Up && !self.excused;
        Ok(())
    }

    fn recent(&self, now: Timestamp) -> u64 {
        self.counted.iter().filter(|at| now.millis_since(**at) < self.within_ms).count() as u64
    }

    fn fall(&mut self, ts: Timestamp, until: Option<Timestamp>, counts: bool) -> Result<(), String> {
        if self.phase == Phase::Over && !self.excused {
            return Err("ends again, and was over".to_owned());
        }
        if until.is_some() && self.lifetime == "temporary" {
            return Err("is to be started again, and is temporary".to_owned());
        }
        let owed = std::mem::take(&mut self.owed);
        if owed && until.is_none() && self.recent(ts) < self.times {
            return Err(format!(
                "is not started again, {} of {} times are over",
                self.recent(ts),
                self.times
            ));
        }
        if owed && until.is_some() && !counts {
            return Err("ended by itself and is to be started again, which is not counted".to_owned());
        }
        if counts {
            self.counted.push(ts);
        }
        if self.recent(ts) > self.times {
            return Err(format!(
                "is started again more than {} times within {} ms",
                self.times, self.within_ms
            ));
        }
        self.phase = until.map_or(Phase::Over, Phase::Due);
        Ok(())
    }

    fn restart(&mut self, ts: Timestamp) -> Result<(), String> {
        let was = std::mem::replace(&mut self.phase, Phase::Up);
        let lives = self.native && !self.ended && !self.lost;
        (self.ended, self.lost, self.excused) = (false, false, false);
        match was {
            _ if lives => Err("is started again while it lives".to_owned()),
            Phase::Due(at) if at <= ts => Ok(()),
            was => Err(format!("is started again and was {was:?}")),
        }
    }
}
