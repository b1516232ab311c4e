//! Calls that need a person's consent: they wait, and what runs is what was asked about.

use ostk_kernel::Code;
use serde_json::json;

use crate::host::{Host, ada, agent, assert_code};

/// A host with the agent `w` in governed mode.
fn governed() -> Host {
    let mut host = Host::new();
    let session = json!({ "name": "w", "exact": true, "client": "test", "mode": "governed" });
    host.ok(&ada(), "session.start", session);
    for command in ["make", "make install"] {
        host.commands.insert(command.to_owned(), Box::new(|_| crate::host::exit(0, "")));
    }
    host
}

fn write() -> serde_json::Value {
    json!({ "path": "b", "content": "new\n" })
}

fn question(host: &mut Host) -> u64 {
    let open = host.ok(&ada(), "approval.list", json!({}));
    open["approvals"][0]["id"].as_u64().unwrap_or_else(|| panic!("no question: {open}"))
}

#[test]
fn a_call_waits_until_a_person_grants_it_and_then_runs() {
    let mut host = governed();
    let call = host.submit(&agent("w"), "file.write", write());
    host.run();
    assert!(!host.replies.contains_key(&call) && host.count("file.write.intent") == 0, "it waits");
    let id = question(&mut host);
    host.ok(&ada(), "approval.grant", json!({ "id": id }));
    host.run();
    assert!(host.replies[&call].is_ok(), "{:?}", host.replies[&call]);
    assert_eq!(host.text("b"), "new\n");
    let intent = host.last("file.write.intent");
    let granted = host.last("approval.answered");
    assert_eq!(granted.actor, "human:ada");
    assert_eq!(intent.body["requests"][0]["approved"], granted.seq, "the verdict names the consent");
}

#[test]
fn a_refused_call_does_nothing_and_says_who_refused_it() {
    let mut host = governed();
    let call = host.submit(&agent("w"), "file.write", write());
    host.run();
    let id = question(&mut host);
    host.ok(&ada(), "approval.deny", json!({ "id": id, "reason": "not now" }));
    host.run();
    let error = host.replies[&call].as_ref().unwrap_err();
    assert_code(error, Code::Denied);
    assert!(error.message.contains("human:ada"), "{error:?}");
    assert_eq!(host.count("file.write.intent"), 0);
}

#[test]
fn a_consent_for_once_is_used_up_and_holds_for_no_other_call() {
    let mut host = governed();
    let first = host.submit(&agent("w"), "file.write", write());
    host.run();
    let id = question(&mut host);
    host.ok(&ada(), "approval.grant", json!({ "id": id }));
    host.run();
    assert!(host.replies[&first].is_ok());
    for args in [write(), json!({ "path": "b", "content": "other\n" })] {
        let again = host.submit(&agent("w"), "file.write", args);
        host.run();
        assert!(!host.replies.contains_key(&again), "another question is asked");
        let id = question(&mut host);
        host.ok(&ada(), "approval.deny", json!({ "id": id }));
        host.run();
    }
}

#[test]
fn a_consent_for_the_session_holds_for_the_same_resource_until_the_session_ends() {
    let mut host = governed();
    let first = host.submit(&agent("w"), "shell.run", json!({ "command": "make" }));
    host.run();
    let id = question(&mut host);
    host.ok(&ada(), "approval.grant", json!({ "id": id, "scope": "session" }));
    host.run();
    assert!(host.replies.contains_key(&first));
    host.ok(&agent("w"), "shell.run", json!({ "command": "make", "timeout_ms": 5_000 }));
    let other = host.submit(&agent("w"), "shell.run", json!({ "command": "make install" }));
    host.run();
    assert!(!host.replies.contains_key(&other), "another command is another question");
    let id = question(&mut host);
    host.ok(&ada(), "approval.deny", json!({ "id": id }));
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "test" }));
    let after = host.submit(&agent("w"), "shell.run", json!({ "command": "make" }));
    host.run();
    assert!(!host.replies.contains_key(&after), "a new session asks again, in the mode that it kept");
}

