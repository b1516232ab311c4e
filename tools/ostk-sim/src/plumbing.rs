//! The judge of pipes: follows every pipe through the records, and holds what clients were told against it.
//!
//! What went in comes out once, oldest first, and to the one who was told of it; no pipe holds more than its bounds; it
//! is over when those of the other end have gone, and only then. Shares no code with the kernel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ostk_log::{Draft, Hash};
use serde_json::{Map, Value};

use crate::pipes::{Over, Pipes};

/// Who holds the ends of one kind, and whether anybody ever did.
#[derive(Default)]
struct Ends {
    open: BTreeSet<String>,
    had: bool,
}

impl Ends {
    fn are_gone(&self) -> bool {
        self.had && self.open.is_empty()
    }
}

#[derive(Default)]
struct Pipe {
    messages: u64,
    bytes: u64,
    queue: VecDeque<u64>,
    readers: Ends,
    writers: Ends,
}

/// A message as the log has it.
struct Message {
    pipe: String,
    text_blob: String,
    bytes: u64,
    fate: Fate,
}

/// What became of it.
enum Fate {
    Waits,
    Came {
        to: String,
        key: Option<String>,
    },
    /// Its pipe was closed before anybody took it out.
    Dropped,
}

/// Every pipe and message so far.
#[derive(Default)]
struct Plumbing {
    pipes: BTreeMap<String, Pipe>,
    messages: BTreeMap<u64, Message>,
}

/// What is wrong with the pipes of a log, and how many messages came out of them.
pub(crate) fn judge(history: &[Draft], told: &Pipes, wrong: &mut Vec<String>) -> u64 {
    let mut plumbing = Plumbing::default();
    let mut over: Vec<&Over> = told.over.iter().collect();
    for draft in history {
        let now = draft.seq + 1;
        over.retain(|claim| !(claim.since..=claim.until).contains(&draft.seq) || !plumbing.is_over(claim));
        if let Err(what) = plumbing.record(draft) {
            wrong.push(format!("record {}: {what}", draft.seq));
        }
        over.retain(|claim| !(claim.since..=claim.until).contains(&now) || !plumbing.is_over(claim));
    }
    for Over { pipe, reads, since, until } in over {
        let who = if *reads { "a reader" } else { "a writer" };
        wrong.push(format!(
            "{who} of {pipe} was told that it is over, which it was not from {since} to {until}"
        ));
    }
    plumbing.compare(told, wrong);
    plumbing.messages.values().filter(|message| matches!(message.fate, Fate::Came { .. })).count() as u64
}

fn text<'v>(body: &'v Map<String, Value>, name: &str) -> &'v str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(body: &Map<String, Value>, name: &str) -> u64 {
    body.get(name).and_then(Value::as_u64).unwrap_or_default()
}

impl Plumbing {
    fn record(&mut self, draft: &Draft) -> Result<(), String> {
        let body = &draft.body;
        let actor = draft.actor.split_once(':').map_or(draft.actor.as_str(), |(_, name)| name);
        match draft.event.as_str() {
            "pipe.made" => {
                let (messages, bytes) = (number(body, "messages"), number(body, "bytes"));
                let made = Pipe { messages, bytes, ..Pipe::default() };
                if self.pipes.insert(text(body, "pipe").to_owned(), made).is_some() {
                    return Err(format!("{} is made a second time", text(body, "pipe")));
                }
            }
            "pipe.opened" => {
                let ends = self.ends(text(body, "pipe"), text(body, "end"))?;
                ends.had = true;
                ends.open.insert(actor.to_owned());
            }
            "pipe.written" => self.written(draft.seq, body)?,
            "pipe.delivered" => self.delivered(body)?,
            "pipe.closed" if text(body, "end").is_empty() => self.closed(text(body, "pipe"))?,
            "pipe.closed" => {
                let ends = self.ends(text(body, "pipe"), text(body, "end"))?;
                ends.open.remove(text(body, "lineage"));
            }
            "session.ended" | "supervise.fell" => self.let_go(text(body, "lineage")),
            "agent.step" if draft.body.get("step").is_some_and(is_last) => {
                self.let_go(text(body, "lineage"));
            }
            _ => return Ok(()),
        }
        self.pipes
            .retain(|_, pipe| !(pipe.queue.is_empty() && pipe.readers.are_gone() && pipe.writers.are_gone()));
        Ok(())
    }

