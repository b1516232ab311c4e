//! A fleet that shares a vendor's limits: calls through the scheduler, beside the same calls of agents that each retry on
//! their own, as the vendors' client libraries do.

use std::collections::BTreeMap;

use ostk_kernel::{ModelFailure, Outcome};

use crate::{
    host::{Host, SLOTS},
    lanes::{all_done_once, calls_under_way, fleet, who},
};

const AGENTS: usize = 24;
/// Calls that each agent makes, one after the other.
const CALLS: usize = 3;
/// How long an answer takes, in milliseconds; a refusal takes less.
const ANSWER_MS: u64 = 2_000;
const REFUSAL_MS: u64 = 50;
/// Requests that the vendor takes at once before it counts, and one more in so many milliseconds.
const BURST: u64 = 10;
const REFILL_MS: u64 = 1_000;

/// A vendor that answers a few requests at once, and so many in a time. Times are milliseconds of a simulated clock.
#[derive(Default)]
struct Vendor {
    answering: Vec<u64>,
    taken: Vec<u64>,
    refused: usize,
}

impl Vendor {
    /// When the answer is there, or after how long the vendor asks to come again.
    fn ask(&mut self, now: u64) -> Result<u64, u64> {
        self.answering.retain(|until| *until > now);
        let mut tokens = BURST * REFILL_MS;
        let mut counted = self.taken.first().copied().unwrap_or(now);
        for at in &self.taken {
            tokens = (tokens + at - counted).min(BURST * REFILL_MS) - REFILL_MS;
            counted = *at;
        }
        tokens = (tokens + now - counted).min(BURST * REFILL_MS);
        if self.answering.len() >= SLOTS || tokens < REFILL_MS {
            self.refused += 1;
            return Err(REFILL_MS.saturating_sub(tokens).max(REFILL_MS));
        }
        self.taken.push(now);
        self.answering.push(now + ANSWER_MS);
        Ok(now + ANSWER_MS)
    }
}

/// When the last agent was done in milliseconds, how fair that was (Jain's index of when each was: 1 if all at the same
/// time), and how often the vendor refused.
#[derive(Debug)]
struct Outcomes {
    last_ms: u64,
    fairness: f64,
    refused: usize,
}

fn outcomes(done: &BTreeMap<String, u64>, vendor: &Vendor) -> Outcomes {
    assert_eq!(done.len(), AGENTS);
    let times: Vec<f64> = done.values().map(|at| *at as f64).collect();
    let (sum, squares) = (times.iter().sum::<f64>(), times.iter().map(|time| time * time).sum::<f64>());
    let last_ms = done.values().max().copied().unwrap();
    Outcomes { last_ms, fairness: sum * sum / (times.len() as f64 * squares), refused: vendor.refused }
}

fn scheduled() -> Outcomes {
    let mut host: Host = fleet(AGENTS);
    let begun = host.now;
    let (mut vendor, mut done, mut pending) = (Vendor::default(), BTreeMap::new(), Vec::new());
    loop {
        for (id, op) in calls_under_way(&mut host) {
            let now = (host.now - begun) / 1_000;
            let answer = vendor.ask(now);
            pending.push((answer.unwrap_or(now + REFUSAL_MS), id, op, answer.err()));
        }
        let tick = host.tick(0).map(|next| next.as_micros().saturating_sub(begun) / 1_000 + 1);
        let Some(next) = pending.iter().map(|(at, ..)| *at).chain(tick).min() else { break };
        host.now = host.now.max(begun + next * 1_000);
        let due = pending.extract_if(.., |(at, ..)| *at <= next).collect::<Vec<_>>();
        for (at, id, op, refused) in due {
            let name = who(&op);
            let failure = |after| ModelFailure {
                message: "429".to_owned(),
                retryable: true,
                retry_after_ms: Some(after),
                unsettled: false,
            };
            let outcome = match refused {
                Some(after) => Outcome::Model(Err(failure(after))),
                None => {
                    done.insert(name, at);
                    host.carry_out(op)
                }
            };
            host.finish(id, outcome);
        }
        host.tick(0);
    }
    all_done_once(&host, AGENTS);
    outcomes(&done, &vendor)
}

/// Each waits as long as the vendor asks for, and from failure to failure twice as long, half a second to eight, less up to
/// a quarter: as the client libraries of Anthropic and OpenAI do, but for giving up after the second refusal.
fn unscheduled() -> Outcomes {
    let (mut vendor, mut done) = (Vendor::default(), BTreeMap::new());
    let mut seed = 7_u64;
    let mut quarter = |wait: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        wait - (seed >> 33) % (wait / 4 + 1)
    };
    // When each acts, with the calls that it has made and the refusals since.
    let mut agents: Vec<(u64, usize, u32)> = (0..AGENTS as u64).map(|at| (at, 0, 0)).collect();
    while let Some(agent) = (0..AGENTS).filter(|agent| agents[*agent].1 < CALLS).min_by_key(|a| agents[*a]) {
        let (now, calls, refusals) = agents[agent];
        agents[agent] = match vendor.ask(now) {
            Ok(at) => {
                done.insert(agent.to_string(), at);
                (at, calls + 1, 0)
            }
            Err(after) => {
                let wait = quarter((500 << refusals.min(4)).min(8_000)).max(after);
                (now + REFUSAL_MS + wait, calls, refusals + 1)
            }
        };
    }
    outcomes(&done, &vendor)
}

#[test]
fn a_scheduled_fleet_is_refused_less_ends_sooner_and_more_evenly_than_one_that_retries() {
    let (with, without) = (scheduled(), unscheduled());
    println!("with {with:?} without {without:?}");
    assert!(with.refused * 2 < without.refused, "{with:?} {without:?}");
    assert!(with.last_ms <= without.last_ms, "{with:?} {without:?}");
    assert!(with.fairness > without.fairness, "{with:?} {without:?}");
}
