//! Native agents: a life from spawn to end, signals, and tools in their order.

use ostk_agent::model::Block;
use ostk_kernel::{Code, ModelFailure, Outcome};
use serde_json::{Value, json};

use crate::host::{Host, ada, agent, assert_code, exit};

pub(crate) const AGENTFILE: &str = "FROM scripted\nTASK Change the files.\n";

pub(crate) fn tool(id: &str, name: &str, input: Value) -> Block {
    Block::ToolUse { id: id.to_owned(), name: name.to_owned(), input }
}

pub(crate) fn say(text: &str) -> Block {
    Block::Text { text: text.to_owned() }
}

fn spawn(host: &mut Host, agentfile: &str) -> u64 {
    host.submit(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": agentfile }))
}

#[test]
fn an_agent_runs_its_tools_in_order_and_finishes() {
    let mut host = Host::new();
    host.put("a.txt", "1\n");
    host.script = vec![
        vec![
            say("I look and edit."),
            tool("t1", "read", json!({ "path": "a.txt" })),
            tool("t2", "fs_ops", json!({ "path": "a.txt", "old_str": "1", "new_str": "2" })),
            tool("t3", "fs_ops", json!({ "path": "a.txt", "old_str": "2", "new_str": "3" })),
            tool("t4", "read", json!({ "path": "nothing" })),
        ],
        vec![say("Done.")],
    ];
    spawn(&mut host, AGENTFILE);
    host.run();
    assert_eq!(host.text("a.txt"), "3\n", "the second edit came after the first");
    let state = host.kernel.state().clone();
    assert_eq!(state.ending("worker"), Some(&ostk_agent::Outcome::Done));
    assert_eq!(state.agents["worker"].spent().turns, 2);
    let told = format!("{:?}", host.conversation(&state.agents["worker"]));
    assert!(told.contains("a.txt gen=2") && told.contains("does not exist"), "{told}");
    assert_eq!(host.last("file.write.intent").actor, "agent:worker");
    let wait = host.ok(&ada(), "agent.wait", json!({ "lineage": "worker" }));
    assert_eq!((&wait["state"], &wait["turns"]), (&json!("exited"), &json!(2)));
}

#[test]
fn tool_calls_without_a_name_of_their_own_all_get_an_answer() {
    let mut host = Host::new();
    let read = || tool("", "read", json!({ "path": "a.txt" }));
    host.put("a.txt", "1\n");
    host.script =
        vec![vec![read(), read(), tool("call-2", "note", json!({ "text": "n" }))], vec![say("Done.")]];
    spawn(&mut host, AGENTFILE);
    host.run();
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn sigstop_holds_an_agent_and_sigcont_releases_it() {
    let mut host = Host::new();
    host.script = vec![vec![tool("t1", "note", json!({ "text": "n" }))], vec![say("Done.")]];
    spawn(&mut host, AGENTFILE);
    host.sync_to(host.log.len());
    host.submit(&ada(), "agent.signal", json!({ "lineage": "worker", "signal": "SIGSTOP" }));
    host.run();
    assert_eq!(host.done["model"], 1, "the call under way ends and is recorded");
    assert_eq!(host.count("note.added"), 0, "its tools are not called");
    host.crash();
    host.run();
    assert_eq!(host.count("note.added"), 0, "also not after a restart");
    host.ok(&ada(), "agent.signal", json!({ "lineage": "worker", "signal": "SIGCONT" }));
    host.run();
    assert_eq!(host.count("note.added"), 1);
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn sigkill_ends_an_agent_frees_its_place_and_its_late_results_are_ignored() {
    let mut host = Host::new();
    host.script = vec![vec![tool("t1", "bash", json!({ "cmd": "sleep" }))], vec![say("Done.")]];
    spawn(&mut host, AGENTFILE);
    host.sync_to(host.log.len());
    assert!(host.step(0), "the model answers");
    host.sync_to(host.log.len());
    let (command, _) = host.start(0).expect("the command runs");
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "worker" }));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "worker", "signal": "SIGKILL" }));
    assert_eq!(host.aborted, [command]);
    assert_eq!(host.replies[&wait].as_ref().unwrap()["outcome"]["kind"], "cancelled");
    spawn(&mut host, AGENTFILE);
    host.sync_to(host.log.len());
    assert!(host.step(0), "the model answers the second life, with the same call");
    let late = Outcome::Shell { end: Ok(exit(137, "late")), before: Vec::new(), after: Vec::new() };
    host.finish(command, late);
    host.commands.insert("sleep".to_owned(), Box::new(|_| exit(0, "own")));
    host.run();
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
    let told = format!("{:?}", host.conversation(&host.kernel.state().agents["worker"]));
    assert!(told.contains("own") && !told.contains("late"), "{told}");
    assert_eq!(host.done["shell"], 1, "the second life ran its own command");
    assert!(host.kernel.state().open_shells.is_empty());
    assert_code(
        &host.err(&ada(), "agent.signal", json!({ "lineage": "worker", "signal": "SIGKILL" })),
        Code::NotFound,
    );
}

