//! The system calls on sagas, and how a declared list of steps is read.
//!
//! A step is `{id, do, undo, timeout_s, retries, idempotent}`. What it does and what undoes it is a command line, or a
//! system call: `{call, args}`. All of it is checked before the first step, so that a saga does not fail of a slip of the
//! pen when half of it is done; whether its owner may is asked at each step, as of any call.

use std::collections::BTreeSet;

use ostk_policy::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Saga, SagaState, Step, StepPlan};
use crate::{
    act::Awaited,
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Stage},
    limits,
    shell::blob,
    table,
    work::check_name,
};

/// Steps of one saga.
const MAX_STEPS: usize = 64;
/// Sagas that are not over: something is done about them, or they wait for a person.
const MAX_OPEN: usize = 64;
/// The calls of a saga with all their arguments, in bytes: they are held in memory while it is open.
const MAX_PLAN: usize = 4 << 20;
/// How long a step may take unless it says otherwise, and at most, in seconds.
const TIMEOUT_S: (u64, u64) = (300, 3_600);
/// How often a step may be tried again.
const MAX_RETRIES: u64 = 10;
/// Members of a step.
const MEMBERS: [&str; 6] = ["id", "do", "undo", "timeout_s", "retries", "idempotent"];
/// What a step may call: what has one effect, and whose result is known again by its key.
const CALLS: [&str; 9] = [
    "file.write",
    "file.edit",
    "file.delete",
    "file.rename",
    "file.batch",
    "shell.run",
    "note",
    "nudge",
    "lock",
];

/// A system call with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Action {
    pub(crate) call: String,
    pub(crate) args: Value,
}

/// The calls of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) work: Action,
    pub(crate) undo: Option<Action>,
    pub(crate) timeout_ms: u64,
}

/// The calls of a saga, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) acts: Vec<Act>,
}

/// The system call that the tool `saga` makes.
pub(crate) fn saga_call(args: &mut Map<String, Value>) -> Result<&'static str, CallError> {
    match (args.contains_key("steps"), args.contains_key("id")) {
        (true, false) => Ok("saga.run"),
        (false, true) => Ok("saga.show"),
        _ => Err(usage("saga: give name and steps to begin one, or id to look at one")),
    }
}

fn usage(message: impl Into<String>) -> CallError {
    CallError::new(Code::Usage, message).hint("a step is {id, do, undo, timeout_s, retries, idempotent}")
}

fn read(steps: &[Value]) -> Result<(Vec<StepPlan>, Plan), CallError> {
    if steps.is_empty() || steps.len() > MAX_STEPS {
        return Err(usage(format!("a saga has 1 to {MAX_STEPS} steps, and this one {}", steps.len())));
    }
    let mut ids = BTreeSet::new();
    let (mut plans, mut acts) = (Vec::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        let (plan, act) = read_step(at, step)?;
        if !ids.insert(plan.id.clone()) {
            return Err(usage(format!("two steps are called {:?}", plan.id)));
        }
        plans.push(plan);
        acts.push(act);
    }
    Ok((plans, Plan { acts }))
}

fn read_step(at: usize, step: &Value) -> Result<(StepPlan, Act), CallError> {
    let wrong = |what: String| usage(format!("step {}: {what}", at + 1));
    let members = step.as_object().ok_or_else(|| wrong("it is no object".to_owned()))?;
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(wrong(format!("{unknown:?} is no member of a step")));
    }
    let number = |name: &str, default: u64, most: u64| match members.get(name) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .filter(|number| *number <= most)
            .ok_or_else(|| wrong(format!("{name} is a number of at most {most}"))),
    };
    let id = members.get("id").map_or(Some(format!("step-{}", at + 1)), |id| id.as_str().map(str::to_owned));
    let id = id.ok_or_else(|| wrong("id is a text".to_owned()))?;
    check_name(&id)?;
    let retries = number("retries", 0, MAX_RETRIES)?;
    let timeout_ms = number("timeout_s", TIMEOUT_S.0, TIMEOUT_S.1)?.max(1) * 1_000;
    let action = |value: &Value| read_action(value, timeout_ms).map_err(|error| wrong(error.message));
    let work = members.get("do").ok_or_else(|| wrong("do says what it does".to_owned()))?;
    let (work, undo) = (action(work)?, members.get("undo").map(action).transpose()?);
    let idempotent = members.get("idempotent").and_then(Value::as_bool).unwrap_or(false);
    let (call, undone_by) = (work.call.clone(), undo.as_ref().map(|undo| undo.call.clone()));
    Ok((StepPlan { id, call, undo: undone_by, retries, idempotent }, Act { work, undo, timeout_ms }))
}

