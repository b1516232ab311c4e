//! `ostk audit`: what a stranger can find out from the log alone.

use std::{fs, process::Stdio, time::Duration};

use crate::fixture::{Fixture, eventually, ran};

#[test]
fn a_good_log_verifies_without_a_daemon() {
    let fixture = Fixture::with_a_log();
    for args in [&["audit", "verify", "--json"][..], &["audit", "verify", "--deep", "--json"]] {
        let report = fixture.run(args).good().json();
        let mut members: Vec<&String> = report.as_object().unwrap().keys().collect();
        members.sort();
        let expected = ["checkpoint_size", "head", "ok", "problems", "records", "root", "signatures_checked"]
            .map(str::to_owned);
        assert_eq!(members, expected.iter().collect::<Vec<_>>());
        assert_eq!((&report["ok"], &report["problems"]), (&true.into(), &serde_json::json!([])));
        assert_eq!(report["checkpoint_size"], report["records"]);
        if args.contains(&"--deep") {
            assert_eq!(report["signatures_checked"], report["records"]);
        }
    }
    assert!(!fixture.state().join("run/ostk.sock").exists());
    assert!(fixture.run(&["audit", "verify"]).good().out.contains("are whole"));
}

#[test]
fn a_flipped_byte_is_found_and_located() {
    let fixture = Fixture::with_a_log();
    let path = fixture.state().join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let second = text.find('\n').unwrap() + 1;
    fs::write(&path, text.replacen("human:ada", "human:eve", 1)).unwrap();
    let ran = fixture.run(&["audit", "verify", "--json"]);
    assert_eq!(ran.code, 1);
    let report = ran.json();
    assert_eq!(report["ok"], false);
    let problem = &report["problems"][0];
    assert!(
        problem["seq"].as_u64().unwrap() > 0 && problem["offset"].as_u64().unwrap() >= second as u64,
        "{report}"
    );
    assert!(problem["file"].as_str().unwrap().ends_with("journal.jsonl"), "{report}");
    let human = fixture.run(&["audit", "verify"]);
    assert!(human.code == 1 && human.out.contains("at byte"), "{human:?}");
    fs::write(&path, text).unwrap();
}

