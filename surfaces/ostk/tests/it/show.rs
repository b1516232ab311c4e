//! `ostk show`: a record with its signature, a blob, a lineage, a file.

use std::fs;

use serde_json::Value;

use crate::fixture::Fixture;

#[test]
fn a_record_is_shown_with_its_signature_and_a_forged_one_with_its_lack() {
    let fixture = Fixture::with_a_log();
    let shown = fixture.run(&["show", "1", "--json"]).good().json();
    assert_eq!((&shown["record"]["seq"], &shown["signature"]), (&1.into(), &"good".into()));
    assert!(fixture.run(&["show", "1"]).good().out.contains("✓ good"));
    let path = fixture.state().join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("kernel", "kermit", 1)).unwrap();
    let forged = fixture.run(&["show", "0"]);
    assert!(forged.code == 1 && forged.out.contains('✗'), "{forged:?}");
    fs::write(&path, text).unwrap();
    assert_eq!(fixture.run(&["show", "99999"]).code, 1);
}

#[test]
fn a_blob_is_printed_as_it_is() {
    let fixture = Fixture::with_a_log();
    let log = fixture.run(&["audit", "query", "--writes", "--json"]).good().lines();
    let blob = log[0]["body"]["changes"][0]["after"]["blob"].as_str().unwrap().to_owned();
    assert_eq!(fixture.run(&["show", &blob]).good().out, "one\ntwo\n");
    assert_eq!(fixture.run(&["show", &blob, "--json"]).good().json()["size"], 8);
    assert_eq!(fixture.run(&["show", &"0".repeat(64)]).code, 1);
}

#[test]
fn a_lineage_is_shown_with_its_last_records_a_file_with_its_versions() {
    let fixture = Fixture::new();
    fixture.call_as("worker-a", "file.write", r#"{"path":"a.txt","content":"a\n"}"#).good();
    let shown = fixture.run(&["show", "worker-a", "--json"]).good().json();
    assert_eq!(shown["process"]["lineage"], "worker-a");
    assert!(shown["last"].as_array().unwrap().len() >= 3, "{shown}");
    let file = fixture.run(&["show", "a.txt"]).good();
    assert!(file.out.contains("agent:worker-a"), "{file:?}");
    assert_eq!(fixture.run(&["show", "status", "--json"]).good().json()["files"], 1);
    let nothing = fixture.run(&["show", "nothing"]);
    assert!(nothing.code == 1 && nothing.err.contains("Hint:"), "{nothing:?}");
}

#[test]
fn blame_names_the_call_behind_a_line_and_its_reason() {
    let fixture = Fixture::with_a_log();
    let edit = r#"{"path":"notes.txt","old":"two","new":"2","reason":"digits read faster"}"#;
    fixture.call("file.edit", edit).good();
    let plain = fixture.run(&["blame", "notes.txt"]).good().out;
    assert!(!plain.contains("digits"), "{plain}");
    let told = fixture.run(&["blame", "notes.txt", "--reasons"]).good().out;
    assert!(told.contains("file.edit") && told.contains("digits read faster"), "{told}");
    let lines = fixture.run(&["blame", "notes.txt", "--reasons", "--json"]).good().json()["lines"].take();
    assert_eq!(
        (&lines[0]["behind"]["call"], &lines[0]["behind"]["reason"]),
        (&"file.write".into(), &Value::Null)
    );
    assert_eq!(lines[1]["behind"]["reason"], "digits read faster");
    assert_eq!(lines[1]["behind"]["writer"], "human:ada");
}
