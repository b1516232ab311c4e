//! `ostk pin`: write a new pin, list the pins, show what one comes to. Works without a daemon; one that runs is told.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use libostk::{CallOptions, Identity, Project};
use ostk_policy::{DenyToken, Documents, Pin, Policy};
use serde_json::{Value, json};

use super::Done;
use crate::{
    args::PinAction,
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// Longest name of a pin: it is the name of a folder and a word on command lines.
const MAX_NAME: usize = 64;

pub(crate) fn pin(action: &PinAction, output: &Output) -> Done {
    match action {
        PinAction::Issue { name, caps } => issue(name, caps, output),
        PinAction::List => list(output),
        PinAction::Show { name } => show(name, output),
    }
}

fn issue(name: &str, caps: &str, output: &Output) -> Done {
    check_name(name)?;
    check_caps(caps)?;
    let text = ostk_policy::scaffold(name, caps);
    let project = connect::project()?;
    let path = path(&project, name);
    write_new(&path, &text)?;
    let reloaded = reload(&project)?;
    let value = json!({ "name": name, "path": path, "reloaded": reloaded });
    output.show(&value, |output| {
        let then = if reloaded { "in force" } else { "in force when a daemon starts" };
        let mark = output.paint(Paint::Green, "✓");
        format!("{mark} {} ({then})\nedit it, then: ostk call policy.reload; use it: ostk run AGENTFILE --pin {name}", path.display())
    });
    Ok(ExitCode::SUCCESS)
}

/// Where the pin of that name is, if there is one.
pub(crate) fn path(project: &Project, name: &str) -> PathBuf {
    project.state_dir().join("pins").join(name).join("pin.caps")
}

pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(plain) {
        let what = format!("not a name for a pin: {name:?}");
        return Err(Failure::usage(what)
            .hint("letters, digits, `-`, `_` and `.`, at most 64: ostk pin issue fix-bug"));
    }
    Ok(())
}

fn check_caps(caps: &str) -> Result<(), Failure> {
    let mut words = caps.split([' ', ',']).filter(|word| !word.is_empty());
    match words.find(|word| !["read", "write", "execute"].contains(word)) {
        Some(bad) => {
            Err(Failure::usage(format!("no such capability: {bad:?}")).hint("any of read, write and execute"))
        }
        None => Ok(()),
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = made.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::check(format!("{} exists and stays as it is", path.display()))
                .hint("edit it, or choose another name")
        }
        _ => Failure::check(format!("{}: {error}", path.display())),
    })?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Writes a pin, in place of the one that may be there.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text).map_err(|error| Failure::check(format!("{}: {error}", path.display())))
}

/// Tells a running daemon; false when none runs.
pub(crate) fn reload(project: &Project) -> Result<bool, Failure> {
    let Some(mut client) = connect::running(project) else { return Ok(false) };
    client.attach(&Identity::Operator(connect::user()), "ostk", None)?;
    client.call("policy.reload", &json!({}), &CallOptions::default())?;
    Ok(true)
}

/// A pin's text, parsed alone: the others' mistakes are not its own.
fn parse(documents: &Documents, name: &str) -> Option<(String, Result<Policy, String>)> {
    let text = documents.pins.get(name)?.clone();
    let alone = Documents { pins: [(name.to_owned(), text.clone())].into(), ..Documents::default() };
    Some((text, Policy::load(&alone).map_err(|errors| errors.to_string())))
}

fn list(output: &Output) -> Done {
    let documents = ostk_daemon::read_documents(&connect::project()?.state_dir());
    let row = |name: &String| {
        let parsed = parse(&documents, name).map(|(_, parsed)| parsed);
        let problem = parsed.and_then(Result::err);
        json!({ "name": name, "ok": problem.is_none(), "problem": problem })
    };
    let rows: Vec<Value> = documents.pins.keys().map(row).collect();
    output.show(&json!({ "pins": rows }), |output| {
        if rows.is_empty() {
            return "no pin yet; write one: ostk pin issue NAME".to_owned();
        }
        let line = |row: &Value| {
            let state = row["problem"].as_str().unwrap_or("good").to_owned();
            vec![row["name"].as_str().unwrap_or("").to_owned(), state]
        };
        output.table(&["PIN", "STATE"], &rows.iter().map(line).collect::<Vec<_>>())
    });
    let good = rows.iter().all(|row| row["ok"] == true);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn show(name: &str, output: &Output) -> Done {
    let documents = ostk_daemon::read_documents(&connect::project()?.state_dir());
    let Some((text, parsed)) = parse(&documents, name) else {
        return Err(Failure::check(format!("there is no pin called {name:?}")).hint("ostk pin list"));
    };
    let policy =
        parsed.map_err(|problem| Failure::check(problem).hint("mend it, then: ostk call policy.reload"))?;
    let lints: Vec<String> = policy.lints().iter().map(ToString::to_string).collect();
    let effective = policy.pin(name).map(effective).unwrap_or_default();
    let value = json!({ "name": name, "text": text, "effective": effective, "lints": lints });
    output.show(&value, |output| {
        let mut lines =
            vec![text.trim_end().to_owned(), String::new(), output.paint(Paint::Bold, "comes to")];
        let row = |name: &str| format!("  {name:<8} {}", words(&effective[name]));
        lines.extend(["read", "write", "execute", "denied"].map(row));
        lines.extend(lints.iter().map(|lint| format!("  {} {lint}", output.paint(Paint::Yellow, "!"))));
        lines.push(
            "  what is not named here is as the built-in policy has it: ostk why AGENT CALL".to_owned(),
        );
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// What the pin leaves and what it takes; null where it does not say.
fn effective(pin: &Pin) -> Value {
    const TOKENS: [DenyToken; 6] = [
        DenyToken::WriteKernel,
        DenyToken::ModifyGovernance,
        DenyToken::WriteSrc,
        DenyToken::ReadSecrets,
        DenyToken::SpawnAgent,
        DenyToken::Network,
    ];
    let paths = |paths: &[ostk_policy::PathPattern]| {
        paths.iter().map(|path| path.as_str().to_owned()).collect::<Vec<_>>()
    };
    let mut denied: Vec<String> = TOKENS
        .into_iter()
        .filter(|token| pin.denies(*token))
        .map(|token| token.as_str().to_owned())
        .collect();
    denied.extend(pin.denied().map(|path| path.as_str().to_owned()));
    json!({ "read": pin.readable().map(paths), "write": pin.writable().map(paths),
        "execute": pin.execute().map(ostk_policy::Execute::as_str), "denied": denied })
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "not said".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
