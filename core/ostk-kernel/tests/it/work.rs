//! Sessions, locks, messages, the digest and background processes.

use ostk_kernel::Code;
use serde_json::json;

use crate::host::{Host, ada, agent, assert_code};

#[test]
fn what_changed_under_a_reader_is_told_once_and_briefly() {
    let mut host = Host::new();
    let paths: Vec<String> = (0..40).map(|n| format!("directory/with/a/long/name/file-{n:02}.txt")).collect();
    for path in &paths {
        host.put(path, "a\n");
        host.ok(&agent("w"), "file.read", json!({ "path": path }));
    }
    for path in &paths {
        host.ok(&agent("v"), "file.edit", json!({ "path": path, "old": "a", "new": "b" }));
    }
    let mut told = Vec::new();
    for _ in 0..20 {
        let reply = host.ok(&agent("w"), "status", json!({}));
        let Some(digest) = reply.get("digest").and_then(|digest| digest.as_str()) else { break };
        assert!(digest.len() <= 512, "{}", digest.len());
        told.extend(digest.lines().map(str::to_owned));
    }
    assert_eq!(told.len(), 40);
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 40, "each once");
    assert!(told[0].contains("gen=2 by agent:v"), "{}", told[0]);
    assert!(host.ok(&agent("v"), "status", json!({})).get("digest").is_none(), "the writer knows");
}

#[test]
fn a_digest_comes_with_errors_too_and_bears_any_path() {
    let mut host = Host::new();
    let path = "ü".repeat(1_500);
    host.put(&path, "a\n");
    host.ok(&agent("w"), "file.read", json!({ "path": path }));
    host.files.remove(&path);
    host.notice(&[&path]);
    let error = host.err(&agent("w"), "file.read", json!({ "path": "nothing" }));
    let digest = error.data["digest"].as_str().unwrap();
    assert!(digest.starts_with("[files] ✗") && digest.len() <= 512, "{digest}");
}

#[test]
fn a_lock_is_held_by_one_and_lapses() {
    let mut host = Host::new();
    let take = json!({ "action": "create", "name": "l", "timeout_ms": 5_000 });
    host.ok(&agent("w"), "lock", take.clone());
    assert_code(&host.err(&agent("v"), "lock", take.clone()), Code::Conflict);
    assert_code(&host.err(&agent("v"), "lock", json!({ "action": "release", "name": "l" })), Code::NotFound);
    let due = host.tick(1).unwrap();
    assert!(due.as_micros() <= host.now + 5_000_000);
    host.tick(5_000);
    assert_eq!(host.ok(&ada(), "lock", json!({ "action": "status", "name": "l" }))["holder"], json!(null));
    host.ok(&agent("v"), "lock", take.clone());
    host.ok(&agent("v"), "session.end", json!({}));
    host.ok(&agent("w"), "lock", take);
}

#[test]
fn a_message_reaches_a_client_once_with_its_next_reply_also_after_a_restart() {
    let mut host = Host::new();
    host.ok(&agent("w"), "ps", json!({}));
    host.ok(&ada(), "nudge", json!({ "lineage": "w", "text": "look at the tests" }));
    host.crash();
    host.run();
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "c" }));
    let reply = host.ok(&agent("w"), "status", json!({}));
    assert_eq!(reply["nudges"], json!(["human:ada: look at the tests"]));
    assert!(host.ok(&agent("w"), "status", json!({})).get("nudges").is_none());
    assert_code(&host.err(&ada(), "nudge", json!({ "lineage": "nobody", "text": "x" })), Code::NotFound);
}

#[test]
fn a_message_is_handed_over_when_no_crash_can_bring_it_again() {
    let mut host = Host::new();
    host.ok(&agent("w"), "ps", json!({}));
    host.ok(&ada(), "nudge", json!({ "lineage": "w", "text": "look at the tests" }));
    host.syncs = false;
    let call = host.submit(&agent("w"), "status", json!({}));
    host.run();
    assert!(!host.replies.contains_key(&call), "a power cut can still take the record of the delivery");
    host.sync_to(host.log.len());
    let reply = host.replies.remove(&call).unwrap().unwrap();
    assert_eq!(reply["nudges"], json!(["human:ada: look at the tests"]));
    host.syncs = true;
    host.crash();
    host.run();
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "c" }));
    assert!(host.ok(&agent("w"), "status", json!({})).get("nudges").is_none());
}

#[test]
fn a_stopped_clients_calls_are_held_until_it_may_go_on_and_expire_like_any() {
    let mut host = Host::new();
    host.ok(&agent("w"), "ps", json!({}));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGSTOP" }));
    let late = host.submit(&agent("w"), "note", json!({ "text": "late" }));
    host.tick(61_000);
    assert_code(host.replies[&late].as_ref().unwrap_err(), Code::Deadline);
    let held = host.submit(&agent("w"), "note", json!({ "text": "held" }));
    host.run();
    assert!(!host.replies.contains_key(&held));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGCONT" }));
    assert!(host.replies[&held].is_ok());
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "w" }));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGKILL" }));
    assert!(host.replies[&wait].is_ok(), "whoever waited is told");
    assert_code(&host.err(&agent("w"), "note", json!({ "text": "dead" })), Code::Stopped);
}

#[test]
fn a_killed_lineages_processes_are_killed() {
    let mut host = Host::new();
    host.ok(&agent("w"), "process.start", json!({ "alias": "p", "command": "serve" }));
    assert_code(
        &host.err(&agent("v"), "process.interact", json!({ "alias": "p", "action": "kill" })),
        Code::NotFound,
    );
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGKILL" }));
    assert_eq!(host.done["interact"], 1);
    assert!(host.kernel.state().processes.is_empty());
}

#[test]
fn ps_and_status_tell_who_is_there_and_what_was_done() {
    let mut host = Host::new();
    host.ok(&agent("w"), "file.write", json!({ "path": "a", "content": "a" }));
    let rows = host.ok(&ada(), "ps", json!({}))["processes"].clone();
    let row = rows.as_array().unwrap().iter().find(|row| row["lineage"] == "w").unwrap().clone();
    assert_eq!((&row["state"], &row["writes"]), (&json!("running"), &json!(1)));
    assert_eq!(host.ok(&ada(), "status", json!({}))["counts"]["writes"], 1);
    let hash = host.ok(&ada(), "kernel.state_hash", json!({}));
    assert_eq!(hash["next_seq"], host.log.len());
}
