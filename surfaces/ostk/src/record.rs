//! A record as a person reads it: one line, or all of it. Used by everything that prints records.

use libostk::{Entry, Header, Record};
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    output::{Output, Paint},
};

/// Longest summary in characters: a line of a terminal.
const MAX_SUMMARY: usize = 120;

/// The record of an entry.
pub(crate) fn parse(entry: &Entry) -> Result<Record, Failure> {
    entry.record().map_err(|error| {
        Failure::check(format!("record {}: {error}", entry.seq))
            .hint("ostk audit verify --deep says what is wrong")
    })
}

/// The members of a record that can be read without its body.
pub(crate) fn header(entry: &Entry) -> Result<Header<'_>, Failure> {
    Header::scan(&entry.line).map_err(|error| Failure::check(format!("record {}: {error}", entry.seq)))
}

/// `    42 12:00:01 agent:worker-a  file.read  src/main.rs`.
pub(crate) fn line(output: &Output, record: &Record) -> String {
    let text = record.ts.to_string();
    let time = text.get(11..19).unwrap_or(&text).to_owned();
    let event = output.paint(color(&record.event), &format!("{:<19}", record.event));
    let seq = output.paint(Paint::Yellow, &format!("{:>6}", record.seq));
    format!("{seq} {time} {:<20} {event} {}", record.actor, summary(&record.event, &record.body))
}

fn color(event: &str) -> Paint {
    match event {
        "gate.denied" | "policy.rejected" => Paint::Red,
        "file.conflict" | "file.foreign" | "approval.requested" | "approval.answered" => Paint::Yellow,
        "file.write.intent" | "file.write.receipt" => Paint::Green,
        _ => Paint::Cyan,
    }
}

/// What matters about an event, in a few words.
pub(crate) fn summary(event: &str, body: &Map<String, Value>) -> String {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let words = match event {
        "file.write.intent" => changes(body),
        "file.write.receipt" | "shell.receipt" => receipt(body),
        "gate.denied" | "approval.requested" => text("reason"),
        "approval.answered" => answer(body),
        "label.changed" => {
            let taken = if body.get("taken") == Some(&Value::Bool(true)) { "taken by" } else { "taken off" };
            format!("{} {taken} {}{}", text("label"), text("lineage"), text("path"))
        }
        "session.started" => format!("{} {}", text("client"), text("pin")),
        "file.read" | "file.conflict" => text("path"),
        "file.foreign" => {
            let path = body.get("change").and_then(|change| change.get("path"));
            format!("{} noticed by {}", path.and_then(Value::as_str).unwrap_or("?"), plain(body.get("via")))
        }
        "quarantine.taken" => format!("{} {}", text("path"), text("item")),
        "hay.filed" => text("text"),
        "needle.added" => format!("{} {}", text("id"), text("title")),
        "needle.checked" => format!("{} stays open: {}", text("id"), text("problem")),
        "needle.closed" => {
            let forced = if body.get("forced") == Some(&Value::Bool(true)) { " by force: " } else { " " };
            format!("{}{forced}{}", text("id"), text("reason"))
        }
        "needle.assigned" => format!("{} to {}", text("id"), text("lineage")),
        "needle.reminded" => format!("{} of {}", text("lineage"), plain(body.get("needles"))),
        "needle.released" => format!("{} of {}: {}", text("id"), text("holder"), text("reason")),
        "nudge.sent" => format!("to {}", text("to")),
        "agent.signalled" => format!("{} {}", text("signal"), text("lineage")),
        "search.receipt" => format!("{:?}: {} matches", text("pattern"), plain(body.get("matches"))),
        "agent.step" => step(body),
        "model.substituted" => {
            let problem = body.get("problem").map(|why| format!("; not used: {}", plain(Some(why))));
            format!(
                "{} for {}: {}{}",
                text("fallback"),
                text("model"),
                text("why"),
                problem.unwrap_or_default()
            )
        }
        "anchor.started" => text("version"),
        "anchor.stopped" => text("reason"),
        "policy.loaded" => text("fingerprint").chars().take(12).collect(),
        _ => rest(body),
    };
    clip(words.trim())
}

fn changes(body: &Map<String, Value>) -> String {
    let list = body.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let one = |change: &Value| {
        let merged = if change.get("merged") == Some(&Value::Bool(true)) { " (merged)" } else { "" };
        let gone = if change.get("after").is_none_or(Value::is_null) { " (deleted)" } else { "" };
        format!("{}{merged}{gone}", change.get("path").and_then(Value::as_str).unwrap_or("?"))
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn receipt(body: &Map<String, Value>) -> String {
    let intent = plain(body.get("intent"));
    let how = match (body.get("problem").and_then(Value::as_str), body.get("exit")) {
        (Some(problem), _) => format!("failed: {problem}"),
        (None, Some(exit)) => format!("exit {}", plain(Some(exit))),
        (None, None) => "done".to_owned(),
    };
    format!("of {intent}: {how}")
}

fn answer(body: &Map<String, Value>) -> String {
    let granted = body.get("granted") == Some(&Value::Bool(true));
    let word = if granted { format!("granted ({})", plain(body.get("scope"))) } else { "denied".to_owned() };
    let why = body.get("reason").map(|why| format!(": {}", plain(Some(why)))).unwrap_or_default();
    format!("question {} {word}{why}", plain(body.get("approval")))
}

fn step(body: &Map<String, Value>) -> String {
    let step = body.get("step").cloned().unwrap_or_default();
    let mut words = vec![plain(body.get("lineage")), plain(step.get("step"))];
    words.extend(step.get("fallback").map(|model| format!("to fallback {}", plain(Some(model)))));
    words.extend(step.get("outcome").and_then(|outcome| outcome.get("kind")).map(|kind| plain(Some(kind))));
    words.extend(step.get("error").map(|error| plain(Some(error))));
    words.join(" ")
}

/// Everything but the inputs of the verdict, which are long and the same everywhere.
fn rest(body: &Map<String, Value>) -> String {
    let members = body.iter().filter(|(name, _)| !matches!(name.as_str(), "request" | "requests"));
    members.map(|(name, value)| format!("{name}={}", plain(Some(value)))).collect::<Vec<_>>().join(" ")
}

fn plain(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// One printable line of at most [`MAX_SUMMARY`] characters.
pub(crate) fn clip(text: &str) -> String {
    let mut out: String =
        text.chars().take(MAX_SUMMARY).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_SUMMARY).is_some() {
        out.push('…');
    }
    out
}
