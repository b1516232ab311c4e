//! Timers: what a person sets, and the judge of what they do.
//!
//! A timer fires when it is due and not before, no oftener than it was set for, and what passed meanwhile comes to one firing.
//! Each firing makes its call once, and none is left open. The judge reads records as JSON and shares no code with the
//! kernel.

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::{Draft, Timestamp};
use serde_json::{Value, json};

use crate::rng::Rng;

/// Timers of a run at most.
pub(crate) const MOST: usize = 4;

/// The arguments of a timer that is set as number `at`: it spawns an agent of its own, or sends a message to one.
pub(crate) fn args(at: usize, rng: &mut Rng) -> Value {
    let every = rng.within(10_000, 40_000);
    let mut args = json!({ "name": format!("timer{at}"), "after_ms": rng.within(0, 15_000) });
    let more = if rng.chance(60) {
        json!({ "lineage": format!("t{at}"), "agentfile": AGENTFILE })
    } else {
        json!({ "lineage": format!("a{}", rng.below(2)), "text": format!("timer {at}") })
    };
    let again = json!({ "every_ms": every, "times": rng.within(1, 3) });
    let parts = [Some(more), rng.chance(60).then_some(again)];
    if let Some(members) = args.as_object_mut() {
        members.extend(parts.into_iter().flatten().filter_map(|part| part.as_object().cloned()).flatten());
    }
    args
}

/// Of an agent that a timer starts: it says one thing.
const AGENTFILE: &str = "FROM scripted\nTASK Say it.\nLIMIT turns 2\nLIMIT revival_policy revive\n";

/// Whether an agent was started by a timer.
pub(crate) fn started(name: &str) -> bool {
    name.strip_prefix('t').is_some_and(|rest| rest.parse::<usize>().is_ok())
}

#[derive(Debug)]
struct Timer {
    due: Option<Timestamp>,
    every_ms: Option<u64>,
    left: Option<u64>,
    firing: Option<u64>,
}

/// Every timer that is set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    timers: BTreeMap<String, Timer>,
    /// Keys of calls that had their effect.
    done: BTreeSet<String>,
}

impl Timers {
    pub(crate) fn record(&mut self, draft: &Draft) -> Result<(), String> {
        let text = |name: &str| draft.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| draft.body.get(name).and_then(Value::as_u64);
        let name = text("name");
        match draft.event.as_str() {
            "timer.set" => {
                let due = text("due").parse().map_err(|_| format!("{name} is due at no time"))?;
                let (every_ms, left) = (number("every_ms"), number("times"));
                let left = if every_ms.is_none() { Some(1) } else { left };
                self.timers.insert(name.to_owned(), Timer { due: Some(due), every_ms, left, firing: None });
            }
            "timer.fired" => {
                let timer =
                    self.timers.get_mut(name).ok_or_else(|| format!("{name} fires and is not set"))?;
                return timer.fire(draft.seq, draft.ts).map_err(|what| format!("{name} {what}"));
            }
            "timer.ended" => return self.ended(name, text("problem").is_empty()),
            "timer.removed" => drop(self.timers.remove(name)),
            "session.started" | "nudge.sent" | "agent.queued" => {
                let key = text("key");
                if key.starts_with("timer/") && !self.done.insert(key.to_owned()) {
                    return Err(format!("the call of {key} is made twice"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn ended(&mut self, name: &str, went_well: bool) -> Result<(), String> {
        let timer = self.timers.get_mut(name).ok_or_else(|| format!("{name} ends and is not set"))?;
        let firing = timer.firing.take().ok_or_else(|| format!("{name} ends and did not fire"))?;
        if timer.due.is_none() {
            self.timers.remove(name);
        }
        if went_well != self.done.contains(&format!("timer/{name}/{firing}")) {
            return Err(format!("{name} fired, and it is {went_well} that it went well"));
        }
        Ok(())
    }

    /// What is wrong at the end, when everything has come to rest.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        self.timers.iter().map(|(name, timer)| format!("the timer {name} is left: {timer:?}"))
    }
}

impl Timer {
    fn fire(&mut self, seq: u64, now: Timestamp) -> Result<(), String> {
        let due = self.due.ok_or("fires once too often")?;
        if due > now {
            return Err(format!("fires at {now}, and is due at {due}"));
        }
        if self.firing.replace(seq).is_some() {
            return Err("fires while its call is open".to_owned());
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        let mut next = due;
        self.due = self.every_ms.filter(|_| self.left != Some(0)).map(|every_ms| {
            while next <= now {
                next = next.plus_millis(every_ms);
            }
            next
        });
        Ok(())
    }
}
