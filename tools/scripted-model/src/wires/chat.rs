//! OpenAI Chat Completions: `POST /v1/chat/completions`, also spoken by Ollama, OpenRouter and most local servers.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat> and `…/chat-streaming`.

use serde_json::{Map, Value, json};

use super::{items_of, pieces, prose, str_of};
use crate::play::{Asked, Reply, Said, push_line};
use crate::script::{Stop, Tokens};

pub(super) fn parse(body: &Value) -> Asked {
    let mut asked = Asked::default();
    for tool in items_of(body, "tools") {
        asked.tools.push(tool.get("function").map_or("", |f| str_of(f, "name")).to_owned());
    }
    for message in items_of(body, "messages") {
        let text = prose(message.get("content"));
        match str_of(message, "role") {
            "assistant" => asked.assistant_speaks(),
            "system" | "developer" => push_line(&mut asked.system, &text),
            "tool" => asked.user_says("", vec![(text, false)]),
            _ => asked.user_says(&text, Vec::new()),
        }
    }
    asked
}

const fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "stop",
        Stop::ToolUse => "tool_calls",
        Stop::MaxTokens => "length",
        Stop::Refusal => "content_filter",
    }
}

fn usage(t: &Tokens) -> Value {
    let prompt = t.input + t.cache_read + t.cache_write;
    json!({
        "prompt_tokens": prompt, "completion_tokens": t.output, "total_tokens": prompt + t.output,
        "prompt_tokens_details": {"cached_tokens": t.cache_read},
    })
}

pub(super) fn body(reply: &Reply) -> Value {
    let text = texts(reply).concat();
    let calls: Vec<Value> = reply.blocks.iter().filter_map(call).collect();
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), if text.is_empty() { Value::Null } else { text.into() });
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    json!({
        "id": format!("chatcmpl-{}", reply.id), "object": "chat.completion", "created": 0, "model": reply.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason(reply.stop)}],
        "usage": usage(&reply.usage),
    })
}

fn texts(reply: &Reply) -> Vec<&str> {
    reply.blocks.iter().filter_map(prose_of).collect()
}

fn prose_of(said: &Said) -> Option<&str> {
    match said {
        Said::Text(text) => Some(text),
        Said::Thinking(_) | Said::Tool { .. } => None,
    }
}

fn call(said: &Said) -> Option<Value> {
    let Said::Tool { id, name, input } = said else { return None };
    let function = json!({"name": name, "arguments": input.to_string()});
    Some(json!({"id": id, "type": "function", "function": function}))
}

pub(super) fn chunks(reply: &Reply) -> Vec<Value> {
    let delta = |delta: Value| chunk(reply, &json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    let mut chunks = vec![delta(json!({"role": "assistant", "content": ""}))];
    for text in texts(reply) {
        chunks.extend(pieces(text).into_iter().map(|piece| delta(json!({"content": piece}))));
    }
    let calls = reply.blocks.iter().filter_map(call).enumerate();
    chunks
        .extend(calls.flat_map(|(n, call)| call_deltas(n, &call)).map(|d| delta(json!({"tool_calls": [d]}))));
    let end = json!([{"index": 0, "delta": {}, "finish_reason": finish_reason(reply.stop)}]);
    chunks.push(chunk(reply, &end));
    let mut last = chunk(reply, &json!([]));
    if let Some(members) = last.as_object_mut() {
        members.insert("usage".into(), usage(&reply.usage));
    }
    chunks.push(last);
    chunks
}

fn chunk(reply: &Reply, choices: &Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", reply.id), "object": "chat.completion.chunk", "created": 0,
        "model": reply.model, "choices": choices,
    })
}

fn call_deltas(index: usize, call: &Value) -> Vec<Value> {
    let function = call.get("function").cloned().unwrap_or_default();
    let head = json!({"index": index, "id": call.get("id"), "type": "function",
        "function": {"name": str_of(&function, "name"), "arguments": ""}});
    let rest = pieces(str_of(&function, "arguments"));
    let rest = rest.into_iter().map(|piece| json!({"index": index, "function": {"arguments": piece}}));
    std::iter::once(head).chain(rest).collect()
}
