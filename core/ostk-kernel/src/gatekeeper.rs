//! Between a call and the gate: build the request, record a refusal, word the error, say which files may be read.

use std::sync::Arc;

use ostk_policy::{Actor, ActorKind, Class, Effect, Policy, Request, Resource, Verdict};
use serde_json::json;

use crate::{
    call::{CallError, Caller, Code},
    event::Event,
    kernel::Kernel,
};

/// Which files a caller may read, fixed when its call passed the gate.
///
/// It goes along with an operation that meets more files than the call names. A pure function, so any thread may ask.
#[derive(Clone, Debug)]
pub struct Readable {
    policy: Arc<Policy>,
    request: Request,
}

impl Readable {
    /// Whether `file.read` of this workspace path would pass the gate.
    pub fn allows(&self, path: &str) -> bool {
        let request = Request { resource: Resource::Path(path.to_owned()), ..self.request.clone() };
        self.policy.decide(&request).effect == Effect::Allow
    }
}

impl Kernel {
    /// What `caller` may read.
    pub(crate) fn readable(&self, caller: &Caller) -> Readable {
        let request = self.request(caller, "file.read", Class::FileRead, Resource::None);
        Readable { policy: Arc::clone(self.gate.policy()), request }
    }

    /// The inputs of a verdict on `verb` over `resource`.
    pub(crate) fn request(&self, caller: &Caller, verb: &str, class: Class, resource: Resource) -> Request {
        let lineage = caller.lineage();
        let kind = match caller {
            Caller::Human(_) => ActorKind::Human,
            Caller::Agent(_) => ActorKind::Agent,
            Caller::World(_) => ActorKind::World,
            Caller::Kernel => ActorKind::Kernel,
        };
        let actor = Actor {
            pin: self.state.lineages.get(lineage).and_then(|known| known.pin.clone()),
            tools: self.agent_tools(lineage),
            ..Actor::new(kind, lineage)
        };
        Request::new(actor, verb, class, resource)
    }

    /// Asks the gate. A refusal is recorded; the error comes with the number of records it must wait for.
    pub(crate) fn pass(
        &mut self,
        caller: &Caller,
        verb: &str,
        class: Class,
        resource: Resource,
    ) -> Result<Request, (CallError, Option<u64>)> {
        let request = self.request(caller, verb, class, resource);
        let verdict = self.gate.decide(&request);
        match verdict.effect {
            Effect::Allow => Ok(request),
            Effect::Deny | Effect::Ask => Err(self.refuse(caller, request, &verdict)),
        }
    }

    fn refuse(&mut self, caller: &Caller, request: Request, verdict: &Verdict) -> (CallError, Option<u64>) {
        let rules: Vec<String> = verdict.rules.iter().map(ToString::to_string).collect();
        let mut message = verdict.reason.clone();
        for rule in &rules {
            message.push_str("\n  rule: ");
            message.push_str(rule);
        }
        let effect = if verdict.effect == Effect::Ask { "ask" } else { "deny" };
        let event = Event::GateDenied {
            request: Box::new(request),
            effect: effect.to_owned(),
            rules: rules.clone(),
            reason: verdict.reason.clone(),
        };
        let seq = self.record(caller, &event);
        let mut error = CallError::new(Code::Denied, message).data(json!({ "rules": rules, "seq": seq }));
        error.hint.clone_from(&verdict.remedy);
        (error, Some(seq + 1))
    }
}
