//! `ostk mcp` on standard input and output.

use rmcp::{
    ServiceExt,
    model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation},
    transport::TokioChildProcess,
};
use serde_json::{Value, json};

use crate::{
    fixture::Fixture,
    wire::{Wire, text},
};

fn meta(client: &str) -> Value {
    json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": client, "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {} })
}

#[test]
fn every_version_of_the_protocol_is_spoken() {
    let fixture = Fixture::new();
    for version in ["2025-06-18", "2025-11-25"] {
        let mut wire = Wire::open(&fixture, &[]);
        let params = json!({ "protocolVersion": version, "capabilities": {},
            "clientInfo": { "name": "t", "version": "1" } });
        let answer = wire.ask("initialize", &params);
        assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "ostk");
        assert!(answer["result"]["capabilities"]["tools"].is_object());
        wire.leave();
    }
    // 2026-07-28 has no handshake: each request says who asks.
    let mut wire = Wire::open(&fixture, &[]);
    let found = wire.ask("server/discover", &json!({ "_meta": meta("new") }));
    let versions = found["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")), "{found}");
    let listed = wire.ask("tools/list", &json!({ "_meta": meta("new") }));
    assert!(listed["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 10), "{listed}");
    let note = json!({ "_meta": meta("new"), "name": "note", "arguments": { "text": "hello" } });
    let noted = wire.ask("tools/call", &note);
    assert_eq!(noted["result"]["isError"], json!(false), "{noted}");
    drop(wire);
    let log = fixture.log();
    assert!(log.iter().any(|(actor, event, _)| actor == "agent:new-1" && event == "note.added"), "{log:?}");
}

/// What JSON Schema (2020-12) says of the keywords in use.
fn assert_schema(schema: &Value, place: &str) {
    const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];
    let schema = schema.as_object().unwrap_or_else(|| panic!("{place}: not an object"));
    for (keyword, value) in schema {
        match keyword.as_str() {
            "type" => assert!(TYPES.contains(&value.as_str().unwrap()), "{place}: {value}"),
            "description" => assert!(value.is_string(), "{place}"),
            "minimum" => assert!(value.is_number(), "{place}"),
            "additionalProperties" => assert!(value.is_boolean(), "{place}"),
            "items" => assert_schema(value, place),
            "properties" => {
                for (name, inner) in value.as_object().unwrap() {
                    assert_schema(inner, &format!("{place}.{name}"));
                }
            }
            "required" => {
                let known = schema["properties"].as_object().unwrap();
                assert!(
                    value.as_array().unwrap().iter().all(|name| known.contains_key(name.as_str().unwrap()))
                );
            }
            other => panic!("{place}: the keyword {other} is not checked here"),
        }
    }
}

