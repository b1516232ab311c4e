//! What the whole fleet may spend: in a day, `[budget]` of `ostk.toml`, and in all, where the log is a stack's (`stacks`).
//!
//! A model call is charged in two steps: what it is expected to take is reserved by the record of its intent, and what it
//! took is settled by its receipt. Of a call whose end is not known, the reservation stays charged. All of it is folded per
//! UTC day, so a crash forgets nothing and midnight opens the budget again. Here is the fold; `keep` is what the kernel does
//! about it. Budgets of one agent are its own fold's (`ostk-agent`).

mod keep;

use std::collections::BTreeMap;

use ostk_agent::{AgentEvent, AgentState};
use ostk_log::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use keep::{UNPRICED_HINT, unpriced_text};

use crate::event::Event;

const DAY_US: u64 = 86_400_000_000;
/// Percent of a limit at which the operator is warned.
const WARNED_AT: u64 = 85;

/// What may be spent; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Prompt and reply tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Millionths of a dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd_per_day: Option<u64>,
    /// Prompt and reply tokens in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Millionths of a dollar in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd: Option<u64>,
    /// Model calls in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
}

impl Allowance {
    /// Whether money is bounded, so that every price must be known.
    pub(crate) const fn bounds_money(&self) -> bool {
        self.micro_usd_per_day.is_some() || self.micro_usd.is_some()
    }
}

/// Dollars as millionths, from one to 10^15; `None` for any other amount.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and 10^15")]
pub fn micro_usd(dollars: f64) -> Option<u64> {
    let micro = (dollars * 1e6).round();
    (1.0..=1e15).contains(&micro).then_some(micro as u64)
}

/// What model calls took, or are expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Prompt and reply tokens.
    pub tokens: u64,
    /// Millionths of a dollar, where the price is known.
    pub micro_usd: u64,
    /// Model calls.
    pub turns: u64,
}

impl Charge {
    /// One call.
    pub(crate) const fn call(tokens: u64, micro_usd: u64) -> Self {
        Self { tokens, micro_usd, turns: 1 }
    }

