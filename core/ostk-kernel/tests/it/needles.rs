//! The work system: numbers, claims, leases, acceptance, and what a crash leaves of them.

use ostk_kernel::{Code, Op};
use serde_json::{Value, json};

use crate::host::{Host, Reply, ada, agent, assert_code, exit};

/// Adds a needle whose acceptance is `check`; returns its name.
fn add(host: &mut Host, title: &str, more: Value) -> String {
    let mut args = json!({ "title": title, "priority": "P1", "description": "d", "ac": ["check"] });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.ok(&ada(), "work.add", args)["id"].as_str().unwrap().to_owned()
}

/// A host where the command `check` ends with this code.
fn host(code: i32) -> Host {
    let mut host = Host::new();
    host.commands.insert("check".to_owned(), Box::new(move |_| exit(code, "3 tests failed\n")));
    host
}

fn next(host: &mut Host, name: &str) -> Option<String> {
    host.ok(&agent(name), "work.next", json!({}))["id"].as_str().map(str::to_owned)
}

fn show(host: &mut Host, id: &str) -> Value {
    host.ok(&ada(), "work.show", json!({ "id": id }))["needle"].clone()
}

#[test]
fn a_needle_lacks_nothing_that_whoever_takes_it_needs() {
    let mut host = Host::new();
    let error = host.err(&agent("w"), "work.add", json!({ "title": "t", "description": " " }));
    assert_code(&error, Code::Usage);
    assert_eq!(error.data["missing"], json!(["priority", "description", "ac"]));
    assert!(error.message.contains("priority: P0") && error.hint.unwrap().contains("--ac COMMAND"));
    for (name, value) in [
        ("priority", json!("P9")),
        ("title", json!("two\nlines")),
        ("title", json!("x".repeat(201))),
        ("ac", json!([" "])),
        ("tags", json!(["two words"])),
        ("depends_on", json!(["seven"])),
    ] {
        let mut args = json!({ "title": "t", "priority": "p1", "description": "d", "ac": [] });
        args[name] = value;
        assert_code(&host.err(&agent("w"), "work.add", args), Code::Usage);
    }
    let unknown =
        json!({ "title": "t", "priority": "P1", "description": "d", "ac": [], "depends_on": ["9"] });
    assert_code(&host.err(&agent("w"), "work.add", unknown), Code::NotFound);
    assert_eq!(host.count("needle.added"), 0);
}

#[test]
fn numbers_are_given_in_the_order_of_the_log_also_after_a_crash_and_to_a_repeated_call_once() {
    let mut host = host(0);
    assert_eq!(add(&mut host, "one", json!({ "priority": "p0" })), "→001");
    let args = json!({ "title": "two", "priority": "P1", "description": "d", "ac": [] });
    let first = host.keyed(&agent("w"), "work.add", args.clone(), "k").unwrap();
    host.crash();
    host.run();
    let again = host.keyed(&agent("w"), "work.add", args, "k");
    assert_eq!((&first["id"], &again.unwrap()["id"]), (&json!("→002"), &json!("→002")));
    assert_eq!(add(&mut host, "three", json!({})), "→003");
    assert_eq!((show(&mut host, "1")["priority"].clone(), host.count("needle.added")), (json!("P0"), 3));
}

#[test]
fn two_agents_that_ask_at_the_same_time_never_get_the_same_needle() {
    let mut host = host(0);
    for number in 0..12 {
        add(&mut host, &format!("n{number}"), json!({}));
    }
    let agents: Vec<String> = (0..8).map(|number| format!("w{number}")).collect();
    let asked: Vec<u64> =
        (0..24).map(|at| host.submit(&agent(&agents[at % 8]), "work.next", json!({}))).collect();
    host.run();
    let got: Vec<Reply> = asked.iter().map(|call| host.replies.remove(call).unwrap()).collect();
    let mut got: Vec<String> =
        got.into_iter().filter_map(|reply| reply.unwrap()["id"].as_str().map(str::to_owned)).collect();
    assert_eq!(got.len(), 12, "each needle once, and nothing for the rest");
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 12);
}

