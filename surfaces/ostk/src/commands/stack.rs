//! `ostk stack`: delegate a directory to a daemon of its own, look at it, and take it back.
//!
//! The project's daemon starts and ends those of its stacks. A stack is reached like a project: `ostk --stack NAME ps`.

use std::{path::Path, process::ExitCode, time::Duration};

use libostk::{CallOptions, Hash, Project};
use ostk_kernel::micro_usd;
use serde_json::{Value, json};

use super::{
    Done, inspect,
    members::{self, cell, cells, insert},
    run,
};
use crate::{
    args::{Spawn, StackAction},
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// The agent that a prompt is given to where no Agentfile is named.
const WORKER: &str = ".ostk/agents/worker.af";
/// The agents of a stack have a last word before it ends.
const SEAL: Duration = Duration::from_secs(120);

pub(crate) fn stack(action: &StackAction, output: &Output) -> Done {
    if let Some(name) = connect::project()?.stack_name() {
        return Err(Failure::usage(format!("the stack {name} has no stacks of its own"))
            .hint("leave --stack out: ostk stack list"));
    }
    match action {
        StackAction::Spawn(args) => spawn(args, output),
        StackAction::List => list(output),
        StackAction::Show { name } => show(name, output),
        StackAction::Seal { name, reason } => seal(name, reason.as_deref(), false, output),
        StackAction::Kill { name, reason } => seal(name, reason.as_deref(), true, output),
    }
}

fn spawn(args: &Spawn, output: &Output) -> Done {
    let project = connect::project()?;
    let mut call = json!({ "name": args.name, "scope": scope(&project, &args.scope)? });
    let usd = args.budget_usd.map(amount).transpose()?;
    for (name, limit) in [("tokens", args.tokens), ("turns", args.turns), ("budget_micro_usd", usd)] {
        insert(&mut call, name, limit);
    }
    let worker = project.root().join(WORKER);
    let agentfile = args.agent.as_deref().or((!args.prompt.is_empty()).then_some(worker.as_path()));
    if let Some(path) = agentfile {
        call["agentfile"] = json!(run::composed(path, project.root())?);
    }
    if !args.prompt.is_empty() {
        call["task"] = json!(args.prompt.join(" "));
    }
    let spawned = inspect::ask("stack.spawn", &call)?;
    output.show(&spawned, |_| {
        let name = &args.name;
        let follow = match spawned["agent"].as_str() {
            Some(agent) => format!("follow its agent: ostk --stack {name} attach {agent}"),
            None => format!("run an agent in it: ostk --stack {name} run worker.af"),
        };
        format!("{} is delegated to the stack {name}; {follow}", spawned["scope"].as_str().unwrap_or(""))
    });
    Ok(ExitCode::SUCCESS)
}

/// The directory, from the root of the repository.
fn scope(project: &Project, given: &Path) -> Result<String, Failure> {
    let here = std::env::current_dir()?.join(given);
    let real =
        here.canonicalize().map_err(|error| Failure::usage(format!("{}: {error}", given.display())))?;
    let root = project.root().canonicalize()?;
    let inside = real.strip_prefix(&root).ok().and_then(Path::to_str).map(str::to_owned);
    inside.ok_or_else(|| Failure::usage(format!("{} is not in this repository", given.display())))
}

fn amount(dollars: f64) -> Result<u64, Failure> {
    micro_usd(dollars).ok_or_else(|| Failure::usage("--budget-usd must be an amount above 0"))
}

fn list(output: &Output) -> Done {
    let rows = inspect::ask("stack.list", &json!({}))?["stacks"].take();
    output.show(&rows, |output| {
        let row = |row: &Value| cells(row, ["name", "state", "scope", "by", "pin", "reason"]);
        let head = ["NAME", "STATE", "SCOPE", "BY", "PIN", "REASON"];
        members::table(output, &rows, &head, row, "no stack yet: ostk stack spawn NAME --scope DIR")
    });
    Ok(ExitCode::SUCCESS)
}

fn show(name: &str, output: &Output) -> Done {
    let rows = inspect::ask("stack.list", &json!({}))?["stacks"].take();
    let found = rows.as_array().into_iter().flatten().find(|row| row["name"] == name).cloned();
    let Some(mut row) = found else {
        return Err(Failure::usage(format!("no stack is called {name:?}")).hint("ostk stack list"));
    };
    let child = connect::project()?.stack(name);
    if row["state"] == "active" {
        let mut client = connect::operator(&child)?;
        for (member, verb) in [("status", "status"), ("processes", "ps")] {
            row[member] = client.call(verb, &json!({}), &CallOptions::default())?;
        }
        row["processes"] = row["processes"]["processes"].take();
    }
    output.show(&row, |output| words(&row, output));
    Ok(ExitCode::SUCCESS)
}

fn words(row: &Value, output: &Output) -> String {
    let text = |name: &str| cell(&row[name]);
    let paint = match text("state").as_str() {
        "failed" => Paint::Red,
        "sealed" => Paint::Green,
        _ => Paint::Bold,
    };
    let mut lines =
        vec![format!("{} {} in {}", text("name"), output.paint(paint, &text("state")), text("scope"))];
    lines.push(format!("  spawned by  {}, record {}", text("by"), row["since"]));
    for (label, name) in [("pin", "pin"), ("mode", "mode"), ("reason", "reason")] {
        if let Some(value) = row[name].as_str() {
            lines.push(format!("  {label:<10}  {value}"));
        }
    }
    for limit in row["status"]["budget"]["limits"].as_array().into_iter().flatten() {
        let (name, pct) = (limit["limit"].as_str().unwrap_or(""), &limit["pct"]);
        lines.push(format!("  {name:<10}  {pct} % of {} spent", limit["of"]));
    }
    if let Value::Object(attested) = &row["attestation"] {
        lines.extend(attested.iter().map(|(name, value)| format!("  {name:<10}  {}", cell(value))));
        lines.push(format!("  checked by  ostk --stack {} audit verify", text("name")));
    }
    if row["processes"].is_array() {
        lines.push(inspect::process_table(output, &row["processes"]));
    }
    lines.join("\n")
}

fn seal(name: &str, reason: Option<&str>, kill: bool, output: &Output) -> Done {
    let mut call = json!({ "name": name, "kill": kill });
    insert(&mut call, "reason", reason);
    let project = connect::project()?;
    let options = CallOptions { timeout: Some(SEAL), ..CallOptions::default() };
    let sealed = connect::operator(&project)?.call("stack.seal", &call, &options)?;
    output.show(&sealed, |output| {
        let files = sealed["changed"].as_array().map_or(0, Vec::len) as u64;
        let files = files + sealed["changed_more"].as_u64().unwrap_or(0);
        format!(
            "{} {name} is sealed: {} records attested, root {}; {files} files changed",
            output.paint(Paint::Green, "✓"),
            sealed["attestation"]["size"],
            sealed["attestation"]["root"].as_str().unwrap_or("")
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// What the log of the project vouches for of a sealed stack's: how many records and their root. None while it is not
/// sealed.
pub(crate) fn attested(project: &Project) -> Result<Option<(u64, Hash)>, Failure> {
    let Some(name) = project.stack_name() else { return Ok(None) };
    let mut found = None;
    for entry in libostk::records(&project.parent().state_dir())? {
        let entry = entry?;
        if crate::record::header(&entry)?.event != "stack.sealed" {
            continue;
        }
        let body = crate::record::parse(&entry)?.body;
        if body.get("name").and_then(Value::as_str) == Some(name) {
            let attestation = body.get("attestation").cloned().unwrap_or_default();
            let root = attestation["root"].as_str().and_then(|root| root.parse().ok());
            found = attestation["size"].as_u64().zip(root);
        }
    }
    Ok(found)
}
