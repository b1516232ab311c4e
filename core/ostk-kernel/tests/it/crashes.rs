//! A crash after every record: the run that goes on ends like the run that was never interrupted.

use ostk_agent::{
    AgentState,
    model::{Block, ModelRequest},
};
use ostk_kernel::{CallError, Code};
use serde_json::{Value, json};

use crate::{
    agents::{AGENTFILE, say, tool},
    host::{Files, Host, ada, agent, exit},
};

fn host() -> Host {
    let mut host = Host::new();
    host.put("a.txt", "one\ntwo\nthree\n");
    host.put("b.txt", "b\n");
    host.commands.insert(
        "make".to_owned(),
        Box::new(|files| {
            let count = files.get("made").map_or(0, |(bytes, _)| bytes.len());
            files.insert("made".to_owned(), (vec![b'x'; count + 1], false));
            exit(0, "made\n")
        }),
    );
    host
}

fn editing() -> Host {
    let mut host = host();
    host.script = vec![
        vec![
            tool("t1", "read", json!({ "path": "a.txt" })),
            tool("t2", "read", json!({ "path": "b.txt" })),
            tool("t3", "read", json!({ "path": "missing.txt" })),
        ],
        vec![
            tool("t1", "fs_ops", json!({ "path": "a.txt", "old_str": "two", "new_str": "two two" })),
            tool("t2", "read", json!({ "path": "b.txt" })),
            tool("t3", "Write", json!({ "file_path": "b.txt", "content": "b\nand more\n" })),
            tool("t4", "note", json!({ "text": "half way" })),
        ],
        vec![
            tool(
                "t1",
                "fs_ops",
                json!({ "ops": [
                { "path": "a.txt", "old": "three", "new": "three three" },
                { "path": "c.txt", "content": "c\n" },
                { "op": "delete", "path": "b.txt" } ] }),
            ),
            tool("t2", "fs_ops", json!({ "path": "c.txt", "old_str": "absent", "new_str": "x" })),
            tool("t3", "fs_ops", json!({ "op": "rename", "path": "c.txt", "to": "d.txt" })),
            tool("t4", "lock", json!({ "action": "create", "name": "l" })),
        ],
        vec![say("Done.")],
    ];
    host
}

/// Runs until `records` are durable, one record at a time; with `effects`, whatever may start then happens, but nobody
/// hears of it.
fn run_until(host: &mut Host, records: usize, effects: bool) -> bool {
    host.syncs = false;
    host.submit(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": AGENTFILE }));
    loop {
        while host.durable < host.log.len() {
            if host.durable == records {
                while effects && let Some((_, op)) = host.start(0) {
                    host.carry_out(op);
                }
                return true;
            }
            host.sync_to(host.durable + 1);
        }
        if !host.step(0) {
            return false;
        }
    }
}

/// The conversation without sequence numbers and times in results: a restart adds records of its own.
fn conversation(host: &Host) -> ModelRequest {
    let state = host.kernel.state();
    let mut request = host.conversation(state.agents.get("worker").unwrap_or(&AgentState::default()));
    for block in request.messages.iter_mut().flat_map(|message| &mut message.content) {
        if let Block::ToolResult { text, .. } = block
            && let Ok(Value::Object(mut members)) = serde_json::from_str(text)
        {
            members.retain(|name, _| !["seq", "until", "repeated"].contains(&name.as_str()));
            *text = Value::Object(members).to_string();
        }
    }
    request
}

fn end(host: &mut Host) -> (Files, ModelRequest) {
    host.syncs = true;
    host.run();
    host.files_match_the_fold();
    (host.files.clone(), conversation(host))
}

/// The model calls and tool calls whose receipt is in the log.
fn receipts(host: &Host) -> Vec<String> {
    let steps = host.log.iter().filter(|(draft, _)| draft.event == "agent.step");
    let receipts =
        steps.map(|(draft, _)| &draft.body["step"]).filter_map(|step| match step["step"].as_str()? {
            "model_receipt" => Some(format!("model {}", step["call_no"])),
            "tool_receipt" => Some(format!("tool {} {}", step["call_no"], step["id"])),
            _ => None,
        });
    receipts.collect()
}

#[test]
fn after_a_crash_at_any_record_an_agent_goes_on_as_if_nothing_had_happened() {
    let mut straight = editing();
    let first = straight.log.len();
    run_until(&mut straight, usize::MAX, false);
    let records = straight.log.len();
    let expected = end(&mut straight);
    assert_eq!(expected.0.keys().collect::<Vec<_>>(), ["a.txt", "d.txt"]);
    assert!(records - first > 30, "there is something to interrupt: {records}");
    for crash in first + 3..records {
        for effects in [false, true] {
            let mut host = editing();
            assert!(run_until(&mut host, crash, effects));
            host.crash();
            let found = end(&mut host);
            assert_eq!(found.0, expected.0, "files after a crash at {crash}, effects {effects}");
            assert_eq!(found.1, expected.1, "conversation after a crash at {crash}, effects {effects}");
            let mut all = receipts(&host);
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count, "no receipt twice, crash at {crash}");
            assert_eq!(all.len(), 4 + 11);
            assert!(host.kernel.state().open_writes.is_empty());
        }
    }
}

