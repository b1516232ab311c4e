//! Places: who runs, who waits, in which order they begin, and what a crash or a signal leaves of the line.

use std::collections::BTreeSet;

use ostk_kernel::{Caller, Code, Op};
use ostk_policy::Documents;
use serde_json::{Value, json};

use crate::{
    agents::{AGENTFILE, say, tool},
    host::{Host, Reply, Settings, ada, agent, assert_code, exit},
};

/// A host with so many places, where an agent takes one note and ends.
fn host(agents: usize) -> Host {
    let mut host = Host::of(Documents::default(), Settings { agents: Some(agents), ..Settings::default() });
    host.script = vec![vec![tool("t1", "note", json!({ "text": "n" }))], vec![say("Done.")]];
    host
}

/// Asks for an agent, and carries nothing out.
fn spawn(host: &mut Host, name: &str, more: Value) -> Reply {
    let mut args = json!({ "name": name, "agentfile": AGENTFILE });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let call = host.submit(&ada(), "agent.spawn", args);
    host.sync_to(host.log.len());
    host.replies.remove(&call).unwrap()
}

fn row(host: &mut Host, name: &str) -> (String, String) {
    let call = host.submit(&ada(), "ps", json!({}));
    let rows = host.replies.remove(&call).unwrap().unwrap();
    let row =
        rows["processes"].as_array().unwrap().iter().find(|row| row["lineage"] == name).unwrap().clone();
    (row["state"].as_str().unwrap().to_owned(), row["doing"].as_str().unwrap().to_owned())
}

/// The lineages in the order in which they began.
fn began(host: &Host) -> Vec<String> {
    let sessions = host.log.iter().filter(|(draft, _)| draft.event == "session.started");
    let names = sessions.map(|(draft, _)| draft.body["lineage"].as_str().unwrap().to_owned());
    names.filter(|name| !matches!(name.as_str(), "ada" | "x")).collect()
}

fn running(host: &Host) -> BTreeSet<String> {
    let agents = host.kernel.state().agents.iter().filter(|(_, agent)| !agent.is_finished());
    agents.map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_spawn_without_a_place_waits_and_begins_by_priority_then_arrival() {
    let mut host = host(2);
    for (name, priority) in [("a", "P2"), ("b", "P2"), ("c", "P3"), ("d", "P2"), ("e", "P0"), ("f", "P2")] {
        spawn(&mut host, name, json!({ "priority": priority })).unwrap();
    }
    assert_eq!(running(&host), ["a", "b"].map(str::to_owned).into());
    assert_eq!(row(&mut host, "e"), ("queued".to_owned(), "waits for a place, number 1 in line".to_owned()));
    assert_eq!(row(&mut host, "c").1, "waits for a place, number 4 in line");
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "c" }));
    for _ in 0..200 {
        host.sync_to(host.log.len());
        host.step(0);
        assert!(running(&host).len() <= 2, "{:?}", running(&host));
    }
    assert_eq!(began(&host), ["a", "b", "e", "d", "f", "c"]);
    assert_eq!(host.replies[&wait].as_ref().unwrap()["outcome"]["kind"], "done");
    assert!(host.kernel.state().queue.is_empty() && host.count("agent.queued") == 4);
}

