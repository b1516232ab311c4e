//! Sagas with real commands: one that fails, and one in whose middle the daemon is killed.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::fixture::Fixture;

/// Longer than any of it takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_failed_step_undoes_files_and_commands_before_it() {
    let fixture = Fixture::new();
    let steps = r#"
        [[steps]]
        id = "tag"
        do = "echo made > tag"
        undo = "rm -f tag"
        [[steps]]
        id = "notes"
        do = { call = "file.write", args = { path = "notes.md", content = "1.2\n" } }
        undo = { call = "file.delete", args = { path = "notes.md" } }
        [[steps]]
        id = "check"
        do = "test -e tag && test -e notes.md && exit 9"
    "#;
    fixture.write("release.toml", steps);
    let ran = fixture.run(&["saga", "run", "release.toml"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("step check: exit 9; undone: tag, notes"), "{ran:?}");
    assert!(!fixture.root().join("tag").exists() && !fixture.root().join("notes.md").exists());
    let listed = fixture.good(&["saga", "list"]).out;
    assert!(listed.contains("release") && listed.contains("failed"), "{listed}");
    fixture.write("release.toml", &steps.replace("exit 9", "exit 0"));
    let done: Value =
        serde_json::from_str(&fixture.good(&["saga", "run", "release.toml", "--json"]).out).unwrap();
    assert_eq!(done["state"], "completed");
    assert_eq!(fixture.read("notes.md"), "1.2\n");
    fixture.good(&["saga", "compensate", &done["saga"].to_string()]);
    assert!(!fixture.root().join("tag").exists() && !fixture.root().join("notes.md").exists());
}

#[test]
fn a_saga_in_whose_middle_the_daemon_is_killed_is_undone_by_the_next_one() {
    let fixture = Fixture::new();
    let steps = r#"
        [[steps]]
        id = "first"
        do = "echo first >> ran; echo x > first"
        undo = "echo undo-first >> ran; rm -f first"
        [[steps]]
        id = "long"
        do = "echo long >> ran; echo x > long; sleep 600"
        undo = "echo undo-long >> ran; rm -f long"
        [[steps]]
        id = "never"
        do = "echo never >> ran"
    "#;
    fixture.write("work.toml", steps);
    let mut begun = fixture.command(&["saga", "run", "work.toml"]);
    let mut begun = begun.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the second step runs", || fixture.root().join("long").exists());
    let pid = fs::read_to_string(fixture.root().join(".ostk/run/anchor.pid")).unwrap();
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    let lock = fs::File::open(fixture.root().join(".ostk/run/anchor.lock")).unwrap();
    wait_for("the daemon is gone", || lock.try_lock_shared().is_ok());
    drop(lock);
    let _ = begun.kill();
    begun.wait().unwrap();
    let saga = || -> Value { serde_json::from_str(&fixture.good(&["saga", "list", "--json"]).out).unwrap() };
    wait_for("the next daemon has undone it", || saga()[0]["state"] == "failed");
    assert_eq!(fixture.read("ran"), "first\nlong\nundo-long\nundo-first\n");
    assert!(!fixture.root().join("first").exists() && !fixture.root().join("long").exists());
    let shown = fixture.good(&["saga", "show", &saga()[0]["saga"].to_string(), "--json"]).out;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["steps"][1]["unknown"], &shown["steps"][2]["state"]),
        (&true.into(), &"pending".into())
    );
    let log = fixture.log();
    let began = log.iter().filter(|(_, event, _)| event == "saga.began").count();
    let commands: Vec<&String> =
        log.iter().filter(|(_, event, _)| event == "shell.intent").map(|(actor, ..)| actor).collect();
    assert_eq!((began, commands), (1, vec![&"human:ada".to_owned(); 4]), "each step is a call of its owner");
}
