//! `FALLBACK` of HUMANFILE: another model answers while an agent's own is down, and only then.

use std::collections::BTreeMap;

use ostk_agent::Outcome as Ending;
use ostk_kernel::{ModelFailure, Op, OpId, Outcome};
use ostk_policy::Documents;
use serde_json::{Value, json};

use crate::{
    host::{Host, ada},
    lanes::{all_done_once, calls_under_way, fleet_of, overloaded, who},
};

const HOUR_MS: u64 = 3_600_000;
/// An agent is spawned so often.
const EVERY_MS: u64 = 60_000;
const FILE: &str = "FROM scripted\nTASK Note it twice.\n";

fn documents(fallback: &str) -> Documents {
    let humanfile = Some(format!("IDENTITY ada\nMODEL scripted\nFALLBACK {fallback}\n"));
    Documents { humanfile, ..Documents::default() }
}

fn model_of(op: &Op) -> String {
    let Op::Model { agent, .. } = op else { panic!("{op:?}") };
    agent.called().to_owned()
}

/// Carries on until `until` milliseconds after `begun`; `up` says whether a model answers at a time after `begun`.
/// Returns when each call was made, to which model, and by whom.
fn live_until(
    host: &mut Host,
    (begun, until): (u64, u64),
    up: &dyn Fn(&str, u64) -> bool,
) -> Vec<(u64, String, String)> {
    let mut made = Vec::new();
    loop {
        let now = (host.now - begun) / 1_000;
        let calls = calls_under_way(host);
        for (id, op) in &calls {
            made.push((now, model_of(op), who(op)));
            let outcome = if up(&model_of(op), now) { host.carry_out(op.clone()) } else { overloaded(None) };
            host.finish(*id, outcome);
        }
        if calls.is_empty() {
            let next = host.tick(0).map_or(u64::MAX, |next| next.as_micros());
            host.now = host.now.max(next.min(begun + until * 1_000));
            host.tick(0);
            if next > begun + until * 1_000 {
                return made;
            }
        }
    }
}

fn count(made: &[(u64, String, String)], model: &str) -> usize {
    made.iter().filter(|(_, called, _)| called == model).count()
}

#[test]
fn a_fleet_whose_model_is_down_goes_on_with_the_fallback_at_once() {
    let mut host = fleet_of(100, documents("spare"));
    let begun = host.now;
    let made = live_until(&mut host, (begun, HOUR_MS), &|model, _| model == "spare");
    all_done_once(&host, 100);
    assert!(made.iter().all(|(at, ..)| *at < 30_000), "nobody waits for the hour to end");
    assert!(count(&made, "scripted") <= 8, "a handful of tries: {}", count(&made, "scripted"));
    assert_eq!(count(&made, "spare"), 300);
    let why = host.last("model.substituted");
    assert_eq!((&why.body["model"], &why.body["fallback"]), (&json!("scripted"), &json!("spare")));
    assert!(why.body["why"].as_str().unwrap().starts_with("3 failures in a row"), "{why:?}");
    assert_eq!(host.count("model.substituted"), 1, "it is said once");
    let rows = host.ok(&ada(), "ps", json!({}));
    let rows = rows["processes"].as_array().unwrap();
    let row = rows.iter().find(|row| row["lineage"] == "worker-000").unwrap();
    assert_eq!((&row["model"], &row["fallback"]), (&json!("scripted"), &json!("spare")));
}

