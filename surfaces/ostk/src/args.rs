//! What can be asked on the command line.

mod life;
mod saga;
mod span;
mod stack;
mod timer;
mod work;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use saga::SagaAction;
pub(crate) use span::span;
pub(crate) use stack::{Spawn, StackAction};
pub(crate) use timer::{AddTimer, TimerAction};

pub(crate) use life::{Kill, LineageAction, Note, Nudge, Panic, PipeAction, RevivalPolicy, with_signals};
pub(crate) use work::{
    Add, Close, Compile, Compounds, Decide, Edit, Filter, Hay, Lease, Next, Tack, Which, WorkAction,
};

/// Options of every command stand below its own.
const LAST: usize = 900;

/// An operating system for AI agents: many agents, one repository, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "ostk", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long, global = true, display_order = LAST)]
    pub(crate) json: bool,
    /// When to colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", display_order = LAST + 1)]
    pub(crate) color: Color,
    /// Speak to this sub-stack instead of the project.
    #[arg(long, global = true, env = "OSTK_STACK", value_name = "NAME", display_order = LAST + 2)]
    pub(crate) stack: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a project in this git repository; add hooks and servers to a coding agent.
    Init(Init),
    /// Print the state screen with its self test; changes nothing.
    Boot(Boot),
    /// Run the daemon in the foreground.
    #[command(visible_alias = "serve", alias = "daemon")]
    Listen(Listen),
    /// Stop the daemon in good order.
    Shutdown,
    /// List every process: agents, clients, people.
    Ps,
    /// List the processes as a tree.
    Pstree,
    /// Run an agent from an Agentfile, or a command in the sandbox after `--`.
    Run(Run),
    /// Run a fleet of scripted agents on a copy of a repository and check that nothing is lost.
    Demo(Demo),
    /// Serve agents over the Model Context Protocol, on standard input and output or on loopback HTTP.
    Mcp(Mcp),
    /// Answer a coding agent's hook; reads its event from standard input.
    Hook(Hook),
    /// Look at the log and check it.
    Audit(Audit),
    /// Take back a write, an agent's writes, or a range of them.
    Undo(Undo),
    /// Who wrote each line of a file.
    Blame(Blame),
    /// The versions of a file.
    Log(FileArg),
    /// Explain the verdict on a call, without making it.
    Why(Why),
    /// Run a command, propose the least pin that it needs, and try it out.
    Learn(Learn),
    /// Questions of agents that wait for a person: list, answer, watch them.
    Approvals(Approvals),
    /// Capability boundaries.
    Pin(Pin),
    /// The rules in force.
    Policy(Policy),
    /// Check the documents that govern: pins, rules, HUMANFILE, Agentfiles.
    Lint(Lint),
    /// The operator's secrets: set, show, list and test them.
    Secret(SecretArgs),
    /// Sign governing documents, or check their signatures.
    Sign(Sign),
    /// The operator's keys: which are in force; vouch for one, rotate, revoke.
    Trust(TrustArgs),
    /// What commands made and other programs would have obeyed: list it, put it back.
    Quarantine(QuarantineArgs),
    /// Show a record, a blob, a needle, a lineage or a file.
    Show(Show),
    /// Send a signal to a process.
    Kill(Kill),
    /// Send a message to an agent: it sees it once, with its next tool result, also after a restart
    Nudge(Nudge),
    /// Pipes between agents: list, make, write, read, close.
    Pipe {
        #[command(subcommand)]
        action: PipeAction,
    },
    /// Spawn an agent or send a message at a time, or again and again: add, list, remove.
    Timer {
        #[command(subcommand)]
        action: TimerAction,
    },
    /// Add a remark to the log
    Note(Note),
    /// File a thought, or list those that became no needle
    Hay(Hay),
    /// Needles, the work items of the project: add, list, take, close them
    #[command(alias = "needle")]
    Work {
        #[command(subcommand)]
        action: WorkAction,
    },
    /// Group the hay, and tie needles by their titles and what they refer to
    Compile(Compile),
    /// Rank the needles that free most others
    Compounds(Compounds),
    /// Record a decision, or list those in force
    Decide(Decide),
    /// Say what a line of tack means, and carry it out
    Tack(Tack),
    /// Delegate a directory to a daemon of its own, with its own agents, log and budget.
    Stack {
        #[command(subcommand)]
        action: StackAction,
    },
    /// Do several steps of which all or none shall stay.
    Saga {
        #[command(subcommand)]
        action: SagaAction,
    },
    /// Hold every agent, its commands and its model calls.
    Panic(Panic),
    /// Let every agent go on after `ostk panic`.
    Resume,
    /// Look at lineages, and say what becomes of those that a restart orphaned.
    Lineage {
        #[command(subcommand)]
        action: LineageAction,
    },
    /// Follow an agent live; what you type is sent to it.
    Attach(Attach),
    /// Look for what is wrong on this machine and in this project.
    Doctor,
    /// Measure this machine: log, gate, merge, system call, sandbox.
    Bench(Bench),
    /// The system call table.
    Abi(Abi),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Make any system call as the operator.
    Call(Call),
    /// Print the digest of the fold's state.
    StateHash,
}