#[test]
fn the_announced_tools_have_valid_schemas_and_hints() {
    let fixture = Fixture::new();
    let mut wire = Wire::hello(&fixture, "t", &[]);
    let listed = wire.ask("tools/list", &json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for name in ["read", "fs_ops", "bash", "search", "Read", "Write", "Edit", "Bash", "Grep", "Glob", "help"]
    {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    for tool in tools {
        assert_schema(&tool["inputSchema"], tool["name"].as_str().unwrap());
        assert_eq!(tool["inputSchema"]["type"], "object");
        if !tool["outputSchema"].is_null() {
            assert_schema(&tool["outputSchema"], tool["name"].as_str().unwrap());
        }
        assert_eq!(tool["annotations"]["openWorldHint"], json!(false));
        assert!(tool["annotations"]["readOnlyHint"].is_boolean());
    }
}

#[test]
fn a_change_that_clashes_comes_back_with_both_versions_and_can_be_accepted() {
    let fixture = Fixture::new();
    fixture.write("poem.txt", "one\ntwo\nthree\n");
    let mut anna = Wire::hello(&fixture, "anna", &[]);
    let mut ben = Wire::hello(&fixture, "ben", &[]);
    assert_eq!(anna.good("read", &json!({ "path": "poem.txt" })), "one\ntwo\nthree\n");
    ben.good("Read", &json!({ "file_path": "poem.txt" }));
    let edit = json!({ "path": "poem.txt", "old_str": "two", "new_str": "TWO" });
    assert!(ben.good("fs_ops", &edit).starts_with("poem.txt gen="));
    let clash = anna.bad("Write", &json!({ "file_path": "poem.txt", "content": "one\nzwei\nthree\n" }));
    assert!(clash.contains("--- theirs ---\none\nTWO\nthree\n"), "{clash}");
    assert_eq!(fixture.read("poem.txt"), "one\nTWO\nthree\n", "nothing was written");
    if let Some((_, rest)) = clash.split_once("{\"accept\": \"") {
        let token = rest.split('"').next().unwrap();
        anna.good("fs_ops", &json!({ "accept": token }));
        let merged = fixture.read("poem.txt");
        assert!(merged.contains("TWO") || merged.contains("zwei"), "{merged}");
    } else {
        assert!(anna.good("read", &json!({ "path": "poem.txt" })).contains("TWO"), "{clash}");
        anna.good("Edit", &json!({ "file_path": "poem.txt", "old_string": "TWO", "new_string": "zwei" }));
        assert_eq!(fixture.read("poem.txt"), "one\nzwei\nthree\n");
    }
    let told = ben.good("note", &json!({ "text": "done" }));
    assert!(
        told.contains("[files]")
            && told.trim_end().ends_with("anna-1")
            && told.matches("[files]").count() == 1,
        "the digest comes last: {told}"
    );
    drop((anna, ben));
    let log = fixture.log();
    let writers: Vec<&str> = log
        .iter()
        .filter(|(_, event, _)| event == "file.write.intent")
        .map(|(actor, ..)| actor.as_str())
        .collect();
    assert_eq!(writers, ["agent:ben-1", "agent:anna-1"]);
}

#[test]
fn agents_share_work_through_one_tool() {
    let fixture = Fixture::new();
    let mut anna = Wire::hello(&fixture, "anna", &[]);
    let mut ben = Wire::hello(&fixture, "ben", &[]);
    let lacking = anna.bad("work", &json!({ "action": "add", "title": "Write it down" }));
    assert!(lacking.contains("priority: P0") && lacking.contains("Hint: action add"), "{lacking}");
    let more = json!({ "action": "add", "title": "Write it down", "priority": "p1", "description": "In done.txt.",
        "ac": "test -f done.txt" });
    anna.good("work", &more);
    anna.good("work", &json!({ "action": "hay", "text": "uploads are flaky" }));
    let taken = ben.good("work", &json!({ "action": "next" }));
    assert!(taken.starts_with("→001 [P1] in_progress Write it down; held by ben-1\nIn done.txt."), "{taken}");
    assert!(anna.good("work", &json!({ "action": "next" })).starts_with("nothing can be begun now"));
    let held = anna.bad("work", &json!({ "action": "close", "id": 1 }));
    assert!(held.contains("ben-1 works on →001"), "{held}");
    let open = ben.bad("work", &json!({ "action": "close", "id": 1 }));
    assert!(open.contains("`test -f done.txt` ended with exit code 1"), "{open}");
    ben.good("Write", &json!({ "file_path": "done.txt", "content": "yes" }));
    ben.good("work", &json!({ "action": "close", "id": "→1", "reason": "written" }));
    assert!(
        anna.good("work", &json!({ "action": "list", "status": "closed" })).starts_with("→001 [P1] closed")
    );
}

#[test]
fn what_the_gate_refuses_is_a_tool_error_with_its_rule_and_a_record() {
    let fixture = Fixture::new();
    let mut wire = Wire::hello(&fixture, "t", &[]);
    let refused = wire.bad("Write", &json!({ "file_path": ".git/hooks/pre-commit", "content": "rm -rf /" }));
    assert!(refused.contains(".git/hooks"), "{refused}");
    assert!(!fixture.root().join(".git/hooks/pre-commit").exists());
    wire.bad("read", &json!({ "path": "../../etc/passwd" }));
    drop(wire);
    let denied: Vec<_> = fixture.log().into_iter().filter(|(_, event, _)| event == "gate.denied").collect();
    assert!(denied.iter().all(|(actor, ..)| actor == "agent:t-1"), "{denied:?}");
    assert!(!denied.is_empty());
}

#[test]
fn commands_and_searches_answer_in_text_and_data() {
    let fixture = Fixture::new();
    fixture.write("a.rs", "fn needle() {}\n");
    let mut wire = Wire::hello(&fixture, "t", &[]);
    let ran = wire.good("bash", &json!({ "cmd": "echo made > made.txt; echo said" }));
    assert!(ran.starts_with("+ exit:0 ") && ran.contains("said"), "{ran}");
    assert_eq!(fixture.read("made.txt"), "made\n");
    let failed = wire.good("Bash", &json!({ "command": "exit 3" }));
    assert!(failed.starts_with("! exit:3 "), "{failed}");
    let found = wire.tool("search", &json!({ "query": "needle" }));
    assert!(text(&found).starts_with("a.rs:1: fn needle"), "{found}");
    assert!(found["structuredContent"].is_null(), "the text is the shorter form");
    let processes = wire.tool("session", &json!({}));
    assert_eq!(processes["structuredContent"]["processes"][0]["lineage"], "t-1", "{processes}");
    assert!(wire.good("Glob", &json!({ "pattern": "*.rs" })).contains("a.rs"));
    assert!(wire.good("help", &json!({})).contains("fs_ops("));
}

#[test]
fn a_wrong_tool_a_wrong_argument_and_a_huge_one_are_answered() {
    let fixture = Fixture::new();
    let mut wire = Wire::hello(&fixture, "t", &[]);
    let unknown = wire.bad("teleport", &json!({}));
    assert!(unknown.contains("teleport") && unknown.contains("fs_ops"), "{unknown}");
    assert!(wire.bad("read", &json!({ "path": 3 })).contains("path"));
    // In the words of the tool, with a remedy that a model has.
    let missing = wire.bad("Read", &json!({}));
    assert!(missing.starts_with("Read: `file_path` is missing"), "{missing}");
    assert!(missing.ends_with("Hint: help {\"tool\": \"Read\"} has the arguments"), "{missing}");
    assert!(wire.good("help", &json!({ "tool": "Read" })).contains("file_path"));
    assert!(wire.bad("note", &json!({ "text": "x".repeat(100_000) })).contains("longer than"));
    // A large one is carried whole; one that is larger than a message may be is dropped and ends nothing.
    let large = "x".repeat(5 * 1024 * 1024);
    wire.good("Write", &json!({ "file_path": "large.txt", "content": large }));
    assert_eq!(fixture.read("large.txt").len(), large.len());
    let huge = "x".repeat(17 * 1024 * 1024);
    wire.send(&json!({ "jsonrpc": "2.0", "id": 99, "method": "tools/call",
        "params": { "name": "Write", "arguments": { "file_path": "huge.txt", "content": huge } } }));
    wire.good("note", &json!({ "text": "still here" }));
    assert!(!fixture.root().join("huge.txt").exists());
}

#[test]
fn a_long_call_sends_progress_to_a_client_that_asked_for_it_and_to_no_other() {
    let fixture = Fixture::new();
    let mut wire = Wire::hello(&fixture, "t", &[]);
    let slow = |meta: Value| json!({ "name": "bash", "arguments": { "cmd": "sleep 5" }, "_meta": meta });
    wire.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": slow(json!({ "progressToken": "p1" })) }));
    let mut seen = Vec::new();
    let ended = loop {
        let frame = wire.receive();
        if frame["id"] == json!(7) {
            break frame;
        }
        assert_eq!(frame["method"], "notifications/progress", "{frame}");
        assert_eq!(frame["params"]["progressToken"], "p1");
        assert!(frame["params"]["message"].as_str().unwrap().starts_with("bash has been running"), "{frame}");
        seen.push(frame["params"]["progress"].as_f64().unwrap());
    };
    assert_eq!(ended["result"]["isError"], json!(false), "{ended}");
    assert!(seen.len() > 1 && seen.is_sorted(), "{seen:?}");
    wire.send(&json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": slow(json!({})) }));
    assert_eq!(wire.receive()["id"], json!(8), "nobody asked for progress");
}

#[test]
fn a_cancelled_command_is_killed_and_what_it_had_changed_is_recorded() {
    let fixture = Fixture::new();
    let mut wire = Wire::hello(&fixture, "t", &[]);
    let command = "echo begun > begun.txt; sleep 300; echo ended > ended.txt";
    wire.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "bash", "arguments": { "cmd": command, "timeout_ms": 400_000 } } }));
    let begun = fixture.root().join("begun.txt");
    for _ in 0..600 {
        if begun.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    wire.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": 7, "reason": "no longer wanted" } }));
    // The command is over when the log says so; a wait for its own end would last five minutes.
    let ended = || fixture.good(&["audit", "query", "--event", "shell.receipt"]).out.contains("t-1");
    assert!(
        (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            ended()
        }),
        "the command runs on"
    );
    wire.good("note", &json!({ "text": "still here" }));
    drop(wire);
    let log = fixture.log();
    let receipt = log.iter().find(|(_, event, _)| event == "shell.receipt").unwrap();
    assert_eq!(receipt.2["exit"], json!(137), "{receipt:?}");
    assert!(receipt.2["changed"].as_array().unwrap().contains(&json!("begun.txt")), "{receipt:?}");
    assert!(!fixture.root().join("ended.txt").exists());
}

