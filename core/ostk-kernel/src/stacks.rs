//! Sub-stacks: a part of the repository that a daemon of its own looks after, with its own log, agents and budget.
//!
//! While a stack is active its directory is delegated: this kernel's agents read it, and whoever would write there is told
//! whose it is. What changes there is the stack's doing. Sealing ends it with an attestation: the head of its log and the digest of its
//! state, in this log. The host starts and ends the daemons ([`StackOp`]); inside one, the same code keeps everybody to what
//! the stack may do ([`Within`]). A stack starts no stacks.

use ostk_log::Hash;
use ostk_policy::{Class, Mode, Request, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    act::{Awaited, Op, Outcome},
    budget::Allowance,
    call::{CallError, Caller, Code},
    event::{Event, Via},
    kernel::{Job, Kernel, Stage, Target},
    limits,
    shell::blob,
    spawn::draft,
    work::check_name,
};

/// Stacks that may be active at once: each is a process that watches the whole repository.
const MAX_ACTIVE: usize = 16;
/// How often a stack is started: after its third crash it has failed.
const MAX_STARTS: u32 = 4;
/// Only these may seal or kill a stack.
const SEAL_RULE: &str = "a stack is sealed by a person, or by whoever spawned it";

/// Where a stack stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StackState {
    /// Its daemon is being started.
    Spawning,
    /// It works; its directory is delegated to it.
    Active,
    /// It has ended, and its log is attested.
    Sealed,
    /// It cannot go on.
    Failed,
}

/// The end of a stack's log, as this log vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// The log's name in its checkpoints.
    pub origin: String,
    /// Its records.
    pub size: u64,
    /// Merkle root over all of them.
    pub root: Hash,
    /// Digest of the state that they fold to.
    pub state_hash: Hash,
}

/// A stack, as its parent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The directory that is delegated to it, from the workspace's root.
    pub scope: String,
    /// Where it stands.
    pub state: StackState,
    /// Who spawned it.
    pub by: String,
    /// The pin that bounds everybody in it.
    pub pin: Option<String>,
    /// What they may do without asking at most.
    pub mode: Option<Mode>,
    /// What it may spend in all.
    pub budget: Allowance,
    /// The record of its spawn.
    pub since: u64,
    /// How often its daemon was started.
    pub starts: u32,
    /// Records of its log that were looked through for messages.
    #[serde(default)]
    pub heard: u64,
    /// The end of its log.
    pub attestation: Option<Attestation>,
    /// Why it was sealed, or what it failed of.
    pub reason: Option<String>,
}

/// What a daemon of a stack keeps to: written by the parent's, recorded in the stack's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Within {
    /// The stack's name.
    pub stack: String,
    /// The only directory in which anybody writes.
    pub scope: String,
    /// The pin of everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// What they may do without asking at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What it may spend in all.
    #[serde(default)]
    pub budget: Allowance,
}

/// What the host does about a stack. The outcome is [`Outcome::Json`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackOp {
    /// Start its daemon, or find the one that still runs, and in it the agent, if one is named.
    Start {
        /// What it keeps to.
        within: Box<Within>,
        /// Name, Agentfile and task of its first agent.
        agent: Option<Box<FirstAgent>>,
        /// The first record of its log that may hold a message not heard yet.
        heard: u64,
    },
    /// End its agents and its daemon and look at what it left: [`Ended`].
    Seal {
        /// Its name.
        name: String,
        /// At once, without a last word of its agents.
        kill: bool,
    },
}

/// The agent that a stack begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAgent {
    /// Its lineage.
    pub name: String,
    /// Text of its Agentfile.
    pub agentfile: String,
    /// What replaces the Agentfile's TASK.
    pub task: Option<String>,
}

/// What the host found when a stack had ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The end of its log.
    pub attestation: Attestation,
    /// Workspace paths that it changed.
    pub changed: Vec<String>,
    /// What its model calls took.
    #[serde(flatten)]
    pub spent: crate::budget::Charge,
}

