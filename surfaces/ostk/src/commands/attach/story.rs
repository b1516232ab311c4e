//! An agent's records as a story: what the model said, what it asked for, what came of it, how it ended.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use libostk::Hash;
use ostk_agent::{
    AgentEvent, Outcome,
    model::{Block, ModelReply},
};
use ostk_blobs::BlobStore;
use serde_json::Value;

use crate::{
    output::{Output, Paint},
    record,
};

/// Characters of a reply that are shown; `ostk show SHA256` prints all of it.
const MAX_TEXT: usize = 4_000;

/// The teller; knows whose story it is and where the texts lie.
pub(crate) struct Story {
    lineage: String,
    actor: String,
    packs: PathBuf,
    blobs: Option<BlobStore>,
    /// Its questions that nobody has answered yet.
    open: BTreeSet<u64>,
}

/// What a record comes to.
pub(crate) struct Told {
    /// One line or more; empty when there is nothing worth a line.
    pub(crate) text: String,
    /// The agent ended, well or not.
    pub(crate) ended: Option<bool>,
}

impl Story {
    pub(crate) fn new(state_dir: &Path, lineage: &str) -> Self {
        let (lineage, actor) = (lineage.to_owned(), format!("agent:{lineage}"));
        Self { lineage, actor, packs: state_dir.join("packs"), blobs: None, open: BTreeSet::new() }
    }

    /// The record in words; none when it is not about the agent.
    pub(crate) fn tell(&mut self, record: &Value, output: &Output) -> Option<Told> {
        let event = record["event"].as_str().unwrap_or_default();
        let body = record["body"].as_object()?;
        let about = |member: &str| body.get(member).is_some_and(|name| *name == self.lineage);
        let answered = body.get("approval").and_then(Value::as_u64).is_some_and(|id| self.open.remove(&id));
        if !(record["actor"] == self.actor.as_str() || about("lineage") || about("to") || answered) {
            return None;
        }
        if event == "approval.requested" {
            self.open.extend(record["seq"].as_u64());
        }
        if event == "agent.step" {
            let step = serde_json::from_value(body.get("step")?.clone()).ok()?;
            return Some(self.step(&step, output));
        }
        let ended = (event == "session.ended").then_some(true);
        let blob = |name: &str| body.get(name).and_then(Value::as_str).and_then(|hash| hash.parse().ok());
        let text = match event {
            "gate.denied" => marked(output, Paint::Red, "denied", &record::summary(event, body)),
            "file.conflict" => marked(output, Paint::Yellow, "conflict", &record::summary(event, body)),
            "approval.requested" => {
                let what = format!("(question {}) {}", record["seq"], record::summary(event, body));
                marked(output, Paint::Yellow, "asks", &what)
            }
            "approval.answered" => {
                let by = record["actor"].as_str().unwrap_or_default();
                marked(output, Paint::Yellow, by, &record::summary(event, body))
            }
            "approval.used" => String::new(),
            "quarantine.taken" => marked(output, Paint::Red, "quarantine", &record::summary(event, body)),
            "nudge.sent" => marked(output, Paint::Bold, "told", &self.text(blob("text_blob"))),
            "note.added" => marked(output, Paint::Dim, "note", &self.text(blob("text_blob"))),
            "shell.intent" => marked(output, Paint::Cyan, "$", &self.text(blob("command_blob"))),
            "file.write.receipt" if body.get("done") == Some(&Value::Bool(true)) => String::new(),
            _ => marked(output, Paint::Dim, event, &record::summary(event, body)),
        };
        Some(Told { text, ended })
    }

