//! `ostk demo`: the main job on a copy of a real repository.
//!
//! A fleet of native agents, driven by transcripts through the same code as a real model, edits the same files at the
//! same time; the daemon is killed in the middle; then the log and the files are checked by a judge of their own.

mod check;
mod script;

use std::{
    env, fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use libostk::{CallOptions, Client, ClientError, Identity, Project};
use scripted_model::ScriptedModel;
use serde_json::{Value, json};

use super::Done;
use crate::{
    args::Demo,
    failure::Failure,
    output::{Output, Paint},
};

/// The whole demo must be over by then.
const DEADLINE: Duration = Duration::from_secs(180);
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(30);

pub(crate) fn demo(args: &Demo, output: &Output) -> Done {
    let started = Instant::now();
    let source = match &args.repo {
        Some(path) => path.clone(),
        None => env::current_dir()?,
    };
    let scratch = Scratch::new(args.keep)?;
    let root = scratch.dir.join("repository");
    clone(&source, &root)?;
    ostk_daemon::init(&root).map_err(Failure::check)?;
    let tracked = git(&root, &["ls-files"])?;
    let tracked: Vec<String> = tracked.lines().map(str::to_owned).collect();
    let workers = usize::try_from(args.workers).unwrap_or(4);
    let plan = script::plan(&script::targets(&root, &tracked), workers).ok_or_else(|| {
        Failure::check("the repository has fewer than four source files of 40 to 3,000 lines")
            .hint("choose another one: ostk demo --repo PATH")
    })?;
    let model = ScriptedModel::start(plan.script).map_err(Failure::check)?;
    let mut fleet = Fleet {
        project: Project::at(&root),
        model_url: model.base_url(),
        keys: scratch.dir.join("keys"),
        daemon: None,
        restarts: 0,
        output: *output,
    };
    fleet.start_daemon()?;
    let outcome = fleet.work(workers, &plan.files, &plan.outside, started);
    let figures = outcome.and_then(|()| fleet.figures(workers));
    fleet.stop_daemon();
    let agents = figures?;
    let verdict = check::check(&root)?;
    let mut problems = verdict.problems.clone();
    problems.extend(verdict.lost.iter().map(|lost| format!("lost: {lost}")));
    problems.extend(model.unmet().into_iter().map(|unmet| format!("transcript: {unmet}")));
    if scratch.dir.join("outside-the-bounds.txt").exists() {
        problems.push("a write escaped the workspace".to_owned());
    }
    for (what, count) in [
        ("merged", verdict.merged),
        ("assisted", verdict.assisted),
        ("refused", verdict.refusals.len() as u64),
    ] {
        if count == 0 {
            problems.push(format!("nothing was {what}: the demo did not exercise it"));
        }
    }
    for agent in agents.iter().filter(|agent| agent["outcome"]["kind"] != "done") {
        problems.push(format!("{} did not finish: {}", agent["lineage"], agent["outcome"]));
    }
    let rows: Vec<Value> = agents.iter().map(|agent| row(agent, &verdict)).collect();
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = json!({ "ok": problems.is_empty(), "repo": root, "journal": root.join(".ostk/journal.jsonl"),
        "restarts": fleet.restarts, "elapsed_ms": elapsed_ms, "acknowledged": verdict.acknowledged,
        "lost": verdict.lost.len(), "merged": verdict.merged, "assisted": verdict.assisted,
        "refused": verdict.refusals.len(), "records": verdict.records, "agents": rows });
    output.show(&report, |output| screen(output, &report, &verdict, &problems, args.keep));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn row(agent: &Value, verdict: &check::Verdict) -> Value {
    let lineage = agent["lineage"].as_str().unwrap_or("");
    let (acknowledged, refused) = verdict.by_lineage.get(lineage).copied().unwrap_or_default();
    json!({ "lineage": lineage, "turns": agent["turns"], "acknowledged": acknowledged, "refused": refused, "tokens": agent["tokens"] })
}

/// A directory of the demo's own, removed at the end unless it is to be kept.
struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    fn new(keep: bool) -> Result<Self, Failure> {
        let dir = env::temp_dir().join(format!("ostk-demo-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self { dir: dir.canonicalize()?, keep })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed lies in the system's temporary directory.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// The daemon and the agents under it.
struct Fleet {
    project: Project,
    model_url: String,
    keys: PathBuf,
    daemon: Option<Child>,
    restarts: u64,
    output: Output,
}

impl Fleet {
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

    fn work(
        &mut self,
        workers: usize,
        files: &[String],
        outside: &(String, String),
        started: Instant,
    ) -> Result<(), Failure> {
        let mut client = self.client()?;
        for file in files {
            client.call("file.read", &json!({ "path": file }), &CallOptions::default())?;
        }
        for worker in 1..=workers {
            let agentfile =
                "FROM claude-sonnet-4-6\nPROMPT You share a repository with other agents.\nLIMIT turns 100\n";
            let task =
                format!("You are worker-{worker} of {workers}. Improve these files: {}.", files.join(", "));
            let call = json!({ "name": format!("worker-{worker}"), "agentfile": agentfile, "task": task });
            client.call("agent.spawn", &call, &CallOptions::default())?;
        }
        self.say(&format!("{workers} agents work on {} files of a copy of the repository", files.len()));
        let mut edited = false;
        loop {
            if started.elapsed() > DEADLINE {
                return Err(Failure::check("the agents did not finish in time"));
            }
            let (writes, running) = self.progress(&mut client, workers)?;
            if !edited && writes >= 2 {
                edited = true;
                edit_outside(self.project.root(), outside)?;
                self.say(&format!("{} was edited outside the kernel", outside.0));
            }
            if self.restarts == 0 && writes >= workers * 3 {
                client = self.kill_and_restart()?;
            }
            if running == 0 {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    /// Acknowledged writes so far and agents that still run.
    fn progress(&self, client: &mut Client, workers: usize) -> Result<(usize, usize), Failure> {
        let rows = client.call("ps", &json!({}), &CallOptions::default())?["processes"].take();
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let native = || rows.iter().filter(|row| row["kind"] == "native");
        let writes: u64 = native().filter_map(|row| row["writes"].as_u64()).sum();
        let running = native().filter(|row| row["state"] == "running").count();
        self.tick(&format!("{writes} writes acknowledged, {running} of {workers} agents at work"));
        Ok((usize::try_from(writes).unwrap_or(usize::MAX), running))
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

    fn figures(&mut self, workers: usize) -> Result<Vec<Value>, Failure> {
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

    fn stop_daemon(&mut self) {
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

/// A killed daemon's socket may take a connection a moment longer, while one of its commands starts: that answers nothing.
fn attach(socket: &Path) -> Result<Client, ClientError> {
    let mut client = Client::connect(socket)?;
    client.attach(&Identity::Operator("operator".to_owned()), "ostk demo", None)?;
    Ok(client)
}

fn clone(source: &Path, target: &Path) -> Result<(), Failure> {
    let status = Command::new("git")
        .args(["clone", "--quiet", "--no-hardlinks"])
        .arg(source)
        .arg(target)
        .stderr(Stdio::piped())
        .output()?;
    if status.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&status.stderr).trim().to_owned();
    Err(Failure::check(format!("{} cannot be cloned: {said}", source.display()))
        .hint("ostk demo --repo PATH names a git repository"))
}

fn git(root: &Path, args: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git").args(args).current_dir(root).output()?;
    if !output.status.success() {
        return Err(Failure::check(format!(
            "git {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

fn screen(
    output: &Output,
    report: &Value,
    verdict: &check::Verdict,
    problems: &[String],
    keep: bool,
) -> String {
    let agents = report["agents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let cell = |agent: &Value, name: &str| {
        agent[name].as_str().map_or_else(|| agent[name].to_string(), str::to_owned)
    };
    let rows: Vec<Vec<String>> = agents
        .iter()
        .map(|agent| {
            ["lineage", "turns", "acknowledged", "refused", "tokens"].map(|name| cell(agent, name)).to_vec()
        })
        .collect();
    let mut lines = vec![
        String::new(),
        output.table(&["AGENT", "TURNS", "ACKNOWLEDGED", "REFUSED", "TOKENS"], &rows),
        String::new(),
    ];
    lines.push(format!(
        "{} writes acknowledged, {} lost; {} merged, {} assisted, {} refused; {} records, all verified; {} restart",
        report["acknowledged"], report["lost"], report["merged"], report["assisted"], report["refused"], report["records"], report["restarts"]
    ));
    lines.extend(
        verdict.refusals.iter().map(|reason| format!("{} {reason}", output.paint(Paint::Yellow, "refused"))),
    );
    lines.extend(problems.iter().map(|problem| format!("{} {problem}", output.paint(Paint::Red, "✗"))));
    if problems.is_empty() {
        lines.push(output.paint(
            Paint::Green,
            "✓ every acknowledged write is in the final files, and the files equal the log",
        ));
    }
    if keep {
        lines.push(format!("kept: {}", report["repo"].as_str().unwrap_or("")));
    }
    lines.join("\n")
}
