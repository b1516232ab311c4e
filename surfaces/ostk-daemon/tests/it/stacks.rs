//! Sub-stacks as real processes: work, seal and attestation, crashes, a broken log, a budget, and the end of everything.

use std::{fs, path::PathBuf, process::Command, thread, time::Duration};

use scripted_model::{Handle, Script, ScriptedModel};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran};

/// A project with the stack `parser` in `src/parser`.
fn with_stack(more: &[&str]) -> Fixture {
    let fixture = Fixture::new();
    fixture.write("src/parser/a.txt", "one\n");
    fixture.good(&[["stack", "spawn", "parser", "--scope", "src/parser"].as_slice(), more].concat());
    fixture
}

fn state_dir(fixture: &Fixture) -> PathBuf {
    fixture.root().join(".ostk/stacks/parser")
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn stack(fixture: &Fixture) -> Value {
    json_of(&fixture.good(&["stack", "list", "--json"]))[0].take()
}

fn pid(fixture: &Fixture) -> u32 {
    fs::read_to_string(state_dir(fixture).join("run/anchor.pid")).unwrap().trim().parse().unwrap()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// Waits until the stack is as wanted; says how it was at last, if it never is.
fn until(fixture: &Fixture, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let row = stack(fixture);
        if wanted(&row) {
            return row;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{:#}", stack(fixture));
}

fn write(fixture: &Fixture, before: &[&str], path: &str) -> Ran {
    let args = json!({ "path": path, "content": "new\n" }).to_string();
    fixture.run(&[before, &["call", "file.write", &args, "--as", "w"]].concat())
}

const INSIDE: [&str; 2] = ["--stack", "parser"];

#[test]
fn a_stack_works_in_its_directory_and_its_log_is_attested_when_it_is_sealed() {
    let fixture = with_stack(&[]);
    assert_eq!(write(&fixture, &INSIDE, "src/parser/b.txt").code, 0);
    let outside = write(&fixture, &INSIDE, "src/c.txt");
    assert!(outside.code == 3 && outside.err.contains("writes in src/parser only"), "{outside:?}");
    let delegated = write(&fixture, &[], "src/parser/c.txt");
    assert!(delegated.code == 3 && delegated.err.contains("ostk stack seal parser"), "{delegated:?}");
    // The sandboxes say the same.
    let inside = fixture.run(&[
        "--stack",
        "parser",
        "run",
        "--",
        "sh",
        "-c",
        "echo x > src/parser/made; echo x > src/c",
    ]);
    assert!(inside.code != 0 && fixture.read("src/parser/made") == "x\n", "{inside:?}");
    let beside = fixture.run(&["run", "--", "sh", "-c", "cat src/parser/b.txt && echo x > src/parser/d"]);
    assert!(beside.code != 0 && beside.out.contains("new"), "{beside:?}");
    assert!(!fixture.root().join("src/c").exists() && !fixture.root().join("src/parser/d").exists());

    let message = r#"{"lineage":"project","text":"it parses"}"#;
    fixture.good(&["--stack", "parser", "call", "nudge", message, "--as", "w"]);
    let sealed = json_of(&fixture.good(&["stack", "seal", "parser", "--reason", "done", "--json"]));
    let changed: Vec<&str> = sealed["changed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(changed, ["src/parser/b.txt", "src/parser/made"]);
    assert_eq!(write(&fixture, &[], "src/parser/c.txt").code, 0);
    let versions = json_of(&fixture.good(&["log", "src/parser/b.txt", "--json"]));
    assert_eq!(versions["versions"][0]["writer"], "stack:parser");

    let checked = json_of(&fixture.good(&["--stack", "parser", "audit", "verify", "--deep", "--json"]));
    assert_eq!(checked["root"], sealed["attestation"]["root"]);
    assert_eq!(checked["records"], sealed["attestation"]["size"]);
    fixture.good(&["audit", "verify", "--deep"]);
    let said = fixture.good(&["audit", "query", "--event", "stack.said", "--json"]);
    assert_eq!(said.out.lines().count(), 1, "{said:?}");
    // A log that goes on whole, and signed by the right key, is still not the one that was attested.
    fixture.good(&["shutdown"]);
    let listen = ["--stack", "parser", "listen", "--idle-exit", "1"];
    fixture.good(&listen);
    let longer = fixture.run(&["--stack", "parser", "audit", "verify"]);
    assert!(longer.code == 1 && longer.out.contains("are not what was attested"), "{longer:?}");
}

#[test]
fn a_stack_that_was_killed_is_started_again_and_goes_on_without_its_project() {
    let fixture = with_stack(&[]);
    assert_eq!(write(&fixture, &INSIDE, "src/parser/b.txt").code, 0);
    let first = pid(&fixture);
    kill(first);
    until(&fixture, |row| row["starts"] == 2);
    assert_eq!(write(&fixture, &INSIDE, "src/parser/c.txt").code, 0);
    let second = pid(&fixture);
    assert_ne!(first, second);
    // Its project's daemon dies; it does not.
    kill(fs::read_to_string(fixture.root().join(".ostk/run/anchor.pid")).unwrap().trim().parse().unwrap());
    assert_eq!(write(&fixture, &INSIDE, "src/parser/d.txt").code, 0);
    let row = stack(&fixture);
    assert_eq!((&row["state"], &row["starts"], pid(&fixture)), (&json!("active"), &json!(2), second));
    // Both end and begin in good order.
    fixture.good(&["shutdown"]);
    assert!(!ostk_daemon::anchored(&state_dir(&fixture)));
    assert_eq!(write(&fixture, &INSIDE, "src/parser/e.txt").code, 0);
    fixture.good(&["stack", "seal", "parser"]);
    for file in ["b", "c", "d", "e"] {
        assert_eq!(fixture.read(&format!("src/parser/{file}.txt")), "new\n");
    }
    fixture.good(&["--stack", "parser", "audit", "verify", "--deep"]);
}

#[test]
fn a_byte_that_flips_in_the_log_of_a_stack_fails_the_stack_alone_and_the_place_is_named() {
    let fixture = with_stack(&[]);
    for name in ["b", "c", "d"] {
        assert_eq!(write(&fixture, &INSIDE, &format!("src/parser/{name}.txt")).code, 0);
    }
    let journal = state_dir(&fixture).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap().replacen("src/parser/b.txt", "src/parser/x.txt", 1);
    kill(pid(&fixture));
    fs::write(&journal, text).unwrap();
    let row = until(&fixture, |row| row["state"] == "failed");
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.contains("journal.jsonl") && reason.contains("record"), "{reason}");
    assert_eq!(write(&fixture, &[], "src/parser/y.txt").code, 0, "the project works on");
    let closed = fixture.run(&["--stack", "parser", "ps"]);
    assert!(closed.code != 0 && closed.err.contains("the stack parser is failed"), "{closed:?}");
    assert_ne!(fixture.run(&["--stack", "parser", "audit", "verify"]).code, 0);
    fixture.good(&["audit", "verify", "--deep"]);
}

/// A model that never has enough: it makes one note after the other.
fn restless(prompt: &str) -> Handle {
    let note = json!({ "reply": [{ "tool": { "name": "note", "input": { "text": "n" } } }] });
    let turns: Vec<Value> = (0..40).map(|_| note.clone()).collect();
    let conversation = json!({ "name": "task", "match": { "first_user": prompt }, "turns": turns });
    ScriptedModel::start(Script::from_value(json!({ "conversations": [conversation] })).unwrap()).unwrap()
}

fn spawn_restless(fixture: &Fixture, model: &Handle, more: &[&str]) -> Value {
    fixture.govern(".ostk/HUMANFILE", "IDENTITY ada\nMODEL claude-haiku-4-5\nSECRET ANTHROPIC_API_KEY\n");
    fixture.write(
        "agents/restless.af",
        "FROM claude-haiku-4-5\nPROMPT Work.\nTASK Take notes.\nTOOL file:read\n",
    );
    fixture.write("src/parser/a.txt", "one\n");
    let spawn =
        ["stack", "spawn", "parser", "--scope", "src/parser", "--agent", "agents/restless.af", "--json"];
    let mut command = fixture.command(&[spawn.as_slice(), more].concat());
    command.env("ANTHROPIC_BASE_URL", model.base_url()).env("ANTHROPIC_API_KEY", "sk-planted-for-the-test");
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{ran:?}");
    json_of(&ran)
}

#[test]
fn a_stack_that_has_spent_its_budget_is_sealed_after_the_last_turn_of_its_agent() {
    let fixture = Fixture::new();
    let model = restless("Take notes.");
    let spawned = spawn_restless(&fixture, &model, &["--turns", "5"]);
    assert_eq!(spawned["agent"], "parser");
    let row = until(&fixture, |row| row["state"] == "sealed");
    assert_eq!(row["reason"], "its budget is used up");
    let state = state_of(&fixture);
    assert_eq!(state.spending.in_all().turns, 5);
    let ending = serde_json::to_value(state.ending("parser")).unwrap();
    assert_eq!(
        (&ending["kind"], &ending["which"]),
        (&json!("budget_exhausted"), &json!("turns of the stack"))
    );
    fixture.good(&["--stack", "parser", "audit", "verify", "--deep"]);
}

/// What the log of the stack folds to.
fn state_of(fixture: &Fixture) -> ostk_kernel::State {
    let mut state = ostk_kernel::State::default();
    for entry in ostk_journal::Reader::open(&state_dir(fixture)).unwrap() {
        ostk_kernel::fold_line(&mut state, &entry.unwrap().line).unwrap();
    }
    state
}

#[test]
fn killing_a_stack_ends_everything_in_it_and_its_log_is_attested_all_the_same() {
    let fixture = with_stack(&[]);
    let mut sleeper =
        fixture.command(&["--stack", "parser", "run", "--name", "sleeper", "--", "sleep", "600"]);
    let mut sleeper = sleeper.spawn().unwrap();
    for _ in 0..100 {
        let rows = json_of(&fixture.good(&["--stack", "parser", "ps", "--json"]));
        if rows.as_array().unwrap().iter().any(|row| row["lineage"] == "sleeper-1") {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    fixture.good(&["--stack", "parser", "panic", "look first"]);
    fixture.good(&["stack", "kill", "parser"]);
    sleeper.wait().unwrap();
    assert!(!ostk_daemon::anchored(&state_dir(&fixture)));
    let row = stack(&fixture);
    assert_eq!((&row["state"], &row["reason"]), (&json!("sealed"), &json!("killed by human:ada")));
    fixture.good(&["--stack", "parser", "audit", "verify", "--deep"]);
}
