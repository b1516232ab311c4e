//! Signals and lineages: what is held, what waits, who may send, and what a restart does to those who were alive.

use ostk_kernel::{Code, LineageState, Outcome, ProcessSignal};
use serde_json::{Value, json};

use crate::{
    agents::{AGENTFILE, say, tool},
    host::{Host, ada, agent, assert_code, exit},
};

fn state(host: &Host, lineage: &str) -> LineageState {
    host.kernel.state().lineages[lineage].state
}

fn signal(host: &mut Host, lineage: &str, name: &str) -> Value {
    host.ok(&ada(), "agent.signal", json!({ "lineage": lineage, "signal": name }))
}

fn client(host: &mut Host, name: &str) {
    host.ok(&agent(name), "session.start", json!({ "name": name, "exact": true }));
}

/// A native agent that has been answered and has a command under way.
fn busy(host: &mut Host) -> u64 {
    host.script = vec![
        vec![tool("t1", "bash", json!({ "cmd": "work" }))],
        vec![tool("t2", "note", json!({ "text": "n" }))],
        vec![say("Done.")],
    ];
    host.submit(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": AGENTFILE }));
    host.sync_to(host.log.len());
    assert!(host.step(0), "the model answers");
    host.sync_to(host.log.len());
    host.start(0).expect("the command runs").0
}

fn worked() -> Outcome {
    Outcome::Shell { end: Ok(exit(0, "ok")), before: Vec::new(), after: Vec::new() }
}

#[test]
fn a_stopped_agents_command_is_stopped_and_its_result_waits_until_it_goes_on() {
    let mut host = Host::new();
    let command = busy(&mut host);
    assert_eq!(signal(&mut host, "worker", "stop")["state"], "stopped");
    assert_eq!(host.signalled, [(command, ProcessSignal::Stop)]);
    host.finish(command, worked());
    host.run();
    assert_eq!(host.done["model"], 1, "a result that came all the same is kept and starts nothing");
    signal(&mut host, "worker", "SIGCONT");
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
    assert_eq!((host.count("note.added"), host.count("shell.intent")), (1, 1));
}

#[test]
fn a_frozen_agent_finishes_its_command_and_makes_no_other_call() {
    let mut host = Host::new();
    let command = busy(&mut host);
    assert_eq!(signal(&mut host, "worker", "SIGFREEZE")["state"], "frozen");
    assert!(host.signalled.is_empty(), "its command runs on");
    host.finish(command, worked());
    host.run();
    assert_eq!(host.done["model"], 1);
    let misplaced = signal(&mut host, "worker", "SIGUSR1");
    assert_eq!(misplaced["fate"], "queued");
    signal(&mut host, "worker", "SIGRESUME");
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn an_agent_that_is_asked_to_end_finishes_its_command_first_and_is_killed_if_that_takes_too_long() {
    for in_time in [true, false] {
        let mut host = Host::new();
        let command = busy(&mut host);
        assert_eq!(signal(&mut host, "worker", "SIGTERM")["state"], "exiting");
        assert!(host.aborted.is_empty());
        let error = host.err(&ada(), "agent.signal", json!({ "lineage": "worker", "signal": "SIGCONT" }));
        assert_code(&error, Code::NotFound);
        if in_time {
            host.finish(command, worked());
        } else {
            host.tick(29_000);
            assert_eq!(state(&host, "worker"), LineageState::Exiting);
            host.tick(1_001);
            assert_eq!(host.aborted, [command]);
        }
        host.run();
        assert_eq!(state(&host, "worker"), LineageState::Exited);
        assert_eq!(host.done["model"], 1, "it is not asked again");
    }
}

#[test]
fn sigbail_leaves_a_note_and_signals_with_words_reach_the_conversation() {
    let mut host = Host::new();
    let command = busy(&mut host);
    let args = json!({ "lineage": "worker", "signal": "SIGREDIRECT", "text": "mind the tests" });
    host.ok(&ada(), "agent.signal", args);
    signal(&mut host, "worker", "SIGQUOTA");
    let told = format!("{:?}", host.kernel.state().agents["worker"]);
    let args = json!({ "lineage": "worker", "signal": "SIGBAIL", "text": "out of road" });
    host.ok(&ada(), "agent.signal", args);
    assert_eq!(host.last("note.added").actor, "agent:worker");
    host.finish(command, worked());
    host.run();
    assert_eq!(state(&host, "worker"), LineageState::Exited);
    let waiting = told.split_once("nudges: [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    assert_eq!(waiting.split(',').count(), 2, "both wait for the end of the turn: {told}");
}

#[test]
fn signals_that_wait_arrive_once_in_their_order_also_after_a_crash() {
    let mut host = Host::new();
    client(&mut host, "w");
    let mask = json!({ "block": ["SIGUSR1", "SIGTERM"], "handle": ["SIGHUP"] });
    host.ok(&agent("w"), "signal.mask", mask);
    for name in ["SIGUSR1", "SIGTERM", "SIGUSR1"] {
        assert_eq!(signal(&mut host, "w", name)["fate"], "queued");
    }
    assert_eq!(host.kernel.state().lineages["w"].signals.queued.len(), 3);
    host.ok(&agent("w"), "signal.mask", json!({ "default": ["SIGUSR1"] }));
    assert_eq!(host.count("signal.delivered"), 2);
    host.ok(&agent("w"), "signal.mask", json!({ "default": ["SIGTERM"] }));
    assert_eq!(host.count("signal.delivered"), 3);
    assert_eq!(state(&host, "w"), LineageState::Exited);
}

#[test]
fn the_words_of_a_signal_that_waits_over_a_restart_arrive_with_it() {
    let mut host = Host::new();
    client(&mut host, "w");
    signal(&mut host, "w", "SIGSTOP");
    let args = json!({ "lineage": "w", "signal": "SIGQUOTA", "text": "half is gone" });
    assert_eq!(host.ok(&ada(), "agent.signal", args)["fate"], "queued");
    host.crash();
    // It goes on before the machine has looked for the words.
    host.submit(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGCONT" }));
    assert_eq!((state(&host, "w"), host.count("signal.delivered")), (LineageState::Running, 0));
    host.run();
    assert_eq!(host.count("signal.delivered"), 1);
    let nudges = host.ok(&agent("w"), "note", json!({ "text": "t" }))["nudges"].clone();
    assert_eq!(nudges, json!(["kernel: [SIGQUOTA] half is gone"]));
}

#[test]
fn what_waits_behind_a_signal_that_ends_its_target_is_not_delivered() {
    let mut host = Host::new();
    let command = busy(&mut host);
    for name in ["SIGSTOP", "SIGTERM", "SIGFREEZE"] {
        signal(&mut host, "worker", name);
    }
    assert_eq!(signal(&mut host, "worker", "SIGCONT")["state"], "exiting");
    assert_eq!(host.count("signal.delivered"), 1, "the request to end, and nothing after it");
    host.finish(command, worked());
    host.run();
    assert_eq!(state(&host, "worker"), LineageState::Exited);
}

#[test]
fn a_client_that_handles_a_signal_is_woken_and_takes_it_once() {
    let mut host = Host::new();
    client(&mut host, "w");
    host.ok(&agent("w"), "signal.mask", json!({ "handle": ["SIGUSR1", "SIGTERM"] }));
    let wait = host.submit(&agent("w"), "signal.wait", json!({}));
    let args = json!({ "lineage": "w", "signal": "SIGTERM", "text": "please" });
    assert_eq!(host.ok(&ada(), "agent.signal", args)["fate"], "told");
    host.run();
    let taken = host.replies[&wait].clone().unwrap();
    assert_eq!(
        (&taken["signals"][0]["signal"], &taken["signals"][0]["text"]),
        (&json!("SIGTERM"), &json!("please"))
    );
    assert_eq!(state(&host, "w"), LineageState::Running, "what it handles does nothing else");
    signal(&mut host, "w", "SIGUSR1");
    let taken = host.ok(&agent("w"), "signal.wait", json!({}));
    assert_eq!(taken["signals"].as_array().unwrap().len(), 1, "each is taken once");
    let none = host.submit(&agent("w"), "signal.wait", json!({ "timeout_ms": 5 }));
    host.tick(6);
    host.run();
    assert_code(host.replies[&none].as_ref().unwrap_err(), Code::Deadline);
}

#[test]
fn the_operators_signals_cannot_be_kept_out() {
    let mut host = Host::new();
    client(&mut host, "w");
    for name in ["SIGKILL", "SIGSTOP", "SIGCONT", "SIGPOLICY", "SIGRESUME"] {
        for list in ["block", "ignore", "handle"] {
            let error = host.err(&agent("w"), "signal.mask", json!({ list: [name] }));
            assert_code(&error, Code::Denied);
        }
    }
    host.ok(&agent("w"), "signal.mask", json!({ "ignore": ["SIGTRUST"] }));
    signal(&mut host, "w", "SIGTRUST");
    let known = &host.kernel.state().lineages["w"];
    assert!(known.state == LineageState::Running && known.labels.contains("distrusted"), "{known:?}");
    signal(&mut host, "w", "SIGPOLICY");
    assert_eq!(state(&host, "w"), LineageState::Exited);
}

#[test]
fn agents_signal_themselves_and_whom_they_started_and_nobody_else() {
    let mut host = Host::new();
    client(&mut host, "boss");
    client(&mut host, "stranger");
    host.script = vec![vec![tool("t1", "bash", json!({ "cmd": "work" }))]];
    let spawn = json!({ "name": "child", "agentfile": AGENTFILE });
    host.submit(&agent("boss"), "agent.spawn", spawn);
    host.sync_to(host.log.len());
    assert!(host.step(0), "the model answers");
    host.sync_to(host.log.len());
    host.start(0).expect("its command runs");
    assert_eq!(host.kernel.state().lineages["child"].parent.as_deref(), Some("boss"));
    let stop = |lineage: &str| json!({ "lineage": lineage, "signal": "SIGSTOP" });
    for target in ["child", "boss"] {
        let error = host.err(&agent("stranger"), "agent.signal", stop(target));
        assert_code(&error, Code::Denied);
    }
    let error = host.err(&agent("child"), "agent.signal", stop("boss"));
    assert_code(&error, Code::Denied);
    host.ok(&agent("boss"), "agent.signal", stop("child"));
    assert_eq!(state(&host, "child"), LineageState::Stopped);
    let person = host.err(&ada(), "agent.signal", json!({ "lineage": "ada", "signal": "SIGTERM" }));
    assert_code(&person, Code::Usage);
}

#[test]
fn a_restart_revives_reaps_or_asks_as_each_agents_policy_says() {
    let mut host = Host::new();
    host.script = vec![vec![say("Done.")]];
    for (name, revival) in [("goes-on", "revive"), ("ends", "reap"), ("waits", "ask"), ("held", "revive")] {
        let spawn = json!({ "name": name, "agentfile": AGENTFILE, "revival": revival });
        host.submit(&ada(), "agent.spawn", spawn);
    }
    host.submit(&ada(), "agent.signal", json!({ "lineage": "held", "signal": "SIGSTOP" }));
    host.sync_to(host.log.len());
    host.crash();
    host.run();
    assert_eq!(host.kernel.state().ending("goes-on"), Some(&ostk_agent::Outcome::Done));
    assert!(matches!(host.kernel.state().ending("ends"), Some(ostk_agent::Outcome::Cancelled { .. })));
    assert_eq!(state(&host, "waits"), LineageState::Orphaned);
    assert_eq!(state(&host, "held"), LineageState::Stopped, "who was stopped is not started by a restart");
    let early = host.err(&ada(), "lineage.resolve", json!({ "lineage": "held", "resolution": "reap" }));
    assert_code(&early, Code::Conflict);
    host.crash();
    host.run();
    assert_eq!(state(&host, "waits"), LineageState::Orphaned, "it waits over any number of restarts");
    host.ok(&ada(), "lineage.resolve", json!({ "lineage": "waits", "resolution": "revive" }));
    host.run();
    assert_eq!(host.kernel.state().ending("waits"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn sigusr1_says_what_is_open_and_sigusr2_names_a_point_in_the_log() {
    let mut host = Host::new();
    busy(&mut host);
    host.ok(&agent("worker"), "lock", json!({ "name": "tree", "action": "create" }));
    let report = signal(&mut host, "worker", "SIGUSR1");
    assert_eq!(report["open"]["locks"], json!(["tree"]));
    assert_eq!(report["open"]["calls"][0]["call"], "shell.run");
    let point = signal(&mut host, "worker", "SIGUSR2");
    assert!(point["state_hash"].is_string() && point["seq"].is_u64(), "{point}");
}

#[test]
fn a_panic_holds_every_agent_over_a_restart_until_a_person_resumes() {
    let mut host = Host::new();
    let command = busy(&mut host);
    client(&mut host, "w");
    let refused = host.err(&agent("w"), "kernel.panic", json!({}));
    assert_code(&refused, Code::Denied);
    host.ok(&ada(), "kernel.panic", json!({ "reason": "look first" }));
    assert_eq!(host.signalled, [(command, ProcessSignal::Stop)]);
    let held = host.submit(&agent("w"), "note", json!({ "text": "n" }));
    host.run();
    assert!(!host.replies.contains_key(&held));
    assert_eq!(host.ok(&ada(), "status", json!({}))["panic"]["reason"], "look first", "people are not held");
    host.crash();
    host.run();
    assert_eq!(
        (host.done["model"], host.count("note.added")),
        (1, 0),
        "nothing starts after a restart either"
    );
    host.commands.insert("work".to_owned(), Box::new(|_| exit(0, "again")));
    host.ok(&ada(), "kernel.resume", json!({}));
    host.run();
    assert_eq!(host.kernel.state().ending("worker"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn a_killed_clients_write_is_not_tried_again_when_its_file_changed_meanwhile() {
    let mut host = Host::new();
    client(&mut host, "w");
    host.put("a.txt", "one\ntwo\n");
    let write = host.submit(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "one", "new": "1" }));
    while host.count("file.write.intent") == 0 {
        assert!(host.step(0), "the write begins");
    }
    host.before_place.push_back(("a.txt".to_owned(), b"one\nby hand\n".to_vec()));
    signal(&mut host, "w", "SIGKILL");
    host.run();
    assert_eq!(host.count("file.write.intent"), 1);
    assert!(host.replies[&write].as_ref().unwrap_err().message.contains("nothing was changed"));
    assert_eq!(host.text("a.txt"), "one\nby hand\n");
}

#[test]
fn an_agent_whose_spawn_a_crash_cut_in_half_has_ended_and_can_be_started_again() {
    let mut host = Host::new();
    host.script = vec![vec![say("Done.")]];
    let spawn = json!({ "name": "half", "agentfile": AGENTFILE, "revival": "reap" });
    host.submit(&ada(), "agent.spawn", spawn.clone());
    let started = host.log.iter().rposition(|(draft, _)| draft.event == "session.started").unwrap();
    host.sync_to(started + 1);
    host.crash();
    host.run();
    assert_eq!(state(&host, "half"), LineageState::Exited);
    host.ok(&ada(), "agent.spawn", spawn);
    host.run();
    assert_eq!(host.kernel.state().ending("half"), Some(&ostk_agent::Outcome::Done));
}

#[test]
fn an_agent_that_is_being_reaped_when_the_daemon_dies_is_ended_by_the_next() {
    let mut host = Host::new();
    let spawn = json!({ "name": "worker", "agentfile": AGENTFILE, "revival": "reap" });
    host.submit(&ada(), "agent.spawn", spawn);
    host.sync_to(host.log.len());
    host.crash();
    let resolved = host.log.iter().rposition(|(draft, _)| draft.event == "lineage.resolved").unwrap();
    host.sync_to(resolved + 1);
    host.crash();
    host.run();
    assert_eq!(state(&host, "worker"), LineageState::Exited);
    assert!(matches!(host.kernel.state().ending("worker"), Some(ostk_agent::Outcome::Cancelled { .. })));
}

#[test]
fn an_agent_that_is_being_killed_when_the_daemon_dies_is_ended_by_the_next() {
    for before in [None, Some("SIGSTOP")] {
        let mut host = Host::new();
        busy(&mut host);
        if let Some(name) = before {
            signal(&mut host, "worker", name);
        }
        host.submit(&ada(), "agent.signal", json!({ "lineage": "worker", "signal": "SIGKILL" }));
        let killed = host.log.iter().rposition(|(draft, _)| draft.event == "agent.signalled").unwrap();
        host.sync_to(killed + 1);
        host.crash();
        host.run();
        assert_eq!(state(&host, "worker"), LineageState::Exited, "{before:?}");
    }
}

#[test]
fn a_stopped_agent_that_is_continued_in_a_panic_goes_on_with_everybody_else() {
    let mut host = Host::new();
    let command = busy(&mut host);
    signal(&mut host, "worker", "SIGSTOP");
    host.ok(&ada(), "kernel.panic", json!({ "reason": "look first" }));
    signal(&mut host, "worker", "SIGCONT");
    assert!(!host.signalled.contains(&(command, ProcessSignal::Continue)), "{:?}", host.signalled);
    host.ok(&ada(), "kernel.resume", json!({}));
    assert_eq!(host.signalled.last(), Some(&(command, ProcessSignal::Continue)));
}

#[test]
fn an_agent_begins_nothing_before_a_signal_to_end_whose_words_are_being_loaded() {
    let mut host = Host::new();
    host.submit(&ada(), "agent.spawn", json!({ "name": "n", "agentfile": crate::agents::AGENTFILE }));
    host.submit(&ada(), "agent.signal", json!({ "lineage": "n", "signal": "SIGSTOP" }));
    let cancel = json!({ "lineage": "n", "signal": "SIGCANCEL", "text": "enough" });
    host.submit(&ada(), "agent.signal", cancel);
    host.sync_to(host.log.len());
    host.crash();
    host.submit(&ada(), "agent.signal", json!({ "lineage": "n", "signal": "SIGCONT" }));
    host.run();
    assert_eq!((state(&host, "n"), host.done.get("model")), (LineageState::Exited, None));
}
