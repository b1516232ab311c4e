//! Sub-stacks, from the parent's side and from within.

use std::collections::VecDeque;

use ostk_agent::Outcome as Ending;
use ostk_kernel::{Allowance, CallError, Code, StackState, Within};
use ostk_log::{Hash, Timestamp};
use ostk_policy::Documents;
use serde_json::{Value, json};

use crate::{
    agents::{say, tool},
    host::{Host, Settings, ada, agent, assert_code},
};

fn started() -> Result<Value, CallError> {
    Ok(json!({ "found": false, "socket": "run/ostk.sock" }))
}

fn ended(changed: &[&str]) -> Result<Value, CallError> {
    let (root, state_hash) = (Hash::of(b"root"), Hash::of(b"state"));
    Ok(
        json!({ "attestation": { "origin": "ostk/repo/parser", "size": 9, "root": root, "state_hash": state_hash },
        "changed": changed, "tokens": 100, "micro_usd": 7, "turns": 2 }),
    )
}

fn broken() -> Result<Value, CallError> {
    Err(CallError::new(Code::Failed, "its log is not whole: record 4, journal.jsonl at byte 812"))
}

/// A host with the stack `parser` in `src/parser`.
fn with_stack() -> Host {
    let mut host = Host::new();
    host.stacks = VecDeque::from([started()]);
    host.put("src/parser/a", "one\n");
    host.ok(&ada(), "stack.spawn", json!({ "name": "parser", "scope": "src/parser", "turns": 4 }));
    host
}

fn state(host: &Host) -> StackState {
    host.kernel.state().stacks["parser"].state
}

#[test]
fn what_is_delegated_is_read_and_not_written_until_the_stack_is_sealed() {
    let mut host = with_stack();
    assert_eq!(
        (state(&host), host.count("stack.spawned"), host.count("stack.active")),
        (StackState::Active, 1, 1)
    );
    host.ok(&agent("w"), "file.read", json!({ "path": "src/parser/a" }));
    let write = json!({ "path": "src/parser/b", "content": "two\n" });
    for (verb, args) in [
        ("file.write", write.clone()),
        ("file.edit", json!({ "path": "src/parser/a", "old": "one", "new": "1" })),
        ("file.rename", json!({ "from": "src/parser/a", "to": "a" })),
        ("hook.before", json!({ "tool": "Edit", "access": "edit", "path": "src/parser/a" })),
    ] {
        let error = host.err(&agent("w"), verb, args);
        assert_code(&error, Code::Denied);
        assert!(error.message.contains("src/parser is delegated to the stack parser"), "{verb}: {error:?}");
        assert_eq!(error.hint.as_deref(), Some("ostk stack seal parser"), "{verb}");
    }
    assert_code(&host.err(&ada(), "file.write", write.clone()), Code::Denied);
    let why = json!({ "lineage": "w", "verb": "file.write", "resource": "src/parser/b" });
    assert_eq!(host.ok(&ada(), "why", why)["effect"], "deny", "why agrees with the attempt");
    host.ok(&agent("w"), "file.write", json!({ "path": "src/parser2", "content": "beside it\n" }));
    host.stacks.push_back(ended(&[]));
    let sealed = host.ok(&ada(), "stack.seal", json!({ "name": "parser" }));
    assert_eq!((state(&host), &sealed["attestation"]["size"]), (StackState::Sealed, &json!(9)));
    host.ok(&agent("w"), "file.write", write);
}

#[test]
fn what_changes_in_a_stack_is_its_doing_and_readers_are_told() {
    let mut host = with_stack();
    host.ok(&agent("w"), "file.read", json!({ "path": "src/parser/a" }));
    host.put("src/parser/a", "changed\n");
    host.notice(&["src/parser/a"]);
    assert_eq!(host.last("file.foreign").actor, "stack:parser");
    let told = host.ok(&agent("w"), "note", json!({ "text": "n" }));
    assert!(told["digest"].as_str().unwrap().contains("src/parser/a"), "{told}");
    // Nobody noticed this one.
    host.put("src/parser/b", "new\n");
    host.stacks.push_back(ended(&["src/parser/a", "src/parser/b"]));
    host.ok(&ada(), "stack.seal", json!({ "name": "parser" }));
    assert_eq!(host.count("file.foreign"), 2, "each change once");
    let last = host.last("file.foreign");
    assert_eq!((last.actor.as_str(), &last.body["via"]), ("stack:parser", &json!("stack")));
    host.files_match_the_fold();
}

