//! The daemon under test: started, killed without warning, started again. Only the child that this run started is ever
//! signalled.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use libostk::{Client, Identity};

use crate::{fleet::Victim, rng::Rng, scratch::Scratch};

/// How often the killer looks around.
const LOOK: Duration = Duration::from_millis(2);
/// A daemon may take this long to close its log.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// A daemon that ends by itself more often than this does not work at all.
const MAX_SURPRISES: usize = 5;

/// Starts and stops daemons.
#[derive(Debug)]
pub(crate) struct Daemon<'a> {
    scratch: &'a Scratch,
    program: PathBuf,
    child: Option<Child>,
    pub(crate) starts: u64,
    pub(crate) kills: u64,
    /// Daemons that ended although nobody had killed them.
    pub(crate) surprises: Vec<String>,
}

impl<'a> Daemon<'a> {
    pub(crate) fn start(scratch: &'a Scratch, program: PathBuf) -> Result<Self> {
        let mut daemon = Self { scratch, program, child: None, starts: 0, kills: 0, surprises: Vec::new() };
        daemon.spawn()?;
        Ok(daemon)
    }

    fn log(&self) -> PathBuf {
        self.scratch.home.join("daemon.log")
    }

    fn spawn(&mut self) -> Result<()> {
        let errors: File = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = self.scratch.command(&self.program);
        let child = command.arg("listen").stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        self.child = Some(child.context("the daemon cannot be started")?);
        self.starts += 1;
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
            self.kills += 1;
        }
        Ok(())
    }

    /// Starts another daemon if this one ended by itself.
    fn revive(&mut self) -> Result<()> {
        let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() else {
            return Ok(());
        };
        let said = std::fs::read_to_string(self.log()).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let said: Vec<&str> = last.into_iter().rev().collect();
        self.surprises.push(format!("the daemon ended by itself ({status}): {}", said.join(" | ")));
        if self.surprises.len() >= MAX_SURPRISES {
            bail!("the daemon keeps ending by itself: {}", said.join(" | "));
        }
        self.spawn()
    }

    /// Kills the daemon and clients in turn, `kills` times, spread over the clients' progress, until `over` is set.
    pub(crate) fn torment(&mut self, plan: &Torment<'_>, mut rng: Rng) -> Result<()> {
        let (mut next, mut strikes) = (1, 0_u64);
        while !plan.over.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
            self.revive()?;
            let due = plan.total * next / (plan.kills + 1);
            if next > plan.kills || plan.progress.load(Ordering::Relaxed) < due {
                continue;
            }
            next += 1;
            thread::sleep(Duration::from_micros(rng.next() % 20_000));
            strikes += 1;
            if strikes.is_multiple_of(2) && kill_one(plan.victims, &mut rng)? {
                continue;
            }
            self.kill()?;
            self.spawn()?;
            // Now and then the new one does not live to see the end of its recovery.
            if rng.chance(30) && next <= plan.kills {
                next += 1;
                thread::sleep(Duration::from_micros(rng.next() % 150_000));
                self.kill()?;
                self.spawn()?;
            }
        }
        Ok(())
    }

    /// Stops the daemon in good order; it has written everything down by then.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let deadline = Instant::now() + STOP_DEADLINE;
        let mut client = self.client(deadline)?;
        client.attach(&Identity::Operator("torture".to_owned()), "torture", None)?;
        client.request("kernel/stop", &serde_json::json!({}), Duration::from_secs(10))?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("the daemon did not stop within {STOP_DEADLINE:?}");
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(crate) fn restart(&mut self) -> Result<()> {
        self.spawn()
    }

    fn client(&mut self, deadline: Instant) -> Result<Client> {
        loop {
            self.revive()?;
            match Client::connect(&self.scratch.state_dir().join("run/ostk.sock")) {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => thread::sleep(LOOK),
            }
        }
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The run is over; a child that is gone already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Kills one of the clients that run; false if none does.
fn kill_one(victims: &[Victim], rng: &mut Rng) -> Result<bool> {
    let first = rng.below(victims.len());
    let (before, from) = victims.split_at(first);
    for victim in from.iter().chain(before) {
        if victim.kill()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// When to kill, and whom besides the daemon.
#[derive(Debug)]
pub(crate) struct Torment<'a> {
    pub(crate) kills: u64,
    pub(crate) victims: &'a [Victim],
    /// Calls that were answered so far, of `total`.
    pub(crate) progress: &'a AtomicU64,
    pub(crate) total: u64,
    pub(crate) over: &'a AtomicBool,
}