    const fn plus(self, more: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(more.tokens),
            micro_usd: self.micro_usd.saturating_add(more.micro_usd),
            turns: self.turns.saturating_add(more.turns),
        }
    }

    fn at_least(self, other: Self) -> Self {
        let (tokens, micro_usd) = (self.tokens.max(other.tokens), self.micro_usd.max(other.micro_usd));
        Self { tokens, micro_usd, turns: self.turns.max(other.turns) }
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

impl Typical {
    /// The price of so many tokens, at that of the last call.
    fn price_of(self, tokens: u64) -> u64 {
        let micro_usd = u128::from(self.micro_usd.unwrap_or_default());
        let price = micro_usd * u128::from(tokens) / u128::from(self.tokens.max(1));
        u64::try_from(price).unwrap_or(u64::MAX)
    }
}

/// What of a charge a limit bounds.
type Part = fn(&Charge) -> u64;

/// A limit and how it stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    which: &'static str,
    /// What of a charge it bounds.
    part: Part,
    /// It holds for a day, and not in all.
    daily: bool,
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
    /// Percent of a limit that the operator was told of, of those of a day today.
    told: BTreeMap<String, u64>,
    /// Settled since the first record.
    all: Charge,
    /// What stacks may spend of this budget, by their names.
    lent: BTreeMap<String, Charge>,
    /// The budget in all is used up but for the last turns.
    closed: bool,
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

    /// What was settled since the first record.
    pub const fn in_all(&self) -> Charge {
        self.all
    }

    /// What is reserved for calls under way, and for stacks.
    pub fn reserved(&self) -> Charge {
        let calls = self.open.values().map(|open| open.charge);
        calls.chain(self.lent.values().copied()).fold(Charge::default(), Charge::plus)
    }

    /// A stack may spend so much of this budget.
    pub(crate) fn lend(&mut self, ts: Timestamp, stack: &str, budget: &Allowance) {
        self.roll(ts);
        let (tokens, micro_usd) = (budget.tokens.unwrap_or(0), budget.micro_usd.unwrap_or(0));
        self.lent.insert(stack.to_owned(), Charge { tokens, micro_usd, turns: 0 });
    }

    /// A stack has ended and spent this; if nobody knows, all that it might.
    pub(crate) fn give_back(&mut self, ts: Timestamp, stack: &str, spent: Option<Charge>) {
        self.roll(ts);
        let lent = self.lent.remove(stack).unwrap_or_default();
        self.spend(spent.unwrap_or(lent));
    }

    const fn spend(&mut self, charge: Charge) {
        self.today = self.today.plus(charge);
        self.all = self.all.plus(charge);
    }

    /// What to know about the limits of the day, one sentence each: those of which most is spent.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let near = self.standings(now).filter(|standing| standing.pct() >= WARNED_AT);
        let words = |Standing { which, limit, spent, daily, .. }: Standing| {
            let (spent, limit) = (figure(which, spent), figure(which, limit));
            let until = if daily { format!("; the day ends at {}", midnight(now)) } else { String::new() };
            format!("{which}: {spent} of {limit} is spent{until}")
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
                self.closed = false;
            }
            Event::BudgetReached { limit, percent, .. } => {
                self.closed |= percent == 100 && !is_daily(&limit);
                self.told.insert(limit, percent);
            }
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
        self.spend(charge);
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
            RelayEnd { is_settled: true, tokens, .. } => {
                self.settle(ts, &call, Charge::call(tokens, micro_usd));
            }
            RelayEnd { tokens, .. } => {
                self.settle(ts, &call, reserved.at_least(Charge::call(tokens, micro_usd)))
            }
        }
    }

    /// Folds a step of the native agent `name`.
    pub(crate) fn step(&mut self, ts: Timestamp, name: &str, agent: &AgentState, step: &AgentEvent) {
        let call = format!("agent:{name}");
        match step {
            AgentEvent::ModelIntent { .. } => {
                self.reserve(ts, call, agent.called(), self.expected(agent, agent.called()));
            }
            AgentEvent::ModelReceipt { usage, cost_micro_usd, .. } => {
                let (tokens, micro_usd) = (usage.total_tokens(), *cost_micro_usd);
                self.settle(ts, &call, Charge::call(tokens, micro_usd.unwrap_or(0)));
                self.typical.insert(agent.called().to_owned(), Typical { tokens, micro_usd });
            }
            AgentEvent::ModelFailed { unsettled: false, .. } => self.settle(ts, &call, Charge::default()),
            AgentEvent::ModelFailed { .. } | AgentEvent::Finished { .. } => self.keep(ts, &call),
            _ => {}
        }
    }

    /// What the next call of an agent will take of this model: as much as its last one, at the price of the model's last
    /// call where another one answered it; as the last one of the model, if it is its first.
    fn expected(&self, agent: &AgentState, model: &str) -> Charge {
        let (tokens, micro_usd) = agent.expected_call();
        if tokens > 0 && agent.expected_of() == model {
            return Charge::call(tokens, micro_usd);
        }
        match self.typical.get(model) {
            Some(typical) if tokens > 0 => Charge::call(tokens, typical.price_of(tokens)),
            Some(typical) => Charge::call(typical.tokens, typical.micro_usd.unwrap_or_default()),
            // It is tried alone, see below.
            None => Charge::call(tokens.max(1), micro_usd.max(1)),
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
            self.told.retain(|limit, _| !is_daily(limit));
        }
    }

    fn standings(&self, now: Timestamp) -> impl Iterator<Item = Standing> {
        let (today, all, reserved) = (self.today(now), self.all, self.reserved());
        let Allowance { tokens_per_day, micro_usd_per_day, tokens, micro_usd, turns } = self.allowance;
        let money = |charge: &Charge| charge.micro_usd;
        let limits: [(&str, Option<u64>, Part); 5] = [
            ("usd_per_day", micro_usd_per_day, money),
            ("tokens_per_day", tokens_per_day, |charge| charge.tokens),
            ("budget_usd", micro_usd, money),
            ("tokens", tokens, |charge| charge.tokens),
            ("turns", turns, |charge| charge.turns),
        ];
        limits.into_iter().filter_map(move |(which, limit, part)| {
            let daily = is_daily(which);
            let spent = part(if daily { &today } else { &all });
            Some(Standing { which, part, daily, limit: limit?, spent, reserved: part(&reserved) })
        })
    }

    /// The limit that one more call would pass; of several, one that it would pass also if nothing else were under way.
    fn lacking(&self, now: Timestamp, next: Charge) -> Option<Lack> {
        let lack = |standing: Standing| {
            let next = (standing.part)(&next);
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

/// Whether a limit holds for a day, and not in all: its name, which is in records, says so.
fn is_daily(which: &str) -> bool {
    which.ends_with("_per_day")
}

const fn day_of(ts: Timestamp) -> u64 {
    ts.as_micros() / DAY_US
}

/// When the day of `now` ends.
const fn midnight(now: Timestamp) -> Timestamp {
    Timestamp::from_micros((day_of(now) + 1).saturating_mul(DAY_US))
}

fn figure(which: &str, value: u64) -> String {
    if which.contains("usd") { format!("${:.2}", value as f64 / 1e6) } else { value.to_string() }
}
