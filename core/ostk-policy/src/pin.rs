//! A pin: a named boundary, written in `.ostk/pins/<name>/pin.caps`, that can only take rights away.
//!
//! ```text
//! # reads, writes and commands are restricted to what these three lines say; reading and writing keep the defaults
//! # when their line is left out, executing only when all three are
//! read: src docs tests
//! write: src/parser              # `write: none` takes writing away
//! execute: shell(readonly)       # shell, shell(readonly) or none
//! deny: modify-governance write-kernel
//! deny-path: deploy/ .env **/*.pem
//! deny-verb: "git push"
//! connect: crates.io *.example.org:8443     # of the hosts that HUMANFILE grants, only these; `connect: none`
//! ```
//!
//! Here are the parsed form and what it says about paths, for the sandbox; `pin_parse` reads the text, `index` and
//! `cedar` turn it into rules.

use crate::{
    documents::{Lint, pin_document},
    host::HostPattern,
    path::PathPattern,
    verdict::RuleRef,
};

/// What a `deny:` line may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DenyToken {
    /// Writing anything in `.ostk/`.
    WriteKernel,
    /// Writing a document that governs: HUMANFILE, ENTITYFILE, .primefile, Agentfile, ostk.toml, pins, agents.
    ModifyGovernance,
    /// Writing anything outside `docs/`, `tests/` and `target/`.
    WriteSrc,
    /// Reading `.env*`, `*.pem`, `id_*` or `.ostk/keys`, and every class that sees a secret.
    ReadSecrets,
    /// Starting or signalling an agent.
    SpawnAgent,
    /// Reaching the network.
    Network,
}

impl DenyToken {
    /// Every token with its spelling.
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("write-kernel", Self::WriteKernel),
        ("modify-governance", Self::ModifyGovernance),
        ("write-src", Self::WriteSrc),
        ("read-secrets", Self::ReadSecrets),
        ("spawn-agent", Self::SpawnAgent),
        ("network", Self::Network),
    ];

    /// As written in a pin.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, token)| *token == self).map_or("", |(name, _)| name)
    }
}

/// What an `execute:` line says about commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execute {
    /// Commands may run.
    Shell,
    /// Commands may run in a sandbox where nothing of the workspace can be written.
    ReadonlyShell,
    /// No command may run.
    None,
}

impl Execute {
    /// As written in a pin.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::ReadonlyShell => "shell(readonly)",
            Self::None => "none",
        }
    }
}

/// A value with the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) line: usize,
    pub(crate) value: T,
}

/// The paths of all `read:` or all `write:` lines. No paths means none at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathList {
    pub(crate) line: usize,
    pub(crate) paths: Vec<PathPattern>,
}

/// A parsed `pin.caps`. Made by [`Pin::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub(crate) name: String,
    pub(crate) read: Option<PathList>,
    pub(crate) write: Option<PathList>,
    pub(crate) execute: Option<At<Execute>>,
    pub(crate) deny: Vec<At<DenyToken>>,
    pub(crate) deny_paths: Vec<At<PathPattern>>,
    pub(crate) deny_verbs: Vec<At<String>>,
    pub(crate) connect: Option<Vec<HostPattern>>,
    pub(crate) lints: Vec<Lint>,
}

/// Longest rule text quoted, in characters: a `write:` list can be long.
const MAX_RULE_TEXT: usize = 160;

impl Pin {
    /// The pin's name, that of its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What may be read; `None` when the pin does not say.
    pub fn readable(&self) -> Option<&[PathPattern]> {
        self.read.as_ref().map(|list| list.paths.as_slice())
    }

    /// What may be written; `None` when the pin does not say.
    pub fn writable(&self) -> Option<&[PathPattern]> {
        self.write.as_ref().map(|list| list.paths.as_slice())
    }

    /// The hosts to which it narrows those of HUMANFILE; `None` when it does not say.
    pub fn hosts(&self) -> Option<&[HostPattern]> {
        self.connect.as_deref()
    }

