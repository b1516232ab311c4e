//! `ostk hook`, as Claude Code calls it.

use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran};

/// A session of Claude Code in a fixture.
struct Session<'a> {
    fixture: &'a Fixture,
    id: &'static str,
}

impl Session<'_> {
    fn hook(&self, event: &str, tool: &str, input: &Value) -> Ran {
        let names =
            [("session-start", "SessionStart"), ("pre-tool", "PreToolUse"), ("post-tool", "PostToolUse")];
        let name = names.iter().find(|(ours, _)| *ours == event).map_or("SessionEnd", |(_, theirs)| theirs);
        let ran = self.fixture.hook(
            event,
            &json!({ "session_id": self.id, "transcript_path": "/dev/null", "cwd": self.fixture.root(),
                "hook_event_name": name, "tool_name": tool, "tool_input": input, "tool_response": {} }),
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    }

    fn path(&self, path: &str) -> Value {
        json!({ "file_path": self.fixture.root().join(path) })
    }

    /// What `Read` does: the hook before, the read, the hook after.
    fn reads(&self, path: &str) {
        assert_eq!(self.hook("pre-tool", "Read", &self.path(path)).out, "");
        self.hook("post-tool", "Read", &self.path(path));
    }

    fn may(&self, tool: &str, path: &str) -> Result<(), String> {
        let ran = self.hook("pre-tool", tool, &self.path(path));
        if ran.out.is_empty() {
            return Ok(());
        }
        let answer: Value = serde_json::from_str(&ran.out).unwrap();
        let said = &answer["hookSpecificOutput"];
        assert_eq!(
            (&said["hookEventName"], &said["permissionDecision"]),
            (&json!("PreToolUse"), &json!("deny"))
        );
        Err(said["permissionDecisionReason"].as_str().unwrap().to_owned())
    }
}

#[test]
fn a_stale_edit_is_refused_and_a_fresh_one_is_recorded() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "one\n");
    let one = Session { fixture: &fixture, id: "11111111-aaaa" };
    let two = Session { fixture: &fixture, id: "22222222-bbbb" };
    one.hook("session-start", "", &Value::Null);
    one.reads("a.txt");
    two.reads("a.txt");
    assert_eq!(two.may("Edit", "a.txt"), Ok(()));
    fixture.write("a.txt", "two\n");
    two.hook("post-tool", "Edit", &two.path("a.txt"));
    let stale = one.may("Edit", "a.txt").unwrap_err();
    let lines: Vec<&str> = stale.lines().collect();
    assert_eq!(lines[0], "ostk: a.txt was changed by agent:claude-22222222 since you read it");
    assert_eq!(lines[1], "Hint: read a.txt again, then repeat the change");
    assert!(lines[2].starts_with("[files]") && lines[2].contains("a.txt"), "{stale}");
    one.reads("a.txt");
    assert_eq!(one.may("Edit", "a.txt"), Ok(()));
    fixture.write("b.txt", "mine\n");
    let unread = one.may("Write", "b.txt").unwrap_err();
    assert!(unread.contains("b.txt exists and you have not read it"), "{unread}");
    assert_eq!(one.may("Write", "new.txt"), Ok(()));
    assert!(one.may("Edit", ".git/hooks/pre-commit").unwrap_err().contains(".git/hooks"));
    one.hook("session-end", "", &Value::Null);
    let log = fixture.log();
    let of_file = |body: &Value| body["change"]["path"] == "a.txt";
    let edits: Vec<_> =
        log.iter().filter(|(_, event, body)| event == "file.foreign" && of_file(body)).collect();
    assert_eq!(edits.len(), 1, "{edits:?}");
    assert_eq!((edits[0].0.as_str(), &edits[0].2["via"]), ("agent:claude-22222222", &json!("hook")));
    let starts =
        log.iter().filter(|(actor, event, _)| event == "session.started" && actor == "agent:claude-22222222");
    assert_eq!(starts.count(), 1, "one session, however many hooks: {log:?}");
}

