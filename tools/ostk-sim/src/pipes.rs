//! Pipes as clients use them: what they ask for, and what they were promised about it.
//!
//! Every message has a text of its own, so that one which comes twice, or never, is seen. What the log has to say about
//! the same promises is judged in `plumbing`.

use std::collections::{BTreeMap, BTreeSet};

use ostk_kernel::Code;
use serde_json::{Value, json};

use crate::{clients::Wish, daemon::Answer, rng::Rng};

/// Pipes that everybody uses.
pub(crate) const PIPES: &[&str] = &["q0", "q1"];

/// An end of a pipe that is over: its reader has heard that nothing will come, its writer that nobody reads.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) pipe: String,
    pub(crate) reads: bool,
    /// Records when it was asked, and when it was answered: in between it must have been so.
    pub(crate) since: u64,
    pub(crate) until: u64,
}

/// A message that somebody took out.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) pipe: String,
    pub(crate) text: String,
    pub(crate) reader: String,
}

/// What clients were told about pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    /// Messages whose writing was acknowledged, by their records: the pipe and the text.
    pub(crate) sent: BTreeMap<u64, (String, String)>,
    /// By their records as well.
    pub(crate) heard: BTreeMap<u64, Heard>,
    pub(crate) over: Vec<Over>,
    /// Keys of reads whose caller was ended, whose daemon was about to end, or that took too long: nobody asked again.
    pub(crate) given_up: BTreeSet<String>,
    /// The last message that each reader took out of each pipe.
    last: BTreeMap<(String, String), u64>,
}

/// What a client does with a pipe. `made` numbers its calls.
pub(crate) fn wish(name: &str, made: u64, rng: &mut Rng) -> Wish {
    let pipe = rng.pick(PIPES).copied().unwrap_or_default();
    // A run is a few seconds long: whoever waits longer does nothing else in it.
    let timeout = rng.pick(&[0, 0, 50, 500, 20_000]).copied().unwrap_or_default();
    match rng.below(20) {
        0..=2 => {
            let (messages, bytes) = (rng.within(1, 4), rng.within(40, 200));
            Wish::new("pipe.make", "", json!({ "pipe": pipe, "messages": messages, "bytes": bytes }))
        }
        3..=10 => {
            let text = format!("message {name} {made} {}", ".".repeat(rng.below(60)));
            Wish::new("pipe.write", "", json!({ "pipe": pipe, "text": text, "timeout_ms": timeout }))
        }
        11..=18 => Wish::new("pipe.read", "", json!({ "pipe": pipe, "timeout_ms": timeout })),
        _ => match rng.pick(&[Some("read"), Some("write"), Some("all"), None]).copied().flatten() {
            Some(end) => Wish::new("pipe.close", "", json!({ "pipe": pipe, "end": end })),
            None => Wish::new("pipe.close", "", json!({ "pipe": pipe })),
        },
    }
}

/// What an agent does with one: a tool call.
pub(crate) fn tool(name: &str, turn: u64, at: usize, rng: &mut Rng) -> Value {
    let pipe = rng.pick(PIPES).copied().unwrap_or_default();
    match rng.below(5) {
        0 => json!({ "action": "make", "pipe": pipe, "messages": 3 }),
        1..=2 => {
            let text = format!("message {name} {turn} {at}");
            json!({ "action": "write", "pipe": pipe, "text": text, "timeout_ms": 2_000 })
        }
        _ => json!({ "action": "read", "pipe": pipe, "timeout_ms": 2_000 }),
    }
}

impl Pipes {
    /// Takes an answer in that a client heard, asked when the log had `since` records and heard when it had `until`.
    pub(crate) fn hear(
        &mut self,
        client: &str,
        wish: &Wish,
        answer: &Answer,
        (since, until): (u64, u64),
    ) -> Result<(), String> {
        let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
        let pipe = text(&wish.args, "pipe").unwrap_or_default();
        let over = |reads| Over { pipe: pipe.clone(), reads, since, until };
        match (wish.verb, answer) {
            ("pipe.write", Ok(told)) => {
                let sent = (pipe, text(&wish.args, "text").unwrap_or_default());
                self.sent.insert(message_of(told)?, sent);
            }
            ("pipe.write", Err(error)) if error.data.get("broken").is_some() => self.over.push(over(false)),
            ("pipe.read", Ok(told)) if told.get("end").is_some() => self.over.push(over(true)),
            ("pipe.read", Ok(told)) => {
                let words =
                    text(told, "text").ok_or_else(|| format!("a message without its text: {told}"))?;
                return self.take(client, pipe, message_of(told)?, words);
            }
            ("pipe.read", Err(error))
                if matches!(error.code, Code::Poisoned | Code::Stopped | Code::Deadline) =>
            {
                self.given_up.extend(wish.key.iter().map(|key| format!("agent:{client}/{key}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, client: &str, pipe: String, message: u64, text: String) -> Result<(), String> {
        let last = self.last.insert((client.to_owned(), pipe.clone()), message);
        if let Some(last) = last.filter(|last| *last > message) {
            return Err(format!("{client} hears message {message} of {pipe} after {last}"));
        }
        let words = text.clone();
        let heard = Heard { pipe, text, reader: client.to_owned() };
        match self.heard.insert(message, heard) {
            Some(before) => {
                Err(format!("message {message} came to {} and to {client}: {words}", before.reader))
            }
            None => Ok(()),
        }
    }
}

fn message_of(told: &Value) -> Result<u64, String> {
    told.get("message").and_then(Value::as_u64).ok_or_else(|| format!("a message without its record: {told}"))
}
