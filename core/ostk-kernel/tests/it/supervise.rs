//! Supervision: who is started again, when, with whom, and when it is enough.

use std::{cell::Cell, rc::Rc};

use ostk_agent::Outcome as Ending;
use ostk_kernel::{Code, LineageState, ModelFailure, Op, OpId, Outcome, Phase};
use serde_json::{Value, json};

use crate::{
    agents::{say, tool},
    host::{Host, ada, agent, assert_code, exit},
};

fn spawn(host: &mut Host, name: &str, directives: &str) {
    let agentfile = format!("FROM scripted\nTASK Work.\n{directives}");
    host.submit(&ada(), "agent.spawn", json!({ "name": name, "agentfile": agentfile }));
    host.sync_to(host.log.len());
}

/// Takes the model call of this agent off the list: it is under way.
fn calling(host: &mut Host, name: &str) -> OpId {
    host.sync_to(host.log.len());
    let of = |op: &Op| matches!(op, Op::Model { agent, .. } if format!("{agent:?}").contains(&format!("lineage: {name:?}")));
    let at = host.ready().iter().position(|at| of(&host.parked[*at].1)).expect("it calls its model");
    host.start(at).unwrap().0
}

/// The model call of this agent fails for good, and the agent with it.
fn fail(host: &mut Host, name: &str) {
    let call = calling(host, name);
    let failure = ModelFailure {
        message: "broken".to_owned(),
        retryable: false,
        retry_after_ms: None,
        unsettled: false,
    };
    host.finish(call, Outcome::Model(Err(failure)));
    host.sync_to(host.log.len());
}

fn state(host: &Host, name: &str) -> LineageState {
    host.kernel.state().lineages[name].state
}

fn generation(host: &Host, name: &str) -> u64 {
    host.kernel.state().lineages[name].generation
}

fn row(host: &mut Host, name: &str) -> Value {
    let rows = host.ok(&ada(), "ps", json!({}))["processes"].take();
    rows.as_array().unwrap().iter().find(|row| row["lineage"] == name).unwrap().clone()
}

#[test]
fn an_agent_that_fails_is_started_again_after_a_wait_and_gets_none_of_its_budget_back() {
    let mut host = Host::new();
    host.script = vec![vec![tool("t1", "note", json!({ "text": "n" }))], vec![say("Done.")]];
    spawn(&mut host, "w", "RESTART one_for_one\nLIMIT turns 9\n");
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "w" }));
    assert!(host.step(0), "the model answers once");
    fail(&mut host, "w");
    assert_eq!(state(&host, "w"), LineageState::Exited);
    let waits = row(&mut host, "w");
    assert_eq!((&waits["doing"], &waits["restarts"]), (&json!("starts again in 1s: broken"), &json!(0)));
    host.tick(900);
    assert_eq!(host.count("supervise.restarted"), 0);
    assert!(host.tick(200).is_some());
    host.run();
    assert_eq!((host.kernel.state().ending("w"), generation(&host, "w")), (Some(&Ending::Done), 2));
    let agent = host.kernel.state().agents["w"].clone();
    assert_eq!(agent.spent().turns, 3, "one before, two after");
    let told = format!("{:?}", host.conversation(&agent));
    assert!(told.contains("started again (restart 1)") && told.contains("broken"), "{told}");
    assert_eq!(host.count("note.added"), 2, "another session makes its own calls");
    assert_eq!(host.replies[&wait].as_ref().unwrap()["restarts"], 1, "who waited was not told too early");
    assert_eq!(row(&mut host, "w")["restarts"], 1);
}

