//! Between a call and the gate: build the request, record a refusal, word the error, say which files may be read.

use std::{collections::BTreeMap, sync::Arc};

use ostk_policy::{
    Actor, ActorKind, Argument, Class, Effect, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, Policy, Request, Resource,
    Verdict,
};
use serde_json::{Value, json};

use crate::{
    approvals::Turned,
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel},
};

/// How deep the members of an argument are looked into.
const MAX_DEPTH: usize = 8;

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
            Caller::Stack(_) => ActorKind::Agent,
            Caller::Kernel => ActorKind::Kernel,
        };
        let known = self.state.lineages.get(lineage);
        let actor = Actor {
            pin: known.and_then(|known| known.pin.clone()),
            tools: self.agent_tools(lineage),
            mode: known.and_then(|known| known.mode),
            destructive_ops: self.destructive_ops(lineage),
            ..Actor::new(kind, lineage)
        };
        let labels = self.labels(lineage, &resource);
        let task = known.and_then(|known| known.task.clone());
        let stack = self.state.within.as_ref().map(|within| within.stack.clone());
        Request { labels, task, stack, ..Request::new(actor, verb, class, resource) }
    }

    /// What the gate would say if `caller` asked now; the question itself leaves no record.
    pub(crate) fn foresee(&self, caller: &Caller, verb: &str, class: Class, resource: Resource) -> Verdict {
        self.gate.decide(&self.request(caller, verb, class, resource))
    }

    /// Asks the gate about a part of a call. A refusal is recorded; where consent is needed, it is asked for.
    pub(crate) fn pass(
        &mut self,
        job: &mut Job,
        verb: &str,
        class: Class,
        resource: Resource,
    ) -> Result<Request, Turned> {
        let args = self.judged_arguments(&job.caller, &job.args);
        self.pass_with(job, verb, class, resource, args)
    }

    /// The same, with these arguments for rules to look at.
    pub(crate) fn pass_with(
        &mut self,
        job: &mut Job,
        verb: &str,
        class: Class,
        resource: Resource,
        args: BTreeMap<String, Argument>,
    ) -> Result<Request, Turned> {
        let request = Request { args, ..self.request(&job.caller, verb, class, resource) };
        if let Some((rule, remedy)) = self.beyond_scope(&request) {
            let (error, after) = self.refuse_by(&job.caller, verb, class, request.resource, &rule);
            return Err(Turned::Away(Box::new(error.hint(remedy)), after));
        }
        let verdict = self.gate.decide(&request);
        match verdict.effect {
            Effect::Allow => Ok(request),
            Effect::Ask => self.ask(job, request, &verdict),
            Effect::Deny => {
                let (error, after) = self.refuse(&job.caller, request, &verdict);
                Err(Turned::Away(Box::new(error), after))
            }
        }
    }

    /// Asks the gate for what cannot wait for a person: where consent is needed, it is refused.
    pub(crate) fn pass_alone(
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

    /// Refuses what no document could allow.
    pub(crate) fn refuse_by(
        &mut self,
        caller: &Caller,
        verb: &str,
        class: Class,
        resource: Resource,
        rule: &str,
    ) -> (CallError, Option<u64>) {
        let request = Box::new(self.request(caller, verb, class, resource));
        let (effect, reason) = ("boundary".to_owned(), rule.to_owned());
        let rules = vec![format!("kernel: {rule}")];
        let seq = self.record(caller, &Event::GateDenied { request, effect, rules, reason });
        let error = CallError::new(Code::Denied, rule).data(json!({ "seq": seq })).hint("ask the operator");
        (error, Some(seq + 1))
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

/// The arguments of a call as rules see them: a member of an object by its path, `message.to`; long and deep ones withheld.
pub(crate) fn arguments(args: &Value) -> BTreeMap<String, Argument> {
    let mut found = BTreeMap::new();
    for (name, value) in args.as_object().into_iter().flatten() {
        flatten(name, value, MAX_DEPTH, &mut found);
    }
    found
}

fn flatten(name: &str, value: &Value, depth: usize, found: &mut BTreeMap<String, Argument>) {
    if found.len() >= MAX_ARGUMENTS {
        return;
    }
    let argument = match value {
        Value::Null => return,
        Value::Bool(flag) => Some(Argument::Flag(*flag)),
        Value::Number(number) => number.as_i64().map(Argument::Number),
        Value::String(text) => (text.len() <= MAX_ARGUMENT_BYTES).then(|| Argument::Text(text.clone())),
        Value::Array(values) => {
            let texts: Option<Vec<String>> =
                values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            let short =
                |texts: &Vec<String>| texts.iter().map(String::len).sum::<usize>() <= MAX_ARGUMENT_BYTES;
            texts.filter(short).map(Argument::Texts)
        }
        Value::Object(members) if depth > 0 => {
            for (member, value) in members {
                flatten(&format!("{name}.{member}"), value, depth - 1, found);
            }
            return;
        }
        Value::Object(_) => None,
    };
    let withheld = || Argument::Withheld { withheld_bytes: value.to_string().len() as u64 };
    found.insert(name.to_owned(), argument.unwrap_or_else(withheld));
}
