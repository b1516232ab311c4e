//! Supervision with real processes: commands that fail, hang, and are killed with their daemon.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::fixture::Fixture;

/// Longer than any of it takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program of the project.
fn program(fixture: &Fixture, name: &str, text: &str) {
    fixture.write(name, text);
    fs::set_permissions(fixture.root().join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn lines(fixture: &Fixture, path: &str) -> usize {
    fs::read_to_string(fixture.root().join(path)).unwrap_or_default().lines().count()
}

#[test]
fn a_client_that_dies_is_started_again_in_the_session_that_its_hook_named() {
    let fixture = Fixture::new();
    let client = "#!/bin/sh\necho \"$@\" >> runs.txt\n[ \"$1\" = --resume ] && exit 0\n\
                  printf '{\"session_id\":\"3f2a9c1e-77\",\"cwd\":\"%s\"}' \"$PWD\" | ostk hook session-start\nexit 3\n";
    program(&fixture, "claude", client);
    fixture.write("keep.af", "FROM auto\nRESTART one_for_one\n");
    let ran = fixture.good(&["run", "keep.af", "--json", "--", "./claude", "-p", "the work"]);
    assert_eq!(fixture.read("runs.txt"), "-p the work\n--resume 3f2a9c1e-77 -p the work\n");
    let end: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&end["restarts"], &end["fell"]["exit"]), (&1.into(), &0.into()), "{end}");
    let log = fixture.log();
    let of = |event: &str| log.iter().filter(|(_, name, _)| name == event).count();
    assert_eq!((of("supervise.restarted"), of("session.identified"), of("supervise.fell")), (1, 1, 2));
}

#[test]
fn a_command_that_always_fails_is_given_up_and_its_exit_code_is_that_of_its_last_run() {
    let fixture = Fixture::new();
    fixture.write("keep.af", "FROM auto\nRESTART one_for_one 1/60\n");
    let ran = fixture.run(&["run", "keep.af", "--", "sh", "-c", "echo run >> runs.txt; exit 7"]);
    assert_eq!((ran.code, lines(&fixture, "runs.txt")), (7, 2), "{ran:?}");
    assert!(ran.out.contains("started again 1 times within 60 s, and ended again: exit 7"), "{ran:?}");
}

#[test]
fn a_command_whose_check_fails_is_killed_and_started_again_and_survives_its_daemon() {
    let fixture = Fixture::new();
    let check = "HEALTHCHECK --interval=1s --timeout=10s --retries=2 CMD test -e well";
    fixture.write("keep.af", &format!("FROM auto\nRESTART one_for_one 9/60\n{check}\n"));
    let hang = "echo $$ >> runs.txt; [ $(wc -l < runs.txt) = 1 ] || touch well; exec sleep 600";
    fixture.good(&["run", "keep.af", "--detach", "--", "sh", "-c", hang]);
    wait_for("a second run, which is well", || lines(&fixture, "runs.txt") == 2);
    fixture.good(&["shutdown"]);
    fixture.good(&["ps"]);
    wait_for("a run under the second daemon", || lines(&fixture, "runs.txt") == 3);
    fixture.good(&["kill", "-KILL", "keep"]);
    let rows: Value = serde_json::from_str(&fixture.good(&["ps", "--json"]).out).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["lineage"] == "keep").unwrap().clone();
    assert_eq!((&row["state"], &row["restarts"]), (&"exited".into(), &2.into()), "{row}");
    let log = fixture.log();
    let fell: Vec<&str> = log
        .iter()
        .filter(|(_, event, _)| event == "supervise.fell")
        .filter_map(|(.., body)| body["reason"].as_str())
        .collect();
    assert_eq!(fell, ["its health check failed 2 times in a row", "its daemon ended"]);
}