#[test]
fn the_best_ready_needle_comes_first_and_what_waits_for_another_not_at_all() {
    let mut host = host(0);
    add(&mut host, "low", json!({ "priority": "P3", "tags": ["net"] }));
    add(&mut host, "high", json!({ "priority": "P0", "depends_on": ["1"] }));
    add(&mut host, "middle", json!({ "priority": "P2" }));
    let peeked = host.ok(&agent("w"), "work.next", json!({ "peek": true }));
    assert_eq!((&peeked["id"], host.count("needle.claimed")), (&json!("→003"), 0));
    assert_eq!(next(&mut host, "w").as_deref(), Some("→003"));
    let tagged = host.ok(&agent("v"), "work.next", json!({ "tag": "net" }));
    assert_eq!(tagged["id"], "→001");
    assert_eq!(next(&mut host, "u"), None, "the other one waits");
    host.ok(&agent("v"), "work.close", json!({ "id": "1" }));
    assert_eq!(next(&mut host, "u").as_deref(), Some("→002"));
    let row = show(&mut host, "2");
    assert_eq!((&row["status"], &row["holder"]), (&json!("in_progress"), &json!("u")));
}

#[test]
fn a_claim_is_its_holders_until_its_lease_ends_and_every_word_about_it_renews_it() {
    let mut host = host(0);
    add(&mut host, "one", json!({}));
    let lease = json!({ "id": "1", "lease_ms": 60_000 });
    host.ok(&agent("w"), "work.claim", lease.clone());
    let refused = host.err(&agent("v"), "work.claim", lease.clone());
    assert_code(&refused, Code::Conflict);
    assert_eq!(refused.data["holder"], "w");
    for (verb, args) in [
        ("work.edit", json!({ "id": "1", "title": "mine" })),
        ("work.close", json!({ "id": "1" })),
        ("work.release", json!({ "id": "1" })),
    ] {
        assert_code(&host.err(&agent("v"), verb, args), Code::Conflict);
    }
    host.tick(40_000);
    host.ok(&agent("w"), "work.show", json!({ "id": "1" }));
    let due = host.tick(40_000).unwrap();
    assert_eq!(host.count("needle.released"), 0, "it was renewed");
    assert!(due.as_micros() <= host.now + 60_000_000, "the kernel wants to be woken");
    host.tick(60_000);
    assert_eq!(host.last("needle.released").body["reason"], "its lease ran out");
    host.ok(&agent("v"), "work.claim", lease);
    let told = host.ok(&agent("w"), "status", json!({}));
    assert!(told["nudges"][0].as_str().unwrap().contains("→001 ran out"), "{told}");
}

#[test]
fn claimed_work_of_whoever_ends_returns_by_a_record() {
    let mut host = host(0);
    for title in ["one", "two", "three"] {
        add(&mut host, title, json!({}));
    }
    for name in ["w", "v", "u"] {
        next(&mut host, name);
    }
    host.ok(&agent("w"), "session.end", json!({}));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "v", "signal": "SIGKILL" }));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "u", "signal": "SIGSTOP" }));
    assert_eq!(host.count("needle.released"), 2, "who is only stopped keeps it");
    assert_eq!(host.last("needle.released").body["reason"], "its holder ended");
    assert_eq!(
        (next(&mut host, "x").as_deref(), next(&mut host, "x").as_deref()),
        (Some("→001"), Some("→002"))
    );
    assert_eq!(next(&mut host, "x"), None);
}

#[test]
fn a_claim_outlives_the_daemon_and_its_holders_next_session() {
    let mut host = host(0);
    add(&mut host, "one", json!({}));
    next(&mut host, "w");
    host.crash();
    host.run();
    assert_eq!(next(&mut host, "v"), None);
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "c" }));
    host.ok(&agent("w"), "work.close", json!({ "id": "1" }));
    assert_eq!(show(&mut host, "1")["status"], "closed");
}

#[test]
fn a_crash_between_the_end_of_a_holder_and_its_release_loses_no_work() {
    let mut host = host(0);
    add(&mut host, "one", json!({}));
    next(&mut host, "w");
    host.syncs = false;
    host.submit(&agent("w"), "session.end", json!({}));
    let end = host.log.iter().position(|(draft, _)| draft.event == "session.ended").unwrap();
    host.sync_to(end + 1);
    host.crash();
    host.syncs = true;
    host.run();
    assert_eq!(host.count("needle.released"), 1);
    assert_eq!(next(&mut host, "v").as_deref(), Some("→001"));
}

