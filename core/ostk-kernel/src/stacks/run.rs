//! The lives of stacks: spawning one, hearing it, starting it again, sealing it.
//!
//! The host starts and ends the daemons. Sealing ends a stack with an attestation: the head of its log and the digest of its
//! state, in this log. A stack starts no stacks.

use ostk_log::Timestamp;
use ostk_policy::Resource;
use serde_json::{Value, json};

use super::{Ended, FirstAgent, Stack, StackOp, StackState, Within, is_inside};
use crate::{
    act::{Act, Awaited, Op, Outcome},
    budget::Allowance,
    call::{CallError, Caller, Code},
    event::{Event, Via},
    kernel::{Job, Kernel, Stage, Target},
    limits,
    shell::blob,
    spawn::draft,
    state::LineageState,
    work::check_name,
};

/// Stacks that may be active at once: each is a process that watches the whole repository.
const MAX_ACTIVE: usize = 16;
/// How often a stack is started: after its third crash it has failed.
const MAX_STARTS: u32 = 4;
/// Only these may seal or kill a stack.
const SEAL_RULE: &str = "a stack is sealed by a person, or by whoever spawned it";

impl Kernel {
    /// `stack.spawn`, `stack.seal` and `stack.list`.
    pub(crate) fn start_stack(&mut self, mut job: Job) {
        let (verb, class) = (job.syscall.name, job.syscall.class);
        let name = job.text("name").unwrap_or_default().to_owned();
        let resource = if verb == "stack.list" { Resource::None } else { Resource::Agent(name.clone()) };
        match self.pass(&mut job, verb, class, resource) {
            Ok(request) => job.requests.push(request),
            Err(turned) => return self.turn(job, turned),
        }
        match verb {
            "stack.list" => {
                let rows: Vec<Value> =
                    self.state.stacks.iter().map(|(name, stack)| row(name, stack)).collect();
                self.finish(job, Ok(json!({ "stacks": rows })), None);
            }
            "stack.spawn" => self.spawn_stack(job, name),
            _ => self.seal_stack(job, name),
        }
    }

    fn spawn_stack(&mut self, mut job: Job, name: String) {
        let start = self.new_stack(&job, &name).and_then(|agent| self.start_of(&name, agent));
        match start {
            Ok(start) => {
                let after = Some(self.state.next_seq);
                job.stage = Stage::Stack(name);
                self.run_for(job, Op::Stack(start), after);
            }
            Err(error) => self.finish(job, Err(error), None),
        }
    }

    /// Checks and records a new stack.
    fn new_stack(&mut self, job: &Job, name: &str) -> Result<Option<Box<FirstAgent>>, CallError> {
        let scope = job.text("scope").unwrap_or_default().trim_end_matches('/').to_owned();
        check_name(name)?;
        check_scope(&scope)?;
        self.check_spawner(&job.caller, name)?;
        self.check_room(name, &scope)?;
        let me = self.state.lineages.get(job.caller.lineage());
        let (pin, mode) = match job.caller {
            Caller::Human(_) | Caller::Kernel => (None, None),
            _ => me.map(|me| (me.pin.clone(), me.mode)).unwrap_or_default(),
        };
        let budget = Allowance {
            tokens: job.number("tokens"),
            micro_usd: job.number("budget_micro_usd"),
            turns: job.number("turns"),
            ..Allowance::default()
        };
        self.check_budget(&budget)?;
        let agent = first_agent(job, name)?;
        let key = job.key.clone();
        let event = Event::StackSpawned { name: name.to_owned(), scope, pin, mode, budget, key };
        limits::check_record(&event)?;
        self.record(&job.caller, &event);
        Ok(agent)
    }

    /// What the host is told to start the daemon of a stack.
    fn start_of(&self, name: &str, agent: Option<Box<FirstAgent>>) -> Result<StackOp, CallError> {
        let Stack { scope, pin, mode, budget, heard, .. } = self.check_active(name)?.clone();
        let within = Box::new(Within { stack: name.to_owned(), scope, pin, mode, budget });
        Ok(StackOp::Start { within, agent, heard })
    }

    /// Nobody gets by a stack what he has not: whoever cannot start an agent, starts none by it either.
    fn check_spawner(&self, caller: &Caller, name: &str) -> Result<(), CallError> {
        if let Some(within) = &self.state.within {
            let message = format!("{name:?} would be a stack within the stack {}", within.stack);
            return Err(CallError::new(Code::Denied, message).hint("spawn it from the project itself"));
        }
        self.check_unbound(caller, "stacks")
    }

    fn check_room(&self, name: &str, scope: &str) -> Result<(), CallError> {
        if let Some(stack) = self.state.stacks.get(name) {
            let what = if stack.is_active() { "is active" } else { "was there already, and its log stays" };
            return Err(CallError::new(Code::Conflict, format!("a stack {name:?} {what}"))
                .hint("choose another name; ostk stack list"));
        }
        let mut active = self.state.stacks.iter().filter(|(_, stack)| stack.is_active());
        if active.clone().count() >= MAX_ACTIVE {
            return Err(CallError::new(Code::Busy, format!("{MAX_ACTIVE} stacks are active"))
                .hint("seal one: ostk stack seal NAME"));
        }
        let overlap = |stack: &Stack| is_inside(scope, &stack.scope) || is_inside(&stack.scope, scope);
        match active.find(|(_, stack)| overlap(stack)) {
            Some((other, stack)) => {
                let message = format!("{} is delegated to the stack {other}", stack.scope);
                Err(CallError::new(Code::Conflict, message).hint(format!("ostk stack seal {other}")))
            }
            None => Ok(()),
        }
    }

