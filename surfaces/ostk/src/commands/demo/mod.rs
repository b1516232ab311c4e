//! `ostk demo`: the main job on a copy of a real repository.
//!
//! A fleet of native agents, driven by transcripts through the same code as a real model, edits the same files at the
//! same time; the daemon is killed in the middle; then the log and the files are checked by a judge of their own.

mod check;
mod fleet;
mod report;
mod script;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use scripted_model::ScriptedModel;
use serde_json::{Value, json};

use super::Done;
use crate::{args::Demo, failure::Failure, git::git, output::Output};

pub(crate) fn demo(args: &Demo, output: &Output) -> Done {
    let started = Instant::now();
    let scratch = Scratch::new(args.keep)?;
    let root = scratch.dir.join("repository");
    clone(args.repo.as_deref().unwrap_or(&env::current_dir()?), &root)?;
    ostk_daemon::init(&root, None).map_err(Failure::check)?;
    let workers = usize::try_from(args.workers).unwrap_or(4);
    let plan = plan(&root, workers)?;
    let model = ScriptedModel::start(plan.script).map_err(Failure::check)?;
    let mut fleet = fleet::Fleet::start(&root, model.base_url(), *output)?;
    let done = fleet.work(workers, &plan.files, &plan.outside);
    let figures = done.and_then(|()| Ok((fleet.figures(workers)?, fleet.blame(&plan.files)?)));
    fleet.stop();
    let (agents, blame) = figures?;
    let verdict = check::check(&root, &blame)?;
    let mut problems = problems(&verdict, &agents);
    problems.extend(model.unmet().into_iter().map(|unmet| format!("transcript: {unmet}")));
    if scratch.dir.join("outside-the-bounds.txt").exists() {
        problems.push("a write escaped the workspace".to_owned());
    }
    let rows: Vec<Value> = agents.iter().map(|agent| row(agent, &verdict)).collect();
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = json!({ "ok": problems.is_empty(), "repo": root, "journal": root.join(".ostk/journal.jsonl"),
        "restarts": fleet.restarts(), "elapsed_ms": elapsed_ms, "acknowledged": verdict.acknowledged,
        "lost": verdict.lost.len(), "merged": verdict.merged, "assisted": verdict.assisted,
        "refused": verdict.refusals.len(), "records": verdict.records, "agents": rows });
    output.show(&report, |output| report::screen(output, &report, &verdict, &blame, &problems, args.keep));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What the agents will do with the files of the repository.
fn plan(root: &Path, workers: usize) -> Result<script::Plan, Failure> {
    let tracked = git(root, &["ls-files"])?;
    let tracked: Vec<String> = tracked.lines().map(str::to_owned).collect();
    script::plan(&script::targets(root, &tracked), workers).ok_or_else(|| {
        Failure::check("the repository has fewer than four source files of 40 to 3,000 lines")
            .hint("choose another one: ostk demo --repo PATH")
    })
}

/// What does not hold.
fn problems(verdict: &check::Verdict, agents: &[Value]) -> Vec<String> {
    let mut problems = verdict.problems.clone();
    problems.extend(verdict.lost.iter().map(|lost| format!("lost: {lost}")));
    let counts = [
        ("merged", verdict.merged),
        ("assisted", verdict.assisted),
        ("refused", verdict.refusals.len() as u64),
    ];
    for (what, _) in counts.iter().filter(|(_, count)| *count == 0) {
        problems.push(format!("nothing was {what}: the demo did not exercise it"));
    }
    for agent in agents.iter().filter(|agent| agent["outcome"]["kind"] != "done") {
        problems.push(format!("{} did not finish: {}", agent["lineage"], agent["outcome"]));
    }
    problems
}

fn row(agent: &Value, verdict: &check::Verdict) -> Value {
    let lineage = agent["lineage"].as_str().unwrap_or("");
    let (acknowledged, refused) = verdict.by_lineage.get(lineage).copied().unwrap_or_default();
    json!({ "lineage": lineage, "turns": agent["turns"], "acknowledged": acknowledged, "refused": refused,
        "tokens": agent["tokens"] })
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
