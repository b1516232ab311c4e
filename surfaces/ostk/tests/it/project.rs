//! A project's life: init, a daemon on demand, its end, its sudden end.

use std::fs;

use crate::fixture::{Fixture, eventually, ran};

#[test]
fn init_makes_a_project_once() {
    let fixture = Fixture::bare();
    let made = fixture.run(&["init", "--json"]).good().json();
    assert!(made["created"].as_array().unwrap().iter().any(|path| path == ".ostk/ostk.toml"), "{made}");
    fs::write(fixture.state().join("ostk.toml"), "# mine\n").unwrap();
    let again = fixture.run(&["init", "--json"]).good().json();
    assert_eq!(again["created"].as_array().unwrap().len(), 0);
    assert_eq!(fs::read_to_string(fixture.state().join("ostk.toml")).unwrap(), "# mine\n");
}

#[test]
fn init_outside_a_git_repository_is_refused_with_the_way_out() {
    let fixture = Fixture::bare();
    fs::remove_dir_all(fixture.root().join(".git")).unwrap();
    let ran = fixture.run(&["init"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("Error:") && ran.err.contains("Hint: run `git init`"), "{ran:?}");
    assert!(!fixture.state().exists());
}

#[test]
fn without_a_project_a_command_says_how_to_get_one() {
    let fixture = Fixture::bare();
    let ran = fixture.run(&["ps"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("Hint: ostk init"), "{ran:?}");
    let json = fixture.run(&["ps", "--json"]).json();
    assert!(json["error"]["hint"].as_str().unwrap().contains("ostk init"), "{json}");
}

#[test]
fn the_first_call_starts_a_daemon_and_files_are_written_edited_and_read() {
    let fixture = Fixture::new();
    assert!(!fixture.state().join("run/ostk.sock").exists());
    fixture.call("file.write", r#"{"path":"a.txt","content":"one\ntwo\n"}"#).good();
    fixture.call("file.edit", r#"{"path":"a.txt","old":"two","new":"three"}"#).good();
    let read = fixture.call("file.read", r#"{"path":"a.txt","fresh":true}"#).good().json();
    assert_eq!(read["content"], "one\nthree\n");
    assert_eq!(fs::read_to_string(fixture.root().join("a.txt")).unwrap(), "one\nthree\n");
    let blame = fixture.run(&["blame", "a.txt", "--json"]).good().json();
    assert_eq!(blame["lines"][1]["writer"], "human:ada");
    assert_eq!(blame["lines"].as_array().unwrap().len(), 2);
}

#[test]
fn a_wrong_call_is_a_usage_error_and_a_missing_file_is_not() {
    let fixture = Fixture::new();
    assert_eq!(fixture.call("no.such.call", "{}").code, 2);
    assert_eq!(fixture.call("file.read", "{").code, 2);
    assert_eq!(fixture.call("file.read", r#"{"path":"nowhere"}"#).code, 1);
}

#[test]
fn a_second_daemon_is_refused_with_the_way_out() {
    let fixture = Fixture::new();
    fixture.run(&["ps"]).good();
    let ran = fixture.run(&["listen"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let pid = fixture.daemon_pid().unwrap();
    assert!(ran.err.contains(&format!("pid {pid}")) && ran.err.contains("ostk shutdown"), "{ran:?}");
    fixture.run(&["ps"]).good();
}

#[test]
fn a_socket_that_a_dead_daemon_left_behind_is_replaced() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.state().join("run")).unwrap();
    let socket = fixture.state().join("run/ostk.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    fixture.run(&["ps"]).good();
}

#[test]
fn a_daemon_that_dies_while_it_takes_a_connection_is_replaced() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.state().join("run")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(fixture.state().join("run/ostk.sock")).unwrap();
    let dying = std::thread::spawn(move || {
        let connection = listener.accept().unwrap();
        drop(listener);
        drop(connection);
    });
    let rows = fixture.run(&["ps", "--json"]).good().json();
    assert_eq!(rows[0]["lineage"], "ada");
    dying.join().unwrap();
}

#[test]
fn after_a_sudden_end_the_next_command_finds_everything_again() {
    let fixture = Fixture::new();
    fixture.call_as("worker-a", "file.write", r#"{"path":"a.txt","content":"kept\n"}"#).good();
    let before = fixture.run(&["ps", "--json"]).good().json();
    fixture.kill_daemon();
    assert!(fixture.state().join("run/ostk.sock").exists());
    let after = fixture.run(&["ps", "--json"]).good().json();
    let worker = |rows: &serde_json::Value| {
        rows.as_array().unwrap().iter().find(|row| row["lineage"] == "worker-a").unwrap().clone()
    };
    assert_eq!(worker(&before)["writes"], 1);
    assert_eq!(worker(&after)["writes"], 1);
    assert!(fixture.run(&["audit", "verify", "--deep", "--json"]).good().json()["ok"] == true);
}

#[test]
fn shutdown_stops_the_daemon_and_says_when_there_is_none() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(&["shutdown", "--json"]).good().json()["stopped"], false);
    fixture.run(&["ps"]).good();
    assert_eq!(fixture.run(&["shutdown", "--json"]).good().json()["stopped"], true);
    eventually("the socket is removed", || !fixture.state().join("run/ostk.sock").exists());
    assert_eq!(fixture.run(&["shutdown", "--json"]).good().json()["stopped"], false);
}

#[test]
fn a_text_that_is_too_large_is_refused_and_stops_nobody_else() {
    let fixture = Fixture::new();
    let large = fixture.home().join("large.json");
    let content = "x".repeat(65 << 20);
    fs::write(&large, format!(r#"{{"path":"big","content":"{content}"}}"#)).unwrap();
    let mut call = fixture.command(&["call", "file.write", "-", "--as", "evil", "--json"]);
    let refused = ran(call.stdin(fs::File::open(&large).unwrap()).output().unwrap());
    assert_eq!(
        refused.json()["error"]["code"],
        "too_large",
        "{}",
        &refused.out[..200.min(refused.out.len())]
    );
    fixture.call("file.write", r#"{"path":"small","content":"a\n"}"#).good();
}

#[test]
fn the_root_can_be_listed() {
    let fixture = Fixture::with_sources();
    fixture.run(&["init"]).good();
    for args in ["{}", r#"{"path":"."}"#, r#"{"path":"src/.."}"#] {
        let listed = fixture.call("dir.list", args).good().json();
        assert!(listed["entries"].as_array().unwrap().contains(&"src/".into()), "{args}: {listed}");
    }
}

#[test]
fn a_commands_streams_stay_apart_and_nothing_is_added_to_them() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["run", "--", "sh", "-c", "printf out; printf err >&2; exit 7"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (7, "out", "err"));
    let both = fixture.run(&["run", "worker.af", "--", "true"]);
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn who_interrupts_a_command_ends_it() {
    let fixture = Fixture::new();
    let mut child = fixture.spawn(&["run", "--", "sh", "-c", "echo > started.txt; sleep 600"]);
    eventually("the command runs", || fixture.root().join("started.txt").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the command's end is recorded", || {
        !fixture.run(&["audit", "query", "--event", "shell.receipt", "--json"]).good().lines().is_empty()
    });
}

#[test]
fn many_first_commands_at_once_share_one_daemon() {
    let fixture = Fixture::new();
    let children: Vec<_> = (0..6).map(|_| fixture.spawn(&["ps", "--json"])).collect();
    for child in children {
        let ran = crate::fixture::ran(child.wait_with_output().unwrap());
        ran.good();
    }
    // Nobody waited for the record of the start to be written.
    fixture.run(&["shutdown"]).good();
    let starts = fixture.run(&["audit", "query", "--event", "anchor.started", "--json"]).good();
    assert_eq!(starts.lines().len(), 1, "{starts:?}");
}

#[test]
fn the_state_is_the_same_after_a_restart() {
    let fixture = Fixture::new();
    fixture.call("file.write", r#"{"path":"a.txt","content":"x\n"}"#).good();
    fixture.run(&["shutdown"]).good();
    let of = |fixture: &Fixture| fixture.run(&["call", "file.log", r#"{"path":"a.txt"}"#]).good().json();
    let first = of(&fixture);
    fixture.run(&["shutdown"]).good();
    assert_eq!(of(&fixture), first);
}
