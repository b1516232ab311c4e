//! The judge of places: no more agents begin than may run at once, and who waits begins in its turn.
//!
//! Called by `walk` with every record, as JSON; who lives it is told. Shares no code with the kernel.

use std::collections::BTreeMap;

use ostk_log::Draft;
use serde_json::Value;

/// Who waits for a place.
#[derive(Debug)]
pub(crate) struct Places {
    /// Agents that may run at once; `None` is without a bound.
    pub(crate) most: Option<usize>,
    /// By name: the priority and the record.
    line: BTreeMap<String, (String, u64)>,
}

impl Places {
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self { most, line: BTreeMap::new() }
    }

    /// Takes in a record, before which at least and at most so many agents lived.
    pub(crate) fn record(&mut self, draft: &Draft, alive: usize, perhaps: usize) -> Result<(), String> {
        let Some(most) = self.most else { return Ok(()) };
        let text = |name: &str| draft.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let lineage = text("lineage");
        match draft.event.as_str() {
            "agent.queued" => {
                if perhaps < most && self.line.is_empty() {
                    return Err(format!("{lineage} waits, and {perhaps} of {most} run"));
                }
                self.line.insert(lineage.to_owned(), (text("priority").to_owned(), draft.seq));
            }
            "agent.unqueued" => drop(self.line.remove(lineage)),
            // A command that is an agent has a session of another kind.
            "session.started" if text("kind") == "native" || self.line.contains_key(lineage) => {
                let place = self.line.remove(lineage);
                let before = match &place {
                    Some(place) => self.line.values().filter(|other| *other < place).count(),
                    None => self.line.len(),
                };
                if alive + before >= most {
                    return Err(format!(
                        "{lineage} begins, {alive} of {most} run and {before} wait before it"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What is wrong at the end, when everything has come to rest.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        self.line.keys().map(|name| format!("{name} waits for a place at the end"))
    }
}