/// Arguments of `ostk init`. What no flag says is asked at a terminal; elsewhere the defaults are taken.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Init {
    /// Ask nothing: take the default of every question that no flag answers.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Your name in HUMANFILE; git's user.name by default.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Your e-mail in HUMANFILE, or `none`; git's user.email by default.
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// The model of agents; by default one of the vendor whose key is here.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Names of the keys that agents' calls may use, with commas, or `none`; by default those that are here.
    #[arg(long, value_name = "NAMES")]
    pub(crate) secrets: Option<String>,
    /// Fingerprint of the OpenPGP key with which you sign HUMANFILE.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) gpg_key: Option<String>,
    /// Also set up a coding agent: its MCP server and its hooks.
    #[arg(long, value_enum)]
    pub(crate) client: Vec<ClientKind>,
    /// Take the coding agent's set-up out again, and do nothing else.
    #[arg(long, requires = "client")]
    pub(crate) uninstall: bool,
    /// Write no git hook that adds the log's checkpoint to commit messages.
    #[arg(long)]
    pub(crate) no_git_hook: bool,
}

/// A coding agent that can be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientKind {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Cursor.
    Cursor,
}

/// Arguments of `ostk boot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Boot {
    /// Exit with 1 when a check fails.
    #[arg(long)]
    pub(crate) bail: bool,
}

/// Arguments of `ostk listen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Listen {
    /// Leave after this many seconds without a client; 0 stays for good.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) idle_exit: u64,
}

/// Arguments of `ostk run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// An Agentfile; with a command, what supervises it.
    #[arg(value_name = "AGENTFILE", required_unless_present = "command")]
    pub(crate) agentfile: Option<PathBuf>,
    /// A command to run in the sandbox.
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
    /// The lineage's name; the file's name by default.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Replaces the Agentfile's TASK.
    #[arg(long)]
    pub(crate) task: Option<String>,
    /// The pin that bounds it.
    #[arg(long)]
    pub(crate) pin: Option<String>,
    /// Start it and return.
    #[arg(long)]
    pub(crate) detach: bool,
    /// The command line that starts it again, with {session} for its client's own session; known for claude and codex.
    #[arg(long, value_name = "COMMAND", requires = "agentfile", requires = "command")]
    pub(crate) resume: Option<String>,
    /// What becomes of it when its daemon is gone; it goes on by default.
    #[arg(long, value_enum)]
    pub(crate) revival: Option<RevivalPolicy>,
    /// Whom it goes before if it has to wait for a place: P0 (first) to P3; P2 by default.
    #[arg(long, requires = "agentfile")]
    pub(crate) priority: Option<String>,
    /// Check the Agentfile and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Arguments of `ostk learn`.
#[derive(Debug, clap::Args)]
pub(crate) struct Learn {
    /// The command. It runs twice: to be watched, and under the pin.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
    /// The pin's name; the command's by default. What a pin of that name allows and denies already, stays.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Save the pin if the command passes under it.
    #[arg(long)]
    pub(crate) write: bool,
}

/// Arguments of `ostk demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// The repository to copy; the one that holds this directory by default.
    #[arg(long, value_name = "PATH")]
    pub(crate) repo: Option<PathBuf>,
    /// How many agents.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=32))]
    pub(crate) workers: u64,
    /// Leave the copy and its log behind.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Arguments of `ostk mcp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Mcp {
    /// Serve streamable HTTP on this loopback address instead of standard input and output.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<String>,
    /// The lineage's name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The pin that bounds the client.
    #[arg(long, env = "OSTK_PIN")]
    pub(crate) pin: Option<String>,
}

/// Arguments of `ostk hook`.
#[derive(Debug, clap::Args)]
pub(crate) struct Hook {
    /// session-start, pre-tool, post-tool, turn-end or session-end.
    pub(crate) event: String,
    /// The coding agent.
    #[arg(long, value_enum, default_value_t = ClientKind::Claude)]
    pub(crate) client: ClientKind,
}