#[test]
fn an_agent_that_fails_too_often_stays_ended_and_its_parent_and_the_operator_are_told() {
    let mut host = Host::new();
    host.ok(&agent("boss"), "ps", json!({}));
    let file = "FROM scripted\nTASK Work.\nRESTART one_for_one 2/300\n";
    host.submit(&agent("boss"), "agent.spawn", json!({ "name": "w", "agentfile": file }));
    for (wait, crash) in [(1_000, true), (2_000, false)] {
        fail(&mut host, "w");
        if crash {
            host.crash();
            host.sync_to(host.log.len());
        }
        host.tick(wait - 50);
        assert_eq!(state(&host, "w"), LineageState::Exited);
        host.tick(100);
        assert_eq!(state(&host, "w"), LineageState::Running);
    }
    fail(&mut host, "w");
    host.tick(3_600_000);
    assert_eq!((state(&host, "w"), host.count("supervise.restarted")), (LineageState::Exited, 2));
    host.ok(&ada(), "session.start", json!({ "name": "boss", "exact": true, "client": "test" }));
    let told = host.ok(&agent("boss"), "ps", json!({}))["nudges"].to_string();
    assert!(told.contains("w is not started again: started again 2 times within 300 s"), "{told}");
    assert_eq!(host.count("note.added"), 1);
    let wait = host.ok(&ada(), "agent.wait", json!({ "lineage": "w" }));
    assert_eq!(wait["outcome"]["kind"], "failed");
}

#[test]
fn restarts_that_are_long_ago_do_not_count() {
    let mut host = Host::new();
    spawn(&mut host, "w", "RESTART one_for_one 1/60\n");
    for _ in 0..4 {
        fail(&mut host, "w");
        host.tick(61_000);
        assert_eq!(state(&host, "w"), LineageState::Running);
    }
}

#[test]
fn a_strategy_says_who_ends_and_starts_with_an_agent_that_fails() {
    for (strategy, again) in
        [("one_for_one", [1, 2, 1]), ("rest_for_one", [1, 2, 2]), ("one_for_all", [2, 2, 2])]
    {
        let mut host = Host::new();
        for name in ["a", "b", "c"] {
            spawn(&mut host, name, &format!("RESTART {strategy}\n"));
        }
        spawn(&mut host, "d", "RESTART simple_one_for_one\n");
        fail(&mut host, "b");
        host.tick(1_100);
        let generations = ["a", "b", "c"].map(|name| generation(&host, name));
        assert_eq!(generations, again, "{strategy}");
        assert_eq!(generation(&host, "d"), 1, "another strategy is another group");
        host.script = vec![vec![say("Done.")]];
        host.run();
        for name in ["a", "b", "c", "d"] {
            assert_eq!(host.kernel.state().ending(name), Some(&Ending::Done), "{strategy} {name}");
        }
    }
}

#[test]
fn a_lifetime_says_after_which_ends_an_agent_is_started_again() {
    for (lifetime, done, failed) in
        [("permanent", true, true), ("transient", false, true), ("temporary", false, false)]
    {
        let directives = format!("RESTART one_for_all\nLIFETIME {lifetime}\n");
        let mut host = Host::new();
        host.script = vec![vec![say("Done.")]];
        spawn(&mut host, "w", &directives);
        host.run();
        host.tick(1_100);
        assert_eq!(state(&host, "w") == LineageState::Running, done, "{lifetime}, done");
        let mut host = Host::new();
        spawn(&mut host, "w", &directives);
        fail(&mut host, "w");
        host.tick(1_100);
        assert_eq!(state(&host, "w") == LineageState::Running, failed, "{lifetime}, failed");
    }
}

#[test]
fn whoever_is_ended_or_has_used_up_its_budget_is_not_started_again() {
    for name in ["SIGTERM", "SIGKILL", "SIGPOLICY"] {
        let mut host = Host::new();
        spawn(&mut host, "w", "RESTART one_for_one\nLIFETIME permanent\n");
        calling(&mut host, "w");
        host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": name }));
        host.tick(3_600_000);
        assert_eq!(state(&host, "w"), LineageState::Exited, "{name}");
    }
    let mut host = Host::new();
    host.script = vec![vec![tool("t1", "note", json!({ "text": "n" }))]; 3];
    spawn(&mut host, "w", "RESTART one_for_one\nLIFETIME permanent\nLIMIT turns 1\n");
    host.run();
    host.tick(3_600_000);
    assert_eq!(state(&host, "w"), LineageState::Exited);
    assert_eq!(host.count("supervise.fell"), 0);
}

