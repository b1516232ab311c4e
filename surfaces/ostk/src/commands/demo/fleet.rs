//! The daemon of the demo and the agents under it: starts them, kills the daemon in the middle, edits a file beside it,
//! and asks for figures at the end. What comes out of it is judged by `check`.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use libostk::{CallOptions, Client, ClientError, Identity, Project};
use serde_json::{Value, json};

use super::script;
use crate::{failure::Failure, output::Output};

/// The whole demo must be over by then.
const DEADLINE: Duration = Duration::from_secs(180);
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(30);
/// What the agents are.
const AGENTFILE: &str =
    "FROM claude-sonnet-4-6\nPROMPT You share a repository with other agents.\nLIMIT turns 100\n";

/// Who wrote each line of a file, by path: `agent:worker-1`, `human:external`, `initial`.
pub(super) type Blame = BTreeMap<String, Vec<Authored>>;

/// A line and its author.
pub(super) struct Authored {
    pub(super) writer: String,
    pub(super) text: String,
}

/// The daemon and the agents under it.
pub(super) struct Fleet {
    project: Project,
    model_url: String,
    keys: PathBuf,
    daemon: Option<Child>,
    restarts: u64,
    until: Instant,
    output: Output,
}

impl Fleet {
    /// A fleet in the repository at `root`, whose models answer at `model_url`, with its daemon.
    pub(super) fn start(root: &Path, model_url: String, output: Output) -> Result<Self, Failure> {
        let (project, keys) = (Project::at(root), root.with_file_name("keys"));
        let until = Instant::now() + DEADLINE;
        let mut fleet = Self { project, model_url, keys, daemon: None, restarts: 0, until, output };
        fleet.start_daemon()?;
        Ok(fleet)
    }

    /// How often the daemon was killed and started again.
    pub(super) const fn restarts(&self) -> u64 {
        self.restarts
    }

    fn start_daemon(&mut self) -> Result<(), Failure> {
        let log = fs::File::create(self.keys.with_file_name(format!("daemon-{}.log", self.restarts)))?;
        let child = Command::new(env::current_exe()?)
            .arg("listen")
            .current_dir(self.project.root())
            .env_remove("OSTK_DIR")
            .env("ANTHROPIC_BASE_URL", &self.model_url)
            .env("ANTHROPIC_API_KEY", "demo")
            .env("OSTK_KEYS_DIR", &self.keys)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.daemon = Some(child);
        Ok(())
    }

