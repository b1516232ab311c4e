//! The driver against `scripted-model` and against raw sockets: what a caller sees on each wire.
//!
//! `exchange` is about replies, `trouble` about failures and retries, `bodies` about what is sent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

mod bodies;
mod exchange;
mod trouble;

use std::time::{Duration, Instant};

use ostk_agent::model::{Block, Message, ModelReply, ModelRequest, Role, ToolSpec};
use ostk_models::{ApiKey, Config, Delta, ModelError, Models};
use scripted_model::{Handle, Script, ScriptedModel};
use serde_json::{Value, json};

const KEY: &str = "sk-never-to-be-seen";

/// One model name per wire: Anthropic, Responses, Chat Completions at OpenAI and at a local server.
const WIRES: [&str; 4] = ["claude-sonnet-4-6", "gpt-5", "openai-chat/gpt-5", "ollama/qwen3"];

/// A server with one conversation of these turns.
fn serve(turns: Value) -> Handle {
    let script = json!({"conversations": [{"name": "c", "turns": turns}]});
    ScriptedModel::start(Script::from_value(script).unwrap()).unwrap()
}

fn config(base_url: &str) -> Config {
    let lookup = |name: &str| match name {
        "ANTHROPIC_BASE_URL" => Some(base_url.to_owned()),
        "OPENAI_BASE_URL" | "OLLAMA_HOST" => Some(format!("{base_url}/v1")),
        "ANTHROPIC_API_KEY" | "OPENAI_API_KEY" => Some(KEY.to_owned()),
        // Must not be asked for addresses of this machine.
        "HTTPS_PROXY" => Some("http://127.0.0.1:1".to_owned()),
        _ => None,
    };
    Config::from_lookup(lookup)
}

fn models(server: &Handle) -> Models {
    Models::new(config(&server.base_url())).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn text(text: &str) -> Block {
    Block::Text { text: text.to_owned() }
}

fn user(content: Vec<Block>) -> Message {
    Message { role: Role::User, content }
}

fn assistant(content: Vec<Block>) -> Message {
    Message { role: Role::Assistant, content }
}

fn request(model: &str, messages: Vec<Message>) -> ModelRequest {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        description: format!("does {name}"),
        input_schema: json!({"type": "object", "properties": {"path": {"type": "string"}}}),
    };
    ModelRequest {
        model: model.to_owned(),
        system: "You are terse.".to_owned(),
        messages,
        tools: vec![tool("read"), tool("edit")],
        max_tokens: 1024,
    }
}

fn hello(model: &str) -> ModelRequest {
    request(model, vec![user(vec![text("hello")])])
}

async fn ask(models: &Models, request: &ModelRequest) -> Result<ModelReply, ModelError> {
    models.call(request, soon(), |_| {}).await
}

/// The reply and the deltas that came before it.
async fn listen(models: &Models, request: &ModelRequest) -> (Result<ModelReply, ModelError>, Vec<Delta>) {
    let mut deltas = Vec::new();
    let reply = models.call(request, soon(), |delta| deltas.push(delta)).await;
    (reply, deltas)
}

#[test]
fn the_future_of_a_call_can_move_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    let server = serve(json!([]));
    let (models, request) = (models(&server), hello("gpt-5"));
    sendable(&models.call(&request, soon(), |_| {}));
}

#[test]
fn a_key_of_blanks_is_no_key() {
    assert_eq!(ApiKey::new(" \n"), None);
}