    fn seal_stack(&mut self, mut job: Job, name: String) {
        let stack = self.state.stacks.get(&name);
        let error = match stack {
            None => {
                CallError::new(Code::NotFound, format!("no stack is called {name:?}")).hint("ostk stack list")
            }
            Some(stack) if !stack.is_active() => {
                let what = if stack.state == StackState::Sealed { "is sealed already" } else { "has failed" };
                CallError::new(Code::Conflict, format!("the stack {name} {what}"))
                    .hint(format!("ostk stack show {name}"))
            }
            Some(stack) => {
                if job.caller.process().is_none() || stack.by == job.caller.actor() {
                    let kill = job.flag("kill");
                    job.stage = Stage::Stack(name.clone());
                    return self.run_for(job, Op::Stack(StackOp::Seal { name, kill }), None);
                }
                let (verb, class) = (job.syscall.name, job.syscall.class);
                let resource = Resource::Agent(name);
                let (error, after) = self.refuse_by(&job.caller, verb, class, resource, SEAL_RULE);
                return self.finish(job, Err(error), after);
            }
        };
        self.finish(job, Err(error), None);
    }

    /// The host has started or ended the stack of a call.
    pub(crate) fn resume_stack(&mut self, job: Job, name: String, outcome: Outcome) {
        let result = match outcome {
            Outcome::Json(result) if job.syscall.name == "stack.spawn" => self.stack_started(&name, result),
            Outcome::Json(Ok(found)) => {
                let how = if job.flag("kill") { "killed" } else { "sealed" };
                let reason = format!("{how} by {}", job.caller.actor());
                let reason = job.text("reason").map_or(reason.clone(), |why| format!("{reason}: {why}"));
                self.stack_sealed(&name, found, limits::clip(&reason), job.key.clone())
            }
            Outcome::Json(Err(error)) => self.stack_failed(&name, error),
            _ => Err(CallError::new(Code::Failed, "bug: unexpected outcome of a stack")),
        };
        let after = Some(self.state.next_seq);
        self.finish(job, result, after);
    }

