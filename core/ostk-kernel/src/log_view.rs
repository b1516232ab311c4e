//! Between events and records: the one place that turns an [`Event`] into a [`Draft`] and back.

use ostk_log::{Draft, Timestamp};
use serde_json::{Map, Value};

use crate::event::Event;

/// A record for `event`.
pub(crate) fn draft_of(seq: u64, ts: Timestamp, epoch: u64, actor: String, event: &Event) -> Draft {
    let (name, body) = match serde_json::to_value(event) {
        Ok(Value::Object(mut tagged)) => (tagged.remove("event"), tagged.remove("body")),
        // An event is an enum of structs with string keys: its serialization cannot fail.
        _ => (None, None),
    };
    let event = name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let body = match body {
        Some(Value::Object(body)) => body,
        _ => Map::new(),
    };
    Draft { seq, ts, epoch, actor, event, body }
}

/// The event of a record.
pub(crate) fn event_of(draft: &Draft) -> Result<Event, String> {
    let mut tagged = Map::new();
    tagged.insert("event".to_owned(), Value::String(draft.event.clone()));
    tagged.insert("body".to_owned(), Value::Object(draft.body.clone()));
    serde_json::from_value(Value::Object(tagged)).map_err(|error| format!("{}: {error}", draft.event))
}
