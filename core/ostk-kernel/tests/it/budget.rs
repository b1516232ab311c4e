//! What the fleet spends in a day: reservation, settlement, what a crash leaves, midnight, and a raised limit.
//!
//! A call of the model in these tests takes 110 tokens and five millionths of a dollar; three make up an agent's work.

use ostk_agent::Outcome as Ending;
use ostk_kernel::{Allowance, CallError, Charge, Code, ModelFailure, Outcome};
use ostk_log::Timestamp;
use serde_json::{Value, json};

use crate::{
    host::{Host, ada, agent, assert_code},
    lanes::{calls_under_way, fleet, overloaded},
};

const DAY_MS: u64 = 86_400_000;

/// A fleet that is told its limit before its first call.
fn bounded(size: usize, allowance: Allowance) -> Host {
    let mut host = fleet(0);
    allow(&mut host, allowance);
    for number in 0..size {
        let (name, file) = (format!("worker-{number:03}"), "FROM scripted\nTASK Note it twice.\n");
        host.submit(&ada(), "agent.spawn", json!({ "name": name, "agentfile": file }));
    }
    host
}

fn allow(host: &mut Host, allowance: Allowance) {
    host.settings.allowance = allowance;
    host.ok(&ada(), "policy.reload", json!({}));
}

fn tokens(tokens_per_day: u64) -> Allowance {
    Allowance { tokens_per_day: Some(tokens_per_day), ..Allowance::default() }
}

fn dollars(micro_usd_per_day: u64) -> Allowance {
    Allowance { micro_usd_per_day: Some(micro_usd_per_day), ..Allowance::default() }
}

fn spent(host: &Host) -> (u64, u64) {
    let (spending, now) = (&host.kernel.state().spending, Timestamp::from_micros(host.now));
    (spending.today(now).tokens, spending.reserved().tokens)
}

/// Works until nobody may call any more; what is spent and reserved is never above `most`.
fn work(host: &mut Host, most: u64) {
    loop {
        let calls = calls_under_way(host);
        let (settled, reserved) = spent(host);
        assert!(settled + reserved <= most, "{settled} + {reserved} of {most}");
        if calls.is_empty() {
            return;
        }
        for (id, op) in calls {
            let outcome = host.carry_out(op);
            host.finish(id, outcome);
        }
    }
}

fn to_midnight(host: &mut Host) {
    let into = host.now / 1_000 % DAY_MS;
    host.tick(DAY_MS - into);
}

fn told(host: &Host) -> Vec<u64> {
    let reached = host.log.iter().filter(|(draft, _)| draft.event == "budget.reached");
    reached.map(|(draft, _)| draft.body["percent"].as_u64().unwrap()).collect()
}

fn doing(host: &mut Host, name: &str) -> String {
    let rows = host.ok(&ada(), "ps", json!({}))["processes"].take();
    let row = rows.as_array().unwrap().iter().find(|row| row["lineage"] == name).unwrap();
    row["doing"].as_str().unwrap().to_owned()
}

#[test]
fn a_fleet_stays_within_the_day_and_goes_on_at_midnight() {
    let mut host = bounded(5, tokens(1_000));
    work(&mut host, 1_000);
    assert_eq!(spent(&host), (990, 0), "nine calls of fifteen");
    assert_eq!(told(&host), [85, 100], "the operator is told once each");
    let waiting: Vec<String> =
        (0..5).map(|number| doing(&mut host, &format!("worker-{number:03}"))).collect();
    assert!(waiting.iter().any(|doing| doing.starts_with("tokens_per_day is used up until ")), "{waiting:?}");
    let status = host.ok(&ada(), "status", json!({}))["budget"].take();
    assert_eq!((&status["limits"][0]["pct"], &status["limits"][0]["of"]), (&json!(99), &json!(1_000)));
    assert!(status["warnings"][0].as_str().unwrap().contains("990 of 1000"), "{status}");
    host.tick(3_600_000);
    assert_eq!(calls_under_way(&mut host).len(), 0, "an hour changes nothing");
    to_midnight(&mut host);
    work(&mut host, 1_000);
    assert_eq!(spent(&host), (660, 0), "the new day pays for the rest");
    assert!(host.kernel.state().agents.values().all(|agent| agent.outcome() == Some(&Ending::Done)));
    assert_eq!((host.count("note.added"), told(&host).len()), (10, 2));
}

#[test]
fn the_first_call_of_a_model_of_which_nothing_is_known_goes_alone() {
    let mut host = bounded(4, dollars(1_000));
    let calls = calls_under_way(&mut host);
    assert_eq!(calls.len(), 1);
    for (id, op) in calls {
        let outcome = host.carry_out(op);
        host.finish(id, outcome);
    }
    assert_eq!(calls_under_way(&mut host).len(), 4, "the others know from it what a call takes");
}

#[test]
fn calls_that_a_crash_cut_off_stay_charged_and_are_made_and_charged_again() {
    let mut host = bounded(5, tokens(100_000));
    for (id, op) in calls_under_way(&mut host) {
        let outcome = host.carry_out(op);
        host.finish(id, outcome);
    }
    assert_eq!(calls_under_way(&mut host).len(), 4);
    assert_eq!(spent(&host), (110, 440));
    host.kill();
    assert_eq!(spent(&host), (110 + 440, 440), "nobody knows how they ended, and they are made again");
    host.run();
    assert_eq!(spent(&host), (15 * 110 + 440, 0));
}

