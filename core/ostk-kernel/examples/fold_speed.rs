//! Prints how long a million records take to fold: what a start after a long life costs.
//!
//! `cargo run --release -p ostk-kernel --example fold_speed`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::time::{Duration, Instant};

use ostk_kernel::{Change, Event, FileImage, LineageKind, State, fold};
use ostk_log::{Draft, Hash, Timestamp};
use ostk_policy::{Actor, ActorKind, Class, Request, Resource};
use serde_json::Value;

const RECORDS: u64 = 1_000_000;

fn request(path: &str) -> Request {
    let (lineage, call) = ("worker-a".to_owned(), "file.write".to_owned());
    let actor = Actor { kind: ActorKind::Agent, lineage, pin: Some("fix".to_owned()), tools: None };
    let resource = Resource::Path(path.to_owned());
    Request { actor, call, class: Class::FileWrite, resource, labels: Vec::new(), stack: None }
}

/// Three records for each write: the read, the intent with a key, the receipt.
fn event(seq: u64) -> Event {
    let path = format!("src/module-{}/file.rs", seq / 3 % 20_000);
    let image = |n: u64| FileImage { blob: Hash::of(&n.to_le_bytes()), executable: false };
    match seq % 3 {
        0 => Event::FileRead {
            image: image(seq),
            elided: false,
            partial: false,
            key: None,
            request: Box::new(request(&path)),
            path,
        },
        1 => Event::WriteIntent {
            requests: vec![request(&path)],
            changes: vec![Change {
                path,
                before: Some(image(seq - 1)),
                after: Some(image(seq + 2)),
                belief_blob: None,
                merged: false,
                blind: false,
            }],
            verb: "file.write".to_owned(),
            token: None,
            reason: None,
            key: Some(format!("worker-a/{seq}")),
        },
        _ => Event::WriteReceipt { intent: seq - 1, done: true, problem: None },
    }
}

fn draft(seq: u64) -> Option<Draft> {
    let event = if seq == 0 {
        let (lineage, kind) = ("worker-a".to_owned(), LineageKind::Client);
        Event::SessionStarted { lineage, kind, pin: None, client: None, key: None }
    } else {
        event(seq)
    };
    let Value::Object(mut tagged) = serde_json::to_value(event).ok()? else { return None };
    let name = tagged.get("event")?.as_str()?.to_owned();
    let Some(Value::Object(body)) = tagged.remove("body") else { return None };
    let (ts, actor) = (Timestamp::from_micros(seq), "agent:worker-a".to_owned());
    Some(Draft { seq, ts, epoch: 1, actor, event: name, body })
}

fn main() {
    let mut state = State::default();
    let mut rounds = Vec::new();
    // A thousand at a time, as a reader of the journal hands them over.
    for first in (0..RECORDS).step_by(1_000) {
        let drafts: Vec<Draft> = (first..first + 1_000).filter_map(draft).collect();
        let begun = Instant::now();
        for draft in &drafts {
            fold(&mut state, draft).unwrap();
        }
        rounds.push(begun.elapsed());
    }
    let spent: Duration = rounds.iter().sum();
    rounds.sort_unstable();
    // Half of the rounds are slower: on a machine with other work, by that work.
    let undisturbed = rounds.get(rounds.len() / 2).copied().unwrap_or_default() * 1_000;
    println!("{RECORDS} records folded in {spent:.2?}, undisturbed {undisturbed:.2?}");
    let begun = Instant::now();
    let hash = state.hash();
    println!("state hash {hash} in {:.2?}", begun.elapsed());
}
