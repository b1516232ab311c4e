//! Sagas: steps that are done, undone in reverse, tried again, and taken up after a crash at any record.

use ostk_kernel::{Caller, Code, Op, SagaState, StepState};
use serde_json::{Value, json};

use crate::{
    agents::{say, tool},
    host::{Host, ada, agent, assert_code, exit},
};

/// A host whose commands note that they ran, in the file `ran`; those whose names begin with `bad` fail.
fn host() -> Host {
    let mut host = Host::new();
    for name in ["a", "b", "c", "bad", "undo-a", "undo-b", "undo-c", "bad-undo"] {
        let code = i32::from(name.starts_with("bad"));
        let run = move |files: &mut crate::host::Files| {
            let (log, _) = files.entry("ran".to_owned()).or_default();
            log.extend_from_slice(format!("{name}\n").as_bytes());
            exit(code, "")
        };
        host.commands.insert(name.to_owned(), Box::new(run));
    }
    host
}

fn ran(host: &Host) -> Vec<String> {
    let text = host.files.get("ran").map(|(bytes, _)| String::from_utf8(bytes.clone()).unwrap());
    text.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Steps with undos, by the names of their commands.
fn steps(names: &[&str]) -> Value {
    let step = |name: &&str| json!({ "id": name, "do": name, "undo": format!("undo-{name}") });
    json!({ "name": "deploy", "steps": names.iter().map(step).collect::<Vec<_>>() })
}

fn only(host: &Host) -> &ostk_kernel::Saga {
    host.kernel.state().sagas.values().next().unwrap()
}

#[test]
fn a_saga_does_its_steps_in_order_each_as_a_call_of_its_owner() {
    let mut host = host();
    let done = host.ok(&agent("w"), "saga.run", steps(&["a", "b", "c"]));
    assert_eq!((&done["state"], &done["done"]), (&json!("completed"), &json!(3)));
    assert_eq!(ran(&host), ["a", "b", "c"]);
    assert_eq!(host.last("shell.intent").actor, "agent:w");
    let shown = host.ok(&ada(), "saga.show", json!({ "id": done["saga"] }));
    assert_eq!(shown["steps"][2]["state"], "committed");
    assert_eq!(host.ok(&ada(), "saga.list", json!({}))["sagas"][0]["owner"], "agent:w");
}

#[test]
fn a_step_that_fails_has_those_before_it_undone_last_first() {
    let mut host = host();
    let mut args = steps(&["a", "b"]);
    args["steps"].as_array_mut().unwrap().push(json!({ "id": "last", "do": "bad" }));
    let error = host.err(&agent("w"), "saga.run", args);
    assert_eq!(ran(&host), ["a", "b", "bad", "undo-b", "undo-a"]);
    assert!(error.message.contains("step last: exit 1; undone: a, b"), "{error:?}");
    assert_eq!(only(&host).state, SagaState::Failed);
}

#[test]
fn a_step_is_tried_again_as_often_as_it_says_and_later_each_time() {
    let mut host = host();
    let args = json!({ "steps": [{ "do": "a", "undo": "undo-a" }, { "do": "bad", "retries": 2 }] });
    host.submit(&agent("w"), "saga.run", args);
    host.run();
    assert_eq!(ran(&host), ["a", "bad"]);
    host.tick(500);
    host.run();
    assert_eq!(ran(&host).len(), 2, "not before its time");
    host.tick(600);
    host.run();
    assert_eq!(ran(&host).len(), 3);
    host.tick(2_100);
    host.run();
    assert_eq!(ran(&host), ["a", "bad", "bad", "bad", "undo-a"]);
}

#[test]
fn what_cannot_be_undone_waits_for_a_person_who_has_it_tried_again() {
    let mut host = host();
    let args = json!({ "steps": [
        { "id": "a", "do": "a", "undo": "undo-a" }, { "id": "b", "do": "b", "undo": "bad-undo" }, { "id": "c", "do": "bad" },
    ] });
    let error = host.err(&agent("w"), "saga.run", args);
    assert!(error.message.contains("escalated") && error.message.contains("not undone: b"), "{error:?}");
    assert_eq!(
        ran(&host),
        ["a", "b", "bad", "bad-undo"],
        "what came before it stays until somebody has looked"
    );
    let seen = host.ok(&ada(), "ps", json!({}));
    assert_eq!(seen["escalated"][0]["owner"], "agent:w");
    let id = seen["escalated"][0]["saga"].clone();
    assert_code(&host.err(&agent("x"), "saga.compensate", json!({ "id": id })), Code::Denied);
    host.err(&ada(), "saga.compensate", json!({ "id": id }));
    assert_eq!(only(&host).state, SagaState::Escalated);
    host.commands.insert("bad-undo".to_owned(), Box::new(|_| exit(0, "")));
    let undone = host.ok(&ada(), "saga.compensate", json!({ "id": id }));
    assert_eq!(undone["state"], "failed");
    assert_eq!(ran(&host).last().unwrap(), "undo-a");
    assert_eq!(host.ok(&ada(), "ps", json!({}))["escalated"], json!([]));
}

#[test]
fn a_saga_that_is_done_can_be_undone_by_its_owner() {
    let mut host = host();
    let done = host.ok(&agent("w"), "saga.run", steps(&["a", "b"]));
    let undone = host.ok(&agent("w"), "saga.compensate", json!({ "id": done["saga"] }));
    assert_eq!(undone["state"], "failed");
    assert_eq!(ran(&host), ["a", "b", "undo-b", "undo-a"]);
    assert_code(&host.err(&agent("w"), "saga.compensate", json!({ "id": done["saga"] })), Code::Conflict);
}

#[test]
fn each_step_passes_the_gate_and_a_refused_one_fails() {
    let mut host = host();
    let args = json!({ "steps": [
        { "do": { "call": "file.write", "args": { "path": "made", "content": "x" } },
          "undo": { "call": "file.delete", "args": { "path": "made" } } },
        { "do": { "call": "file.write", "args": { "path": ".ostk/HUMANFILE", "content": "x" } } },
    ] });
    let error = host.err(&agent("w"), "saga.run", args);
    assert!(error.message.contains("undone: step-1"), "{error:?}");
    assert_eq!(host.count("gate.denied"), 1);
    assert!(!host.files.contains_key("made"));
}

#[test]
fn the_kill_of_its_owner_undoes_what_was_done() {
    let mut host = host();
    host.submit(
        &agent("w"),
        "saga.run",
        json!({ "steps": [{ "do": "a", "undo": "undo-a" }, { "do": "bad", "retries": 3 }] }),
    );
    host.run();
    assert_eq!(only(&host).steps[1].state, StepState::Pending);
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGKILL" }));
    host.run();
    assert_eq!(ran(&host), ["a", "bad", "undo-a"]);
    assert_eq!(only(&host).state, SagaState::Failed);
    assert_eq!(only(&host).reason.as_deref(), Some("agent:w has ended"));
}

#[test]
fn slips_of_the_pen_are_found_before_the_first_step() {
    let mut host = host();
    for (steps, why) in [
        (json!([]), "1 to 64 steps"),
        (json!([{ "do": "a" }, { "do": { "call": "agent.spawn", "args": {} } }]), "one of the calls"),
        (json!([{ "do": "a" }, { "do": { "call": "file.write", "args": { "path": "x" } } }]), "content"),
        (json!([{ "id": "a", "do": "a" }, { "id": "a", "do": "b" }]), "two steps are called"),
        (json!([{ "do": "a", "undoo": "b" }]), "no member of a step"),
        (json!([{ "do": "a", "retries": 11 }]), "at most 10"),
        (json!([{ "undo": "a" }]), "do says what it does"),
    ] {
        let error = host.err(&agent("w"), "saga.run", json!({ "steps": steps }));
        assert_code(&error, Code::Usage);
        assert!(error.message.contains(why), "{why}: {error:?}");
    }
    assert_eq!((ran(&host).len(), host.count("saga.began")), (0, 0));
}

/// What must hold of a saga of the steps `a`, `b` and `last` however often the daemon died: it is over, and what was done
/// is there or undone.
fn is_consistent(host: &Host, at: usize) {
    let Some(saga) = host.kernel.state().sagas.values().next() else { return };
    let ran = ran(host);
    let times = |name: &str| ran.iter().filter(|run| *run == name).count();
    assert!(matches!(saga.state, SagaState::Completed | SagaState::Failed), "{at}: {saga:?}");
    for (name, step) in ["a", "b"].iter().zip(&saga.steps) {
        assert!(times(name) <= 1, "{at}: {name} was done twice: {ran:?}");
        if saga.state == SagaState::Completed {
            assert_eq!((step.state, times(name)), (StepState::Committed, 1), "{at}: {ran:?}");
        } else {
            let undone = times(&format!("undo-{name}"));
            assert!(undone >= times(name), "{at}: {name} was done and not undone: {ran:?}, {saga:?}");
            assert!(!step.is_done(), "{at}: {saga:?}");
        }
    }
}

trait Done {
    fn is_done(&self) -> bool;
}

impl Done for ostk_kernel::Step {
    fn is_done(&self) -> bool {
        matches!(self.state, StepState::Committed | StepState::Executing | StepState::Compensating)
    }
}

/// Begins work and lets the daemon die after every single operation, killed or without power.
fn dies_everywhere(begin: impl Fn(&mut Host), is_right: impl Fn(&Host, usize)) {
    for at in 0..200 {
        for power in [false, true] {
            let mut host = host();
            begin(&mut host);
            let mut over = false;
            for _ in 0..at {
                host.sync_to(host.log.len());
                over = !host.step(0);
            }
            // A call under way at the death did its work, and nobody heard of it.
            if let Some((_, op)) = host.start(0) {
                host.carry_out(op);
            }
            if power {
                host.crash()
            } else {
                host.kill()
            }
            host.run();
            for _ in 0..4 {
                host.tick(5_000);
                host.run();
            }
            is_consistent(&host, at);
            is_right(&host, at);
            host.files_match_the_fold();
            if over {
                return;
            }
        }
    }
    panic!("the saga never came to its end");
}

fn with_a_last_step(last: &str) -> Value {
    let mut args = steps(&["a", "b"]);
    let end = json!({ "id": "last", "do": last, "undo": "undo-c" });
    args["steps"].as_array_mut().unwrap().push(end);
    args
}

fn saga_of(caller: Caller, last: &'static str) -> impl Fn(&mut Host) {
    move |host| {
        host.submit_keyed(&caller, "saga.run", with_a_last_step(last), Some("k"));
    }
}

#[test]
fn after_a_crash_at_any_point_a_saga_completes_or_is_undone() {
    dies_everywhere(saga_of(ada(), "c"), |_, _| {});
    dies_everywhere(saga_of(agent("w"), "c"), |_, _| {});
}

#[test]
fn after_a_crash_at_any_point_of_a_saga_that_fails_it_is_undone() {
    let failed = |host: &Host, at: usize| {
        let saga = host.kernel.state().sagas.values().next();
        assert!(saga.is_none_or(|saga| saga.state == SagaState::Failed), "{at}: {saga:?}");
    };
    dies_everywhere(saga_of(ada(), "bad"), failed);
    dies_everywhere(saga_of(agent("w"), "bad"), failed);
}

#[test]
fn a_native_agent_hears_how_its_saga_ended_whatever_died_meanwhile() {
    let begin = |host: &mut Host| {
        let saga = tool("t1", "saga", with_a_last_step("c"));
        host.script = vec![vec![saga], vec![say("Done.")]];
        let file = "FROM scripted\nTASK Do it.\n";
        host.submit(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": file }));
    };
    dies_everywhere(begin, |host, at| {
        let state = host.kernel.state();
        let Some(worker) = state.agents.get("worker") else { return };
        assert_eq!(worker.outcome(), Some(&ostk_agent::Outcome::Done), "{at}");
        assert_eq!(host.count("saga.began"), 1, "{at}: it is begun once");
        let told = format!("{:?}", host.conversation(worker));
        let saga = only(host);
        assert_eq!(saga.owner, "agent:worker");
        assert!(told.contains(saga.state.word()), "{at}: {saga:?}: {told}");
    });
}

#[test]
fn no_step_begins_after_its_agent_has_ended() {
    let mut host = host();
    let write = |call: &str| json!({ "call": call, "args": { "path": "a.txt", "content": "a\n" } });
    let step = json!({ "do": write("file.write"), "undo": "undo-a", "retries": 1 });
    let saga = json!({ "name": "deploy", "steps": [step], "timeout_ms": 1_000 });
    host.script = vec![vec![tool("t1", "saga", saga)], vec![say("Done.")]];
    let file = "FROM scripted\nTASK Do it.\n";
    host.submit(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": file }));
    // The disk is slow: the step is looked at when its agent's call has run out of time, and the agent is done.
    let mut slow = Vec::new();
    for wait in [0, 2_000] {
        host.tick(wait);
        host.sync_to(host.log.len());
        while let Some((id, op)) = host.start(0) {
            if matches!(&op, Op::Resolve { paths, .. } if paths.iter().any(|path| path == "a.txt")) {
                slow.push((id, op));
            } else {
                let outcome = host.carry_out(op);
                host.finish(id, outcome);
            }
            host.sync_to(host.log.len());
        }
    }
    let ending = host.kernel.state().agents.get("worker").and_then(|worker| worker.outcome().cloned());
    assert_eq!((ending, slow.len()), (Some(ostk_agent::Outcome::Done), 1));
    for (id, op) in slow {
        let outcome = host.carry_out(op);
        host.finish(id, outcome);
    }
    host.run();
    assert_eq!(host.count("file.write.intent"), 0);
    assert_eq!(only(&host).state, SagaState::Failed);
}

#[test]
fn a_step_whose_end_a_crash_hid_is_undone_or_done_again_if_that_is_as_good() {
    for idempotent in [false, true] {
        let mut host = host();
        let args = json!({ "steps": [{ "id": "a", "do": "a", "undo": "undo-a", "idempotent": idempotent }] });
        host.submit_keyed(&ada(), "saga.run", args.clone(), Some("k"));
        host.sync_to(host.log.len());
        let (_, op) = host.start(0).unwrap();
        host.carry_out(op);
        host.kill();
        let again = host.submit_keyed(&ada(), "saga.run", args, Some("k"));
        host.run();
        let expected: &[&str] = if idempotent { &["a", "a"] } else { &["a", "undo-a"] };
        assert_eq!(ran(&host), expected);
        let reply = host.replies.remove(&again).expect("whoever asks again hears how it ended");
        match reply {
            Ok(row) => assert_eq!((idempotent, &row["state"]), (true, &json!("completed"))),
            Err(error) => {
                assert!(!idempotent, "{error:?}");
                assert!(error.message.contains("it is not known how far they came: a"), "{error:?}");
            }
        }
        assert_eq!(host.count("saga.began"), 1);
    }
}

#[test]
fn a_stopped_owner_holds_its_saga() {
    let mut host = host();
    host.submit(&agent("w"), "saga.run", steps(&["a", "b"]));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGSTOP" }));
    host.tick(4_000_000);
    host.run();
    assert!(ran(&host).len() <= 1, "what it had begun ends, and no more: {:?}", ran(&host));
    assert_eq!(only(&host).state, SagaState::Running);
    host.ok(&ada(), "agent.signal", json!({ "lineage": "w", "signal": "SIGCONT" }));
    host.run();
    assert_eq!(ran(&host), ["a", "b"]);
}

#[test]
fn a_daemon_that_stops_in_good_order_leaves_the_rest_to_the_next() {
    let mut host = host();
    let args = json!({ "steps": [{ "do": "a", "undo": "undo-a" }, { "do": "bad", "retries": 1 }] });
    host.submit(&ada(), "saga.run", args);
    host.run();
    host.now += 10_000_000;
    host.stop();
    assert_eq!(host.events().last(), Some(&"anchor.stopped"), "what is due is not begun any more");
    host.crash();
    host.run();
    assert_eq!(ran(&host), ["a", "bad", "bad", "undo-a"]);
}

#[test]
fn a_panic_holds_every_saga() {
    let mut host = host();
    host.submit(&agent("w"), "saga.run", steps(&["a", "b"]));
    host.ok(&ada(), "kernel.panic", json!({ "reason": "test" }));
    host.run();
    let before = ran(&host).len();
    assert!(before <= 1);
    host.ok(&ada(), "kernel.resume", json!({}));
    host.run();
    assert_eq!(ran(&host), ["a", "b"]);
}