#[test]
fn a_refusal_of_the_vendor_costs_nothing_and_a_reply_that_broke_off_may_have_cost_its_price() {
    let mut host = bounded(1, tokens(100_000));
    for (id, op) in calls_under_way(&mut host) {
        let outcome = host.carry_out(op);
        host.finish(id, outcome);
    }
    let fail = |host: &mut Host, outcome: Outcome| {
        let (id, _) = calls_under_way(host).remove(0);
        assert_eq!(spent(host).1, 110);
        host.finish(id, outcome);
        host.tick(90_000);
    };
    fail(&mut host, overloaded(None));
    assert_eq!(spent(&host).0, 110);
    let message = "the reply broke off".to_owned();
    fail(
        &mut host,
        Outcome::Model(Err(ModelFailure { message, retryable: true, retry_after_ms: None, unsettled: true })),
    );
    assert_eq!(spent(&host).0, 220);
    host.submit(&ada(), "agent.signal", json!({ "lineage": "worker-000", "signal": "SIGKILL" }));
    calls_under_way(&mut host);
    assert_eq!(spent(&host), (330, 0), "nor is it known what a call took whose agent was killed");
}

#[test]
fn a_raised_limit_lets_calls_begin_at_once_and_a_lowered_one_holds_the_next() {
    let mut host = bounded(5, tokens(300));
    work(&mut host, 300);
    assert_eq!(spent(&host), (220, 0));
    allow(&mut host, tokens(600));
    work(&mut host, 600);
    assert_eq!(spent(&host), (550, 0));
    allow(&mut host, Allowance::default());
    assert_eq!(spent(&host), (15 * 110, 0));
    assert_eq!(host.ok(&ada(), "status", json!({}))["budget"], Value::Null);
    allow(&mut host, tokens(1_000));
    host.submit(&ada(), "agent.spawn", json!({ "name": "late", "agentfile": "FROM scripted\nTASK Work.\n" }));
    assert_eq!(calls_under_way(&mut host).len(), 0);
    host.crash();
    assert_eq!(calls_under_way(&mut host).len(), 0, "a restart keeps what the settings say");
}

/// A foreign agent's request that is expected to take so much.
fn request(host: &mut Host, tokens: u64, micro_usd: u64) -> Result<u64, CallError> {
    let args = json!({ "vendor": "anthropic", "model": "m", "method": "POST", "path": "/v1/messages", "body": "e30=",
        "reserve_tokens": tokens, "reserve_micro_usd": micro_usd });
    host.call(&agent("claude"), "model.relay", args).map(|answer| answer["intent"].as_u64().unwrap())
}

fn answered(host: &mut Host, intent: u64, mut end: Value) {
    end["intent"] = json!(intent);
    host.ok(&agent("claude"), "model.relayed", end);
}

fn money(host: &Host) -> (u64, u64) {
    let (spending, now) = (&host.kernel.state().spending, Timestamp::from_micros(host.now));
    let (Charge { micro_usd: spent, .. }, Charge { micro_usd: reserved, .. }) =
        (spending.today(now), spending.reserved());
    (spent, reserved)
}

#[test]
fn requests_of_other_agents_are_refused_until_the_day_is_over() {
    let mut host = Host::new();
    allow(&mut host, dollars(1_000_000));
    let first = request(&mut host, 10, 600_000).unwrap();
    let refused = request(&mut host, 10, 600_000).unwrap_err();
    assert_code(&refused, Code::Denied);
    for part in ["usd_per_day $1.00", "$0.60 under way", "opens again at ", "T00:00:00", "or sooner"] {
        assert!(refused.message.contains(part), "{part}: {}", refused.message);
    }
    assert!(refused.hint.unwrap().contains("ostk call policy.reload"));
    answered(
        &mut host,
        first,
        json!({ "status": 200, "complete": true, "input_tokens": 9, "cached_tokens": 30,
        "output_tokens": 5, "cost_micro_usd": 300_000 }),
    );
    assert_eq!((money(&host), spent(&host)), ((300_000, 0), (44, 0)));
    let second = request(&mut host, 10, 600_000).unwrap();
    answered(&mut host, second, json!({ "unsent": true, "problem": "connection refused" }));
    assert_eq!(money(&host), (300_000, 0), "what never left costs nothing");
    let third = request(&mut host, 10, 600_000).unwrap();
    answered(&mut host, third, json!({ "status": 200, "complete": false, "input_tokens": 9 }));
    assert_eq!(money(&host), (900_000, 0), "a reply that was cut may have cost what was expected");
    assert!(request(&mut host, 10, 200_000).is_err());
    assert!(request(&mut host, 0, 0).is_ok(), "a list of models is no matter of the budget");
    to_midnight(&mut host);
    assert!(request(&mut host, 10, 200_000).is_ok());
}

#[test]
fn a_limit_in_dollars_admits_no_model_whose_price_is_not_known() {
    let mut host = Host::new();
    let unpriced = json!({ "vendor": "openai", "model": "new", "method": "POST", "path": "/v1/responses", "body": "e30=",
        "reserve_tokens": 10, "unpriced": true });
    host.ok(&agent("codex"), "model.relay", unpriced.clone());
    let spawn = json!({ "name": "w", "agentfile": "FROM unpriced\nTASK Work.\n" });
    allow(&mut host, dollars(1_000_000));
    for (verb, args) in [("model.relay", unpriced.clone()), ("agent.spawn", spawn)] {
        let caller = if verb == "agent.spawn" { ada() } else { agent("codex") };
        let refused = host.err(&caller, verb, args);
        assert!(refused.message.contains("the price of "), "{refused:?}");
        assert!(refused.hint.unwrap().contains("tokens_per_day"));
    }
    allow(&mut host, tokens(1_000));
    host.ok(&agent("codex"), "model.relay", unpriced);
}
