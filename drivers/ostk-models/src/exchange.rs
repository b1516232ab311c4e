//! What an agent's own client and a vendor said to each other, read back from the bodies of a request and its reply.
//!
//! The inverse of `wires`: those write requests and read replies of agents that live in the daemon; here the requests of
//! other programs are read as the relay recorded them. Shapes as in `wires`, and Gemini's:
//! <https://ai.google.dev/api/generate-content>. What is not known is kept as [`Block::Opaque`], nothing is refused.

use ostk_agent::model::{Block, Message, Role};
use serde_json::{Value, json};

use crate::sse::{Event, SseParser};
use crate::wires::{Wire, arguments, items_of, str_of};

const GEMINI: &str = "gemini";

/// A conversation as one request and its reply have it: all that came before is in the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange {
    /// What the client tells the model beside the conversation.
    pub system: String,
    /// Who said what, in order; the reply last, if it is complete.
    pub messages: Vec<Message>,
}

impl Exchange {
    /// Reads the bodies of a request for `path` and its reply, which may be empty. `None` when the request is none to go
    /// on with a conversation (a count of tokens, a list of models), or not JSON.
    pub fn read(path: &str, request: &[u8], reply: &[u8]) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        let body: Value = serde_json::from_slice(request).ok()?;
        let (mut exchange, said) =
            if path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent") {
                (gemini(&body), gemini_reply(reply))
            } else {
                let wire = Wire::of_path(path)?;
                let exchange = match wire {
                    Wire::Anthropic => anthropic(&body),
                    Wire::Chat => chat(&body),
                    Wire::Responses => responses(&body),
                };
                (exchange, wire.reply(reply, str_of(&body, "model")))
            };
        exchange.say(Role::Assistant, said);
        Some(exchange)
    }

    /// Adds to what the same side said before, if it spoke last.
    fn say(&mut self, role: Role, content: Vec<Block>) {
        match self.messages.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(content),
            _ => self.messages.push(Message { role, content }),
        }
    }

    fn tell(&mut self, text: &str) {
        if !self.system.is_empty() && !text.is_empty() {
            self.system.push('\n');
        }
        self.system.push_str(text);
    }
}

impl Wire {
    fn of_path(path: &str) -> Option<Self> {
        [Self::Anthropic, Self::Chat, Self::Responses].into_iter().find(|wire| path.ends_with(wire.path()))
    }

    /// What the model said; nothing if the reply broke off or is an error.
    fn reply(self, body: &[u8], model: &str) -> Vec<Block> {
        let whole = serde_json::from_slice(body).ok().or_else(|| {
            let mut assembler = self.assembler();
            for event in events(body) {
                assembler.take(&event).ok()?;
            }
            assembler.finish()
        });
        whole
            .and_then(|whole: Value| self.decode(&whole, model).ok())
            .map_or(Vec::new(), |reply| reply.content)
    }
}

/// The events of a stream that was recorded; none of them if it is none.
fn events(body: &[u8]) -> Vec<Event> {
    SseParser::default().push(body).unwrap_or_default()
}

fn role(message: &Value) -> Role {
    if matches!(str_of(message, "role"), "assistant" | "model") { Role::Assistant } else { Role::User }
}

fn opaque(wire: &str, value: &Value) -> Block {
    Block::Opaque { wire: wire.to_owned(), model: String::new(), value: value.clone() }
}

