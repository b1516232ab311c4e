//! Sub-stacks: a part of the repository that a daemon of its own looks after, with its own log, agents and budget.
//!
//! While a stack is active its directory is delegated: this kernel's agents read it, and whoever would write there is told
//! whose it is. What changes there is the stack's doing. Here is the fold, and who may write where; inside a stack the same
//! code keeps everybody to what the stack may do ([`Within`]). `run` starts and ends them, by way of the host
//! ([`StackOp`]).

mod run;

use ostk_log::Hash;
use ostk_policy::{Class, Mode, Request, Resource};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{budget::Allowance, call::Caller, event::Event, kernel::Kernel};

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

/// Who changed a file that is delegated, if it is.
pub(crate) fn delegate(state: &crate::state::State, path: &str) -> Option<Caller> {
    state.stack_of(path).map(|(name, _)| Caller::Stack(name.to_owned()))
}
