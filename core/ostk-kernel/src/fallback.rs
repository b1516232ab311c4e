//! The model that answers while an agent's own is down: `FALLBACK` of the operator's HUMANFILE.
//!
//! A lane that is down (`lanes`) is told once what its agents call meanwhile; the record names both models and why, and
//! each call's intent names the model that it goes to. Here is who may be served so: the gate, the agent's budget and the
//! length of its conversation decide. Which call goes where is decided by `lanes`, before it begins and never after.

use ostk_agent::AgentState;
use ostk_policy::{Class, Effect, Resource};
use serde::{Deserialize, Serialize};

use crate::{
    act::{Op, Outcome},
    call::Caller,
    event::Event,
    kernel::{Kernel, Target},
    limits,
};

/// What is known of the model in the place of one that is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Its name.
    pub model: String,
    /// Tokens that its context window holds.
    pub context_window: u64,
    /// Whether the price of a call can be told.
    pub has_price: bool,
    /// Why no call can reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Kernel {
    /// The model that the operator has named for when this one cannot be had.
    fn named_fallback(&self, model: &str) -> Option<&str> {
        self.gate.policy().humanfile().fallback().filter(|named| *named != model)
    }

    /// The model that takes the place of this one now, as far as it is known and can be reached.
    pub(crate) fn fallback_of(&self, model: &str) -> Option<&Fallback> {
        let lane = self.state.lanes.get(model).filter(|lane| lane.down)?;
        let known = lane.fallback.as_ref().filter(|fallback| fallback.problem.is_none())?;
        (self.named_fallback(model) == Some(&known.model)).then_some(known)
    }

    /// The model that may answer an agent now in place of its own.
    pub(crate) fn fallback_for(&self, lineage: &str, agent: &AgentState) -> Option<&str> {
        let fallback = self.fallback_of(agent.model())?;
        let bounds_money =
            agent.limits().budget_micro_usd.is_some() || self.state.spending.allowance().bounds_money();
        let serves = !agent.was_refused_by_fallback()
            && agent.fits(fallback.context_window)
            && (fallback.has_price || !bounds_money)
            && self.uncountable(&fallback.model).is_none()
            && self.may_call_model(lineage, &fallback.model);
        serves.then_some(&fallback.model)
    }

    fn may_call_model(&self, lineage: &str, model: &str) -> bool {
        let caller = Caller::Agent(lineage.to_owned());
        let resource = Resource::Model(model.to_owned());
        self.foresee(&caller, "model.call", Class::ModelCall, resource).effect == Effect::Allow
    }

    /// Whether an agent whose own model says that it will not answer soon can wait, for another one may.
    pub(crate) fn can_be_served_elsewhere(&self, lineage: &str) -> bool {
        let Some(agent) = self.state.agents.get(lineage) else { return false };
        let named = self.named_fallback(agent.model());
        agent.called() == agent.model() && named.is_some_and(|named| self.may_call_model(lineage, named))
    }

    /// Asks what is known of the model that takes the place of one that is down, unless that was asked.
    pub(crate) fn look_for_fallback(&mut self, model: &str) {
        let Some(lane) = self.state.lanes.get(model).filter(|lane| lane.down) else { return };
        let Some(named) = self.named_fallback(model).map(str::to_owned) else { return };
        let known = lane.fallback.as_ref().is_some_and(|known| known.model == named);
        let is_this = |target: &Target| matches!(target, Target::Fallback { model: of, .. } if of == model);
        if !known && !self.ops.values().any(is_this) {
            let target = Target::Fallback { model: model.to_owned(), named: named.clone() };
            self.run(Op::DescribeModel { model: named }, target, None);
        }
    }

    pub(crate) fn fallback_described(&mut self, model: &str, named: String, outcome: Outcome) {
        let Outcome::Described(facts) = outcome else { return };
        let Some(lane) = self.state.lanes.get(model).filter(|lane| lane.down) else { return };
        let wait_s = lane.resume_at.millis_since(self.now).div_ceil(1_000);
        let why = format!("{} failures in a row, next try in {wait_s}s", lane.failures);
        let (context_window, has_price) =
            facts.as_ref().map_or((0, false), |facts| (facts.context_window, facts.has_price));
        let problem = facts.err().map(|problem| limits::clip(&problem));
        let (model, fallback) = (model.to_owned(), named);
        let event = Event::ModelSubstituted {
            model: model.clone(),
            fallback,
            why,
            context_window,
            has_price,
            problem,
        };
        self.record(&Caller::Kernel, &event);
        self.open_lane(&model);
    }
}
