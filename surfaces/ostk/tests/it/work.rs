//! The work system from outside: add, take, close; parallel takers; leases; the files; tack.

use std::{collections::BTreeSet, fs, thread};

use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran, eventually};

fn add(fixture: &Fixture, title: &str, more: &[&str]) -> Ran {
    let args = ["work", "add", "--title", title, "--priority", "p1", "--description", "what to know"];
    fixture.run(&[&args, more].concat())
}

fn rows(fixture: &Fixture, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixture.state().join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_needle_is_added_taken_and_closed_when_its_acceptance_passes() {
    let fixture = Fixture::new();
    let lacking = fixture.run(&["work", "add", "--title", "Retry uploads"]);
    assert_eq!(lacking.code, 2, "{lacking:?}");
    assert!(
        lacking.err.contains("priority: P0 (now)") && lacking.err.contains("--ac COMMAND"),
        "{lacking:?}"
    );
    let added = add(&fixture, "Retry uploads", &["--ac", "test -f done", "--tags", "net,slow"]).good();
    assert_eq!(added.out, "added →001: Retry uploads [P1]\n");
    add(&fixture, "Tell about it", &["--no-ac", "--depends-on", "->1"]).good();
    let listed = fixture.run(&["work", "list"]).good().out;
    assert!(listed.contains("waits for →001"), "{listed}");
    let taken = fixture.run(&["work", "next", "--json"]).good().json();
    assert_eq!((&taken["id"], &taken["needle"]["ac"]), (&json!("→001"), &json!(["test -f done"])));
    assert_eq!(fixture.run(&["work", "next"]).code, 1, "the other one waits");

    let failed = fixture.run(&["work", "close", "1"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("→001 stays open: `test -f done` ended with exit code 1"), "{failed:?}");
    assert!(failed.err.contains("ostk work close 1 --force --reason TEXT"), "{failed:?}");
    fs::write(fixture.root().join("done"), "").unwrap();
    assert_eq!(fixture.run(&["work", "close", "1"]).good().out, "closed →001: its acceptance passed\n");
    let shown = fixture.run(&["work", "show", "→1", "--json"]).good().json();
    assert_eq!(
        (&shown["status"], &shown["ac_result"], &shown["forced"]),
        (&json!("closed"), &json!("pass"), &json!(false))
    );

    assert!(
        fixture
            .run(&["show", "->1"])
            .good()
            .out
            .starts_with("→001: Retry uploads [P1]\nstatus       closed\n")
    );
    let told = fixture.run(&["audit", "query", "--event", "needle."]).good().out;
    assert!(told.contains("→001 stays open: `test -f done` ended with exit code 1"), "{told}");

    let bare = fixture.run(&["needle", "close", "2"]);
    assert!(bare.code == 1 && bare.err.contains("has no acceptance command"), "{bare:?}");
    assert_eq!(fixture.run(&["work", "close", "2", "--force"]).code, 2, "a reason is needed");
    fixture.run(&["work", "close", "2", "--force", "--reason", "told by mail"]).good();
    fixture.run(&["shutdown"]).good();
    let needles = rows(&fixture, "needles/issues.jsonl");
    assert_eq!(needles.len(), 2);
    assert_eq!((&needles[1]["close_reason"], &needles[1]["forced"]), (&json!("told by mail"), &json!(true)));
}

#[test]
fn agents_that_take_work_at_the_same_time_share_it_and_get_nothing_twice() {
    let fixture = Fixture::new();
    for number in 0..12 {
        add(&fixture, &format!("n{number}"), &["--no-ac"]).good();
    }
    let take = |name: &str| {
        let mut taken = Vec::new();
        loop {
            let next = fixture.call_as(name, "work.next", "{}").good().json();
            match next["id"].as_str() {
                Some(id) => taken.push(id.to_owned()),
                None => return taken,
            }
        }
    };
    let names = ["w1", "w2", "w3", "w4"];
    let taken: Vec<Vec<String>> = thread::scope(|scope| {
        let takers = names.map(|name| scope.spawn(move || take(name)));
        takers.into_iter().map(|taker| taker.join().unwrap()).collect()
    });
    let all: Vec<&String> = taken.iter().flatten().collect();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (12, 12), "{taken:?}");
    // A killed holder's work returns; a killed daemon takes nothing from anybody.
    let first = taken.iter().position(|ids| !ids.is_empty()).unwrap();
    fixture.kill_daemon();
    assert_eq!(take("w5"), Vec::<String>::new());
    fixture.call_as(names[first], "ps", "{}").good();
    fixture.run(&["kill", "-KILL", names[first]]).good();
    let returned: BTreeSet<String> = take("w5").into_iter().collect();
    assert_eq!(returned, taken[first].iter().cloned().collect());
}

#[test]
fn a_lease_that_nobody_renews_ends_by_itself() {
    let fixture = Fixture::new();
    add(&fixture, "one", &["--no-ac"]).good();
    fixture.call_as("w", "work.next", r#"{"lease_ms":1000}"#).good();
    eventually("the lease runs out", || {
        fixture.call_as("v", "work.next", "{}").good().json()["id"] == "→001"
    });
    let released = fixture.run(&["audit", "query", "--event", "needle.released", "--json"]).good().lines();
    assert_eq!(released[0]["body"]["reason"], "its lease ran out");
}

#[test]
fn the_files_show_the_work_and_deleting_them_costs_nothing() {
    let fixture = Fixture::new();
    fixture.run(&["hay", "retry", "flaky", "uploads"]).good();
    fixture.run(&["decide", "database", "sqlite", "one file"]).good();
    add(&fixture, "one", &["--ac", "true"]).good();
    let is_there = || {
        let (needles, hay) = (rows(&fixture, "needles/issues.jsonl"), rows(&fixture, "hay.jsonl"));
        let decisions = rows(&fixture, "decisions.jsonl");
        needles.first().is_some_and(|row| row["ac"] == json!(["true"]) && row["created_by"] == "human:ada")
            && hay.first().is_some_and(|row| row["text"] == "retry flaky uploads")
            && decisions.first().is_some_and(|row| row["value"] == "sqlite")
    };
    eventually("the files are written", is_there);
    for file in ["needles/issues.jsonl", "hay.jsonl", "decisions.jsonl"] {
        fs::remove_file(fixture.state().join(file)).unwrap();
    }
    let hash = fixture.run(&["state-hash"]).good().out;
    fixture.kill_daemon();
    fixture.run(&["work", "list"]).good();
    eventually("they come back", is_there);
    let hay = fixture.run(&["hay", "--list", "--json"]).good().json();
    assert_eq!(hay[0]["text"], "retry flaky uploads");
    assert!(!hash.is_empty());
}

#[test]
fn what_hangs_together_is_found_and_ranked() {
    let fixture = Fixture::new();
    add(&fixture, "Split the parser", &["--no-ac"]).good();
    add(&fixture, "Test the parser, depends on →1", &["--no-ac"]).good();
    fixture.run(&["hay", "the parser is slow"]).good();
    let dry = fixture.run(&["compile", "--dry-run"]).good().out;
    assert!(dry.contains("edge →002 depends on →001") && dry.contains("cluster"), "{dry}");
    assert!(dry.contains("sphere of →001: 2 needles, degree 1, radius 1"), "{dry}");
    assert!(dry.ends_with("1 edges would be tied, 0 were there\n"), "{dry}");
    assert_eq!(fixture.run(&["compounds"]).good().out, "no needle waits for another\n");
    fixture.run(&["compile"]).good();
    assert!(fixture.run(&["compile"]).good().out.ends_with("0 edges tied, 1 were there\n"));
    let ranked = fixture.run(&["compounds", "--json"]).good().json();
    assert_eq!((&ranked[0]["id"], &ranked[0]["score"]), (&json!("→001"), &json!(2)));
}

#[test]
fn tack_says_which_command_a_line_means_and_runs_it_when_told() {
    let fixture = Fixture::new();
    let means = |line: &str| fixture.run(&["tack", line]).good().out.trim().to_owned();
    assert_eq!(means(":ls"), "ostk work list  (table)");
    assert_eq!(means("->7"), "ostk work show 7  (grammar)");
    assert_eq!(means("retry flaky uploads"), "ostk hay -- 'retry flaky uploads'  (grammar)");
    assert_eq!(means(":shelve 7"), "ostk work edit 7 --status shelved  (table)");
    assert!(means(".?why").contains("no command does this yet"));
    let unknown = fixture.run(&["tack", ":lst"]);
    assert!(unknown.code == 2 && unknown.err.contains(":list"), "{unknown:?}");
    let row = ":mine | 3 | user | 1 | 0.5 | ostk work list --tag mine | () → () | my needles | - |\n";
    fs::write(fixture.state().join(".language"), row).unwrap();
    assert_eq!(means(":mine"), "ostk work list --tag mine  (language)");
    let humanfile = fs::read_to_string(fixture.state().join("HUMANFILE")).unwrap();
    let verbs = "VERB :tidy \":compile :mine\"\nVERB :round :trip\nVERB :trip :round\n";
    fixture.govern("HUMANFILE", &format!("{humanfile}{verbs}"));
    assert_eq!(means(":tidy --all"), "ostk compile  (table)\nostk work list --tag mine --all  (language)");
    let round = fixture.run(&["tack", ":round"]);
    assert!(round.code == 2 && round.err.contains("means itself"), "{round:?}");
    let filed = fixture.run(&["tack", "--run", "retry flaky uploads"]).good().out;
    assert!(filed.starts_with("filed as straw "), "{filed}");
    assert_eq!(
        fixture.run(&["tack", "--run", ":list"]).good().out,
        "no needles; add one: ostk work add --help\n"
    );
}