#[test]
fn a_consent_for_a_file_covers_no_other_file_of_a_later_call() {
    let mut host = governed();
    let ops = |path: &str| {
        json!({ "ops": [{ "op": "write", "path": "b", "content": "new\n" },
        { "op": "write", "path": path, "content": "new\n" }] })
    };
    host.submit(&agent("w"), "file.batch", ops("c"));
    host.run();
    let id = question(&mut host);
    let open = host.ok(&ada(), "approval.list", json!({}));
    let reason = open["approvals"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("the call touches b, c"), "the person sees all of it: {reason}");
    host.ok(&ada(), "approval.grant", json!({ "id": id, "scope": "session" }));
    host.run();
    assert_eq!((host.text("b"), host.text("c")), ("new\n".to_owned(), "new\n".to_owned()));
    let other = host.submit(&agent("w"), "file.batch", ops("d"));
    host.run();
    assert!(!host.replies.contains_key(&other), "nobody was asked about d");
    let open = host.ok(&ada(), "approval.list", json!({}));
    assert_eq!(open["approvals"][0]["resource"]["name"], "d");
}

#[test]
fn a_consent_does_not_hold_for_data_that_took_a_label_since() {
    let mut host = governed();
    let granted = |host: &mut Host, scope: &str| {
        host.submit(&agent("w"), "file.write", write());
        host.run();
        let id = question(host);
        host.ok(&ada(), "approval.grant", json!({ "id": id, "scope": scope }));
        host.run();
    };
    granted(&mut host, "session");
    host.ok(&agent("w"), "label.take", json!({ "label": "untrusted" }));
    let again = host.submit(&agent("w"), "file.write", json!({ "path": "b", "content": "2\n" }));
    host.run();
    assert!(!host.replies.contains_key(&again), "the person consented before");
    assert_eq!(host.last("approval.requested").body["request"]["labels"], json!(["untrusted"]));
}

#[test]
fn a_consent_for_a_tool_holds_for_the_same_arguments_only() {
    let mut host = governed();
    let mail = |to: &str| json!({ "tool": "mcp__mail__send", "access": "tool", "input": [{ "to": to }] });
    host.submit(&agent("w"), "hook.before", mail("ada@example.org"));
    host.run();
    let id = question(&mut host);
    host.ok(&ada(), "approval.grant", json!({ "id": id, "scope": "session" }));
    host.ok(&agent("w"), "hook.before", mail("ada@example.org"));
    let other = host.submit(&agent("w"), "hook.before", mail("eve@evil.net"));
    host.run();
    assert!(!host.replies.contains_key(&other), "another recipient is another question");
}

#[test]
fn a_question_is_what_its_asker_is_doing() {
    let mut host = governed();
    host.submit(&agent("w"), "file.write", write());
    host.run();
    let id = question(&mut host);
    let doing = |host: &mut Host| {
        let rows = host.ok(&ada(), "ps", json!({}))["processes"].take();
        rows.as_array().unwrap().iter().find(|row| row["lineage"] == "w").unwrap()["doing"].clone()
    };
    assert_eq!(doing(&mut host), format!("asks for consent (question {id})"));
    host.ok(&ada(), "approval.deny", json!({ "id": id }));
    assert_eq!(doing(&mut host), "");
}

#[test]
fn nobody_s_answer_is_a_refusal() {
    let mut host = governed();
    let call = host.submit_for(&agent("w"), "file.write", write(), None, 3_600_000);
    host.run();
    host.tick(301_000);
    host.run();
    let error = host.replies[&call].as_ref().unwrap_err();
    assert_code(error, Code::Denied);
    assert!(error.message.contains("in time"), "{error:?}");
    assert_eq!(host.last("approval.answered").actor, "kernel");
}

#[test]
fn a_caller_that_could_not_wait_repeats_its_call_and_finds_the_answer() {
    let mut host = governed();
    let call = host.submit_for(&agent("w"), "file.write", write(), None, 1_000);
    host.run();
    host.tick(2_000);
    host.run();
    let error = host.replies[&call].as_ref().unwrap_err();
    assert!(error.hint.as_ref().unwrap().contains("ostk approvals grant"), "{error:?}");
    let id = question(&mut host);
    host.ok(&ada(), "approval.grant", json!({ "id": id }));
    host.ok(&agent("w"), "file.write", write());
    assert_eq!(host.text("b"), "new\n");
}

#[test]
fn an_agent_grants_nothing() {
    let mut host = governed();
    host.submit(&agent("w"), "file.write", write());
    host.run();
    let id = question(&mut host);
    for verb in ["approval.grant", "approval.deny"] {
        assert_code(&host.err(&agent("w"), verb, json!({ "id": id })), Code::Denied);
    }
}

#[test]
fn an_agent_cannot_loosen_its_mode() {
    let mut host = governed();
    let session = json!({ "name": "w", "exact": true, "client": "test", "mode": "autonomous" });
    host.ok(&agent("w"), "session.start", session);
    let call = host.submit(&agent("w"), "file.write", write());
    host.run();
    assert!(!host.replies.contains_key(&call), "it is still asked about");
}
