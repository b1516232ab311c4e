//! Commands about processes and their lives: `kill`, `nudge`, `note`, `panic`, `resume`, `lineage`.

use std::process::ExitCode;

use libostk::{CallOptions, ClientError};
use ostk_kernel::SIGNALS;
use serde_json::{Value, json};

use super::{
    Done, inspect,
    members::{cell, cells},
};
use crate::{
    args::{Kill, LineageAction, Note, Nudge, Panic},
    connect,
    failure::Failure,
    output::{Output, Paint},
};

pub(crate) fn kill(args: &Kill, output: &Output) -> Done {
    if args.list {
        output.show(&json!(SIGNALS), list);
        return Ok(ExitCode::SUCCESS);
    }
    if args.signal.parse::<u64>().is_ok() {
        let message = format!("{} is another signal for agents than for processes", args.signal);
        return Err(Failure::usage(message).hint("use its name: ostk kill --list"));
    }
    let targets = match &args.lineage {
        Some(lineage) => vec![lineage.clone()],
        None => everybody()?,
    };
    let project = connect::project()?;
    let mut client = connect::operator(&project)?;
    let mut answers = Vec::new();
    for target in targets {
        let call = json!({ "lineage": target, "signal": args.signal, "text": args.text });
        match client.call("agent.signal", &call, &CallOptions::default()) {
            Ok(answer) => answers.push(answer),
            // It ended by itself meanwhile.
            Err(ClientError::Call { code, .. }) if args.all && code == "not_found" => {}
            Err(error) => return Err(error.into()),
        }
    }
    let shown = if args.all { json!(answers) } else { answers.first().cloned().unwrap_or_default() };
    output.show(&shown, |_| {
        let lines: Vec<String> = answers.iter().map(sent).collect();
        if lines.is_empty() { "nobody to send it to".to_owned() } else { lines.join("\n") }
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn nudge(args: &Nudge, output: &Output) -> Done {
    let sent = inspect::ask("nudge", &json!({ "lineage": args.lineage, "text": args.text }))?;
    output.show(&sent, |_| format!("{} sees it with its next tool result", args.lineage));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn note(args: &Note, output: &Output) -> Done {
    let noted = inspect::ask("note", &json!({ "text": args.text }))?;
    output.show(&noted, |_| format!("noted as record {}", noted["seq"]));
    Ok(ExitCode::SUCCESS)
}

/// Processes that have not ended, except people.
fn everybody() -> Result<Vec<String>, Failure> {
    let rows = inspect::ask("ps", &json!({}))?["processes"].take();
    let alive = |row: &&Value| row["kind"] != "human" && row["state"] != "exited";
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(rows.iter().filter(alive).filter_map(|row| row["lineage"].as_str().map(str::to_owned)).collect())
}

fn sent(answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or("").to_owned();
    let fate = match text("fate").as_str() {
        "queued" => "waits: it is delivered when the process takes it",
        "ignored" => "changes nothing",
        "told" => "is handled by the process itself",
        _ => "delivered",
    };
    let mut line = format!("{} to {}: {fate}; it is {}", text("signal"), text("lineage"), text("state"));
    for name in ["open", "state_hash"] {
        if !answer[name].is_null() {
            line.push_str(&format!("\n{name}: {:#}", answer[name]));
        }
    }
    line
}

fn list(output: &Output) -> String {
    let number = |number: Option<u8>| number.map_or("-".to_owned(), |number| number.to_string());
    let row = |signal: &ostk_kernel::Signal| {
        let mask = if signal.maskable { "yes" } else { "no" };
        vec![signal.name.into(), number(signal.kernel), number(signal.agent), mask.into(), signal.doc.into()]
    };
    output.table(
        &["SIGNAL", "KERNEL", "AGENT", "MASKABLE", "WHAT IT DOES"],
        &SIGNALS.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(crate) fn panic(args: &Panic, output: &Output) -> Done {
    let answer = inspect::ask("kernel.panic", &json!({ "reason": args.reason }))?;
    output.show(&answer, |output| {
        let held = output.paint(Paint::Red, "every agent is held");
        format!("{held}, with its commands and model calls\nHint: look around, then `ostk resume`; one for good: `ostk kill -SIGKILL NAME`")
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn resume(output: &Output) -> Done {
    let answer = inspect::ask("kernel.resume", &json!({}))?;
    output.show(&answer, |_| "every agent goes on".to_owned());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn lineage(action: &LineageAction, output: &Output) -> Done {
    match action {
        LineageAction::List => {
            let rows = inspect::ask("ps", &json!({}))?["processes"].take();
            output.show(&rows, |output| table(output, &rows));
        }
        LineageAction::Show { lineage, conversation: true } => {
            return super::conversation::show(lineage, output);
        }
        LineageAction::Show { lineage, conversation: false } => {
            let rows = inspect::ask("ps", &json!({}))?["processes"].take();
            let mut rows = rows.as_array().into_iter().flatten();
            let found = rows.find(|row| row["lineage"] == lineage.as_str()).cloned().ok_or_else(|| {
                Failure::check(format!("no lineage is called {lineage:?}")).hint("ostk lineage list")
            })?;
            output.show(&found, |_| {
                let members = found.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
                members
                    .map(|(name, value)| format!("{name:<12} {}", cell(value)))
                    .collect::<Vec<_>>()
                    .join("\n")
            });
        }
        LineageAction::Resolve { lineage, revive, .. } => {
            let resolution = if *revive { "revive" } else { "reap" };
            let call = json!({ "lineage": lineage, "resolution": resolution });
            let answer = inspect::ask("lineage.resolve", &call)?;
            output.show(&answer, |_| format!("{lineage} is {}", answer["state"].as_str().unwrap_or("")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(output: &Output, rows: &Value) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |row| cells(row, ["lineage", "generation", "kind", "state", "parent", "revival", "started"]);
    output.table(
        &["LINEAGE", "GEN", "KIND", "STATE", "STARTED BY", "REVIVAL", "SINCE"],
        &rows.iter().map(row).collect::<Vec<_>>(),
    )
}
