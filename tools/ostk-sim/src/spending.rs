//! The judge of what a day costs: adds up the calls of the model from their records, and looks whether each began within
//! the limits of its day.
//!
//! A call is expected to take what the last one took, and what is reserved for one whose end nobody knows stays spent.
//! The first call of all is tried alone, because nothing is known of it. Shares no code with the kernel.

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::Draft;
use serde_json::Value;

use crate::agents::{PRICE, USAGE};

const DAY_US: u64 = 86_400_000_000;

/// Tokens and millionths of a dollar.
type Cost = [u64; 2];

/// What was spent so far, and what is reserved.
#[derive(Default)]
struct Till {
    limits: [Option<u64>; 2],
    day: u64,
    spent: Cost,
    /// By agent.
    open: BTreeMap<String, Cost>,
    /// Whether something is known of what a call takes: of the agents' own model, and of the one in its place.
    tried: BTreeSet<bool>,
    /// Agents whose last call went to the other one.
    elsewhere: BTreeSet<String>,
}

/// What is wrong with the spending of a log.
pub(crate) fn judge(history: &[Draft], wrong: &mut Vec<String>) {
    let mut till = Till::default();
    for draft in history {
        if let Err(what) = till.record(draft) {
            wrong.push(format!("record {}: {what}", draft.seq));
        }
    }
}

impl Till {
    fn record(&mut self, draft: &Draft) -> Result<(), String> {
        let day = draft.ts.as_micros() / DAY_US;
        if day > self.day {
            (self.day, self.spent) = (day, [0; 2]);
        }
        match draft.event.as_str() {
            "budget.set" => {
                let limit = |name: &str| draft.body.get("allowance")?.get(name)?.as_u64();
                self.limits = [limit("tokens_per_day"), limit("micro_usd_per_day")];
                Ok(())
            }
            // Nobody knows how the calls of a daemon ended that is gone.
            "anchor.started" => {
                let open: Vec<String> = self.open.keys().cloned().collect();
                open.iter().for_each(|agent| self.keep(agent));
                Ok(())
            }
            "agent.step" => {
                let agent = draft.body.get("lineage").and_then(Value::as_str).unwrap_or_default();
                self.step(agent, draft.body.get("step").unwrap_or(&Value::Null))
            }
            _ => Ok(()),
        }
    }

    fn step(&mut self, agent: &str, step: &Value) -> Result<(), String> {
        let number = |pointer: &str| step.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        match step.get("step").and_then(Value::as_str).unwrap_or_default() {
            "model_intent" => {
                let own = step.get("fallback").is_none_or(Value::is_null);
                if own {
                    self.elsewhere.remove(agent)
                } else {
                    self.elsewhere.insert(agent.to_owned())
                };
                return self.begin(agent);
            }
            "model_receipt" => {
                self.open.remove(agent);
                let parts = ["/usage/input", "/usage/output", "/usage/cache_read", "/usage/cache_write"];
                self.spend([parts.map(number).iter().sum(), number("/cost_micro_usd")]);
                self.tried.insert(self.is_elsewhere(agent));
            }
            "model_failed" if step.get("unsettled") == Some(&Value::Bool(true)) => self.keep(agent),
            "model_failed" => drop(self.open.remove(agent)),
            "finished" => self.keep(agent),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, agent: &str) -> Result<(), String> {
        self.keep(agent);
        let model = self.is_elsewhere(agent);
        let tried = self.tried.contains(&model);
        let beside = self.open.keys().any(|other| self.is_elsewhere(other) == model);
        let next = if tried { [USAGE.total_tokens(), PRICE] } else { [1, 1] };
        let taken = self.open.values().fold(self.spent, add);
        let first = !tried && beside && self.limits.iter().any(Option::is_some);
        self.open.insert(agent.to_owned(), next);
        if first {
            return Err(format!("{agent} calls a model of which nothing is known beside another"));
        }
        for ((limit, taken), next) in self.limits.iter().zip(taken).zip(next) {
            if limit.is_some_and(|limit| taken >= limit || taken + next > limit) {
                return Err(format!(
                    "a call of {agent} begins, {taken} are spent or reserved, it takes {next}, and {limit:?} may be"
                ));
            }
        }
        Ok(())
    }

    /// Whether an agent's last call went to the model in the place of its own.
    fn is_elsewhere(&self, agent: &str) -> bool {
        self.elsewhere.contains(agent)
    }

    /// What is reserved for an agent's call is spent.
    fn keep(&mut self, agent: &str) {
        if let Some(cost) = self.open.remove(agent) {
            self.spend(cost);
        }
    }

    fn spend(&mut self, cost: Cost) {
        self.spent = add(self.spent, &cost);
    }
}

fn add(sum: Cost, cost: &Cost) -> Cost {
    let ([tokens, money], [more, price]) = (sum, *cost);
    [tokens + more, money + price]
}
