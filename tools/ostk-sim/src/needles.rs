//! The judge of the work: numbers follow each other, a needle has one holder at a time and ends once, and what somebody
//! held who has ended is given back.
//!
//! Called by `walk` with every record, as JSON; shares no code with the kernel.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Who holds what, as the records so far have it.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    added: u64,
    holders: BTreeMap<String, String>,
    closed: BTreeSet<String>,
    /// Held by somebody who has ended, and not given back yet.
    left: BTreeSet<String>,
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl Needles {
    pub(crate) fn record(&mut self, event: &str, actor: &str, body: &Value) -> Result<(), String> {
        let (id, name) = (text(body, "id").to_owned(), actor.split_once(':').map_or(actor, |(_, name)| name));
        match event {
            "needle.added" => self.add(&id),
            "needle.claimed" => self.claim(&id, name),
            "needle.assigned" => self.claim(&id, text(body, "lineage")),
            "needle.released" => self.release(&id, text(body, "holder"), text(body, "reason")),
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
        if self.closed.insert(id.to_owned()) { Ok(()) } else { Err(format!("{id} is closed twice")) }
    }

    fn end(&mut self, lineage: &str) {
        let held = self.holders.iter().filter(|(_, holder)| *holder == lineage);
        self.left.extend(held.map(|(id, _)| id.clone()));
    }
}
