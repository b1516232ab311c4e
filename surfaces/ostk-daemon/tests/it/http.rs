//! `ostk mcp --http`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::fixture::Fixture;

/// A server and what a client needs to know.
struct Server {
    child: Child,
    address: String,
    token: String,
}

impl Server {
    fn start(fixture: &Fixture) -> Self {
        let mut command = fixture.command(&["--json", "mcp", "--http", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address =
            said["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let file = fixture.root().join(".ostk/run/mcp.token");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let token = std::fs::read_to_string(file).unwrap().trim().to_owned();
        Self { child, address, token }
    }

    /// Posts a frame; the status, the head and the body.
    fn post(&self, headers: &[&str], frame: &Value) -> (u16, String, String) {
        let body = frame.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             Content-Length: {}\r\nConnection: close\r\n",
            self.address,
            body.len()
        );
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hello() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-11-25",
        "capabilities": {}, "clientInfo": { "name": "web", "version": "1" } } })
}

fn note(id: u64, text: &str, meta: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": "note", "arguments": { "text": text }, "_meta": meta } })
}

#[test]
fn only_the_bearer_of_the_token_is_served_and_no_page_of_another_site() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture);
    let (status, head, body) = server.post(&[], &hello());
    assert_eq!(status, 401);
    assert!(head.contains("www-authenticate: bearer") && !body.contains(&server.token), "{head} {body}");
    assert_eq!(server.post(&["Authorization: Bearer 00"], &hello()).0, 401);
    let bearer = server.bearer();
    assert_eq!(server.post(&[&bearer, "Origin: https://evil.example"], &hello()).0, 403);
    assert_eq!(server.post(&[&bearer, "Origin: http://localhost:3000"], &hello()).0, 200);
    let (status, head, body) = server.post(&[&bearer], &hello());
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"serverInfo\""), "{body}");
    let session = head.lines().find(|line| line.starts_with("mcp-session-id:")).unwrap().to_owned();
    let headers = [bearer.as_str(), session.as_str(), "MCP-Protocol-Version: 2025-11-25"];
    let (status, _, body) = server.post(&headers, &note(2, "over http", &json!({})));
    assert!(status == 200 && body.contains("\"isError\":false"), "{status} {body}");
}

#[test]
fn clients_without_a_session_keep_their_lineage() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture);
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "modern", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {} });
    let bearer = server.bearer();
    let headers =
        [bearer.as_str(), "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: note"];
    for text in ["first", "second"] {
        // The same number twice: without a session it names nothing.
        let (status, _, body) = server.post(&headers, &note(1, text, &meta));
        assert!(status == 200 && body.contains("\"isError\":false"), "{status} {body}");
    }
    drop(server);
    let notes = fixture
        .log()
        .into_iter()
        .filter(|(actor, event, _)| event == "note.added" && actor == "agent:modern-1");
    assert_eq!(notes.count(), 2);
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let fixture = Fixture::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let ran = fixture.run(&["mcp", "--http", address]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("not a loopback address") && ran.err.contains("Hint:"), "{ran:?}");
    }
    assert!(fixture.run(&["mcp", "--http", "localhost"]).err.contains("127.0.0.1:7000"));
}
