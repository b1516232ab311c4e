//! Named pipes between processes, as the log has them: what waits in each, and who holds which end.
//!
//! A pipe is a queue with two bounds. A message is a blob; the record that delivers it names its reader, so it is
//! delivered once. Whoever writes or reads first takes that end, and loses it with its session. `calls` carries the system
//! calls out, and decides who waits.

mod calls;

use std::collections::{BTreeSet, VecDeque};

use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use calls::{ACTIONS, PipeStage, pipe_call};

use crate::{
    event::Event,
    state::{State, name_of},
};

/// An end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Where messages come out.
    Read,
    /// Where they go in.
    Write,
}

/// Who holds the ends of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Lineages that hold one.
    pub open: BTreeSet<String>,
    /// Somebody has held one.
    pub had: bool,
}

impl Ends {
    /// Whether all who held one have let go.
    pub fn are_gone(&self) -> bool {
        self.had && self.open.is_empty()
    }
}

/// A message in a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its record.
    pub seq: u64,
    /// Who wrote it.
    pub from: String,
    /// Its text.
    pub text_blob: Hash,
    /// Its size.
    pub bytes: u64,
    /// Labels of the data that its writer had seen.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
}

/// A pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipe {
    /// Who made it.
    pub made_by: String,
    /// When.
    pub since: Timestamp,
    /// Messages that wait in it at most.
    pub messages: u64,
    /// Bytes that wait in it at most.
    pub bytes: u64,
    /// What waits, oldest first.
    pub queue: VecDeque<Message>,
    /// Who reads.
    pub readers: Ends,
    /// Who writes.
    pub writers: Ends,
    /// Messages that went in.
    pub written: u64,
    /// Messages that came out.
    pub delivered: u64,
}

impl Pipe {
    /// Bytes that wait.
    pub fn held(&self) -> u64 {
        self.queue.iter().map(|message| message.bytes).sum()
    }

    /// Whether a message of so many bytes fits now.
    fn fits(&self, bytes: u64) -> bool {
        let most = self.messages + u64::from(ostk_log::planted!("one message too many"));
        (self.queue.len() as u64) < most && self.held().saturating_add(bytes) <= self.bytes
    }

    /// Whether nothing can go in or come out any more.
    fn is_spent(&self) -> bool {
        self.queue.is_empty() && self.writers.are_gone() && self.readers.are_gone()
    }

    const fn ends(&mut self, end: End) -> &mut Ends {
        match end {
            End::Read => &mut self.readers,
            End::Write => &mut self.writers,
        }
    }
}

impl State {
    /// Folds what concerns pipes.
    pub(crate) fn apply_pipe(
        &mut self,
        seq: u64,
        ts: Timestamp,
        actor: &str,
        event: Event,
    ) -> Result<(), String> {
        const NONE: &str = "a pipe that there is not";
        match event {
            Event::PipeMade { pipe, messages, bytes, key } => {
                self.remember(
                    key,
                    seq,
                    "call",
                    true,
                    || json!({ "pipe": pipe, "messages": messages, "bytes": bytes }),
                );
                let made = Pipe {
                    made_by: actor.to_owned(),
                    since: ts,
                    messages,
                    bytes,
                    queue: VecDeque::new(),
                    readers: Ends::default(),
                    writers: Ends::default(),
                    written: 0,
                    delivered: 0,
                };
                self.pipes.insert(pipe, made);
            }
            Event::PipeOpened { pipe, end } => {
                let ends = self.pipes.get_mut(&pipe).ok_or(NONE)?.ends(end);
                ends.had = true;
                ends.open.insert(name_of(actor).to_owned());
            }
            Event::PipeWritten { pipe, text_blob, bytes, key } => {
                self.remember(key, seq, "call", true, || json!({ "pipe": pipe, "message": seq }));
                let labels = self.lineages.get(name_of(actor)).map(|known| known.labels.clone());
                let labels = labels.unwrap_or_default();
                let pipe = self.pipes.get_mut(&pipe).ok_or(NONE)?;
                pipe.queue.push_back(Message { seq, from: actor.to_owned(), text_blob, bytes, labels });
                pipe.written += 1;
            }
            Event::PipeDelivered { pipe, message, to, key } => {
                let from = self.pipes.get_mut(&pipe).ok_or(NONE)?;
                let first = from.queue.pop_front().filter(|first| first.seq == message);
                let first = first.ok_or("a message out of turn")?;
                from.delivered += 1;
                let facts = || json!({ "pipe": pipe, "message": message, "from": first.from, "text_blob": first.text_blob });
                let key = key.filter(|_| !ostk_log::planted!("forgotten message"));
                self.remember(key, seq, "message", true, facts);
                self.label(&to, first.labels.into_iter().collect());
            }
            Event::PipeClosed { pipe, end, lineage, key } => {
                self.remember(key, seq, "call", true, || json!({ "pipe": pipe }));
                match (end, lineage) {
                    (Some(end), Some(lineage)) => {
                        self.pipes.get_mut(&pipe).ok_or(NONE)?.ends(end).open.remove(&lineage);
                    }
                    _ => {
                        self.pipes.remove(&pipe);
                    }
                }
            }
            _ => {}
        }
        self.pipes.retain(|_, pipe| !pipe.is_spent());
        Ok(())
    }

    /// A session has ended, and holds no end any more.
    pub(crate) fn let_pipes_go(&mut self, lineage: &str) {
        for pipe in self.pipes.values_mut() {
            pipe.readers.open.remove(lineage);
            pipe.writers.open.remove(lineage);
        }
        self.pipes.retain(|_, pipe| !pipe.is_spent());
    }
}
