//! Refusals: recorded, explained, and nothing happens.

use ostk_kernel::{Code, TABLE};
use ostk_policy::Documents;
use serde_json::json;

use crate::host::{Host, ada, agent, assert_code};

fn pinned(text: &str) -> Host {
    let mut documents = Documents::default();
    documents.pins.insert("narrow".to_owned(), text.to_owned());
    Host::with(documents)
}

fn session(host: &mut Host, name: &str, pin: &str) {
    host.ok(&ada(), "session.start", json!({ "name": name, "exact": true, "client": "test", "pin": pin }));
}

#[test]
fn a_denial_is_recorded_and_names_rule_resource_and_remedy() {
    let mut host = pinned("deny-path: infra/\n");
    session(&mut host, "w", "narrow");
    host.put("infra/deploy.tf", "a\n");
    let write = json!({ "path": "infra/deploy.tf", "old": "a", "new": "b" });
    let error = host.err(&agent("w"), "file.edit", write);
    assert_code(&error, Code::Denied);
    assert!(error.message.contains("infra/deploy.tf"), "{error:?}");
    assert!(error.message.contains("pins/narrow/pin.caps:1"), "{error:?}");
    assert!(error.hint.as_ref().unwrap().starts_with("ostk why w"), "{error:?}");
    let denied = host.last("gate.denied");
    assert_eq!((denied.actor.as_str(), denied.seq), ("agent:w", error.data["seq"].as_u64().unwrap()));
    assert_eq!(denied.body["request"]["resource"]["name"], "infra/deploy.tf");
    assert_eq!((host.text("infra/deploy.tf").as_str(), host.count("file.write.intent")), ("a\n", 0));
    assert_eq!(host.kernel.state().lineages["w"].denied, 1);
    let why =
        host.ok(&ada(), "why", json!({ "lineage": "w", "verb": "file.edit", "resource": "infra/deploy.tf" }));
    assert_eq!(why["effect"], "deny", "why agrees with the attempt");
}

#[test]
fn a_denial_is_told_only_when_it_is_on_disk() {
    let mut host = pinned("deny-path: infra/\n");
    session(&mut host, "w", "narrow");
    host.syncs = false;
    let call = host.submit(&agent("w"), "file.read", json!({ "path": "infra/x" }));
    host.run();
    assert!(!host.replies.contains_key(&call));
    host.sync_to(host.log.len());
    assert!(host.replies.contains_key(&call));
}

#[test]
fn a_path_outside_the_workspace_is_refused_loudly_and_recorded() {
    let mut host = Host::new();
    for (verb, args) in [
        ("file.read", json!({ "path": "../secret" })),
        ("file.write", json!({ "path": "/etc/passwd", "content": "x" })),
        (
            "file.batch",
            json!({ "ops": [{ "path": "ok", "content": "x" }, { "path": "../x", "content": "x" }] }),
        ),
        ("shell.run", json!({ "command": "true", "cwd": "../.." })),
    ] {
        let before = host.count("gate.denied");
        let error = host.err(&agent("w"), verb, args);
        assert_code(&error, Code::Denied);
        assert!(error.message.contains("workspace boundary"), "{error:?}");
        assert_eq!(host.count("gate.denied"), before + 1, "{verb}");
        assert_eq!(host.last("gate.denied").body["effect"], "boundary");
    }
    assert!(host.last("gate.denied").body["reason"].as_str().unwrap().contains("../.."));
    assert!(host.files.is_empty());
}

#[test]
fn a_pin_that_does_not_exist_allows_nothing() {
    let mut host = Host::new();
    session(&mut host, "w", "missing");
    host.put("a.txt", "a\n");
    for (verb, args) in [
        ("file.read", json!({ "path": "a.txt" })),
        ("file.write", json!({ "path": "b.txt", "content": "x" })),
        ("shell.run", json!({ "command": "true" })),
    ] {
        assert_code(&host.err(&agent("w"), verb, args), Code::Denied);
    }
}

#[test]
fn a_pin_cannot_be_shed_by_starting_a_session_or_an_agent() {
    let mut host = pinned("write: src/\n");
    session(&mut host, "w", "narrow");
    let other = host.ok(&agent("w"), "session.start", json!({ "name": "x" }));
    let other = other["lineage"].as_str().unwrap().to_owned();
    assert_eq!(host.kernel.state().lineages[&other].pin.as_deref(), Some("narrow"));
    host.ok(&agent("w"), "session.start", json!({ "name": "w", "exact": true }));
    assert_eq!(host.kernel.state().lineages["w"].pin.as_deref(), Some("narrow"));
    let taken =
        host.err(&agent("w"), "session.start", json!({ "name": "ada", "exact": true, "pin": "narrow" }));
    assert_code(&taken, Code::Denied);
    let agentfile = "FROM scripted\nPIN wide\nTASK work\n";
    let spawn = host.err(&agent("w"), "agent.spawn", json!({ "name": "child", "agentfile": agentfile }));
    assert_code(&spawn, Code::Denied);
}

