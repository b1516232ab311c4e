//! The whole run: set up, let loose, settle, restart, check.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use libostk::Identity;
use serde_json::{Value, json};

use crate::{
    check,
    daemon::{Daemon, Torment},
    fleet::{self, Account, Victim},
    ledger::Deed,
    link::{Failure, Link},
    outside, replay,
    report::Report,
    rng::Rng,
    scratch::Scratch,
    turns::Turns,
    worker::{Memory, Task},
};

/// Signatures that the script checks within a few seconds.
const MAX_SLOW_SIGNATURES: u64 = 1_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary under test.
    pub ostk: PathBuf,
    /// This program, which is started as each client.
    pub torture: PathBuf,
    /// How many clients.
    pub clients: u64,
    /// Calls of each client.
    pub edits: u64,
    /// Files that all of them edit.
    pub files: u64,
    /// How often the daemon or a client is killed.
    pub kills: u64,
    /// Decides every choice of the clients.
    pub seed: u64,
    /// Whether the repository stays.
    pub keep: bool,
    /// Clients begin no call later than this.
    pub limit: Duration,
}

/// Tortures the daemon and judges the result.
///
/// # Errors
/// When the run could not take place: no scratch directory, no git, a daemon that does not start. What the daemon did
/// wrong is in the report.
pub fn run(options: &Options) -> Result<Report> {
    let started = Instant::now();
    let dir = tempfile::Builder::new().prefix("ostk-torture-").tempdir()?;
    let ostk = options.ostk.canonicalize().with_context(|| format!("{}", options.ostk.display()))?;
    let files = usize::try_from(options.files)?;
    let scratch = Scratch::make(&dir.path().canonicalize()?, files, options.seed)?;
    say(scratch.command(&ostk).args(["init", "--json"]))?;
    let mut report = Report { seed: options.seed, ..Report::default() };
    let mut deeds = Vec::new();
    let outcome = torture(&scratch, &ostk, options, &mut report, &mut deeds);
    let outcome = outcome.and_then(|()| check::check(&scratch.root, &shared(&scratch), &deeds, &mut report));
    if options.keep {
        report.kept = Some(dir.keep().to_string_lossy().into_owned());
    }
    outcome?;
    report.ok = report.problem_count == 0;
    report.elapsed_ms = u64::try_from(started.elapsed().as_millis())?;
    Ok(report)
}

fn shared(scratch: &Scratch) -> Vec<(String, Vec<String>)> {
    scratch.shared.iter().map(|file| (file.path.clone(), file.lines.clone())).collect()
}

fn torture(
    scratch: &Scratch,
    ostk: &Path,
    options: &Options,
    report: &mut Report,
    deeds: &mut Vec<Deed>,
) -> Result<()> {
    let mut daemon = Daemon::start(scratch, ostk.to_owned())?;
    let victims: Vec<Victim> = (0..options.clients).map(|_| Victim::default()).collect();
    let accounts = let_loose(scratch, options, &mut daemon, &victims, deeds)?;
    report.counts.clients_killed = victims.iter().map(Victim::killed).sum();
    for account in accounts {
        report.counts.conflicts += account.conflicts;
        report.counts.accepted += account.accepted;
        report.counts.repeated += account.repeated;
        account.problems.into_iter().for_each(|what| report.wrong(what));
        deeds.extend(account.deeds);
    }
    let before = settle(scratch)?;
    daemon.stop()?;
    compare(scratch, &before, "before a restart", report)?;
    daemon.restart()?;
    let after = state_hash(&mut link(scratch, &operator()))?;
    daemon.stop()?;
    compare(scratch, &after, "after a restart", report)?;
    verify(scratch, report)?;
    daemon.surprises.iter().for_each(|what| report.wrong(what.clone()));
    report.counts.kills = daemon.kills;
    report.counts.restarts = daemon.starts - 1;
    Ok(())
}

