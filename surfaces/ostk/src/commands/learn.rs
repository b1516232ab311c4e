//! `ostk learn`: runs a command, watches what it asks the system for, and proposes the least pin for it.
//!
//! The command runs twice: once contained as any agent's command, and once under the pin, for a pin that was not tried
//! is a guess. `ostk-policy` decides what goes into the pin; the daemon runs and records both.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use libostk::{CallOptions, Project};
use ostk_policy::{Pin, Seen, propose};
use serde_json::{Value, json};

use super::{
    Done,
    inspect::cwd,
    pin,
    run::{command_line, stem},
};
use crate::{
    args::Learn,
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// Deadline of each of the two runs: the longest that a command may ask for.
const DEADLINE: Duration = Duration::from_secs(3600);

pub(crate) fn learn(args: &Learn, output: &Output) -> Done {
    let name = args.name.clone().unwrap_or_else(|| stem(&args.command));
    pin::check_name(&name)?;
    let project = connect::project()?;
    let line = command_line(&args.command);
    let first = run(&project, "process.learn", &line, None)?;
    let text = propose(&name, &seen(&first["observed"]), existing(&project, &name).as_ref());
    if first["exit"] != 0 {
        let ended = Failure::check(format!(
            "the command ended with {} before it was done, so what it needs is not known\n{}",
            first["exit"],
            tail(&first)
        ));
        return Err(ended.hint("see that it passes: ostk run -- COMMAND"));
    }
    let proof = Trial::begin(&project, &name, &text)?.prove(&line)?;
    let proved = proof["exit"] == 0;
    let path = pin::path(&project, &name);
    let is_written = proved && args.write;
    if is_written {
        pin::write(&path, &text)?;
        pin::reload(&project)?;
    }
    let value = json!({ "name": name, "pin": text, "proved": proved, "proof": proof,
        "observed": first["observed"], "path": is_written.then_some(path) });
    output.show(&value, |output| shown(&value, output));
    Ok(if proved { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn shown(value: &Value, output: &Output) -> String {
    let name = value["name"].as_str().unwrap_or_default();
    let mut lines = vec![value["pin"].as_str().unwrap_or_default().trim_end().to_owned(), String::new()];
    if value["proved"] == true {
        lines.push(format!("{} the command passes under this pin", output.paint(Paint::Green, "✓")));
    } else {
        let exit = &value["proof"]["exit"];
        let mark = output.paint(Paint::Red, "✗");
        lines.push(format!("{mark} the command ends with {exit} under this pin:\n{}", tail(&value["proof"])));
    }
    if value["observed"]["truncated"] == true {
        lines.push("not everything it asked for could be noted".to_owned());
    }
    match value["path"].as_str() {
        Some(path) => lines.push(format!("written: {path}; use it: ostk run --pin {name} -- COMMAND")),
        None if value["proved"] == true => lines.push("keep it: the same with --write".to_owned()),
        None => {}
    }
    lines.join("\n")
}

/// The end of what a command said, for the reader who wonders why it failed.
fn tail(result: &Value) -> String {
    const LINES: usize = 10;
    let said = format!("{}{}", text(&result["stdout"]), text(&result["stderr"]));
    let lines: Vec<&str> = said.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| format!("  {line}\n")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Runs the command in the sandbox under a lineage that has this pin and no other.
fn run(project: &Project, call: &str, line: &str, pin: Option<&str>) -> Result<Value, Failure> {
    let lineage = if pin.is_some() { "prove" } else { "learn" };
    let (mut client, _) = connect::start(project, lineage.to_owned(), pin)?;
    let timeout_ms = u64::try_from(DEADLINE.as_millis()).unwrap_or(u64::MAX);
    let call_args = json!({ "command": line, "cwd": cwd()?, "timeout_ms": timeout_ms });
    // Whoever interrupts this program ends the command with it.
    let options = CallOptions { idempotency: Some(call.to_owned()), timeout: Some(DEADLINE), tied: true };
    Ok(client.call(call, &call_args, &options)?)
}

/// A pin that is there for one run, under a name that nobody uses.
struct Trial<'a> {
    project: &'a Project,
    name: String,
    path: PathBuf,
}

impl<'a> Trial<'a> {
    fn begin(project: &'a Project, name: &str, text: &str) -> Result<Self, Failure> {
        let name: String = format!("learning-{}-{name}", std::process::id()).chars().take(64).collect();
        let trial = Self { project, path: pin::path(project, &name), name };
        pin::write(&trial.path, text)?;
        pin::reload(project)?;
        Ok(trial)
    }

    fn prove(self, line: &str) -> Result<Value, Failure> {
        let proof = run(self.project, "shell.run", line, Some(&self.name));
        self.remove()?;
        pin::reload(self.project)?;
        proof
    }

    fn remove(&self) -> Result<(), Failure> {
        Ok(self.path.parent().map_or(Ok(()), fs::remove_dir_all)?)
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // Gone already when it was proved.
        let _ = self.remove();
    }
}

/// The pin of that name, when there is one that can be read.
fn existing(project: &Project, name: &str) -> Option<Pin> {
    let documents = ostk_daemon::read_documents(&project.state_dir());
    Pin::parse(name, documents.pins.get(name)?).ok()
}

fn seen(observed: &Value) -> Seen {
    let paths = |member: &str| {
        let listed = observed[member].as_array().into_iter().flatten();
        listed.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let reached: std::collections::BTreeSet<String> = paths("connected");
    Seen {
        read: paths("read"),
        written: paths("written"),
        files_made: paths("files_made"),
        directories_made: paths("directories_made"),
        names_gone: paths("names_gone"),
        network: reached.iter().any(|address| !address.starts_with("unix:")),
        // Addresses are seen, and not the names that they stand for.
        hosts: std::collections::BTreeSet::new(),
    }
}
