//! The three vendor wires: a request's JSON into [`Asked`], a [`Reply`] into a body or a stream of events.
//!
//! Parsing is lenient, as real clients send fields that no script cares about; rendering follows the vendors'
//! documented shapes, because clients are strict. Serving bytes is `server.rs`.

pub(crate) mod anthropic;
pub(crate) mod chat;
pub(crate) mod responses;

use serde_json::{Value, json};

use crate::play::{Asked, Reply, push_line};

/// A wire, chosen by the path of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
}

impl Wire {
    pub(crate) fn parse(self, body: &Value) -> Asked {
        let mut asked = match self {
            Self::Anthropic => anthropic::parse(body),
            Self::Chat => chat::parse(body),
            Self::Responses => responses::parse(body),
        };
        asked.model = str_of(body, "model").to_owned();
        asked.stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
        asked
    }

    /// The whole reply as one JSON object.
    pub(crate) fn body(self, reply: &Reply) -> Value {
        match self {
            Self::Anthropic => anthropic::body(reply),
            Self::Chat => chat::body(reply),
            Self::Responses => responses::body(reply),
        }
    }

    /// The reply as server-sent events, each with its closing blank line.
    pub(crate) fn events(self, reply: &Reply) -> Vec<String> {
        match self {
            Self::Anthropic => anthropic::events(reply).iter().map(typed_event).collect(),
            Self::Responses => responses::events(reply).iter().map(typed_event).collect(),
            Self::Chat => {
                let chunks = chat::chunks(reply);
                let done = std::iter::once("data: [DONE]\n\n".to_owned());
                chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(done).collect()
            }
        }
    }

    /// An error in the vendor's shape.
    pub(crate) fn error(self, status: u16, message: &str) -> Value {
        let kind = error_kind(status);
        match self {
            Self::Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
            Self::Chat | Self::Responses => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
            }
        }
    }
}

/// The vendors' names of error classes (Anthropic's list; OpenAI's clients look at the status only).
const fn error_kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

/// An event whose name is repeated in its data, as Anthropic and Responses do.
fn typed_event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", str_of(data, "type"))
}

fn str_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items_of<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The prose of a content that is a string or a list of parts.
fn prose(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let mut text = String::new();
            parts.iter().for_each(|part| push_line(&mut text, str_of(part, "text")));
            text
        }
        _ => String::new(),
    }
}

/// `text` in the pieces in which it is streamed: a few characters each, so that assembling them is exercised.
fn pieces(text: &str) -> Vec<String> {
    const CHARACTERS: usize = 16;
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(CHARACTERS).map(|piece| piece.iter().collect()).collect()
}