#[test]
fn a_needle_closes_when_its_acceptance_passes_and_not_before() {
    let mut host = host(1);
    add(&mut host, "one", json!({}));
    next(&mut host, "w");
    let error = host.err(&agent("w"), "work.close", json!({ "id": "1" }));
    assert_code(&error, Code::Failed);
    assert!(
        error.message.contains("→001 stays open: `check` ended with exit code 1\n3 tests failed"),
        "{error:?}"
    );
    assert!(error.hint.as_ref().unwrap().contains("--force --reason"), "{error:?}");
    let run = host.last("shell.receipt").body["intent"].clone();
    assert_eq!(host.last("needle.checked").body["runs"], json!([run]));
    assert_eq!(host.last("shell.intent").actor, "agent:w");
    let row = show(&mut host, "1");
    assert_eq!((&row["status"], &row["ac_result"]), (&json!("in_progress"), &json!("fail")));
    host.commands.insert("check".to_owned(), Box::new(|_| exit(0, "")));
    let closed = host.ok(&agent("w"), "work.close", json!({ "id": "→1", "commit": "c0ffee" }));
    assert_eq!((&closed["ac_result"], &closed["forced"]), (&json!("pass"), &json!(false)));
    let row = show(&mut host, "1");
    assert_eq!(
        (&row["status"], &row["commit_ref"], &row["holder"]),
        (&json!("closed"), &json!("c0ffee"), &json!(null))
    );
    assert_code(&host.err(&agent("w"), "work.close", json!({ "id": "1" })), Code::Conflict);
}

#[test]
fn commands_run_in_order_and_the_first_that_fails_is_the_last() {
    let mut host = host(0);
    for (name, code) in [("a", 0), ("b", 2), ("c", 0)] {
        host.commands.insert(name.to_owned(), Box::new(move |_| exit(code, "")));
    }
    add(&mut host, "one", json!({ "ac": ["a", "b", "c"] }));
    let error = host.err(&agent("w"), "work.close", json!({ "id": "1" }));
    assert!(error.message.contains("`b` ended with exit code 2"), "{error:?}");
    assert_eq!(
        (host.done["shell"], host.last("needle.checked").body["runs"].as_array().unwrap().len()),
        (2, 2)
    );
}

#[test]
fn a_needle_is_closed_by_force_only_with_a_reason_and_the_record_says_so() {
    let mut host = host(1);
    add(&mut host, "one", json!({}));
    add(&mut host, "two", json!({ "ac": [] }));
    assert_code(&host.err(&ada(), "work.close", json!({ "id": "1", "force": true })), Code::Usage);
    let bare = host.err(&ada(), "work.close", json!({ "id": "2" }));
    assert!(bare.message.contains("no acceptance command"), "{bare:?}");
    let force = |id: &str| json!({ "id": id, "force": true, "reason": "the test is wrong" });
    let closed = host.ok(&ada(), "work.close", force("1"));
    assert_eq!((&closed["forced"], &closed["ac_result"]), (&json!(true), &json!("fail")));
    host.ok(&ada(), "work.close", force("2"));
    let body = &host.last("needle.closed").body;
    assert_eq!(
        (&body["forced"], body.get("ac_result"), &body["reason"]),
        (&json!(true), None, &json!("the test is wrong"))
    );
}

#[test]
fn an_acceptance_command_passes_the_gate_of_whoever_closes() {
    let mut documents = ostk_policy::Documents::default();
    documents.pins.insert("reader".to_owned(), "write: src/\n".to_owned());
    let mut host = Host::with(documents);
    add(&mut host, "one", json!({}));
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "t", "pin": "reader" }));
    let error = host.err(&agent("w"), "work.close", json!({ "id": "1" }));
    assert_code(&error, Code::Denied);
    assert!(error.message.contains("→001 stays open: `check` did not run"), "{error:?}");
    assert_eq!((host.count("gate.denied"), host.count("shell.intent")), (1, 0));
}

