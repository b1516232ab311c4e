//! Anthropic Messages.
//!
//! Shapes: <https://platform.claude.com/docs/en/api/messages> and `…/build-with-claude/streaming`. Cache breakpoints
//! are set here, at most the four that the vendor allows: tools, system, the end of the conversation, and the user's
//! message before that, from which the previous call's cache is found.

use ostk_agent::model::{Block, Message, ModelReply, ModelRequest, Role, StopReason, ToolSpec, Usage};
use serde_json::{Map, Value, json};

use super::{
    arguments, count_of, has_calls, items_of, json_of, made_by, model_of, results_first, str_of,
    without_torn_calls,
};
use crate::error::ModelError;
use crate::models::Delta;
use crate::sse::Event;

/// Messages at the end of which a cache breakpoint stands.
const CACHED_MESSAGES: usize = 2;
/// Blocks of one reply; real ones hold a few dozen.
const MAX_BLOCKS: usize = 4_096;
const WIRE: &str = "anthropic";

pub(super) fn encode(request: &ModelRequest, model: &str) -> Value {
    let mut messages: Vec<Value> = request.messages.iter().filter_map(|said| message(said, model)).collect();
    let users = messages.iter_mut().rev().filter(|m| str_of(m, "role") == "user");
    users.take(CACHED_MESSAGES).for_each(|m| cache_last(m.get_mut("content")));
    let mut body = json!({
        "model": model, "max_tokens": request.max_tokens, "stream": true, "messages": messages,
    });
    if !request.system.is_empty() {
        let mut system = json!([{"type": "text", "text": request.system}]);
        cache_last(Some(&mut system));
        insert(&mut body, "system", system);
    }
    if !request.tools.is_empty() {
        let mut tools: Value = request.tools.iter().map(tool).collect();
        cache_last(Some(&mut tools));
        insert(&mut body, "tools", tools);
    }
    body
}

fn tool(tool: &ToolSpec) -> Value {
    json!({"name": tool.name, "description": tool.description, "input_schema": tool.input_schema})
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

/// Sets a cache breakpoint on the last object of a list.
fn cache_last(list: Option<&mut Value>) {
    if let Some(last) = list.and_then(Value::as_array_mut).and_then(|items| items.last_mut()) {
        insert(last, "cache_control", json!({"type": "ephemeral"}));
    }
}

/// A message, unless nothing of it can be said: the vendor refuses empty texts and empty messages.
fn message(message: &Message, model: &str) -> Option<Value> {
    let content: Vec<Value> = results_first(message).filter_map(|said| block(said, model)).collect();
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    (!content.is_empty()).then(|| json!({"role": role, "content": content}))
}

fn block(block: &Block, asked: &str) -> Option<Value> {
    match block {
        Block::Text { text } => (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text})),
        Block::ToolUse { id, name, input } => {
            // The wire takes only objects; what was no JSON object goes back wrapped, visible to the model.
            let input = if input.is_object() { input.clone() } else { json!({"malformed_arguments": input}) };
            Some(json!({"type": "tool_use", "id": id, "name": name, "input": input}))
        }
        Block::ToolResult { id, text, is_error } => {
            let mut result = json!({"type": "tool_result", "tool_use_id": id, "content": text});
            if *is_error {
                insert(&mut result, "is_error", true.into());
            }
            Some(result)
        }
        Block::Opaque { wire, model, value } => made_by((wire, model), WIRE, asked).then(|| value.clone()),
    }
}

pub(super) fn decode(body: &Value, asked_model: &str) -> Result<ModelReply, ModelError> {
    if str_of(body, "type") != "message" {
        return Err(ModelError::malformed("a message was expected"));
    }
    let content: Vec<Block> =
        items_of(body, "content").iter().map(|block| content_block(block, asked_model)).collect();
    let stop = stop_reason(str_of(body, "stop_reason"), &content);
    let usage = body.get("usage");
    Ok(ModelReply {
        model: model_of(body, asked_model),
        message_id: str_of(body, "id").to_owned(),
        content: without_torn_calls(content, stop),
        stop,
        usage: Usage {
            input: count_of(usage, "input_tokens"),
            output: count_of(usage, "output_tokens"),
            cache_read: count_of(usage, "cache_read_input_tokens"),
            cache_write: count_of(usage, "cache_creation_input_tokens"),
        },
    })
}

