//! OpenAI Chat Completions, as OpenAI, OpenRouter, Ollama and other local servers speak it.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat> and `…/chat-streaming`. Lenient where local servers
//! differ: missing identifiers, `stop` where calls were made, several calls under one index, no `[DONE]`.

use ostk_agent::model::{Block, Message, ModelReply, ModelRequest, Role, StopReason, ToolSpec, Usage};
use serde_json::{Map, Value, json};

use super::{arguments, count_of, has_calls, items_of, json_of, model_of, str_of, without_torn_calls};
use crate::error::ModelError;
use crate::models::Delta;
use crate::route::{Provider, Route};
use crate::sse::Event;

/// Tool calls of one reply; real ones hold a few dozen.
const MAX_CALLS: usize = 1_024;

pub(super) fn encode(request: &ModelRequest, route: &Route) -> Value {
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": request.system}));
    }
    request.messages.iter().for_each(|message| push_message(&mut messages, message));
    let mut body = Map::new();
    body.insert("model".into(), route.model.clone().into());
    // OpenAI's reasoning models refuse the old name, most other servers know only that.
    let limit = if route.provider == Provider::OpenAi { "max_completion_tokens" } else { "max_tokens" };
    body.insert(limit.into(), request.max_tokens.into());
    body.insert("messages".into(), messages.into());
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
    }
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    Value::Object(body)
}

fn tool(tool: &ToolSpec) -> Value {
    let function =
        json!({"name": tool.name, "description": tool.description, "parameters": tool.input_schema});
    json!({"type": "function", "function": function})
}

fn push_message(messages: &mut Vec<Value>, message: &Message) {
    match message.role {
        Role::User => push_user(messages, message),
        Role::Assistant => messages.extend(assistant(message)),
    }
}

/// Answers to calls are messages of their own and come first.
fn push_user(messages: &mut Vec<Value>, message: &Message) {
    for block in &message.content {
        if let Block::ToolResult { id, text, is_error: _ } = block {
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
        }
    }
    let text = texts(message);
    if !text.is_empty() {
        messages.push(json!({"role": "user", "content": text}));
    }
}

fn assistant(message: &Message) -> Option<Value> {
    let text = texts(message);
    let calls: Vec<Value> = message.content.iter().filter_map(call).collect();
    let mut body = Map::new();
    body.insert("role".into(), "assistant".into());
    body.insert("content".into(), if text.is_empty() { Value::Null } else { text.clone().into() });
    if calls.is_empty() && text.is_empty() {
        return None;
    }
    if !calls.is_empty() {
        body.insert("tool_calls".into(), calls.into());
    }
    Some(Value::Object(body))
}