#[test]
fn a_needle_lends_nobody_the_rights_of_whoever_closes_it() {
    let mut documents = ostk_policy::Documents::default();
    documents.pins.insert("reader".to_owned(), "execute: none\n".to_owned());
    documents.pins.insert("narrow".to_owned(), "write: src/\nexecute: shell\n".to_owned());
    let mut host = Host::with(documents);
    host.commands.insert("check".to_owned(), Box::new(|_| exit(0, "")));
    let args = json!({ "title": "t", "priority": "P1", "description": "d", "ac": ["check"] });
    for (name, pin) in [("w", "reader"), ("v", "narrow")] {
        host.ok(&ada(), "session.start", json!({ "name": name, "exact": true, "client": "t", "pin": pin }));
        host.ok(&agent(name), "work.add", args.clone());
    }
    let error = host.err(&ada(), "work.close", json!({ "id": "1" }));
    assert_code(&error, Code::Denied);
    assert!(error.message.contains("agent:w gave it and may not run it"), "{error:?}");
    assert_eq!(host.count("shell.intent"), 0);
    let close = host.submit(&ada(), "work.close", json!({ "id": "2" }));
    host.sync_to(host.log.len());
    let writable = host.parked.iter().find_map(|(_, op, _)| match op {
        Op::Shell(command) => Some(command.bounds.writable.clone()),
        _ => None,
    });
    assert_eq!(writable, Some(vec!["src".to_owned()]), "where its author may write");
    host.run();
    assert!(host.replies[&close].is_ok());
    host.ok(&ada(), "work.edit", json!({ "id": "1", "ac": ["check"] }));
    host.ok(&ada(), "work.close", json!({ "id": "1" }));
}

#[test]
fn what_an_agent_has_taken_returns_when_it_is_done() {
    let mut host = host(0);
    add(&mut host, "one", json!({}));
    let next = crate::agents::tool("t1", "work", json!({ "action": "next" }));
    host.script = vec![vec![next], vec![crate::agents::say("Done.")]];
    let agentfile = "FROM scripted\nTASK Take work.\n";
    host.ok(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": agentfile }));
    host.run();
    assert_eq!(host.last("needle.claimed").actor, "agent:worker");
    let told = format!("{:?}", host.conversation(&host.kernel.state().agents["worker"].clone()));
    assert!(told.contains("→001 [P1] in_progress one"), "{told}");
    assert_eq!(host.last("needle.released").body["holder"], "worker");
}

#[test]
fn an_acceptance_waits_for_a_persons_consent_where_a_command_would() {
    let mut host = host(0);
    add(&mut host, "one", json!({}));
    let session = json!({ "name": "w", "exact": true, "client": "t", "mode": "governed" });
    host.ok(&ada(), "session.start", session);
    assert_eq!(next(&mut host, "w").as_deref(), Some("→001"), "taking work needs none");
    for granted in [false, true] {
        let close = host.submit(&agent("w"), "work.close", json!({ "id": "1" }));
        host.run();
        assert!(!host.replies.contains_key(&close), "it waits");
        let question = host.last("approval.requested").seq;
        let verb = if granted { "approval.grant" } else { "approval.deny" };
        host.ok(&ada(), verb, json!({ "id": question }));
        host.run();
        assert_eq!(host.replies.remove(&close).unwrap().is_ok(), granted);
    }
    assert_eq!((host.count("needle.checked"), host.count("shell.intent")), (1, 1));
}

#[test]
fn one_closes_at_a_time_and_an_acceptance_that_changed_meanwhile_counts_for_nothing() {
    let mut host = host(0);
    add(&mut host, "one", json!({}));
    let first = host.submit(&agent("w"), "work.close", json!({ "id": "1" }));
    let second = host.submit(&agent("v"), "work.close", json!({ "id": "1" }));
    assert_code(&host.replies.remove(&second).unwrap().unwrap_err(), Code::Conflict);
    let edit = host.submit(&ada(), "work.edit", json!({ "id": "1", "ac": ["other"] }));
    host.run();
    assert!(host.replies.remove(&edit).unwrap().is_ok());
    assert_code(&host.replies.remove(&first).unwrap().unwrap_err(), Code::Conflict);
    assert_eq!(host.count("needle.closed"), 0);
}

#[test]
fn a_close_that_is_repeated_after_a_crash_runs_nothing_again_that_has_a_record() {
    let mut host = host(0);
    host.commands.insert("second".to_owned(), Box::new(|_| exit(0, "")));
    add(&mut host, "one", json!({ "ac": ["check", "second"] }));
    host.syncs = false;
    let args = json!({ "id": "1" });
    host.submit_keyed(&agent("w"), "work.close", args.clone(), Some("k"));
    host.sync_to(host.log.len());
    assert!(host.step(0), "the first command");
    host.sync_to(host.log.len());
    host.crash();
    host.syncs = true;
    host.run();
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "c" }));
    let error = host.keyed(&agent("w"), "work.close", args, "k").unwrap_err();
    assert_eq!(host.done["shell"], 1, "the second had begun, so nobody knows how far it came");
    assert!(error.message.contains("was not run again"), "{error:?}");
    host.ok(&agent("w"), "work.close", json!({ "id": "1" }));
}

