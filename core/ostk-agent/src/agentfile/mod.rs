//! The Agentfile: what an agent is, one directive a line.
//!
//! The types live here, with the rules that combine a file with its profile. `parse` reads a text, `lines` joins and
//! expands its lines, `print` writes it back, `supervise` is about restarts and health, `work` about the choice of work.
//! Files that a `PROMPT` or `TASK` names are loaded by the caller. The kernel parses at spawn; `ostk run` parses before,
//! to load files and fill in variables.

mod lines;
mod parse;
mod print;
mod supervise;
mod work;

use serde::{Deserialize, Serialize};

pub use supervise::{HealthCheck, RestartRule};

/// Marks the text of a `PROMPT` or `TASK` that stands in a file.
const FILE: &str = "file://";

/// A parsed Agentfile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agentfile {
    /// The model, or `auto`.
    pub from: String,
    /// A profile that this file overrides, see [`Agentfile::over`].
    pub profile: Option<String>,
    /// System prompt parts, in order; `file://` parts are paths until [`Agentfile::load_files`].
    pub prompts: Vec<String>,
    /// The first user message; may be a `file://` path too.
    pub task: Option<String>,
    /// What it may use; empty grants whatever the pin leaves.
    pub tools: Vec<ToolGrant>,
    /// Instruction bundles.
    pub skills: Vec<String>,
    /// Budgets and modes.
    pub limits: Limits,
    /// The capability profile.
    pub pin: Option<String>,
    /// Which work it pulls; all terms must hold.
    pub work: Vec<WorkTerm>,
    /// Wake triggers.
    pub interrupts: Vec<String>,
    /// Vendor features.
    pub betas: Vec<String>,
    /// How its commands are contained.
    pub isolation: Option<Isolation>,
    /// Commands before the first turn.
    pub boot: Vec<String>,
    /// How the file is attested.
    pub attest: Option<Attest>,
    /// Whether it is started again when it dies, with whom, and how often.
    pub restart: Option<RestartRule>,
    /// After which ends it is started again; [`Lifetime::Transient`] if absent.
    pub lifetime: Option<Lifetime>,
    /// How one tells that it still works.
    pub health: Option<HealthCheck>,
}

/// A tool class and the paths it is granted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolGrant {
    /// `shell`, `file:read`, `file:edit`, `file:write`, `kernel:spawn` or `kernel:secret`.
    pub class: String,
    /// An anchored path prefix or glob, or `readonly` for `shell`; `None` is everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// Budgets and modes. `None` is unlimited, or the default mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Answered model calls.
    pub turns: Option<u64>,
    /// Prompt and reply tokens.
    pub tokens: Option<u64>,
    /// Seconds since the spawn.
    pub wall_clock_s: Option<u64>,
    /// Millionths of a dollar.
    pub budget_micro_usd: Option<u64>,
    /// Tool calls with a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u64>,
    /// Bytes of the files that its file calls write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_written: Option<u64>,
    /// Percent of the context window that may be used.
    pub context_pct: Option<u64>,
    /// Tokens that the model's context window holds, where its operator knows better than the catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Modes, paths and verbs as they stand, in order: `permissions`, `destructive_ops`, `revival_policy`,
    /// `sandbox.read`, `sandbox.readwrite`, `read-path`, `write-path`, `connect`, `arg.NAME`, `verb`; values are checked.
    pub other: Vec<(String, String)>,
}

/// One term of a `WORK` filter, for example `priority>=P1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkTerm {
    /// What is compared: `priority`, `tags` or `milestone`.
    pub field: String,
    /// How.
    pub op: WorkOp,
    /// With what; one match is enough.
    pub values: Vec<String>,
}

/// Declares an enum whose variants are single words of the Agentfile.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value, as it is written.
            pub const ALL: &[(&str, Self)] = &[$(($word, Self::$variant)),*];

            /// As the Agentfile writes it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

words! {
    /// How a value of a `WORK` term is compared. `P0` is the highest priority.
    WorkOp {
        /// At least as important or large.
        AtLeast = ">=",
        /// At most as important or large.
        AtMost = "<=",
        /// Equal.
        Is = "=",
    }
}
words! {
    /// How an agent's commands are contained. A host that cannot give what is asked refuses the agent.
    Isolation {
        /// Not at all.
        None = "none",
        /// Landlock, seccomp and limits of the kernel.
        Nono = "nono",
        /// A container.
        Docker = "docker",
        /// A virtual machine.
        Firecracker = "firecracker",
    }
}
words! {
    /// Which signature the file must carry.
    Attest {
        /// Ed25519.
        Ed25519 = "ed25519",
        /// OpenPGP.
        Gpg = "gpg",
        /// Sigstore.
        Sigstore = "sigstore",
        /// Ed25519 and OpenPGP.
        Both = "both",
    }
}
words! {
    /// The restart strategies of Erlang/OTP supervisors.
    Restart {
        /// Only the one that died.
        OneForOne = "one_for_one",
        /// All of them.
        OneForAll = "one_for_all",
        /// The one that died and those started after it.
        RestForOne = "rest_for_one",
        /// Like `one_for_one`, for workers that are started on demand.
        SimpleOneForOne = "simple_one_for_one",
    }
}