#[test]
fn what_is_wrong_with_a_spawn_is_said_at_once_and_a_name_waits_once() {
    let mut host = host(1);
    spawn(&mut host, "a", json!({})).unwrap();
    assert_code(
        &spawn(&mut host, "b", json!({ "agentfile": "FROM nobody\nTASK x\n" })).unwrap_err(),
        Code::Usage,
    );
    assert_code(&spawn(&mut host, "b", json!({ "priority": "P9" })).unwrap_err(), Code::Usage);
    let first = spawn(&mut host, "b", json!({})).unwrap();
    assert_eq!((&first["queued"], &first["generation"]), (&json!(1), &Value::Null));
    let again = spawn(&mut host, "b", json!({})).unwrap_err();
    assert!(again.message.contains("waits for a place already"), "{again:?}");
    host.run();
    assert_eq!((host.count("agent.queued"), began(&host)), (1, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn the_line_survives_any_crash_and_everybody_in_it_begins_once() {
    for cut in 0..20 {
        let mut host = host(1);
        for name in ["a", "b", "c", "d"] {
            let args = json!({ "name": name, "agentfile": AGENTFILE });
            host.submit_keyed(&ada(), "agent.spawn", args, Some(&format!("spawn {name}")));
        }
        for step in 0..cut {
            host.sync_to(host.log.len());
            host.step(step);
        }
        if cut % 2 == 0 {
            host.crash()
        } else {
            host.kill()
        }
        // Whoever got no answer asks again.
        for name in ["a", "b", "c", "d"] {
            let args = json!({ "name": name, "agentfile": AGENTFILE });
            host.submit_keyed(&ada(), "agent.spawn", args, Some(&format!("spawn {name}")));
        }
        host.run();
        assert_eq!(began(&host), ["a", "b", "c", "d"], "cut {cut}");
        assert!(running(&host).is_empty() && host.kernel.state().queue.is_empty(), "cut {cut}");
        assert_eq!(host.count("note.added"), 4, "cut {cut}: nobody worked twice");
    }
}

#[test]
fn a_signal_that_ends_takes_a_spawn_out_of_the_line_and_no_other_does() {
    let mut host = host(1);
    for name in ["a", "b", "c"] {
        spawn(&mut host, name, json!({})).unwrap();
    }
    let signal = |host: &mut Host, by: Caller, signal: &str| {
        let call = host.submit(&by, "agent.signal", json!({ "lineage": "b", "signal": signal }));
        host.sync_to(host.log.len());
        host.replies.remove(&call).unwrap()
    };
    assert_code(&signal(&mut host, ada(), "SIGSTOP").unwrap_err(), Code::Usage);
    assert_code(&signal(&mut host, agent("x"), "SIGTERM").unwrap_err(), Code::Denied);
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "b" }));
    assert_eq!(signal(&mut host, ada(), "SIGTERM").unwrap()["fate"], "done");
    let told = host.replies[&wait].as_ref().unwrap_err();
    assert!(told.message.contains("b never began: SIGTERM"), "{told:?}");
    host.run();
    assert_eq!(began(&host), ["a", "c"]);
    assert_code(&signal(&mut host, ada(), "SIGTERM").unwrap_err(), Code::NotFound);
}

