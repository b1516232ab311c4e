//! Between events and records: the one place that turns an [`Event`] into a [`Draft`] and back.
//!
//! Reading borrows the record: a million records are folded at each start of a large project, and their bodies are
//! neither copied nor read into a tree of values for it. Called by `kernel` (to write) and `state` (to fold).

use ostk_log::{Draft, Header, Timestamp};
use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor,
        value::StrDeserializer,
    },
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

/// The event of a record that is not a line yet.
pub(crate) fn event_of(draft: &Draft) -> Result<Event, String> {
    Event::deserialize(Tagged { event: &draft.event, body: &draft.body })
        .map_err(|error| format!("{}: {error}", draft.event))
}

/// The event of a record's line.
pub(crate) fn event_of_line(header: &Header<'_>) -> Result<Event, String> {
    let mut body = serde_json::Deserializer::from_slice(header.body);
    let event = Event::deserialize(Tagged { event: header.event, body: &mut body });
    event.and_then(|event| body.end().map(|()| event)).map_err(|error| format!("{}: {error}", header.event))
}

/// A record in the shape that `Event` is derived from: a map of `event` and `body`.
struct Tagged<'a, B> {
    event: &'a str,
    body: B,
}

impl<'de, B: Deserializer<'de, Error = Error>> Deserializer<'de> for Tagged<'_, B> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Members { event: Some(self.event), body: Some(self.body) })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The two members, in the order in which the derived code wants them: the name first, so that nothing is buffered.
struct Members<'a, B> {
    event: Option<&'a str>,
    body: Option<B>,
}

impl<'de, B: Deserializer<'de, Error = Error>> MapAccess<'de> for Members<'_, B> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let name = match (self.event, &self.body) {
            (Some(_), _) => "event",
            (None, Some(_)) => "body",
            (None, None) => return Ok(None),
        };
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        if let Some(name) = self.event.take() {
            let name: StrDeserializer<'_, Error> = name.into_deserializer();
            return seed.deserialize(name);
        }
        let body =
            self.body.take().ok_or_else(|| Error::custom("a member was asked for that is not there"))?;
        seed.deserialize(body)
    }
}

#[cfg(test)]
mod tests {
    use ostk_log::{Hash, KeyId, Signer, seal};
    use serde_json::json;

    use super::*;

    struct Unsigned(KeyId);

    impl Signer for Unsigned {
        fn key_id(&self) -> &KeyId {
            &self.0
        }

        fn sign(&self, _message: &[u8]) -> [u8; 64] {
            [0; 64]
        }
    }

    fn line(event: &str, body: Value) -> Vec<u8> {
        let Value::Object(body) = body else { panic!("a body is an object") };
        let ts = Timestamp::from_micros(0);
        let draft = Draft { seq: 0, ts, epoch: 1, actor: "kernel".into(), event: event.into(), body };
        seal(&draft, &Hash::ZERO, &Unsigned(KeyId::from_public_key([1; 32]))).unwrap().line
    }

    #[test]
    fn an_event_reads_the_same_from_its_draft_and_from_its_line() {
        let events = [
            Event::AnchorStarted {
                version: "1 \"é\"\n".into(),
                recovered: Some(json!({ "torn": [1, 2.5, null] })),
            },
            Event::AnchorStopped { reason: String::new() },
            Event::PolicyRejected { problems: vec!["a".into(), "b".into()] },
            Event::NoteAdded { text_blob: Hash::ZERO, key: None },
        ];
        for event in events {
            let draft = draft_of(3, Timestamp::from_micros(7), 2, "kernel".into(), &event);
            let sealed = seal(&draft, &Hash::ZERO, &Unsigned(KeyId::from_public_key([1; 32]))).unwrap().line;
            assert_eq!(event_of(&draft).unwrap(), event);
            assert_eq!(event_of_line(&Header::scan(&sealed).unwrap()).unwrap(), event);
        }
    }

    #[test]
    fn an_event_that_is_unknown_or_lacks_a_member_is_named() {
        for (event, body) in [("file.painted", json!({})), ("anchor.stopped", json!({ "why": "?" }))] {
            let line = line(event, body);
            let error = event_of_line(&Header::scan(&line).unwrap()).unwrap_err();
            assert!(error.starts_with(event), "{error}");
        }
    }
}
