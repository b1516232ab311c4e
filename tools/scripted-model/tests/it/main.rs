//! The server over a plain socket: endpoints, mismatches, failures and the log, without any client library between.
//!
//! What a real client makes of the streams is tested in `ostk-models`, through its own wires.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{Read, Write};
use std::net::TcpStream;

use scripted_model::{Handle, Options, Script, ScriptedModel};
use serde_json::{Value, json};

/// One request on one connection; returns the head and the body as sent (chunked framing included).
fn exchange(server: &Handle, method: &str, path: &str, headers: &str, body: &str) -> (String, String) {
    let host = server.base_url().replace("http://", "");
    let mut stream = TcpStream::connect(&host).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    write!(stream, "{head}{headers}\r\n{body}").unwrap();
    let mut reply = Vec::new();
    // A cut stream ends with an error or early; what arrived counts.
    let _ = stream.read_to_end(&mut reply);
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    (head.to_owned(), body.to_owned())
}

fn post(server: &Handle, path: &str, body: &Value) -> (String, String) {
    exchange(server, "POST", path, "content-type: application/json\r\n", &body.to_string())
}

fn start(conversations: Value) -> Handle {
    ScriptedModel::start(Script::from_value(json!({"conversations": conversations})).unwrap()).unwrap()
}

fn says(text: &str) -> Value {
    json!({"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": text}]})
}

#[test]
fn a_client_that_probes_counts_and_lists_models_is_answered() {
    let server = start(json!([]));
    assert!(exchange(&server, "HEAD", "/", "", "").0.starts_with("HTTP/1.1 200"));
    assert!(exchange(&server, "GET", "/v1/models", "", "").1.contains("\"scripted\""));
    let (head, body) = post(&server, "/v1/messages/count_tokens?beta=true", &says("hello"));
    assert!(head.starts_with("HTTP/1.1 200") && body.contains("input_tokens"), "{head} {body}");
    assert!(exchange(&server, "GET", "/api/other", "", "").0.starts_with("HTTP/1.1 404"));
}