#[test]
fn a_spawn_that_the_rules_forbid_when_its_turn_comes_leaves_the_line_with_a_note() {
    let mut host = host(1);
    for name in ["a", "b"] {
        spawn(&mut host, name, json!({})).unwrap();
    }
    let rule =
        "@id(\"no-more\") forbid (principal, action, resource) when { context.call == \"agent.spawn\" };";
    host.documents = Documents { custom: Some(rule.to_owned()), ..Documents::default() };
    host.ok(&ada(), "policy.reload", json!({}));
    host.run();
    assert_eq!((began(&host), host.kernel.state().queue.len()), (vec!["a".to_owned()], 0));
    let reason = host.last("agent.unqueued").body["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("no-more"), "{reason}");
    let noted = host.last("note.added").body["text_blob"].as_str().unwrap().parse().unwrap();
    assert!(String::from_utf8_lossy(&host.blobs[&noted]).contains("b waited for a place and cannot begin"));
}

#[test]
fn commands_have_places_too_and_a_panic_lets_nobody_begin() {
    let mut host = host(1);
    host.commands.insert("work".to_owned(), Box::new(|_| exit(0, "")));
    let command = json!({ "agentfile": "FROM auto\n", "command": "work" });
    spawn(&mut host, "keep", command.clone()).unwrap();
    spawn(&mut host, "a", json!({})).unwrap();
    spawn(&mut host, "again", command).unwrap();
    assert_eq!(
        (row(&mut host, "a").0, row(&mut host, "again").0),
        ("queued".to_owned(), "queued".to_owned())
    );
    let (op, _) = (0..host.ready().len())
        .find_map(|at| host.start(at).filter(|(_, op)| matches!(op, Op::Shell(_))))
        .unwrap();
    host.ok(&ada(), "kernel.panic", json!({ "reason": "look first" }));
    let ended = ostk_kernel::Outcome::Shell { end: Ok(exit(0, "")), before: Vec::new(), after: Vec::new() };
    host.finish(op, ended);
    host.run();
    assert_eq!(began(&host), ["keep"], "nothing begins in a panic");
    host.ok(&ada(), "kernel.resume", json!({}));
    host.run();
    assert_eq!(began(&host), ["keep", "a", "again"]);
    assert_eq!(host.done["shell"], 1, "the second command ran; the first was carried out by hand");
}

#[test]
fn nothing_is_begun_given_out_or_fired_after_a_clean_stop_and_all_of_it_by_the_next_daemon() {
    let mut host = host(1);
    spawn(&mut host, "a", json!({ "agentfile": "FROM scripted\nWORK tags=x\n" })).unwrap();
    spawn(&mut host, "b", json!({})).unwrap();
    let timer = json!({ "name": "t", "lineage": "a", "text": "how far?", "after_ms": 60_000 });
    host.ok(&ada(), "timer.set", timer);
    host.stop();
    let needle = json!({ "title": "n", "priority": "P1", "description": "d", "ac": ["true"], "tags": ["x"] });
    host.submit(&ada(), "work.add", needle);
    host.submit(&ada(), "agent.signal", json!({ "lineage": "a", "signal": "SIGKILL" }));
    host.tick(60_000);
    host.run();
    let begun = ["needle.assigned", "timer.fired"].map(|event| host.count(event));
    assert_eq!((begun, began(&host)), ([0, 0], vec!["a".to_owned()]));
    host.kill();
    host.run();
    host.tick(0);
    host.run();
    assert_eq!((host.count("timer.fired"), began(&host)), (1, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn an_orphan_that_comes_back_takes_the_place_of_the_next_in_line() {
    let mut host = host(1);
    spawn(&mut host, "a", json!({ "revival": "ask" })).unwrap();
    spawn(&mut host, "b", json!({})).unwrap();
    host.crash();
    // The place is free, and what `b` was asked with is being loaded.
    host.submit(&ada(), "lineage.resolve", json!({ "lineage": "a", "resolution": "revive" }));
    assert_eq!(running(&host), ["a".to_owned()].into());
    host.run();
    let step = |lineage: &str, name: &str| {
        let of = |draft: &ostk_log::Draft| {
            let step = draft.body.get("step").and_then(|step| step["step"].as_str());
            draft.actor == format!("agent:{lineage}") && step == Some(name)
        };
        host.log.iter().position(|(draft, _)| of(draft)).unwrap()
    };
    assert!(step("a", "finished") < step("b", "spawned"), "{:?}", host.events());
    assert_eq!(host.count("agent.queued"), 1);
}

#[test]
fn a_command_that_was_asked_to_end_has_its_place_until_it_has_ended() {
    let mut host = host(1);
    spawn(&mut host, "keep", json!({ "agentfile": "FROM auto\n", "command": "work" })).unwrap();
    let starts = |host: &mut Host| {
        (0..host.ready().len()).find_map(|at| host.start(at).filter(|(_, op)| matches!(op, Op::Shell(_))))
    };
    let (op, _) = starts(&mut host).unwrap();
    host.submit(&ada(), "agent.signal", json!({ "lineage": "keep", "signal": "SIGCANCEL" }));
    spawn(&mut host, "a", json!({})).unwrap();
    assert_eq!((row(&mut host, "a").0.as_str(), began(&host)), ("queued", vec!["keep".to_owned()]));
    let ended = ostk_kernel::Outcome::Shell { end: Ok(exit(137, "")), before: Vec::new(), after: Vec::new() };
    host.finish(op, ended);
    host.run();
    assert_eq!(began(&host), ["keep", "a"]);
}

#[test]
fn when_there_is_one_place_less_than_were_free_the_first_in_line_has_it() {
    let mut host = host(2);
    for (name, more) in [("a", json!({ "revival": "ask" })), ("x", json!({ "revival": "reap" }))] {
        spawn(&mut host, name, more).unwrap();
    }
    for name in ["b", "c"] {
        spawn(&mut host, name, json!({})).unwrap();
    }
    host.crash();
    host.submit(&ada(), "lineage.resolve", json!({ "lineage": "a", "resolution": "revive" }));
    // What both were asked with is loaded before anything else happens.
    let started: Vec<_> = std::iter::from_fn(|| host.start(0)).collect();
    for (id, op) in started {
        let outcome = host.carry_out(op);
        host.finish(id, outcome);
    }
    host.run();
    assert_eq!(began(&host), ["a", "b", "c"].map(str::to_owned));
}

/// An agent runs in the only place and `b` waits; the agent ends, and what `b` was asked with is about to be loaded.
fn about_to_begin() -> (Host, (ostk_kernel::OpId, Op)) {
    let mut host = host(1);
    spawn(&mut host, "a", json!({})).unwrap();
    spawn(&mut host, "b", json!({ "task": "first" })).unwrap();
    let loading = host.start_first(|op| matches!(op, Op::Observe { .. }));
    (host, loading)
}

#[test]
fn nobody_begins_in_a_panic_that_came_while_it_was_loaded() {
    let (mut host, (id, op)) = about_to_begin();
    host.submit(&ada(), "kernel.panic", json!({ "reason": "look first" }));
    let outcome = host.carry_out(op);
    host.finish(id, outcome);
    host.run();
    assert_eq!(began(&host), ["a"]);
    host.ok(&ada(), "kernel.resume", json!({}));
    host.run();
    assert_eq!(began(&host), ["a", "b"]);
}

#[test]
fn who_is_called_off_while_it_is_loaded_does_not_take_its_namesake_along() {
    let (mut host, (id, op)) = about_to_begin();
    host.submit(&ada(), "agent.signal", json!({ "lineage": "b", "signal": "SIGKILL" }));
    spawn(&mut host, "b", json!({ "task": "second" })).unwrap();
    let outcome = host.carry_out(op);
    host.finish(id, outcome);
    host.run();
    assert_eq!(began(&host), ["a", "b"]);
}
