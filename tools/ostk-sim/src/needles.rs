//! The judge of the work: numbers follow each other, a needle has one holder at a time and ends once, and what somebody
//! held who has ended is given back. A worker is given what its filter takes, the best first and one at a time, each
//! twice at most and never again what it gave back; nothing that it takes is left when it rests.
//!
//! Called by `walk` with every record, as JSON; shares no code with the kernel.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::workers::Filter;

/// How often a worker is given the same needle.
const MOST: u64 = 2;

/// A needle as it was added.
#[derive(Debug)]
struct Needle {
    priority: u64,
    tags: Vec<String>,
}

/// Who holds what, as the records so far have it.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    added: u64,
    holders: BTreeMap<String, String>,
    closed: BTreeSet<String>,
    /// Held by somebody who has ended, and not given back yet.
    left: BTreeSet<String>,
    /// What workers take.
    pub(crate) workers: BTreeMap<String, Filter>,
    needles: BTreeMap<String, Needle>,
    /// How often a worker was given a needle.
    given: BTreeMap<(String, String), u64>,
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl Needles {
    pub(crate) fn record(&mut self, event: &str, actor: &str, body: &Value) -> Result<(), String> {
        let (id, name) = (text(body, "id").to_owned(), actor.split_once(':').map_or(actor, |(_, name)| name));
        match event {
            "needle.added" => {
                self.needles.insert(id.clone(), Needle::of(body));
                self.add(&id)
            }
            "needle.claimed" => self.claim(&id, name),
            "needle.assigned" => self.assign(&id, text(body, "lineage")),
            "needle.released" => {
                let holder = text(body, "holder");
                if name == holder && self.workers.contains_key(name) {
                    self.given.insert((name.to_owned(), id.clone()), MOST);
                }
                self.release(&id, holder, text(body, "reason"))
            }
            "needle.closed" => self.close(&id),
            "session.ended" => {
                self.end(text(body, "lineage"));
                Ok(())
            }
            "agent.step" if text(body.get("step").unwrap_or(&Value::Null), "step") == "finished" => {
                self.end(text(body, "lineage"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What is wrong at the end.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        self.left.iter().map(|id| format!("{id} was not given back although its holder had ended"))
    }

    /// What is wrong when everything has come to rest. `runs` says who is there.
    pub(crate) fn rest(&self, runs: impl Fn(&str) -> bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for name in self.workers.keys().filter(|name| runs(name)) {
            let held = self.holders.iter().filter(|(_, holder)| *holder == name);
            wrong.extend(held.map(|(id, _)| format!("{name} rests and keeps {id}")));
            wrong.extend(self.best(name).map(|id| format!("{id} is left, and {name} would take it")));
        }
        wrong
    }

    /// The best needle that can be begun and that a worker takes.
    fn best(&self, worker: &str) -> Option<&String> {
        let takes = |id: &String, needle: &Needle| {
            let given = self.given.get(&(worker.to_owned(), id.clone())).copied().unwrap_or(0);
            let filter = self.workers.get(worker);
            given < MOST && filter.is_some_and(|filter| filter.takes(needle.priority, &needle.tags))
        };
        let open = self
            .needles
            .iter()
            .filter(|(id, _)| !self.closed.contains(*id) && !self.holders.contains_key(*id));
        let takes = open.filter(|(id, needle)| takes(id, needle));
        takes.min_by_key(|(id, needle)| (needle.priority, *id)).map(|(id, _)| id)
    }

    fn assign(&mut self, id: &str, worker: &str) -> Result<(), String> {
        if let Some((held, _)) = self.holders.iter().find(|(_, holder)| *holder == worker) {
            return Err(format!("{worker} is given {id} and holds {held}"));
        }
        let best = self.best(worker);
        if best.is_none_or(|best| best != id) {
            return Err(format!("{worker} is given {id}, and what it takes is {best:?}"));
        }
        *self.given.entry((worker.to_owned(), id.to_owned())).or_default() += 1;
        self.claim(id, worker)
    }

    fn add(&mut self, id: &str) -> Result<(), String> {
        self.added += 1;
        let expected = format!("→{:03}", self.added);
        if id == expected { Ok(()) } else { Err(format!("{id} is added where {expected} comes next")) }
    }

    fn claim(&mut self, id: &str, holder: &str) -> Result<(), String> {
        if self.closed.contains(id) {
            return Err(format!("{holder} takes {id}, which is closed"));
        }
        match self.holders.insert(id.to_owned(), holder.to_owned()) {
            Some(other) if other != holder => Err(format!("{holder} takes {id}, which {other} holds")),
            _ => Ok(()),
        }
    }

    fn release(&mut self, id: &str, holder: &str, reason: &str) -> Result<(), String> {
        if self.left.remove(id) && reason.contains("lease") {
            return Err(format!("{id} was kept by {holder}, who had ended, until the lease ran out"));
        }
        match self.holders.remove(id) {
            Some(held) if held == holder => Ok(()),
            other => Err(format!("{id} is taken from {holder}, and {other:?} held it")),
        }
    }

    fn close(&mut self, id: &str) -> Result<(), String> {
        self.left.remove(id);
        self.holders.remove(id);
        self.given.retain(|(_, given), _| given != id);
        if self.closed.insert(id.to_owned()) { Ok(()) } else { Err(format!("{id} is closed twice")) }
    }

    fn end(&mut self, lineage: &str) {
        let held = self.holders.iter().filter(|(_, holder)| *holder == lineage);
        self.left.extend(held.map(|(id, _)| id.clone()));
    }
}

impl Needle {
    fn of(body: &Value) -> Self {
        let tags = body.get("tags").and_then(Value::as_array).into_iter().flatten();
        let priority = text(body, "priority").trim_start_matches('P').parse();
        Self {
            priority: priority.unwrap_or(u64::MAX),
            tags: tags.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}