    fn pipe(&mut self, name: &str) -> Result<&mut Pipe, String> {
        self.pipes.get_mut(name).ok_or_else(|| format!("there is no pipe {name}"))
    }

    fn ends(&mut self, name: &str, end: &str) -> Result<&mut Ends, String> {
        let pipe = self.pipe(name)?;
        Ok(if end == "read" { &mut pipe.readers } else { &mut pipe.writers })
    }

    fn let_go(&mut self, lineage: &str) {
        for pipe in self.pipes.values_mut() {
            pipe.readers.open.remove(lineage);
            pipe.writers.open.remove(lineage);
        }
    }

    fn written(&mut self, seq: u64, body: &Map<String, Value>) -> Result<(), String> {
        let (name, bytes) = (text(body, "pipe").to_owned(), number(body, "bytes"));
        let sizes = &self.messages;
        let pipe = self.pipes.get_mut(&name).ok_or_else(|| format!("there is no pipe {name}"))?;
        if pipe.readers.are_gone() {
            return Err(format!("a message into {name}, which nobody reads any more"));
        }
        let waiting: u64 =
            pipe.queue.iter().filter_map(|seq| sizes.get(seq)).map(|message| message.bytes).sum();
        pipe.queue.push_back(seq);
        let (count, held) = (pipe.queue.len() as u64, waiting + bytes);
        if count > pipe.messages || held > pipe.bytes {
            return Err(format!(
                "{name} holds {count} messages of {held} bytes, at most {} of {}",
                pipe.messages, pipe.bytes
            ));
        }
        let text_blob = text(body, "text_blob").to_owned();
        self.messages.insert(seq, Message { pipe: name, text_blob, bytes, fate: Fate::Waits });
        Ok(())
    }

    fn delivered(&mut self, body: &Map<String, Value>) -> Result<(), String> {
        let (name, seq) = (text(body, "pipe"), number(body, "message"));
        let first = self.pipe(name)?.queue.pop_front();
        if first != Some(seq) {
            return Err(format!("message {seq} comes out of {name}, where {first:?} is the first"));
        }
        let key = body.get("key").and_then(Value::as_str).map(str::to_owned);
        if let Some(message) = self.messages.get_mut(&seq) {
            message.fate = Fate::Came { to: text(body, "to").to_owned(), key };
        }
        Ok(())
    }

    fn closed(&mut self, name: &str) -> Result<(), String> {
        let pipe = self.pipes.remove(name).ok_or_else(|| format!("there is no pipe {name}"))?;
        for seq in pipe.queue {
            if let Some(message) = self.messages.get_mut(&seq) {
                message.fate = Fate::Dropped;
            }
        }
        Ok(())
    }

    fn is_over(&self, claim: &Over) -> bool {
        match self.pipes.get(&claim.pipe) {
            None => true,
            Some(pipe) if claim.reads => pipe.writers.are_gone() && pipe.queue.is_empty(),
            Some(pipe) => pipe.readers.are_gone(),
        }
    }

    /// What clients were told is what the log says.
    fn compare(&self, told: &Pipes, wrong: &mut Vec<String>) {
        for (seq, (pipe, text)) in &told.sent {
            let blob = Hash::of(text.as_bytes()).to_string();
            if !self
                .messages
                .get(seq)
                .is_some_and(|message| message.pipe == *pipe && message.text_blob == blob)
            {
                wrong.push(format!("lost: message {seq} of {pipe} was acknowledged: {text}"));
            }
        }
        for (seq, heard) in &told.heard {
            let blob = Hash::of(heard.text.as_bytes()).to_string();
            let came = self.messages.get(seq).is_some_and(|message| {
                let came = matches!(&message.fate, Fate::Came { to, .. } if *to == heard.reader);
                came && message.pipe == heard.pipe && message.text_blob == blob
            });
            if !came {
                wrong.push(format!("{} heard message {seq}, which did not come to it", heard.reader));
            }
        }
        for (seq, message) in &self.messages {
            // An agent's calls have its generation in their keys, and nobody hears what it is told.
            if let Fate::Came { to, key: Some(key) } = &message.fate
                && key.starts_with("agent:")
                && !told.heard.contains_key(seq)
                && !told.given_up.contains(key)
            {
                wrong.push(format!(
                    "message {seq} came to {to}, which asked until it was answered and heard nothing"
                ));
            }
        }
    }
}

fn is_last(step: &Value) -> bool {
    step.get("step").and_then(Value::as_str) == Some("finished")
}