fn read_action(value: &Value, timeout_ms: u64) -> Result<Action, CallError> {
    let command =
        value.as_str().map(|command| json!({ "call": "shell.run", "args": { "command": command } }));
    let given = command.as_ref().unwrap_or(value);
    let call = given.get("call").and_then(Value::as_str).unwrap_or_default();
    let mut args = given.get("args").cloned().unwrap_or_else(|| json!({}));
    let Some(syscall) = table::lookup(call).filter(|_| CALLS.contains(&call)) else {
        return Err(usage(format!("a step is a command line, or one of the calls {}", CALLS.join(", "))));
    };
    if let (Some(members), "shell.run") = (args.as_object_mut(), call) {
        members.entry("timeout_ms").or_insert(json!(timeout_ms));
    }
    syscall.check(&args)?;
    limits::check_size(syscall, &Caller::Kernel, &args, None)?;
    Ok(Action { call: call.to_owned(), args })
}

impl Kernel {
    pub(crate) fn start_saga(&mut self, mut job: Job) {
        let (verb, class) = (job.syscall.name, job.syscall.class);
        if let Err(turned) = self.pass(&mut job, verb, class, Resource::None) {
            return self.turn(job, turned);
        }
        let begun = match verb {
            "saga.run" => self.begin_saga(&job),
            "saga.compensate" => self.undo_saga(&job),
            "saga.show" => {
                let result = self.saga_of(&job).map(|(id, saga)| describe(id, saga));
                return self.finish(job, result, None);
            }
            _ => {
                let rows: Vec<Value> = self.state.sagas.iter().map(|(id, saga)| row(*id, saga)).collect();
                return self.finish(job, Ok(json!({ "sagas": rows })), None);
            }
        };
        match begun {
            Ok(id) => self.wait_for_saga(job, id),
            Err(error) => self.finish(job, Err(error), None),
        }
    }

    /// Its caller waits for what becomes of a saga.
    pub(crate) fn wait_for_saga(&mut self, mut job: Job, id: u64) {
        if let Some(wait) = job.number("timeout_ms") {
            job.deadline = job.deadline.min(self.now.plus_millis(wait));
        }
        job.stage = Stage::Saga(id);
        self.jobs.insert(job.id, job);
    }

    fn saga_of(&self, job: &Job) -> Result<(u64, &Saga), CallError> {
        let id = job.number("id").unwrap_or_default();
        let found = self.state.sagas.get(&id).map(|saga| (id, saga));
        found.ok_or_else(|| {
            CallError::new(Code::NotFound, format!("there is no saga {id}")).hint("ostk saga list")
        })
    }

    fn begin_saga(&mut self, job: &Job) -> Result<u64, CallError> {
        let name = job.text("name").unwrap_or("saga").to_owned();
        check_name(&name)?;
        let given = job.args.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let (steps, plan) = read(given)?;
        if self.state.sagas.values().filter(|saga| !saga.state.is_over()).count() >= MAX_OPEN {
            let error = CallError::new(Code::Busy, format!("{MAX_OPEN} sagas are open or wait for a person"));
            return Err(error.hint("wait for one to end, or look at those that escalated: ostk saga list"));
        }
        let bytes = serde_json::to_vec(&plan).unwrap_or_default();
        if bytes.len() > MAX_PLAN {
            return Err(CallError::new(
                Code::TooLarge,
                format!("the calls of a saga take {MAX_PLAN} bytes at most"),
            ));
        }
        let (plan_blob, bytes) = blob(&bytes);
        let event = Event::SagaBegan { name, plan_blob, steps, key: job.key.clone() };
        limits::check_record(&event)?;
        let id = self.record_with(&job.caller, &event, vec![(plan_blob, bytes)], Awaited::Durable);
        self.sagas.entry(id).or_default().plan = Some(plan);
        Ok(id)
    }