fn pin_of(host: &Host, lineage: &str) -> Option<String> {
    host.kernel.state().lineages[lineage].pin.clone()
}

#[test]
fn a_lineage_keeps_its_pin_through_sessions_and_restarts_until_a_person_names_another() {
    let mut host = pinned("write: src/\n");
    session(&mut host, "w", "narrow");
    let again = json!({ "name": "w", "exact": true, "client": "mcp" });
    for starter in [ada(), ostk_kernel::Caller::Kernel] {
        let started = host.ok(&starter, "session.start", again.clone());
        assert_eq!((&started["pin"], pin_of(&host, "w").as_deref()), (&json!("narrow"), Some("narrow")));
        host.ok(&agent("w"), "session.end", json!({}));
    }
    host.ok(&ada(), "session.start", again.clone());
    host.crash();
    host.run();
    host.ok(&ada(), "session.start", again);
    let write = json!({ "path": "doc", "content": "x" });
    assert_code(&host.err(&agent("w"), "file.write", write), Code::Denied);
    session(&mut host, "w", "other");
    assert_eq!(pin_of(&host, "w").as_deref(), Some("other"));
}

#[test]
fn whoever_comes_back_under_a_name_has_the_pin_that_the_name_had_last() {
    let mut host = pinned("write: src/\n");
    let kernel = ostk_kernel::Caller::Kernel;
    let start = |name: &str, exact: bool| json!({ "name": name, "exact": exact, "client": "mcp" });
    let with = |pin: &str| json!({ "name": "w", "client": "mcp", "pin": pin });
    host.ok(&ada(), "session.start", with("narrow"));
    for args in
        [start("w", false), start("w", true), start("w-1", false), start("w-77", true), start("w-2", true)]
    {
        host.crash();
        host.run();
        let started = host.ok(&kernel, "session.start", args.clone());
        assert_eq!(started["pin"], "narrow", "{args}");
    }
    host.ok(&agent("w-9"), "ps", json!({}));
    assert_eq!(pin_of(&host, "w-9").as_deref(), Some("narrow"), "also without a word");
    let other = host.ok(&agent("other"), "session.start", start("w", false));
    assert_eq!(other["pin"], "narrow", "also when another one starts it");
    for (starter, name) in [(kernel.clone(), "wide"), (agent("other"), "wide")] {
        assert_code(&host.err(&starter, "session.start", with(name)), Code::Denied);
    }
    host.ok(&kernel, "session.start", with("narrow"));
    host.ok(&ada(), "session.start", with("wide"));
    assert_eq!(host.ok(&kernel, "session.start", start("w", false))["pin"], "wide", "a person changed it");
    for name in ["ww", "v", "w-x", "gpt-5"] {
        assert!(
            host.ok(&kernel, "session.start", start(name, false))["pin"].is_null(),
            "{name} is another name"
        );
    }
}

#[test]
fn a_name_that_ends_in_a_number_is_no_other_name_with_a_number() {
    let mut host = pinned("write: src/\n");
    let four = json!({ "name": "gpt-4", "client": "mcp", "pin": "narrow" });
    assert_eq!(host.ok(&ada(), "session.start", four)["lineage"], "gpt-4-1");
    let five =
        host.ok(&ostk_kernel::Caller::Kernel, "session.start", json!({ "name": "gpt-5", "client": "mcp" }));
    assert!(five["pin"].is_null());
}

#[test]
fn what_a_lineage_runs_ends_when_a_person_binds_it_otherwise() {
    let mut host = pinned("execute: shell\n");
    host.ok(&agent("w"), "process.start", json!({ "alias": "p", "command": "sh" }));
    session(&mut host, "w", "narrow");
    let write = json!({ "alias": "p", "action": "write", "input": "rm -r src" });
    assert_code(&host.err(&agent("w"), "process.interact", write), Code::NotFound);
    host.ok(&agent("w"), "process.start", json!({ "alias": "p", "command": "sh" }));
    session(&mut host, "w", "narrow");
    host.ok(&agent("w"), "process.interact", json!({ "alias": "p", "action": "read_tail" }));
}

