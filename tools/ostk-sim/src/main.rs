//! `ostk-sim`: runs seeds, prints every failure with what replays it, and at the end what was done.
//!
//! `ostk-sim --seed N [--trace]` runs one seed again; `--seeds N` or `--hours H` run many, from `--from` on. A seed that
//! fails is tried with fewer steps, and the fewest that still fail are printed with it. The exit code is 1 if one failed.

use std::{
    path::Path,
    process::{Command, ExitCode},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use ostk_sim::{Counts, Run, Settings};

/// Failures after which a run of many seeds ends: more of them say nothing new.
const MAX_FAILURES: usize = 20;

/// The kernel, the journal, the packs and the files on a machine that fails on command.
#[derive(Debug, Parser)]
struct Args {
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Run so many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Run for so many hours instead.
    #[arg(long)]
    hours: Option<f64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads that run seeds.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Steps before everything calms down; drawn from the seed by default.
    #[arg(long)]
    steps: Option<usize>,
    /// Print what happens.
    #[arg(long)]
    trace: bool,
    /// The disk may say that it synced, and not have done it: runs then fail.
    #[arg(long)]
    lies: bool,
    /// Damage the log once at rest: runs then fail.
    #[arg(long)]
    rot: bool,
    /// Clients share needles most of the time.
    #[arg(long)]
    work: bool,
    /// A seed may draw so many of the features that the simulator has learned, the oldest first.
    #[arg(long)]
    features: Option<usize>,
    /// A power cut may bring back old versions of workspace files.
    #[arg(long)]
    files_lose: bool,
    /// A fleet of so many agents lives through an hour without its model instead.
    #[arg(long)]
    outage: Option<usize>,
}

impl Args {
    fn settings(&self) -> Settings {
        let (steps, trace) = (self.steps, self.trace);
        let (lies, rot, files_lose) = (self.lies, self.rot, self.files_lose);
        Settings {
            steps,
            trace,
            lies,
            rot,
            files_lose,
            work: self.work,
            features: self.features.unwrap_or(usize::MAX),
            ..Settings::default()
        }
    }
}

/// What all threads found.
#[derive(Default)]
struct Total {
    runs: u64,
    counts: Counts,
    failed: Vec<Run>,
}

#[expect(clippy::print_stdout, reason = "a program that prints a report")]
fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let began = Instant::now();
    let total = run_all(&args)?;
    println!("{} seeds in {:.1} s\n{}", total.runs, began.elapsed().as_secs_f64(), total.counts);
    let code = if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    println!("{} failed", total.failed.len());
    Ok(code)
}

fn run_all(args: &Args) -> Result<Total> {
    let total = Mutex::new(Total::default());
    let next = AtomicU64::new(args.seed.unwrap_or(args.from));
    let end = match (args.seed, args.hours) {
        (Some(seed), _) => seed.saturating_add(1),
        (None, Some(_)) => u64::MAX,
        (None, None) => args.from.saturating_add(args.seeds),
    };
    let until = args.hours.map(|hours| Instant::now() + Duration::from_secs_f64(hours * 3_600.0));
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..args.threads.max(1)).map(|_| scope.spawn(|| work(args, &total, &next, end, until))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a run panicked; see above"),
        })
    })?;
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn work(args: &Args, total: &Mutex<Total>, next: &AtomicU64, end: u64, until: Option<Instant>) -> Result<()> {
    let dir = ostk_sim::scratch()?;
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let over = until.is_some_and(|until| Instant::now() > until);
        if seed >= end || over || lock(total).failed.len() >= MAX_FAILURES {
            return Ok(());
        }
        let run = match args.outage {
            Some(agents) => ostk_sim::run_outage(seed, agents, dir.path())?,
            None => ostk_sim::run(seed, &args.settings(), dir.path())?,
        };
        if !run.wrong.is_empty() {
            report(&run, args, dir.path())?;
        }
        let mut total = lock(total);
        total.runs += 1;
        total.counts.merge(&run.counts);
        if !run.wrong.is_empty() {
            total.failed.push(run);
        }
    }
}

/// Prints a failure, and with how few steps it still comes.
#[expect(clippy::print_stdout, reason = "a program that prints a report")]
fn report(run: &Run, args: &Args, dir: &Path) -> Result<()> {
    let settings = args.settings();
    println!("seed {} failed at step {}, commit {}:", run.seed, run.steps, commit());
    for what in run.wrong.iter().take(5) {
        println!("  {what}");
    }
    match args.outage {
        Some(agents) => println!("  again: ostk-sim --outage {agents} --seed {}", run.seed),
        None if args.steps.is_some() || args.trace => {}
        None => {
            let steps = shrink(run, &settings, dir)?;
            println!("  again: ostk-sim --seed {} --steps {steps} --trace", run.seed);
        }
    }
    Ok(())
}

/// The fewest steps that fail, as far as halving finds them.
fn shrink(run: &Run, settings: &Settings, dir: &Path) -> Result<usize> {
    let (mut low, mut high) = (0, run.steps);
    while low < high {
        let middle = low + (high - low) / 2;
        let settings = Settings { steps: Some(middle), trace: false, ..settings.clone() };
        if ostk_sim::run(run.seed, &settings, dir)?.wrong.is_empty() {
            low = middle + 1
        } else {
            high = middle
        }
    }
    Ok(high)
}

fn commit() -> String {
    let asked = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
