//! The home of an agent that `ostk run` starts, and its session.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::fixture::Fixture;

#[test]
fn an_agent_finds_its_home_again_and_what_it_keeps_there_is_left_alone() {
    let fixture = Fixture::new();
    let makes =
        "mkdir -p ~/.claude .vscode && echo kept > ~/.claude/settings.json && echo x > .vscode/tasks.json";
    let first = fixture.good(&["run", "--name", "a", "--", "sh", "-c", makes]);
    assert!(first.err.contains(".vscode was moved to quarantine"), "{first:?}");
    assert!(!first.err.contains(".claude"), "{first:?}");
    let second = fixture.good(&["run", "--name", "a", "--", "sh", "-c", "cat ~/.claude/settings.json"]);
    assert_eq!(second.out.trim(), "kept", "another session of the same name");
    let other = fixture.run(&["run", "--name", "b", "--", "sh", "-c", "cat ~/.claude/settings.json"]);
    assert_ne!(other.code, 0, "another name has another home: {other:?}");
}

#[test]
fn a_home_does_not_go_from_one_pin_to_another() {
    let fixture = Fixture::new();
    for pin in ["narrow", "wide"] {
        fixture.write(&format!(".ostk/pins/{pin}/pin.caps"), "write: src/\nexecute: shell\n");
    }
    let plants = "echo planted > ~/settings.json";
    fixture.good(&["run", "--name", "a", "--pin", "narrow", "--", "sh", "-c", plants]);
    let ran = fixture.good(&["run", "--name", "a", "--pin", "wide", "--", "sh", "-c", "ls -A ~; echo end"]);
    assert_eq!(ran.out.trim(), "end", "{ran:?}");
}

#[test]
fn a_command_that_waits_for_consent_says_how_it_is_given() {
    let fixture = Fixture::new();
    let mut run = fixture.command(&["run", "--name", "a", "--", "sh", "-c", "rm -rf /"]);
    let mut child = run.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let words = said.split("ostk approvals ").nth(1).unwrap_or_else(|| panic!("{said}"));
    let id = words.split(' ').nth(1).unwrap();
    fixture.good(&["approvals", "deny", id]);
    assert_ne!(child.wait().unwrap().code(), Some(0));
}

/// Waits until the session of `lineage` has ended.
fn ends(fixture: &Fixture, lineage: &str) {
    fixture.good(&["call", "agent.wait", &format!("{{\"lineage\":\"{lineage}\",\"timeout_ms\":20000}}")]);
}

#[test]
fn a_session_ends_with_its_command_and_with_whoever_ran_it() {
    let fixture = Fixture::new();
    fixture.good(&["run", "--name", "a", "--", "true"]);
    ends(&fixture, "a-1");
    let mut child = fixture.command(&["run", "--name", "b", "--", "sh", "-c", "echo on; sleep 600"]);
    let mut child = child.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    ends(&fixture, "b-1");
}