#[test]
fn one_agent_a_minute_tries_the_model_and_all_go_back_to_it_when_it_answers() {
    let mut host = fleet_of(1, documents("spare"));
    let begun = host.now;
    let up = |model: &str, now: u64| model == "spare" || now >= HOUR_MS;
    let mut made = Vec::new();
    let mut born: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..80_u64 {
        made.extend(live_until(&mut host, (begun, number * EVERY_MS), &up));
        let name = format!("later-{number:03}");
        born.insert(name.clone(), number * EVERY_MS);
        host.submit(&ada(), "agent.spawn", json!({ "name": name, "agentfile": FILE }));
    }
    made.extend(live_until(&mut host, (begun, 2 * HOUR_MS), &up));
    all_done_once(&host, 81);
    for (at, _, who) in
        made.iter().filter(|(at, _, who)| *at < HOUR_MS && who != "worker-000" && born[who] > 0)
    {
        assert!(*at < born[who] + 1_000, "{who} waited while another model was up");
    }
    let tries: Vec<u64> = made
        .iter()
        .filter(|(at, model, _)| model == "scripted" && *at < HOUR_MS)
        .map(|(at, ..)| *at)
        .collect();
    assert!((30..80).contains(&tries.len()), "about one a minute: {}", tries.len());
    assert!(tries.windows(2).all(|pair| pair[1] > pair[0]), "never two at once");
    let back = made.iter().find(|(at, model, _)| model == "scripted" && *at >= HOUR_MS).unwrap().0;
    assert!(back < HOUR_MS + 100_000, "the end is noticed");
    let after = made.iter().filter(|(at, ..)| *at > back);
    assert!(after.into_iter().all(|(_, model, _)| model == "scripted"), "and then all go back");
    let row = host.ok(&ada(), "ps", json!({}));
    let last = row["processes"].as_array().unwrap().iter().find(|row| row["lineage"] == "later-079").unwrap();
    assert_eq!(last.get("fallback"), None, "{last}");
}

/// Fails the calls under way until the model counts as down; returns the calls after that.
fn bring_down(host: &mut Host) -> Vec<(OpId, Op)> {
    for _ in 0..10 {
        for (id, _) in calls_under_way(host) {
            host.finish(id, overloaded(None));
        }
        if host.kernel.state().lanes.get("scripted").is_some_and(|lane| lane.down) {
            return calls_under_way(host);
        }
        host.tick(20_000);
    }
    panic!("it never counts as down");
}

#[test]
fn a_single_failure_sends_nobody_elsewhere() {
    let mut host = fleet_of(1, documents("spare"));
    let (id, _) = calls_under_way(&mut host).remove(0);
    host.finish(id, overloaded(None));
    assert_eq!(calls_under_way(&mut host).len(), 0);
    host.tick(2_000);
    let calls = calls_under_way(&mut host);
    assert_eq!(model_of(&calls[0].1), "scripted");
    assert_eq!(host.count("model.substituted"), 0);
}

#[test]
fn a_vendor_that_asks_for_a_long_wait_is_down_at_once() {
    let mut host = fleet_of(1, documents("spare"));
    let (id, _) = calls_under_way(&mut host).remove(0);
    host.finish(id, overloaded(Some(600_000)));
    assert_eq!(model_of(&calls_under_way(&mut host)[0].1), "spare");
}

#[test]
fn a_crash_in_a_call_to_the_fallback_repeats_that_call_and_no_other() {
    let mut host = fleet_of(1, documents("spare"));
    let (id, op) = bring_down(&mut host).remove(0);
    assert_eq!(model_of(&op), "spare");
    let outcome = host.carry_out(op);
    host.finish(id, outcome);
    let second = calls_under_way(&mut host);
    assert_eq!(second.len(), 1);
    host.kill();
    let again = calls_under_way(&mut host);
    assert_eq!(again.len(), 1);
    assert_eq!(model_of(&again[0].1), "spare", "a restart does not forget what is down");
    for (id, op) in again {
        let outcome = host.carry_out(op);
        host.finish(id, outcome);
    }
    let begun = host.now;
    live_until(&mut host, (begun, HOUR_MS), &|model, _| model == "spare");
    all_done_once(&host, 1);
    assert_eq!(host.count("model.substituted"), 1);
}

