//! `ostk init` from the first question to a project that boots, with a person at a terminal and without one.

use std::{
    fs,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::fixture::Fixture;

fn in_git(fixture: &Fixture, key: &str, value: &str) {
    let done = Command::new("git").args(["config", key, value]).current_dir(fixture.root()).status().unwrap();
    assert!(done.success());
}

fn humanfile(fixture: &Fixture) -> String {
    fs::read_to_string(fixture.state().join("HUMANFILE")).unwrap()
}

/// Runs `ostk ARGS` with a terminal of its own on which `typed` is typed. Returns what the terminal showed.
fn at_a_terminal(fixture: &Fixture, args: &[&str], typed: &str) -> String {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    unlockpt(&person).unwrap();
    let inner: OwnedFd = ioctl_tiocgptpeer(&person, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    let side = || Stdio::from(inner.try_clone().unwrap());
    let mut command = fixture.command(args);
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    drop((command, inner));
    let mut person = fs::File::from(person);
    person.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    // The terminal hangs up when its last process has gone.
    let _ = person.read_to_end(&mut shown);
    let shown = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
    assert!(child.wait().unwrap().success(), "{shown}");
    shown
}

#[test]
fn after_init_the_documents_are_signed_lint_is_content_and_the_project_boots() {
    let fixture = Fixture::bare();
    in_git(&fixture, "user.name", "Ada Lovelace");
    in_git(&fixture, "user.email", "ada@example.org");
    let made = fixture.run(&["init", "--json"]).good().json();
    assert_eq!(made["humanfile"]["identity"], "Ada-Lovelace");
    for name in [".ostk/HUMANFILE", ".ostk/ostk.toml", ".ostk/pins/reader/pin.caps"] {
        assert!(made["signed"].as_array().unwrap().contains(&name.into()), "{name}: {made}");
    }
    assert_eq!(made["trust"]["tier"], "T3");
    assert!(made["trust"]["raise"].as_str().unwrap().contains("ostk sign --gpg"), "{made}");
    assert!(humanfile(&fixture).contains("Ada Lovelace <ada@example.org>"), "{}", humanfile(&fixture));
    let lint = fixture.run(&["lint", "--json"]).good().json();
    assert_eq!(lint["findings"], serde_json::json!([]), "{lint}");
    fixture.run(&["boot", "--bail"]).good();
    fixture.run(&["ps"]).good();
    let verified = fixture.run(&["sign", "--verify", "--json"]).good().json();
    let signed = |name: &str| {
        verified["documents"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["path"] == name && it["state"] == "signed")
    };
    assert!(signed(".ostk/HUMANFILE") && signed(".ostk/ostk.toml"), "{verified}");
}

#[test]
fn without_a_terminal_the_defaults_are_taken_and_that_is_said() {
    let fixture = Fixture::bare();
    let ran = fixture.command(&["init"]).env("OPENAI_API_KEY", "sk-planted-0123456789").output().unwrap();
    let shown = crate::fixture::ran(ran).good();
    assert!(shown.out.contains("not everything was asked (there is no terminal to ask at)"), "{shown:?}");
    assert!(shown.out.contains("T3"), "{shown:?}");
    let text = humanfile(&fixture);
    assert!(text.contains("MODEL gpt-5.2") && text.contains("SECRET OPENAI_API_KEY"), "{text}");
    assert!(!text.contains("planted"), "{text}");
    let agent = fs::read_to_string(fixture.state().join("agents/worker.af")).unwrap();
    assert!(agent.contains("FROM gpt-5.2\n"), "{agent}");
}

#[test]
fn every_question_has_a_flag_and_a_flag_that_does_not_fit_leaves_no_trace() {
    let fixture = Fixture::bare();
    let wrong = fixture.run(&["init", "--name", "two words"]);
    assert!(wrong.code == 2 && wrong.err.contains("Your name in records: "), "{wrong:?}");
    let value = fixture.run(&["init", "--secrets", "sk-ant-0123"]);
    assert!(value.code == 2 && !value.err.contains("0123"), "{value:?}");
    assert!(!fixture.state().exists());
    let flags =
        ["init", "--name", "ada", "--email", "none", "--model", "qwen3:8b", "--secrets", "A_KEY,B_KEY"];
    fixture.run(&flags).good();
    let text = humanfile(&fixture);
    for line in ["IDENTITY ada", "MODEL qwen3:8b", "A_KEY", "B_KEY"] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert!(!text.contains('@'), "{text}");
}

#[test]
fn what_a_person_wrote_stays_and_is_not_signed_for_them() {
    let fixture = Fixture::bare();
    fs::create_dir(fixture.state()).unwrap();
    let own = "# mine\nIDENTITY  ada\nMODEL m\n";
    fs::write(fixture.state().join("HUMANFILE"), own).unwrap();
    let made = fixture.run(&["init", "--name", "mallory", "--json"]).good().json();
    assert!(made["humanfile"].is_null() && !made["signed"].to_string().contains("HUMANFILE"), "{made}");
    let before = fixture.listing();
    let again = fixture.run(&["init"]).good();
    assert!(again.out.contains("nothing to do"), "{again:?}");
    assert_eq!((humanfile(&fixture).as_str(), fixture.listing()), (own, before));
}

#[test]
fn the_operators_own_humanfile_gives_the_defaults_and_cannot_be_overruled() {
    let fixture = Fixture::bare();
    fs::write(fixture.home().join(".HUMANFILE"), "IDENTITY grace\nMODEL qwen3:8b\n").unwrap();
    let refused = fixture.run(&["init", "--model", "gpt-5"]);
    assert!(refused.code == 2 && refused.err.contains("~/.HUMANFILE"), "{refused:?}");
    assert!(!fixture.state().exists());
    let made = fixture.run(&["init", "--json"]).good().json();
    assert_eq!(
        (&made["humanfile"]["identity"], &made["humanfile"]["model"]),
        (&"grace".into(), &"qwen3:8b".into())
    );
}

#[test]
fn a_person_at_a_terminal_is_asked_and_an_answer_that_does_not_fit_is_asked_for_again() {
    let fixture = Fixture::bare();
    in_git(&fixture, "user.name", "Ada");
    let shown = at_a_terminal(&fixture, &["init"], "\nada@example.org\ntwo words\nqwen3:8b\nnone\nclaude\n");
    assert!(shown.contains("Your name in records [Ada]:"), "{shown}");
    assert!(shown.contains("a name holds no space"), "{shown}");
    let text = humanfile(&fixture);
    assert!(text.contains("IDENTITY Ada\n") && text.contains("MODEL qwen3:8b\n"), "{text}");
    assert!(text.contains("ada@example.org") && fixture.root().join(".mcp.json").is_file(), "{text}");
    assert!(!shown.contains("not everything was asked"), "{shown}");
}

#[test]
fn the_end_of_input_takes_every_default_that_is_left() {
    let fixture = Fixture::bare();
    let shown = at_a_terminal(&fixture, &["init"], "grace\n\u{4}");
    assert!(shown.contains("not everything was asked (nobody answered)"), "{shown}");
    assert!(humanfile(&fixture).contains("IDENTITY grace\n"));
}
