//! Sagas as clients and agents begin them: steps that write files of their own, send messages, run commands or lock, of
//! which some fail, some may be tried again, and some cannot be undone.
//!
//! A step of a command is `step SAGA ID CHANCE`, what undoes it `undo SAGA ID CHANCE`: it fails in so many of 100 cases.
//! What must become of it all is judged in `undoing`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{clients::Wish, daemon::Answer, rng::Rng};

/// Steps of a saga at most.
const MAX_STEPS: usize = 4;

/// What a client knows of its sagas.
#[derive(Debug, Default)]
pub(crate) struct Begun(BTreeSet<u64>);

impl Begun {
    /// Takes an answer in: it names the saga, whether it went well or not.
    pub(crate) fn hear(&mut self, wish: &Wish, answer: &Answer) {
        let told = match answer {
            Ok(value) => value,
            Err(error) => &error.data,
        };
        self.0.extend(told.get("saga").and_then(Value::as_u64).filter(|_| wish.verb == "saga.run"));
    }

    /// What a client does with sagas: it begins one, or has one undone that it began.
    pub(crate) fn wish(&self, name: &str, made: u64, others: &[String], rng: &mut Rng) -> Wish {
        let begun: Vec<u64> = self.0.iter().copied().collect();
        let timeout = rng.pick(&[0, 500, 5_000, 60_000]).copied().unwrap_or_default();
        match rng.pick(&begun).copied() {
            Some(id) if rng.chance(25) => {
                Wish::new("saga.compensate", "", json!({ "id": id, "timeout_ms": timeout }))
            }
            _ => {
                let saga = format!("{name}-{made}");
                let steps = steps(&saga, others, rng);
                Wish::new("saga.run", "", json!({ "name": saga, "steps": steps, "timeout_ms": timeout }))
            }
        }
    }
}

/// What an agent does with one: a tool call.
pub(crate) fn tool(name: &str, turn: u64, at: usize, rng: &mut Rng) -> Value {
    let saga = format!("{name}-{turn}-{at}");
    let steps = steps(&saga, &["c0".to_owned(), "c1".to_owned()], rng);
    json!({ "name": saga, "steps": steps })
}

fn steps(saga: &str, others: &[String], rng: &mut Rng) -> Vec<Value> {
    (0..1 + rng.below(MAX_STEPS)).map(|at| step(saga, at, others, rng)).collect()
}

fn step(saga: &str, at: usize, others: &[String], rng: &mut Rng) -> Value {
    let to = rng.pick(others).cloned().unwrap_or_default();
    let call = |call: &str, args: Value| json!({ "call": call, "args": args });
    let (work, undo) = match rng.below(10) {
        0..=3 => {
            let path = format!("g-{saga}-{at}");
            let content = format!("{saga} {at}\n");
            (
                call("file.write", json!({ "path": path, "content": content })),
                call("file.delete", json!({ "path": path })),
            )
        }
        4 => {
            let tell = |what: &str| {
                let text = format!("{what} {saga} {at}");
                call("nudge", json!({ "lineage": to, "text": text }))
            };
            (tell("done"), tell("undone"))
        }
        5..=7 => {
            let (fails, undo_fails) = (rng.pick(&[0, 0, 40, 90]).copied(), rng.pick(&[0, 0, 0, 60]).copied());
            let line = |what: &str, chance: Option<u64>| {
                let line = format!("{what} {saga} {at} {}", chance.unwrap_or_default());
                json!(line)
            };
            (line("step", fails), line("undo", undo_fails))
        }
        8 => {
            let lock =
                |action: &str| call("lock", json!({ "action": action, "name": "l0", "timeout_ms": 20_000 }));
            (lock("create"), lock("release"))
        }
        _ => {
            let nothing = json!({ "path": "no-such-file", "old": "a", "new": "b" });
            (call("file.edit", nothing), call("note", json!({ "text": format!("undone {saga} {at}") })))
        }
    };
    let mut step = json!({
        "id": at.to_string(), "do": work, "timeout_s": rng.within(2, 10), "retries": rng.below(3),
        "idempotent": rng.chance(40)
    });
    if let Some(members) = step.as_object_mut().filter(|_| !rng.chance(10)) {
        members.insert("undo".to_owned(), undo);
    }
    step
}
