//! The real Claude Code.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use scripted_model::Handle;
use serde_json::{Value, json};

use crate::{
    fixture::{Fixture, Ran},
    real::{install, model},
};

/// The client, in the version that these tests were written against.
pub(crate) fn claude() -> Option<&'static Path> {
    static CLIENT: OnceLock<Option<PathBuf>> = OnceLock::new();
    CLIENT.get_or_init(|| install("@anthropic-ai/claude-code", "2.1.197", "claude")).as_deref()
}

/// Runs the client on `prompt` and checks that every scripted turn was played.
fn run(fixture: &Fixture, client: &Path, model: &Handle, prompt: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(client);
    command.args(["-p", prompt, "--output-format", "json"]).args(args);
    fixture.dress(&mut command);
    command.env("ANTHROPIC_BASE_URL", model.base_url()).env("ANTHROPIC_API_KEY", "dummy");
    for switch in [
        "DISABLE_TELEMETRY",
        "DISABLE_AUTOUPDATER",
        "DISABLE_ERROR_REPORTING",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    ] {
        command.env(switch, "1");
    }
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(model.unmet(), Vec::<String>::new(), "{ran:?}");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("Finished."), "{ran:?}");
    ran
}

#[test]
fn claude_code_reads_and_edits_through_the_server() {
    let Some(client) = claude() else { return };
    let fixture = Fixture::new();
    fixture.write("poem.txt", "one\ntwo\n");
    let well = |part: &str| json!({ "tool_result_contains": part, "tool_result_is_error": false });
    let turns = [
        ("mcp__ostk__read", json!({ "path": "poem.txt" }), well("one\ntwo")),
        (
            "mcp__ostk__fs_ops",
            json!({ "path": "poem.txt", "old_str": "two", "new_str": "TWO" }),
            well("poem.txt gen="),
        ),
        ("mcp__ostk__bash", json!({ "cmd": "wc -l < poem.txt > count.txt" }), well("exit:0")),
        (
            "mcp__ostk__Write",
            json!({ "file_path": ".git/hooks/pre-commit", "content": "x" }),
            json!({ "tool_result_contains": "may not write", "tool_result_is_error": true }),
        ),
    ];
    let model = model("change the poem", &turns);
    let config = fixture.home().join("mcp.json");
    std::fs::write(&config, r#"{"mcpServers":{"ostk":{"command":"ostk","args":["mcp"]}}}"#).unwrap();
    let allowed = "mcp__ostk__read,mcp__ostk__fs_ops,mcp__ostk__bash,mcp__ostk__Write";
    let config = config.to_str().unwrap();
    let args = ["--mcp-config", config, "--strict-mcp-config", "--allowedTools", allowed];
    run(&fixture, client, &model, "change the poem", &args);
    assert_eq!(fixture.read("poem.txt"), "one\nTWO\n");
    assert_eq!(fixture.read("count.txt").trim(), "2");
    let log = fixture.log();
    let events: Vec<&str> = log
        .iter()
        .filter(|(actor, ..)| actor == "agent:claude-code-1")
        .map(|(_, event, _)| event.as_str())
        .collect();
    for event in
        ["session.started", "file.read", "file.write.intent", "shell.intent", "gate.denied", "session.ended"]
    {
        assert!(events.contains(&event), "{event} of {events:?}");
    }
}

#[test]
fn claude_code_s_own_tools_ask_and_are_recorded() {
    let Some(client) = claude() else { return };
    let fixture = Fixture::new();
    fixture.write("poem.txt", "one\ntwo\n");
    fixture.good(&["init", "--client", "claude"]);
    let path = |name: &str| fixture.root().join(name);
    let well = json!({ "tool_result_is_error": false });
    let refused = json!({ "tool_result_contains": "may not write .git/hooks/pre-commit", "tool_result_is_error": true });
    let turns = [
        ("Read", json!({ "file_path": path("poem.txt") }), json!({ "tool_result_contains": "two" })),
        (
            "Edit",
            json!({ "file_path": path("poem.txt"), "old_string": "two", "new_string": "deux" }),
            well.clone(),
        ),
        // It outlasts the watcher's patience.
        ("Bash", json!({ "command": "echo three > three.txt; sleep 1" }), well),
        ("Write", json!({ "file_path": path(".git/hooks/pre-commit"), "content": "x" }), refused),
    ];
    let model = model("change the poem", &turns);
    let args = ["--strict-mcp-config", "--allowedTools", "Read,Edit,Write,Bash"];
    let ran = run(&fixture, client, &model, "change the poem", &args);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    let session = said["session_id"].as_str().unwrap();
    let actor = format!("agent:claude-{}", &session[..8]);
    assert_eq!(fixture.read("poem.txt"), "one\ndeux\n");
    assert!(!path(".git/hooks/pre-commit").exists());
    let log = fixture.log();
    for (path, name) in [("poem.txt", "the edit"), ("three.txt", "the command")] {
        let changes: Vec<_> = log
            .iter()
            .filter(|(_, event, body)| event == "file.foreign" && body["change"]["path"] == path)
            .collect();
        assert_eq!(changes.len(), 1, "{name}: {log:?}");
        assert_eq!(changes[0].0, actor, "{name}");
    }
    let events: Vec<&str> =
        log.iter().filter(|(by, ..)| *by == actor).map(|(_, event, _)| event.as_str()).collect();
    for event in ["session.started", "file.read", "gate.denied", "session.ended"] {
        assert!(events.contains(&event), "{event} of {events:?}");
    }
}

#[test]
fn claude_code_is_told_of_a_change_and_cannot_edit_what_it_has_not_seen() {
    let Some(client) = claude() else { return };
    let fixture = Fixture::new();
    fixture.write("poem.txt", "one\ntwo\nthree\n");
    fixture.good(&["init", "--client", "claude"]);
    let poem = fixture.root().join("poem.txt");
    let edit = || json!({ "file_path": poem, "old_string": "two", "new_string": "deux" });
    let other = r#"ostk call file.edit '{"path":"poem.txt","old":"three","new":"THREE"}' --as other"#;
    let turns = [
        ("Read", json!({ "file_path": poem }), json!({ "tool_result_contains": "three" })),
        (
            "Bash",
            json!({ "command": other }),
            json!({ "last_user_contains": "poem.txt gen=2 by agent:other" }),
        ),
        ("Edit", edit(), json!({ "tool_result_contains": "since", "tool_result_is_error": true })),
        ("Read", json!({ "file_path": poem }), json!({ "tool_result_contains": "THREE" })),
        ("Edit", edit(), json!({ "tool_result_is_error": false })),
    ];
    let model = model("change the poem", &turns);
    run(
        &fixture,
        client,
        &model,
        "change the poem",
        &["--strict-mcp-config", "--allowedTools", "Read,Edit,Bash"],
    );
    assert_eq!(fixture.read("poem.txt"), "one\ndeux\nTHREE\n");
    let blame = fixture.good(&["blame", "poem.txt"]).out;
    let writer = |line: &str| blame.lines().find(|row| row.contains(line)).unwrap_or_default().to_owned();
    assert!(writer("deux").contains("agent:claude-") && writer("THREE").contains("agent:other"), "{blame}");
}