#[test]
fn a_restart_that_is_due_can_be_called_off() {
    let mut host = Host::new();
    spawn(&mut host, "w", "RESTART one_for_one\n");
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "w" }));
    fail(&mut host, "w");
    assert!(!host.replies.contains_key(&wait));
    let answer = host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGTERM" }));
    assert_eq!((&answer["fate"], &answer["state"]), (&json!("done"), &json!("exited")));
    assert!(host.replies.contains_key(&wait), "nobody waits for it any more");
    host.tick(3_600_000);
    assert_eq!(state(&host, "w"), LineageState::Exited);
    let again = host.err(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGTERM" }));
    assert_code(&again, Code::NotFound);
}

#[test]
fn an_agent_whose_check_fails_so_often_in_a_row_hangs_and_is_started_again() {
    let mut host = Host::new();
    let well = Rc::new(Cell::new(true));
    let seen = Rc::clone(&well);
    host.commands.insert("probe".to_owned(), Box::new(move |_| exit(i32::from(!seen.get()), "")));
    spawn(&mut host, "w", "RESTART one_for_one\nHEALTHCHECK --interval=10s --retries=2 CMD probe\n");
    let call = calling(&mut host, "w");
    host.tick(1);
    for (good, failures) in [(true, 0), (false, 1), (true, 0), (false, 1)] {
        well.set(good);
        host.tick(10_000);
        host.run();
        assert_eq!(host.kernel.state().supervised["w"].failed_checks, failures);
    }
    assert_eq!((host.done["shell"], state(&host, "w")), (4, LineageState::Running));
    assert_eq!(host.last("shell.intent").actor, "agent:w", "it is a command of the agent");
    host.tick(10_000);
    host.run();
    assert_eq!((host.aborted.as_slice(), state(&host, "w")), (&[call][..], LineageState::Exited));
    let fell = host.kernel.state().supervised["w"].fell.clone().unwrap();
    assert_eq!(fell.reason, "its health check failed 2 times in a row");
    host.script = vec![vec![say("Done.")]];
    host.tick(1_100);
    host.run();
    assert_eq!(host.kernel.state().ending("w"), Some(&Ending::Done));
    assert!(host.tick(10_000).is_none(), "nobody asks any more");
}

#[test]
fn a_check_waits_while_its_agent_is_stopped() {
    let mut host = Host::new();
    host.commands.insert("probe".to_owned(), Box::new(|_| exit(1, "")));
    spawn(&mut host, "w", "RESTART one_for_one\nHEALTHCHECK --interval=10s CMD probe\n");
    calling(&mut host, "w");
    host.tick(1);
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGSTOP" }));
    host.tick(3_600_000);
    host.run();
    assert!(!host.done.contains_key("shell"));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGCONT" }));
    host.tick(1);
    host.tick(10_000);
    host.run();
    assert_eq!(host.done["shell"], 1);
}

#[test]
fn a_check_without_a_shell_is_refused_when_the_agent_is_started() {
    let mut host = Host::new();
    let file = "FROM scripted\nTASK x\nTOOL file:read\nRESTART one_for_one\nHEALTHCHECK true\n";
    let refused = host.err(&ada(), "agent.spawn", json!({ "name": "w", "agentfile": file }));
    assert_code(&refused, Code::Usage);
    assert!(refused.message.contains("line 5: HEALTHCHECK: runs as a command"), "{refused:?}");
}

const COMMAND: &str = "client -p work";
const RESUME: &str = "client --resume {session} -p work";

fn foreign(host: &mut Host, directives: &str) {
    let agentfile = format!("FROM auto\n{directives}");
    let call = json!({ "name": "w", "agentfile": agentfile, "command": COMMAND, "resume": RESUME });
    host.submit(&ada(), "agent.spawn", call);
    host.sync_to(host.log.len());
}

