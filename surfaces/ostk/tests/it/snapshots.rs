//! Snapshots shorten a start and are never the truth: with one, without one and with a false one, a daemon has the state
//! that the log folds to.

use std::{fs, path::PathBuf};

use libostk::{CallOptions, Client, Identity};
use ostk_kernel::State;
use serde_json::json;

use crate::fixture::Fixture;

/// A project with a snapshot; its daemon is stopped.
fn with_a_snapshot() -> Fixture {
    let fixture = Fixture::new();
    fixture.call("file.write", r#"{"path":"notes.txt","content":"one\ntwo\n"}"#).good();
    let mut client = Client::connect(&fixture.state().join("run/ostk.sock")).unwrap();
    client.attach(&Identity::Agent("reader".to_owned()), "test", None).unwrap();
    for _ in 0..1_000 {
        client.call("file.read", &json!({ "path": "notes.txt" }), &CallOptions::default()).unwrap();
    }
    fixture.run(&["shutdown"]).good();
    assert_eq!(snapshots(&fixture).len(), 1);
    fixture
}

fn snapshots(fixture: &Fixture) -> Vec<PathBuf> {
    let listed = fs::read_dir(fixture.state().join("snapshots")).into_iter().flatten();
    listed.map(|entry| entry.unwrap().path()).collect()
}

/// Starts a daemon, and compares its state with a fold of the log from its first record.
fn check_the_state(fixture: &Fixture) {
    let claimed = fixture.call("kernel.state_hash", "{}").good().json();
    fixture.run(&["shutdown"]).good();
    let mut state = State::default();
    let count = usize::try_from(claimed["next_seq"].as_u64().unwrap()).unwrap();
    assert!(count > 1_000);
    for entry in libostk::records(&fixture.state()).unwrap().take(count) {
        ostk_kernel::fold_line(&mut state, &entry.unwrap().line).unwrap();
    }
    assert_eq!(claimed["state_hash"], state.hash().to_string());
}

fn daemon_log(fixture: &Fixture) -> String {
    fs::read_to_string(fixture.state().join("run/daemon.log")).unwrap_or_default()
}

#[test]
fn a_start_from_a_snapshot_has_the_state_of_the_log() {
    let fixture = with_a_snapshot();
    check_the_state(&fixture);
    assert!(!daemon_log(&fixture).contains("left out"), "{}", daemon_log(&fixture));
}

#[test]
fn a_snapshot_that_was_changed_is_left_out_with_a_word() {
    let fixture = with_a_snapshot();
    let path = snapshots(&fixture).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("agent:reader", "agent:editor", 1).replacen("reader", "editor", 9))
        .unwrap();
    check_the_state(&fixture);
    assert!(daemon_log(&fixture).contains("its state was changed"), "{}", daemon_log(&fixture));
}

#[test]
fn without_anything_but_journal_packs_and_documents_the_state_is_the_same() {
    let fixture = with_a_snapshot();
    for entry in fs::read_dir(fixture.state()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if ["run", "log", "snapshots", "scratch"].contains(&name.as_str()) {
            fs::remove_dir_all(path).unwrap();
        }
    }
    check_the_state(&fixture);
}

#[test]
fn a_snapshot_of_another_log_is_left_out() {
    let (fixture, other) = (with_a_snapshot(), with_a_snapshot());
    let path = snapshots(&fixture).remove(0);
    fs::copy(&snapshots(&other)[0], &path).unwrap();
    check_the_state(&fixture);
    assert!(daemon_log(&fixture).contains("is left out"), "{}", daemon_log(&fixture));
}