#[test]
fn a_directory_is_delegated_once_and_a_name_is_used_once() {
    let mut host = with_stack();
    let spawn = |host: &mut Host, name: &str, scope: &str| {
        host.call(&ada(), "stack.spawn", json!({ "name": name, "scope": scope })).unwrap_err()
    };
    assert_code(&spawn(&mut host, "other", "src"), Code::Conflict);
    assert_code(&spawn(&mut host, "other", "src/parser/deep"), Code::Conflict);
    assert_code(&spawn(&mut host, "parser", "docs"), Code::Conflict);
    for scope in ["", "/etc", "../x", "src/../..", ".ostk/pins", ".git", "a//b"] {
        assert_code(&spawn(&mut host, "other", scope), Code::Usage);
    }
    host.stacks.push_back(broken());
    let error = spawn(&mut host, "other", "docs");
    assert!(error.message.contains("byte 812"), "{error:?}");
    assert_eq!(host.kernel.state().stacks["other"].state, StackState::Failed);
    host.ok(&agent("w"), "file.write", json!({ "path": "docs/a", "content": "a\n" }));
}

#[test]
fn a_stack_that_crashes_is_started_again_three_times_and_then_has_failed() {
    let mut host = with_stack();
    for crash in 1..=3 {
        host.stacks.push_back(started());
        end(&mut host);
        assert_eq!((state(&host), host.count("stack.active")), (StackState::Active, crash + 1));
    }
    end(&mut host);
    assert_eq!(state(&host), StackState::Failed);
    let problem = host.last("stack.failed").body["problem"].clone();
    assert!(problem.as_str().unwrap().contains("4 times, the last time signal: 9"), "{problem}");
    host.ok(&agent("w"), "file.write", json!({ "path": "src/parser/b", "content": "two\n" }));
}

/// The daemon of the stack dies.
fn end(host: &mut Host) {
    let now = Timestamp::from_micros(host.now);
    let acts = host.kernel.stack_ended(now, "parser", "signal: 9 (SIGKILL)");
    host.take(acts);
    host.run();
}

#[test]
fn a_broken_log_of_a_stack_makes_it_fail_with_the_place_and_leaves_the_rest_alone() {
    let mut host = with_stack();
    host.stacks.push_back(broken());
    end(&mut host);
    assert_eq!(state(&host), StackState::Failed);
    let row = host.ok(&ada(), "stack.list", json!({}))["stacks"][0].take();
    assert!(row["reason"].as_str().unwrap().contains("record 4, journal.jsonl at byte 812"), "{row}");
    host.ok(&agent("w"), "file.write", json!({ "path": "src/parser/b", "content": "two\n" }));
}

#[test]
fn after_a_restart_of_the_project_its_stacks_are_started_or_found() {
    let mut host = with_stack();
    host.stacks.push_back(Ok(json!({ "found": true })));
    host.kill();
    host.run();
    assert_eq!((state(&host), host.count("stack.active")), (StackState::Active, 1), "it went on meanwhile");
    host.stacks.push_back(started());
    host.kill();
    host.run();
    assert_eq!((state(&host), host.count("stack.active")), (StackState::Active, 2));
}

#[test]
fn a_repeated_spawn_or_seal_has_its_first_result_and_no_second_effect() {
    let mut host = Host::new();
    host.stacks = VecDeque::from([started(), ended(&["src/parser/a"])]);
    let spawn = json!({ "name": "parser", "scope": "src/parser" });
    for _ in 0..2 {
        let spawned = host.keyed(&ada(), "stack.spawn", spawn.clone(), "k1").unwrap();
        assert_eq!(spawned["scope"], "src/parser");
    }
    let first = host.keyed(&ada(), "stack.seal", json!({ "name": "parser" }), "k2").unwrap();
    host.kill();
    let again = host.keyed(&ada(), "stack.seal", json!({ "name": "parser" }), "k2").unwrap();
    assert_eq!(first["attestation"], again["attestation"]);
    assert_eq!((host.count("stack.spawned"), host.count("stack.sealed")), (1, 1));
}

