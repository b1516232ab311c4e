//! Arguments of the commands about processes and their lives: `kill`, `nudge`, `note`, `panic`, `lineage`.

use std::ffi::OsString;

use clap::{Subcommand, ValueEnum};

/// Arguments of `ostk kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Kill {
    /// The process.
    #[arg(required_unless_present_any = ["list", "all"])]
    pub(crate) lineage: Option<String>,
    /// The signal, with or without `SIG`; also as -STOP or -SIGSTOP.
    #[arg(short, long, default_value = "SIGTERM")]
    pub(crate) signal: String,
    /// Words that go with it.
    #[arg(short, long, default_value = "")]
    pub(crate) text: String,
    /// Send it to every process that has not ended, except people.
    #[arg(long, conflicts_with = "lineage")]
    pub(crate) all: bool,
    /// Show every signal.
    #[arg(short, long, conflicts_with_all = ["lineage", "all"])]
    pub(crate) list: bool,
}

/// Arguments of `ostk nudge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Nudge {
    /// Who shall see it.
    pub(crate) lineage: String,
    /// The message, of 16 KiB at most.
    pub(crate) text: String,
}

/// Arguments of `ostk note`.
#[derive(Debug, clap::Args)]
pub(crate) struct Note {
    /// The remark, of 16 KiB at most.
    pub(crate) text: String,
}

/// Arguments of `ostk panic`.
#[derive(Debug, clap::Args)]
pub(crate) struct Panic {
    /// Why, for whoever comes to look.
    #[arg(default_value = "")]
    pub(crate) reason: String,
}

/// What `ostk lineage` does.
#[derive(Debug, Subcommand)]
pub(crate) enum LineageAction {
    /// List the lineages, also those that have ended.
    List,
    /// Show one.
    Show {
        /// The lineage.
        lineage: String,
        /// What was said to its model, by the model and by tools. For a client that ostk started, as the relay has it.
        #[arg(long)]
        conversation: bool,
    },
    /// Say what becomes of one that a restart orphaned.
    Resolve {
        /// The lineage.
        lineage: String,
        /// It goes on where it was.
        #[arg(long, conflicts_with = "reap", required_unless_present = "reap")]
        revive: bool,
        /// It is ended.
        #[arg(long)]
        reap: bool,
    },
}

/// What `ostk pipe` does.
#[derive(Debug, Subcommand)]
pub(crate) enum PipeAction {
    /// List the pipes: what waits in each, and who holds its ends.
    List,
    /// Make one.
    Make {
        /// Its name.
        pipe: String,
        /// Messages that it holds at most; 100 by default.
        #[arg(long)]
        messages: Option<u64>,
        /// Bytes that it holds at most; 10 MiB by default.
        #[arg(long)]
        bytes: Option<u64>,
    },
    /// Put a message in, or wait for room.
    Write {
        /// The pipe.
        pipe: String,
        /// The message, of 1 MiB at most.
        text: String,
        /// How long to wait, in milliseconds.
        #[arg(long, default_value_t = 30_000)]
        timeout_ms: u64,
    },
    /// Take the next message out, or wait for one; exit code 1 when nobody writes any more.
    Read {
        /// The pipe.
        pipe: String,
        /// How long to wait, in milliseconds.
        #[arg(long, default_value_t = 30_000)]
        timeout_ms: u64,
    },
    /// Close one, with what is in it.
    Close {
        /// The pipe.
        pipe: String,
    },
}

/// What becomes of an agent when the daemon that it ran in is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RevivalPolicy {
    /// It goes on where it was.
    Revive,
    /// It is ended.
    Reap,
    /// It waits for `ostk lineage resolve`.
    Ask,
}

impl RevivalPolicy {
    /// The word of the system call.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Revive => "revive",
            Self::Reap => "reap",
            Self::Ask => "ask",
        }
    }
}

/// Writes `ostk kill -STOP name` as clap reads it: `ostk kill --signal=STOP name`.
pub(crate) fn with_signals(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.collect();
    let is_option = |at: &usize| args.get(*at).is_some_and(|arg| arg.as_encoded_bytes().starts_with(b"-"));
    let is_color = |at: usize| args.get(at).is_some_and(|arg| arg == "--color");
    let verb = (1..args.len()).find(|at| !is_option(at) && !is_color(at - 1));
    let Some(verb) = verb.filter(|at| args.get(*at).is_some_and(|arg| arg == "kill")) else { return args };
    for arg in args.iter_mut().skip(verb + 1) {
        let named = arg.to_str().and_then(|text| text.strip_prefix('-')).filter(|name| is_signal(name));
        if let Some(name) = named {
            *arg = format!("--signal={name}").into();
        }
    }
    args
}

/// Upper case and longer than an option's letter.
fn is_signal(name: &str) -> bool {
    name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &str) -> String {
        let args = with_signals(line.split(' ').map(Into::into));
        args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_signal_may_stand_as_kill_has_always_had_it() {
        assert_eq!(written("ostk kill -STOP w"), "ostk kill --signal=STOP w");
        assert_eq!(written("ostk --json kill w -SIGUSR1"), "ostk --json kill w --signal=SIGUSR1");
        assert_eq!(written("ostk kill -9 w"), "ostk kill -9 w", "numbers differ between families");
        assert_eq!(written("ostk --color never kill -INT w"), "ostk --color never kill --signal=INT w");
        assert_eq!(written("ostk run -- kill -STOP 1"), "ostk run -- kill -STOP 1", "another kill");
    }
}
