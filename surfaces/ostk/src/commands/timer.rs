//! `ostk timer`: agents that are spawned and messages that are sent at a time.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    Done, inspect,
    members::{self, cells, given, insert, millis},
    run,
};
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
    let mut call = given(call, &[("task", &args.task), ("text", &args.say), ("at", &args.at)]);
    insert(&mut call, "after_ms", args.after.map(millis));
    insert(&mut call, "every_ms", args.every.map(millis));
    insert(&mut call, "times", args.times);
    Ok(call)
}

fn table(output: &Output, rows: &Value) -> String {
    let every = |row: &Value| {
        row["every_ms"].as_u64().map_or_else(|| "-".to_owned(), |ms| format!("{}s", ms / 1_000))
    };
    let row = |row: &Value| {
        let mut line = cells(row, ["name", "call", "lineage", "due"]);
        line.push(every(row));
        line.extend(cells(row, ["left", "fired", "problem"]));
        line
    };
    let head = ["TIMER", "CALL", "LINEAGE", "DUE", "EVERY", "LEFT", "FIRED", "PROBLEM"];
    members::table(output, rows, &head, row, "no timer; set one: ostk timer add NAME FILE.af --every 1h")
}