#[test]
fn an_agent_starts_another_agents_lineage_under_the_pin_that_it_has_or_not_at_all() {
    let mut host = pinned("write: src/\n");
    let file = |pin: &str| format!("FROM scripted\nTASK x\n{pin}");
    let life = |host: &mut Host, name: &str, pin: &str| {
        host.script = vec![vec![crate::agents::say("Done.")]];
        host.ok(&ada(), "agent.spawn", json!({ "name": name, "agentfile": file(pin) }));
    };
    life(&mut host, "bound", "PIN narrow\n");
    life(&mut host, "free", "");
    let spawn = |name: &str, pin: &str| json!({ "name": name, "agentfile": file(pin) });
    host.ok(&agent("w"), "ps", json!({}));
    assert_code(&host.err(&agent("w"), "agent.spawn", spawn("bound", "PIN other\n")), Code::Denied);
    assert_code(&host.err(&agent("w"), "agent.spawn", spawn("free", "PIN narrow\n")), Code::Denied);
    let kept = host.ok(&agent("w"), "agent.spawn", spawn("bound", ""));
    assert_eq!((&kept["pin"], pin_of(&host, "bound").as_deref()), (&json!("narrow"), Some("narrow")));
    session(&mut host, "w", "narrow");
    assert_code(&host.err(&agent("w"), "agent.spawn", spawn("free", "")), Code::Denied);
    assert_eq!(pin_of(&host, "free"), None);
    let again = host.ok(&ada(), "agent.spawn", spawn("bound", ""));
    assert_eq!(again["pin"], json!("narrow"), "a person who names no pin changes none");
}

#[test]
fn a_search_and_a_listing_withhold_what_may_not_be_read_and_say_how_much() {
    let mut host = pinned("deny-path: infra/ **/*.pem\n");
    session(&mut host, "w", "narrow");
    for path in ["a.txt", "infra/key", "src/b.rs", "src/tls.pem"] {
        host.put(path, "password\n");
    }
    let found = host.ok(&agent("w"), "search", json!({ "pattern": "password" }));
    assert_eq!(found["matches"], json!([{ "path": "a.txt" }, { "path": "src/b.rs" }]));
    assert_eq!(found["files_withheld"], 2);
    let listed = host.ok(&agent("w"), "dir.list", json!({}));
    assert_eq!(listed, json!({ "entries": ["a.txt", "src/b.rs"], "withheld": 2 }));
    let all = host.ok(&ada(), "search", json!({ "pattern": "password" }));
    assert_eq!((all["matches"].as_array().unwrap().len(), &all["files_withheld"]), (4, &json!(0)));
}

#[test]
fn malformed_documents_keep_the_old_policy_for_readers_and_refuse_writes() {
    let mut host = pinned("write: src/\n");
    host.put("src/a", "a\n");
    session(&mut host, "w", "narrow");
    host.documents.pins.insert("narrow".to_owned(), "nonsense here\n".to_owned());
    assert_code(&host.err(&ada(), "policy.reload", json!({})), Code::Usage);
    assert_eq!(host.count("policy.rejected"), 1);
    host.ok(&agent("w"), "file.read", json!({ "path": "src/a" }));
    let refused = host.err(&agent("w"), "file.write", json!({ "path": "src/b", "content": "b" }));
    assert_code(&refused, Code::Denied);
    let hint = refused.hint.unwrap_or_default();
    let call = hint.rsplit_once("ostk call ").map(|(_, call)| call).expect("a call as the remedy");
    assert!(ostk_kernel::lookup(call).is_some(), "{hint}");
    host.documents.pins.insert("narrow".to_owned(), "write: src/, doc/\n".to_owned());
    host.documents.pins.insert("narrow".to_owned(), "write: src/ doc/\n".to_owned());
    host.ok(&ada(), "policy.reload", json!({}));
    host.ok(&agent("w"), "file.write", json!({ "path": "src/b", "content": "b" }));
    assert_eq!(host.count("policy.loaded"), 2);
}

#[test]
fn calls_that_do_not_fit_into_a_record_are_refused() {
    let mut host = Host::new();
    let long = "x".repeat(100_000);
    for (verb, args) in [
        ("shell.run", json!({ "command": long })),
        ("shell.run", json!({ "command": "\u{1}".repeat(20_000) })),
        ("file.read", json!({ "path": long })),
        ("file.write", json!({ "path": "a", "content": "x", "reason": long })),
        ("nudge", json!({ "lineage": long, "text": "x" })),
    ] {
        assert_code(&host.err(&agent("w"), verb, args), Code::TooLarge);
    }
    assert_code(&host.err(&agent("no\"name"), "ps", json!({})), Code::Usage);
    host.ok(&agent("w"), "file.write", json!({ "path": "a", "content": long }));
}

