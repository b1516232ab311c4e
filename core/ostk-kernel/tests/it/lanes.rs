//! Model calls of a fleet: slots, fairness, outages, and requests that fail alone.

use std::collections::BTreeMap;

use ostk_agent::Outcome as Ending;
use ostk_kernel::{ModelFailure, Op, OpId, Outcome};
use ostk_policy::Documents;
use serde_json::json;

use crate::{
    agents::{say, tool},
    host::{Host, SLOTS, ada},
};

const HOUR_MS: u64 = 3_600_000;

/// A fleet of this size, each agent with two notes to make and an answer to give: three model calls.
pub(crate) fn fleet(size: usize) -> Host {
    fleet_of(size, Documents::default())
}

/// The same, under these documents.
pub(crate) fn fleet_of(size: usize, documents: Documents) -> Host {
    let mut host = Host::with(documents);
    let note = |id: &str| vec![tool(id, "note", json!({ "text": "n" }))];
    host.script = vec![note("t1"), note("t2"), vec![say("Done.")]];
    for number in 0..size {
        let file = "FROM scripted\nTASK Note it twice.\n";
        let name = format!("worker-{number:03}");
        host.submit(&ada(), "agent.spawn", json!({ "name": name, "agentfile": file }));
    }
    host
}

pub(crate) fn overloaded(retry_after_ms: Option<u64>) -> Outcome {
    Outcome::Model(Err(ModelFailure {
        message: "529".to_owned(),
        retryable: true,
        retry_after_ms,
        unsettled: false,
    }))
}

/// Carries out everything but model calls, which are returned: those under way at once.
pub(crate) fn calls_under_way(host: &mut Host) -> Vec<(OpId, Op)> {
    let mut calls = Vec::new();
    loop {
        host.sync_to(host.log.len());
        match host.start(0) {
            Some((id, op @ Op::Model { .. })) => calls.push((id, op)),
            Some((id, op)) => {
                let outcome = host.carry_out(op);
                host.finish(id, outcome);
            }
            None => return calls,
        }
    }
}

pub(crate) fn who(op: &Op) -> String {
    let Op::Model { agent, .. } = op else { panic!("{op:?}") };
    serde_json::to_value(agent).unwrap()["config"]["lineage"].as_str().unwrap().to_owned()
}

/// Lives until nothing is to be done any more. `up` says whether the model answers at a time in milliseconds since the
/// beginning. Returns the time and number of the calls that were under way together.
fn live(host: &mut Host, up: impl Fn(u64) -> bool) -> Vec<(u64, usize)> {
    let begun = host.now;
    let mut batches = Vec::new();
    for _ in 0..100_000 {
        let calls = calls_under_way(host);
        if calls.is_empty() {
            let Some(next) = host.tick(0) else { return batches };
            host.now = host.now.max(next.as_micros());
            host.tick(0);
            continue;
        }
        let now = (host.now - begun) / 1_000;
        batches.push((now, calls.len()));
        for (id, op) in calls {
            let outcome = if up(now) { host.carry_out(op) } else { overloaded(None) };
            host.finish(id, outcome);
        }
    }
    panic!("it never comes to rest");
}

pub(crate) fn all_done_once(host: &Host, size: usize) {
    let state = host.kernel.state();
    assert_eq!(state.agents.len(), size);
    for (name, agent) in &state.agents {
        assert_eq!(agent.outcome(), Some(&Ending::Done), "{name}");
        assert_eq!(agent.spent().turns, 3, "{name}");
    }
    assert_eq!(host.count("note.added"), 2 * size, "nothing was lost and nothing done twice");
}

#[test]
fn an_outage_of_an_hour_costs_no_agent_its_work_and_sends_no_herd() {
    let mut host = fleet(100);
    let outage = 100..100 + HOUR_MS;
    let batches = live(&mut host, |now| !outage.contains(&now));
    all_done_once(&host, 100);
    let during: Vec<u64> = batches.iter().filter(|(at, _)| outage.contains(at)).map(|(at, _)| *at).collect();
    assert!((50..80).contains(&during.len()), "about one try a minute, by one agent: {}", during.len());
    let after: Vec<(u64, usize)> = batches.iter().filter(|(at, _)| *at >= outage.end).copied().collect();
    assert!(after[0].0 < outage.end + 80_000, "the end is noticed within the longest wait");
    let sizes: Vec<usize> = after.iter().take(4).map(|(_, calls)| *calls).collect();
    assert_eq!(sizes, [1, 2, SLOTS, SLOTS], "one call tries it, and then twice as many with each answer");
}

