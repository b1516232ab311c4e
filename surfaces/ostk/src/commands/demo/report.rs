//! What the demo prints at its end.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    check::{Verdict, name_of},
    fleet::{Authored, Blame},
};
use crate::output::{Output, Paint};

pub(super) fn screen(
    output: &Output,
    report: &Value,
    verdict: &Verdict,
    blame: &Blame,
    problems: &[String],
    keep: bool,
) -> String {
    let agents = report["agents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let cell = |agent: &Value, name: &str| {
        agent[name].as_str().map_or_else(|| agent[name].to_string(), str::to_owned)
    };
    let rows: Vec<Vec<String>> = agents
        .iter()
        .map(|agent| {
            ["lineage", "turns", "acknowledged", "refused", "tokens"].map(|name| cell(agent, name)).to_vec()
        })
        .collect();
    let mut lines = vec![
        String::new(),
        output.table(&["AGENT", "TURNS", "ACKNOWLEDGED", "REFUSED", "TOKENS"], &rows),
        String::new(),
        authors(output, blame),
        String::new(),
    ];
    lines.push(format!(
        "{} writes acknowledged, {} lost; {} merged, {} assisted, {} refused; {} records, all verified; {} restart",
        report["acknowledged"], report["lost"], report["merged"], report["assisted"], report["refused"], report["records"], report["restarts"]
    ));
    lines.extend(
        verdict.refusals.iter().map(|reason| format!("{} {reason}", output.paint(Paint::Yellow, "refused"))),
    );
    lines.extend(problems.iter().map(|problem| format!("{} {problem}", output.paint(Paint::Red, "✗"))));
    if problems.is_empty() {
        lines.push(output.paint(
            Paint::Green,
            "✓ every acknowledged write is in the final files, and the files equal the log",
        ));
    }
    if keep {
        lines.push(format!("kept: {}", report["repo"].as_str().unwrap_or("")));
    }
    lines.join("\n")
}

/// A table of how many lines of each file are by whom, as `ostk blame` names them line by line.
fn authors(output: &Output, blame: &Blame) -> String {
    let writers: BTreeSet<&str> = blame.values().flatten().map(|line| line.writer.as_str()).collect();
    let count =
        |lines: &[Authored], writer: &str| match lines.iter().filter(|line| line.writer == writer).count() {
            0 => "-".to_owned(),
            count => count.to_string(),
        };
    let rows: Vec<Vec<String>> = blame
        .iter()
        .map(|(path, lines)| {
            let counts = writers.iter().map(|writer| count(lines, writer));
            std::iter::once(path.clone()).chain(counts).collect()
        })
        .collect();
    let name = |writer: &&str| name_of(writer).to_uppercase();
    let names: Vec<String> = std::iter::once("LINES OF".to_owned()).chain(writers.iter().map(name)).collect();
    output.table(&names.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}
