//! Between events and records: the one place that turns an [`Event`] into a [`Draft`] and back.
//!
//! Reading borrows the record: a million records are folded at each start of a large project, and their bodies are
//! not copied for it. Called by `kernel` (to write) and `state` (to fold).

use ostk_log::{Draft, Timestamp};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};

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
    Event::deserialize(Tagged(draft)).map_err(|error| format!("{}: {error}", draft.event))
}

/// A record in the shape that `Event` is derived from: a map of `event` and `body`.
struct Tagged<'de>(&'de Draft);

impl<'de> Deserializer<'de> for Tagged<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Members { draft: self.0, given: 0 })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The two members, in the order in which the derived code wants them: the name first, so that nothing is buffered.
struct Members<'de> {
    draft: &'de Draft,
    given: u8,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let name = match self.given {
            0 => "event",
            1 => "body",
            _ => return Ok(None),
        };
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.given += 1;
        if self.given == 1 {
            let name: StrDeserializer<'_, Error> = self.draft.event.as_str().into_deserializer();
            return seed.deserialize(name);
        }
        seed.deserialize(&self.draft.body)
    }
}