#[test]
fn whoever_withdraws_a_close_ends_its_command() {
    let mut host = host(0);
    add(&mut host, "one", json!({}));
    host.submit_keyed(&agent("w"), "work.close", json!({ "id": "1" }), Some("k"));
    host.sync_to(host.log.len());
    host.withdraw(&agent("w"), "k");
    assert_eq!(host.aborted.len(), 1);
    host.run();
}

#[test]
fn links_stand_on_both_ends_and_a_circle_is_refused() {
    let mut host = host(0);
    for title in ["one", "two", "three, depends on →1"] {
        add(&mut host, title, json!({}));
    }
    let link = |id: &str, kind: &str, other: &str| json!({ "id": id, "kind": kind, "other": other });
    host.ok(&agent("w"), "work.link", link("1", "blocks", "2"));
    assert_eq!(show(&mut host, "2")["depends_on"], json!(["→001"]));
    let circle = host.err(&agent("w"), "work.link", link("1", "depends_on", "2"));
    assert_code(&circle, Code::Conflict);
    assert_code(&host.err(&agent("w"), "work.link", link("1", "likes", "2")), Code::Usage);
    let compiled = host.ok(&ada(), "work.compile", json!({ "dry_run": true }));
    assert_eq!(
        (&compiled["edges"]["depends_on"], host.count("needle.linked")),
        (&json!([["→003", "→001"]]), 1)
    );
    host.ok(&ada(), "work.compile", json!({}));
    assert_eq!(show(&mut host, "1")["blocks"], json!(["→002", "→003"]));
    let ranked = host.ok(&ada(), "work.compounds", json!({}));
    assert_eq!(
        (&ranked["compounds"][0]["id"], &ranked["compounds"][0]["score"]),
        (&json!("→001"), &json!(4))
    );
}

#[test]
fn hay_and_decisions_are_kept_and_a_needle_uses_its_straws_up() {
    let mut host = host(0);
    let straw =
        host.ok(&agent("w"), "hay", json!({ "text": "retry uploads", "source": "a test" }))["straw"].clone();
    host.ok(&agent("w"), "hay", json!({ "text": "paint it" }));
    assert_code(&host.err(&agent("w"), "hay", json!({ "text": " " })), Code::Usage);
    assert_code(&host.err(&agent("w"), "hay", json!({ "text": "x".repeat(5_000) })), Code::TooLarge);
    add(&mut host, "one", json!({ "hay": [straw.to_string()] }));
    host.ok(&ada(), "decide", json!({ "key": "database", "value": "postgres" }));
    host.ok(&ada(), "decide", json!({ "key": "database", "value": "sqlite", "reason": "one file" }));
    host.crash();
    host.run();
    let hay = host.ok(&ada(), "hay.list", json!({}))["hay"].clone();
    assert_eq!((hay.as_array().unwrap().len(), &hay[0]["text"]), (1, &json!("paint it")));
    let decisions = host.ok(&ada(), "decision.list", json!({}))["decisions"].clone();
    assert_eq!((decisions.as_array().unwrap().len(), &decisions[0]["value"]), (1, &json!("sqlite")));
}

#[test]
fn a_model_works_with_one_tool_and_reads_its_answers_as_text() {
    let mut host = host(0);
    let mut tool = |input: Value| {
        let (call, args) = ostk_kernel::tool_call("work", &input).unwrap();
        let result = host.call(&agent("w"), call, args);
        ostk_kernel::render_tool("work.next", &result)
    };
    let add = json!({ "action": "add", "title": "Retry", "priority": "p1", "description": "Three times.", "ac": "check" });
    tool(add);
    assert_eq!(tool(json!({ "action": "list" })).0, "→001 [P1] open Retry");
    let taken = tool(json!({ "action": "next" })).0;
    assert!(
        taken.starts_with("→001 [P1] in_progress Retry; held by w\nThree times.\nac: check\nclaimed until"),
        "{taken}"
    );
    assert!(tool(json!({ "action": "next" })).0.starts_with("nothing can be begun now"));
    assert!(!tool(json!({ "action": "close", "id": 1 })).1);
    assert!(ostk_kernel::tool_call("work", &json!({ "action": "dance" })).is_err());
}