#[test]
fn only_a_person_or_whoever_spawned_it_seals_a_stack() {
    let mut host = Host::new();
    host.stacks = VecDeque::from([started(), ended(&[])]);
    host.ok(&agent("lead"), "stack.spawn", json!({ "name": "parser", "scope": "src/parser" }));
    let error = host.err(&agent("other"), "stack.seal", json!({ "name": "parser" }));
    assert_code(&error, Code::Denied);
    host.ok(&agent("lead"), "stack.seal", json!({ "name": "parser", "reason": "done" }));
    let reason = host.last("stack.sealed").body["reason"].clone();
    assert_eq!(reason, "sealed by agent:lead: done");
    assert_code(&host.err(&ada(), "stack.seal", json!({ "name": "parser" })), Code::Conflict);
    assert_code(&host.err(&ada(), "stack.seal", json!({ "name": "nobody" })), Code::NotFound);
}

#[test]
fn the_pin_of_whoever_spawns_a_stack_goes_with_it() {
    let mut documents = Documents::default();
    documents.pins.insert("narrow".to_owned(), "write: src\nread: .\nexecute: shell\n".to_owned());
    let mut host = Host::with(documents);
    let session =
        json!({ "name": "lead", "exact": true, "client": "test", "pin": "narrow", "mode": "autonomous" });
    host.ok(&ada(), "session.start", session);
    host.stacks.push_back(started());
    host.call(&agent("lead"), "stack.spawn", json!({ "name": "parser", "scope": "src/parser" })).unwrap();
    let spawned = &host.last("stack.spawned").body;
    assert_eq!((&spawned["pin"], &spawned["mode"]), (&json!("narrow"), &json!("autonomous")));
}

#[test]
fn a_stack_is_paid_from_what_the_day_allows() {
    let mut host = Host::new();
    host.settings.allowance = Allowance { tokens_per_day: Some(1_000), ..Allowance::default() };
    host.ok(&ada(), "policy.reload", json!({}));
    let mut spawn = json!({ "name": "parser", "scope": "src/parser" });
    assert_code(&host.err(&ada(), "stack.spawn", spawn.clone()), Code::Usage);
    spawn["tokens"] = json!(1_001);
    assert_code(&host.err(&ada(), "stack.spawn", spawn.clone()), Code::Denied);
    spawn["tokens"] = json!(800);
    host.stacks = VecDeque::from([started(), ended(&[])]);
    host.ok(&ada(), "stack.spawn", spawn);
    let reserved = |host: &Host| host.kernel.state().spending.reserved().tokens;
    assert_eq!(reserved(&host), 800);
    host.stacks.push_front(Ok(json!({ "found": true })));
    host.kill();
    host.run();
    assert_eq!(reserved(&host), 800, "also after a crash");
    host.ok(&ada(), "stack.seal", json!({ "name": "parser" }));
    let today = host.kernel.state().spending.today(Timestamp::from_micros(host.now));
    assert_eq!((reserved(&host), today.tokens, today.turns), (0, 100, 2), "what it spent is what it costs");
}

/// A host that is the daemon of a stack.
fn inside(pin: Option<&str>, budget: Allowance) -> Host {
    let mut documents = Documents::default();
    let narrow = "read: .\nwrite: src\nexecute: shell\ndeny-path: src/parser/secret\n";
    documents.pins.insert("narrow".to_owned(), narrow.to_owned());
    documents.pins.insert("wide".to_owned(), "read: .\nwrite: .\nexecute: shell\n".to_owned());
    let (stack, scope) = ("parser".to_owned(), "src/parser".to_owned());
    let within = Within { stack, scope, pin: pin.map(str::to_owned), mode: None, budget };
    Host::of(documents, Settings { allowance: budget, within: Some(within), agents: None })
}

