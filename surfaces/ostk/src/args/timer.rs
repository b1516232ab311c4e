//! Arguments of `ostk timer`.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;

use super::span::time;

/// What `ostk timer` does.
#[derive(Debug, Subcommand)]
pub(crate) enum TimerAction {
    /// Set one: `ostk timer add nightly agents/tidy.af --every 1d`.
    Add(AddTimer),
    /// List the timers: when each fires next, and how its last call went.
    List,
    /// Remove one.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Arguments of `ostk timer add`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("when").required(true).multiple(true).args(["at", "after", "every"]))]
pub(crate) struct AddTimer {
    /// Its name, and that of the agent that it spawns.
    pub(crate) name: String,
    /// The Agentfile to spawn from.
    #[arg(required_unless_present = "to", conflicts_with = "to")]
    pub(crate) agentfile: Option<PathBuf>,
    /// Replaces the Agentfile's TASK.
    #[arg(long, requires = "agentfile")]
    pub(crate) task: Option<String>,
    /// Send a message to this agent instead.
    #[arg(long, requires = "say")]
    pub(crate) to: Option<String>,
    /// The message.
    #[arg(long, requires = "to")]
    pub(crate) say: Option<String>,
    /// When it fires first, in UTC: 2030-01-02T03:04:05Z.
    #[arg(long, conflicts_with = "after")]
    pub(crate) at: Option<String>,
    /// In how long it fires first: 90s, 30m, 2h, 1d.
    #[arg(long, value_parser = time)]
    pub(crate) after: Option<Duration>,
    /// How often it fires, 10s or more; once without.
    #[arg(long, value_parser = time)]
    pub(crate) every: Option<Duration>,
    /// How many times at most.
    #[arg(long, requires = "every")]
    pub(crate) times: Option<u64>,
}
