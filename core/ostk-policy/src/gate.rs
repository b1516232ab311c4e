//! The active policy, as the kernel holds it.
//!
//! A reload takes effect as a whole or not at all. While the documents on disk are malformed, the last good policy
//! goes on for reads, and everything that has an effect is refused with the parse error. Verdicts that need Cedar are
//! kept, by their inputs: a verdict is pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ostk_log::Hash;

use crate::{
    bounds::Bounds,
    documents::{Documents, LoadErrors},
    policy::Policy,
    request::{Actor, ActorKind, Request},
    verdict::{Effect, RuleRef, Verdict},
};

/// Most verdicts kept: at about a kilobyte each, a few megabytes. When full, all are forgotten.
const MAX_KEPT: usize = 4096;

/// The call that reads the documents again. It stays possible while they are malformed: it ends that state.
const RELOAD: &str = "policy.reload";

/// The active policy.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<Policy>,
    problem: Option<LoadErrors>,
    kept: Mutex<HashMap<Request, Verdict>>,
}

impl Gate {
    /// A gate over these documents.
    ///
    /// # Errors
    /// Everything that is malformed.
    pub fn new(documents: &Documents) -> Result<Self, LoadErrors> {
        let policy = Arc::new(Policy::load(documents)?);
        Ok(Self { policy, problem: None, kept: Mutex::new(HashMap::new()) })
    }

    /// A gate for documents that may be malformed: then the built-in policy serves reads until a [`Gate::reload`]
    /// succeeds, and the problems are those of [`Gate::problem`].
    ///
    /// # Errors
    /// A bug: the built-in policy itself does not load.
    pub fn open(documents: &Documents) -> Result<Self, LoadErrors> {
        let mut gate = Self::new(&Documents::default())?;
        // Kept in the gate: `problem` tells.
        drop(gate.reload(documents));
        Ok(gate)
    }

    /// Takes the documents as the new policy.
    ///
    /// # Errors
    /// What is malformed. The old policy then stays for reads, and effects are refused until a reload succeeds.
    pub fn reload(&mut self, documents: &Documents) -> Result<(), LoadErrors> {
        self.kept.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        match Policy::load(documents) {
            Ok(policy) => {
                self.policy = Arc::new(policy);
                self.problem = None;
                Ok(())
            }
            Err(errors) => {
                self.problem = Some(errors.clone());
                Err(errors)
            }
        }
    }

    /// The policy in force. Verdicts of reads are its verdicts, also while the documents on disk are malformed.
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Why effects are refused, when they are.
    pub const fn problem(&self) -> Option<&LoadErrors> {
        self.problem.as_ref()
    }

    /// The fingerprint of the policy in force.
    pub fn fingerprint(&self) -> Hash {
        self.policy.fingerprint()
    }

    /// The verdict on a request.
    pub fn decide(&self, request: &Request) -> Verdict {
        if let Some(errors) = &self.problem
            && !passes_malformed(request)
        {
            return refuse(request, errors);
        }
        if self.policy.is_costly() { self.decide_once(request) } else { self.policy.decide(request) }
    }

    fn decide_once(&self, request: &Request) -> Verdict {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = kept.get(request) {
            return verdict.clone();
        }
        let verdict = self.policy.decide(request);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(request.clone(), verdict.clone());
        verdict
    }

    /// What the sandbox of a process of this actor keeps it to: see [`Policy::bounds`].
    pub fn bounds(&self, actor: &Actor) -> Bounds {
        self.policy.bounds(actor)
    }
}

fn passes_malformed(request: &Request) -> bool {
    request.class.is_read() || request.actor.kind == ActorKind::Kernel || request.call == RELOAD
}

fn refuse(request: &Request, errors: &LoadErrors) -> Verdict {
    let because = format!("a governing document is malformed: {errors}");
    let rules = errors.iter().map(|e| RuleRef {
        document: e.document.clone(),
        line: e.line,
        text: e.message.clone(),
    });
    let mut verdict = Verdict::word(request, Effect::Deny, rules.collect(), Some(&because));
    verdict.remedy = Some("mend the document, then: ostk call policy.reload".to_owned());
    verdict
}