#[test]
fn what_bash_changed_is_ascribed_and_what_others_changed_is_told() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "one\n");
    fixture.write("b.txt", "one\n");
    let one = Session { fixture: &fixture, id: "11111111-aaaa" };
    let two = Session { fixture: &fixture, id: "22222222-bbbb" };
    one.reads("a.txt");
    two.reads("b.txt");
    let command = json!({ "command": "echo two > b.txt" });
    assert_eq!(one.hook("pre-tool", "Bash", &command).out, "");
    fixture.write("b.txt", "two\n");
    // The command runs on; the watcher has seen the change long before the client reports it.
    std::thread::sleep(std::time::Duration::from_millis(400));
    one.hook("post-tool", "Bash", &command);
    fixture.good(&["call", "nudge", r#"{"lineage":"claude-22222222","text":"look at b.txt"}"#]);
    // What comes at the end of a turn reaches no model, so the news wait for the next tool.
    two.hook("turn-end", "", &Value::Null);
    let told = two.hook("pre-tool", "Bash", &json!({ "command": "true" }));
    let told: Value = serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    let said = &told["hookSpecificOutput"];
    assert_eq!((&said["hookEventName"], &said["permissionDecision"]), (&json!("PreToolUse"), &Value::Null));
    assert!(said["additionalContext"].as_str().unwrap().starts_with("[message] "), "{said}");
    assert!(said["additionalContext"].as_str().unwrap().contains("look at b.txt"), "{said}");
    assert_eq!(two.hook("post-tool", "Bash", &json!({ "command": "true" })).out, "", "news come once");
    let context = said["additionalContext"].as_str().unwrap();
    assert!(context.contains("b.txt gen=") && context.contains("claude-11111111"), "{context}");
    let log = fixture.log();
    let foreign: Vec<_> = log.iter().filter(|(_, event, _)| event == "file.foreign").collect();
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert_eq!(foreign[0].0, "agent:claude-11111111");
}

#[test]
fn without_a_project_or_a_daemon_nothing_stands_in_the_way() {
    let bare = Fixture::bare();
    let session = Session { fixture: &bare, id: "11111111-aaaa" };
    let allowed = session.hook("pre-tool", "Edit", &session.path("a.txt"));
    assert!(allowed.out.is_empty() && allowed.err.contains("ostk init"), "{allowed:?}");
    assert_eq!(session.hook("post-tool", "Edit", &session.path("a.txt")).err, "");

    let fixture = Fixture::new();
    let session = Session { fixture: &fixture, id: "11111111-aaaa" };
    for event in ["post-tool", "session-end", "turn-end"] {
        let ran = session.hook(event, "Edit", &session.path("a.txt"));
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    }
    assert!(!fixture.socket_is_there(), "what only records starts no daemon");
    assert_eq!(session.may("Edit", "a.txt"), Ok(()));
    assert!(fixture.socket_is_there());
    assert_eq!(session.hook("pre-tool", "Edit", &json!({ "file_path": "/tmp/elsewhere" })).out, "");
}

#[test]
fn a_daemon_that_cannot_start_refuses_changes_and_says_why() {
    let fixture = Fixture::new();
    fixture.write(".ostk/policy.cedar", "this is not a policy");
    let session = Session { fixture: &fixture, id: "11111111-aaaa" };
    let refused = session.may("Edit", "a.txt").unwrap_err();
    assert!(refused.contains("does not answer") && refused.contains("ostk doctor"), "{refused}");
    assert_eq!(session.hook("pre-tool", "Read", &session.path("a.txt")).out, "");
}

#[test]
fn a_malformed_hook_never_looks_like_a_refusal() {
    let fixture = Fixture::new();
    // Exit code 2 is how a hook refuses; an error of ours must be another.
    assert_eq!(fixture.hook("pre-tool", &json!("text")).code, 1);
    assert_eq!(fixture.hook("pre-tool", &json!({})).code, 1);
    assert_eq!(fixture.hook("no-such-event", &json!({ "session_id": "x" })).code, 1);
}