/// Runs clients, the editor outside and the killer until the clients are done.
fn let_loose(
    scratch: &Scratch,
    options: &Options,
    daemon: &mut Daemon<'_>,
    victims: &[Victim],
    deeds: &mut Vec<Deed>,
) -> Result<Vec<Account>> {
    let (over, progress) = (AtomicBool::new(false), AtomicU64::new(0));
    let locks = scratch.home.join("turns");
    let turns = Turns::new(&locks, &scratch.shared)?;
    let until = Instant::now() + options.limit;
    let total = options.clients * options.edits;
    let torment = Torment { kills: options.kills, victims, progress: &progress, total, over: &over };
    let task = |number: u64| Task {
        name: format!("c{number}"),
        socket: socket(scratch),
        seed: options.seed,
        stream: 100 + number,
        shared: scratch.shared.clone(),
        turns: locks.clone(),
        steps: options.edits,
        limit_ms: 0,
        memory: Memory::default(),
        open: None,
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..options.clients)
            .zip(victims)
            .map(|(number, victim)| {
                let (task, program, progress) = (task(number), &options.torture, &progress);
                scope.spawn(move || fleet::run(program, task, until, victim, progress))
            })
            .collect();
        let outside = scope.spawn(|| outside::edit(&scratch.root, &turns, &over, Rng::new(options.seed, 2)));
        let killer = scope.spawn(|| daemon.torment(&torment, Rng::new(options.seed, 3)));
        let accounts: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        killer.join().map_err(|_| anyhow!("the killer panicked"))??;
        deeds.extend(outside.join().map_err(|_| anyhow!("the editor outside panicked"))??);
        accounts.into_iter().map(|account| account.map_err(|_| anyhow!("a client panicked"))?).collect()
    })
}

fn socket(scratch: &Scratch) -> PathBuf {
    scratch.state_dir().join("run/ostk.sock")
}

fn operator() -> Identity {
    Identity::Operator("torture".to_owned())
}

fn link(scratch: &Scratch, identity: &Identity) -> Link {
    Link::new(socket(scratch), identity.clone())
}

/// Touches every file, so that the daemon has seen what the editor outside did last; then asks for the state's digest.
fn settle(scratch: &Scratch) -> Result<Value> {
    let mut link = link(scratch, &operator());
    let mut paths = check::paths_in_log(&scratch.state_dir())?;
    paths.extend(check::files_below(&scratch.root)?);
    for path in paths {
        match link.call("file.read", &json!({ "path": path }), None) {
            Ok(_) => {}
            Err(Failure::Refused { code, .. }) if code == "not_found" => {}
            Err(failure) => bail!("{path} cannot be read at the end: {failure:?}"),
        }
    }
    state_hash(&mut link)
}

fn state_hash(link: &mut Link) -> Result<Value> {
    link.call("kernel.state_hash", &json!({}), None).map_err(|failure| anyhow!("state hash: {failure:?}"))
}

/// The state that the daemon had in memory must be the fold of the records it had written by then.
fn compare(scratch: &Scratch, told: &Value, when: &str, report: &mut Report) -> Result<()> {
    let next_seq = told.get("next_seq").and_then(Value::as_u64).context("no next_seq")?;
    let folded = replay::state_hash(&scratch.state_dir(), next_seq)?;
    if told.get("state_hash").and_then(Value::as_str) != Some(folded.as_str()) {
        report.wrong(format!(
            "state {when}: the daemon had {told}, the fold of {next_seq} records is {folded}"
        ));
    }
    Ok(())
}

/// The log's own check with every signature, and that of the book's script, which shares no code with it. The script
/// takes some milliseconds for each signature, so on a long log it leaves them to the first.
fn verify(scratch: &Scratch, report: &mut Report) -> Result<()> {
    let found = libostk::verify(&scratch.state_dir(), true)?;
    report.counts.records = found.records;
    for problem in found.problems {
        report.wrong(format!("audit verify: {}", problem.what));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(scratch.state_dir());
    if found.records <= MAX_SLOW_SIGNATURES {
        python.arg("--deep");
    }
    let output = python.output().context("python3")?;
    if !output.status.success() {
        let said: String = String::from_utf8_lossy(&output.stdout).chars().take(500).collect();
        report.wrong(format!("verify.py: {}: {said}", output.status));
    }
    Ok(())
}

fn say(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
