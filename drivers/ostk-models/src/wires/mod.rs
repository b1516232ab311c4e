//! The three vendor wires: a request into a JSON body, a body or a stream of events into a reply.
//!
//! Pure functions over JSON; sending and receiving is `models.rs`. A stream is assembled into the object that the
//! vendor would have sent without streaming, so each wire has one decoder.

pub(crate) mod anthropic;
pub(crate) mod chat;
pub(crate) mod responses;

use ostk_agent::model::{Block, Message, ModelReply, ModelRequest, StopReason};
use serde_json::{Value, json};

use crate::error::ModelError;
use crate::models::Delta;
use crate::route::Route;
use crate::sse::Event;

/// A vendor's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions, also spoken by OpenRouter and most local servers.
    Chat,
    /// OpenAI Responses.
    Responses,
}

impl Wire {
    /// The name under which [`Block::Opaque`] keeps this wire's objects.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Chat => "openai-chat",
            Self::Responses => "openai-responses",
        }
    }

    /// The endpoint, below the base URL.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::Chat => "/chat/completions",
            Self::Responses => "/responses",
        }
    }

    /// The body of a streaming request.
    pub(crate) fn encode(self, request: &ModelRequest, route: &Route) -> Value {
        match self {
            Self::Anthropic => anthropic::encode(request, &route.model),
            Self::Chat => chat::encode(request, route),
            Self::Responses => responses::encode(request, &route.model),
        }
    }

    /// The reply in a body that was not streamed.
    pub(crate) fn decode(self, body: &Value, asked_model: &str) -> Result<ModelReply, ModelError> {
        if let Some(error) = body.get("error").filter(|error| !error.is_null()) {
            return Err(ModelError::of_event(error));
        }
        match self {
            Self::Anthropic => anthropic::decode(body, asked_model),
            Self::Chat => chat::decode(body, asked_model),
            Self::Responses => responses::decode(body, asked_model),
        }
    }

    pub(crate) fn assembler(self) -> Box<dyn Assembler + Send> {
        match self {
            Self::Anthropic => Box::new(anthropic::Assembler::default()),
            Self::Chat => Box::new(chat::Assembler::default()),
            Self::Responses => Box::new(responses::Assembler::default()),
        }
    }
}

/// Puts the events of a stream together.
pub(crate) trait Assembler {
    /// Takes the next event; returns what is new for a reader. An error object in the stream is an `Err`.
    fn take(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError>;

    /// Whether the vendor has said that the reply is complete: nothing more needs to be read.
    fn is_complete(&self) -> bool;

    /// The object that an unstreamed reply would have been; `None` if the stream broke off before its end.
    fn finish(&mut self) -> Option<Value>;
}

/// The data of an event as JSON.
fn json_of(event: &Event) -> Result<Value, ModelError> {
    serde_json::from_str(&event.data).map_err(|error| {
        let beginning: String = event.data.chars().take(80).collect();
        ModelError::malformed(format!("an event of the stream is not JSON ({error}): {beginning}"))
    })
}

pub(crate) fn str_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn items_of<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn count_of(value: Option<&Value>, key: &str) -> u64 {
    value.and_then(|v| v.get(key)).and_then(Value::as_u64).unwrap_or(0)
}

/// The model's name as the provider gives it, else as it was asked for.
fn model_of(body: &Value, asked_model: &str) -> String {
    let said = str_of(body, "model");
    if said.is_empty() { asked_model.to_owned() } else { said.to_owned() }
}

/// Tool arguments that came as text.
///
/// Text that is not a JSON object is kept as a string: the tool's schema refuses it and the model is told. Nothing
/// stands for no arguments.
pub(crate) fn arguments(text: &str) -> Value {
    if text.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// A reply cut by the token limit may end in half a tool call, which must not run.
///
/// Calls with incomplete arguments are dropped, and one without any at the very end: they had perhaps not begun.
fn without_torn_calls(mut content: Vec<Block>, stop: StopReason) -> Vec<Block> {
    if stop != StopReason::MaxTokens {
        return content;
    }
    content.retain(|block| !matches!(block, Block::ToolUse { input: Value::String(_), .. }));
    let is_bare = |input: &Value| input.as_object().is_some_and(serde_json::Map::is_empty);
    if matches!(content.last(), Some(Block::ToolUse { input, .. }) if is_bare(input)) {
        content.pop();
    }
    content
}

/// Whether an object that only its maker can read goes back: another model, also of the same vendor, refuses what it has
/// not signed. What does not say who made it is taken for the wire's own.
fn made_by((made_wire, made_model): (&str, &str), wire: &str, model: &str) -> bool {
    made_wire == wire && (made_model.is_empty() || made_model == model)
}

fn has_calls(content: &[Block]) -> bool {
    content.iter().any(|block| matches!(block, Block::ToolUse { .. }))
}

/// The blocks of a message in the order all wires want: answers to tool calls before anything else.
fn results_first(message: &Message) -> impl Iterator<Item = &Block> {
    let is_result = |block: &&Block| matches!(block, Block::ToolResult { .. });
    message.content.iter().filter(is_result).chain(message.content.iter().filter(move |b| !is_result(b)))
}