    /// What may be neither read nor written, whatever else says so.
    pub fn denied(&self) -> impl Iterator<Item = &PathPattern> {
        self.deny_paths.iter().map(|at| &at.value)
    }

    /// The commands that it takes away, as `git push`.
    pub fn denied_verbs(&self) -> impl Iterator<Item = &str> {
        self.deny_verbs.iter().map(|at| at.value.as_str())
    }

    /// What it says about commands; `None` when it does not say. Nothing may run when there is no `execute:` line and a
    /// `read:` or `write:` line.
    pub fn execute(&self) -> Option<Execute> {
        self.execute_rule().map(|(mode, _)| mode)
    }

    /// Whether a `deny:` line names the token.
    pub fn denies(&self, token: DenyToken) -> bool {
        self.deny.iter().any(|at| at.value == token)
    }

    /// What was accepted and probably means something else than its author thinks.
    pub fn lints(&self) -> &[Lint] {
        &self.lints
    }

    /// A reference to a line of this pin.
    fn rule(&self, line: usize, text: &str) -> RuleRef {
        RuleRef { document: pin_document(&self.name), line, text: text.chars().take(MAX_RULE_TEXT).collect() }
    }

    pub(crate) fn list_rule(&self, key: &str, list: &PathList) -> RuleRef {
        let mut text = key.to_owned();
        for path in &list.paths {
            text.push(' ');
            text.push_str(path.as_str());
        }
        if list.paths.is_empty() {
            text.push_str(" none");
        }
        self.rule(list.line, &text)
    }

    /// Where no line says so, no command may run once the pin says what may be read or written: a command could read
    /// and write anything that the sandbox lets it.
    pub(crate) fn execute_rule(&self) -> Option<(Execute, RuleRef)> {
        match &self.execute {
            Some(at) => Some((at.value, self.rule(at.line, &format!("execute {}", at.value.as_str())))),
            None if self.read.is_some() || self.write.is_some() => {
                Some((Execute::None, self.rule(0, "has no execute line")))
            }
            None => None,
        }
    }

    pub(crate) fn token_rule(&self, at: &At<DenyToken>) -> RuleRef {
        self.rule(at.line, &format!("deny {}", at.value.as_str()))
    }

    pub(crate) fn deny_path_rule(&self, at: &At<PathPattern>) -> RuleRef {
        RuleRef {
            document: pin_document(&self.name),
            line: at.line,
            text: format!("deny-path {}", at.value.as_str()),
        }
    }

    pub(crate) fn deny_verb_rule(&self, at: &At<String>) -> RuleRef {
        RuleRef { document: pin_document(&self.name), line: at.line, text: format!("deny-verb {}", at.value) }
    }
}

/// The text of a new `pin.caps` that holds the capabilities `caps`, any of the words `read`, `write` and `execute`,
/// and no others. Another word gives nothing, and the text says so.
pub fn scaffold(name: &str, caps: &str) -> String {
    let words: Vec<&str> = caps.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()).collect();
    let line = |key: &str, held: &'static str| if words.contains(&key) { held } else { "none" };
    let mut text = format!(
        "# The pin {name}. It only takes rights away; what it leaves is what the built-in policy gives.\n\
         # Narrow the paths: `read: src docs`, `write: src/parser`, `execute: shell(readonly)`.\n\
         read: {}\n\
         write: {}\n\
         execute: {}\n\
         deny: write-kernel modify-governance\n\
         # deny-path: deploy/ .env **/*.pem\n\
         # deny-verb: \"git push\"\n",
        line("read", "."),
        line("write", "."),
        line("execute", "shell"),
    );
    for word in words.into_iter().filter(|word| !["read", "write", "execute"].contains(word)) {
        text.push_str(&format!("# not a capability: {word:?}\n"));
    }
    text
}
