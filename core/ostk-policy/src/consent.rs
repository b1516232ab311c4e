//! What a person must consent to: the chain that a permitted call of an agent still walks.
//!
//! Rules say what may be done at all; the chain says what may be done without asking. Its steps, after the rules: a
//! destructive command is asked for in every mode; reading the kernel's state and a lineage's own affairs pass; then the
//! mode decides; then what the Agentfile grants by a TOOL; whatever is left needs consent. A consent that was given
//! ([`Request::approved`](crate::Request)) answers a question and lifts no prohibition. Pure, so that a verdict can be
//! computed again; asking and answering are the kernel's.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    facts::Facts,
    grant,
    request::{ActorKind, Class},
    verdict::RuleRef,
};

/// How much agents may do without asking. Ordered from the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing is changed: what its Agentfile lets it read is read, other reads are asked for, the rest is refused.
    Plan,
    /// Everything is asked for, but for what its Agentfile grants.
    Governed,
    /// Files and reading commands pass; other commands and starting agents are asked for.
    Auto,
    /// Everything that the rules permit passes, but for destructive commands.
    Autonomous,
}

impl Mode {
    /// Every mode, the strictest first.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Governed, Self::Auto, Self::Autonomous];

    /// As documents write it: `governed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Governed => "governed",
            Self::Auto => "auto",
            Self::Autonomous => "autonomous",
        }
    }

    /// The mode of that spelling.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// What becomes of a destructive command. Ordered from the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestructiveOps {
    /// It is refused.
    Deny,
    /// A person is asked.
    Confirm,
    /// It runs.
    Allow,
}

impl DestructiveOps {
    /// Every word, the strictest first.
    pub const ALL: [Self; 3] = [Self::Deny, Self::Confirm, Self::Allow];

    /// As documents write it: `confirm`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Confirm => "confirm",
            Self::Allow => "allow",
        }
    }

    /// The word of that spelling.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// What the documents say for every agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Approvals {
    pub(crate) mode: Mode,
    pub(crate) destructive_ops: DestructiveOps,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { mode: Mode::Autonomous, destructive_ops: DestructiveOps::Confirm }
    }
}

/// What the chain comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Nobody need be asked.
    Given,
    /// A person decides, because of this rule and for this reason.
    Needed(Arc<RuleRef>, String),
    /// Nobody is asked; it is refused.
    Refused(Arc<RuleRef>, String),
}

/// Document name of a mode or word that decided.
const DOCUMENT: &str = "approvals";

/// What an agent does about itself, its work and with its peers: it changes no file and starts nothing. The acceptance
/// commands of a needle are calls of their own.
const OWN_AFFAIRS: [&str; 16] = [
    "session.start",
    "session.end",
    "note",
    "lock",
    "nudge",
    "label.take",
    "hay",
    "decide",
    "work.add",
    "work.claim",
    "work.close",
    "work.compile",
    "work.edit",
    "work.link",
    "work.next",
    "work.release",
];

/// Walks the chain for a call that the rules permit.
pub(crate) fn chain(facts: &Facts<'_>, documents: Approvals) -> Consent {
    let request = facts.request;
    if request.actor.kind != ActorKind::Agent {
        return Consent::Given;
    }
    if let Some(why) = facts.danger() {
        let word = request
            .actor
            .destructive_ops
            .map_or(documents.destructive_ops, |own| own.min(documents.destructive_ops));
        match word {
            DestructiveOps::Deny => {
                return Consent::Refused(rule("destructive_ops", word.as_str()), said(&why));
            }
            DestructiveOps::Confirm => {
                return Consent::Needed(rule("destructive_ops", word.as_str()), said(&why));
            }
            DestructiveOps::Allow => {}
        }
    }
    let class = request.class;
    let free = matches!(class, Class::KernelRead | Class::ModelCall | Class::NetConnect);
    if free || OWN_AFFAIRS.contains(&request.call.as_str()) {
        return Consent::Given;
    }
    let mode = request.actor.mode.map_or(documents.mode, |own| own.min(documents.mode));
    if passes(mode, class) || granted(facts, mode) {
        return Consent::Given;
    }
    let at = rule("mode", mode.as_str());
    if mode == Mode::Plan && !reads(class) {
        return Consent::Refused(at, "in plan mode nothing is changed".to_owned());
    }
    Consent::Needed(at, format!("in {} mode a person decides", mode.as_str()))
}

fn passes(mode: Mode, class: Class) -> bool {
    match mode {
        Mode::Plan | Mode::Governed => false,
        Mode::Auto => {
            matches!(class, Class::FileRead | Class::FileEdit | Class::FileWrite | Class::ShellRead)
        }
        Mode::Autonomous => true,
    }
}

/// Whether a TOOL of the Agentfile stands for consent: never for what runs any command, sees a secret or starts agents.
fn granted(facts: &Facts<'_>, mode: Mode) -> bool {
    let class = facts.request.class;
    let weighty = matches!(class, Class::ShellExec | Class::ShellSecret | Class::KernelSpawn);
    let held = |tools| grant::grants(tools, class, facts.path);
    !weighty && (mode != Mode::Plan || reads(class)) && facts.request.actor.tools.as_deref().is_some_and(held)
}

const fn reads(class: Class) -> bool {
    matches!(class, Class::FileRead | Class::ShellRead | Class::KernelRead)
}

fn rule(key: &str, word: &str) -> Arc<RuleRef> {
    Arc::new(RuleRef { document: DOCUMENT.to_owned(), line: 0, text: format!("{key} {word}") })
}

fn said(why: &str) -> String {
    format!("it is destructive: {why}")
}
