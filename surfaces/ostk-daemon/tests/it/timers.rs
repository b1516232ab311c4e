//! Timers with a real daemon and its real clock.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::fixture::Fixture;

#[test]
fn a_timer_fires_by_itself_and_what_came_while_no_daemon_ran_is_made_up_for() {
    let fixture = Fixture::new();
    fixture.good(&["call", "note", r#"{"text":"here"}"#, "--as", "v"]);
    let soon = ["--after", "1s", "--to", "v", "--say", "how far?"];
    fixture.good(&[["timer", "add", "once"].as_slice(), &soon].concat());
    let rows = || -> Value { serde_json::from_str(&fixture.good(&["timer", "list", "--json"]).out).unwrap() };
    for _ in 0..600 {
        if rows() == json!([]) {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    fixture.good(&[["timer", "add", "missed"].as_slice(), &soon].concat());
    fixture.good(&["timer", "add", "later", "--every", "1d", "--times", "2", "--to", "v", "--say", "well?"]);
    let log = fixture.log();
    let fired = |log: &[(String, String, Value)], name: &str| {
        log.iter().filter(|(_, event, body)| event == "timer.fired" && body["name"] == name).count()
    };
    assert_eq!(fired(&log, "once"), 1);
    // The daemon is gone; the second timer's time passes without it, if it had not come before.
    thread::sleep(Duration::from_millis(1_200));
    for _ in 0..600 {
        if rows().as_array().unwrap().len() == 1 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(rows()[0]["left"], 2);
    fixture.good(&["timer", "remove", "later"]);
    let log = fixture.log();
    assert_eq!((fired(&log, "once"), fired(&log, "missed"), fired(&log, "later")), (1, 1, 0));
    assert_eq!(
        log.iter().filter(|(actor, event, _)| event == "nudge.sent" && actor == "human:ada").count(),
        2
    );
    fixture.good(&["audit", "verify", "--deep"]);
}
