//! What the whole fleet may spend in a day: `[budget]` of `ostk.toml`, which the host gives and the log records.
//!
//! A model call is charged in two steps: what it is expected to take is reserved by the record of its intent, and what it
//! took is settled by its receipt. Of a call whose end is not known, the reservation stays charged. All of it is folded per
//! UTC day, so a crash forgets nothing and midnight opens the budget again. Calls of native agents wait in their lanes
//! (`lanes`), requests of foreign agents are refused (`network`). Budgets of one agent are its own fold's (`ostk-agent`).

use std::collections::BTreeMap;

use ostk_agent::{AgentEvent, AgentState};
use ostk_log::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    call::{CallError, Caller, Code},
    event::Event,
    kernel::Kernel,
};

const DAY_US: u64 = 86_400_000_000;
/// Percent of a limit at which the operator is warned.
const WARNED_AT: u64 = 85;
/// An agent that waits for the budget looks again so often, so that it notices in the meantime that its own time is over.
const LOOK_AGAIN_MS: u64 = 60_000;

/// What may be spent in a day; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Prompt and reply tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Millionths of a dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd_per_day: Option<u64>,
}

/// What model calls took, or are expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Prompt and reply tokens.
    pub tokens: u64,
    /// Millionths of a dollar, where the price is known.
    pub micro_usd: u64,
}

impl Charge {
    const fn plus(self, more: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(more.tokens),
            micro_usd: self.micro_usd.saturating_add(more.micro_usd),
        }
    }

    fn at_least(self, other: Self) -> Self {
        Self { tokens: self.tokens.max(other.tokens), micro_usd: self.micro_usd.max(other.micro_usd) }
    }
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reserved {
    model: String,
    charge: Charge,
}

/// What the last call of a model took: what is expected of an agent's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Typical {
    tokens: u64,
    /// `None` if the price is not known.
    micro_usd: Option<u64>,
}

/// A limit and how it stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    which: &'static str,
    limit: u64,
    spent: u64,
    reserved: u64,
}

impl Standing {
    const fn pct(&self) -> u64 {
        self.spent.saturating_mul(100) / if self.limit == 0 { 1 } else { self.limit }
    }
}

/// A limit without room for a call.
#[derive(Clone, Copy, Debug)]
struct Lack {
    standing: Standing,
    /// Calls under way do not change that, whatever they take.
    lasts: bool,
}

/// What was spent today, what is reserved, and what may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    allowance: Allowance,
    /// Days since 1970, of `today`.
    day: u64,
    /// Settled.
    today: Charge,
    /// Calls under way: `agent:NAME`, or `relay:SEQ` by the record of the intent.
    open: BTreeMap<String, Reserved>,
    typical: BTreeMap<String, Typical>,
    /// Percent of a limit that the operator was told of today.
    told: BTreeMap<String, u64>,
}

impl Spending {
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// What may be spent in a day.
    pub const fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// What was settled on the day of `now`.
    pub fn today(&self, now: Timestamp) -> Charge {
        if day_of(now) == self.day { self.today } else { Charge::default() }
    }

    /// What is reserved for calls under way.
    pub fn reserved(&self) -> Charge {
        self.open.values().fold(Charge::default(), |sum, open| sum.plus(open.charge))
    }