/// The command that runs now, taken off the list.
fn running(host: &mut Host) -> (OpId, String) {
    host.sync_to(host.log.len());
    let is_command = |at: &usize| matches!(&host.parked[*at].1, Op::Shell(_));
    let at = host.ready().iter().position(is_command).expect("a command runs");
    match host.start(at).unwrap() {
        (id, Op::Shell(command)) => (id, command.line),
        other => panic!("{other:?}"),
    }
}

fn ends(host: &mut Host, id: OpId, code: i32) {
    let end = Ok(exit(code, "said"));
    host.finish(id, Outcome::Shell { end, before: Vec::new(), after: Vec::new() });
    host.run();
}

#[test]
fn a_command_that_fails_is_started_again_and_takes_up_the_session_that_its_client_named() {
    let mut host = Host::new();
    foreign(&mut host, "RESTART one_for_one\n");
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "w" }));
    let (id, line) = running(&mut host);
    assert_eq!((line.as_str(), host.last("shell.intent").actor.as_str()), (COMMAND, "agent:w"));
    ends(&mut host, id, 1);
    host.tick(1_100);
    let (id, line) = running(&mut host);
    assert_eq!(line, COMMAND, "nobody has named a session");
    let named = host.ok(&agent("w"), "session.resumable", json!({ "session": "3f2a-77" }));
    assert_eq!(named["kept"], true);
    host.ok(&agent("w"), "session.resumable", json!({ "session": "3f2a-77" }));
    assert_eq!(host.count("session.identified"), 1, "the same name again is no news");
    ends(&mut host, id, 1);
    host.tick(2_100);
    let (id, line) = running(&mut host);
    assert_eq!(line, "client --resume 3f2a-77 -p work");
    assert!(!host.replies.contains_key(&wait));
    ends(&mut host, id, 0);
    host.tick(3_600_000);
    assert_eq!(state(&host, "w"), LineageState::Exited);
    let end = host.replies[&wait].as_ref().unwrap();
    assert_eq!((&end["fell"]["exit"], &end["restarts"]), (&json!(0), &json!(2)));
}

#[test]
fn the_name_of_a_session_cannot_be_more_than_a_word_of_the_command_line() {
    let mut host = Host::new();
    foreign(&mut host, "RESTART one_for_one\n");
    running(&mut host);
    for session in ["", "a b", "$(rm -r src)", "a'b", "../x"] {
        let refused = host.err(&agent("w"), "session.resumable", json!({ "session": session }));
        assert_code(&refused, Code::Usage);
    }
    let other = host.ok(&agent("other"), "session.resumable", json!({ "session": "s" }));
    assert_eq!(other["kept"], false, "nobody starts it again");
}

#[test]
fn a_command_that_ended_with_its_daemon_is_started_by_the_next_without_a_count() {
    let mut host = Host::new();
    foreign(&mut host, "RESTART one_for_one 1/300\n");
    for _ in 0..3 {
        let (_, line) = running(&mut host);
        assert_eq!(line, COMMAND);
        host.kill();
        host.commands.insert(COMMAND.to_owned(), Box::new(|_| exit(0, "")));
        // The texts of its commands come from the packs.
        host.sync_to(host.log.len());
        while host.parked.iter().any(|(_, op, _)| !matches!(op, Op::Shell(_))) {
            host.sync_to(host.log.len());
            let at = host.ready().iter().position(|at| !matches!(host.parked[*at].1, Op::Shell(_)));
            host.step(at.expect("something else to do first"));
        }
        host.tick(1);
    }
    assert_eq!(host.count("supervise.restarted"), 3);
    assert!(host.kernel.state().supervised["w"].recent.is_empty());
    host.run();
    assert_eq!(host.kernel.state().supervised["w"].phase, Phase::Over);
}

