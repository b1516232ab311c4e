//! Workers with a real daemon and a model server: needles come one after the other, also after the daemon was killed.

use std::{fs, process::Command, thread, time::Duration};

use scripted_model::{Handle, Script, ScriptedModel};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran};

/// A model that does two needles, the first in steps.
fn model() -> Handle {
    let work = |action: &str, id: &str| json!({ "tool": { "name": "work", "input": { "action": action, "id": id } } });
    let write =
        |path: &str| json!({ "tool": { "name": "fs_ops", "input": { "path": path, "content": "x\n" } } });
    let turns = json!([
        { "expect": { "last_user_contains": "→001 [P1] Retry uploads" }, "reply": [write("retry.txt")] },
        { "reply": [work("close", "1")] },
        { "expect": { "tool_result_contains": "closed" }, "reply": [{ "text": "Uploads are retried." }] },
        { "expect": { "last_user_contains": "→003 [P2] Resume downloads" }, "reply": [{ "text": "It looks done." }] },
        { "expect": { "last_user_contains": "you still hold →003" }, "reply": [write("resume.txt"), work("close", "3")] },
        { "expect": { "tool_result_contains": "closed" }, "reply": [{ "text": "Downloads are resumed." }] },
    ]);
    let conversation =
        json!({ "name": "net", "match": { "system": "the network's worker" }, "turns": turns });
    ScriptedModel::start(Script::from_value(json!({ "conversations": [conversation] })).unwrap()).unwrap()
}

#[track_caller]
fn good(fixture: &Fixture, model: &Handle, args: &[&str]) -> Ran {
    let mut command = fixture.command(args);
    command.env("ANTHROPIC_BASE_URL", model.base_url()).env("ANTHROPIC_API_KEY", "sk-planted-for-the-test");
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    ran
}

fn add(fixture: &Fixture, model: &Handle, title: &str, priority: &str, ac: &str, tag: &str) {
    let described = ["--description", "See the issue.", "--ac", ac, "--tags", tag];
    let args = [["work", "add", "--title", title, "--priority", priority].as_slice(), &described].concat();
    good(fixture, model, &args);
}

fn rests_after(fixture: &Fixture, model: &Handle, turns: u64) {
    let row = || {
        let rows: Value = serde_json::from_str(&good(fixture, model, &["ps", "--json"]).out).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["lineage"] == "net").cloned().unwrap_or_default()
    };
    for _ in 0..600 {
        let row = row();
        if row["doing"] == "waits for work" && row["turns"] == turns {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{:#} {:?}", row(), model.unmet());
}

#[test]
fn a_worker_does_one_needle_after_the_other_and_goes_on_waiting_when_its_daemon_was_killed() {
    let (fixture, model) = (Fixture::new(), model());
    fixture.govern(".ostk/HUMANFILE", "IDENTITY ada\nMODEL claude-haiku-4-5\nSECRET ANTHROPIC_API_KEY\n");
    add(&fixture, &model, "Retry uploads", "P1", "test -e retry.txt", "net");
    add(&fixture, &model, "Draw a logo", "P0", "test -e logo.svg", "art");
    let file =
        "FROM claude-haiku-4-5\nPROMPT You are the network's worker.\nWORK priority>=P2 tags=net,disk\n";
    fixture.write("net.af", file);
    good(&fixture, &model, &["run", "net.af", "--detach"]);
    rests_after(&fixture, &model, 3);

    let pid = fs::read_to_string(fixture.root().join(".ostk/run/anchor.pid")).unwrap();
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    add(&fixture, &model, "Resume downloads", "P2", "test -e resume.txt", "net");
    rests_after(&fixture, &model, 6);

    assert_eq!((model.unmet(), model.repeated()), (Vec::new(), Vec::new()));
    let rows: Value =
        serde_json::from_str(&good(&fixture, &model, &["work", "list", "--all", "--json"]).out).unwrap();
    let standing: Vec<&Value> =
        rows["needles"].as_array().unwrap().iter().map(|row| &row["status"]).collect();
    assert_eq!(standing, ["open", "closed", "closed"], "{rows:#}");
    let log = fixture.log();
    let of = |event: &str| log.iter().filter(|(_, name, _)| name == event).count();
    assert_eq!((of("needle.assigned"), of("needle.reminded"), of("needle.released")), (2, 1, 0));
    fixture.good(&["audit", "verify", "--deep"]);
}