/// Arguments of `ostk audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Check the chain, the tree head and the packs.
    Verify {
        /// Also check every signature.
        #[arg(long)]
        deep: bool,
        /// Also compare the checkpoints in git's commits with the log.
        #[arg(long)]
        git: bool,
    },
    /// Print a proof that a record is in the log.
    Prove {
        /// Its sequence number.
        seq: u64,
    },
    /// Print the records that match.
    Query(Query),
    /// Print records as they come.
    Tail {
        /// Keep following.
        #[arg(short, long)]
        follow: bool,
        /// Start at this record.
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
    },
    /// Print the newest checkpoint as a trailer for a commit message.
    Trailer {
        /// Put it into this file; the git hook that init writes calls it so.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Write the whole log as JSON lines.
    Export,
    /// Compute every verdict again from its recorded inputs.
    ReplayVerdicts,
}

/// Filters of `ostk audit query`. All must match; of `--writes`, `--conflicts` and `--denied`, one of those given.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Query {
    /// Only what this lineage or actor did or what was done to it.
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Only events with this name or prefix, such as `file.` or `gate.denied`.
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Only records that name this file.
    #[arg(long)]
    pub(crate) file: Option<String>,
    /// Only records at or after this time (RFC 3339) or this long ago (`90s`, `15m`, `2h`, `3d`).
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Only writes.
    #[arg(long)]
    pub(crate) writes: bool,
    /// Only conflicts.
    #[arg(long)]
    pub(crate) conflicts: bool,
    /// Only refusals, by rules, by people and for want of an answer.
    #[arg(long)]
    pub(crate) denied: bool,
    /// Only the last N matches.
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,
}

/// Arguments of `ostk undo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Undo {
    /// A record's number, a range such as `120..140`, or a lineage.
    pub(crate) what: String,
    /// Only in this file.
    #[arg(long)]
    pub(crate) file: Option<String>,
}

/// A file.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArg {
    /// The file.
    pub(crate) file: String,
}

/// Arguments of `ostk blame`.
#[derive(Debug, clap::Args)]
pub(crate) struct Blame {
    /// The file.
    pub(crate) file: String,
    /// List the calls behind the lines: which, in what turn of the agent, and why.
    #[arg(long)]
    pub(crate) reasons: bool,
}

/// Arguments of `ostk why`.
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// Who would call.
    pub(crate) agent: String,
    /// The system call, such as `file.write`.
    pub(crate) call: String,
    /// The path, command or process.
    pub(crate) resource: Option<String>,
    /// Suppose this pin.
    #[arg(long)]
    pub(crate) pin: Option<String>,
}

/// Arguments of `ostk approvals`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Approvals {
    #[command(subcommand)]
    pub(crate) action: Option<ApprovalsAction>,
    /// Also those that were answered.
    #[arg(long)]
    pub(crate) all: bool,
}

/// What to do with questions.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsAction {
    /// List the questions that wait; what is done without an action.
    List {
        /// Also those that were answered.
        #[arg(long)]
        all: bool,
    },
    /// Let the call go on.
    Grant {
        #[command(flatten)]
        answer: Answer,
        /// Also such calls on the same resource until the session ends.
        #[arg(long)]
        session: bool,
    },
    /// Refuse the call.
    Deny {
        #[command(flatten)]
        answer: Answer,
    },
    /// Ask at this terminal whatever is open or comes.
    Watch,
}

/// An answer to a question.
#[derive(Debug, clap::Args)]
pub(crate) struct Answer {
    /// The question's number.
    pub(crate) id: u64,
    /// Why, for the log.
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

/// Arguments of `ostk pin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pin {
    #[command(subcommand)]
    pub(crate) action: PinAction,
}

/// What to do with pins.
#[derive(Debug, Subcommand)]
pub(crate) enum PinAction {
    /// Write a new pin to edit.
    Issue {
        /// Its name.
        name: String,
        /// What it may do: words of `read write execute`.
        #[arg(long, default_value = "read write execute")]
        caps: String,
    },
    /// List the pins.
    List,
    /// Print a pin and what it comes to.
    Show {
        /// Its name.
        name: String,
    },
}

