//! OpenAI Responses: `POST /v1/responses`.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/responses> and `…/responses-streaming`. A tool inside a
//! namespace is named `NAMESPACE/TOOL`; a call whose input is a string is one of a custom tool, which takes plain text.

use serde_json::{Value, json};

use super::{items_of, pieces, prose, str_of};
use crate::play::{Asked, Reply, Said, push_line};
use crate::script::{Stop, Tokens};

pub(super) fn parse(body: &Value) -> Asked {
    let mut asked = Asked { system: str_of(body, "instructions").to_owned(), ..Asked::default() };
    asked.tools = items_of(body, "tools").iter().flat_map(names).collect();
    if let Some(text) = body.get("input").and_then(Value::as_str) {
        asked.user_says(text, Vec::new());
    }
    for item in items_of(body, "input") {
        hear(&mut asked, item);
    }
    asked
}

/// The names under which a script calls an announced tool: its own, or one for each tool of a namespace.
fn names(tool: &Value) -> Vec<String> {
    let name = str_of(tool, "name");
    match str_of(tool, "type") {
        "namespace" => {
            items_of(tool, "tools").iter().map(|inner| format!("{name}/{}", str_of(inner, "name"))).collect()
        }
        _ => vec![name.to_owned()],
    }
}

fn hear(asked: &mut Asked, item: &Value) {
    let kind = str_of(item, "type");
    match (kind, str_of(item, "role")) {
        ("function_call_output" | "custom_tool_call_output", _) => {
            asked.user_says("", vec![(prose(item.get("output")), false)]);
        }
        (_, "system" | "developer") => push_line(&mut asked.system, &prose(item.get("content"))),
        (_, "user") => asked.user_says(&prose(item.get("content")), Vec::new()),
        _ => asked.assistant_speaks(),
    }
}

fn usage(t: &Tokens) -> Value {
    let input = t.input + t.cache_read + t.cache_write;
    json!({
        "input_tokens": input, "input_tokens_details": {"cached_tokens": t.cache_read},
        "output_tokens": t.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input + t.output,
    })
}

fn response(reply: &Reply, status: &str, output: &[Value], usage: Value) -> Value {
    let reason = match reply.stop {
        Stop::MaxTokens => "max_output_tokens",
        _ => "content_filter",
    };
    let details = if status == "incomplete" { json!({"reason": reason}) } else { Value::Null };
    json!({
        "id": format!("resp_{}", reply.id), "object": "response", "created_at": 0, "status": status,
        "error": null, "incomplete_details": details, "model": reply.model, "output": output,
        "parallel_tool_calls": true, "usage": usage,
    })
}

const fn final_status(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::ToolUse => "completed",
        Stop::MaxTokens | Stop::Refusal => "incomplete",
    }
}

pub(super) fn body(reply: &Reply) -> Value {
    let output: Vec<Value> = reply.blocks.iter().enumerate().map(|(n, said)| item(reply, n, said)).collect();
    response(reply, final_status(reply.stop), &output, usage(&reply.usage))
}

fn item_id(reply: &Reply, index: usize, said: &Said) -> String {
    let kind = match said {
        Said::Text(_) => "msg",
        Said::Thinking(_) => "rs",
        Said::Tool { input: Value::String(_), .. } => "ctc",
        Said::Tool { .. } => "fc",
    };
    format!("{kind}_{}_{index}", reply.id)
}