#[test]
fn within_a_stack_everybody_writes_in_its_directory_only_and_starts_no_stack() {
    let mut host = inside(None, Allowance::default());
    assert_eq!(host.count("stack.entered"), 1);
    host.put("README", "read me\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "README" }));
    host.ok(&agent("w"), "file.write", json!({ "path": "src/parser/a", "content": "a\n" }));
    for caller in [agent("w"), ada()] {
        let error = host.err(&caller, "file.write", json!({ "path": "src/a", "content": "a\n" }));
        assert!(error.message.contains("the stack parser writes in src/parser only"), "{error:?}");
    }
    assert_eq!(host.last("file.write.intent").body["requests"][0]["stack"], "parser");
    let nested = host.err(&ada(), "stack.spawn", json!({ "name": "x", "scope": "src/parser/x" }));
    assert!(nested.message.contains("a stack within the stack parser"), "{nested:?}");
    host.kill();
    host.run();
    assert_eq!(host.count("stack.entered"), 1, "what holds is said once");
}

#[test]
fn within_a_stack_nobody_sheds_the_pin_that_it_was_spawned_with() {
    let mut host = inside(Some("narrow"), Allowance::default());
    host.ok(&agent("w"), "file.write", json!({ "path": "src/parser/a", "content": "a\n" }));
    let secret =
        host.err(&agent("w"), "file.write", json!({ "path": "src/parser/secret", "content": "a\n" }));
    assert!(secret.message.contains("pins/narrow/pin.caps"), "{secret:?}");
    for caller in [ada(), agent("w")] {
        let wide = json!({ "name": "other", "pin": "wide", "client": "test" });
        assert_code(&host.err(&caller, "session.start", wide), Code::Denied);
    }
    host.script = vec![vec![say("Done.")]];
    let file = "FROM scripted\nTASK Work.\n";
    let spawned = host.ok(&ada(), "agent.spawn", json!({ "name": "native", "agentfile": file }));
    assert_eq!(spawned["pin"], "narrow");
    let wide = format!("{file}PIN wide\n");
    assert_code(&host.err(&ada(), "agent.spawn", json!({ "name": "n2", "agentfile": wide })), Code::Denied);
}

#[test]
fn at_the_end_of_its_budget_every_agent_of_a_stack_has_one_last_turn() {
    let turns = Allowance { turns: Some(7), ..Allowance::default() };
    let mut host = inside(None, turns);
    let note = |turn: usize| vec![tool(&format!("t{turn}"), "note", json!({ "text": "n" }))];
    host.script = (0..30).map(note).collect();
    for name in ["a", "b"] {
        host.submit(
            &ada(),
            "agent.spawn",
            json!({ "name": name, "agentfile": "FROM scripted\nTASK Work.\n" }),
        );
    }
    host.run();
    let state = host.kernel.state();
    assert!(state.spending.in_all().turns <= 7, "{:?}", state.spending.in_all());
    for name in ["a", "b"] {
        let which = "turns of the stack".to_owned();
        assert_eq!(state.ending(name), Some(&Ending::BudgetExhausted { which }), "{name}");
        let told = format!("{:?}", host.conversation(&state.agents[name]));
        assert!(told.contains("No tool is called any more"), "{told}");
    }
    let status = host.ok(&ada(), "status", json!({}));
    assert_eq!((&status["budget"]["closed"], &status["working"]), (&json!(true), &json!(0)));
    let late =
        host.err(&ada(), "agent.spawn", json!({ "name": "c", "agentfile": "FROM scripted\nTASK Work.\n" }));
    assert!(late.message.contains("the budget of this stack is used up"), "{late:?}");
}

#[test]
fn a_stack_that_has_spent_its_budget_is_sealed_by_its_parent() {
    let mut host = with_stack();
    host.stacks.push_back(ended(&[]));
    let acts = host.kernel.stack_spent(Timestamp::from_micros(host.now), "parser");
    host.take(acts);
    host.run();
    assert_eq!(state(&host), StackState::Sealed);
    assert_eq!(host.last("stack.sealed").body["reason"], "its budget is used up");
}

#[test]
fn what_agents_of_a_stack_write_to_the_project_is_recorded_within_and_heard_once_outside() {
    let mut host = inside(None, Allowance::default());
    host.ok(&agent("w"), "nudge", json!({ "lineage": "project", "text": "half way" }));
    assert_eq!(host.last("nudge.sent").body["to"], "project");

    let mut host = Host::new();
    host.stacks.push_back(started());
    host.ok(&agent("lead"), "stack.spawn", json!({ "name": "parser", "scope": "src/parser" }));
    let say = |host: &mut Host, seq: u64, text: &str| {
        let acts = host.kernel.stack_said(Timestamp::from_micros(host.now), "parser", (seq, "agent:w", text));
        host.take(acts);
    };
    say(&mut host, 7, "half way");
    say(&mut host, 7, "half way");
    let told = host.ok(&agent("lead"), "note", json!({ "text": "n" }));
    assert_eq!(told["nudges"], json!(["stack:parser: agent:w: half way"]));
    host.stacks.push_back(Ok(json!({ "found": true })));
    host.kill();
    host.run();
    say(&mut host, 7, "half way");
    assert_eq!(host.count("stack.said"), 1);
    // The client is gone with its daemon.
    say(&mut host, 9, "done");
    assert!(host.last("stack.said").body.get("to").is_none(), "a note for the log's readers");
    assert_eq!(host.kernel.state().notes.back().unwrap().1, "stack:parser");
}
