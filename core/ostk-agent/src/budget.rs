//! What an agent has spent and what it may spend. Checked before each effect, counted by the fold, so a crash resets
//! nothing.

use serde::{Deserialize, Serialize};

use crate::{agentfile::Limits, model::Usage};

/// Percent of a limit at which its agent is told to wrap up.
const WARNED_AT: u64 = 85;

/// Totals since the spawn, across handoffs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Model calls that were answered.
    pub turns: u64,
    /// Prompt and reply tokens.
    pub tokens: u64,
    /// Millionths of a dollar, where the price is known.
    pub micro_usd: u64,
    /// Tool calls that were answered.
    #[serde(default)]
    pub tool_calls: u64,
    /// Bytes of the files that were written, those that are being written included.
    #[serde(default)]
    pub bytes_written: u64,
}

impl Spent {
    pub(crate) fn charge(&mut self, usage: &Usage, micro_usd: u64) {
        self.turns += 1;
        self.tokens = self.tokens.saturating_add(usage.total_tokens());
        self.micro_usd = self.micro_usd.saturating_add(micro_usd);
    }

    /// What it will be after a model call that takes what is expected.
    const fn after(self, call: Estimate) -> Self {
        Self {
            turns: self.turns.saturating_add(1),
            tokens: self.tokens.saturating_add(if call.tokens == 0 { 1 } else { call.tokens }),
            micro_usd: self.micro_usd.saturating_add(if call.micro_usd == 0 { 1 } else { call.micro_usd }),
            ..self
        }
    }
}

/// What one more model call is expected to take: the last one's prompt and reply, which are the next one's prompt, and
/// the last one's price. Zero before the first call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) tokens: u64,
    pub(crate) micro_usd: u64,
}

/// The limits, each with its name and what is spent of it; milliseconds where it is time.
fn spending(limits: &Limits, spent: Spent, elapsed_ms: u64) -> [(&'static str, Option<u64>, u64); 6] {
    [
        ("turns", limits.turns, spent.turns),
        ("tokens", limits.tokens, spent.tokens),
        ("budget_usd", limits.budget_micro_usd, spent.micro_usd),
        ("wall_clock", limits.wall_clock_s.map(|seconds| seconds.saturating_mul(1_000)), elapsed_ms),
        ("tool_calls", limits.tool_calls, spent.tool_calls),
        ("bytes_written", limits.bytes_written, spent.bytes_written),
    ]
}

/// The first limit that one more model call would pass.
pub(crate) fn exhausted(
    limits: &Limits,
    spent: Spent,
    next: Estimate,
    elapsed_ms: u64,
) -> Option<&'static str> {
    let mut all = spending(limits, spent.after(next), elapsed_ms).into_iter();
    all.find(|(_, limit, value)| limit.is_some_and(|limit| *value > limit)).map(|(which, ..)| which)
}

/// The limit that leaves room for one more model call and no other after it, or for no more tool calls.
pub(crate) fn last_call(
    limits: &Limits,
    spent: Spent,
    (next, later): (Estimate, Estimate),
    elapsed_ms: u64,
) -> Option<&'static str> {
    let used_up = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value >= limit);
    if used_up(limits.tool_calls, spent.tool_calls) {
        return Some("tool_calls");
    }
    if used_up(limits.bytes_written, spent.bytes_written) {
        return Some("bytes_written");
    }
    exhausted(limits, spent.after(next), later, elapsed_ms)
}

/// Whether so much of a limit is spent that its agent is warned.
pub(crate) fn nearly_exhausted(limits: &Limits, spent: Spent, elapsed_ms: u64) -> bool {
    spent_pct(limits, spent, elapsed_ms).is_some_and(|percent| percent >= WARNED_AT)
}

/// Percent spent of the limit that is nearest to its end, at most 100; `None` without limits.
pub(crate) fn spent_pct(limits: &Limits, spent: Spent, elapsed_ms: u64) -> Option<u64> {
    let percent = |(_, limit, value): (_, Option<u64>, u64)| Some(value.saturating_mul(100) / limit?.max(1));
    let most = spending(limits, spent, elapsed_ms).into_iter().filter_map(percent).max();
    most.map(|percent| percent.min(100))
}
