//! `ostk quarantine`: what contained commands made and other programs would have obeyed; list it, put it back.

use std::process::ExitCode;

use libostk::CallOptions;
use serde_json::{Value, json};

use super::Done;
use crate::{args::QuarantineAction, connect, failure::Failure, output::Output, person};

pub(crate) fn quarantine(action: &QuarantineAction, output: &Output) -> Done {
    match action {
        QuarantineAction::List => list(output),
        QuarantineAction::Restore { item } => restore(item, output),
    }
}

fn call(verb: &str, args: &Value) -> Result<Value, Failure> {
    let mut client = connect::operator(&connect::project()?)?;
    Ok(client.call(verb, args, &CallOptions::default())?)
}

fn list(output: &Output) -> Done {
    let value = call("quarantine.list", &json!({}))?;
    output.show(&value, |output| {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let row = |row: &Value| {
            let kept = if row["kept"] == json!(true) { "in part" } else { "whole" };
            vec![text(row, "item"), text(row, "what"), kept.to_owned(), text(row, "path")]
        };
        let rows: Vec<_> = value["items"].as_array().into_iter().flatten().map(row).collect();
        output.table(&["ITEM", "WHAT", "TAKEN", "PATH"], &rows)
    });
    Ok(ExitCode::SUCCESS)
}

fn restore(item: &str, output: &Output) -> Done {
    person::not_contained("quarantine restore")?;
    let value = call("quarantine.restore", &json!({ "item": item }))?;
    output.show(&value, |_| format!("{} is back", value["path"].as_str().unwrap_or_default()));
    Ok(ExitCode::SUCCESS)
}
