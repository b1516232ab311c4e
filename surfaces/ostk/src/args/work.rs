//! Arguments of the commands about work: `hay`, `work`, `compile`, `compounds`, `decide`, `tack`.

use std::time::Duration;

use clap::Subcommand;

use super::span::time;

/// Arguments of `ostk hay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Hay {
    /// The thought, of 4 KiB at most.
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    pub(crate) text: Vec<String>,
    /// Where it came from.
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// List the thoughts that became no needle yet.
    #[arg(long)]
    pub(crate) list: bool,
}

/// What `ostk work` does. A needle is named `7`, `→7` or `->7`.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkAction {
    /// Add a needle: title, priority, description and an acceptance command are needed.
    Add(Add),
    /// List needles, the most urgent first.
    #[command(alias = "ls")]
    List(Filter),
    /// Show everything about a needle.
    Show {
        /// The needle.
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Claim the best needle that can be begun now; exits with 1 if there is none.
    #[command(alias = "pull")]
    Next(Next),
    /// Claim a needle, or keep it for another lease.
    Claim {
        /// The needle.
        #[arg(allow_hyphen_values = true)]
        id: String,
        #[command(flatten)]
        lease: Lease,
    },
    /// Give a needle back.
    Release {
        /// The needle.
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Run the acceptance commands of a needle, and close it if all pass.
    Close(Close),
    /// Change members of a needle; what is not given stays.
    Edit(Edit),
    /// Tie two needles, or untie them: `ostk work link 7 depends_on 4`.
    Link {
        /// The needle.
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// depends_on, blocks or related.
        kind: String,
        /// The other needle.
        #[arg(allow_hyphen_values = true)]
        other: String,
        /// Take the link off.
        #[arg(long)]
        remove: bool,
    },
}

/// Arguments of `ostk work add`.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// What is to be done, in one line.
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// P0 (now) to P3 (some day).
    #[arg(long)]
    pub(crate) priority: Option<String>,
    /// What whoever takes it must know.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// A command that passes when it is done; several must all pass, in order.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) ac: Vec<String>,
    /// No command can tell when it is done.
    #[arg(long, conflicts_with = "ac")]
    pub(crate) no_ac: bool,
    /// Words to find it by, with commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) tags: Vec<String>,
    /// The milestone that it belongs to.
    #[arg(long)]
    pub(crate) milestone: Option<String>,
    /// Needles that must be closed first, with commas.
    #[arg(long, value_delimiter = ',', value_name = "ID", allow_hyphen_values = true)]
    pub(crate) depends_on: Vec<String>,
    /// Needles that wait for it, with commas.
    #[arg(long, value_delimiter = ',', value_name = "ID", allow_hyphen_values = true)]
    pub(crate) blocks: Vec<String>,
    /// Straws that it comes from, with commas.
    #[arg(long, value_delimiter = ',', value_name = "STRAW")]
    pub(crate) hay: Vec<String>,
}

/// Of which needles something is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Only of this priority.
    #[arg(long)]
    pub(crate) priority: Option<String>,
    /// Only with this tag.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Only of this milestone.
    #[arg(long)]
    pub(crate) milestone: Option<String>,
}

/// Arguments of `ostk work list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Filter {
    /// Only open, in_progress, shelved or closed.
    #[arg(long)]
    pub(crate) status: Option<String>,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Closed ones too.
    #[arg(long)]
    pub(crate) all: bool,
    /// How many; 200 by default.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// Arguments of `ostk work next`.
#[derive(Debug, clap::Args)]
pub(crate) struct Next {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only look at it.
    #[arg(long)]
    pub(crate) peek: bool,
    #[command(flatten)]
    pub(crate) lease: Lease,
}

/// How long a claim holds.
#[derive(Debug, clap::Args)]
pub(crate) struct Lease {
    /// How long the claim holds without a word: `90s`, `30m`, `2h`; half an hour by default, a day at most.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) lease: Option<Duration>,
}

/// Arguments of `ostk work close`.
#[derive(Debug, clap::Args)]
pub(crate) struct Close {
    /// The needle.
    #[arg(allow_hyphen_values = true)]
    pub(crate) id: String,
    /// Why, for the log.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Close it although its acceptance does not pass.
    #[arg(long, requires = "reason")]
    pub(crate) force: bool,
    /// Deadline of each acceptance command: `90s`, `30m`; two minutes by default, an hour at most.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
}

/// Arguments of `ostk work edit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    /// The needle.
    #[arg(allow_hyphen_values = true)]
    pub(crate) id: String,
    /// What is to be done, in one line.
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// P0 (now) to P3 (some day).
    #[arg(long)]
    pub(crate) priority: Option<String>,
    /// open, or shelved: nobody is given it.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// What whoever takes it must know.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// A command that passes when it is done; those given take the place of all.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) ac: Vec<String>,
    /// No command can tell when it is done.
    #[arg(long, conflicts_with = "ac")]
    pub(crate) no_ac: bool,
    /// Words to find it by, with commas; those given take the place of all.
    #[arg(long, value_delimiter = ',')]
    pub(crate) tags: Vec<String>,
    /// The milestone that it belongs to.
    #[arg(long)]
    pub(crate) milestone: Option<String>,
}

/// Arguments of `ostk compile`.
#[derive(Debug, clap::Args)]
pub(crate) struct Compile {
    /// Tell what would be tied, and tie nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Arguments of `ostk compounds`.
#[derive(Debug, clap::Args)]
pub(crate) struct Compounds {
    /// How many; 10 by default.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// Arguments of `ostk decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct Decide {
    /// About what.
    #[arg(required_unless_present = "list", requires = "value")]
    pub(crate) key: Option<String>,
    /// What.
    pub(crate) value: Option<String>,
    /// Why.
    pub(crate) reason: Option<String>,
    /// List the decisions in force.
    #[arg(long, conflicts_with = "key")]
    pub(crate) list: bool,
}

/// Arguments of `ostk tack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Tack {
    /// The line, such as `:list`, `→7` or `retry flaky uploads`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) line: Vec<String>,
    /// Also carry it out.
    #[arg(long)]
    pub(crate) run: bool,
}