/// Content that is a text or a list of parts with texts; a part without one is told by `other`.
fn parts(content: &Value, other: impl Fn(&Value) -> Block) -> Vec<Block> {
    match content {
        Value::String(text) => vec![Block::Text { text: text.clone() }],
        Value::Array(parts) => parts
            .iter()
            .map(|part| match (str_of(part, "type"), part.get("text").and_then(Value::as_str)) {
                ("text" | "input_text" | "output_text", Some(text)) => Block::Text { text: text.to_owned() },
                _ => other(part),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The texts of such content; what is none (an image) by the name of its type.
fn plain(content: &Value) -> String {
    let named = |part: &Value| Block::Text { text: format!("[{}]", str_of(part, "type")) };
    let texts = parts(content, named).into_iter().filter_map(|block| match block {
        Block::Text { text } => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn anthropic(body: &Value) -> Exchange {
    let mut exchange = Exchange { system: plain(&body["system"]), messages: Vec::new() };
    let block = |part: &Value| match str_of(part, "type") {
        "tool_use" => Block::ToolUse {
            id: str_of(part, "id").to_owned(),
            name: str_of(part, "name").to_owned(),
            input: part["input"].clone(),
        },
        "tool_result" => Block::ToolResult {
            id: str_of(part, "tool_use_id").to_owned(),
            text: plain(&part["content"]),
            is_error: part["is_error"] == true,
        },
        _ => opaque(Wire::Anthropic.name(), part),
    };
    for message in items_of(body, "messages") {
        exchange.say(role(message), parts(&message["content"], block));
    }
    exchange
}

fn chat(body: &Value) -> Exchange {
    let mut exchange = Exchange::default();
    for message in items_of(body, "messages") {
        let content = &message["content"];
        match str_of(message, "role") {
            "system" | "developer" => exchange.tell(&plain(content)),
            "tool" => {
                let id = str_of(message, "tool_call_id").to_owned();
                let result = Block::ToolResult { id, text: plain(content), is_error: false };
                exchange.say(Role::User, vec![result]);
            }
            _ => {
                let mut said = parts(content, |part| opaque(Wire::Chat.name(), part));
                said.extend(items_of(message, "tool_calls").iter().map(|call| Block::ToolUse {
                    id: str_of(call, "id").to_owned(),
                    name: str_of(&call["function"], "name").to_owned(),
                    input: arguments(str_of(&call["function"], "arguments")),
                }));
                exchange.say(role(message), said);
            }
        }
    }
    exchange
}

fn responses(body: &Value) -> Exchange {
    let mut exchange = Exchange { system: str_of(body, "instructions").to_owned(), messages: Vec::new() };
    let input = &body["input"];
    if let Some(text) = input.as_str() {
        exchange.say(Role::User, vec![Block::Text { text: text.to_owned() }]);
    }
    for item in input.as_array().map(Vec::as_slice).unwrap_or_default() {
        let id = || str_of(item, "call_id").to_owned();
        match (str_of(item, "type"), str_of(item, "role")) {
            ("" | "message", "system" | "developer") => exchange.tell(&plain(&item["content"])),
            ("" | "message", _) => {
                let said = parts(&item["content"], |part| opaque(Wire::Responses.name(), part));
                exchange.say(role(item), said);
            }
            ("function_call", _) => {
                let (name, input) = (str_of(item, "name").to_owned(), arguments(str_of(item, "arguments")));
                exchange.say(Role::Assistant, vec![Block::ToolUse { id: id(), name, input }]);
            }
            ("function_call_output", _) => {
                let result = Block::ToolResult { id: id(), text: plain(&item["output"]), is_error: false };
                exchange.say(Role::User, vec![result]);
            }
            // Reasoning, and calls that the vendor carries out itself.
            _ => exchange.say(Role::Assistant, vec![opaque(Wire::Responses.name(), item)]),
        }
    }
    exchange
}

fn gemini(body: &Value) -> Exchange {
    let mut exchange = Exchange::default();
    for name in ["systemInstruction", "system_instruction"] {
        for part in items_of(&body[name], "parts") {
            exchange.tell(str_of(part, "text"));
        }
    }
    for content in items_of(body, "contents") {
        exchange.say(role(content), items_of(content, "parts").iter().map(gemini_part).collect());
    }
    exchange
}

/// A call and its result are tied by the tool's name.
fn gemini_part(part: &Value) -> Block {
    let (call, response) = (&part["functionCall"], &part["functionResponse"]);
    let name = |of: &Value| str_of(of, "name").to_owned();
    match part.get("text").and_then(Value::as_str) {
        Some(text) => Block::Text { text: text.to_owned() },
        None if call.is_object() => {
            let input = call.get("args").cloned().unwrap_or_else(|| json!({}));
            Block::ToolUse { id: name(call), name: name(call), input }
        }
        None if response.is_object() => {
            Block::ToolResult { id: name(response), text: response["response"].to_string(), is_error: false }
        }
        None => opaque(GEMINI, part),
    }
}

/// A reply, whole or as a stream of replies that each go on with the text.
fn gemini_reply(body: &[u8]) -> Vec<Block> {
    let pieces: Vec<Value> = match serde_json::from_slice(body) {
        Ok(Value::Array(pieces)) => pieces,
        Ok(whole) => vec![whole],
        Err(_) => events(body).iter().filter_map(|event| serde_json::from_str(&event.data).ok()).collect(),
    };
    let mut said: Vec<Block> = Vec::new();
    let candidates = pieces.iter().filter_map(|piece| items_of(piece, "candidates").first());
    for part in candidates.flat_map(|candidate| items_of(&candidate["content"], "parts")) {
        match (said.last_mut(), gemini_part(part)) {
            (Some(Block::Text { text }), Block::Text { text: more }) => text.push_str(&more),
            (_, block) => said.push(block),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Block {
        Block::Text { text: text.to_owned() }
    }

    fn call(id: &str) -> Block {
        Block::ToolUse { id: id.to_owned(), name: "read".to_owned(), input: json!({ "path": "a" }) }
    }

    fn result(id: &str, text: &str) -> Block {
        Block::ToolResult { id: id.to_owned(), text: text.to_owned(), is_error: false }
    }

    /// The same conversation, whoever it was held with: a question, a call, its result, an answer.
    fn expected(id: &str, result_text: &str) -> Exchange {
        let message = |role, content| Message { role, content };
        Exchange {
            system: "Be brief.".to_owned(),
            messages: vec![
                message(Role::User, vec![text("What is in a?")]),
                message(Role::Assistant, vec![text("I look."), call(id)]),
                message(Role::User, vec![result(id, result_text)]),
                message(Role::Assistant, vec![text("A line.")]),
            ],
        }
    }

    fn read(path: &str, request: &Value, reply: &str) -> Exchange {
        Exchange::read(path, request.to_string().as_bytes(), reply.as_bytes()).unwrap()
    }

    #[test]
    fn a_conversation_with_claude_is_read_from_a_stream() {
        let request = json!({ "model": "claude-x", "system": [{ "type": "text", "text": "Be brief." }], "messages": [
            { "role": "user", "content": "What is in a?" },
            { "role": "assistant", "content": [{ "type": "text", "text": "I look." },
                { "type": "tool_use", "id": "t1", "name": "read", "input": { "path": "a" } }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1",
                "content": [{ "type": "text", "text": "line" }], "cache_control": { "type": "ephemeral" } }] }] });
        let reply = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\",\"content\":[]}}\n\n\
            data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
            data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"A line.\"}}\n\n\
            data: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
        assert_eq!(read("/v1/messages?beta=true", &request, reply), expected("t1", "line"));
        let mut cut = expected("t1", "line");
        cut.messages.pop();
        let (broken_off, _) = reply.split_at(reply.len() - 60);
        assert_eq!(read("/v1/messages", &request, broken_off), cut);
    }

    #[test]
    fn a_conversation_in_chat_completions_is_read() {
        let request = json!({ "model": "m", "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [{ "type": "text", "text": "What is in a?" }] },
            { "role": "assistant", "content": "I look.", "tool_calls": [{ "id": "c1", "type": "function",
                "function": { "name": "read", "arguments": "{\"path\":\"a\"}" } }] },
            { "role": "tool", "tool_call_id": "c1", "content": "line" }] });
        let reply = json!({ "id": "r", "model": "m", "choices": [{ "finish_reason": "stop",
            "message": { "role": "assistant", "content": "A line." } }] });
        assert_eq!(read("/v1/chat/completions", &request, &reply.to_string()), expected("c1", "line"));
    }

    #[test]
    fn a_conversation_in_responses_is_read() {
        let request = json!({ "model": "m", "instructions": "Be brief.", "input": [
            { "role": "user", "content": "What is in a?" },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "I look." }] },
            { "type": "function_call", "call_id": "c1", "name": "read", "arguments": "{\"path\":\"a\"}" },
            { "type": "function_call_output", "call_id": "c1", "output": "line" }] });
        let reply = json!({ "id": "r", "object": "response", "status": "completed", "model": "m", "output": [
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "A line." }] }] });
        assert_eq!(read("/v1/responses", &request, &reply.to_string()), expected("c1", "line"));
    }

    #[test]
    fn a_conversation_with_gemini_is_read_from_a_stream() {
        let request = json!({ "systemInstruction": { "parts": [{ "text": "Be brief." }] }, "contents": [
            { "role": "user", "parts": [{ "text": "What is in a?" }] },
            { "role": "model", "parts": [{ "text": "I look." },
                { "functionCall": { "name": "read", "args": { "path": "a" } } }] },
            { "role": "user", "parts": [{ "functionResponse": { "name": "read", "response": "line" } }] }] });
        let piece = |text: &str| {
            let piece =
                json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": text }] } }] });
            format!("data: {piece}\n\n")
        };
        let reply = piece("A li") + &piece("ne.");
        let path = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse";
        assert_eq!(read(path, &request, &reply), expected("read", "\"line\""));
    }

    #[test]
    fn what_is_no_conversation_is_none_and_what_is_not_known_is_kept() {
        assert_eq!(Exchange::read("/v1/messages/count_tokens", b"{}", b""), None);
        assert_eq!(Exchange::read("/v1/models", b"{}", b""), None);
        assert_eq!(Exchange::read("/v1/messages", b"\x1f\x8b", b""), None);
        let image = json!({ "type": "image", "source": {} });
        let request = json!({ "messages": [{ "role": "user", "content": [image] }] });
        let found = read("/v1/messages", &request, "{\"type\":\"error\",\"error\":{\"message\":\"no\"}}");
        assert_eq!(
            found.messages,
            [Message { role: Role::User, content: vec![opaque("anthropic", &image)] }]
        );
    }
}
