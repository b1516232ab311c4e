//! `ostk lint` and `ostk policy`: every mistake with its line, every rule in force, without a daemon.

use std::fs;

use crate::fixture::Fixture;

fn write(fixture: &Fixture, name: &str, text: &str) {
    let path = fixture.state().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_mistake_is_shown_with_its_line_a_mark_and_what_to_write_instead() {
    let fixture = Fixture::new();
    write(&fixture, "HUMANFILE", "IDENTITY ada\nMODEL m\nMODE  gouverned\n");
    let ran = fixture.run(&["lint"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.starts_with(
            ".ostk/HUMANFILE:3:7: error: unknown value \"gouverned\"\n    3 | MODE  gouverned\n      |       ^\n      Hint: did you mean `governed`?\n"
        ),
        "{}",
        ran.out
    );
    assert!(!fixture.state().join("run/ostk.sock").exists(), "no daemon was started");
}

#[test]
fn every_document_is_looked_at_and_warnings_alone_are_no_failure() {
    let fixture = Fixture::new();
    fs::write(fixture.home().join(".HUMANFILE"), "IDENTITY ada\nMODEL claude-m\nEMBED off\n").unwrap();
    write(&fixture, "HUMANFILE", "IDENTITY ada\nMODEL claude-m\n");
    write(&fixture, "pins/fixer/pin.caps", "read: .\nwrite: src\nallow: .\n");
    let good = fixture.run(&["lint", "--json"]).good().json();
    assert_eq!((&good["errors"], &good["warnings"]), (&0.into(), &2.into()), "{good}");

    write(&fixture, "pins/bad/pin.caps", "# a pin\nraed: src\n");
    write(
        &fixture,
        "rules/team.yaml",
        "rules:\n  - name: x\n    condition: {field: pth, operator: eq, value: a}\n    action: deny\n",
    );
    write(&fixture, "policy.cedar", "forbid (principal, action resource);\n");
    write(&fixture, ".primefile", "x");
    write(&fixture, "ENTITYFILE", "x");
    write(&fixture, "agents/worker.af", "FROM m\nTOOL shel\n");
    write(&fixture, "agents/later.af", "FROM m\nTASK x\nINTERRUPT needle.closed\n");
    let ran = fixture.run(&["lint", "--json"]);
    assert_eq!(ran.code, 1);
    let found = ran.json();
    let errors =
        found["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error");
    let places: Vec<String> =
        errors.map(|finding| format!("{}:{}", finding["file"].as_str().unwrap(), finding["line"])).collect();
    assert_eq!(
        places,
        [
            ".ostk/.primefile:1",
            ".ostk/ENTITYFILE:1",
            ".ostk/pins/bad/pin.caps:2",
            ".ostk/policy.cedar:1",
            ".ostk/rules/team.yaml:3",
            ".ostk/agents/later.af:3",
            ".ostk/agents/worker.af:2",
        ]
    );
}

#[test]
fn a_single_file_is_known_by_its_name_and_needs_no_project() {
    let fixture = Fixture::bare();
    fs::write(fixture.root().join("team.yaml"), "rules: {}\n").unwrap();
    let ran = fixture.run(&["lint", "team.yaml"]);
    assert!(ran.code == 1 && ran.out.starts_with("team.yaml:1:8: error: `rules` is a list"), "{ran:?}");
    fs::write(fixture.root().join("notes.txt"), "x").unwrap();
    assert_eq!(fixture.run(&["lint", "notes.txt"]).code, 2);
    assert_eq!(fixture.run(&["lint", "gone.yaml"]).code, 1);
}

#[test]
fn the_rules_in_force_are_listed_with_their_lines_and_printed_as_cedar() {
    let fixture = Fixture::new();
    fixture.govern("HUMANFILE", "IDENTITY ada\nMODEL m\nMODE governed\nCONNECT crates.io\n");
    write(&fixture, "pins/fixer/pin.caps", "read: .\ndeny-path: infra/\n");
    write(&fixture, "pins/other/pin.caps", "deny: network\n");
    let shown = fixture.run(&["policy", "show"]).good().out;
    for part in [
        "pins/fixer/pin.caps:2",
        "deny-path infra/",
        "agents-may-work",
        "governed",
        "crates.io",
        "no daemon runs",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let cedar = fixture.run(&["policy", "show", "--as", "cedar", "--pin", "other"]).good().out;
    assert!(
        cedar.contains("// pins/other/pin.caps:1 deny network\nforbid") && !cedar.contains("fixer"),
        "{cedar}"
    );
    // What is printed is a policy set that the gate itself reads.
    write(&fixture, "policy.cedar", &cedar);
    fixture.run(&["lint"]).good();
    assert_eq!(fixture.run(&["policy", "show", "--pin", "gone"]).code, 1);
}

#[test]
fn a_running_daemon_that_goes_by_older_documents_is_said_to() {
    let fixture = Fixture::new();
    fixture.run(&["ps"]).good();
    assert_eq!(fixture.run(&["policy", "show", "--json"]).good().json()["loaded"], true);
    fixture.govern("HUMANFILE", "IDENTITY ada\nMODEL m\nMODE governed\n");
    assert_eq!(fixture.run(&["policy", "show", "--json"]).good().json()["loaded"], false);
    fixture.call("policy.reload", "{}").good();
    assert_eq!(fixture.run(&["policy", "show", "--json"]).good().json()["loaded"], true);
    let why = fixture.run(&["why", "worker", "file.write", "a.txt"]);
    assert!(why.out.contains("mode governed"), "{why:?}");
}

#[test]
fn an_agent_from_auto_gets_the_model_of_humanfile_unless_the_environment_names_one() {
    let fixture = Fixture::new();
    fs::write(fixture.root().join("a.af"), "FROM auto\nTASK x\n").unwrap();
    for name in ["HUMANFILE", "HUMANFILE.sig"] {
        fs::remove_file(fixture.state().join(name)).unwrap();
    }
    let run = ["run", "a.af", "--dry-run"];
    let missing = fixture.run(&run);
    assert!(missing.code == 2 && missing.err.contains("name one in HUMANFILE"), "{missing:?}");
    write(&fixture, "HUMANFILE", "IDENTITY ada\nMODEL of-the-file\n");
    assert!(fixture.run(&run).good().out.contains("FROM of-the-file"));
    let named = fixture.command(&run).env("OSTK_MODEL", "of-the-shell").output().unwrap();
    assert!(String::from_utf8(named.stdout).unwrap().contains("FROM of-the-shell"));
}

#[test]
fn a_denied_path_that_git_tracks_is_a_warning_at_its_line() {
    let fixture = Fixture::with_sources();
    fs::write(fixture.root().join("key.pem"), "x").unwrap();
    write(&fixture, "pins/p/pin.caps", "write: src/\ndeny-path: key.pem src/\n");
    let out = fixture.run(&["lint"]).good().out;
    assert!(out.contains("git tracks src/") && out.contains("pin.caps:2"), "{out}");
    assert!(!out.contains("git tracks key.pem"), "{out}");
}