    fn step(&mut self, step: &AgentEvent, output: &Output) -> Told {
        let text = match step {
            AgentEvent::Spawned { config } => {
                let what = format!("{} session {} on {}", config.lineage, config.session, config.model);
                marked(output, Paint::Bold, "started", &what)
            }
            AgentEvent::ModelIntent { fallback: Some(model), .. } => {
                marked(output, Paint::Yellow, "fallback", &format!("{model} is asked in place of its model"))
            }
            AgentEvent::ModelIntent { .. } | AgentEvent::Nudged { .. } => String::new(),
            AgentEvent::ModelReceipt { call_no, reply_blob, usage, .. } => {
                let turn = format!("turn {call_no}, {} tokens", usage.total_tokens());
                let mut lines = vec![output.paint(Paint::Dim, &turn)];
                lines.extend(self.reply(reply_blob, output));
                lines.join("\n")
            }
            AgentEvent::ModelFailed { error, retryable, .. } => {
                let then = if *retryable { " (it will be tried again)" } else { "" };
                marked(output, Paint::Red, "model", &format!("{}{then}", record::clip(error)))
            }
            AgentEvent::ToolReceipt { result_blob, is_error, .. } => {
                result(&self.text(Some(*result_blob)), *is_error, output)
            }
            AgentEvent::Closing { which } => format!("{which} is used up: its next turn is the last"),
            AgentEvent::HandedOff { summary_blob } => {
                marked(output, Paint::Bold, "handed off", &record::clip(&self.text(Some(*summary_blob))))
            }
            AgentEvent::Finished { outcome } => ending(outcome, output),
        };
        let ended = match step {
            AgentEvent::Finished { outcome } => Some(*outcome == Outcome::Done),
            _ => None,
        };
        Told { text, ended }
    }

    /// What the model said, and which tools it asks for.
    fn reply(&mut self, blob: &Hash, output: &Output) -> Vec<String> {
        let bytes = self.bytes(blob).unwrap_or_default();
        let Ok(reply) = serde_json::from_slice::<ModelReply>(&bytes) else {
            return vec![format!("(the reply is in blob {blob})")];
        };
        reply.content.iter().filter_map(|block| said(block, output)).collect()
    }

    fn text(&mut self, blob: Option<Hash>) -> String {
        let bytes = blob.and_then(|blob| self.bytes(&blob)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).chars().take(MAX_TEXT).collect()
    }

    /// A store that is open sees no later blobs, so it is opened again when one is missing.
    fn bytes(&mut self, blob: &Hash) -> Option<Vec<u8>> {
        let known = self.blobs.as_ref().and_then(|blobs| blobs.get(blob).ok().flatten());
        known.or_else(|| {
            self.blobs = BlobStore::open_read_only(&self.packs).ok();
            self.blobs.as_ref().and_then(|blobs| blobs.get(blob).ok().flatten())
        })
    }
}

/// A piece of a message in a line or more; none for what only its vendor can read.
pub(crate) fn said(block: &Block, output: &Output) -> Option<String> {
    match block {
        Block::Text { text } => Some(text.chars().take(MAX_TEXT).collect()),
        Block::ToolUse { name, input, .. } => {
            Some(marked(output, Paint::Cyan, name, &record::clip(&input.to_string())))
        }
        Block::ToolResult { text, is_error, .. } => Some(result(text, *is_error, output)),
        Block::Opaque { .. } => None,
    }
}

fn result(text: &str, is_error: bool, output: &Output) -> String {
    let paint = if is_error { Paint::Red } else { Paint::Dim };
    marked(output, paint, "  =", &record::clip(text.trim()))
}

fn ending(outcome: &Outcome, output: &Output) -> String {
    match outcome {
        Outcome::Done => marked(output, Paint::Green, "done", ""),
        Outcome::BudgetExhausted { which } => {
            marked(output, Paint::Yellow, "ended", &format!("the limit on {which} is reached"))
        }
        Outcome::Failed { error } => marked(output, Paint::Red, "failed", error),
        Outcome::Cancelled { reason } => marked(output, Paint::Yellow, "cancelled", reason),
    }
}

fn marked(output: &Output, paint: Paint, mark: &str, text: &str) -> String {
    format!("{} {text}", output.paint(paint, mark)).trim_end().to_owned()
}
