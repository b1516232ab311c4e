//! The active policy: replaced as a whole or not at all.

use ostk_log::Hash;

use crate::{
    load::{Documents, LoadError, Policy},
    request::{Actor, ActorKind, Class, Request},
    verdict::{Effect, RuleRef, Verdict},
};

/// Holds the policy in force.
#[derive(Clone, Debug)]
pub struct Gate {
    policy: Policy,
    /// Why the newest documents were rejected, while they are.
    rejected: Option<String>,
}

impl Gate {
    /// A gate over these documents.
    ///
    /// # Errors
    /// Every mistake in every document.
    pub fn new(documents: &Documents) -> Result<Self, Vec<LoadError>> {
        Ok(Self { policy: Policy::load(documents)?, rejected: None })
    }

    /// Takes new documents. Malformed ones leave the old policy in force for readers, and refuse what has an effect.
    ///
    /// # Errors
    /// Every mistake in every document.
    pub fn reload(&mut self, documents: &Documents) -> Result<(), Vec<LoadError>> {
        match Policy::load(documents) {
            Ok(policy) => {
                *self = Self { policy, rejected: None };
                Ok(())
            }
            Err(errors) => {
                self.rejected = errors.first().map(ToString::to_string);
                Err(errors)
            }
        }
    }

    /// The verdict on a request.
    pub fn decide(&self, request: &Request) -> Verdict {
        let reads = matches!(request.class, Class::FileRead | Class::KernelRead);
        match &self.rejected {
            Some(problem) if !reads && request.actor.kind == ActorKind::Agent => Verdict {
                effect: Effect::Deny,
                rules: vec![RuleRef { document: "gate".to_owned(), line: 0, text: problem.clone() }],
                reason: "the governance documents do not parse, so nothing that has an effect is allowed"
                    .to_owned(),
                remedy: Some("mend the document, then: ostk call policy.reload".to_owned()),
            },
            _ => self.policy.decide(request),
        }
    }

    /// Names the effective rules.
    pub const fn fingerprint(&self) -> Hash {
        self.policy.fingerprint()
    }

    /// See [`Policy::bounds`].
    pub fn bounds(&self, actor: &Actor) -> (Vec<String>, Vec<String>) {
        self.policy.bounds(actor)
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}
