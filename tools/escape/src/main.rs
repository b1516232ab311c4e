//! `escape run` tries the table against a sandbox; `escape attempt` is what runs inside, `escape outsider` what it must
//! not touch; `escape list` prints the table.

use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use escape::{Contender, Counts, Judged, Outcome, Programs, Row};

/// Ways out of a sandbox.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try the table against a sandbox.
    Run(Run),
    /// Print the table.
    List,
    /// Inside the sandbox: make the attempt of a row.
    #[command(hide = true)]
    Attempt { row: String, facts: Vec<String> },
    /// Outside: be a process that nobody should touch.
    #[command(hide = true)]
    Outsider {
        file: PathBuf,
        #[arg(long)]
        token: String,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Only these rows.
    #[arg(long, value_name = "ID")]
    row: Vec<String>,
    /// ostk, none, codex, srt or nono.
    #[arg(long, default_value = "ostk")]
    against: String,
    /// The binary of ostk; the one beside this program by default.
    #[arg(long)]
    ostk: Option<PathBuf>,
    /// Attempts at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Also print what the attempts said.
    #[arg(long)]
    said: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    match Args::parse().command {
        Command::Run(run) => table(&run),
        Command::List => list(),
        Command::Attempt { row, facts } => escape::attempt(&row, &facts),
        Command::Outsider { file, token: _ } => escape::outsider(&file),
    }
}

#[expect(clippy::print_stdout, reason = "it is the output")]
fn list() -> Result<ExitCode> {
    for row in escape::all() {
        println!("{:<10} {:<32} {} [{}]", row.class.name(), row.id, row.tries, row.source);
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "it is the output")]
fn table(run: &Run) -> Result<ExitCode> {
    let contender = Contender::named(&run.against)?;
    let escape = env::current_exe()?;
    let ostk = match &run.ostk {
        Some(named) => named.clone(),
        None => escape.with_file_name("ostk"),
    };
    ensure!(ostk.is_file(), "{} is not there: cargo build -p ostk", ostk.display());
    let program = if contender == Contender::Ostk { ostk.clone() } else { contender.program()? };
    let programs = Programs { escape, ostk, contender: program.clone() };
    let judged = all(&rows(&run.row)?, contender, &programs, run.jobs)?;
    if run.json {
        let report = escape::json(&judged, &run.against, &contender.version(&program));
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", escape::text(&judged, run.said));
    }
    Ok(if good(&judged, contender) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn rows(named: &[String]) -> Result<Vec<&'static Row>> {
    if named.is_empty() {
        return Ok(escape::all().collect());
    }
    named.iter().map(|id| escape::named(id).with_context(|| format!("no row {id:?}: escape list"))).collect()
}

/// Nothing escaped, and every attempt ran. Without a sandbox the other way round: an attempt that does
/// not get out there shows nothing.
fn good(judged: &[Judged], contender: Contender) -> bool {
    let counts = Counts::of(judged);
    if contender == Contender::None {
        let harmless =
            |one: &&Judged| one.row.class != escape::Class::Work && one.outcome == Outcome::Stopped;
        return counts.not_attempted == 0 && !judged.iter().any(|one| harmless(&one));
    }
    counts.escaped == 0 && counts.work_failed == 0 && counts.not_attempted == 0
}

fn all(rows: &[&'static Row], contender: Contender, programs: &Programs, jobs: usize) -> Result<Vec<Judged>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, 16) {
            scope.spawn(|| {
                while let Some((at, row)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, *rows.get(at)?)))
                {
                    match escape::judge(row, contender, programs) {
                        Ok(judged) => done.lock().unwrap_or_else(PoisonError::into_inner).push((at, judged)),
                        Err(error) => failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(format!("{}: {error:#}", row.id)),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, judged)| judged).collect())
}
