//! `torture --ostk PATH`: runs the torture and prints its report as JSON. Exit status 0 if nothing is wrong, 1 if
//! something is, 2 if it could not be run. `torture --worker` is one of its clients.

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Parser;

/// Many clients edit the same files while the daemon is killed; an independent checker judges the result.
#[derive(Debug, Parser)]
struct Args {
    /// The binary under test.
    #[arg(long, value_name = "PATH", required_unless_present = "worker")]
    ostk: Option<PathBuf>,
    /// Be a client; the task comes on standard input.
    #[arg(long, hide = true)]
    worker: bool,
    /// How many clients.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    clients: u64,
    /// Calls of each client.
    #[arg(long, default_value_t = 500)]
    edits: u64,
    /// Files that all of them edit.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=1000))]
    files: u64,
    /// How often the daemon or a client is killed.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Makes the same choices again; from the clock if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Leave the repository behind.
    #[arg(long)]
    keep: bool,
    /// Clients begin no call after this many seconds.
    #[arg(long, default_value_t = 1_800, value_name = "SECONDS")]
    seconds: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.worker {
        return match torture::work() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "torture, a client: {error:#}");
                ExitCode::from(2)
            }
        };
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let options = torture::Options {
        ostk: args.ostk.unwrap_or_default(),
        torture: std::env::current_exe().unwrap_or_default(),
        clients: args.clients,
        edits: args.edits,
        files: args.files,
        kills: args.kills,
        seed: args.seed.unwrap_or(since_1970.as_secs()),
        keep: args.keep,
        limit: Duration::from_secs(args.seconds),
    };
    let (text, code) = match torture::run(&options) {
        Ok(report) => {
            let code = if report.ok { 0 } else { 1 };
            (serde_json::to_string_pretty(&report).unwrap_or_default(), code)
        }
        Err(error) => (format!("torture, seed {}: {error:#}", options.seed), 2),
    };
    // Nobody reads a closed output; the exit status tells.
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::from(code)
}
