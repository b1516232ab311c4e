//! What the whole fleet may spend: in a day, `[budget]` of `ostk.toml`, and in all, where the log is a stack's (`stacks`).
//!
//! A model call is charged in two steps: what it is expected to take is reserved by the record of its intent, and what it
//! took is settled by its receipt. Of a call whose end is not known, the reservation stays charged. All of it is folded per
//! UTC day, so a crash forgets nothing and midnight opens the budget again. Calls of native agents wait in their lanes
//! (`lanes`), requests of foreign agents are refused (`network`). A budget in all closes: what is left of it is for the last
//! turn of each agent. Budgets of one agent are its own fold's (`ostk-agent`).

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
                self.closed |= percent == 100 && !limit.ends_with("_per_day");
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
            self.told.retain(|limit, _| !limit.ends_with("_per_day"));
        }
    }

    fn standings(&self, now: Timestamp) -> impl Iterator<Item = Standing> {
        let (today, all, reserved) = (self.today(now), self.all, self.reserved());
        let Allowance { tokens_per_day, micro_usd_per_day, tokens, micro_usd, turns } = self.allowance;
        let money = |charge: &Charge| charge.micro_usd;
        let limits: [(&str, Option<u64>, bool, Part); 5] = [
            ("usd_per_day", micro_usd_per_day, true, money),
            ("tokens_per_day", tokens_per_day, true, |charge| charge.tokens),
            ("budget_usd", micro_usd, false, money),
            ("tokens", tokens, false, |charge| charge.tokens),
            ("turns", turns, false, |charge| charge.turns),
        ];
        limits.into_iter().filter_map(move |(which, limit, daily, part)| {
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

    /// Until when an agent's next call of this model waits for the day's budget.
    pub(crate) fn wait_for_budget(&mut self, lineage: &str, model: &str) -> Option<Timestamp> {
        let spending = &self.state.spending;
        if spending.allowance() == Allowance::default() {
            return None;
        }
        let agent = self.state.agents.get(lineage)?;
        let soon = self.now.plus_millis(LOOK_AGAIN_MS).min(midnight(self.now));
        if let Some(lack) = spending.lacking(self.now, spending.expected(agent, model)) {
            // What was kept for the last turns is not there for others.
            if !lack.standing.daily && agent.is_on_its_last_call() {
                return None;
            }
            self.tell_lack(lack);
            return Some(soon);
        }
        spending.is_being_tried(model).then_some(soon)
    }

    /// Why a call of this model cannot be counted against the day's budget.
    pub(crate) fn uncountable(&self, model: &str) -> Option<String> {
        let spending = &self.state.spending;
        let unpriced = spending.typical.get(model).is_some_and(|typical| typical.micro_usd.is_none());
        (unpriced && spending.allowance.bounds_money()).then(|| unpriced_text(model))
    }

    /// Whether a foreign agent's request may be sent now.
    pub(crate) fn afford_relay(
        &mut self,
        model: &str,
        next: Charge,
        is_priced: bool,
    ) -> Result<(), CallError> {
        if self.state.spending.allowance().bounds_money() && !is_priced {
            return Err(CallError::new(Code::Denied, unpriced_text(model)).hint(UNPRICED_HINT));
        }
        // What takes nothing, such as a list of models, is no matter of the budget.
        if next.tokens == 0 && next.micro_usd == 0 {
            return Ok(());
        }
        self.check_open()?;
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
        self.close_if_spent();
        self.open_every_lane();
    }

    /// Tells every agent that its next turn is the last, when what is left in all is enough for no more.
    fn close_if_spent(&mut self) {
        let spending = &self.state.spending;
        if spending.closed || spending.standings(self.now).all(|standing| standing.daily) {
            return;
        }
        let working = self.state.agents.iter().filter(|(_, agent)| !agent.is_finished());
        let turns = working.clone().map(|(_, agent)| spending.expected(agent, agent.called()));
        let last = turns.clone().fold(Charge::default(), Charge::plus);
        let beyond = turns.max_by_key(|next| next.tokens);
        let lack = spending.lacking(self.now, last.plus(beyond.unwrap_or_default()));
        let Some(lack) = lack.filter(|lack| !lack.standing.daily) else { return };
        let names: Vec<String> = working.map(|(name, _)| name.clone()).collect();
        self.tell_reached(lack.standing, 100);
        for name in names {
            let which = format!("{} of the stack", lack.standing.which);
            self.step(&name, AgentEvent::Closing { which }, Vec::new());
            self.drive(&name);
        }
    }

    /// Why nobody may begin any more: the budget in all is used up.
    pub(crate) fn check_open(&self) -> Result<(), CallError> {
        if !self.state.spending.closed {
            return Ok(());
        }
        Err(CallError::new(Code::Denied, "the budget of this stack is used up")
            .hint("it is sealed in a moment; spawn another one"))
    }

    /// Whether what a stack may spend is there.
    pub(crate) fn check_budget(&self, budget: &Allowance) -> Result<(), CallError> {
        let spending = &self.state.spending;
        let parts = [("tokens", budget.tokens), ("budget_usd", budget.micro_usd)];
        for standing in spending.standings(self.now) {
            let named =
                parts.iter().find(|(name, _)| standing.which.starts_with("usd") == (*name == "budget_usd"));
            if let Some((name, None)) = named {
                let message =
                    format!("{} bounds what a day may cost, and this stack has no {name}", standing.which);
                return Err(
                    CallError::new(Code::Usage, message).hint("give it a budget: --budget-usd, --tokens")
                );
            }
        }
        let (tokens, micro_usd) = (budget.tokens.unwrap_or(0), budget.micro_usd.unwrap_or(0));
        match spending.lacking(self.now, Charge { tokens, micro_usd, turns: 0 }) {
            Some(lack) => Err(CallError::new(Code::Denied, self.lack_in_words(lack)).hint("give it less")),
            None => Ok(()),
        }
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
        if (is_today || !standing.daily)
            && spending.told.get(standing.which).is_some_and(|told| *told >= percent)
        {
            return;
        }
        let Standing { which, limit, spent, reserved, .. } = standing;
        let event = Event::BudgetReached { limit: which.to_owned(), percent, of: limit, spent, reserved };
        self.record(&Caller::Kernel, &event);
    }

    fn lack_in_words(&self, Lack { standing, lasts }: Lack) -> String {
        let Standing { which, limit, spent, reserved, .. } = standing;
        let of = |value| figure(which, value);
        let (limit, spent, reserved) = (of(limit), of(spent), of(reserved));
        let opens = if standing.daily {
            format!("; it opens again at {}", midnight(self.now))
        } else {
            String::new()
        };
        let sooner = if lasts { "" } else { ", or sooner if the calls under way take less than is expected" };
        format!(
            "the budget has no room for this: {which} {limit}, {spent} spent and {reserved} under way{opens}{sooner}"
        )
    }

    /// What an agent in line waits for, if it is the day's budget.
    pub(crate) fn budget_in_words(&self, agent: &AgentState) -> Option<String> {
        let spending = &self.state.spending;
        let lack =
            spending.lacking(self.now, spending.expected(agent, agent.model())).filter(|lack| lack.lasts)?;
        let until =
            if lack.standing.daily { format!(" until {}", midnight(self.now)) } else { String::new() };
        Some(format!("{} is used up{until}", lack.standing.which))
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
        json!({ "limits": limits, "closed": spending.closed, "warnings": spending.warnings(self.now), "opens": midnight(self.now) })
    }
}

/// What to do where a price is not known.
pub(crate) const UNPRICED_HINT: &str = "a budget in tokens bounds any model: tokens_per_day";

pub(crate) fn unpriced_text(model: &str) -> String {
    format!("the price of {model} is not known, so a budget in dollars cannot be kept")
}
