//! OpenAI Responses.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/responses> and `…/responses-streaming`. Nothing is stored
//! at the vendor (`store: false`): the whole conversation goes along, reasoning in its encrypted form.

use ostk_agent::model::{Block, Message, ModelReply, ModelRequest, Role, StopReason, ToolSpec, Usage};
use serde_json::{Map, Value, json};

use super::chat::argument_text;
use super::{
    arguments, count_of, has_calls, items_of, json_of, made_by, model_of, results_first, str_of,
    without_torn_calls,
};
use crate::error::ModelError;
use crate::models::Delta;
use crate::sse::Event;

/// Items of one reply; real ones hold a few dozen.
const MAX_ITEMS: usize = 4_096;
const WIRE: &str = "openai-responses";

pub(super) fn encode(request: &ModelRequest, model: &str) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    if !request.system.is_empty() {
        body.insert("instructions".into(), request.system.clone().into());
    }
    let input: Vec<Value> = request.messages.iter().flat_map(|said| items(said, model)).collect();
    body.insert("input".into(), input.into());
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
    }
    body.insert("max_output_tokens".into(), request.max_tokens.into());
    if is_reasoning(model) {
        // Models without reasoning refuse the request if this is asked of them.
        body.insert("include".into(), json!(["reasoning.encrypted_content"]));
    }
    body.insert("store".into(), false.into());
    body.insert("stream".into(), true.into());
    Value::Object(body)
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function", "name": tool.name, "description": tool.description, "parameters": tool.input_schema,
        "strict": false,
    })
}

fn is_reasoning(model: &str) -> bool {
    let numbered = |prefix: &str| {
        let rest = model.strip_prefix(prefix)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()
    };
    numbered("o").is_some()
        || numbered("gpt-").is_some_and(|generation| generation >= 5) && !model.contains("-chat")
}

fn items(message: &Message, model: &str) -> Vec<Value> {
    results_first(message).filter_map(|block| item(message.role, block, model)).collect()
}

fn item(role: Role, block: &Block, asked: &str) -> Option<Value> {
    match block {
        Block::Text { text } if text.is_empty() => None,
        Block::Text { text } => Some(match role {
            Role::User => {
                json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
            }
            Role::Assistant => {
                json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
            }
        }),
        Block::ToolUse { id, name, input } => Some(
            json!({"type": "function_call", "call_id": id, "name": name, "arguments": argument_text(input)}),
        ),
        Block::ToolResult { id, text, is_error: _ } => {
            Some(json!({"type": "function_call_output", "call_id": id, "output": text}))
        }
        // Items that the vendor did not store are known to it only by their encrypted content.
        Block::Opaque { wire, model, value } => {
            let own = made_by((wire, model), WIRE, asked);
            let can_return = own && value.get("encrypted_content").is_some_and(Value::is_string);
            can_return.then(|| value.clone())
        }
    }
}

pub(super) fn decode(body: &Value, asked_model: &str) -> Result<ModelReply, ModelError> {
    if body.get("output").is_none_or(|output| !output.is_array()) {
        return Err(ModelError::malformed("a response with output was expected"));
    }
    let content: Vec<Block> =
        items_of(body, "output").iter().flat_map(|item| blocks(item, asked_model)).collect();
    let stop = stop_reason(body, &content);
    Ok(ModelReply {
        model: model_of(body, asked_model),
        message_id: str_of(body, "id").to_owned(),
        content: without_torn_calls(content, stop),
        stop,
        usage: usage(body.get("usage")),
    })
}

fn blocks(item: &Value, model: &str) -> Vec<Block> {
    match str_of(item, "type") {
        "message" => {
            let text = |part: &Value| format!("{}{}", str_of(part, "text"), str_of(part, "refusal"));
            items_of(item, "content").iter().map(|part| Block::Text { text: text(part) }).collect()
        }
        "function_call" => vec![Block::ToolUse {
            id: str_of(item, "call_id").to_owned(),
            name: str_of(item, "name").to_owned(),
            input: arguments(str_of(item, "arguments")),
        }],
        _ => vec![Block::Opaque { wire: WIRE.to_owned(), model: model.to_owned(), value: item.clone() }],
    }
}

fn stop_reason(body: &Value, content: &[Block]) -> StopReason {
    let reason = body.get("incomplete_details").map_or("", |details| str_of(details, "reason"));
    let parts = items_of(body, "output").iter().flat_map(|item| items_of(item, "content"));
    let refused = parts.into_iter().any(|part| str_of(part, "type") == "refusal");
    match (str_of(body, "status"), reason) {
        (_, "content_filter") => StopReason::Refusal,
        ("incomplete", _) => StopReason::MaxTokens,
        _ if refused => StopReason::Refusal,
        _ if has_calls(content) => StopReason::ToolUse,
        _ => StopReason::EndTurn,
    }
}

fn usage(usage: Option<&Value>) -> Usage {
    let cached = count_of(usage.and_then(|u| u.get("input_tokens_details")), "cached_tokens");
    Usage {
        input: count_of(usage, "input_tokens").saturating_sub(cached),
        output: count_of(usage, "output_tokens"),
        cache_read: cached,
        cache_write: 0,
    }
}

/// Waits for the response that ends the stream; the events before it are for a reader.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The items as they were completed, for servers that leave them out of the last event.
    items: Vec<Value>,
    response: Option<Value>,
}

impl super::Assembler for Assembler {
    fn take(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError> {
        if event.data.trim() == "[DONE]" {
            return Ok(Vec::new());
        }
        let mut data = json_of(event)?;
        let delta = |data: &Value| str_of(data, "delta").to_owned();
        Ok(match str_of(&data, "type") {
            "response.output_text.delta" | "response.refusal.delta" => vec![Delta::Text(delta(&data))],
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                vec![Delta::Thinking(delta(&data))]
            }
            "response.function_call_arguments.delta" => vec![Delta::ToolInput(delta(&data))],
            "response.output_item.added" => opened(&data).into_iter().collect(),
            "response.output_item.done" => self.keep(&mut data)?,
            "response.completed" | "response.incomplete" => {
                self.response = data.get_mut("response").map(Value::take);
                Vec::new()
            }
            "response.failed" => {
                let error = data.pointer("/response/error").unwrap_or(&data);
                return Err(ModelError::of_event(error));
            }
            "error" => return Err(ModelError::of_event(data.get("error").unwrap_or(&data))),
            _ => Vec::new(),
        })
    }

    fn is_complete(&self) -> bool {
        self.response.is_some()
    }

    fn finish(&mut self) -> Option<Value> {
        let mut response = self.response.take()?;
        if items_of(&response, "output").is_empty()
            && let Some(members) = response.as_object_mut()
        {
            members.insert("output".into(), std::mem::take(&mut self.items).into());
        }
        Some(response)
    }
}

impl Assembler {
    fn keep(&mut self, data: &mut Value) -> Result<Vec<Delta>, ModelError> {
        if self.items.len() == MAX_ITEMS {
            return Err(ModelError::malformed("more items than any reply holds"));
        }
        self.items.extend(data.get_mut("item").map(Value::take));
        Ok(Vec::new())
    }
}

fn opened(data: &Value) -> Option<Delta> {
    let item = data.get("item").filter(|item| str_of(item, "type") == "function_call")?;
    Some(Delta::ToolCall { id: str_of(item, "call_id").to_owned(), name: str_of(item, "name").to_owned() })
}
