//! The built-in policy: its Cedar text, and the same rules as code for the index.
//!
//! `default.cedar` is the policy; the functions here must say the same, and the tests hold them to it with thousands
//! of requests decided both ways. Called by `policy` alone.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    facts::Facts,
    request::{ActorKind, Class},
    verdict::RuleRef,
};

/// The text of the built-in policy.
pub const DEFAULT_POLICY: &str = include_str!("default.cedar");

/// Document name of the built-in policy.
pub const DEFAULT_DOCUMENT: &str = "default.cedar";

/// Files at the workspace root that govern, in lower case. The modify-governance token of a pin denies the same.
pub(crate) const GOVERNANCE: [&str; 10] = [
    "humanfile",
    "entityfile",
    ".primefile",
    "agentfile",
    "agentfile.self.sig",
    "ostk.toml",
    "pins",
    "governance.md",
    "genesis.md",
    "authorization.md",
];

/// Calls that change who may do what.
const GOVERNING_CALLS: [&str; 6] = ["policy.", "pin.", "trust.", "approval.", "quarantine.", "label.clear"];

/// The rules of `default.cedar` by their `@id`, with the lines they stand on.
#[derive(Debug)]
pub(crate) struct Defaults {
    rules: BTreeMap<String, Arc<RuleRef>>,
}

impl Defaults {
    /// `rules` are those found in [`DEFAULT_POLICY`].
    pub(crate) fn new(rules: impl IntoIterator<Item = Arc<RuleRef>>) -> Self {
        Self { rules: rules.into_iter().map(|rule| (rule.text.clone(), rule)).collect() }
    }

    fn rule(&self, id: &str) -> Option<Arc<RuleRef>> {
        self.rules.get(id).cloned()
    }

    /// The permitting rules that match.
    pub(crate) fn permits(&self, facts: &Facts<'_>) -> Option<Arc<RuleRef>> {
        match facts.request.actor.kind {
            ActorKind::Kernel => self.rule("the-kernel-may-all"),
            ActorKind::Human => self.rule("people-may-all"),
            ActorKind::Agent => match facts.request.class {
                Class::ShellSecret | Class::KernelSecret => None,
                _ => self.rule("agents-may-work"),
            },
            ActorKind::World => None,
        }
    }

    /// Adds the forbidding rules that match.
    pub(crate) fn forbids(&self, facts: &Facts<'_>, found: &mut Vec<Arc<RuleRef>>) {
        let checks = [
            (facts.malformed, "a-resource-must-be-well-formed"),
            (facts.unjudgeable, "what-a-rule-names-must-be-short-enough-to-be-judged"),
            (facts.pin_missing && facts.request.class != Class::KernelRead, "a-pin-must-exist"),
            (facts.ungranted(), "a-tool-must-be-granted"),
            (facts.beyond_limits() || facts.beyond_arguments(), "stay-within-the-agentfile-limits"),
        ];
        found.extend(checks.into_iter().filter(|(matches, _)| *matches).filter_map(|(_, id)| self.rule(id)));
        match facts.request.actor.kind {
            ActorKind::Human => self.forbids_to_people(facts, found),
            ActorKind::Agent => self.forbids_to_agents(facts, found),
            ActorKind::World | ActorKind::Kernel => {}
        }
    }

    fn forbids_to_people(&self, facts: &Facts<'_>, found: &mut Vec<Arc<RuleRef>>) {
        let protected = |path: &str| matches!(path, ".ostk" | ".git/hooks");
        if facts.request.class.is_file_write() && facts.under_folded().any(protected) {
            found.extend(self.rule("kernel-state-is-written-by-the-kernel"));
        }
    }

    fn forbids_to_agents(&self, facts: &Facts<'_>, found: &mut Vec<Arc<RuleRef>>) {
        let class = facts.request.class;
        let governs = |call: &str| GOVERNING_CALLS.iter().any(|prefix| call.starts_with(prefix));
        if class == Class::KernelWrite && governs(&facts.request.call) {
            found.extend(self.rule("agents-do-not-govern"));
        }
        if class == Class::FileRead
            && facts.under_folded().any(|path| matches!(path, ".ostk/keys" | ".ostk/run"))
        {
            found.extend(self.rule("agents-do-not-read-keys-and-sockets"));
        }
        if class == Class::NetConnect && !facts.host_granted {
            found.extend(self.rule("a-host-must-be-granted"));
        }
        if class == Class::NetConnect && facts.private_address {
            found.extend(self.rule("a-name-must-lead-to-the-public-internet"));
        }
        if !class.is_file_write() {
            return;
        }
        let checks = [
            (facts.under_folded().any(|path| path == ".ostk"), "agents-do-not-write-kernel-state"),
            (facts.names_folded().any(|name| name == ".git"), "agents-do-not-write-git-internals"),
            (facts.under_folded().any(|path| GOVERNANCE.contains(&path)), "agents-do-not-write-governance"),
        ];
        found.extend(checks.into_iter().filter(|(matches, _)| *matches).filter_map(|(_, id)| self.rule(id)));
    }
}