    /// Starts the daemons of stacks that are active; one that runs is found.
    pub(crate) fn start_stacks(&mut self) {
        let active = self.state.stacks.iter().filter(|(_, stack)| stack.is_active());
        for name in active.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.restart_stack(&name);
        }
    }

    fn restart_stack(&mut self, name: &str) {
        if let Ok(start) = self.start_of(name, None) {
            self.run(Op::Stack(start), Target::Stack(name.to_owned()), None);
        }
    }

    /// The host has started a stack again.
    pub(crate) fn stack_restarted(&mut self, name: &str, outcome: Outcome) {
        if let Outcome::Json(result) = outcome {
            // What went wrong is in the log.
            let _ = self.stack_started(name, result);
        }
    }

    fn stack_started(&mut self, name: &str, result: Result<Value, CallError>) -> Result<Value, CallError> {
        let mut facts = match result {
            Ok(facts) => facts,
            Err(error) => return self.stack_failed(name, error),
        };
        let stack = self.check_active(name)?;
        let found = facts.get("found").and_then(Value::as_bool).unwrap_or(false);
        if stack.state == StackState::Spawning || !found {
            self.record(&Caller::Kernel, &Event::StackActive { name: name.to_owned() });
        }
        if let (Some(facts), Some(stack)) = (facts.as_object_mut(), self.state.stacks.get(name)) {
            facts.insert("name".to_owned(), json!(name));
            facts.insert("scope".to_owned(), json!(stack.scope));
        }
        Ok(facts)
    }

    /// A stack ends once, whoever else is about to end it.
    fn check_active(&self, name: &str) -> Result<&Stack, CallError> {
        let stack = self.state.stacks.get(name).filter(|stack| stack.is_active());
        stack.ok_or_else(|| {
            CallError::new(Code::Conflict, format!("the stack {name} has ended meanwhile"))
                .hint(format!("ostk stack show {name}"))
        })
    }

    fn stack_failed<T>(&mut self, name: &str, error: CallError) -> Result<T, CallError> {
        self.check_active(name)?;
        let problem = limits::clip(&error.message);
        self.record(&Caller::Kernel, &Event::StackFailed { name: name.to_owned(), problem });
        self.mind_budget();
        Err(error.hint(format!(
            "ostk --stack {name} audit verify looks at its log; the project goes on without it"
        )))
    }

    fn stack_sealed(
        &mut self,
        name: &str,
        found: Value,
        reason: String,
        key: Option<String>,
    ) -> Result<Value, CallError> {
        self.check_active(name)?;
        let Ok(Ended { attestation, changed, spent }) = serde_json::from_value(found) else {
            return Err(CallError::new(Code::Failed, "bug: the host did not say how the stack ended"));
        };
        let (listed, changed_more) = limits::listed(&changed);
        let (name, shown) = (name.to_owned(), attestation.clone());
        let stack = Caller::Stack(name.clone());
        let event = Event::StackSealed {
            name: name.clone(),
            reason: reason.clone(),
            attestation,
            changed: listed.clone(),
            changed_more,
            spent,
            key,
        };
        self.record(&Caller::Kernel, &event);
        // Most of it was noticed as it happened.
        self.settle_foreign(&changed, &Via::Stack, Some(&stack), None);
        self.mind_budget();
        Ok(json!({ "name": name, "reason": reason, "attestation": shown, "changed": listed,
            "changed_more": changed_more, "spent": spent }))
    }

    /// The daemon of a stack has ended by itself: it is started again, unless it did so too often.
    pub fn stack_ended(&mut self, now: Timestamp, name: &str, how: &str) -> Vec<Act> {
        self.clock(now);
        match self.state.stacks.get(name) {
            Some(stack) if stack.state != StackState::Active => {}
            Some(stack) if stack.starts < MAX_STARTS => self.restart_stack(name),
            Some(stack) => {
                let problem = limits::clip(&format!("it ended {} times, the last time {how}", stack.starts));
                self.record(&Caller::Kernel, &Event::StackFailed { name: name.to_owned(), problem });
                self.mind_budget();
            }
            None => {}
        }
        self.take_acts()
    }

    /// Somebody in a stack wrote to the project, in the record `seq` of the stack's log. What was heard is not heard twice.
    pub fn stack_said(
        &mut self,
        now: Timestamp,
        name: &str,
        (seq, from, text): (u64, &str, &str),
    ) -> Vec<Act> {
        self.clock(now);
        let Some(stack) = self.state.stacks.get(name).filter(|stack| stack.heard <= seq) else {
            return self.take_acts();
        };
        let spawner = stack.by.strip_prefix("agent:").map(str::to_owned);
        let alive = |to: &String| {
            self.state.lineages.get(to).is_some_and(|known| known.state != LineageState::Exited)
        };
        let to = spawner.filter(|to| alive(to) && self.may_nudge(to).is_ok());
        let text = format!("{from}: {text}");
        let (text_blob, bytes) = blob(text.as_bytes());
        let event = Event::StackSaid { name: name.to_owned(), seq, to: to.clone(), text_blob };
        self.record_with(&Caller::Stack(name.to_owned()), &event, vec![(text_blob, bytes)], Awaited::Durable);
        if let Some(to) = to {
            if self.state.nudges.contains_key(&to) {
                self.nudge_texts.insert(text_blob, text);
            } else {
                self.nudged(&to, text_blob);
            }
        }
        self.take_acts()
    }

    /// The budget of a stack has no room any more: its parent seals it.
    pub fn stack_spent(&mut self, now: Timestamp, name: &str) -> Vec<Act> {
        self.clock(now);
        if self.state.stacks.get(name).is_some_and(|stack| stack.state == StackState::Active) {
            let op = Op::Stack(StackOp::Seal { name: name.to_owned(), kill: false });
            self.run(op, Target::StackSeal(name.to_owned()), None);
        }
        self.take_acts()
    }

    /// A stack that had spent its budget has ended.
    pub(crate) fn stack_force_sealed(&mut self, name: &str, outcome: Outcome) {
        let reason = "its budget is used up".to_owned();
        // What went wrong is in the log.
        let _ = match outcome {
            Outcome::Json(Ok(found)) => self.stack_sealed(name, found, reason, None),
            Outcome::Json(Err(error)) => self.stack_failed(name, error),
            _ => return,
        };
    }
}

/// Refuses what is no directory of its own below the root.
fn check_scope(scope: &str) -> Result<(), CallError> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let reserved = [".ostk", ".git"].iter().any(|own| is_inside(scope, own));
    if scope.split('/').all(plain) && !reserved {
        return Ok(());
    }
    Err(CallError::new(Code::Usage, format!("not a directory that can be delegated: {scope:?}"))
        .hint("name one below the repository's root, without . and .., such as src/parser"))
}

fn first_agent(job: &Job, stack: &str) -> Result<Option<Box<FirstAgent>>, CallError> {
    let Some(agentfile) = job.text("agentfile").map(str::to_owned) else { return Ok(None) };
    let name = job.text("agent").unwrap_or(stack).to_owned();
    check_name(&name)?;
    // What is wrong with it is said before anything is started.
    draft(job)?;
    Ok(Some(Box::new(FirstAgent { name, agentfile, task: job.text("task").map(str::to_owned) })))
}

fn row(name: &str, stack: &Stack) -> Value {
    json!({ "name": name, "scope": stack.scope, "state": stack.state, "by": stack.by, "pin": stack.pin,
        "mode": stack.mode, "budget": stack.budget, "since": stack.since, "starts": stack.starts,
        "attestation": stack.attestation, "reason": stack.reason })
}