    /// What to know about the limits of the day, one sentence each: those of which most is spent.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let near = self.standings(now).filter(|standing| standing.pct() >= WARNED_AT);
        let words = |Standing { which, limit, spent, .. }: Standing| {
            let (spent, limit) = (figure(which, spent), figure(which, limit));
            format!("{which}: {spent} of {limit} is spent; the day ends at {}", midnight(now))
        };
        near.map(words).collect()
    }

    /// Folds [`Event::BudgetSet`] and [`Event::BudgetReached`].
    pub(crate) fn apply(&mut self, ts: Timestamp, event: Event) {
        self.roll(ts);
        match event {
            Event::BudgetSet { allowance } => {
                self.allowance = allowance;
                self.told.clear();
            }
            Event::BudgetReached { limit, percent, .. } => drop(self.told.insert(limit, percent)),
            _ => {}
        }
    }

    /// A call begins. One of the same name that never ended stays charged.
    pub(crate) fn reserve(&mut self, ts: Timestamp, call: String, model: &str, charge: Charge) {
        self.keep(ts, &call);
        self.open.insert(call, Reserved { model: model.to_owned(), charge });
    }

    /// A call ended and took this.
    fn settle(&mut self, ts: Timestamp, call: &str, charge: Charge) {
        self.roll(ts);
        self.open.remove(call);
        self.today = self.today.plus(charge);
    }

    /// Nobody knows how a call ended: what was reserved for it is taken as spent.
    fn keep(&mut self, ts: Timestamp, call: &str) {
        let charge = self.open.get(call).map(|open| open.charge).unwrap_or_default();
        self.settle(ts, call, charge);
    }

    /// The daemon that made the calls under way is gone.
    pub(crate) fn lose(&mut self, ts: Timestamp) {
        for call in self.open.keys().cloned().collect::<Vec<_>>() {
            self.keep(ts, &call);
        }
    }

    /// A request of a foreign agent is over. `took` is what its reply says; nothing, where that is not known.
    pub(crate) fn relayed(&mut self, ts: Timestamp, intent: u64, end: RelayEnd) {
        let call = relay_key(intent);
        let reserved = self.open.get(&call).map(|open| open.charge).unwrap_or_default();
        let micro_usd = end.micro_usd.unwrap_or(reserved.micro_usd);
        match end {
            RelayEnd { is_settled: true, tokens: 0, .. } => self.settle(ts, &call, Charge::default()),
            RelayEnd { is_settled: true, tokens, .. } => self.settle(ts, &call, Charge { tokens, micro_usd }),
            RelayEnd { tokens, .. } => {
                self.settle(ts, &call, reserved.at_least(Charge { tokens, micro_usd }))
            }
        }
    }

    /// Folds a step of the native agent `name`.
    pub(crate) fn step(&mut self, ts: Timestamp, name: &str, agent: &AgentState, step: &AgentEvent) {
        let call = format!("agent:{name}");
        match step {
            AgentEvent::ModelIntent { .. } => {
                self.reserve(ts, call, agent.model(), self.expected(agent));
            }
            AgentEvent::ModelReceipt { usage, cost_micro_usd, .. } => {
                let (tokens, micro_usd) = (usage.total_tokens(), *cost_micro_usd);
                self.settle(ts, &call, Charge { tokens, micro_usd: micro_usd.unwrap_or(0) });
                self.typical.insert(agent.model().to_owned(), Typical { tokens, micro_usd });
            }
            AgentEvent::ModelFailed { unsettled: false, .. } => self.settle(ts, &call, Charge::default()),
            AgentEvent::ModelFailed { .. } | AgentEvent::Finished { .. } => self.keep(ts, &call),
            _ => {}
        }
    }

    /// What the next call of an agent will take: as much as its last one, or as the last one of its model.
    fn expected(&self, agent: &AgentState) -> Charge {
        let (tokens, micro_usd) = agent.expected_call();
        if tokens > 0 {
            return Charge { tokens, micro_usd };
        }
        match self.typical.get(agent.model()) {
            Some(typical) => {
                Charge { tokens: typical.tokens, micro_usd: typical.micro_usd.unwrap_or_default() }
            }
            // It is tried alone, see below.
            None => Charge { tokens: 1, micro_usd: 1 },
        }
    }

    /// Whether nothing is known of what a call of this model takes, and one is under way that will tell.
    fn is_being_tried(&self, model: &str) -> bool {
        !self.typical.contains_key(model) && self.open.values().any(|open| open.model == model)
    }

    fn roll(&mut self, ts: Timestamp) {
        let day = day_of(ts);
        if day > self.day {
            self.day = day;
            self.today = Charge::default();
            self.told.clear();
        }
    }

    fn standings(&self, now: Timestamp) -> impl Iterator<Item = Standing> {
        let (spent, reserved) = (self.today(now), self.reserved());
        let Allowance { tokens_per_day, micro_usd_per_day } = self.allowance;
        let usd = ("usd_per_day", micro_usd_per_day, spent.micro_usd, reserved.micro_usd);
        let tokens = ("tokens_per_day", tokens_per_day, spent.tokens, reserved.tokens);
        let given = |(which, limit, spent, reserved): (_, Option<u64>, _, _)| {
            Some(Standing { which, limit: limit?, spent, reserved })
        };
        [usd, tokens].into_iter().filter_map(given)
    }

    /// The limit that one more call would pass; of several, one that it would pass also if nothing else were under way.
    fn lacking(&self, now: Timestamp, next: Charge) -> Option<Lack> {
        let lack = |standing: Standing| {
            let next = if standing.which == "usd_per_day" { next.micro_usd } else { next.tokens };
            let passes = |taken: u64| taken.saturating_add(next) > standing.limit || taken >= standing.limit;
            let lasts = passes(standing.spent);
            passes(standing.spent.saturating_add(standing.reserved)).then_some(Lack { standing, lasts })
        };
        self.standings(now).filter_map(lack).max_by_key(|lack| lack.lasts)
    }
}

/// How a request of a foreign agent ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayEnd {
    /// What it took is known: all of its reply came, or it was refused.
    pub(crate) is_settled: bool,
    pub(crate) tokens: u64,
    pub(crate) micro_usd: Option<u64>,
}

/// The name of a relayed request among the calls under way.
pub(crate) fn relay_key(intent: u64) -> String {
    format!("relay:{intent}")
}

const fn day_of(ts: Timestamp) -> u64 {
    ts.as_micros() / DAY_US
}

/// When the day of `now` ends.
const fn midnight(now: Timestamp) -> Timestamp {
    Timestamp::from_micros((day_of(now) + 1).saturating_mul(DAY_US))
}

fn figure(which: &str, value: u64) -> String {
    if which == "usd_per_day" { format!("${:.2}", value as f64 / 1e6) } else { value.to_string() }
}