fn texts(message: &Message) -> String {
    let text = |block: &Block| match block {
        Block::Text { text } if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    message.content.iter().filter_map(text).collect::<Vec<_>>().join("\n\n")
}

fn call(block: &Block) -> Option<Value> {
    let Block::ToolUse { id, name, input } = block else { return None };
    let function = json!({"name": name, "arguments": argument_text(input)});
    Some(json!({"id": id, "type": "function", "function": function}))
}

/// The inverse of [`arguments`].
pub(super) fn argument_text(input: &Value) -> String {
    match input {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn decode(body: &Value, asked_model: &str) -> Result<ModelReply, ModelError> {
    let choice =
        items_of(body, "choices").first().ok_or_else(|| ModelError::malformed("a choice was expected"))?;
    let message = choice.get("message").ok_or_else(|| ModelError::malformed("a message was expected"))?;
    let id = str_of(body, "id");
    let refusal = str_of(message, "refusal");
    let texts = [str_of(message, "content"), refusal].into_iter().filter(|text| !text.is_empty());
    let mut content: Vec<Block> = texts.map(|text| Block::Text { text: text.to_owned() }).collect();
    let calls = items_of(message, "tool_calls").iter().enumerate();
    content.extend(calls.map(|(n, call)| tool_use(id, n, call)));
    let stop = match str_of(choice, "finish_reason") {
        "length" => StopReason::MaxTokens,
        "content_filter" => StopReason::Refusal,
        _ if !refusal.is_empty() => StopReason::Refusal,
        _ if has_calls(&content) => StopReason::ToolUse,
        _ => StopReason::EndTurn,
    };
    Ok(ModelReply {
        model: model_of(body, asked_model),
        message_id: id.to_owned(),
        content: without_torn_calls(content, stop),
        stop,
        usage: usage(body.get("usage")),
    })
}

fn tool_use(reply_id: &str, n: usize, call: &Value) -> Block {
    let function = call.get("function").cloned().unwrap_or_default();
    let id = str_of(call, "id");
    let input = match function.get("arguments") {
        Some(object @ Value::Object(_)) => object.clone(),
        other => arguments(other.and_then(Value::as_str).unwrap_or_default()),
    };
    Block::ToolUse {
        id: if id.is_empty() { format!("call_{reply_id}_{n}") } else { id.to_owned() },
        name: str_of(&function, "name").to_owned(),
        input,
    }
}

fn usage(usage: Option<&Value>) -> Usage {
    let cached = count_of(usage.and_then(|u| u.get("prompt_tokens_details")), "cached_tokens");
    Usage {
        input: count_of(usage, "prompt_tokens").saturating_sub(cached),
        output: count_of(usage, "completion_tokens"),
        cache_read: cached,
        cache_write: 0,
    }
}

/// Builds the completion of an unstreamed reply.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    id: String,
    model: String,
    content: String,
    refusal: String,
    calls: Vec<Call>,
    finish_reason: Option<String>,
    usage: Value,
    done: bool,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl super::Assembler for Assembler {
    fn take(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError> {
        if event.data.trim() == "[DONE]" {
            self.done = true;
            return Ok(Vec::new());
        }
        let chunk = json_of(event)?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(ModelError::of_event(error));
        }
        for (mine, key) in [(&mut self.id, "id"), (&mut self.model, "model")] {
            if mine.is_empty() {
                str_of(&chunk, key).clone_into(mine);
            }
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = usage.clone();
        }
        match items_of(&chunk, "choices").first() {
            Some(choice) => self.extend(choice),
            None => Ok(Vec::new()),
        }
    }

    fn is_complete(&self) -> bool {
        self.done
    }

    /// Some servers close without `[DONE]`; a reason to finish is enough.
    fn finish(&mut self) -> Option<Value> {
        let reason = self.finish_reason.take()?;
        let call = |c: &Call| json!({"id": c.id, "function": {"name": c.name, "arguments": c.arguments}});
        let calls: Vec<Value> = self.calls.iter().map(call).collect();
        let message = json!({"content": self.content, "refusal": self.refusal, "tool_calls": calls});
        Some(json!({
            "id": self.id, "model": self.model, "usage": self.usage,
            "choices": [{"message": message, "finish_reason": reason}],
        }))
    }
}

impl Assembler {
    fn extend(&mut self, choice: &Value) -> Result<Vec<Delta>, ModelError> {
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish_reason = Some(reason.to_owned());
        }
        let delta = choice.get("delta").cloned().unwrap_or_default();
        let mut deltas = Vec::new();
        // Reasoning is shown but not kept: this wire has no way to give it back.
        for key in ["reasoning_content", "reasoning"] {
            deltas.extend(said(&delta, key).map(|text| Delta::Thinking(text.to_owned())));
        }
        for (mine, key) in [(&mut self.content, "content"), (&mut self.refusal, "refusal")] {
            if let Some(text) = said(&delta, key) {
                mine.push_str(text);
                deltas.push(Delta::Text(text.to_owned()));
            }
        }
        for part in items_of(&delta, "tool_calls") {
            self.extend_call(part, &mut deltas)?;
        }
        Ok(deltas)
    }

    fn extend_call(&mut self, part: &Value, deltas: &mut Vec<Delta>) -> Result<(), ModelError> {
        let function = part.get("function").cloned().unwrap_or_default();
        let (index, id) = (part.get("index").and_then(Value::as_u64), str_of(part, "id"));
        // An identifier names its call; without one the part belongs to the newest call of its index.
        let known = self
            .calls
            .iter()
            .rposition(|call| if id.is_empty() { call.index == index } else { call.id == id });
        let known = match known {
            Some(known) => known,
            None if self.calls.len() == MAX_CALLS => {
                return Err(ModelError::malformed("more tool calls than any reply holds"));
            }
            None => {
                let name = str_of(&function, "name").to_owned();
                deltas.push(Delta::ToolCall { id: id.to_owned(), name: name.clone() });
                self.calls.push(Call { index, id: id.to_owned(), name, arguments: String::new() });
                self.calls.len() - 1
            }
        };
        if let (Some(call), Some(text)) = (self.calls.get_mut(known), said(&function, "arguments")) {
            call.arguments.push_str(text);
            deltas.push(Delta::ToolInput(text.to_owned()));
        }
        Ok(())
    }
}

fn said<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    Some(str_of(value, key)).filter(|text| !text.is_empty())
}
