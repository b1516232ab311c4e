//! What the kernel does about the budgets of the fleet: who waits, who is refused, what the operator and the agents hear.
//!
//! Calls of native agents wait in their lanes (`lanes`), requests of foreign agents are refused (`network`). A budget in all
//! closes: what is left of it is for the last turn of each agent.

use ostk_agent::{AgentEvent, AgentState};
use ostk_log::Timestamp;
use serde_json::{Value, json};

use super::{Allowance, Charge, Lack, Standing, WARNED_AT, day_of, figure, midnight};
use crate::{
    call::{CallError, Caller, Code},
    event::Event,
    kernel::Kernel,
};

/// An agent that waits for the budget looks again so often, so that it notices in the meantime that its own time is over.
const LOOK_AGAIN_MS: u64 = 60_000;

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