impl Kernel {
    /// Takes what the host read as what may be spent from here on; calls that waited may begin.
    pub(crate) fn set_allowance(&mut self, allowance: Allowance) {
        if allowance != self.state.spending.allowance() {
            self.record(&Caller::Kernel, &Event::BudgetSet { allowance });
            self.mind_budget();
            // Also where there is no limit any more.
            self.open_every_lane();
        }
    }

    /// Until when the next model call of an agent waits for the day's budget.
    pub(crate) fn wait_for_budget(&mut self, lineage: &str) -> Option<Timestamp> {
        let spending = &self.state.spending;
        if spending.allowance() == Allowance::default() {
            return None;
        }
        let agent = self.state.agents.get(lineage)?;
        let soon = self.now.plus_millis(LOOK_AGAIN_MS).min(midnight(self.now));
        if let Some(lack) = spending.lacking(self.now, spending.expected(agent)) {
            self.tell_lack(lack);
            return Some(soon);
        }
        spending.is_being_tried(agent.model()).then_some(soon)
    }

    /// Why a call of this agent's model cannot be counted against the day's budget.
    pub(crate) fn uncountable(&self, agent: &AgentState) -> Option<String> {
        let spending = &self.state.spending;
        let unpriced = spending.typical.get(agent.model()).is_some_and(|typical| typical.micro_usd.is_none());
        (unpriced && spending.allowance.micro_usd_per_day.is_some()).then(|| unpriced_text(agent.model()))
    }

    /// Whether a foreign agent's request may be sent now.
    pub(crate) fn afford_relay(
        &mut self,
        model: &str,
        next: Charge,
        is_priced: bool,
    ) -> Result<(), CallError> {
        if self.state.spending.allowance().micro_usd_per_day.is_some() && !is_priced {
            return Err(CallError::new(Code::Denied, unpriced_text(model)).hint(UNPRICED_HINT));
        }
        // What takes nothing, such as a list of models, is no matter of the budget.
        if next == Charge::default() {
            return Ok(());
        }
        let Some(lack) = self.state.spending.lacking(self.now, next) else { return Ok(()) };
        self.tell_lack(lack);
        Err(CallError::new(Code::Denied, self.lack_in_words(lack)).hint(
            "wait until then; or the operator raises it in .ostk/ostk.toml and runs: ostk call policy.reload",
        ))
    }

    /// After something was settled: warns the operator, and lets calls begin for which there is room again.
    pub(crate) fn mind_budget(&mut self) {
        if self.state.spending.allowance() == Allowance::default() {
            return;
        }
        let near = self.state.spending.standings(self.now).filter(|standing| standing.pct() >= WARNED_AT);
        for standing in near.collect::<Vec<_>>() {
            self.tell_reached(standing, WARNED_AT);
        }
        self.open_every_lane();
    }

    fn tell_lack(&mut self, lack: Lack) {
        if lack.lasts {
            self.tell_reached(lack.standing, 100);
        }
    }

    /// Tells the operator once a day.
    fn tell_reached(&mut self, standing: Standing, percent: u64) {
        let spending = &self.state.spending;
        let is_today = day_of(self.now) == spending.day;
        if is_today && spending.told.get(standing.which).is_some_and(|told| *told >= percent) {
            return;
        }
        let Standing { which, limit, spent, reserved } = standing;
        let event = Event::BudgetReached { limit: which.to_owned(), percent, of: limit, spent, reserved };
        self.record(&Caller::Kernel, &event);
    }

    fn lack_in_words(&self, Lack { standing, lasts }: Lack) -> String {
        let Standing { which, limit, spent, reserved } = standing;
        let of = |value| figure(which, value);
        let (limit, spent, reserved) = (of(limit), of(spent), of(reserved));
        let sooner = if lasts { "" } else { ", or sooner if the calls under way take less than is expected" };
        format!(
            "the day's budget has no room for this call: {which} {limit}, {spent} spent and {reserved} under way; it opens \
             again at {}{sooner}",
            midnight(self.now)
        )
    }

    /// What an agent in line waits for, if it is the day's budget.
    pub(crate) fn budget_in_words(&self, agent: &AgentState) -> Option<String> {
        let spending = &self.state.spending;
        let lack = spending.lacking(self.now, spending.expected(agent)).filter(|lack| lack.lasts)?;
        Some(format!("{} is used up until {}", lack.standing.which, midnight(self.now)))
    }

    /// How the day's budget stands, for `ps` and `status`; null without one.
    pub(crate) fn budget_row(&self) -> Value {
        let spending = &self.state.spending;
        if spending.allowance() == Allowance::default() {
            return Value::Null;
        }
        let row = |standing: Standing| {
            json!({ "limit": standing.which, "of": standing.limit, "spent": standing.spent,
                "reserved": standing.reserved, "pct": standing.pct() })
        };
        let limits: Vec<Value> = spending.standings(self.now).map(row).collect();
        json!({ "limits": limits, "warnings": spending.warnings(self.now), "opens": midnight(self.now) })
    }
}

/// What to do where a price is not known.
pub(crate) const UNPRICED_HINT: &str = "tokens_per_day bounds any model";

pub(crate) fn unpriced_text(model: &str) -> String {
    format!("the price of {model} is not known, so usd_per_day of .ostk/ostk.toml cannot be kept")
}
