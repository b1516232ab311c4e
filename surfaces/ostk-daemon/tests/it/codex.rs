//! The real Codex.

use std::{
    fs,
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

/// A model that this Codex knows, so it gets `apply_patch`; and one that it does not, which is shown the server's tools at
/// once instead of having to search for them.
const KNOWN: &str = "gpt-5.5";
const UNKNOWN: &str = "scripted";
const PROMPT: &str = "change the poem";

/// The client, in the version that these tests were written against.
fn codex() -> Option<&'static Path> {
    static CLIENT: OnceLock<Option<PathBuf>> = OnceLock::new();
    CLIENT.get_or_init(|| install("@openai/codex", "0.169.0", "codex")).as_deref()
}

/// What a result says. A failure cannot be told by a mark: OpenAI's wire has none.
fn says(part: &str) -> Value {
    json!({ "tool_result_contains": part })
}

/// Runs the client in a project that its user trusts, and checks that every scripted turn was played.
fn run(fixture: &Fixture, client: &Path, model: &Handle, args: &[&str]) -> Ran {
    let home = fixture.home().join(".codex");
    fs::create_dir_all(&home).unwrap();
    let config = format!(
        "model_provider = \"scripted\"\n[model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{}\"\n\
         wire_api = \"responses\"\n[projects.\"{}\"]\ntrust_level = \"trusted\"\n",
        model.openai_base_url(),
        fixture.root().canonicalize().unwrap().display()
    );
    fs::write(home.join("config.toml"), config).unwrap();
    let mut command = Command::new(client);
    command.args(["exec", "--sandbox", "danger-full-access", "--model"]).args(args).arg(PROMPT);
    let ran: Ran = fixture.dress(&mut command).output().unwrap().into();
    assert_eq!(model.unmet(), Vec::<String>::new(), "{ran:?}");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("Finished."), "{ran:?}");
    ran
}

/// The events that an actor whose name begins so has in the log, and the whole names.
fn events_of<'a>(log: &'a [(String, String, Value)], actor: &str) -> Vec<(&'a str, &'a str)> {
    let records = log.iter().filter(|(by, ..)| by.starts_with(actor));
    records.map(|(by, event, _)| (by.as_str(), event.as_str())).collect()
}

#[test]
fn codex_reads_and_edits_through_the_server() {
    let Some(client) = codex() else { return };
    let fixture = Fixture::new();
    fixture.write("poem.txt", "one\ntwo\n");
    fixture.good(&["init", "--client", "codex"]);
    let turns = [
        ("mcp__ostk/read", json!({ "path": "poem.txt" }), says("one\ntwo")),
        (
            "mcp__ostk/fs_ops",
            json!({ "path": "poem.txt", "old_str": "two", "new_str": "TWO" }),
            says("poem.txt gen="),
        ),
        ("mcp__ostk/bash", json!({ "cmd": "wc -l < poem.txt > count.txt" }), says("exit:0")),
        (
            "mcp__ostk/Write",
            json!({ "file_path": ".git/hooks/pre-commit", "content": "x" }),
            says("may not write .git/hooks/pre-commit"),
        ),
    ];
    let model = model(PROMPT, &turns);
    // Without a person nobody can approve a tool that changes something.
    run(
        &fixture,
        client,
        &model,
        &[UNKNOWN, "-c", "mcp_servers.ostk.default_tools_approval_mode=\"approve\""],
    );
    assert_eq!(fixture.read("poem.txt"), "one\nTWO\n");
    assert_eq!(fixture.read("count.txt").trim(), "2");
    let blame = fixture.good(&["blame", "poem.txt"]).out;
    assert!(
        blame.lines().any(|line| line.contains("agent:codex-mcp-client-1") && line.contains("TWO")),
        "{blame}"
    );
    let log = fixture.log();
    let events: Vec<&str> =
        events_of(&log, "agent:codex-mcp-client-1").iter().map(|(_, event)| *event).collect();
    for event in
        ["session.started", "file.read", "file.write.intent", "shell.intent", "gate.denied", "session.ended"]
    {
        assert!(events.contains(&event), "{event} of {events:?}");
    }
}

#[test]
fn codex_s_own_tools_ask_and_are_recorded() {
    let Some(client) = codex() else { return };
    let fixture = Fixture::new();
    fixture.write("poem.txt", "one\ntwo\n");
    fixture.good(&["init", "--client", "codex"]);
    let patch = |body: &str| format!("*** Begin Patch\n{body}\n*** End Patch\n");
    let two = "*** Update File: poem.txt\n@@\n one\n-two\n+deux\n*** Add File: new.txt\n+new";
    let one = patch("*** Update File: poem.txt\n@@\n-one\n+un\n deux");
    let turns = [
        ("exec_command", json!({ "cmd": "cat poem.txt" }), says("one\ntwo")),
        ("apply_patch", json!(patch(two)), says("M poem.txt")),
        ("exec_command", json!({ "cmd": "echo three > three.txt" }), says("")),
        (
            "apply_patch",
            json!(patch("*** Add File: .git/hooks/pre-commit\n+x")),
            says("may not write .git/hooks"),
        ),
        // Codex takes this for a call of the tool, and reports no end of it.
        ("exec_command", json!({ "cmd": format!("apply_patch <<'EOF'\n{one}EOF\n") }), says("M poem.txt")),
    ];
    let model = model(PROMPT, &turns);
    // Its user has looked at the hooks once; nobody can here.
    run(&fixture, client, &model, &[KNOWN, "--dangerously-bypass-hook-trust"]);
    assert_eq!(fixture.read("poem.txt"), "un\ndeux\n");
    assert!(!fixture.root().join(".git/hooks/pre-commit").exists());
    let log = fixture.log();
    let own = events_of(&log, "agent:codex-");
    let actor = own.iter().find(|(_, event)| *event == "gate.denied").unwrap().0;
    let changed = |path: &str| -> Vec<&str> {
        let changes =
            log.iter().filter(|(_, event, body)| event == "file.foreign" && body["change"]["path"] == path);
        changes.map(|(by, ..)| by.as_str()).collect()
    };
    assert_eq!(changed("poem.txt"), [actor, actor]);
    assert_eq!(changed("new.txt"), [actor]);
    assert_eq!(changed("three.txt"), [actor]);
    assert!(own.contains(&(actor, "session.ended")), "{own:?}");
}
