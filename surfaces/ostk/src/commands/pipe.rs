//! `ostk pipe`: the pipes between processes, for a person: list, make, write, read, close.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    Done, inspect,
    members::{self, cells, insert},
};
use crate::{args::PipeAction, output::Output};

pub(crate) fn pipe(action: &PipeAction, output: &Output) -> Done {
    match action {
        PipeAction::List => {
            let rows = inspect::ask("pipe.list", &json!({}))?["pipes"].take();
            output.show(&rows, |output| table(output, &rows));
        }
        PipeAction::Make { pipe, messages, bytes } => {
            let mut call = json!({ "pipe": pipe });
            insert(&mut call, "messages", *messages);
            insert(&mut call, "bytes", *bytes);
            let made = inspect::ask("pipe.make", &call)?;
            let holds = |made: &Value| format!("{} messages, {} bytes", made["messages"], made["bytes"]);
            output.show(&made, |_| format!("{pipe} holds {}", holds(&made)));
        }
        PipeAction::Write { pipe, text, timeout_ms } => {
            let call = json!({ "pipe": pipe, "text": text, "timeout_ms": timeout_ms });
            let written = inspect::ask("pipe.write", &call)?;
            output.show(&written, |_| format!("message {}", written["message"]));
        }
        PipeAction::Read { pipe, timeout_ms } => {
            let read = inspect::ask("pipe.read", &json!({ "pipe": pipe, "timeout_ms": timeout_ms }))?;
            let over = read["end"] == json!(true);
            output.show(&read, |_| match read["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("{pipe} has ended: everybody who wrote is gone"),
            });
            return Ok(if over { ExitCode::from(1) } else { ExitCode::SUCCESS });
        }
        PipeAction::Close { pipe } => {
            let closed = inspect::ask("pipe.close", &json!({ "pipe": pipe, "end": "all" }))?;
            output.show(&closed, |_| format!("{pipe} is closed; {} messages were in it", closed["dropped"]));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(output: &Output, rows: &Value) -> String {
    let names = |value: &Value| {
        let names = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        if names.is_empty() { "-".to_owned() } else { names.join(",") }
    };
    let row = |row: &Value| {
        let mut line = cells(row, ["pipe", "state"]);
        line.push(format!("{}/{}", row["waiting"], row["messages"]));
        line.push(format!("{}/{}", row["waiting_bytes"], row["bytes"]));
        line.extend([names(&row["writers"]), names(&row["readers"])]);
        line.extend(cells(row, ["written", "delivered", "made_by"]));
        line
    };
    let head = ["PIPE", "STATE", "WAITING", "BYTES", "WRITERS", "READERS", "IN", "OUT", "MADE BY"];
    members::table(output, rows, &head, row, "no pipe; make one: ostk pipe make NAME")
}
