//! `ostk trust`: keys come into force, hand over and are revoked, each by a record that the log's readers check.

use std::fs;

use serde_json::Value;

use crate::{fixture::Fixture, schema::Schemas};

fn states(fixture: &Fixture) -> Vec<(String, String)> {
    let list = fixture.run(&["trust", "list", "--json"]).good().json();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let mut states: Vec<_> =
        list["keys"].as_array().unwrap().iter().map(|row| (text(row, "key"), text(row, "state"))).collect();
    states.sort();
    states
}

#[test]
fn a_rotation_is_recorded_and_the_log_stays_whole() {
    let (fixture, schemas) = (Fixture::with_a_log(), Schemas::load());
    fs::write(fixture.state().join("HUMANFILE"), "IDENTITY ada\nMODEL claude-sonnet-4-6\n").unwrap();
    fixture.run(&["sign", ".ostk/HUMANFILE"]).good();
    let made = fixture.run(&["trust", "rotate", "--json"]).good().json();
    let (old, new) = (made["old"].as_str().unwrap().to_owned(), made["new"].as_str().unwrap().to_owned());
    let mut expected = vec![(old.clone(), "rotated".to_owned()), (new.clone(), "in_force".to_owned())];
    expected.sort();
    assert_eq!(states(&fixture), expected);
    fixture.run(&["trust", "rotate"]).good();
    fixture.run(&["shutdown"]).good();
    fixture.run(&["audit", "verify", "--deep"]).good();
    for record in fixture.run(&["audit", "query", "--event", "trust.", "--json"]).good().lines() {
        schemas.check(schemas.file("events/trust.json"), &record);
    }
    // What the old key signed is still what was signed.
    assert!(fixture.run(&["sign", "--verify"]).good().out.contains(&format!("signed by {old}")));
}

#[test]
fn a_revoked_key_vouches_for_nobody_and_agents_have_no_say() {
    let fixture = Fixture::new();
    let other = "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
    let own =
        fixture.run(&["trust", "sign", other, "--json"]).good().json()["by"].as_str().unwrap().to_owned();
    for verb in ["trust.list", "trust.revoke"] {
        let refused = fixture.call_as("worker-a", verb, &format!(r#"{{"key":"{own}"}}"#));
        assert_ne!(refused.code, 0, "{refused:?}");
    }
    fixture.run(&["trust", "revoke", &own, "--reason", "lost"]).good();
    let third = "ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";
    let refused = fixture.run(&["trust", "sign", third]);
    assert!(refused.code == 3 && refused.err.contains("not in force"), "{refused:?}");
    assert!(states(&fixture).contains(&(own, "revoked".to_owned())));
}

#[test]
fn a_record_signed_by_a_key_after_its_revocation_is_an_error() {
    let fixture = Fixture::with_a_log();
    let instance = fixture.run(&["boot", "--json"]).good().json()["key"].as_str().unwrap().to_owned();
    let refused = fixture.run(&["trust", "revoke", &instance]);
    assert!(refused.code == 1 && refused.err.contains("move "), "{refused:?}");
    // Who goes on with the key all the same has a log that says so.
    fixture.call("trust.revoke", &format!(r#"{{"key":"{instance}"}}"#)).good();
    fixture.run(&["shutdown"]).good();
    let report = fixture.run(&["audit", "verify", "--deep", "--json"]);
    assert!(report.code == 1 && report.out.contains("revoked"), "{report:?}");
}