#[test]
fn a_restart_does_not_forget_an_outage() {
    let mut host = fleet(20);
    for _ in 0..6 {
        for (id, _) in calls_under_way(&mut host) {
            host.finish(id, overloaded(None));
        }
        host.tick(40_000);
    }
    for (id, _) in calls_under_way(&mut host) {
        host.finish(id, overloaded(None));
    }
    host.sync_to(host.log.len());
    host.crash();
    assert_eq!(calls_under_way(&mut host).len(), 0, "nobody tries it before its time");
    host.tick(80_000);
    assert_eq!(calls_under_way(&mut host).len(), 1, "and then one");
}

#[test]
fn the_wait_that_a_vendor_asks_for_holds_for_the_whole_fleet() {
    let mut host = fleet(20);
    let calls = calls_under_way(&mut host);
    assert_eq!(calls.len(), SLOTS);
    for (id, _) in calls {
        host.finish(id, overloaded(Some(600_000)));
    }
    host.tick(599_000);
    assert_eq!(calls_under_way(&mut host).len(), 0);
    let row = host.ok(&ada(), "ps", json!({}));
    let doing =
        row["processes"].as_array().unwrap().iter().find(|row| row["lineage"] == "worker-000").unwrap();
    assert!(doing["doing"].as_str().unwrap().starts_with("model fails, next try in "), "{doing}");
    host.tick(151_000);
    assert_eq!(calls_under_way(&mut host).len(), 1);
}

#[test]
fn slots_go_round_so_that_nobody_starves() {
    let mut host = fleet(11);
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    let mut widest = 0;
    while turns.values().sum::<usize>() < 3 * 11 {
        let calls = calls_under_way(&mut host);
        widest = widest.max(calls.len());
        // The agent that answers first asks first; it does not get ahead by that.
        for (id, op) in calls.into_iter().rev() {
            *turns.entry(who(&op)).or_default() += 1;
            let outcome = host.carry_out(op);
            host.finish(id, outcome);
        }
        let (least, most) = (turns.values().min(), turns.values().max());
        if turns.len() == 11 {
            // Between two calls of one agent each of the others has had one.
            assert!(most.unwrap() - least.unwrap() <= 2, "{turns:?}");
        }
    }
    assert_eq!(widest, SLOTS);
    host.run();
    all_done_once(&host, 11);
}

#[test]
fn a_killed_agent_gives_its_slot_to_the_next_and_a_stopped_one_is_passed_over() {
    let mut host = fleet(SLOTS + 2);
    let calls = calls_under_way(&mut host);
    let (killed, in_line) = (who(&calls[0].1), format!("worker-{SLOTS:03}"));
    host.submit(&ada(), "agent.signal", json!({ "lineage": in_line, "signal": "SIGSTOP" }));
    host.submit(&ada(), "agent.signal", json!({ "lineage": killed, "signal": "SIGKILL" }));
    let next = calls_under_way(&mut host);
    let next: Vec<String> = next.iter().map(|(_, op)| who(op)).collect();
    assert_eq!(next, [format!("worker-{:03}", SLOTS + 1)]);
    host.submit(&ada(), "agent.signal", json!({ "lineage": in_line, "signal": "SIGCONT" }));
    assert_eq!(calls_under_way(&mut host).len(), 0, "no slot is free");
    let (id, op) = calls.into_iter().next_back().unwrap();
    let outcome = host.carry_out(op);
    host.finish(id, outcome);
    assert_eq!(who(&calls_under_way(&mut host)[0].1), in_line, "it kept its place");
}

#[test]
fn an_agent_whose_own_requests_fail_gives_up_while_the_others_go_on() {
    let mut host = fleet(6);
    for _ in 0..10_000 {
        let calls = calls_under_way(&mut host);
        for (id, op) in calls {
            let outcome = if who(&op) == "worker-002" { overloaded(None) } else { host.carry_out(op) };
            host.finish(id, outcome);
        }
        if host.tick(0).is_none() {
            break;
        }
        host.tick(1_000);
        // There is always somebody whose calls are answered.
        let others = host.kernel.state().agents.iter().filter(|(name, _)| *name != "worker-002");
        if others.clone().all(|(_, agent)| agent.is_finished()) {
            let file = "FROM scripted\nTASK Note it twice.\n";
            let name = format!("later-{:03}", host.kernel.state().agents.len());
            host.submit(&ada(), "agent.spawn", json!({ "name": name, "agentfile": file }));
        }
        if host.kernel.state().ending("worker-002").is_some() {
            break;
        }
    }
    let ending = host.kernel.state().ending("worker-002");
    assert!(matches!(ending, Some(Ending::Failed { error }) if error.contains("529")), "{ending:?}");
    let (failures, _) = host.kernel.state().agents["worker-002"].failing().unwrap();
    assert_eq!(failures, 8);
}
