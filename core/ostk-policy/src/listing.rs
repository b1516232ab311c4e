//! The rules in force, as a list and as one Cedar text, for people and for other evaluators.

use crate::{
    documents::pin_document,
    policy::Policy,
    verdict::{Effect, RuleRef},
};

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRule {
    /// Where it stands.
    pub at: RuleRef,
    /// What it does to a request that it matches.
    pub effect: Effect,
    /// The same in Cedar.
    pub source: String,
}

impl Policy {
    /// Every rule: the built-in ones, then by document and line. With `pin`, only that pin's among those of pins.
    pub fn rules(&self, pin: Option<&str>) -> Vec<ListedRule> {
        let own = pin.map(pin_document);
        let meant = |rule: &ListedRule| {
            own.as_ref().is_none_or(|own| !rule.at.document.starts_with("pins/") || rule.at.document == *own)
        };
        self.listed().into_iter().filter(meant).collect()
    }

    /// The rules as a Cedar policy set. An `ask` of a pack is a `permit` with the annotation `@effect("ask-if-permitted")`:
    /// it permits nothing by itself, which another evaluator must know.
    pub fn cedar(&self, pin: Option<&str>) -> String {
        let rule = |rule: &ListedRule| {
            let at: String =
                rule.at.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("// {at}\n{}\n", rule.source.trim())
        };
        self.rules(pin).iter().map(rule).collect::<Vec<_>>().join("\n")
    }
}