    /// A connection to the daemon, as soon as it answers.
    fn client(&mut self) -> Result<Client, Failure> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match attach(&self.project.socket()) {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(self.dead(&error.to_string())),
                Err(error) => {
                    if self.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten()).is_some() {
                        return Err(self.dead(&error.to_string()));
                    }
                    thread::sleep(Duration::from_millis(3));
                }
            }
        }
    }

    fn dead(&self, why: &str) -> Failure {
        let log = fs::read_to_string(self.keys.with_file_name(format!("daemon-{}.log", self.restarts)));
        Failure::check(format!("the daemon does not answer: {why}\n{}", log.unwrap_or_default()))
    }

    /// Lets the agents work until all of them have ended.
    ///
    /// The edit outside the kernel is made while only those agents work that run no commands: what changes during a
    /// command is ascribed to it.
    pub(super) fn work(
        &mut self,
        workers: usize,
        files: &[String],
        outside: &(String, String),
    ) -> Result<(), Failure> {
        let mut client = self.client()?;
        for file in files {
            client.call("file.read", &json!({ "path": file }), &CallOptions::default())?;
        }
        self.say(&format!("{workers} agents work on {} files of a copy of the repository", files.len()));
        let (busy, quiet): (Vec<usize>, Vec<usize>) =
            (1..=workers).partition(|worker| script::runs_commands(*worker));
        self.spawn(&mut client, &quiet, workers, files)?;
        self.wait(&mut client, workers, |writes| writes >= 2)?;
        edit_outside(self.project.root(), outside)?;
        self.say(&format!("{} was edited outside the kernel", outside.0));
        self.spawn(&mut client, &busy, workers, files)?;
        self.wait(&mut client, workers, |writes| writes >= workers * 3)?;
        client = self.kill_and_restart()?;
        self.wait(&mut client, workers, |_| false)
    }

    fn spawn(
        &self,
        client: &mut Client,
        which: &[usize],
        workers: usize,
        files: &[String],
    ) -> Result<(), Failure> {
        for worker in which {
            let task =
                format!("You are worker-{worker} of {workers}. Improve these files: {}.", files.join(", "));
            let call = json!({ "name": format!("worker-{worker}"), "agentfile": AGENTFILE, "task": task });
            client.call("agent.spawn", &call, &CallOptions::default())?;
        }
        Ok(())
    }

    /// Waits until `enough` writes are acknowledged or no agent is at work.
    fn wait(
        &self,
        client: &mut Client,
        workers: usize,
        enough: impl Fn(usize) -> bool,
    ) -> Result<(), Failure> {
        loop {
            let rows = client.call("ps", &json!({}), &CallOptions::default())?["processes"].take();
            let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
            let native = || rows.iter().filter(|row| row["kind"] == "native");
            let writes: u64 = native().filter_map(|row| row["writes"].as_u64()).sum();
            let running = native().filter(|row| row["state"] == "running").count();
            self.tick(&format!("{writes} writes acknowledged, {running} of {workers} agents at work"));
            if running == 0 || enough(usize::try_from(writes).unwrap_or(usize::MAX)) {
                return Ok(());
            }
            if Instant::now() > self.until {
                return Err(Failure::check("the agents did not finish in time"));
            }
            thread::sleep(LOOK);
        }
    }

    fn kill_and_restart(&mut self) -> Result<Client, Failure> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
            daemon.wait()?;
        }
        self.restarts += 1;
        self.say("the daemon was killed with SIGKILL; a new one takes over");
        self.start_daemon()?;
        self.client()
    }

    /// Each agent's row of the process table.
    pub(super) fn figures(&mut self, workers: usize) -> Result<Vec<Value>, Failure> {
        let mut client = self.client()?;
        let rows = client.call("ps", &json!({}), &CallOptions::default())?["processes"].take();
        let rows = rows.as_array().cloned().unwrap_or_default();
        let agents: Vec<Value> = rows.into_iter().filter(|row| row["kind"] == "native").collect();
        if agents.len() != workers {
            return Err(Failure::check(format!(
                "{} of {workers} agents are in the process table",
                agents.len()
            )));
        }
        Ok(agents)
    }

    /// Who wrote each line of the files.
    pub(super) fn blame(&mut self, files: &[String]) -> Result<Blame, Failure> {
        let mut client = self.client()?;
        let mut blame = Blame::new();
        for path in files {
            let answer = client.call("file.blame", &json!({ "path": path }), &CallOptions::default())?;
            let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let lines = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
            let lines = lines
                .iter()
                .map(|line| Authored { writer: text(line, "writer"), text: text(line, "text") })
                .collect();
            blame.insert(path.clone(), lines);
        }
        Ok(blame)
    }

    /// Stops the daemon in good order.
    pub(super) fn stop(&mut self) {
        if let Ok(mut client) = self.client() {
            let _ = client.request("kernel/stop", &json!({}), Duration::from_secs(10));
        }
        if let Some(mut daemon) = self.daemon.take() {
            for _ in 0..500 {
                if daemon.try_wait().is_ok_and(|status| status.is_some()) {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
            // It had five seconds to close the log.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// A line of progress, on a terminal only; overwritten by the next.
    fn tick(&self, text: &str) {
        if !self.output.is_json() && std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{text}");
        }
    }

    /// A line that stays.
    fn say(&self, text: &str) {
        if !self.output.is_json() {
            let clear = if std::io::stderr().is_terminal() { "\r\u{1b}[K" } else { "" };
            let _ = writeln!(std::io::stderr(), "{clear}{text}");
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// What an editor does: a new file in place of the old one.
fn edit_outside(root: &Path, (path, line): &(String, String)) -> Result<(), Failure> {
    let file = root.join(path);
    let text = fs::read_to_string(&file)?;
    let draft = file.with_extension("demo-editor");
    fs::write(&draft, format!("{line}\n{text}"))?;
    fs::rename(draft, file)?;
    Ok(())
}

/// A killed daemon's socket may take a connection a moment longer, while one of its commands starts: that answers nothing.
fn attach(socket: &Path) -> Result<Client, ClientError> {
    let mut client = Client::connect(socket)?;
    client.attach(&Identity::Operator("operator".to_owned()), "ostk demo", None)?;
    Ok(client)
}