/// Brings the model of one agent down, with these documents; returns the host and the models that it calls then.
fn served_by(documents: Documents, agentfile: &str) -> (Host, Vec<String>) {
    let mut host = fleet_of(0, documents);
    host.submit(&ada(), "agent.spawn", json!({ "name": "worker-000", "agentfile": agentfile }));
    let calls = bring_down(&mut host);
    let models = calls.iter().map(|(_, op)| model_of(op)).collect();
    (host, models)
}

#[test]
fn the_gate_the_price_and_the_context_window_say_who_may_be_served_elsewhere() {
    assert_eq!(served_by(documents("spare"), FILE).1, ["spare"]);
    let pack = "version: \"1.0\"\nname: own\nrules:\n  - name: no-spare\n    conditions:\n      \
                - {field: model, operator: eq, value: spare}\n    action: deny\ndefaults:\n  action: allow\n";
    let packs = BTreeMap::from([("own.yaml".to_owned(), pack.to_owned())]);
    let (host, models) = served_by(Documents { packs, ..documents("spare") }, FILE);
    assert!(models.is_empty(), "{models:?}");
    assert_eq!(host.count("gate.denied"), 0, "what is not asked for is not refused");
    assert_eq!(served_by(documents("unpriced"), FILE).1, ["unpriced"]);
    let bounded = format!("{FILE}LIMIT budget_usd 1\n");
    assert!(served_by(documents("unpriced"), &bounded).1.is_empty(), "a limit in dollars needs a price");
    assert!(served_by(documents("small"), FILE).1.is_empty(), "a reply would not fit");
    assert!(served_by(documents("scripted"), FILE).1.is_empty(), "it is the model itself");
    let (host, models) = served_by(documents("nowhere"), FILE);
    assert!(models.is_empty());
    let said = host.last("model.substituted");
    assert!(said.body["problem"].as_str().unwrap().contains("nobody serves nowhere"), "{said:?}");
    let mut unsigned = documents("spare");
    unsigned.unaccepted.insert("HUMANFILE".to_owned());
    assert!(served_by(unsigned, FILE).1.is_empty(), "only what the operator signed names another vendor");
}

fn lasting(retry_after_ms: Option<u64>) -> Outcome {
    let message = "not today".to_owned();
    Outcome::Model(Err(ModelFailure { message, retryable: false, retry_after_ms, unsettled: false }))
}

#[test]
fn a_fallback_that_refuses_an_agent_costs_it_nothing() {
    let mut host = fleet_of(1, documents("spare"));
    let (id, op) = bring_down(&mut host).remove(0);
    assert_eq!(model_of(&op), "spare");
    host.finish(id, lasting(None));
    assert_eq!(calls_under_way(&mut host).len(), 0, "it is not asked again");
    let begun = host.now;
    let made = live_until(&mut host, (begun, HOUR_MS), &|_, _| true);
    all_done_once(&host, 1);
    assert!(made.iter().all(|(_, model, _)| model == "scripted"), "{made:?}");
}

#[test]
fn an_account_without_quota_ends_an_agent_only_where_no_other_model_answers() {
    let ending = |documents| -> (Host, Value) {
        let mut host = fleet_of(1, documents);
        let (id, _) = calls_under_way(&mut host).remove(0);
        host.finish(id, lasting(Some(HOUR_MS)));
        let begun = host.now;
        let made = live_until(&mut host, (begun, 60_000), &|model, _| model == "spare");
        let models: Vec<&String> = made.iter().map(|(_, model, _)| model).collect();
        let models = json!(models);
        (host, models)
    };
    let (host, models) = ending(documents("spare"));
    assert_eq!(models, json!(["spare", "spare", "spare"]));
    all_done_once(&host, 1);
    let (host, models) = ending(Documents::default());
    assert_eq!(models, json!([]));
    let ending = host.kernel.state().ending("worker-000");
    assert!(matches!(ending, Some(Ending::Failed { error }) if error == "not today"), "{ending:?}");
}
