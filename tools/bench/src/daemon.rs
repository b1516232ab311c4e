//! The daemon as a whole process: how fast it starts, how much memory it holds.
//!
//! [`Daemon`] is an `ostk listen` on an empty project of its own, with keys of its own; `call` uses it too. A start is
//! measured from the spawn of the process to the answer to a first call.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use libostk::{CallOptions, Client, Identity, Project};
use serde_json::json;

use crate::{figure::Figure, machine};

/// Starts that are measured, each on a project of its own.
const STARTS: usize = 21;
const LINEAGES: usize = 1_000;
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Between two tries to connect.
const POLL: Duration = Duration::from_micros(200);
/// What the start left to do ends within it.
const SETTLE: Duration = Duration::from_secs(1);

/// A running daemon; it is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    project: Project,
    /// From the spawn to the first answer.
    start: Duration,
}

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>> {
    let mut starts = Vec::new();
    for number in 0..STARTS {
        let daemon = Daemon::start(&dir.join(format!("project{number}")))?;
        starts.push(daemon.start.as_secs_f64() * 1e3);
    }
    let daemon = Daemon::start(&dir.join("memory"))?;
    thread::sleep(SETTLE);
    let idle = daemon.rss_mib()?;
    // Lineages of one connection: a thousand connections would need more files than a process may open by default.
    let mut client = daemon.connect()?;
    for _ in 0..LINEAGES {
        client.attach(&Identity::Agent("idle".to_owned()), "bench", None)?;
    }
    thread::sleep(SETTLE);
    let full = daemon.rss_mib()?;
    Ok(vec![
        Figure::low("start to first answer, empty project", "ms", starts).median(30.0),
        Figure::low("memory, idle", "MiB", vec![idle]).median(25.0),
        Figure::low("memory, 1,000 idle lineages", "MiB", vec![full]).median(200.0),
    ])
}

impl Daemon {
    /// Makes a project at `root` and starts its daemon.
    pub(crate) fn start(root: &Path) -> Result<Self> {
        fs::create_dir_all(root)?;
        let git = Command::new("git").args(["init", "--quiet"]).current_dir(root).status()?;
        let made = git.success() && ostk(root, &["init"])?.status()?.success();
        ensure!(made, "no project could be made");
        Self::listen(root)
    }

    /// Starts the daemon of the project at `root`.
    pub(crate) fn listen(root: &Path) -> Result<Self> {
        let project = Project::at(root);
        let begun = Instant::now();
        let child = ostk(root, &["listen"])?.spawn()?;
        let mut daemon = Self { child, project, start: Duration::ZERO };
        daemon.first_answer(begun)?;
        daemon.start = begun.elapsed();
        Ok(daemon)
    }

    fn first_answer(&mut self, begun: Instant) -> Result<()> {
        let mut client = loop {
            match Client::connect(&self.project.socket()) {
                Ok(client) => break client,
                Err(error) if begun.elapsed() > START_DEADLINE => return Err(error.into()),
                Err(_) => thread::sleep(POLL),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended: {status}");
            }
        };
        client.attach(&Identity::Operator("bench".to_owned()), "bench", None)?;
        client.call("ps", &json!({}), &CallOptions::default())?;
        Ok(())
    }

    /// From the spawn of the process to the answer to a first call.
    pub(crate) const fn start_took(&self) -> Duration {
        self.start
    }

    /// Stops it in good order.
    pub(crate) fn stop(mut self) -> Result<()> {
        let mut client = self.connect()?;
        client.attach(&Identity::Operator("bench".to_owned()), "bench", None)?;
        client.request("kernel/stop", &json!({}), START_DEADLINE)?;
        ensure!(self.child.wait()?.success(), "the daemon did not stop in good order");
        Ok(())
    }

    pub(crate) fn connect(&self) -> Result<Client> {
        Ok(Client::connect(&self.project.socket())?)
    }

    /// Resident memory in MiB.
    fn rss_mib(&self) -> Result<f64> {
        let status = format!("/proc/{}/status", self.child.id());
        let field = machine::field(&status, "VmRSS").context("the daemon has no VmRSS")?;
        let kib: f64 = field.trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

/// The program under test, in the project at `root`, with the keys beside it.
fn ostk(root: &Path, args: &[&str]) -> Result<Command> {
    let binary = std::env::current_exe()?.with_file_name("ostk");
    ensure!(binary.is_file(), "{} is missing: cargo build --release -p ostk", binary.display());
    let mut command = Command::new(binary);
    command.args(args).current_dir(root).env("OSTK_KEYS_DIR", root.join("../keys")).env_remove("OSTK_DIR");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; its project is thrown away either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
