//! Rule packs: `.ostk/rules/*.yaml`, rules about calls that need no programming.
//!
//! ```yaml
//! version: "1.0"
//! name: team
//! rules:
//!   - name: deploys-go-through-ci
//!     conditions:
//!       - {field: call, operator: eq, value: shell.run}
//!       - {field: command, operator: matches, value: "^(kubectl|terraform) "}
//!     action: ask
//!     priority: 10
//!     message: a person looks at what reaches production
//! ```
//!
//! The format is that of the governance toolkit's policy documents. A pack binds agents and worlds and only narrows: of
//! each pack the first rule that matches decides, by priority, then by place; `deny` refuses, `ask` asks a person, and
//! `allow` ends this pack without permitting what something else forbids. A rule that cannot be judged, because an
//! argument is of another kind or withheld, denies. `parse` reads, `condition` judges, `index` finds the rules that a
//! request can meet, `cedar` says the same in Cedar.

mod cedar;
mod condition;
mod index;
mod parse;

use std::{collections::BTreeSet, sync::Arc};

use crate::{documents::Lint, facts::Facts, request::ActorKind, verdict::RuleRef};

pub(crate) use cedar::{Made, context, rules};
use condition::{Condition, Field};
pub(crate) use parse::document;

/// Most packs of a workspace.
pub const MAX_PACKS: usize = 100;

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Ends the pack.
    Allow,
    /// Refuses.
    Deny,
    /// A person decides.
    Ask,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    at: Arc<RuleRef>,
    conditions: Vec<Condition>,
    action: Action,
    message: Option<String>,
}

/// A pack, its rules in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Pack {
    rules: Vec<Rule>,
    /// What happens when no rule matches, with its place; `None` lets the call go on.
    default: Option<(Action, Arc<RuleRef>)>,
    fields: BTreeSet<Field>,
    index: index::Index,
    lints: Vec<Lint>,
}

/// What packs have against a request.
#[derive(Debug, Default)]
pub(crate) struct Objections {
    pub(crate) forbids: Vec<Arc<RuleRef>>,
    pub(crate) asks: Vec<Arc<RuleRef>>,
}

impl Rule {
    /// Whether all conditions hold; `None` when it cannot be said.
    fn judge(&self, facts: &Facts<'_>) -> Option<bool> {
        let mut known = Some(true);
        for condition in &self.conditions {
            match condition.judge(facts) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => known = None,
            }
        }
        known
    }
}

impl Pack {
    /// Reads a pack; `name` is that of its file, without the folder.
    ///
    /// # Errors
    /// Every problem found, with line, column and suggestion.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, crate::documents::LoadErrors> {
        parse::parse(name, text)
    }

    pub(crate) fn lints(&self) -> &[Lint] {
        &self.lints
    }

    /// The sentence of a rule of this pack.
    pub(crate) fn message(&self, at: &RuleRef) -> Option<&str> {
        self.rules.iter().find(|rule| *rule.at == *at)?.message.as_deref()
    }

    /// Adds what this pack has against the request.
    pub(crate) fn object(&self, facts: &Facts<'_>, found: &mut Objections) {
        if !binds(facts) {
            return;
        }
        let mut matched = false;
        for rule in self.index.candidates(facts).into_iter().filter_map(|at| self.rules.get(at)) {
            let verdict = rule.judge(facts);
            matched |= verdict != Some(false);
            match (verdict, rule.action) {
                (Some(false), _) => {}
                (None, _) | (_, Action::Deny) => found.forbids.push(Arc::clone(&rule.at)),
                (Some(true), Action::Ask) => return found.asks.push(Arc::clone(&rule.at)),
                (Some(true), Action::Allow) => return,
            }
        }
        match &self.default {
            Some((Action::Deny, at)) if !matched => found.forbids.push(Arc::clone(at)),
            Some((Action::Ask, at)) if !matched => found.asks.push(Arc::clone(at)),
            _ => {}
        }
    }
}

/// Packs bind agents and worlds. People govern, and the kernel's own calls are what keeps the state.
fn binds(facts: &Facts<'_>) -> bool {
    matches!(facts.request.actor.kind, ActorKind::Agent | ActorKind::World)
}