#[test]
fn unknown_fields_queries_and_beta_headers_are_tolerated() {
    let server = start(
        json!([{"name": "a", "match": {"first_user": "hello"}, "turns": [{"reply": [{"text": "hi"}]}]}]),
    );
    let mut request = says("");
    request["messages"] = json!([{"role": "user", "content": [
        {"type": "text", "text": "<system-reminder>x</system-reminder>"},
        {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}]);
    request["thinking"] = json!({"type": "adaptive"});
    request["metadata"] = json!({"user_id": "u"});
    let headers = "anthropic-beta: a,b\r\nx-api-key: sk-secret\r\n";
    let (head, body) = exchange(&server, "POST", "/v1/messages?beta=true", headers, &request.to_string());
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body.matches("\"hi\"").count(), 1, "{body}");
    assert_eq!(server.served()[&("a".to_owned(), 0)].replied, 1);
}

#[test]
fn a_request_that_the_script_does_not_expect_is_refused_and_listed() {
    let server = start(json!([{"name": "a", "turns": [
        {"expect": {"last_user_contains": "please"}, "reply": [{"text": "hi"}]}]}]));
    let (head, body) = post(&server, "/v1/messages", &says("do it"));
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(body.contains("please") && body.contains("do it"), "{body}");
    assert_eq!(server.unmet().len(), 1);
    assert!(post(&server, "/v1/messages", &says("please do it")).0.starts_with("HTTP/1.1 200"));
    assert_eq!(server.unmet().len(), 1);
}

#[test]
fn the_first_requests_fail_and_say_when_to_come_back() {
    let server = start(json!([{"name": "a", "turns": [
        {"reply": [{"text": "hi"}], "fail": {"status": 529, "retry_after_ms": 1500, "times": 1}}]}]));
    let (head, body) = post(&server, "/v1/messages", &says("x"));
    assert!(head.starts_with("HTTP/1.1 529") && head.contains("retry-after-ms: 1500"), "{head}");
    assert!(head.contains("retry-after: 2") && body.contains("overloaded_error"), "{head} {body}");
    assert!(post(&server, "/v1/messages", &says("x")).0.starts_with("HTTP/1.1 200"));
    let served = server.served()[&("a".to_owned(), 0)];
    assert_eq!((served.asked, served.replied), (2, 1));
    assert!(server.repeated().is_empty());
}

#[test]
fn a_call_that_is_repeated_and_one_that_is_never_made_are_seen() {
    let server = start(json!([{"name": "a", "turns": [{"reply": [{"text": "hi"}]}, {"reply": []}]}]));
    let first = post(&server, "/v1/messages", &says("x")).1;
    assert_eq!(first, post(&server, "/v1/messages", &says("x")).1, "the same call gets the same reply");
    assert_eq!(server.repeated(), [("a".to_owned(), 0)]);
    assert_eq!(server.unserved(), [("a".to_owned(), 1)]);
}

#[test]
fn a_cut_stream_ends_after_the_given_bytes_and_only_the_first_time() {
    let server = start(json!([{"name": "a", "turns": [
        {"reply": [{"text": "a rather long text"}], "cut_after_bytes": 20}]}]));
    let (_, cut) = post(&server, "/v1/messages", &says("x"));
    assert!(cut.starts_with("14\r\n{\"") && cut.trim_end().len() == 24, "twenty bytes arrive: {cut}");
    assert!(!cut.contains("rather"), "{cut}");
    let (_, whole) = post(&server, "/v1/messages", &says("x"));
    assert!(whole.contains("a rather long text"), "{whole}");
    assert!(server.repeated().is_empty(), "the cut delivery is no reply");
}

#[test]
fn the_log_holds_the_requests_but_no_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let options = Options { log: Some(path.clone()), ..Options::default() };
    let server = ScriptedModel::start_with(Script::default(), &options).unwrap();
    let headers = "authorization: Bearer sk-secret\r\nx-api-key: sk-secret\r\nx-other: kept\r\n";
    exchange(&server, "POST", "/v1/messages", headers, &says("x").to_string());
    let log = std::fs::read_to_string(path).unwrap();
    assert!(log.contains("kept") && log.contains("claude-x"), "{log}");
    assert!(!log.contains("sk-secret"), "{log}");
    assert!(!format!("{:?}", server.requests()).contains("sk-secret"));
}

#[test]
fn the_binary_prints_its_address_as_one_line_of_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script.json");
    std::fs::write(&path, r#"{"default": [{"text": "from the binary"}]}"#).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_scripted-model"))
        .arg(&path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    let address: Value = serde_json::from_str(&line).unwrap();
    let host = address["base_url"].as_str().unwrap().replace("http://", "");
    let reachable = TcpStream::connect(host);
    child.kill().unwrap();
    child.wait().unwrap();
    reachable.unwrap();
    assert!(address["openai_base_url"].as_str().unwrap().ends_with("/v1"));
}

#[test]
fn tools_of_a_namespace_and_tools_that_take_text_are_called_as_their_client_expects() {
    let calls = json!([{"name": "a", "match": {"tool": "mcp__x/read"}, "turns": [{"reply": [
        {"tool": {"name": "mcp__x/read", "input": {"path": "p"}}},
        {"tool": {"name": "apply_patch", "input": "*** Begin Patch"}}]}]}]);
    let server = start(calls);
    let request = json!({"model": "m", "input": "go", "tools": [
        {"type": "namespace", "name": "mcp__x", "tools": [{"type": "function", "name": "read"}]},
        {"type": "custom", "name": "apply_patch"}]});
    let (_, body) = post(&server, "/v1/responses", &request);
    let json = body.lines().find(|line| line.starts_with('{')).unwrap();
    let output = &serde_json::from_str::<Value>(json).unwrap()["output"];
    assert_eq!((&output[0]["namespace"], &output[0]["name"]), (&json!("mcp__x"), &json!("read")));
    assert_eq!(
        (&output[0]["type"], &output[0]["arguments"]),
        (&json!("function_call"), &json!("{\"path\":\"p\"}"))
    );
    assert_eq!(
        (&output[1]["type"], &output[1]["input"]),
        (&json!("custom_tool_call"), &json!("*** Begin Patch"))
    );
}