#[test]
fn a_command_that_is_killed_stays_ended_and_one_that_hangs_is_killed_and_started_again() {
    let mut host = Host::new();
    foreign(&mut host, "RESTART one_for_one\n");
    let (id, _) = running(&mut host);
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGKILL" }));
    assert_eq!(host.aborted, [id]);
    ends(&mut host, id, 137);
    host.tick(3_600_000);
    assert_eq!((state(&host, "w"), host.count("supervise.restarted")), (LineageState::Exited, 0));

    let mut host = Host::new();
    host.commands.insert("probe".to_owned(), Box::new(|_| exit(1, "")));
    foreign(&mut host, "RESTART one_for_one\nHEALTHCHECK --interval=10s --retries=1 CMD probe\n");
    let (id, _) = running(&mut host);
    host.tick(1);
    host.tick(10_000);
    host.run();
    assert_eq!(host.aborted, [id]);
    host.tick(60_000);
    assert_eq!(host.count("supervise.restarted"), 0, "the old one has not ended yet");
    ends(&mut host, id, 137);
    host.tick(1_100);
    assert_eq!(running(&mut host).1, COMMAND);
    let fell = host.kernel.state().supervised["w"].fell.clone().unwrap();
    assert_eq!((fell.reason.as_str(), fell.exit), ("its health check failed 1 times in a row", Some(137)));
}

#[test]
fn a_command_that_has_ended_its_session_can_still_be_ended() {
    let mut host = Host::new();
    foreign(&mut host, "RESTART one_for_one\nLIFETIME permanent\n");
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "w" }));
    let (id, _) = running(&mut host);
    host.ok(&agent("w"), "session.end", json!({}));
    assert!(!host.replies.contains_key(&wait), "its command goes on");
    let killed = host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGKILL" }));
    assert_eq!((host.aborted.as_slice(), &killed["fate"]), (&[id][..], &json!("done")));
    ends(&mut host, id, 137);
    host.tick(3_600_000);
    assert_eq!((state(&host, "w"), host.count("supervise.restarted")), (LineageState::Exited, 0));
    assert!(host.replies[&wait].is_ok());
}

#[test]
fn a_command_that_is_asked_to_end_is_not_started_again() {
    let mut host = Host::new();
    foreign(&mut host, "RESTART one_for_one\nLIFETIME permanent\n");
    let wait = host.submit(&ada(), "agent.wait", json!({ "lineage": "w" }));
    let (id, _) = running(&mut host);
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGTERM" }));
    assert_eq!(host.signalled, [(id, ostk_kernel::ProcessSignal::Terminate)]);
    ends(&mut host, id, 143);
    host.tick(3_600_000);
    assert_eq!((state(&host, "w"), host.count("supervise.restarted")), (LineageState::Exited, 0));
    assert!(host.replies[&wait].is_ok());
}

#[test]
fn a_command_that_may_not_run_is_not_tried_again_and_what_an_agentfile_cannot_say_to_one_is_refused() {
    let mut documents = ostk_policy::Documents::default();
    documents.pins.insert("narrow".to_owned(), "deny-verb: client\n".to_owned());
    let mut host = Host::with(documents);
    foreign(&mut host, "RESTART one_for_one\nPIN narrow\n");
    host.run();
    host.tick(3_600_000);
    assert_eq!((state(&host, "w"), host.count("shell.intent")), (LineageState::Exited, 0));
    assert_eq!(host.kernel.state().supervised["w"].phase, Phase::Over);
    for (file, line) in [
        ("FROM scripted\n", "line 1: FROM"),
        ("FROM auto\nTASK x\n", "line 2: TASK"),
        ("FROM auto\nTOOL shell\n", "line 2: TOOL"),
        ("FROM auto\nLIMIT turns 3\n", "line 2: LIMIT turns"),
        ("FROM auto\nLIMIT revival_policy ask\n", "line 2: LIMIT revival_policy ask"),
    ] {
        let call = json!({ "name": "x", "agentfile": file, "command": COMMAND });
        let refused = host.err(&ada(), "agent.spawn", call);
        assert_code(&refused, Code::Usage);
        assert!(refused.message.starts_with(line), "{refused:?}");
    }
}