#[test]
fn a_failed_model_call_is_tried_again_after_a_wait() {
    let mut host = Host::new();
    host.script = vec![vec![say("Done.")]];
    spawn(&mut host, AGENTFILE);
    host.sync_to(host.log.len());
    let (model, _) = host.start(0).unwrap();
    let failure = ModelFailure {
        message: "529".repeat(9_000),
        retryable: true,
        retry_after_ms: None,
        unsettled: false,
    };
    host.finish(model, Outcome::Model(Err(failure)));
    host.run();
    assert_eq!(host.kernel.state().ending("worker"), None);
    assert!(host.tick(1).is_some(), "it asks to be woken");
    host.tick(1_250);
    host.run();
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn a_message_becomes_part_of_an_agents_conversation() {
    let mut host = Host::new();
    host.script = vec![vec![tool("t1", "note", json!({ "text": "n" }))], vec![say("Done.")]];
    spawn(&mut host, AGENTFILE);
    host.sync_to(host.log.len());
    host.submit(&ada(), "nudge", json!({ "lineage": "worker", "text": "mind the tests" }));
    host.run();
    let agent = &host.kernel.state().agents["worker"];
    assert!(format!("{:?}", host.conversation(agent)).contains("mind the tests"));
}

#[test]
fn an_agentfiles_grants_and_path_limits_bind_it_and_its_children() {
    let mut host = Host::new();
    let child = "FROM scripted\nTASK x\nTOOL shell\n";
    host.script = vec![
        vec![
            tool("t1", "fs_ops", json!({ "path": "doc/a", "content": "x" })),
            tool("t2", "fs_ops", json!({ "path": "src/a", "content": "x" })),
            tool("t3", "bash", json!({ "cmd": "true" })),
        ],
        vec![say("Done.")],
    ];
    let file = "FROM scripted\nTASK x\nTOOL file:read\nTOOL file:write\nLIMIT write-path src\n";
    spawn(&mut host, file);
    host.run();
    assert_eq!(host.files.keys().collect::<Vec<_>>(), ["src/a"]);
    assert_eq!(host.count("gate.denied"), 2);
    host.script = vec![vec![tool("t1", "bash", json!({ "cmd": "wait" }))]];
    spawn(&mut host, file);
    let spawn = host.submit(&agent("worker"), "agent.spawn", json!({ "name": "child", "agentfile": child }));
    host.syncs = false;
    host.sync_to(host.log.len());
    assert_code(host.replies[&spawn].as_ref().unwrap_err(), Code::Denied);
}

#[test]
fn a_fresh_context_reads_files_in_full_again() {
    let mut host = Host::new();
    host.put("a.txt", "1\n");
    host.script = vec![vec![tool("t1", "read", json!({ "path": "a.txt" }))], vec![say("Done.")]];
    for _ in 0..2 {
        spawn(&mut host, AGENTFILE);
        host.run();
        let agent = &host.kernel.state().agents["worker"];
        let told = format!("{:?}", host.conversation(agent));
        assert!(told.contains("\"1\\n\"") && !told.contains("[304]"), "{told}");
    }
}

/// The refusal of a spawn from this Agentfile.
fn refusal(agentfile: &str) -> String {
    let mut host = Host::new();
    let error = host.err(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": agentfile }));
    assert_code(&error, Code::Usage);
    assert!(!host.kernel.state().lineages.contains_key("worker"), "nothing was recorded");
    error.message
}

#[test]
fn a_directive_that_is_not_carried_out_is_refused_with_its_line_and_a_remedy() {
    for (line, remedy) in [
        ("FROM-PROFILE base", "`ostk run FILE` loads it"),
        ("PROMPT file://house.md", "`ostk run FILE` loads it"),
        ("SKILL review", "`ostk run FILE` loads it"),
        ("LIMIT verb git", "deny-verb"),
        ("INTERRUPT needle.closed", "leave it out"),
        ("BETA fast-mode", "leave it out"),
        ("ISOLATION docker", "ISOLATION nono"),
        ("BOOT ostk boot", "TASK"),
        ("ATTEST gpg", "leave it out"),
    ] {
        let refused = refusal(&format!("FROM scripted\nTASK x\n{line}\n"));
        assert!(refused.starts_with("line 3: ") && refused.contains(remedy), "{line}: {refused}");
    }
    let all = refusal("FROM auto\nTASK file://task.md\nBOOT make\n");
    assert_eq!(all.lines().count(), 3, "all are named at once: {all}");
    let (mut host, carried) = (Host::new(), "ISOLATION nono\nLIMIT revival_policy revive\n");
    host.script = vec![vec![say("Done.")]];
    spawn(&mut host, &format!("{AGENTFILE}{carried}"));
    host.run();
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn a_model_that_nobody_serves_and_a_budget_that_cannot_be_kept_are_refused_at_once() {
    let unknown = refusal("# An agent.\nFROM nonsense\nTASK x\n");
    assert_eq!(unknown, "line 2: FROM: nobody serves nonsense");
    let unpriced = refusal("FROM unpriced\nTASK x\nLIMIT budget_usd 2\n");
    assert!(
        unpriced.starts_with("line 3: LIMIT budget_usd: the price of unpriced is not known"),
        "{unpriced}"
    );
    assert!(unpriced.contains("LIMIT tokens"), "{unpriced}");
}

#[test]
fn an_agents_context_window_is_its_models_unless_its_agentfile_or_the_call_says_otherwise() {
    let window = |agentfile: &str, args: Value| {
        let mut host = Host::new();
        host.script = vec![vec![say("Done.")]];
        let mut call = json!({ "name": "worker", "agentfile": agentfile });
        call.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
        host.ok(&ada(), "agent.spawn", call)["context_window"].as_u64().unwrap()
    };
    let limited = "FROM unpriced\nTASK x\nLIMIT context_window 8192\n";
    assert_eq!(window("FROM scripted\nTASK x\n", json!({})), 200_000);
    assert_eq!(window("FROM unpriced\nTASK x\n", json!({})), 32_768);
    assert_eq!(window(limited, json!({})), 8_192);
    assert_eq!(window(limited, json!({ "context_window": 1_000 })), 1_000);
}
