//! Commands that ask and print: `ps`, `pstree`, `log`, `why`, `abi`, `state-hash`, `completions`.

use std::process::ExitCode;

use clap::CommandFactory;
use libostk::CallOptions;
use serde_json::{Value, json};

use super::{
    Done,
    members::{self, cells, insert},
};
use crate::{
    args::{AbiAction, Args, Completions, FileArg, Why},
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// Asks the daemon as the operator.
pub(crate) fn ask(verb: &str, args: &Value) -> Result<Value, Failure> {
    let project = connect::project()?;
    Ok(connect::operator(&project)?.call(verb, args, &CallOptions::default())?)
}

pub(crate) fn ps(output: &Output) -> Done {
    let mut answer = ask("ps", &json!({}))?;
    let (rows, warnings) = (answer["processes"].take(), answer["budget"]["warnings"].take());
    let escalated = answer["escalated"].take();
    output.show(&rows, |output| {
        let warnings = warnings.as_array().into_iter().flatten().filter_map(Value::as_str);
        let warnings = warnings.map(|text| output.paint(Paint::Yellow, text));
        let escalated = escalated.as_array().into_iter().flatten().map(|saga| {
            let text = format!(
                "saga {} could not be undone; look at it: ostk saga show {}",
                saga["saga"], saga["saga"]
            );
            output.paint(Paint::Red, &text)
        });
        [process_table(output, &rows)]
            .into_iter()
            .chain(warnings)
            .chain(escalated)
            .collect::<Vec<_>>()
            .join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn process_table(output: &Output, rows: &Value) -> String {
    let row = |row: &Value| {
        let mut line = cells(row, ["lineage", "generation", "kind", "state", "model"]);
        if let (Some(model), Some(fallback)) = (line.last_mut(), row["fallback"].as_str()) {
            *model = format!("{fallback} for {model}");
        }
        line.push(row["age_s"].as_u64().map_or("-".to_owned(), age));
        line.extend(cells(row, ["turns", "tokens"]));
        let percent = |name: &str| row[name].as_u64().map_or("-".to_owned(), |percent| format!("{percent}%"));
        line.extend(["context_pct", "budget_pct"].map(percent));
        line.extend(cells(row, ["writes", "refused", "doing"]));
        line
    };
    let head = [
        "LINEAGE", "GEN", "KIND", "STATE", "MODEL", "AGE", "TURNS", "TOKENS", "CONTEXT", "BUDGET", "WRITES",
        "REFUSED", "DOING",
    ];
    members::table(output, rows, &head, row, "no process yet; start an agent: ostk run worker.af")
}

/// Seconds as people say them: `42s`, `3m`, `5h`, `2d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

pub(crate) fn pstree(output: &Output) -> Done {
    let rows = ask("ps", &json!({}))?["processes"].take();
    output.show(&rows, |output| {
        let all = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut lines = vec![output.paint(Paint::Bold, "kernel")];
        let of_kernel = |row: &&Value| {
            let parent = row["parent"].as_str();
            parent.is_none_or(|parent| !all.iter().any(|other| other["lineage"] == parent))
        };
        branches(&mut lines, all, &all.iter().filter(of_kernel).collect::<Vec<_>>(), "");
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// Adds a line for each of these processes, with those that it started below it.
fn branches(lines: &mut Vec<String>, all: &[Value], rows: &[&Value], indent: &str) {
    for (number, row) in rows.iter().enumerate() {
        let is_last = number + 1 == rows.len();
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let branch = if is_last { "└─" } else { "├─" };
        lines.push(format!("{indent}{branch} {} ({}, {})", text("lineage"), text("kind"), text("state")));
        let started: Vec<&Value> = all.iter().filter(|other| other["parent"] == row["lineage"]).collect();
        if lines.len() <= all.len() {
            branches(lines, all, &started, &format!("{indent}{}", if is_last { "   " } else { "│  " }));
        }
    }
}

pub(crate) fn log(args: &FileArg, output: &Output) -> Done {
    let result = ask("file.log", &json!({ "path": args.file, "cwd": cwd()? }))?;
    output.show(&result, |output| {
        let versions = result["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        if versions.is_empty() {
            return format!("{}: no agent has touched it", args.file);
        }
        let row = |version: &Value| {
            let blob = version["image"]["blob"]
                .as_str()
                .map_or("deleted".to_owned(), |blob| blob.chars().take(12).collect());
            vec![
                version["generation"].to_string(),
                version["seq"].to_string(),
                version["ts"].as_str().unwrap_or("").to_owned(),
                blob,
                version["writer"].as_str().unwrap_or("").to_owned(),
            ]
        };
        output.table(&["GEN", "SEQ", "TIME", "BLOB", "WRITER"], &versions.iter().map(row).collect::<Vec<_>>())
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn why(args: &Why, output: &Output) -> Done {
    let mut call = json!({ "lineage": args.agent, "verb": args.call, "resource": args.resource.clone().unwrap_or_default() });
    insert(&mut call, "pin", args.pin.as_deref());
    let verdict = ask("why", &call)?;
    output.show(&verdict, |output| {
        let effect = verdict["effect"].as_str().unwrap_or("?");
        let paint = if effect == "allow" { Paint::Green } else { Paint::Red };
        let mut lines =
            vec![format!("{} {}", output.paint(paint, effect), verdict["reason"].as_str().unwrap_or(""))];
        for rule in verdict["rules"].as_array().map(Vec::as_slice).unwrap_or_default() {
            lines.push(format!("  rule: {}", rule.as_str().unwrap_or("")));
        }
        lines.join("\n")
    });
    Ok(if verdict["effect"] == "allow" { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

pub(crate) fn abi(action: &AbiAction, output: &Output) -> Done {
    match action {
        AbiAction::List => {
            let abi = ostk_kernel::abi();
            output.show(&abi, |output| {
                let rows = ostk_kernel::TABLE.iter().map(|call| {
                    let effect = format!("{:?}", call.effect).to_lowercase();
                    vec![call.name.to_owned(), effect, call.doc.to_owned()]
                });
                output.table(&["CALL", "EFFECT", "WHAT"], &rows.collect::<Vec<_>>())
            });
            Ok(ExitCode::SUCCESS)
        }
        AbiAction::Show { name } => {
            let call = ostk_kernel::lookup(name).ok_or_else(|| {
                Failure::usage(format!("no such system call: {name}")).hint("ostk abi list")
            })?;
            let value = json!({ "call": call, "schema": call.schema() });
            output.show(&value, |output| {
                let mut lines = vec![output.paint(Paint::Bold, call.name), call.doc.to_owned()];
                for arg in call.args {
                    let need = if arg.required { "" } else { " (optional)" };
                    lines.push(format!("  {:<14} {}{need}", arg.name, arg.doc));
                }
                lines.push("returns".to_owned());
                lines.extend(call.result.iter().map(|(name, doc)| format!("  {name:<14} {doc}")));
                lines.join("\n")
            });
            Ok(ExitCode::SUCCESS)
        }
        AbiAction::Diff { file } => abi_diff(file, output),
    }
}

fn abi_diff(file: &std::path::Path, output: &Output) -> Done {
    let text = std::fs::read_to_string(file)?;
    let old: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let calls = |abi: &Value| -> std::collections::BTreeMap<String, Value> {
        let list = abi["calls"].as_array().cloned().unwrap_or_default();
        list.into_iter().map(|call| (call["name"].as_str().unwrap_or("").to_owned(), call)).collect()
    };
    let (before, after) = (calls(&old), calls(&ostk_kernel::abi()));
    let added: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    let removed: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    let changed: Vec<&String> = after
        .iter()
        .filter(|(name, call)| before.get(*name).is_some_and(|old| old != *call))
        .map(|(name, _)| name)
        .collect();
    let same = added.is_empty() && removed.is_empty() && changed.is_empty();
    let value = json!({ "same": same, "added": added, "removed": removed, "changed": changed });
    output.show(&value, |_| {
        let mark = |sign: &str, names: &[&String]| {
            names.iter().map(|name| format!("{sign} {name}")).collect::<Vec<_>>()
        };
        let lines = [mark("+", &added), mark("-", &removed), mark("~", &changed)].concat();
        if same { "the same table".to_owned() } else { lines.join("\n") }
    });
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(crate) fn state_hash(output: &Output) -> Done {
    let result = ask("kernel.state_hash", &json!({}))?;
    output.show(&result, |_| result["state_hash"].as_str().unwrap_or("").to_owned());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn completions(args: &Completions) -> Done {
    clap_complete::generate(args.shell, &mut Args::command(), "ostk", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}

/// The current directory, relative to the project's root.
pub(crate) fn cwd() -> Result<String, Failure> {
    let (project, here) = (connect::project()?, std::env::current_dir()?);
    let inside = here.strip_prefix(project.root()).map(|dir| dir.to_string_lossy().into_owned());
    Ok(inside.unwrap_or_default())
}