/// Every call of the table with arguments that fit it ends in something else than a bug.
#[test]
fn every_call_of_the_table_has_code() {
    let samples = json!({
        "agent.signal": { "lineage": "v", "signal": "SIGCONT" },
        "agent.spawn": { "name": "n", "agentfile": "FROM scripted\n" },
        "agent.wait": { "lineage": "nobody" }, "approval.deny": { "id": 1 }, "approval.grant": { "id": 1 },
        "label.clear": { "label": "web", "lineage": "v" }, "label.take": { "label": "web" },
        "model.relay": { "vendor": "anthropic", "model": "m", "method": "POST", "path": "/v1/messages", "body": "e30=" },
        "model.relayed": { "intent": 1 }, "net.closed": { "intent": 1 },
        "net.connect": { "target": "example.org:443", "address": "93.184.215.14" },
        "net.resolve": { "target": "example.org:443" },
        "file.accept": { "token": "c1" }, "file.batch": { "ops": [{ "path": "b", "content": "b" }] },
        "file.blame": { "path": "a" }, "file.delete": { "path": "a" }, "file.log": { "path": "a" },
        "file.edit": { "path": "a", "old": "a", "new": "b" }, "file.read": { "path": "a" },
        "file.rename": { "from": "b", "to": "c" }, "file.undo": { "seq": 1 },
        "file.write": { "path": "d", "content": "d" },
        "hook.after": { "tool": "Edit", "paths": ["a"] }, "hook.before": { "tool": "Edit", "access": "edit", "path": "a" },
        "lock": { "action": "status", "name": "l" }, "note": { "text": "t" }, "nudge": { "lineage": "v", "text": "t" },
        "decide": { "key": "database", "value": "sqlite" }, "hay": { "text": "retry uploads" },
        "work.add": { "title": "t", "priority": "P1", "description": "d", "ac": ["true"] },
        "work.claim": { "id": "1" }, "work.close": { "id": "1" }, "work.edit": { "id": "1", "title": "u" },
        "work.link": { "id": "1", "kind": "related", "other": "1" }, "work.release": { "id": "1" }, "work.show": { "id": "1" },
        "process.interact": { "alias": "p", "action": "read_tail" }, "process.learn": { "command": "true" }, "process.start": { "alias": "p", "command": "true" },
        "trust.revoke": { "key": "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg" }, "trust.rotate": { "old": "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg", "new": "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg", "signature": "00" },
        "trust.sign": { "key": "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg", "by": "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg", "signature": "00" },
        "quarantine.restore": { "item": "w/1" }, "quarantine.took": { "item": "w/1", "path": "a", "what": "hook" },
        "kernel.panic": {}, "lineage.resolve": { "lineage": "v", "resolution": "reap" }, "signal.wait": { "timeout_ms": 0 },
        "pipe.close": { "pipe": "p" }, "pipe.make": { "pipe": "p" }, "pipe.read": { "pipe": "p", "timeout_ms": 0 },
        "pipe.write": { "pipe": "p", "text": "t", "timeout_ms": 0 },
        "saga.compensate": { "id": 1 }, "saga.run": { "steps": [{ "do": "true" }] }, "saga.show": { "id": 1 },
        "session.resumable": { "session": "s1" },
        "timer.remove": { "name": "t" }, "timer.set": { "name": "t", "lineage": "v", "text": "t", "after_ms": 1 },
        "stack.seal": { "name": "s" }, "stack.spawn": { "name": "s", "scope": "src" },
        "search": { "pattern": "x" }, "secret.refused": { "call": "note", "secrets": ["A_KEY"] }, "shell.run": { "command": "true" }, "why": { "lineage": "v", "verb": "ps" },
    });
    let mut host = Host::new();
    host.put("a", "a\n");
    host.commands.insert("true".to_owned(), Box::new(|_| crate::host::exit(0, "")));
    host.ok(&agent("v"), "ps", json!({}));
    for syscall in TABLE {
        let args = samples.get(syscall.name).cloned().unwrap_or_else(|| json!({}));
        let reply = host.call(&agent("w"), syscall.name, args.clone());
        if let Err(error) = reply {
            assert!(!error.message.starts_with("bug"), "{}: {error:?}", syscall.name);
            assert!(!error.message.contains("is missing: "), "{}: {args} {error:?}", syscall.name);
        }
        if syscall.name == "session.end" {
            host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "test" }));
        }
    }
}
