//! `ostk sign`: documents that govern are what was signed, or nothing starts.

use std::{fs, process::Command};

use serde_json::Value;

use crate::fixture::{Fixture, Ran, ran};

const HUMANFILE: &str = "IDENTITY ada\nMODEL claude-sonnet-4-6\n";

fn project() -> Fixture {
    let fixture = Fixture::new();
    fs::write(fixture.state().join("HUMANFILE"), HUMANFILE).unwrap();
    // As where nobody has signed yet.
    for name in ["HUMANFILE.sig", "ostk.toml.sig"] {
        fs::remove_file(fixture.state().join(name)).unwrap();
    }
    fixture
}

fn change(fixture: &Fixture, name: &str) {
    let file = fixture.state().join(name);
    let text = fs::read_to_string(&file).unwrap() + "# and more\n";
    fs::write(file, text).unwrap();
}

fn start(fixture: &Fixture) -> Ran {
    fixture.call("file.write", r#"{"path":"a.txt","content":"a\n"}"#)
}

fn check(screen: &Value, name: &str) -> Value {
    screen["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone()
}

#[test]
fn a_signed_document_that_was_changed_stops_the_start_until_it_is_signed_again() {
    let fixture = project();
    fixture.run(&["sign", ".ostk/HUMANFILE"]).good();
    start(&fixture).good();
    fixture.run(&["shutdown"]).good();
    change(&fixture, "HUMANFILE");
    let stopped = fixture.run(&["listen"]);
    assert!(stopped.code == 5 && stopped.err.contains("was changed after ed25519:"), "{stopped:?}");
    assert!(
        stopped.err.contains("git diff .ostk/HUMANFILE") && stopped.err.contains("ostk sign .ostk/HUMANFILE")
    );
    assert_ne!(start(&fixture).code, 0);
    let screen = fixture.run(&["boot", "--json"]).good().json();
    assert_eq!(
        (screen["healthy"].clone(), check(&screen, "signatures")["state"].clone()),
        (false.into(), "fail".into())
    );
    assert_eq!(fixture.run(&["sign", "--verify"]).code, 5);
    fixture.run(&["sign", ".ostk/HUMANFILE"]).good();
    assert!(fixture.run(&["sign", "--verify"]).good().out.contains("signed by ed25519:"));
    start(&fixture).good();
}

#[test]
fn a_document_changed_under_a_running_daemon_is_not_loaded() {
    let fixture = project();
    fixture.run(&["pin", "issue", "fix-bug"]).good();
    fixture.run(&["sign", ".ostk/pins/fix-bug/pin.caps"]).good();
    start(&fixture).good();
    change(&fixture, "pins/fix-bug/pin.caps");
    let refused = fixture.call("policy.reload", "{}");
    assert!(refused.code != 0 && (refused.err.clone() + &refused.out).contains("fix-bug"), "{refused:?}");
}

#[test]
fn the_signature_of_one_pin_is_not_one_of_another_and_one_without_its_document_stops_the_start() {
    let fixture = project();
    for pin in ["strict", "lax"] {
        fixture.run(&["pin", "issue", pin]).good();
        fixture.run(&["sign", &format!(".ostk/pins/{pin}/pin.caps")]).good();
    }
    let pins = fixture.state().join("pins");
    for end in ["", ".sig"] {
        fs::copy(pins.join(format!("lax/pin.caps{end}")), pins.join(format!("strict/pin.caps{end}")))
            .unwrap();
    }
    let swapped = fixture.run(&["listen"]);
    assert!(
        swapped.code == 5 && swapped.err.contains("the signature of .ostk/pins/lax/pin.caps"),
        "{swapped:?}"
    );
    fs::remove_file(pins.join("strict/pin.caps")).unwrap();
    let gone = fixture.run(&["listen"]);
    assert!(gone.code == 5 && gone.err.contains("it is gone"), "{gone:?}");
}

#[test]
fn where_signatures_are_required_an_unsigned_document_stops_the_start() {
    let fixture = project();
    fs::write(fixture.state().join("ostk.toml"), "[trust]\nrequire_signed = true\n").unwrap();
    fixture.run(&["sign", ".ostk/HUMANFILE"]).good();
    let stopped = fixture.run(&["listen"]);
    assert!(stopped.code == 5 && stopped.err.contains(".ostk/ostk.toml: it is not signed"), "{stopped:?}");
    fixture.run(&["sign", ".ostk/ostk.toml"]).good();
    start(&fixture).good();
}

#[test]
fn the_tier_comes_from_an_openpgp_signature_and_from_no_variable() {
    let fixture = project();
    let boot = |variable: &str| {
        let mut boot = fixture.command(&["boot", "--json"]);
        ran(boot.env(variable, "T0").env("GNUPGHOME", fixture.home()).output().unwrap()).good().json()
    };
    assert_eq!(boot("NOTHING")["tier"], "T3");
    let screen = boot("OSTK_TRUST_TIER");
    assert_eq!(screen["tier"], "T3");
    assert!(screen["checks"].to_string().contains("OSTK_TRUST_TIER is set and changes nothing"), "{screen}");
    let gpg = |args: &[&str]| {
        let mut gpg = fixture.program("gpg", args);
        let done = gpg
            .env("GNUPGHOME", fixture.home())
            .output()
            .expect("gpg is installed: cargo xtask test does that");
        assert!(done.status.success(), "{done:?}");
    };
    let made = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
    gpg(&[&made[..], &["--quick-gen-key", "ada", "ed25519", "default", "never"]].concat());
    let signed =
        fixture.command(&["sign", "--gpg", ".ostk/HUMANFILE"]).env("GNUPGHOME", fixture.home()).output();
    ran(signed.unwrap()).good();
    assert_eq!(boot("OSTK_TRUST_TIER")["tier"], "T2");
    change(&fixture, "HUMANFILE");
    let screen = boot("NOTHING");
    assert_eq!(
        (screen["tier"].clone(), check(&screen, "signatures")["state"].clone()),
        ("T3".into(), "fail".into())
    );
    let _ = Command::new("gpgconf").arg("--homedir").arg(fixture.home()).args(["--kill", "all"]).status();
}

#[test]
fn a_contained_process_signs_nothing() {
    let fixture = project();
    let mut contained = fixture
        .program("setpriv", &["--no-new-privs", env!("CARGO_BIN_EXE_ostk"), "sign", ".ostk/HUMANFILE"]);
    let refused = ran(contained.output().expect("setpriv of util-linux is on every Debian"));
    assert!(refused.code == 3 && !fixture.state().join("HUMANFILE.sig").exists(), "{refused:?}");
}
