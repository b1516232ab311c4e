//! `ostk pin`: written once, listed with their mistakes, shown with what they come to.

use std::fs;

use crate::fixture::Fixture;

#[test]
fn a_pin_is_written_once_listed_and_shown() {
    let fixture = Fixture::new();
    assert!(fixture.run(&["pin", "list"]).good().out.contains("no pin yet"));
    let made = fixture.run(&["pin", "issue", "fix-bug", "--caps", "read write", "--json"]).good().json();
    assert_eq!(made["reloaded"], false);
    let again = fixture.run(&["pin", "issue", "fix-bug"]);
    assert!(again.code == 1 && again.err.contains("stays as it is"), "{again:?}");
    let list = fixture.run(&["pin", "list", "--json"]).good().json();
    assert_eq!(list["pins"], serde_json::json!([{ "name": "fix-bug", "ok": true, "problem": null }]));
    let shown = fixture.run(&["pin", "show", "fix-bug", "--json"]).good().json();
    assert_eq!(shown["effective"]["execute"], "none");
    assert!(shown["effective"]["denied"].as_array().unwrap().contains(&"write-kernel".into()), "{shown}");
    assert!(fixture.run(&["pin", "show", "fix-bug"]).good().out.contains("comes to"));
    assert!(!fixture.state().join("run/ostk.sock").exists());
}

#[test]
fn a_name_that_leaves_the_folder_and_a_capability_that_does_not_exist_are_refused() {
    let fixture = Fixture::new();
    for name in ["../evil", "a/b", "", ".hidden"] {
        assert_eq!(fixture.run(&["pin", "issue", name]).code, 2, "{name}");
    }
    assert_eq!(fixture.run(&["pin", "issue", "x", "--caps", "fly"]).code, 2);
    assert!(!fixture.state().join("pins").exists());
    assert_eq!(fixture.run(&["pin", "show", "nobody"]).code, 1);
}

#[test]
fn a_malformed_pin_is_listed_with_its_line() {
    let fixture = Fixture::new();
    fixture.run(&["pin", "issue", "good"]).good();
    fs::create_dir_all(fixture.state().join("pins/bad")).unwrap();
    fs::write(fixture.state().join("pins/bad/pin.caps"), "# a pin\nraed: src\n").unwrap();
    let ran = fixture.run(&["pin", "list", "--json"]);
    assert_eq!(ran.code, 1);
    let pins = ran.json()["pins"].clone();
    assert!(pins[0]["problem"].as_str().unwrap().starts_with("pins/bad/pin.caps:2"), "{pins}");
    assert_eq!(pins[1]["ok"], true);
    assert_eq!(fixture.run(&["pin", "show", "bad"]).code, 1);
}

#[test]
fn a_running_daemon_takes_a_new_pin_at_once() {
    let fixture = Fixture::new();
    fixture.run(&["ps"]).good();
    let made = fixture.run(&["pin", "issue", "reader", "--caps", "read", "--json"]).good().json();
    assert_eq!(made["reloaded"], true);
    let why = fixture.run(&["why", "worker", "file.write", "a.txt", "--pin", "reader"]);
    assert_eq!(why.code, 3, "{why:?}");
    assert!(why.out.contains("pins/reader/pin.caps"), "{why:?}");
    assert_eq!(fixture.run(&["why", "worker", "file.read", "a.txt", "--pin", "reader"]).code, 0);
}
