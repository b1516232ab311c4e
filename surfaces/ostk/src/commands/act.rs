//! Commands that make one system call with an effect: `undo`, `call`.

use std::{io::Read, process::ExitCode, time::Duration};

use libostk::{CallOptions, Identity};
use serde_json::{Value, json};

use super::{Done, members::insert};
use crate::{
    args::{Call, Undo},
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// Longest arguments read from standard input.
const MAX_STDIN: u64 = 130 * 1024 * 1024;

pub(crate) fn undo(args: &Undo, output: &Output) -> Done {
    let number = |text: &str| text.parse::<u64>();
    let mut call = match (number(&args.what), args.what.split_once("..")) {
        (Ok(seq), _) => json!({ "seq": seq }),
        (_, Some((from, to))) => match (number(from), number(to)) {
            (Ok(from), Ok(to)) => json!({ "from": from, "to": to }),
            _ => {
                return Err(Failure::usage(format!("not a range of records: {}", args.what))
                    .hint("ostk undo 120..140"));
            }
        },
        _ => json!({ "lineage": args.what }),
    };
    insert(&mut call, "path", args.file.as_deref());
    let project = connect::project()?;
    let result = connect::operator(&project)?.call("file.undo", &call, &CallOptions::default())?;
    output.show(&result, |output| {
        let files = result["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let line = |file: &Value| {
            format!(
                "{} {} gen={}",
                output.paint(Paint::Green, "undone"),
                file["path"].as_str().unwrap_or(""),
                file["generation"]
            )
        };
        files.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn call(args: &Call, output: &Output) -> Done {
    let text = if args.args == "-" { stdin()? } else { args.args.clone() };
    let call: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("the arguments are not JSON: {error}")))?;
    let identity = match &args.agent {
        // Whoever calls by command has seen what the command before printed.
        Some(lineage) => Identity::Resumed(lineage.clone()),
        None => Identity::Operator(connect::user()),
    };
    let options = CallOptions {
        idempotency: args.idempotency.clone(),
        timeout: Some(Duration::from_millis(args.timeout_ms)),
        tied: false,
    };
    let project = connect::project()?;
    let (mut client, _) = connect::attach(&project, &identity, None)?;
    let result = client.call(&args.verb, &call, &options)?;
    output.line(&result.to_string());
    Ok(ExitCode::SUCCESS)
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(MAX_STDIN).read_to_string(&mut text)?;
    Ok(text)
}