#[test]
fn after_a_crash_at_any_record_a_command_has_run_at_most_once() {
    let script = || {
        let mut host = host();
        host.script = vec![
            vec![tool("t1", "bash", json!({ "cmd": "make" })), tool("t2", "read", json!({ "path": "made" }))],
            vec![say("Done.")],
        ];
        host
    };
    let mut straight = script();
    let first = straight.log.len();
    run_until(&mut straight, usize::MAX, false);
    let (expected, last) = (conversation(&straight), straight.log.len());
    for crash in first + 3..last {
        for effects in [false, true] {
            let mut host = script();
            assert!(run_until(&mut host, crash, effects));
            let ran = host.done.get("shell").copied().unwrap_or_default();
            host.crash();
            let (files, conversation) = end(&mut host);
            let made = files.get("made").map_or(0, |(bytes, _)| bytes.len());
            assert!(made <= 1, "it ran {made} times, crash at {crash}, {ran} before");
            assert!(host.kernel.state().agents["worker"].is_finished());
            if host.log.iter().all(|(draft, _)| !draft.body.contains_key("problem")) {
                assert_eq!(conversation, expected, "crash at {crash}");
            }
        }
    }
}

#[test]
fn every_acknowledged_write_survives_a_crash_at_any_record() {
    let writes = |host: &mut Host| {
        let mut calls = Vec::new();
        for n in 0..4 {
            for who in ["w", "v"] {
                let args = json!({ "path": format!("{who}{n}"), "content": format!("{who} {n}\n") });
                calls.push((host.submit(&crate::host::agent(who), "file.write", args), format!("{who}{n}")));
            }
        }
        calls
    };
    for crash in 4..40 {
        let mut host = Host::new();
        host.syncs = false;
        let calls = writes(&mut host);
        for step in 0..200 {
            if host.durable >= crash {
                break;
            }
            match host.durable < host.log.len() {
                true if step % 3 == 0 => host.sync_to(host.durable + 1),
                _ if host.step(step) => {}
                _ => host.sync_to(host.durable + 1),
            }
        }
        let acknowledged: Vec<&String> =
            calls.iter().filter(|(call, _)| host.replies.contains_key(call)).map(|(_, path)| path).collect();
        let expected: Vec<Vec<u8>> = acknowledged.iter().map(|path| host.files[*path].0.clone()).collect();
        host.crash();
        host.syncs = true;
        host.run();
        for (path, bytes) in acknowledged.into_iter().zip(expected) {
            assert_eq!(host.files[path].0, bytes, "{path} after a crash at {crash}");
        }
        host.files_match_the_fold();
    }
}

/// A client reads `b.txt` as it was changed outside, and the change is then taken back; no later read is durable when
/// the power fails. Returns what its whole-file write from that view comes to, and the file after it.
fn write_from_a_view(crash: bool) -> (Result<Value, CallError>, String) {
    let (w, mut host) = (agent("w"), host());
    let lines = |first: &str| format!("{first}\n{}", crate::twenty());
    host.put("b.txt", &lines("old"));
    host.ok(&w, "file.read", json!({ "path": "b.txt" }));
    host.syncs = false;
    host.sync_to(host.log.len());
    host.put("b.txt", &lines("outside"));
    let seen = host.ok(&w, "file.read", json!({ "path": "b.txt" }))["content"].clone();
    host.put("b.txt", &lines("old"));
    if crash {
        host.crash();
    }
    host.syncs = true;
    host.run();
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "resume": true }));
    let mine = format!("{}mine\n", seen.as_str().unwrap());
    let reply = host.call(&w, "file.write", json!({ "path": "b.txt", "content": mine }));
    (reply, host.text("b.txt"))
}

#[test]
fn a_write_from_a_view_that_a_crash_took_from_the_log_overwrites_nothing() {
    let (merged, text) = write_from_a_view(false);
    assert_eq!((&merged.unwrap()["files"][0]["merged"], text.starts_with("old\n")), (&json!(true), true));
    let (refused, text) = write_from_a_view(true);
    assert_eq!(refused.unwrap_err().code, Code::Unread, "it reads again, and sees what is there");
    assert!(text.starts_with("old\n") && !text.contains("mine"), "{text}");
}

#[test]
fn what_a_client_has_seen_is_still_known_after_a_stop_in_good_order() {
    let (w, mut host) = (agent("w"), host());
    host.ok(&w, "file.read", json!({ "path": "b.txt" }));
    host.stop();
    host.crash();
    host.run();
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "resume": true }));
    host.ok(&w, "file.write", json!({ "path": "b.txt", "content": "mine\n" }));
    assert_eq!(host.text("b.txt"), "mine\n");
}
