//! `ostk timer`: agents that are spawned and messages that are sent at a time.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Done, inspect, run};
use crate::{
    args::{AddTimer, TimerAction},
    connect,
    failure::Failure,
    output::Output,
};

pub(crate) fn timer(action: &TimerAction, output: &Output) -> Done {
    match action {
        TimerAction::Add(args) => {
            let set = inspect::ask("timer.set", &call(args)?)?;
            let due = set["due"].as_str().unwrap_or_default().to_owned();
            output.show(&set, |_| format!("{} fires at {due}", args.name));
        }
        TimerAction::List => {
            let rows = inspect::ask("timer.list", &json!({}))?["timers"].take();
            output.show(&rows, |output| table(output, &rows));
        }
        TimerAction::Remove { name } => {
            let removed = inspect::ask("timer.remove", &json!({ "name": name }))?;
            output.show(&removed, |_| format!("{name} is removed"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn call(args: &AddTimer) -> Result<Value, Failure> {
    let lineage = args.to.as_ref().unwrap_or(&args.name);
    let mut call = json!({ "name": args.name, "lineage": lineage });
    if let Some(path) = &args.agentfile {
        call["agentfile"] = json!(run::composed(path, connect::project()?.root())?);
    }
    for (name, text) in [("task", &args.task), ("text", &args.say), ("at", &args.at)] {
        if let Some(text) = text {
            call[name] = json!(text);
        }
    }
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let numbers =
        [("after_ms", args.after.map(millis)), ("every_ms", args.every.map(millis)), ("times", args.times)];
    for (name, number) in numbers {
        if let Some(number) = number {
            call[name] = json!(number);
        }
    }
    Ok(call)
}

fn table(output: &Output, rows: &Value) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return "no timer; set one: ostk timer add NAME FILE.af --every 1h".to_owned();
    }
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let every = |row: &Value| {
        row["every_ms"].as_u64().map_or_else(|| "-".to_owned(), |ms| format!("{}s", ms / 1_000))
    };
    let row = |row: &Value| {
        let [name, call, lineage, due] = ["name", "call", "lineage", "due"].map(|member| text(&row[member]));
        let [left, fired, problem] = ["left", "fired", "problem"].map(|member| text(&row[member]));
        vec![name, call, lineage, due, every(row), left, fired, problem]
    };
    let head = ["TIMER", "CALL", "LINEAGE", "DUE", "EVERY", "LEFT", "FIRED", "PROBLEM"];
    output.table(&head, &rows.iter().map(row).collect::<Vec<_>>())
}
