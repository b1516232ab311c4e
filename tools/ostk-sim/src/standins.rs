//! The judge of the model that answers while another is down (`FALLBACK`, `docs/src/agents.md`): it is called only after
//! the record that says so, each call whole, while its own model has no room; and one after the other they go back.
//!
//! Called by `walk` with every record, as JSON; shares no code with the kernel.

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::Timestamp;
use serde_json::Value;

use crate::lives::{asks_to_end, kills};

/// The model that the operator named.
pub(crate) const SPARE: &str = "spare";

/// Failures in a row after which a model is down.
const DOWN_AFTER: u32 = 3;
/// A wait that a vendor asks for after which it is down at once.
const LONG_WAIT_MS: u64 = 30_000;
/// Answers after which everybody is back.
const ANSWERS: u32 = 5;
/// The longest wait after a failure, with what is added so that not all come back at once.
const LONGEST_WAIT_MS: u64 = 75_000;

/// How the model of the agents fares, and who is called.
#[derive(Debug, Default)]
pub(crate) struct Standins {
    /// Failures since the last answer of the agents' own model.
    failures: u32,
    asked_for_long: bool,
    failed_at: Option<Timestamp>,
    /// Answers since its last failure.
    answers: u32,
    /// The record that the other one answers is there.
    replaced: bool,
    /// Open calls: who calls, and whether it is the other model.
    open: BTreeMap<String, bool>,
    /// Who was asked to end.
    ending: BTreeSet<String>,
    /// Calls of the other model.
    pub(crate) calls: u64,
}

impl Standins {
    /// Takes in a record. `model_of` says which model a reply is from, by its blob.
    pub(crate) fn record(
        &mut self,
        event: &str,
        ts: Timestamp,
        body: &Value,
        model_of: impl Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        let lineage = body.get("lineage").and_then(Value::as_str).unwrap_or_default();
        let signal = body.get("signal").and_then(Value::as_str).unwrap_or_default();
        let step = body.get("step").unwrap_or(&Value::Null);
        match (event, step.get("step").and_then(Value::as_str).unwrap_or_default()) {
            ("anchor.started", _) => {
                self.open.clear();
                self.ending.clear();
            }
            // Whether it waits is not looked at: until its end is recorded, its call may be under way or not.
            ("agent.signalled", _) if kills(signal) || asks_to_end(signal) => {
                self.ending.insert(lineage.to_owned());
            }
            ("model.substituted", _) => return self.replaced(body),
            ("agent.step", "model_intent") => return self.begins(lineage, ts, step),
            ("agent.step", "model_receipt") => {
                let blob = step.get("reply_blob").and_then(Value::as_str).unwrap_or_default();
                return self.answered(lineage, model_of(blob).as_deref());
            }
            ("agent.step", "model_failed") => self.failed(lineage, ts, step),
            ("agent.step", "finished") => drop(self.open.remove(lineage)),
            ("agent.step", "spawned") => drop(self.ending.remove(lineage)),
            _ => {}
        }
        Ok(())
    }

    fn replaced(&mut self, body: &Value) -> Result<(), String> {
        let fallback = body.get("fallback").and_then(Value::as_str).unwrap_or_default();
        if fallback != SPARE {
            return Err(format!("{fallback} is to answer, which nobody named"));
        }
        if self.failures < DOWN_AFTER && !self.asked_for_long {
            return Err(format!("another model answers after {} failures", self.failures));
        }
        self.replaced = true;
        Ok(())
    }

    /// Whether the own model, since it failed last, has no room for one more; `counts` says whose calls take room.
    fn is_full(&self, counts: impl Fn(&str) -> bool) -> bool {
        let own = self.open.iter().filter(|(lineage, is_spare)| !**is_spare && counts(lineage)).count();
        u32::try_from(own).unwrap_or(u32::MAX) >= 2_u32.saturating_pow(self.answers)
    }

    fn begins(&mut self, lineage: &str, ts: Timestamp, step: &Value) -> Result<(), String> {
        let is_spare = step.get("fallback").is_some_and(|fallback| !fallback.is_null());
        let answers = self.answers;
        let (must_be_full, may_be_full) =
            (self.is_full(|lineage| !self.ending.contains(lineage)), self.is_full(|_| true));
        if self.open.insert(lineage.to_owned(), is_spare).is_some() {
            return Err(format!("{lineage} calls a model while a call of it is under way"));
        }
        if !is_spare {
            return match self.replaced && must_be_full {
                true => Err(format!("{lineage} calls its model, which has no room after {answers} answers")),
                false => Ok(()),
            };
        }
        self.calls += 1;
        let waits = self.failed_at.is_some_and(|at| ts.millis_since(at) <= LONGEST_WAIT_MS);
        match (self.replaced, waits || may_be_full) {
            (false, _) => Err(format!("{lineage} calls another model, and no record says so")),
            (true, false) => Err(format!("{lineage} calls another model, and its own has room for it")),
            (true, true) => Ok(()),
        }
    }

    fn answered(&mut self, lineage: &str, model: Option<&str>) -> Result<(), String> {
        let Some(is_spare) = self.open.remove(lineage) else {
            return Err(format!("{lineage} has an answer and made no call"));
        };
        if model.is_some_and(|model| (model == SPARE) != is_spare) {
            return Err(format!("{lineage} called another model than {model:?}, which answers"));
        }
        if !is_spare {
            (self.failures, self.asked_for_long) = (0, false);
            self.answers = self.answers.saturating_add(1);
            self.replaced &= self.answers < ANSWERS;
        }
        Ok(())
    }

    fn failed(&mut self, lineage: &str, ts: Timestamp, step: &Value) {
        let is_spare = self.open.remove(lineage).unwrap_or(false);
        if is_spare || step.get("retryable") != Some(&Value::Bool(true)) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = step.get("retry_after_ms").and_then(Value::as_u64).unwrap_or_default();
        self.asked_for_long |= wait >= LONG_WAIT_MS;
        (self.failed_at, self.answers) = (Some(ts), 0);
    }
}
