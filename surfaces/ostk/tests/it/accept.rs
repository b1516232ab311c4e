//! What a document of a repository that was cloned may do before the operator has accepted it: narrow, and nothing more.

use std::fs;

use crate::fixture::{Fixture, Ran, ran};

const HUMANFILE: &str = "IDENTITY eve\nMODEL m\nSECRET OPENAI_API_KEY\nCONNECT crates.io\n";
const VALUE: &str = "sk-planted-0123456789";

/// A project whose document of that name came with it: nobody signed it on this machine.
fn cloned(name: &str, text: &str) -> Fixture {
    let fixture = Fixture::new();
    fs::remove_file(fixture.state().join(format!("{name}.sig"))).unwrap();
    fs::write(fixture.state().join(name), text).unwrap();
    fixture
}

fn with_key(fixture: &Fixture, args: &[&str]) -> Ran {
    ran(fixture.command(args).env("OPENAI_API_KEY", VALUE).output().unwrap())
}

fn check(fixture: &Fixture, name: &str) -> serde_json::Value {
    let screen = fixture.run(&["boot", "--json"]).good().json();
    screen["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone()
}

#[test]
fn a_secret_command_that_came_with_a_repository_is_not_run() {
    let planted = Fixture::bare();
    let ran = planted.home().join("ran");
    let settings =
        format!("[secrets]\ncommand = [\"sh\", \"-c\", \"touch {0}; echo from-$0\"]\n", ran.display());
    let fixture = cloned("ostk.toml", &settings);
    fixture.govern("HUMANFILE", "IDENTITY ada\nMODEL m\nSECRET A_KEY\n");
    let refused = fixture.run(&["secret", "test", "A_KEY"]);
    assert!(refused.code == 1 && refused.err.contains("ostk sign .ostk/ostk.toml"), "{refused:?}");
    fixture.run(&["secret", "list"]).good();
    fixture.run(&["run", "--", "true"]).good();
    assert!(!ran.exists(), "the command ran");
    fixture.run(&["sign", ".ostk/ostk.toml"]).good();
    fixture.run(&["secret", "test", "A_KEY"]).good();
    assert!(ran.exists());
}

#[test]
fn secrets_and_hosts_of_a_humanfile_are_those_of_one_that_was_accepted() {
    let fixture = cloned("HUMANFILE", HUMANFILE);
    let test = ["secret", "test", "OPENAI_API_KEY"];
    assert_eq!(with_key(&fixture, &test).code, 3);
    assert!(!fixture.run(&["policy", "show"]).good().out.contains("crates.io"));
    let lint = fixture.run(&["lint"]).good();
    assert!(lint.out.contains("HUMANFILE:3") && lint.out.contains("SECRET has no effect"), "{lint:?}");
    let accepted = check(&fixture, "accepted");
    assert_eq!(accepted["state"], "warn");
    assert!(accepted["remedy"].as_str().unwrap().contains("ostk sign .ostk/HUMANFILE"), "{accepted}");
    fixture.run(&["sign", "--here", ".ostk/HUMANFILE"]).good();
    assert!(!fixture.state().join("HUMANFILE.sig").exists(), "nothing is left beside the document");
    with_key(&fixture, &test).good();
    assert!(fixture.run(&["policy", "show"]).good().out.contains("crates.io"));
    assert_eq!(check(&fixture, "accepted")["state"], "pass");
    // The next version of it is another document.
    fs::write(fixture.state().join("HUMANFILE"), HUMANFILE.replace("crates.io", "evil.example")).unwrap();
    assert_eq!(with_key(&fixture, &test).code, 3);
    fixture.run(&["ps"]).good();
}

#[test]
fn the_signature_of_a_stranger_and_a_variable_accept_nothing() {
    let fixture = cloned("HUMANFILE", HUMANFILE);
    let stranger = fixture.home().join("stranger");
    let mut sign = fixture.command(&["sign", ".ostk/HUMANFILE"]);
    ran(sign.env("OSTK_KEYS_DIR", &stranger).output().unwrap()).good();
    let mut test = fixture.command(&["secret", "test", "OPENAI_API_KEY"]);
    let test = test.env("OPENAI_API_KEY", VALUE).env("OSTK_TRUST_TIER", "T0");
    assert_eq!(ran(test.output().unwrap()).code, 3);
    let documents = fixture.run(&["sign", "--verify", "--json"]).good().json()["documents"].clone();
    let humanfile = documents.as_array().unwrap().iter().find(|it| it["path"] == ".ostk/HUMANFILE").unwrap();
    assert_eq!((&humanfile["state"], &humanfile["accepted"]), (&"unproven".into(), &false.into()));
    // What was not accepted is recorded with the texts, so the verdicts come out the same elsewhere.
    fixture.call_as("worker", "file.write", r#"{"path":"a.txt","content":"a\n"}"#).good();
    fixture.run(&["shutdown"]).good();
    fixture.run(&["audit", "replay-verdicts"]).good();
}

#[test]
fn settings_that_loosen_the_sandbox_hold_when_they_are_accepted() {
    let fixture = cloned("ostk.toml", "[sandbox]\ncredentials = \"visible\"\n");
    let netrc = fixture.home().join(".netrc");
    fs::write(&netrc, "machine example.org password planted\n").unwrap();
    // In a script: a command line that names the file would be asked about before it runs.
    fs::write(fixture.root().join("look.sh"), format!("cat {}\n", netrc.display())).unwrap();
    let hidden = fixture.run(&["run", "--", "sh", "look.sh"]);
    assert!(!hidden.out.contains("planted"), "{hidden:?}");
    fixture.run(&["shutdown"]).good();
    fixture.run(&["sign", ".ostk/ostk.toml"]).good();
    let visible = fixture.run(&["run", "--", "sh", "look.sh"]);
    assert!(visible.out.contains("planted"), "{visible:?}");
}
