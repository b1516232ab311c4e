//! What an agent has spent and what it may spend. Checked before a model call, counted by the fold, so a crash resets
//! nothing.

use ostk_log::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{agentfile::Limits, model::Usage};

/// Totals since the spawn, across handoffs.
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
    pub(crate) fn charge(&mut self, usage: &Usage, micro_usd: u64) {
        self.turns += 1;
        self.tokens = self.tokens.saturating_add(usage.total_tokens());
        self.micro_usd = self.micro_usd.saturating_add(micro_usd);
    }
}

/// What one more model call is expected to take: the last one's prompt and reply, which are the next one's prompt, and
/// the last one's price. Zero before the first call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) tokens: u64,
    pub(crate) micro_usd: u64,
}

/// The first limit that one more call would pass.
pub(crate) fn exhausted(
    limits: &Limits,
    spent: Spent,
    next: Estimate,
    elapsed_ms: u64,
) -> Option<&'static str> {
    let over = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value > limit);
    let checks = [
        ("turns", limits.turns, spent.turns.saturating_add(1)),
        ("tokens", limits.tokens, spent.tokens.saturating_add(next.tokens.max(1))),
        ("budget_usd", limits.budget_micro_usd, spent.micro_usd.saturating_add(next.micro_usd.max(1))),
        // One millisecond more than the limit is over it.
        ("wall_clock", wall_clock_ms(limits), elapsed_ms),
    ];
    checks.into_iter().find(|(_, limit, value)| over(*limit, *value)).map(|(which, ..)| which)
}

/// Whether four fifths of a limit are spent, or only one turn is left.
pub(crate) fn nearly_exhausted(limits: &Limits, spent: Spent, started: Timestamp, now: Timestamp) -> bool {
    let near = |limit: Option<u64>, value: u64| {
        limit.is_some_and(|limit| value.saturating_mul(5) >= limit.saturating_mul(4))
    };
    near(limits.turns, spent.turns)
        || limits.turns == Some(spent.turns.saturating_add(1))
        || near(limits.tokens, spent.tokens)
        || near(limits.budget_micro_usd, spent.micro_usd)
        || near(wall_clock_ms(limits), now.millis_since(started))
}

/// Percent spent of the limit that is nearest to its end, at most 100.
pub(crate) fn spent_pct(limits: &Limits, spent: Spent, started: Timestamp, now: Timestamp) -> Option<u64> {
    let percent = |limit: Option<u64>, value: u64| Some(value.saturating_mul(100) / limit?.max(1));
    let each = [
        percent(limits.turns, spent.turns),
        percent(limits.tokens, spent.tokens),
        percent(limits.budget_micro_usd, spent.micro_usd),
        percent(wall_clock_ms(limits), now.millis_since(started)),
    ];
    each.into_iter().flatten().max().map(|percent| percent.min(100))
}

fn wall_clock_ms(limits: &Limits) -> Option<u64> {
    limits.wall_clock_s.map(|seconds| seconds.saturating_mul(1_000))
}
