//! A fleet with fewer places than agents, in real processes and over a restart.

use std::{fs, thread, time::Duration};

use serde_json::Value;

use crate::fixture::Fixture;

fn states(fixture: &Fixture) -> Vec<String> {
    let rows: Value = serde_json::from_str(&fixture.good(&["ps", "--json"]).out).unwrap();
    let state = |name: &str| rows.as_array().unwrap().iter().find(|row| row["lineage"] == name).cloned();
    let words = ["a", "b", "c", "d"].map(|name| state(name).unwrap_or_default()["state"].clone());
    words.iter().map(|word| word.as_str().unwrap_or("none").to_owned()).collect()
}

#[test]
fn agents_begin_by_priority_when_there_is_a_place_also_after_a_restart() {
    let fixture = Fixture::new();
    let settings = fs::read_to_string(fixture.root().join(".ostk/ostk.toml")).unwrap_or_default();
    fixture.govern(".ostk/ostk.toml", &format!("{settings}\n[scheduler]\nagents = 1\n"));
    fixture.write("keep.af", "FROM auto\n");
    let start = |name: &str, priority: &str| {
        let line = format!("while [ ! -e go ]; do sleep 0.05; done; echo {name} >> order.txt");
        let run =
            ["run", "keep.af", "--detach", "--name", name, "--priority", priority, "--", "sh", "-c", &line];
        fixture.good(&run).out
    };
    assert!(start("a", "P2").contains("started"));
    assert!(start("b", "P3").contains("b waits for a place, number 1 in line"));
    for (name, priority) in [("c", "P0"), ("d", "P1")] {
        start(name, priority);
    }
    fixture.good(&["kill", "d"]);
    assert_eq!(states(&fixture), ["running", "queued", "queued", "none"]);
    fixture.good(&["shutdown"]);
    assert_eq!(states(&fixture)[1..], ["queued", "queued", "none"], "the line is in the log");
    fixture.write("go", "");
    for _ in 0..600 {
        if states(&fixture)[..3].iter().all(|state| state == "exited") {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(fixture.read("order.txt"), "a\nc\nb\n");
    let log = fixture.log();
    let of = |event: &str| log.iter().filter(|(_, name, _)| name == event).count();
    assert_eq!((of("agent.queued"), of("agent.unqueued")), (3, 1));
    fixture.good(&["audit", "verify", "--deep"]);
}
