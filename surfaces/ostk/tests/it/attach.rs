//! `ostk attach`: an agent's life as lines, across a restart of the daemon.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use scripted_model::{Script, ScriptedModel};

use crate::fixture::{Fixture, PATIENCE};

/// Lines that a running `attach` prints.
struct Attached {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Attached {
    fn to(fixture: &Fixture, lineage: &str) -> Self {
        let mut command = fixture.command(&["attach", lineage]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        Self { child, lines, seen: Vec::new() }
    }

    #[track_caller]
    fn says(&mut self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.iter().any(|line| line.contains(part)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("never said {part:?}: {:#?}", self.seen),
            }
        }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_client_is_followed_spoken_to_and_left_when_it_ends() {
    let fixture = Fixture::new();
    fixture.call_as("worker-a", "file.write", r#"{"path":"a.txt","content":"a\n"}"#).good();
    let mut attached = Attached::to(&fixture, "worker-a");
    attached.says("a.txt");
    attached.types("look at b.txt too");
    attached.says("told look at b.txt too");
    fixture.run(&["attach", "worker-a", "--say", "and be quick"]).good();
    attached.says("told and be quick");
    assert_eq!(fixture.call_as("worker-a", "file.write", r#"{"path":".ostk/x","content":""}"#).code, 3);
    attached.says("denied");
    fixture.call_as("worker-a", "session.end", "{}").good();
    attached.says("session.ended");
    assert_eq!(attached.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_question_and_its_answer_are_part_of_the_story() {
    let fixture = Fixture::new();
    fixture.call("session.start", r#"{"name":"w","exact":true,"client":"test","mode":"governed"}"#).good();
    let mut attached = Attached::to(&fixture, "w");
    let call = fixture.spawn(&["call", "file.write", r#"{"path":"a.txt","content":"a\n"}"#, "--as", "w"]);
    attached.says("asks (question");
    let open = fixture.run(&["approvals", "--json"]).good().json();
    let id = open[0]["id"].to_string();
    fixture.run(&["approvals", "deny", &id, "--reason", "use b.txt"]).good();
    attached.says(&format!("human:ada question {id} denied: use b.txt"));
    assert_eq!(call.wait_with_output().unwrap().status.code(), Some(3));
}

#[test]
fn attach_goes_on_after_the_daemon_was_killed_and_repeats_nothing() {
    let fixture = Fixture::new();
    fixture.call_as("worker-a", "file.write", r#"{"path":"first.txt","content":"a\n"}"#).good();
    let mut attached = Attached::to(&fixture, "worker-a");
    attached.says("first.txt");
    fixture.kill_daemon();
    fixture.call_as("worker-a", "file.write", r#"{"path":"second.txt","content":"a\n"}"#).good();
    // The agent's session of the new daemon is part of its story.
    attached.says("second.txt");
    let first = attached.seen.iter().filter(|line| line.contains("first.txt")).count();
    assert_eq!(first, 1, "{:#?}", attached.seen);
}

#[test]
fn the_story_of_a_native_agent_is_told_to_its_end() {
    let script = r#"{"conversations": [{"name": "greet", "turns": [
        {"reply": [{"text": "I will write a greeting."},
                   {"tool": {"name": "fs_ops", "input": {"path": "hello.txt", "content": "hello\n"}}}]},
        {"reply": [{"text": "The greeting is written."}]}]}]}"#;
    let model = ScriptedModel::start(Script::parse(script).unwrap()).unwrap();
    let fixture = Fixture::new();
    fs::write(fixture.root().join("greeter.af"), "FROM claude-test\nPROMPT Greet.\nTASK Write a greeting.\n")
        .unwrap();
    let base = model.base_url().to_string();
    let run = fixture
        .command(&["run", "greeter.af", "--detach"])
        .env("ANTHROPIC_BASE_URL", &base)
        .env("ANTHROPIC_API_KEY", "test")
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let mut attached = Attached::to(&fixture, "greeter");
    attached.says("started greeter");
    attached.says("I will write a greeting.");
    attached.says("hello.txt");
    attached.says("The greeting is written.");
    attached.says("done");
    assert!(attached.seen.iter().any(|line| line.starts_with("  =")), "{:#?}", attached.seen);
    assert_eq!(attached.child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(fixture.root().join("hello.txt")).unwrap(), "hello\n");
    assert!(model.unmet().is_empty(), "{:?}", model.unmet());
    let show = ["lineage", "show", "greeter", "--conversation"];
    let told = fixture.run(&show).good().out;
    let at = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part}: {told}"));
    assert!(at("Write a greeting.") < at("hello.txt") && at("hello.txt") < at("The greeting is written."));
    let all = fixture.run(&[&show[..], &["--json"]].concat()).good().json();
    assert_eq!(all["conversations"][0]["messages"][1]["role"], "assistant");
    let nobody = fixture.run(&["lineage", "show", "nobody", "--conversation"]);
    assert!(nobody.code == 1 && nobody.err.contains("Hint:"), "{nobody:?}");
}

#[test]
fn nobody_can_be_attached_to_who_does_not_exist() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["attach", "nobody"]);
    assert!(ran.code == 1 && ran.err.contains("Hint: ostk ps"), "{ran:?}");
}