fn item(reply: &Reply, index: usize, said: &Said) -> Value {
    let id = item_id(reply, index, said);
    match said {
        Said::Text(text) => json!({"type": "message", "id": id, "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}),
        Said::Thinking(text) => json!({"type": "reasoning", "id": id,
            "summary": [{"type": "summary_text", "text": text}], "encrypted_content": "c2NyaXB0ZWQ"}),
        Said::Tool { id: call, name, input } => tool_call(&id, call, name, input),
    }
}

fn tool_call(id: &str, call: &str, name: &str, input: &Value) -> Value {
    let (namespace, name) = name.split_once('/').map_or((None, name), |(space, name)| (Some(space), name));
    let mut item = match input {
        Value::String(text) => json!({"type": "custom_tool_call", "input": text}),
        input => json!({"type": "function_call", "arguments": input.to_string()}),
    };
    let common = [("id", id), ("status", "completed"), ("call_id", call), ("name", name)];
    if let Some(members) = item.as_object_mut() {
        members.extend(common.map(|(key, value)| (key.to_owned(), value.into())));
        members.extend(namespace.map(|space| ("namespace".to_owned(), space.into())));
    }
    item
}

pub(super) fn events(reply: &Reply) -> Vec<Value> {
    let begun = response(reply, "in_progress", &[], Value::Null);
    let mut events = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
    ];
    for (index, said) in reply.blocks.iter().enumerate() {
        let done = item(reply, index, said);
        events.push(
            json!({"type": "response.output_item.added", "output_index": index, "item": opened(&done)}),
        );
        events.extend(item_events(&item_id(reply, index, said), index, said));
        events.push(json!({"type": "response.output_item.done", "output_index": index, "item": done}));
    }
    let end = format!("response.{}", final_status(reply.stop));
    events.push(json!({"type": end, "response": body(reply)}));
    numbered(events)
}

/// The item as it is announced, before its content.
fn opened(done: &Value) -> Value {
    let mut item = done.clone();
    let empty = [
        ("content", json!([])),
        ("arguments", json!("")),
        ("input", json!("")),
        ("status", json!("in_progress")),
    ];
    for (key, empty) in empty {
        if let Some(member) = item.get_mut(key) {
            *member = empty;
        }
    }
    item
}

fn item_events(id: &str, index: usize, said: &Said) -> Vec<Value> {
    match said {
        Said::Text(text) => text_events(id, index, text),
        Said::Thinking(_) => Vec::new(),
        Said::Tool { input: Value::String(text), .. } => {
            call_events(id, index, text, ("response.custom_tool_call_input", "input"))
        }
        Said::Tool { input, .. } => {
            call_events(id, index, &input.to_string(), ("response.function_call_arguments", "arguments"))
        }
    }
}

fn text_events(id: &str, index: usize, text: &str) -> Vec<Value> {
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let added = json!({"type": "response.content_part.added", "item_id": id, "output_index": index,
        "content_index": 0, "part": part("")});
    let deltas = pieces(text).into_iter().map(|delta| {
        json!({"type": "response.output_text.delta", "item_id": id, "output_index": index, "content_index": 0,
            "delta": delta})
    });
    let done = json!({"type": "response.output_text.done", "item_id": id, "output_index": index,
        "content_index": 0, "text": text});
    let closed = json!({"type": "response.content_part.done", "item_id": id, "output_index": index,
        "content_index": 0, "part": part(text)});
    std::iter::once(added).chain(deltas).chain([done, closed]).collect()
}

/// The arguments of a call; `kind` is the events' stem and the member that carries the whole text.
fn call_events(id: &str, index: usize, text: &str, (stem, whole): (&str, &str)) -> Vec<Value> {
    let deltas = pieces(text).into_iter().map(|delta| {
        json!({"type": format!("{stem}.delta"), "item_id": id, "output_index": index, "delta": delta})
    });
    let mut done = json!({"type": format!("{stem}.done"), "item_id": id, "output_index": index});
    if let Some(members) = done.as_object_mut() {
        members.insert(whole.to_owned(), text.into());
    }
    deltas.chain(std::iter::once(done)).collect()
}

fn numbered(mut events: Vec<Value>) -> Vec<Value> {
    for (n, event) in events.iter_mut().enumerate() {
        if let Some(members) = event.as_object_mut() {
            members.insert("sequence_number".into(), n.into());
        }
    }
    events
}
