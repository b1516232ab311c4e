//! `why`: the verdict on a call that somebody could make, without making it.
//!
//! It asks the same gate with the same inputs as a real attempt, so a path is resolved first: a link is judged as what
//! it leads to. What it cannot know are a call's other arguments; `hook.before`, whose class depends on one, is asked
//! about as the `file.…` or `shell.run` that it stands for.

use ostk_policy::{Class, Resource};
use serde_json::{Value, json};

use crate::{
    act::{Op, Outcome, Unresolved},
    agents::SIGNAL_RULE,
    call::{CallError, Caller, Code},
    kernel::{Job, Kernel, Stage},
    state::LineageKind,
    table,
};

/// What a native agent's turn asks of its model. Its kernel makes it, so it is no system call.
const MODEL_CALL: &str = "model.call";

impl Kernel {
    /// Answers at once, or looks up first where a path leads.
    pub(crate) fn start_why(&mut self, mut job: Job) {
        let class = match class_of(&job) {
            Ok(class) => class,
            Err(error) => return self.finish(job, Err(error), None),
        };
        let path = job.text("resource").unwrap_or_default().to_owned();
        if matches!(class, Class::FileRead | Class::FileEdit | Class::FileWrite) && !path.is_empty() {
            job.stage = Stage::Why;
            return self.run_for(job, Op::Resolve { cwd: String::new(), paths: vec![path] }, None);
        }
        let answer = self.explain(&job, class, resource(&job, class));
        self.finish(job, Ok(answer), None);
    }

    /// The path is looked up.
    pub(crate) fn resume_why(&mut self, job: Job, outcome: Outcome) {
        let resolved = match outcome {
            Outcome::Resolved(paths) => paths.into_iter().next(),
            _ => None,
        };
        let answer = match (class_of(&job), resolved) {
            (Ok(_), Some(Err(Unresolved { outside: true, message }))) => {
                let remedy = "use a path inside the workspace";
                Ok(
                    json!({ "effect": "deny", "rules": ["the workspace boundary"], "reason": message, "remedy": remedy }),
                )
            }
            (Ok(class), Some(Ok(path))) => {
                let path = if path == "." { String::new() } else { path };
                Ok(self.explain(&job, class, Resource::Path(path)))
            }
            // No path at all: a real call fails on it before the gate does.
            (Ok(class), Some(Err(_))) => Ok(self.explain(&job, class, resource(&job, class))),
            (Ok(_), None) => Err(CallError::new(Code::Failed, "bug: the path was not looked up")),
            (Err(error), _) => Err(error),
        };
        self.finish(job, answer, None);
    }

    fn explain(&self, job: &Job, class: Class, resource: Resource) -> Value {
        let lineage = job.text("lineage").unwrap_or_default();
        let human = self.state.lineages.get(lineage).is_some_and(|known| known.kind == LineageKind::Human);
        let caller = match lineage {
            me if me == job.caller.lineage() => job.caller.clone(),
            name if human => Caller::Human(name.to_owned()),
            name => Caller::Agent(name.to_owned()),
        };
        if let ("agent.signal", Resource::Agent(target)) = (job.text("verb").unwrap_or_default(), &resource)
            && !self.may_signal(&caller, target)
        {
            let remedy = "ask a person, or whoever started it";
            return json!({ "effect": "deny", "rules": [SIGNAL_RULE], "reason": SIGNAL_RULE, "remedy": remedy });
        }
        let mut request = self.request(&caller, job.text("verb").unwrap_or_default(), class, resource);
        if let Some(pin) = job.text("pin") {
            request.actor.pin = Some(pin.to_owned());
        }
        if let Some((rule, remedy)) = self.beyond_scope(&request) {
            return json!({ "effect": "deny", "rules": [rule], "reason": rule, "remedy": remedy });
        }
        let verdict = self.gate.decide(&request);
        let rules: Vec<String> = verdict.rules.iter().map(ToString::to_string).collect();
        json!({ "effect": verdict.effect, "rules": rules, "reason": verdict.reason, "remedy": verdict.remedy })
    }
}

fn class_of(job: &Job) -> Result<Class, CallError> {
    let verb = job.text("verb").unwrap_or_default();
    let listed = table::lookup(verb).map(|syscall| syscall.class);
    listed.or_else(|| (verb == MODEL_CALL).then_some(Class::ModelCall)).ok_or_else(|| {
        CallError::new(Code::Usage, format!("no such system call: {verb}")).hint("ostk abi list")
    })
}

/// What the call would be about, as the calls themselves name it.
fn resource(job: &Job, class: Class) -> Resource {
    let text = job.text("resource").unwrap_or_default().to_owned();
    match (job.text("verb").unwrap_or_default(), class) {
        ("search", _) => Resource::None,
        ("process.interact", _) => Resource::Tool(text),
        ("nudge" | "agent.wait", _) | (_, Class::KernelSpawn) => Resource::Agent(text),
        (_, Class::FileRead | Class::FileEdit | Class::FileWrite) => Resource::Path(text),
        (_, Class::ShellRead | Class::ShellWrite | Class::ShellExec | Class::ShellSecret) => {
            Resource::Command(text)
        }
        (_, Class::ModelCall) => Resource::Model(text),
        (_, Class::NetConnect) => Resource::Host(text),
        _ => Resource::None,
    }
}