#[test]
fn a_log_that_was_cut_does_not_fit_its_checkpoint() {
    let fixture = Fixture::with_a_log();
    let path = fixture.state().join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&path, &text[..cut]).unwrap();
    let ran = fixture.run(&["audit", "verify", "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.json()["problems"][0]["file"].as_str().unwrap().ends_with("checkpoint"), "{ran:?}");
    fs::write(&path, text).unwrap();
}

#[test]
fn a_log_in_use_is_not_reported_for_its_unfinished_end() {
    let fixture = Fixture::new();
    fixture.run(&["ps"]).good();
    let mut writers: Vec<_> = (0..3)
        .map(|n| {
            let note = format!(r#"{{"path":"f{n}.txt","content":"x"}}"#);
            fixture.spawn(&["call", "file.write", &note])
        })
        .collect();
    while writers.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let report = fixture.run(&["audit", "verify", "--deep", "--json"]).json();
        assert_eq!(report["ok"], true, "{report}");
    }
}

#[test]
fn a_record_is_proven_and_one_that_is_not_there_is_not() {
    let fixture = Fixture::with_a_log();
    let proof = fixture.run(&["audit", "prove", "1", "--json"]).good().json();
    assert_eq!(proof["index"], 1);
    assert!(proof["record"].as_str().unwrap().contains("\"seq\":1"), "{proof}");
    assert!(proof["checkpoint"].as_str().unwrap().starts_with("ostk/repo\n"), "{proof}");
    assert!(fixture.run(&["audit", "prove", "1"]).good().out.contains("record 1 is record 2 of"));
    let beyond = fixture.run(&["audit", "prove", "9999"]);
    assert!(beyond.code == 1 && beyond.err.contains("Hint:"), "{beyond:?}");
}

#[test]
fn a_query_finds_by_agent_event_file_time_and_kind() {
    let fixture = Fixture::new();
    fixture.call_as("worker-a", "file.write", r#"{"path":"a.txt","content":"a\n"}"#).good();
    fixture.call_as("worker-b", "file.write", r#"{"path":"b.txt","content":"b\n"}"#).good();
    let denied = fixture.call_as("worker-b", "file.write", r#"{"path":".ostk/ostk.toml","content":""}"#);
    assert_eq!(denied.code, 3, "{denied:?}");
    let query = |filters: &[&str]| {
        let args: Vec<&str> = ["audit", "query", "--json"].iter().chain(filters).copied().collect();
        fixture.run(&args).good().lines()
    };
    let writes = query(&["--writes"]);
    assert_eq!(writes.len(), 2);
    assert!(writes.iter().all(|record| record["event"] == "file.write.intent"));
    assert_eq!(query(&["--writes", "--agent", "worker-a"]).len(), 1);
    assert_eq!(query(&["--writes", "--agent", "agent:worker-a"]).len(), 1);
    assert_eq!(query(&["--writes", "--agent", "worker"]).len(), 0);
    assert_eq!(query(&["--denied"])[0]["actor"], "agent:worker-b");
    assert_eq!(query(&["--denied", "--writes"]).len(), 3);
    assert!(query(&["--file", "a.txt"]).iter().all(|record| record["actor"] != "agent:worker-b"));
    assert_eq!(query(&["--event", "file.write"]).len(), 4);
    assert_eq!(query(&["--event", "file.write.receipt"]).len(), 2);
    assert_eq!(query(&["--since", "1h"]).len(), query(&[]).len());
    assert_eq!(query(&["--since", "2999-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(query(&["--last", "2"]).len(), 2);
    assert_eq!(query(&["--conflicts"]).len(), 0);
    assert_eq!(fixture.run(&["audit", "query", "--since", "soon"]).code, 2);
    assert!(fixture.run(&["audit", "query", "--conflicts"]).good().out.contains("no record matches"));
    assert!(fixture.run(&["audit", "query", "--writes"]).good().out.contains("a.txt"));
}

#[test]
fn an_export_is_the_log_byte_for_byte() {
    let fixture = Fixture::with_a_log();
    let log = fs::read_to_string(fixture.state().join("journal.jsonl")).unwrap();
    assert_eq!(fixture.run(&["audit", "export"]).good().out, log);
    let from = fixture.run(&["audit", "tail", "--from", "2", "--json"]).good();
    assert_eq!(from.out, log.split_inclusive('\n').skip(2).collect::<String>());
}

#[test]
fn a_tail_follows_what_is_appended() {
    use std::io::{BufRead, BufReader};
    let fixture = Fixture::new();
    fixture.run(&["ps"]).good();
    let mut tail =
        fixture.command(&["audit", "tail", "-f", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let out = BufReader::new(tail.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    fixture.call("note", r#"{"text":"hello"}"#).good();
    eventually("the note is printed", || {
        lines.recv_timeout(Duration::from_secs(1)).is_ok_and(|line| line.contains("note.added"))
    });
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn every_verdict_comes_out_the_same_again_also_after_the_rules_changed() {
    let fixture = Fixture::new();
    fixture.call_as("worker-a", "file.write", r#"{"path":"a.txt","content":"a\n"}"#).good();
    assert_eq!(fixture.call_as("worker-a", "file.write", r#"{"path":".ostk/x","content":""}"#).code, 3);
    fixture.run(&["pin", "issue", "reader", "--caps", "read"]).good();
    fixture.call_as("worker-a", "file.read", r#"{"path":"a.txt"}"#).good();
    let outside = fixture.call_as("worker-a", "file.read", r#"{"path":"../../etc/passwd"}"#);
    assert_ne!(outside.code, 0);
    let replay = fixture.run(&["audit", "replay-verdicts", "--json"]).good().json();
    assert_eq!((&replay["ok"], &replay["disagreed"]), (&true.into(), &0.into()), "{replay}");
    assert_eq!(replay["policies"], 2);
    assert_eq!(replay["denied"], 1);
    assert!(replay["allowed"].as_u64().unwrap() >= 2, "{replay}");
    assert!(fixture.run(&["audit", "replay-verdicts"]).good().out.contains("come out the same, 0 do not"));
}

/// Commits everything that git sees in the repository, the hook of `ostk init` included.
fn commit(fixture: &Fixture, message: &str) {
    let path = format!(
        "{}:{}",
        std::path::Path::new(env!("CARGO_BIN_EXE_ostk")).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    for args in [&["add", "."][..], &["commit", "-q", "-m", message]] {
        let who = ["-c", "user.name=ada", "-c", "user.email=ada@localhost"];
        let mut git = fixture.program("git", &[&who, args].concat());
        assert!(git.env("PATH", &path).status().unwrap().success());
    }
}

#[test]
fn commits_bear_witness_to_the_log_and_a_log_that_was_cut_disagrees() {
    let fixture = Fixture::with_a_log();
    commit(&fixture, "one");
    fixture.call("file.edit", r#"{"path":"notes.txt","old":"two","new":"2"}"#).good();
    fixture.run(&["shutdown"]).good();
    commit(&fixture, "two\n\nCo-authored-by: somebody <s@localhost>");
    let told = ran(fixture.program("git", &["log", "-1", "--format=%B"]).output().unwrap()).good().out;
    assert!(told.contains("\nCo-authored-by: somebody <s@localhost>\nOstk-Checkpoint: ostk/repo "), "{told}");
    let whole = fixture.run(&["audit", "verify", "--git"]).good().out;
    assert!(whole.contains("2 commits agree"), "{whole}");

    // The log of an earlier moment, whole in itself: only git knows that there was more.
    let state = fixture.state();
    let log = fs::read_to_string(state.join("journal.jsonl")).unwrap();
    let cut: String = log.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(state.join("journal.jsonl"), cut).unwrap();
    fs::remove_dir_all(state.join("log")).unwrap();
    fs::remove_dir_all(state.join("snapshots")).unwrap_or_default();
    fixture.call("note", r#"{"text":"nothing happened"}"#).good();
    fixture.run(&["shutdown"]).good();
    fixture.run(&["audit", "verify", "--deep"]).good();
    let cut = fixture.run(&["audit", "verify", "--git", "--json"]);
    let problems = cut.json()["problems"].as_array().unwrap().clone();
    assert_eq!((cut.code, problems.len()), (1, 2), "{problems:?}");
    assert!(problems[0]["what"].as_str().unwrap().contains("bears witness"), "{problems:?}");
}

#[test]
fn a_hook_of_ones_own_is_left_alone() {
    let fixture = Fixture::bare();
    let hook = fixture.root().join(".git/hooks/prepare-commit-msg");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\n").unwrap();
    fixture.run(&["init"]).good();
    assert_eq!(fs::read_to_string(&hook).unwrap(), "#!/bin/sh\n");
    let without = Fixture::bare();
    without.run(&["init", "--no-git-hook"]).good();
    assert!(!without.root().join(".git/hooks/prepare-commit-msg").exists());
}