/// Arguments of `ostk secret`.
#[derive(Debug, clap::Args)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    pub(crate) action: SecretAction,
}

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretAction {
    /// Keep a secret in the platform's keychain; asks for the value without showing it.
    Set {
        /// Its name, such as ANTHROPIC_API_KEY.
        name: String,
        /// The value, for scripts: other processes of this machine can see it while the command runs.
        #[arg(long)]
        value: Option<String>,
    },
    /// Print a secret's value, to a person at a terminal only.
    Get {
        /// Its name.
        name: String,
    },
    /// List the secrets that HUMANFILE names and those of model vendors, and where each comes from.
    List,
    /// Show that a secret can be used: its first characters and its length.
    Test {
        /// Its name.
        name: String,
    },
    /// Print the line that exports a secret to a shell, to a person at a terminal only.
    Env {
        /// Its name.
        name: String,
    },
    /// Remove a secret from the keychain.
    Rm {
        /// Its name.
        name: String,
    },
}

/// Arguments of `ostk sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// The documents, such as `.ostk/HUMANFILE`.
    #[arg(required_unless_present = "verify")]
    pub(crate) files: Vec<PathBuf>,
    /// Sign with gpg, by the key that HUMANFILE's SIGN names; writes FILE.asc instead of FILE.sig.
    #[arg(long)]
    pub(crate) gpg: bool,
    /// Keep the signature on this machine instead of beside the document, for one that a colleague signed.
    #[arg(long, conflicts_with = "gpg")]
    pub(crate) here: bool,
    /// Check the signatures of these documents, or of all, instead.
    #[arg(long, conflicts_with_all = ["gpg", "here"])]
    pub(crate) verify: bool,
}

/// Arguments of `ostk policy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    pub(crate) action: PolicyAction,
}

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Print every rule that the documents come to, with the line it stands on.
    Show {
        /// Print them in another language.
        #[arg(long = "as", value_enum, value_name = "LANGUAGE")]
        form: Option<PolicyForm>,
        /// Of the rules of pins, only those of this one.
        #[arg(long, value_name = "NAME")]
        pin: Option<String>,
    },
}

/// A language of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyForm {
    /// One Cedar policy set.
    Cedar,
}

/// Arguments of `ostk lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Lint {
    /// Only these files, each known by its name; every document that governs by default.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Arguments of `ostk trust`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    pub(crate) action: TrustAction,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustAction {
    /// List the keys that the log speaks of.
    List,
    /// Vouch for another person's key with yours.
    Sign {
        /// The key, `ed25519:` and 43 characters.
        key: String,
    },
    /// Make a new key that takes the place of yours; what the old one signed stays valid.
    Rotate,
    /// Revoke a key: nothing that it signs from then on is valid.
    Revoke {
        /// The key.
        key: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Arguments of `ostk quarantine`.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineArgs {
    #[command(subcommand)]
    pub(crate) action: QuarantineAction,
}

/// What to do with the quarantine.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineAction {
    /// List what is in it.
    List,
    /// Put something back where it was.
    Restore {
        /// Its name, as the list says.
        item: String,
    },
}

/// Arguments of `ostk show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// A record's number, a blob's SHA-256, a needle as `→7`, a lineage, a file, or `status`.
    #[arg(allow_hyphen_values = true)]
    pub(crate) target: String,
}

/// Arguments of `ostk attach`.
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    /// The agent.
    pub(crate) lineage: String,
    /// Send this message and return.
    #[arg(long)]
    pub(crate) say: Option<String>,
}

/// Arguments of `ostk bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Only these: log, verify, gate, call, merge, sandbox, daemon.
    pub(crate) areas: Vec<String>,
}

/// Arguments of `ostk abi`.
#[derive(Debug, clap::Args)]
pub(crate) struct Abi {
    #[command(subcommand)]
    pub(crate) action: AbiAction,
}

/// What to do with the table.
#[derive(Debug, Subcommand)]
pub(crate) enum AbiAction {
    /// List the system calls.
    List,
    /// Print one call with its arguments and result.
    Show {
        /// Its name.
        name: String,
    },
    /// Compare the table with the one saved in a file.
    Diff {
        /// A file written by `ostk abi list --json`.
        file: PathBuf,
    },
}

/// Arguments of `ostk completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `ostk call`.
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The system call.
    pub(crate) verb: String,
    /// Its arguments, a JSON object; `-` reads them from standard input.
    #[arg(default_value = "{}")]
    pub(crate) args: String,
    /// Repeating the call with this key has no second effect.
    #[arg(long)]
    pub(crate) idempotency: Option<String>,
    /// Call as this agent instead of the operator.
    #[arg(long = "as", value_name = "LINEAGE")]
    pub(crate) agent: Option<String>,
    /// How long the call may wait, in milliseconds. What has begun is not cut off: a command has a `timeout_ms` of its own.
    #[arg(long, default_value_t = 120_000)]
    pub(crate) timeout_ms: u64,
}