impl Stack {
    /// Whether its directory is its own.
    pub const fn is_active(&self) -> bool {
        matches!(self.state, StackState::Spawning | StackState::Active)
    }
}

/// Whether `path` is `directory` or below it.
pub(crate) fn is_inside(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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

impl crate::state::State {
    /// The active stack to which a path is delegated.
    pub(crate) fn stack_of(&self, path: &str) -> Option<(&str, &Stack)> {
        let mut active = self.stacks.iter().filter(|(_, stack)| stack.is_active());
        active.find(|(_, stack)| is_inside(path, &stack.scope)).map(|(name, stack)| (name.as_str(), stack))
    }

    /// Whether this kernel writes in this directory or below it: elsewhere another daemon may be at work.
    pub fn is_ours(&self, directory: &str) -> bool {
        let leads_to =
            |scope: &str| directory.is_empty() || is_inside(directory, scope) || is_inside(scope, directory);
        let within = self.within.as_ref().map(|within| within.scope.as_str());
        within.is_none_or(leads_to) && self.stack_of(directory).is_none()
    }

    /// Folds what happens to stacks.
    pub(crate) fn apply_stack(&mut self, seq: u64, ts: ostk_log::Timestamp, actor: &str, event: Event) {
        match event {
            Event::StackSpawned { name, scope, pin, mode, budget, key } => {
                self.remember(key, seq, "call", true, || json!({ "name": name, "scope": scope }));
                let (state, by) = (StackState::Spawning, actor.to_owned());
                self.spending.lend(ts, &name, &budget);
                let stack = Stack {
                    scope,
                    state,
                    by,
                    pin,
                    mode,
                    budget,
                    since: seq,
                    starts: 0,
                    heard: 0,
                    attestation: None,
                    reason: None,
                };
                self.stacks.insert(name, stack);
            }
            Event::StackActive { name } => {
                if let Some(stack) = self.stacks.get_mut(&name) {
                    stack.state = StackState::Active;
                    stack.starts = stack.starts.saturating_add(1);
                }
            }
            Event::StackSaid { name, seq: heard, to, text_blob } => {
                if let Some(stack) = self.stacks.get_mut(&name) {
                    stack.heard = heard.saturating_add(1);
                }
                let client = |to: &String| {
                    self.lineages.get(to).is_some_and(|known| known.kind != crate::LineageKind::Native)
                };
                match to {
                    Some(to) if client(&to) => {
                        self.nudges.entry(to).or_default().push((actor.to_owned(), text_blob));
                    }
                    // It takes a step of its own.
                    Some(_) => {}
                    None => self.remark(seq, actor, text_blob),
                }
            }
            Event::StackSealed { name, attestation, spent, reason, changed, changed_more, key } => {
                let facts = || {
                    json!({ "name": name, "reason": reason, "attestation": attestation, "changed": changed,
                        "changed_more": changed_more, "spent": spent })
                };
                self.remember(key, seq, "call", true, facts);
                self.spending.give_back(ts, &name, Some(spent));
                if let Some(stack) = self.stacks.get_mut(&name) {
                    stack.state = StackState::Sealed;
                    (stack.attestation, stack.reason) = (Some(attestation), Some(reason));
                }
            }
            Event::StackFailed { name, problem } => {
                self.spending.give_back(ts, &name, None);
                if let Some(stack) = self.stacks.get_mut(&name) {
                    (stack.state, stack.reason) = (StackState::Failed, Some(problem));
                }
            }
            Event::StackEntered { within } => self.within = Some(within),
            _ => {}
        }
    }
}

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
        let spawned = self.new_stack(&job, &name);
        let (within, agent) = match spawned {
            Ok(spawned) => spawned,
            Err(error) => return self.finish(job, Err(error), None),
        };
        let after = Some(self.state.next_seq);
        job.stage = Stage::Stack(name);
        self.run_for(job, Op::Stack(StackOp::Start { within: Box::new(within), agent, heard: 0 }), after);
    }

    /// Checks and records a new stack.
    fn new_stack(&mut self, job: &Job, name: &str) -> Result<(Within, Option<Box<FirstAgent>>), CallError> {
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
        let within = Within { stack: name.to_owned(), scope: scope.clone(), pin, mode, budget };
        let Within { pin, mode, .. } = within.clone();
        let key = job.key.clone();
        let event = Event::StackSpawned { name: name.to_owned(), scope, pin, mode, budget, key };
        limits::check_record(&event)?;
        self.record(&job.caller, &event);
        Ok((within, agent))
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
        let Some(stack) = self.state.stacks.get(name) else { return };
        let Stack { scope, pin, mode, budget, heard, .. } = stack.clone();
        let within = Box::new(Within { stack: name.to_owned(), scope, pin, mode, budget });
        let op = Op::Stack(StackOp::Start { within, agent: None, heard });
        self.run(op, Target::Stack(name.to_owned()), None);
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
    pub fn stack_ended(&mut self, now: ostk_log::Timestamp, name: &str, how: &str) -> Vec<crate::Act> {
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
        now: ostk_log::Timestamp,
        name: &str,
        (seq, from, text): (u64, &str, &str),
    ) -> Vec<crate::Act> {
        self.clock(now);
        let Some(stack) = self.state.stacks.get(name).filter(|stack| stack.heard <= seq) else {
            return self.take_acts();
        };
        let spawner = stack.by.strip_prefix("agent:").map(str::to_owned);
        let alive = |to: &String| {
            self.state.lineages.get(to).is_some_and(|known| known.state != crate::LineageState::Exited)
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
    pub fn stack_spent(&mut self, now: ostk_log::Timestamp, name: &str) -> Vec<crate::Act> {
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

    /// The rule by which a write is not this kernel's or not the caller's, and what helps.
    pub(crate) fn beyond_scope(&self, request: &Request) -> Option<(String, String)> {
        let Resource::Path(path) = &request.resource else { return None };
        if !matches!(request.class, Class::FileEdit | Class::FileWrite) {
            return None;
        }
        if let Some((name, stack)) = self.state.stack_of(path) {
            let rule = format!("{} is delegated to the stack {name}", stack.scope);
            return Some((rule, format!("ostk stack seal {name}")));
        }
        let within = self.state.within.as_ref().filter(|within| !is_inside(path, &within.scope))?;
        let rule = format!("the stack {} writes in {} only", within.stack, within.scope);
        Some((rule, "ask whoever spawned the stack".to_owned()))
    }

    /// What the sandbox holds a process of this actor to.
    pub(crate) fn bounds_of(&self, actor: &ostk_policy::Actor) -> ostk_policy::Bounds {
        let mut bounds = self.gate.bounds(actor);
        let active = self.state.stacks.values().filter(|stack| stack.is_active());
        bounds.protected.extend(active.map(|stack| stack.scope.clone()));
        if let Some(Within { scope, .. }) = &self.state.within {
            let covers = bounds.writable.iter().any(|path| path.is_empty() || is_inside(scope, path));
            bounds.writable.retain(|path| is_inside(path, scope));
            if covers {
                bounds.writable = vec![scope.clone()];
            }
        }
        bounds
    }

    /// Takes what the host says that this stack may do as what holds from here on.
    pub(crate) fn enter_stack(&mut self, within: Option<Within>) {
        if let Some(within) = within.filter(|within| self.state.within.as_ref() != Some(within)) {
            self.record(&Caller::Kernel, &Event::StackEntered { within });
        }
    }
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

/// Who changed a file that is delegated, if it is.
pub(crate) fn delegate(state: &crate::state::State, path: &str) -> Option<Caller> {
    state.stack_of(path).map(|(name, _)| Caller::Stack(name.to_owned()))
}