    /// Whoever may: a person, or whose it is.
    fn undo_saga(&mut self, job: &Job) -> Result<u64, CallError> {
        let (id, saga) = self.saga_of(job)?;
        let actor = job.caller.actor();
        if !matches!(job.caller, Caller::Human(_)) && saga.owner != actor {
            let message = format!("saga {id} belongs to {}", saga.owner);
            return Err(CallError::new(Code::Denied, message).hint("ask its owner, or the operator"));
        }
        if !saga.state.may_become(SagaState::Compensating) {
            let message = format!("saga {id} is {}", saga.state.word());
            return Err(CallError::new(Code::Conflict, message).hint(format!("ostk saga show {id}")));
        }
        let reason = Some(format!("{actor} wants it undone"));
        let (saga, state, key) = (id, SagaState::Compensating, job.key.clone());
        self.record(&job.caller, &Event::SagaTurned { saga, state, reason, key });
        Ok(id)
    }

    /// What whoever began a saga, or had it undone, is told of it.
    pub(crate) fn saga_result(&self, id: u64, wanted: SagaState) -> Result<Value, CallError> {
        let Some(saga) = self.state.sagas.get(&id) else {
            return Err(CallError::new(Code::Failed, format!("saga {id} was forgotten")));
        };
        if saga.state == wanted || saga.state.is_open() {
            return Ok(describe(id, saga));
        }
        let error = CallError::new(Code::Failed, saga.story(id)).data(describe(id, saga));
        Err(match saga.state {
            SagaState::Escalated => {
                error.hint(format!("look at it, then try again: ostk saga compensate {id}"))
            }
            _ => error,
        })
    }

    /// What a lineage's own saga does now, for `ps`.
    pub(crate) fn saga_in_words(&self, lineage: &str) -> Option<String> {
        let own = |saga: &&Saga| crate::state::name_of(&saga.owner) == lineage;
        let (id, saga) = self.state.open_sagas().find(|(_, saga)| own(saga))?;
        Some(format!("saga {id} {}: {} of {} steps", saga.state.word(), saga.done(), saga.steps.len()))
    }

    /// Sagas that a person must look at.
    pub(crate) fn escalated_sagas(&self) -> Vec<Value> {
        let escalated = self.state.sagas.iter().filter(|(_, saga)| saga.state == SagaState::Escalated);
        escalated.map(|(id, saga)| row(*id, saga)).collect()
    }
}

impl Saga {
    fn named(&self, of: impl Fn(&Step) -> bool) -> String {
        let ids: Vec<&str> =
            self.steps.iter().filter(|step| of(step)).map(|step| step.plan.id.as_str()).collect();
        if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") }
    }

    /// What became of it, in words.
    fn story(&self, id: u64) -> String {
        use super::StepState::{Committed, Compensated, CompensationFailed};
        let why = self.reason.as_deref().unwrap_or_default();
        let undone = self.named(|step| step.state == Compensated);
        let mut text = format!("saga {id} ({}) {}: {why}; undone: {undone}", self.name, self.state.word());
        let parts = [
            ("not undone", self.named(|step| step.state == CompensationFailed)),
            ("left as they are", self.named(|step| step.state == Committed)),
            ("it is not known how far they came", self.named(|step| step.unknown)),
        ];
        for (what, ids) in parts.into_iter().filter(|(_, ids)| ids != "nothing") {
            text.push_str(&format!("; {what}: {ids}"));
        }
        text
    }
}

fn row(id: u64, saga: &Saga) -> Value {
    json!({ "saga": id, "name": saga.name, "owner": saga.owner, "state": saga.state, "since": saga.since,
        "done": saga.done(), "of": saga.steps.len(), "reason": saga.reason })
}

fn describe(id: u64, saga: &Saga) -> Value {
    let mut row = row(id, saga);
    if let Some(members) = row.as_object_mut() {
        members.insert("steps".to_owned(), json!(saga.steps));
    }
    row
}
