//! What an agent has spent and what it may spend. Checked before a model call, counted by the fold, so a crash resets
//! nothing.

use ostk_log::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{agentfile::Limits, model::Usage};

/// Totals of a lineage's current run, across its handoffs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Model calls that were answered.
    pub turns: u64,
    /// Prompt and reply tokens.
    pub tokens: u64,
    /// Millionths of a dollar, where the price is known.
    pub micro_usd: u64,
}

impl Spent {
    pub(crate) fn charge(&mut self, usage: &Usage, cost_micro_usd: Option<u64>) {
        self.turns += 1;
        self.tokens = self.tokens.saturating_add(usage.total_tokens());
        self.micro_usd = self.micro_usd.saturating_add(cost_micro_usd.unwrap_or(0));
    }
}

/// The first limit that one more call of `estimate` tokens would pass.
pub(crate) fn exhausted(
    limits: &Limits,
    spent: &Spent,
    estimate: u64,
    started: Timestamp,
    now: Timestamp,
) -> Option<&'static str> {
    let over = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value > limit);
    if over(limits.turns, spent.turns + 1) {
        return Some("turns");
    }
    if over(limits.tokens, spent.tokens.saturating_add(estimate)) {
        return Some("tokens");
    }
    if over(limits.budget_micro_usd, spent.micro_usd.saturating_add(1)) {
        return Some("budget_usd");
    }
    over(limits.wall_clock_s, now.millis_since(started) / 1_000).then_some("wall_clock")
}
