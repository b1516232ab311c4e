//! How soon a busy agent stands still: from the sending of `SIGSTOP` to the last thing that its command did.
//!
//! Several agents of one daemon each run a command in the sandbox that writes the time into a file, again and again. The
//! last time in the file, less the time at which the signal was sent, is how long the signal took to have its effect.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use libostk::{CallOptions, Client, Identity};
use serde_json::json;

use crate::{daemon::Daemon, figure::Figure};

const AGENTS: usize = 8;
const ROUNDS: usize = 25;
/// A command that has not begun, or not gone on, by then does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes in which the last whole line is.
const TAIL: u64 = 64;
const POLL: Duration = Duration::from_millis(2);
/// Longer than anything that was under way could take.
const STILL: Duration = Duration::from_millis(100);

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>> {
    let root = dir.join("signals");
    let daemon = Daemon::start(&root)?;
    let mut operator = daemon.connect()?;
    operator.attach(&Identity::Operator("bench".to_owned()), "bench", None)?;
    let commands = (0..AGENTS)
        .map(|number| {
            let client = daemon.connect()?;
            Ok(thread::spawn(move || keep_busy(client, number)))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut took = Vec::new();
    for round in 0..ROUNDS * AGENTS {
        took.push(stop_and_go(&root, &mut operator, round % AGENTS)?);
    }
    for (number, command) in commands.into_iter().enumerate() {
        signal(&mut operator, number, "SIGKILL")?;
        command.join().map_err(|_| anyhow::anyhow!("a busy agent panicked"))?;
    }
    Ok(vec![Figure::low("SIGSTOP until a busy agent stands still", "ms", took).median(50.0)])
}

/// A command that ends when its agent is killed.
fn keep_busy(mut client: Client, number: usize) {
    let name = format!("busy-{number}");
    let line = format!("while :; do date +%s%N >> {name}; done");
    let options = CallOptions { timeout: Some(Duration::from_secs(600)), ..CallOptions::default() };
    if client.attach(&Identity::Lineage(name), "bench", None).is_ok() {
        // It is killed, so it fails.
        let _ = client.call("shell.run", &json!({ "command": line, "timeout_ms": 600_000 }), &options);
    }
}

/// Milliseconds until the agent stands still; then it goes on.
fn stop_and_go(root: &Path, operator: &mut Client, number: usize) -> Result<f64> {
    let file = root.join(format!("busy-{number}"));
    let before = last(&file);
    moves_on(&file, before)?;
    let sent = now();
    signal(operator, number, "SIGSTOP")?;
    thread::sleep(STILL);
    let still = last(&file).context("the command's file is gone")?;
    thread::sleep(STILL);
    ensure!(last(&file) == Some(still), "a stopped agent goes on");
    signal(operator, number, "SIGCONT")?;
    moves_on(&file, Some(still))?;
    Ok(still.saturating_sub(sent) as f64 / 1e6)
}

fn moves_on(file: &Path, from: Option<u64>) -> Result<()> {
    let tries = PATIENCE.as_millis() / POLL.as_millis();
    for _ in 0..tries {
        if last(file).is_some_and(|time| Some(time) != from) {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    anyhow::bail!("{} does not move on", file.display())
}

/// The time that the command wrote last, nanoseconds since 1970.
fn last(file: &Path) -> Option<u64> {
    let mut file = File::open(file).ok()?;
    let start = file.metadata().ok()?.len().saturating_sub(TAIL);
    let mut text = String::new();
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_string(&mut text)).ok()?;
    let whole = text.rsplit_once('\n')?.0;
    whole.lines().next_back()?.parse().ok()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn signal(operator: &mut Client, number: usize, signal: &str) -> Result<()> {
    let args = json!({ "lineage": format!("busy-{number}"), "signal": signal });
    operator.call("agent.signal", &args, &CallOptions::default())?;
    Ok(())
}
