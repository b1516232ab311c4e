//! `ostk saga`: do several steps of which all or none shall stay, look at such work, and have it undone.
//!
//! The daemon makes the calls and survives its own death; this reads the file and waits.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use libostk::CallOptions;
use serde_json::{Value, json};

use super::{
    Done, inspect,
    members::{self, cell, cells},
};
use crate::{
    args::SagaAction,
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// The largest file of steps.
const MAX_FILE: u64 = 4 << 20;
/// Whoever begins a saga waits for it so long; it goes on all the same.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);

pub(crate) fn saga(action: &SagaAction, output: &Output) -> Done {
    match action {
        SagaAction::Run { file, name } => {
            let mut steps = read(file)?;
            let stem = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            if let Some(name) = name.clone().or_else(|| steps["name"].is_null().then_some(stem).flatten()) {
                steps["name"] = json!(name);
            }
            wait("saga.run", &steps, output)
        }
        SagaAction::Compensate { id } => wait("saga.compensate", &json!({ "id": id }), output),
        SagaAction::Show { id } => {
            let row = inspect::ask("saga.show", &json!({ "id": id }))?;
            output.show(&row, |output| words(&row, output));
            Ok(ExitCode::SUCCESS)
        }
        SagaAction::List => {
            let rows = inspect::ask("saga.list", &json!({}))?["sagas"].take();
            output.show(&rows, |output| table(&rows, output));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A file of steps: TOML, or JSON by its name.
fn read(file: &Path) -> Result<Value, Failure> {
    let refuse = |what: String| Failure::usage(format!("{}: {what}", file.display()));
    let metadata = fs::metadata(file).map_err(|error| refuse(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(refuse(format!("it is no file of at most {MAX_FILE} bytes")));
    }
    let text = fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    let is_json = file.extension().is_some_and(|end| end == "json");
    let read: Result<Value, String> = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    let value = read.map_err(refuse)?;
    if !value["steps"].is_array() {
        return Err(
            refuse("it has no steps".to_owned()).hint("[[steps]]\ndo = \"make\"\nundo = \"make clean\"")
        );
    }
    Ok(value)
}

fn wait(verb: &str, args: &Value, output: &Output) -> Done {
    let project = connect::project()?;
    let options = CallOptions { idempotency: None, timeout: Some(PATIENCE), tied: false };
    let row = connect::operator(&project)?.call(verb, args, &options)?;
    output.show(&row, |output| words(&row, output));
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &Value, output: &Output) -> String {
    let row = |row: &Value| cells(row, ["saga", "name", "owner", "state", "done", "of", "reason"]);
    let head = ["SAGA", "NAME", "OWNER", "STATE", "DONE", "OF", "REASON"];
    members::table(output, rows, &head, row, "no saga yet; begin one: ostk saga run FILE.toml")
}

fn words(row: &Value, output: &Output) -> String {
    let paint = match row["state"].as_str() {
        Some("completed") => Paint::Green,
        Some("escalated") => Paint::Red,
        _ => Paint::Yellow,
    };
    let head = format!("saga {} ({}) of {}", cell(&row["saga"]), cell(&row["name"]), cell(&row["owner"]));
    let state = output.paint(paint, &cell(&row["state"]));
    let steps = row["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let step = |step| cells(step, ["id", "state", "call", "undo", "attempts", "problem"]);
    let steps: Vec<Vec<String>> = steps.iter().map(step).collect();
    let table = output.table(&["STEP", "STATE", "CALL", "UNDO", "TRIES", "PROBLEM"], &steps);
    format!("{head}: {state}\n{table}")
}