fn content_block(block: &Value, model: &str) -> Block {
    match str_of(block, "type") {
        "text" => Block::Text { text: str_of(block, "text").to_owned() },
        "tool_use" => Block::ToolUse {
            id: str_of(block, "id").to_owned(),
            name: str_of(block, "name").to_owned(),
            input: block.get("input").cloned().unwrap_or_else(|| json!({})),
        },
        _ => Block::Opaque { wire: WIRE.to_owned(), model: model.to_owned(), value: block.clone() },
    }
}

fn stop_reason(reason: &str, content: &[Block]) -> StopReason {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
        "stop_sequence" | "pause_turn" => StopReason::Pause,
        "refusal" => StopReason::Refusal,
        // `end_turn`, `tool_use`, and reasons of the future: the content tells whether an answer is awaited.
        _ if has_calls(content) => StopReason::ToolUse,
        _ => StopReason::EndTurn,
    }
}

/// Builds the message of an unstreamed reply.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    message: Option<Map<String, Value>>,
    blocks: Vec<Value>,
    /// The argument text of the block that is being received.
    partial_json: String,
    complete: bool,
}

impl super::Assembler for Assembler {
    fn take(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError> {
        let data = json_of(event)?;
        let delta = match str_of(&data, "type") {
            "message_start" => self.start(&data),
            "content_block_start" => self.start_block(&data)?,
            "content_block_delta" => self.extend_block(&data)?,
            "content_block_stop" => self.stop_block(),
            "message_delta" => self.update(&data),
            "message_stop" => {
                self.complete = true;
                None
            }
            "error" => return Err(ModelError::of_event(data.get("error").unwrap_or(&data))),
            // `ping`, and events of the future, which the vendor asks clients to ignore.
            _ => None,
        };
        Ok(delta.into_iter().collect())
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn finish(&mut self) -> Option<Value> {
        self.stop_block();
        let mut message = self.message.take().filter(|_| self.complete)?;
        message.insert("content".into(), Value::Array(std::mem::take(&mut self.blocks)));
        Some(Value::Object(message))
    }
}

impl Assembler {
    fn start(&mut self, data: &Value) -> Option<Delta> {
        self.message = data.get("message").and_then(Value::as_object).cloned();
        None
    }

    fn start_block(&mut self, data: &Value) -> Result<Option<Delta>, ModelError> {
        let block = data.get("content_block").cloned().unwrap_or_default();
        if data.get("index").and_then(Value::as_u64) != u64::try_from(self.blocks.len()).ok() {
            return Err(ModelError::malformed("the blocks of the stream are not numbered in order"));
        }
        if self.blocks.len() == MAX_BLOCKS {
            return Err(ModelError::malformed("more blocks than any reply holds"));
        }
        self.partial_json.clear();
        let delta = (str_of(&block, "type") == "tool_use").then(|| Delta::ToolCall {
            id: str_of(&block, "id").to_owned(),
            name: str_of(&block, "name").to_owned(),
        });
        self.blocks.push(block);
        Ok(delta)
    }

    fn extend_block(&mut self, data: &Value) -> Result<Option<Delta>, ModelError> {
        let delta = data.get("delta").cloned().unwrap_or_default();
        let Some(block) = self.blocks.last_mut() else {
            return Err(ModelError::malformed("a part of a block came before the block"));
        };
        let mut append = |key: &str| {
            let more = str_of(&delta, key);
            match block.get_mut(key) {
                Some(Value::String(text)) => text.push_str(more),
                _ => insert(block, key, more.into()),
            }
            more.to_owned()
        };
        Ok(match str_of(&delta, "type") {
            "text_delta" => Some(Delta::Text(append("text"))),
            "thinking_delta" => Some(Delta::Thinking(append("thinking"))),
            "signature_delta" => {
                append("signature");
                None
            }
            "input_json_delta" => {
                let more = str_of(&delta, "partial_json");
                self.partial_json.push_str(more);
                Some(Delta::ToolInput(more.to_owned()))
            }
            _ => None,
        })
    }

    fn stop_block(&mut self) -> Option<Delta> {
        let text = std::mem::take(&mut self.partial_json);
        if let Some(block) = self.blocks.last_mut().filter(|_| !text.is_empty()) {
            insert(block, "input", arguments(&text));
        }
        None
    }

    /// The counts of a `message_delta` are totals: they replace those of the start.
    fn update(&mut self, data: &Value) -> Option<Delta> {
        let message = self.message.as_mut()?;
        for (key, value) in data.get("delta").and_then(Value::as_object).into_iter().flatten() {
            message.insert(key.clone(), value.clone());
        }
        let usage = message.entry("usage").or_insert_with(|| json!({}));
        for (key, value) in data.get("usage").and_then(Value::as_object).into_iter().flatten() {
            if !value.is_null() {
                insert(usage, key, value.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Assembler as _;
    use super::*;

    fn message(content: Value, stop: &str) -> Value {
        json!({"type": "message", "id": "m", "model": "c", "content": content, "stop_reason": stop})
    }

    /// The reply of a stream of these events.
    fn streamed(events: &[Value]) -> Result<ModelReply, ModelError> {
        let mut assembler = Assembler::default();
        for data in events {
            assembler.take(&Event { name: String::new(), data: data.to_string() })?;
        }
        decode(&assembler.finish().ok_or_else(|| ModelError::stream("incomplete"))?, "asked")
    }

    #[test]
    fn each_reason_to_stop_has_its_meaning_and_an_unknown_one_follows_the_content() {
        let call = json!([{"type": "tool_use", "id": "t", "name": "n", "input": {}}]);
        let text = json!([{"type": "text", "text": "x"}]);
        for (content, reason, expected) in [
            (&text, "end_turn", StopReason::EndTurn),
            (&call, "tool_use", StopReason::ToolUse),
            (&text, "max_tokens", StopReason::MaxTokens),
            (&text, "model_context_window_exceeded", StopReason::MaxTokens),
            (&text, "stop_sequence", StopReason::Pause),
            (&text, "pause_turn", StopReason::Pause),
            (&text, "refusal", StopReason::Refusal),
            (&text, "of_the_future", StopReason::EndTurn),
            (&call, "of_the_future", StopReason::ToolUse),
        ] {
            assert_eq!(decode(&message(content.clone(), reason), "c").unwrap().stop, expected, "{reason}");
        }
    }

    #[test]
    fn blocks_this_driver_does_not_know_are_kept_as_they_came() {
        let redacted = json!({"type": "redacted_thinking", "data": "xyz"});
        let reply = decode(&message(json!([redacted]), "end_turn"), "c").unwrap();
        let kept = Block::Opaque { wire: WIRE.into(), model: "c".into(), value: redacted.clone() };
        assert_eq!(reply.content, [kept]);
        let back = Message { role: Role::Assistant, content: reply.content };
        assert_eq!(super::message(&back, "c").unwrap()["content"], json!([redacted]));
    }

    #[test]
    fn the_counts_at_the_end_of_a_stream_replace_those_at_its_start() {
        let mut begun = message(json!([]), "");
        begun["usage"] = json!({"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1});
        let end = json!({"input_tokens": 12, "cache_read_input_tokens": null, "output_tokens": 99});
        let reply = streamed(&[
            json!({"type": "message_start", "message": begun}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end}),
            json!({"type": "message_stop"}),
        ]);
        assert_eq!(reply.unwrap().usage, Usage { input: 12, output: 99, cache_read: 5, cache_write: 0 });
    }

    #[test]
    fn a_call_torn_by_the_token_limit_is_dropped_even_if_it_had_not_begun() {
        let open = |n: usize| {
            let call = json!({"type": "tool_use", "id": n.to_string(), "name": "n", "input": {}});
            json!({"type": "content_block_start", "index": n, "content_block": call})
        };
        let input = |text: &str| {
            let delta = json!({"type": "input_json_delta", "partial_json": text});
            json!({"type": "content_block_delta", "delta": delta})
        };
        let end = |stop: &str| json!({"type": "message_delta", "delta": {"stop_reason": stop}});
        let begin = json!({"type": "message_start", "message": message(json!([]), "")});
        let whole = [begin, open(0), input("{\"a\":1}"), json!({"type": "content_block_stop"}), open(1)];
        let calls_after = |rest: &[Value]| streamed(&[&whole[..], rest].concat()).unwrap().content.len();
        let stop = json!({"type": "message_stop"});
        assert_eq!(calls_after(&[input("{\"a\":"), end("max_tokens"), stop.clone()]), 1);
        assert_eq!(calls_after(&[end("max_tokens"), stop.clone()]), 1);
        assert_eq!(calls_after(&[end("tool_use"), stop]), 2, "a tool may want no arguments");
    }

    #[test]
    fn events_in_an_impossible_order_are_malformed() {
        let delta =
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}});
        let skipped =
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}});
        for event in [delta, skipped] {
            assert!(matches!(streamed(&[event]), Err(ModelError::Malformed { .. })));
        }
        assert!(matches!(streamed(&[json!({"type": "message_stop"})]), Err(ModelError::Stream { .. })));
    }
}
