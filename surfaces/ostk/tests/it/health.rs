//! `ostk boot` and `ostk doctor`: they look, and touch nothing.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::fixture::{Fixture, Ran};

fn check<'a>(screen: &'a Value, name: &str) -> &'a Value {
    screen["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn guarantee(screen: &Value, name: &str) -> Value {
    screen["guarantees"].as_array().unwrap().iter().find(|held| held["name"] == name).unwrap().clone()
}

fn doctor(fixture: &Fixture) -> Ran {
    fixture.run(&["doctor", "--json"])
}

#[test]
fn boot_and_doctor_change_nothing_and_start_nothing() {
    for fixture in [Fixture::new(), Fixture::with_a_log()] {
        let before = fixture.listing();
        fixture.run(&["boot"]).good();
        fixture.run(&["boot", "--json"]).good();
        fixture.run(&["doctor"]);
        doctor(&fixture);
        assert_eq!(fixture.listing(), before);
    }
}

#[test]
fn boot_and_doctor_leave_no_trace_in_the_log_of_a_running_daemon() {
    let fixture = Fixture::new();
    fixture.call_as("worker-a", "note", r#"{"text":"here"}"#).good();
    let records = || fixture.run(&["audit", "export"]).good().out;
    let before = records();
    let screen = fixture.command(&["boot", "--json"]).env("OSTK_USER", "newcomer").output().unwrap();
    assert!(screen.status.success());
    doctor(&fixture);
    assert_eq!(records(), before);
}

#[test]
fn boot_says_who_where_and_how_much() {
    let fixture = Fixture::with_a_log();
    let screen = fixture.run(&["boot", "--json"]).good().json();
    assert_eq!(screen["user"], "ada");
    assert!(screen["key"].as_str().unwrap().starts_with("ed25519:"), "{screen}");
    assert_eq!(screen["daemon"]["state"], "stopped");
    assert_eq!((&screen["counts"]["files"], &screen["counts"]["writes"]), (&1.into(), &1.into()));
    for name in ["git", "state", "key", "documents", "journal", "checkpoint", "disk", "version"] {
        assert_ne!(check(&screen, name)["state"], "fail", "{screen}");
    }
    assert!(check(&screen, "journal")["detail"].as_str().unwrap().contains("last segment"), "{screen}");
    assert!(fixture.run(&["boot"]).good().out.contains("POST "));
}

#[test]
fn every_guarantee_is_named_with_its_state_and_what_a_missing_one_takes() {
    let fixture = Fixture::new();
    let screens = [fixture.run(&["boot", "--json"]).good().json(), doctor(&fixture).json()];
    let missing: Vec<String> =
        ostk_sandbox::probe().missing().iter().map(|missing| missing.guarantee.to_string()).collect();
    for screen in &screens {
        for name in ostk_sandbox::Guarantee::ALL.map(ostk_sandbox::Guarantee::name) {
            let held = guarantee(screen, name);
            let is_missing = missing.iter().any(|it| it == name);
            assert_eq!(held["state"], if is_missing { "missing" } else { "active" }, "{held}");
            assert_eq!(held["takes"].is_string(), is_missing, "{held}");
        }
        assert_eq!(guarantee(screen, "signatures")["state"], "active");
    }
    let shown = fixture.run(&["boot"]).good().out;
    assert!(shown.contains("GUARANTEE") && shown.contains("system_calls"), "{shown}");
}

#[test]
fn a_running_daemon_is_reported_with_its_pid_and_epoch() {
    let fixture = Fixture::new();
    fixture.call("file.write", r#"{"path":"a.txt","content":"a\n"}"#).good();
    let screen = fixture.run(&["boot", "--json"]).good().json();
    assert_eq!(screen["daemon"]["state"], "running");
    assert_eq!(screen["daemon"]["pid"], fixture.daemon_pid().unwrap());
    assert_eq!(screen["daemon"]["epoch"], 1);
    assert_eq!(screen["counts"]["writes"], 1);
}

#[test]
fn documents_that_changed_behind_the_daemon_are_reported() {
    let fixture = Fixture::new();
    fixture.run(&["pin", "issue", "narrow"]).good();
    fixture.run(&["ps"]).good();
    let documents = || check(&fixture.run(&["boot", "--json"]).good().json(), "documents")["state"].clone();
    assert_eq!(documents(), "pass");
    let pin = fixture.state().join("pins/narrow/pin.caps");
    let text = fs::read_to_string(&pin).unwrap();
    fs::write(&pin, text.replace("execute: shell", "execute: none")).unwrap();
    assert_eq!(documents(), "warn");
    fixture.call("policy.reload", "{}").good();
    assert_eq!(documents(), "pass");
}

#[test]
fn boot_bails_out_on_a_changed_log() {
    let fixture = Fixture::with_a_log();
    let path = fixture.state().join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("human:ada", "human:eve", 1)).unwrap();
    let screen = fixture.run(&["boot", "--json"]).good().json();
    assert_eq!((&screen["healthy"], &check(&screen, "journal")["state"]), (&false.into(), &"fail".into()));
    assert_eq!(fixture.run(&["boot", "--bail"]).code, 1);
    let journal = guarantee(&screen, "journal");
    assert_eq!(journal["state"], "missing");
    assert!(journal["promise"].as_str().unwrap().contains("hash-chained"), "{screen}");
    assert!(journal["takes"].as_str().unwrap().contains("ostk audit verify"), "{screen}");
    fs::write(&path, text).unwrap();
}

#[test]
fn a_key_that_others_can_read_is_reported_with_the_command_that_mends_it() {
    let fixture = Fixture::with_a_log();
    let key = fixture.home().join("keys/signing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = doctor(&fixture);
    assert_eq!(ran.code, 1);
    let remedy = check(&ran.json(), "key")["remedy"].as_str().unwrap().to_owned();
    assert!(remedy.starts_with("chmod 600"), "{remedy}");
}

#[test]
fn doctor_names_keys_of_vendors_and_never_their_values() {
    let fixture = Fixture::new();
    let ran =
        fixture.command(&["doctor", "--json"]).env("OPENAI_API_KEY", "sk-very-secret").output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(check(&value, "providers")["detail"], "OPENAI_API_KEY");
    assert!(!text.contains("sk-very"), "{text}");
    assert_eq!(check(&doctor(&fixture).json(), "providers")["state"], "warn");
}

#[test]
fn doctor_sees_a_stale_socket_a_bad_document_and_a_missing_project() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.state().join("run")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(fixture.state().join("run/ostk.sock")).unwrap());
    fs::create_dir_all(fixture.state().join("pins/bad")).unwrap();
    fs::write(fixture.state().join("pins/bad/pin.caps"), "raed: src\n").unwrap();
    let found = doctor(&fixture).json();
    assert_eq!(check(&found, "daemon")["state"], "warn");
    assert_eq!(check(&found, "documents")["state"], "fail");
    assert!(
        check(&found, "documents")["detail"].as_str().unwrap().contains("pins/bad/pin.caps:1"),
        "{found}"
    );
    let bare = Fixture::bare();
    let missing = doctor(&bare);
    assert_eq!((missing.code, &check(&missing.json(), "project")["state"]), (1, &"fail".into()));
}
