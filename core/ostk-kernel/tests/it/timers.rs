//! Timers: when they fire, what a missed time comes to, and what a crash leaves of a firing.

use ostk_kernel::Code;
use serde_json::{Value, json};

use crate::{
    agents::{AGENTFILE, say, tool},
    host::{Host, ada, agent, assert_code},
};

const HOUR_MS: u64 = 3_600_000;

/// A host with a client that can be written to.
fn host() -> Host {
    let mut host = Host::new();
    host.ok(&agent("v"), "ps", json!({}));
    host.script = vec![vec![tool("t1", "note", json!({ "text": "n" }))], vec![say("Done.")]];
    host
}

fn set(host: &mut Host, more: Value) -> Value {
    let mut args = json!({ "name": "t", "lineage": "v" });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.ok(&ada(), "timer.set", args)
}

fn pass(host: &mut Host, millis: u64) {
    host.tick(millis);
    host.run();
}

fn row(host: &mut Host) -> Value {
    host.ok(&ada(), "timer.list", json!({}))["timers"].get(0).cloned().unwrap_or_default()
}

#[test]
fn a_timer_fires_when_its_time_has_come_once_for_what_was_missed_and_no_more_often_than_it_may() {
    let mut host = host();
    set(&mut host, json!({ "text": "how far?", "every_ms": HOUR_MS, "times": 3 }));
    pass(&mut host, HOUR_MS - 60_000);
    assert_eq!(host.count("nudge.sent"), 0);
    pass(&mut host, 60_000);
    assert_eq!((host.count("nudge.sent"), host.last("nudge.sent").actor.as_str()), (1, "human:ada"));
    host.kill();
    host.run();
    pass(&mut host, 10 * HOUR_MS + HOUR_MS / 2);
    assert_eq!(host.count("nudge.sent"), 2, "ten times were missed and came to one");
    let next = host.tick(0).unwrap();
    pass(&mut host, HOUR_MS / 2);
    assert_eq!((host.count("nudge.sent"), host.count("timer.fired")), (3, 3), "next was {next}");
    pass(&mut host, 10 * HOUR_MS);
    assert_eq!((host.count("timer.fired"), row(&mut host)), (3, Value::Null), "it is gone");
    assert!(!host.kernel.works(), "nothing keeps the daemon");
}

#[test]
fn a_timer_spawns_an_agent_again_when_the_one_before_has_ended() {
    let mut host = host();
    set(&mut host, json!({ "lineage": "tidy", "agentfile": AGENTFILE, "every_ms": 60_000 }));
    assert!(host.kernel.works(), "a timer keeps the daemon");
    pass(&mut host, 60_000);
    pass(&mut host, 60_000);
    assert_eq!(host.kernel.state().lineages["tidy"].generation, 2);
    host.tick(60_000);
    host.sync_to(host.log.len());
    assert!(host.step(0), "its call is loaded and made");
    host.ok(&ada(), "agent.signal", json!({ "lineage": "tidy", "signal": "SIGSTOP" }));
    pass(&mut host, 60_000);
    assert_eq!(host.kernel.state().lineages["tidy"].generation, 3, "it still runs");
    let row = row(&mut host);
    assert!(row["problem"].as_str().unwrap().contains("tidy is running already"), "{row}");
    host.ok(&ada(), "timer.remove", json!({ "name": "t" }));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "tidy", "signal": "SIGCONT" }));
    pass(&mut host, HOUR_MS);
    assert_eq!(host.kernel.state().lineages["tidy"].generation, 3, "a timer that is removed is silent");
}

#[test]
fn a_crash_around_a_firing_neither_loses_nor_repeats_it() {
    for cut in 0..8 {
        let mut host = host();
        set(&mut host, json!({ "lineage": "tidy", "agentfile": AGENTFILE, "after_ms": 1_000 }));
        host.tick(1_000);
        for step in 0..cut {
            host.sync_to(host.log.len() - step % 2);
            host.step(0);
        }
        if cut % 2 == 0 {
            host.crash()
        } else {
            host.kill()
        }
        pass(&mut host, 1_000);
        assert_eq!(host.kernel.state().lineages["tidy"].generation, 1, "cut {cut}: {:?}", host.events());
        assert_eq!((host.count("note.added"), row(&mut host)), (1, Value::Null), "cut {cut}");
    }
}

#[test]
fn nothing_fires_in_a_panic_and_once_after_it() {
    let mut host = host();
    set(&mut host, json!({ "text": "how far?", "every_ms": 60_000 }));
    host.ok(&ada(), "kernel.panic", json!({ "reason": "look first" }));
    pass(&mut host, HOUR_MS);
    assert_eq!(host.count("timer.fired"), 0);
    host.ok(&ada(), "kernel.resume", json!({}));
    pass(&mut host, 1);
    assert_eq!(host.count("nudge.sent"), 1);
}

#[test]
fn a_timer_that_makes_no_sense_or_is_an_agents_is_refused() {
    let mut host = host();
    let base = json!({ "name": "t", "lineage": "v", "text": "x" });
    for (name, value) in [
        ("every_ms", json!(9_999)),
        ("at", json!("tomorrow")),
        ("at", json!("2001-01-01T00:00:00Z")),
        ("times", json!(3)),
        ("task", json!("no time")),
    ] {
        let mut args = base.clone();
        args[name] = value;
        assert_code(&host.err(&ada(), "timer.set", args), Code::Usage);
    }
    let file = json!({ "name": "t", "lineage": "n", "agentfile": "FROM m\nTOOL shel\n", "after_ms": 1 });
    assert_code(&host.err(&ada(), "timer.set", file), Code::Usage);
    let own = json!({ "name": "t", "lineage": "v", "text": "x", "after_ms": 1 });
    assert_code(&host.err(&agent("v"), "timer.set", own.clone()), Code::Denied);
    assert_eq!(host.count("timer.set"), 0);
    let at = host.ok(
        &ada(),
        "timer.set",
        json!({ "name": "t", "lineage": "v", "text": "x", "at": "2026-12-01T00:00:00Z" }),
    );
    assert_eq!(at["due"], "2026-12-01T00:00:00.000000Z");
    assert_code(&host.err(&ada(), "timer.set", own), Code::Conflict);
}
