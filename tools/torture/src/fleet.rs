//! The clients, each a process: started, listened to, killed without warning, started again from where it was.
//!
//! A client's own account is what it said before it was killed. The last thing may be a call without an answer; the
//! next process of the same client repeats it with its key, and what that answers is the answer.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{
    ledger::{Answer, Deed},
    worker::{Attempt, Task, Word},
};

/// Streams of random numbers of one client lie so far apart.
const STREAMS: u64 = 1_000_000;

/// What a client hands in.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) conflicts: u64,
    pub(crate) accepted: u64,
    pub(crate) repeated: u64,
    /// What the answers themselves showed to be wrong.
    pub(crate) problems: Vec<String>,
}

/// The process of a client, for whoever wants to kill it.
#[derive(Debug, Default)]
pub(crate) struct Victim {
    child: Mutex<Option<Child>>,
    killed: AtomicU64,
}

impl Victim {
    /// Kills the process that runs now; the client goes on in another.
    pub(crate) fn kill(&self) -> Result<bool> {
        let mut child = self.lock();
        let Some(child) = child.as_mut() else { return Ok(false) };
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        child.kill()?;
        self.killed.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    pub(crate) fn killed(&self) -> u64 {
        self.killed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a client to the end of its task, in as many processes as it takes. `progress` counts steps.
///
/// # Errors
/// When a process cannot be started, or ends by itself before its task does.
pub(crate) fn run(
    program: &Path,
    mut task: Task,
    until: Instant,
    victim: &Victim,
    progress: &AtomicU64,
) -> Result<Account> {
    let mut account = Account::default();
    let stream = task.stream * STREAMS;
    while task.steps > 0 || task.open.is_some() {
        let lives = victim.killed();
        task.stream = stream + lives;
        let left = until.saturating_duration_since(Instant::now());
        task.limit_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        live(program, &mut task, victim, progress, &mut account)?;
        if victim.killed() == lives && (task.steps > 0 || task.open.is_some()) {
            bail!("client {} ended by itself with {} steps to go", task.name, task.steps);
        }
    }
    Ok(account)
}

/// One process of a client, until it ends.
fn live(
    program: &Path,
    task: &mut Task,
    victim: &Victim,
    progress: &AtomicU64,
    account: &mut Account,
) -> Result<()> {
    let mut child = Command::new(program)
        .arg("--worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{}", program.display()))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    *victim.lock() = Some(child);
    if let Some(mut input) = input {
        // It may have been killed before it had read its task; then the next process is given the same.
        let _ = input.write_all(&serde_json::to_vec(&*task)?);
    }
    for line in BufReader::new(output.context("no output")?).lines() {
        // A line that was cut was not said.
        let Ok(word) = serde_json::from_str::<Word>(&line?) else { break };
        hear(word, task, progress, account);
    }
    let child = victim.lock().take();
    child.map(|mut child| child.wait()).transpose()?;
    Ok(())
}

fn hear(word: Word, task: &mut Task, progress: &AtomicU64, account: &mut Account) {
    match word {
        Word::Begun(attempt) => {
            task.memory.begin(&attempt);
            task.open = Some(attempt);
        }
        Word::Answered(answer) => {
            if let Some(open) = task.open.take() {
                task.memory.learn(&open, &answer);
                account.deeds.push(deed(&task.name, open, answer));
            }
        }
        Word::Step => {
            task.steps -= 1;
            progress.fetch_add(1, Ordering::Relaxed);
        }
        Word::Conflict => account.conflicts += 1,
        Word::Accepted => account.accepted += 1,
        Word::Repeated(calls) => account.repeated += calls,
        Word::Problem(what) => account.problems.push(what),
    }
}

fn deed(who: &str, attempt: Attempt, answer: Answer) -> Deed {
    let Attempt { key, verb, adds, removes, .. } = attempt;
    Deed { key, who: who.to_owned(), verb, adds, removes, answer }
}
