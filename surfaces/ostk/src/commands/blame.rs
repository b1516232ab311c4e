//! `ostk blame`: who wrote each line of a file, and by which call for what reason.
//!
//! The kernel names the record of each line; call, turn and reason are read from that record.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{
    Done,
    inspect::{ask, cwd},
    members::cells,
};
use crate::{
    args::Blame,
    connect,
    failure::Failure,
    output::{Output, Paint},
    record,
};

pub(crate) fn blame(args: &Blame, output: &Output) -> Done {
    let mut result = ask("file.blame", &json!({ "path": args.file, "cwd": cwd()? }))?;
    let mut lines = result["lines"].as_array().cloned().unwrap_or_default();
    let seqs: BTreeSet<u64> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    let calls = if args.reasons { calls(&connect::project()?.state_dir(), &seqs)? } else { BTreeMap::new() };
    for line in &mut lines {
        if let Some(call) = line["seq"].as_u64().and_then(|seq| calls.get(&seq)) {
            line["behind"] = call.clone();
        }
    }
    result["lines"] = json!(lines);
    output.show(&result, |output| {
        let mut text = listing(output, &lines);
        if args.reasons {
            text.push_str("\n\n");
            text.push_str(&table(output, &calls));
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}

fn listing(output: &Output, lines: &[Value]) -> String {
    let writer = |line: &Value| line["writer"].as_str().unwrap_or("?").to_owned();
    let width = lines.iter().map(|line| writer(line).chars().count()).max().unwrap_or(0);
    let row = |(number, line): (usize, &Value)| {
        let seq = format!("{:>6}", line["seq"].to_string());
        let who = format!("{:<width$}", writer(line));
        let text = printable(line["text"].as_str().unwrap_or(""));
        let (seq, who) = (output.paint(Paint::Yellow, &seq), output.paint(Paint::Cyan, &who));
        format!("{seq} {who} {:>5}  {text}", number + 1)
    };
    lines.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
}

/// A line without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// What the records with these numbers say: `{writer, call, turn, reason}`, each but the first null if it is not known.
fn calls(state_dir: &Path, seqs: &BTreeSet<u64>) -> Result<BTreeMap<u64, Value>, Failure> {
    let mut calls = BTreeMap::new();
    for seq in seqs {
        let Some(entry) = libostk::records_from(state_dir, *seq)?.next() else { continue };
        let record = record::parse(&entry?)?;
        let turn = record.body.get("key").and_then(Value::as_str).and_then(turn);
        let member = |name: &str| record.body.get(name).cloned().unwrap_or_default();
        let call = json!({ "writer": record.actor, "call": member("verb"), "turn": turn, "reason": member("reason") });
        calls.insert(*seq, call);
    }
    Ok(calls)
}

/// The turn in the key that a native agent's call has: `lineage#session/lineage/session/turn/tool`.
fn turn(key: &str) -> Option<u64> {
    let mut parts = key.split('/');
    let (scope, lineage) = (parts.next()?, parts.next()?);
    let own = scope.split_once('#').is_some_and(|(owner, _)| owner == lineage);
    parts.nth(1).filter(|_| own)?.parse().ok()
}

fn table(output: &Output, calls: &BTreeMap<u64, Value>) -> String {
    let row = |(seq, call): (&u64, &Value)| {
        let mut line = vec![seq.to_string()];
        line.extend(cells(call, ["writer", "call", "turn", "reason"]));
        line
    };
    output.table(&["RECORD", "WRITER", "CALL", "TURN", "REASON"], &calls.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::turn;

    #[test]
    fn a_turn_is_read_from_the_key_of_a_native_agents_call_only() {
        assert_eq!(turn("worker-3#1/worker-3/1/2/call_a"), Some(2));
        assert_eq!(turn("a-clients-own-key"), None);
        assert_eq!(turn("a#1/b/1/2/c"), None);
        assert_eq!(turn(""), None);
    }
}