words! {
    /// After which ends an agent is started again, in the words of Erlang/OTP.
    Lifetime {
        /// After every end that is its own.
        Permanent = "permanent",
        /// After a failure.
        Transient = "transient",
        /// Never.
        Temporary = "temporary",
    }
}

/// A directive that a file uses, and where.
///
/// The name is what a host tells apart when it refuses what it does not carry out: `FROM`, `FROM auto`, `TOOL`,
/// `LIMIT turns`, `LIMIT destructive_ops deny`, `ISOLATION docker`, `PROMPT file://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Counted from 1.
    pub line: usize,
    /// The directive, with as much of its argument as makes a difference.
    pub name: String,
}

/// What is wrong with an Agentfile, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{directive}: {message}{}", place(*line, *column), hint_text(hint.as_ref()))]
pub struct AgentfileError {
    /// Counted from 1; 0 is the file as a whole.
    pub line: usize,
    /// Where on the line the mistake begins, in characters from 1; 0 is the line as a whole.
    pub column: usize,
    /// The directive, or the word in its place.
    pub directive: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

fn place(line: usize, column: usize) -> String {
    match (line, column) {
        (0, _) => String::new(),
        (line, 0) => format!("line {line}: "),
        (line, column) => format!("line {line}:{column}: "),
    }
}

fn hint_text(hint: Option<&String>) -> String {
    hint.map(|hint| format!(" ({hint})")).unwrap_or_default()
}

impl Agentfile {
    /// The system prompt: the parts in order, one blank line between them.
    pub fn system_prompt(&self) -> String {
        self.prompts.join("\n\n")
    }

    /// Replaces every `file://PATH` in `PROMPT` and `TASK` by the file's text; `load` gets the path, which has no `..`.
    ///
    /// # Errors
    /// Every file that `load` has no text for, with `load`'s reason.
    pub fn load_files(
        &mut self,
        load: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), Vec<AgentfileError>> {
        let prompts = self.prompts.iter_mut().map(|text| ("PROMPT", text));
        let mut errors = Vec::new();
        for (directive, text) in prompts.chain(self.task.iter_mut().map(|text| ("TASK", text))) {
            let Some(path) = text.strip_prefix(FILE) else { continue };
            match load(path).map(|loaded| lines::tidy(&loaded)) {
                Ok(loaded) if loaded.starts_with(FILE) => {
                    errors.push(whole_file_error(directive, format!("{path} names another file")));
                }
                Ok(loaded) if !loaded.is_empty() => *text = loaded,
                Ok(_) => errors.push(whole_file_error(directive, format!("{path} is empty"))),
                Err(reason) => errors.push(whole_file_error(directive, format!("{path}: {reason}"))),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// This file over its profile. What this file says wins; prompts of both are kept, the profile's first; of lists
    /// of grants or filters one file's stands whole, so a profile never adds a tool to a file that names its own.
    #[must_use]
    pub fn over(self, profile: Self) -> Self {
        let mut prompts = profile.prompts;
        prompts.extend(self.prompts);
        Self {
            from: if self.from == "auto" { profile.from } else { self.from },
            profile: None,
            prompts,
            task: self.task.or(profile.task),
            tools: or(self.tools, profile.tools),
            skills: union(profile.skills, self.skills),
            limits: self.limits.over(profile.limits),
            pin: self.pin.or(profile.pin),
            work: or(self.work, profile.work),
            interrupts: union(profile.interrupts, self.interrupts),
            betas: union(profile.betas, self.betas),
            isolation: self.isolation.or(profile.isolation),
            boot: or(self.boot, profile.boot),
            attest: self.attest.or(profile.attest),
            restart: self.restart.or(profile.restart),
            lifetime: self.lifetime.or(profile.lifetime),
            health: self.health.or(profile.health),
        }
    }
}

impl Limits {
    /// The word of a mode, for example of `revival_policy`, if it stands there.
    pub fn mode(&self, name: &str) -> Option<&str> {
        self.other.iter().find(|(key, _)| key == name).map(|(_, word)| word.as_str())
    }

    fn over(self, profile: Self) -> Self {
        let mut other = profile.other;
        other.retain(|(key, _)| self.other.iter().all(|(own, _)| own != key));
        other.extend(self.other);
        Self {
            turns: self.turns.or(profile.turns),
            tokens: self.tokens.or(profile.tokens),
            wall_clock_s: self.wall_clock_s.or(profile.wall_clock_s),
            tool_calls: self.tool_calls.or(profile.tool_calls),
            bytes_written: self.bytes_written.or(profile.bytes_written),
            budget_micro_usd: self.budget_micro_usd.or(profile.budget_micro_usd),
            context_pct: self.context_pct.or(profile.context_pct),
            context_window: self.context_window.or(profile.context_window),
            other,
        }
    }
}

fn or<T>(own: Vec<T>, profile: Vec<T>) -> Vec<T> {
    if own.is_empty() { profile } else { own }
}

fn union(mut all: Vec<String>, more: Vec<String>) -> Vec<String> {
    for item in more {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all
}

fn whole_file_error(directive: &str, message: String) -> AgentfileError {
    AgentfileError { line: 0, column: 0, directive: directive.to_owned(), message, hint: None }
}
