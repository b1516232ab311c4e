//! What can be asked about sub-stacks on the command line.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with stacks.
#[derive(Debug, Subcommand)]
pub(crate) enum StackAction {
    /// Delegate a directory to a new stack, and start an agent in it.
    Spawn(Spawn),
    /// List the stacks and where they stand.
    List,
    /// Show a stack: its budget, its processes, and the end of its log once it is sealed.
    Show {
        /// The stack.
        name: String,
    },
    /// End a stack in good order: its agents finish what they are doing, and its log is attested.
    Seal {
        /// The stack.
        name: String,
        /// Why, for the log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// End everything in a stack at once.
    Kill {
        /// The stack.
        name: String,
        /// Why, for the log.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Arguments of `ostk stack spawn`.
#[derive(Debug, clap::Args)]
pub(crate) struct Spawn {
    /// Its name.
    pub(crate) name: String,
    /// The directory in which it alone writes until it is sealed.
    #[arg(long, value_name = "DIR")]
    pub(crate) scope: PathBuf,
    /// Dollars that it may spend in all.
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) budget_usd: Option<f64>,
    /// Tokens that it may take in all.
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<u64>,
    /// Model calls that it may make in all.
    #[arg(long, value_name = "N")]
    pub(crate) turns: Option<u64>,
    /// The Agentfile of its first agent; with a prompt, .ostk/agents/worker.af by default.
    #[arg(long, value_name = "AGENTFILE")]
    pub(crate) agent: Option<PathBuf>,
    /// What its first agent shall do; replaces the Agentfile's TASK.
    #[arg(last = true)]
    pub(crate) prompt: Vec<String>,
}
