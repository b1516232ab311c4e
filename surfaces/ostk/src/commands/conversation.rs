//! `ostk lineage show NAME --conversation`: what was said between an agent and its model, read back from the log.
//!
//! A native agent's conversation is part of the fold. A client that ostk started keeps its own, so it is read from the
//! requests that the relay recorded: each holds all that was said before it. No daemon is needed.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use libostk::{Entry, Hash};
use ostk_agent::model::{Message, ModelRequest, Role};
use ostk_blobs::BlobStore;
use ostk_daemon::Exchange;
use ostk_kernel::State;
use serde_json::{Map, Value, json};

use super::{Done, attach};
use crate::{
    connect,
    failure::Failure,
    output::{Output, Paint},
    record,
};

/// Characters of the system prompt that are shown; `--json` prints all of it.
const MAX_SYSTEM: usize = 400;

/// A conversation as its last request has it.
struct Conversation {
    /// Records of its first and last request; none for a native agent's.
    records: Option<(u64, u64)>,
    model: String,
    system: String,
    messages: Vec<Message>,
}

pub(crate) fn show(lineage: &str, output: &Output) -> Done {
    let state_dir = connect::project()?.state_dir();
    let blobs = BlobStore::open_read_only(&state_dir.join("packs")).map_err(Failure::check)?;
    let load = |hash: &Hash| blobs.get(hash).ok().flatten();
    let mut found = relayed(&state_dir, lineage, &load)?;
    if found.is_empty() {
        found.extend(native(&state_dir, lineage, &load)?);
    }
    if found.is_empty() {
        return Err(Failure::check(format!("the log has no conversation of {lineage:?}"))
            .hint("native agents and clients started with `ostk run` have one; ostk lineage list"));
    }
    let rows: Vec<Value> = found.iter().map(Conversation::row).collect();
    output.show(&json!({ "lineage": lineage, "conversations": rows }), |output| {
        found.iter().map(|one| one.told(output)).collect::<Vec<_>>().join("\n\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The conversation of an agent in the daemon.
fn native(
    state_dir: &Path,
    lineage: &str,
    load: &dyn Fn(&Hash) -> Option<Vec<u8>>,
) -> Result<Option<Conversation>, Failure> {
    let mut state = State::default();
    for entry in libostk::records(state_dir)? {
        ostk_kernel::fold_line(&mut state, &entry?.line).map_err(Failure::check)?;
    }
    let Some(agent) = state.agents.get(lineage) else { return Ok(None) };
    let ModelRequest { model, system, messages, .. } = agent.compose(load, &[]).map_err(Failure::check)?;
    Ok(Some(Conversation { records: None, model, system, messages }))
}

/// The conversations of a client. It may hold several, with a model for titles or with agents of its own; they are told
/// apart by what was said first.
fn relayed(
    state_dir: &Path,
    lineage: &str,
    load: &dyn Fn(&Hash) -> Option<Vec<u8>>,
) -> Result<Vec<Conversation>, Failure> {
    let actor = format!("agent:{lineage}");
    let mut found: Vec<Conversation> = Vec::new();
    let mut asked = BTreeMap::new();
    for entry in libostk::records(state_dir)? {
        let entry = entry?;
        let header = record::header(&entry)?;
        if header.actor != actor {
            continue;
        }
        match header.event {
            "relay.intent" => {
                asked.insert(entry.seq, body(&entry)?);
            }
            "relay.receipt" => {
                let receipt = body(&entry)?;
                let seq = receipt.get("intent").and_then(Value::as_u64).unwrap_or_default();
                let reply = receipt.get("reply_blob");
                let intent = asked.remove(&seq);
                if let Some(next) = intent.and_then(|intent| exchange(seq, &intent, reply, load)) {
                    place(&mut found, next);
                }
            }
            _ => {}
        }
    }
    // What nobody has answered yet, or no daemon lived to hear.
    for (seq, intent) in asked {
        if let Some(next) = exchange(seq, &intent, None, load) {
            place(&mut found, next);
        }
    }
    Ok(found)
}

fn body(entry: &Entry) -> Result<Map<String, Value>, Failure> {
    Ok(record::parse(entry)?.body)
}

fn exchange(
    seq: u64,
    intent: &Map<String, Value>,
    reply: Option<&Value>,
    load: &dyn Fn(&Hash) -> Option<Vec<u8>>,
) -> Option<Conversation> {
    let blob = |value: Option<&Value>| load(&value?.as_str()?.parse().ok()?);
    let text = |name: &str| intent.get(name).and_then(Value::as_str).unwrap_or_default();
    let request = blob(intent.get("body_blob"))?;
    let reply = blob(reply).unwrap_or_default();
    let Exchange { system, messages } = Exchange::read(text("path"), &request, &reply)?;
    Some(Conversation { records: Some((seq, seq)), model: text("model").to_owned(), system, messages })
}

/// Takes the place of the conversation that it goes on with.
fn place(found: &mut Vec<Conversation>, mut next: Conversation) {
    let begun = found.iter().position(|one| one.messages.first() == next.messages.first());
    if let Some(before) = begun.map(|at| found.remove(at)) {
        let first = |of: &Conversation| of.records.map(|(first, _)| first);
        next.records = first(&before).zip(next.records).map(|(first, (_, last))| (first, last));
    }
    found.push(next);
}

impl Conversation {
    fn row(&self) -> Value {
        let Self { records, model, system, messages } = self;
        json!({ "records": records, "model": model, "system": system, "messages": messages })
    }

    fn told(&self, output: &Output) -> String {
        let mut lines = vec![output.paint(Paint::Bold, &self.head())];
        if !self.system.is_empty() {
            let clipped: String = self.system.chars().take(MAX_SYSTEM).collect();
            let more = if clipped.len() < self.system.len() { "…" } else { "" };
            lines.push(output.paint(Paint::Dim, &format!("{clipped}{more}")));
        }
        for message in &self.messages {
            let who = match message.role {
                Role::User => output.paint(Paint::Yellow, "user"),
                Role::Assistant => output.paint(Paint::Green, "model"),
            };
            lines.push(who);
            lines.extend(message.content.iter().filter_map(|block| attach::said(block, output)));
        }
        lines.join("\n")
    }

    fn head(&self) -> String {
        let records = match self.records {
            None => String::new(),
            Some((first, last)) if first == last => format!(", record {first}"),
            Some((first, last)) => format!(", records {first} to {last}"),
        };
        format!("{}, {} messages{records}", self.model, self.messages.len())
    }
}