#[test]
fn a_daemon_that_was_restarted_is_taken_up_again() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "one\n");
    let mut wire = Wire::hello(&fixture, "t", &[]);
    wire.good("read", &json!({ "path": "a.txt" }));
    fixture.good(&["shutdown"]);
    let edit = json!({ "file_path": "a.txt", "old_string": "one", "new_string": "two" });
    wire.good("Edit", &edit);
    assert_eq!(fixture.read("a.txt"), "two\n");
    drop(wire);
    let log = fixture.log();
    let writes = log.iter().filter(|(_, event, _)| event == "file.write.intent");
    assert_eq!(writes.map(|(actor, ..)| actor.as_str()).collect::<Vec<_>>(), ["agent:t-1"]);
}

#[test]
fn a_session_ends_with_its_client_and_a_named_one_is_taken_up() {
    let fixture = Fixture::new();
    Wire::hello(&fixture, "claude-code", &[]).leave();
    let mut second = Wire::hello(&fixture, "claude-code", &[]);
    second.good("note", &json!({ "text": "x" }));
    second.leave();
    for _ in 0..2 {
        let mut named = Wire::hello(&fixture, "claude-code", &["--name", "reviewer"]);
        // The same request number in another process is another call.
        named.good("note", &json!({ "text": "x" }));
        named.leave();
    }
    let log = fixture.log();
    let of = |actor: &str, event: &str| log.iter().filter(|(a, e, _)| a == actor && e == event).count();
    assert_eq!(of("agent:claude-code-2", "note.added"), 1);
    assert_eq!(of("agent:claude-code-2", "session.ended"), 1, "{log:?}");
    assert_eq!(of("agent:reviewer", "note.added"), 2);
    assert_eq!(of("agent:reviewer", "session.ended"), 0);
}

#[tokio::test]
async fn the_sdk_s_own_client_works_with_it() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "one\n");
    let transport = TokioChildProcess::new(tokio::process::Command::from(fixture.command(&["mcp"]))).unwrap();
    let info = ClientConfig::new(ClientCapabilities::default(), Implementation::new("sdk", "1"));
    let client = info.serve(transport).await.unwrap();
    assert!(client.list_all_tools().await.unwrap().iter().any(|tool| tool.name == "read"));
    let arguments = json!({ "path": "a.txt" }).as_object().cloned();
    let mut call = CallToolRequestParams::new("read");
    call.arguments = arguments;
    // Calls that run at the same time are answered each.
    let (first, second) = tokio::join!(client.call_tool(call.clone()), client.call_tool(call));
    for result in [first, second] {
        assert_eq!(result.unwrap().is_error, Some(false));
    }
    client.cancel().await.unwrap();
}
