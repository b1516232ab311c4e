//! The gate's answer, with the rules that decided, a sentence for a person and a command to find out more.
//!
//! A denial is loud: who may not do what, by which line of which document, and how to ask why. The wording lives
//! here, and only here, so that the index and Cedar cannot word one decision in two ways.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::request::{Class, Request, Resource};

/// Longest resource quoted in a reason, in characters; a command line can be kilobytes.
const MAX_QUOTED: usize = 120;

/// What the gate decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Go on.
    Allow,
    /// Refused.
    Deny,
    /// A person decides.
    Ask,
}

/// A rule that took part in a decision. Prints as `pins/fix-bug/pin.caps:3 deny-path infra/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    /// The document, relative to `.ostk/`; `default.cedar` is built in.
    pub document: String,
    /// 1-based line in it; 0 is the document as a whole.
    pub line: usize,
    /// The rule as written, or its `@id`.
    pub text: String,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{} {}", self.document, self.text),
            line => write!(f, "{}:{line} {}", self.document, self.text),
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What to do.
    pub effect: Effect,
    /// The rules that decided, sorted by document and line. Empty when nothing permits the call.
    pub rules: Vec<RuleRef>,
    /// One sentence for a person: `worker-b may not write infra/deploy.tf`.
    pub reason: String,
    /// A command that tells more: `ostk why worker-b file.write infra/deploy.tf`. `None` when allowed.
    pub remedy: Option<String>,
}

impl Verdict {
    /// Words a decision. `because` is appended to the reason of a denial when the rule alone does not explain it.
    pub(crate) fn word(
        request: &Request,
        effect: Effect,
        mut rules: Vec<RuleRef>,
        because: Option<&str>,
    ) -> Self {
        rules.sort_unstable();
        rules.dedup();
        let modal = match effect {
            Effect::Allow => "may",
            Effect::Deny => "may not",
            Effect::Ask => "needs a person's consent to",
        };
        let mut reason = format!("{} {modal} {}", request.actor.lineage, deed(request));
        if let Some(because) = because {
            reason.push_str(": ");
            reason.push_str(because);
        }
        let remedy = (effect != Effect::Allow).then(|| remedy(request));
        Self { effect, rules, reason, remedy }
    }
}

/// `write infra/deploy.tf`.
fn deed(request: &Request) -> String {
    let verb = verb(request.class);
    match &request.resource {
        Resource::None => format!("call {}", request.call),
        Resource::Path(path) if path.is_empty() => format!("{verb} the workspace root"),
        Resource::Command(text) => format!("{verb} `{}`", clip(text)),
        Resource::Path(text)
        | Resource::Model(text)
        | Resource::Agent(text)
        | Resource::Tool(text)
        | Resource::Host(text) => format!("{verb} {}", clip(text)),
    }
}

const fn verb(class: Class) -> &'static str {
    match class {
        Class::FileRead | Class::KernelRead => "read",
        Class::FileEdit => "edit",
        Class::FileWrite | Class::KernelWrite => "write",
        Class::ShellRead | Class::ShellWrite | Class::ShellExec => "run",
        Class::ShellSecret => "run, with a secret,",
        Class::KernelSpawn => "start or signal",
        Class::KernelSecret => "read the secret",
        Class::ModelCall => "call",
        Class::NetConnect => "reach",
    }
}

/// One line, printable, at most [`MAX_QUOTED`] characters.
fn clip(text: &str) -> String {
    let mut out: String =
        text.chars().take(MAX_QUOTED).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        out.push('…');
    }
    out
}

fn remedy(request: &Request) -> String {
    let resource = match &request.resource {
        Resource::None => "",
        Resource::Path(text)
        | Resource::Command(text)
        | Resource::Model(text)
        | Resource::Agent(text)
        | Resource::Tool(text)
        | Resource::Host(text) => text,
    };
    let mut command = format!("ostk why {} {}", quote(&request.actor.lineage), quote(&request.call));
    if !resource.is_empty() {
        command.push(' ');
        command.push_str(&quote(resource));
    }
    command
}

/// Quotes a word for a POSIX shell where it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
