//! The members of the daemon's objects, as the commands put them into calls and show them in tables.
//!
//! What a table looks like on a terminal is `output`'s; which members a command has is its own.

use std::time::Duration;

use serde_json::Value;

use crate::output::Output;

/// Puts into the arguments of a call what was given; what was not is left out.
pub(super) fn insert(call: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        call[name] = value.into();
    }
}

/// The arguments of a call with those of these texts that were given.
pub(super) fn given(mut call: Value, members: &[(&str, &Option<String>)]) -> Value {
    for (name, text) in members {
        insert(&mut call, name, text.as_deref());
    }
    call
}

/// A time as calls have it.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The text of a member, or nothing.
pub(super) fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

/// A value as a cell of a table: text as it is, `-` for nothing.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// These members as cells.
pub(super) fn cells<const N: usize>(row: &Value, names: [&str; N]) -> Vec<String> {
    names.iter().map(|name| cell(&row[*name])).collect()
}

/// A table with a line for each row, or what is said instead when there is none.
pub(super) fn table(
    output: &Output,
    rows: &Value,
    head: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
    nothing: &str,
) -> String {
    match rows.as_array().map(Vec::as_slice).unwrap_or_default() {
        [] => nothing.to_owned(),
        rows => output.table(head, &rows.iter().map(row).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_given_is_no_member() {
        let mut call = json!({ "name": "nightly" });
        insert(&mut call, "task", None::<&str>);
        insert(&mut call, "times", Some(3));
        assert_eq!(call, json!({ "name": "nightly", "times": 3 }));
    }

    #[test]
    fn a_cell_shows_text_without_quotes_and_nothing_as_a_dash() {
        let row = json!({ "name": "nightly", "left": null, "fired": 3 });
        assert_eq!(cells(&row, ["name", "left", "fired", "other"]), ["nightly", "-", "3", "-"]);
    }
}
