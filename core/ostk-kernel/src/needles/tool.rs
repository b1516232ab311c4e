//! The tool `work` that models see: one tool with an action, mapped onto the calls about work, and their results as text.

use serde_json::{Map, Value, json};

use crate::{
    call::{CallError, Code},
    table::{ArgKind, lookup},
};

/// What a model reads when there is nothing to claim.
const NOTHING: &str = "nothing can be begun now: what is open is claimed or waits for other needles";

/// The calls of the tool `work`, by its action.
pub(crate) const ACTIONS: &[(&str, &str)] = &[
    ("next", "work.next"),
    ("list", "work.list"),
    ("show", "work.show"),
    ("add", "work.add"),
    ("close", "work.close"),
    ("claim", "work.claim"),
    ("release", "work.release"),
    ("edit", "work.edit"),
    ("link", "work.link"),
    ("hay", "hay"),
    ("decide", "decide"),
];

/// Numbers and single words are taken where a text or a list is meant: models write `7` and `"make test"`.
pub(crate) fn work_call(args: &mut Map<String, Value>) -> Result<&'static str, CallError> {
    let action =
        args.remove("action").and_then(|action| action.as_str().map(str::to_owned)).unwrap_or_default();
    let found = ACTIONS.iter().find(|(known, _)| *known == action).map(|(_, call)| *call);
    let call = found.ok_or_else(|| {
        let known: Vec<&str> = ACTIONS.iter().map(|(known, _)| *known).collect();
        CallError::new(Code::Usage, format!("work: no action {action:?}"))
            .hint(format!("one of: {}", known.join(", ")))
    })?;
    let kinds = lookup(call).map_or(&[][..], |call| call.args);
    for arg in kinds {
        if let Some(value) = args.get_mut(arg.name) {
            let text = |value: &Value| if value.is_u64() { json!(value.to_string()) } else { value.clone() };
            match arg.kind {
                ArgKind::Text => *value = text(value),
                ArgKind::Texts if !value.is_array() => *value = json!([text(value)]),
                _ => {}
            }
        }
    }
    Ok(call)
}

/// Work as a model reads it: one needle in full, or a line for each.
pub(crate) fn work_text(value: &Value) -> String {
    match (value.get("needles").and_then(Value::as_array), value.get("needle")) {
        (Some(rows), _) if rows.is_empty() => "no needles".to_owned(),
        (Some(rows), _) => {
            let more = value["more"].as_u64().filter(|more| *more > 0);
            let more = more.map(|more| format!("[{more} more]"));
            rows.iter().map(line).chain(more).collect::<Vec<_>>().join("\n")
        }
        (None, Some(Value::Null)) => NOTHING.to_owned(),
        (None, Some(row)) => whole(row),
        (None, None) => value.to_string(),
    }
}

fn whole(row: &Value) -> String {
    let mut lines = vec![line(row)];
    let texts = ["description", "close_reason"].map(|name| words(row, name));
    lines.extend(texts.into_iter().filter(|words| !words.is_empty()));
    let commands = row["ac"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(commands.map(|command| format!("ac: {command}")));
    lines.extend(row["until"].as_str().map(|until| format!("claimed until {until}")));
    lines.join("\n")
}

fn line(row: &Value) -> String {
    let [id, priority, status, title] = ["id", "priority", "status", "title"].map(|name| words(row, name));
    let mut line = format!("{id} [{priority}] {status} {title}");
    for (name, label) in [("holder", "held by"), ("blocked_by", "waits for"), ("tags", "tags:")] {
        let words = words(row, name);
        if !words.is_empty() {
            line.push_str(&format!("; {label} {words}"));
        }
    }
    line
}

/// A member that is a text or a list of texts.
fn words(row: &Value, name: &str) -> String {
    match &row[name] {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}
