//! Anthropic Messages: `POST /v1/messages` and `/v1/messages/count_tokens`.
//!
//! Shapes: <https://platform.claude.com/docs/en/api/messages> and `…/build-with-claude/streaming`.

use serde_json::{Value, json};

use super::{items_of, pieces, prose, str_of};
use crate::play::{Asked, Reply, Said};
use crate::script::{Stop, Tokens};

pub(super) fn parse(body: &Value) -> Asked {
    let mut asked = Asked { system: prose(body.get("system")), ..Asked::default() };
    asked.tools = items_of(body, "tools").iter().map(|tool| str_of(tool, "name").to_owned()).collect();
    for message in items_of(body, "messages") {
        if str_of(message, "role") == "assistant" {
            asked.assistant_speaks();
        } else {
            let results = items_of(message, "content").iter().filter(|b| str_of(b, "type") == "tool_result");
            let text = match message.get("content") {
                Some(Value::Array(_)) => prose_of_blocks(items_of(message, "content")),
                other => prose(other),
            };
            asked.user_says(&text, results.map(result).collect());
        }
    }
    asked
}

fn prose_of_blocks(blocks: &[Value]) -> String {
    let texts: Vec<Value> = blocks.iter().filter(|b| str_of(b, "type") == "text").cloned().collect();
    prose(Some(&Value::Array(texts)))
}

fn result(block: &Value) -> (String, bool) {
    let is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
    (prose(block.get("content")), is_error)
}

const fn stop_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "end_turn",
        Stop::ToolUse => "tool_use",
        Stop::MaxTokens => "max_tokens",
        Stop::Refusal => "refusal",
    }
}

fn usage(t: &Tokens) -> Value {
    json!({
        "input_tokens": t.input,
        "cache_creation_input_tokens": t.cache_write,
        "cache_read_input_tokens": t.cache_read,
        "output_tokens": t.output,
    })
}

fn message(reply: &Reply, content: &[Value], stop: Value, usage: Value) -> Value {
    json!({
        "id": format!("msg_{}", reply.id), "type": "message", "role": "assistant", "model": reply.model,
        "content": content, "stop_reason": stop, "stop_sequence": null, "usage": usage,
    })
}

pub(super) fn body(reply: &Reply) -> Value {
    let content: Vec<Value> = reply.blocks.iter().map(block).collect();
    message(reply, &content, stop_reason(reply.stop).into(), usage(&reply.usage))
}

fn block(said: &Said) -> Value {
    match said {
        Said::Text(text) => json!({"type": "text", "text": text}),
        Said::Thinking(text) => json!({"type": "thinking", "thinking": text, "signature": signature(text)}),
        Said::Tool { id, name, input } => json!({"type": "tool_use", "id": id, "name": name, "input": input}),
    }
}

/// Stands for the vendor's signature; it only has to come back unchanged.
fn signature(text: &str) -> String {
    format!("c2NyaXB0ZWQ{}", text.len())
}

pub(super) fn events(reply: &Reply) -> Vec<Value> {
    let begun = Tokens { output: 1, ..reply.usage };
    let mut events = vec![
        json!({"type": "message_start", "message": message(reply, &[], Value::Null, usage(&begun))}),
        json!({"type": "ping"}),
    ];
    for (index, said) in reply.blocks.iter().enumerate() {
        events
            .push(json!({"type": "content_block_start", "index": index, "content_block": empty_block(said)}));
        let delta = |delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        events.extend(deltas(said).into_iter().map(delta));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let delta = json!({"stop_reason": stop_reason(reply.stop), "stop_sequence": null});
    events.push(
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": reply.usage.output}}),
    );
    events.push(json!({"type": "message_stop"}));
    events
}

fn empty_block(said: &Said) -> Value {
    match said {
        Said::Text(_) => json!({"type": "text", "text": ""}),
        Said::Thinking(_) => json!({"type": "thinking", "thinking": "", "signature": ""}),
        Said::Tool { id, name, .. } => json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
    }
}

fn deltas(said: &Said) -> Vec<Value> {
    match said {
        Said::Text(text) => {
            pieces(text).into_iter().map(|p| json!({"type": "text_delta", "text": p})).collect()
        }
        Said::Thinking(text) => {
            let thinking = pieces(text).into_iter().map(|p| json!({"type": "thinking_delta", "thinking": p}));
            let signed = json!({"type": "signature_delta", "signature": signature(text)});
            thinking.chain(std::iter::once(signed)).collect()
        }
        Said::Tool { input, .. } => {
            let json = pieces(&input.to_string());
            json.into_iter().map(|p| json!({"type": "input_json_delta", "partial_json": p})).collect()
        }
    }
}
