//! What others may know of an agent: whether it rests or has ended, what it spends, what it may still do.
//!
//! Each answer follows from the fold (`state`) and the time that is given; none changes anything. What the agent needs next
//! is said by `next`. The kernel asks here for `ps`, for its budgets and lanes, and before it lets a call begin.

use ostk_log::{Hash, Timestamp};

use crate::{
    agentfile::{ToolGrant, WorkTerm},
    budget::{self, Spent},
    event::Outcome,
    state::{AgentState, Lifecycle},
};

impl AgentState {
    /// Whether it was told that its next call is its last.
    pub const fn is_on_its_last_call(&self) -> bool {
        self.last_call.is_some() || self.closing.is_some()
    }

    /// The work that it is given when it has nothing to do; empty if its task is all.
    pub fn work(&self) -> &[WorkTerm] {
        &self.config.work
    }

    /// Whether it takes work, has not ended, and has nothing to do.
    pub fn is_at_rest(&self) -> bool {
        let is_idle = self.turn.is_none() && self.calling.is_none() && self.fatal.is_none();
        let has_no_more = self.fresh || self.has_nothing_more_to_say();
        !self.config.work.is_empty() && self.outcome.is_none() && is_idle && has_no_more
    }

    /// When its time is over; `None` without `LIMIT wall_clock`.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let seconds = self.config.limits.wall_clock_s?;
        Some(self.started.plus_millis(seconds.saturating_mul(1_000).saturating_add(1)))
    }

    /// Whether it has ended.
    pub const fn is_finished(&self) -> bool {
        self.outcome.is_some()
    }

    /// How it ended.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Failures in a row of its model calls, and when the first of them was; `None` if the last one was answered.
    pub const fn failing(&self) -> Option<(u32, Timestamp)> {
        if self.failures == 0 { None } else { Some((self.failures, self.failing_since)) }
    }

    /// What it has spent.
    pub const fn spent(&self) -> Spent {
        self.spent
    }

    /// Tokens and millionths of a dollar that its next model call is expected to take; zero while nothing is known.
    pub const fn expected_call(&self) -> (u64, u64) {
        (self.estimate.tokens, self.estimate.micro_usd)
    }

    /// The model whose last reply says what the next call takes.
    pub fn expected_of(&self) -> &str {
        self.estimate_of.as_deref().unwrap_or(&self.config.model)
    }

    /// Whether its conversation and a reply to it fit into a context window of so many tokens.
    pub fn fits(&self, context_window: u64) -> bool {
        self.estimate.tokens.saturating_add(u64::from(self.config.max_tokens)) <= context_window
    }

    /// Percent of its context that the last turn filled.
    pub fn context_pct(&self) -> u64 {
        let usable = self.config.limits.context_pct.map_or(100, |percent| percent.min(100));
        let window = self.config.context_window.saturating_mul(usable).max(1);
        self.estimate.tokens.saturating_mul(100 * 100) / window
    }

    /// Percent of the limit that is nearest to its end; `None` without limits.
    pub fn budget_pct(&self, now: Timestamp) -> Option<u64> {
        budget::spent_pct(&self.config.limits, self.spent, now.millis_since(self.started))
    }

    /// How often in a row its last tool call was the same with the same result.
    pub const fn repeats(&self) -> u32 {
        self.repeat.times
    }

    /// The limit that one more tool call would pass, with `under_way` that have no result yet.
    pub fn tool_limit(&self, under_way: u64) -> Option<u64> {
        self.config
            .limits
            .tool_calls
            .filter(|limit| self.spent.tool_calls.saturating_add(under_way) >= *limit)
    }

    /// The limit that these bytes more would pass.
    pub fn write_limit(&self, bytes: u64) -> Option<u64> {
        self.config
            .limits
            .bytes_written
            .filter(|limit| self.spent.bytes_written.saturating_add(bytes) > *limit)
    }

    /// How full its context is.
    pub const fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Its model.
    pub fn model(&self) -> &str {
        &self.config.model
    }

    /// The model that its last call went to, or goes to while one is open: its own, or the one in its place.
    pub fn called(&self) -> &str {
        self.fallback.as_deref().unwrap_or(&self.config.model)
    }

    /// Whether a model in place of its own refused its conversation, and its own has not answered since.
    pub const fn was_refused_by_fallback(&self) -> bool {
        self.fallback_refused
    }

    /// The limits of its Agentfile.
    pub const fn limits(&self) -> &crate::Limits {
        &self.config.limits
    }

    /// What its Agentfile grants.
    pub fn tool_grants(&self) -> Option<&[ToolGrant]> {
        self.config.tools.as_deref()
    }

    /// The tool behind a call of the open turn.
    pub fn tool_name(&self, call_no: u64, id: &str) -> Option<&str> {
        let turn = self.turn.as_ref().filter(|turn| turn.call_no == call_no)?;
        turn.tools.iter().find(|tool| tool.id == id).map(|tool| tool.name.as_str())
    }

    /// The blob of the last reply of this session.
    pub const fn last_reply(&self) -> Option<Hash> {
        self.last_reply
    }
}
