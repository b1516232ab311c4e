//! Idempotency: a repeated call with the same key gets the first call's result and no second effect.
//!
//! A key belongs to its caller. While the first call is open, repetitions wait for it; afterwards the fold holds the
//! result, also across a restart. Results that are too large for the fold are put together from their blobs again.

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::{Hash, Timestamp};
use serde_json::{Value, json};

use crate::{
    act::{Act, BlobBytes, Op},
    call::{CallError, Caller, Code},
    files::{Content, Refusal, merge},
    kernel::{Job, Kernel, ReplyTo, Stage, Target},
    queue::JobId,
    shell::shown,
    state::Keyed,
};

/// Repetitions of one open call that wait for it.
const MAX_WAITING: usize = 64;

impl Kernel {
    /// The key as the fold keeps it: of this caller, and of a native agent's session.
    pub(crate) fn scoped_key(&self, caller: &Caller, reply_to: &ReplyTo, key: &str) -> String {
        let lineage = caller.lineage();
        match reply_to {
            ReplyTo::Tool { generation, .. } => format!("{lineage}#{generation}/{key}"),
            _ => format!("{}/{key}", caller.actor()),
        }
    }

    /// Takes a job whose key is known: it waits for the open call, or is answered like the one that ended. Gives back
    /// a job that is the first with its key.
    pub(crate) fn first_of_its_key(&mut self, job: Job) -> Option<Job> {
        let Some(key) = job.key.clone() else { return Some(job) };
        if let Some(waiting) = self.open_keys.get_mut(&key) {
            if waiting.len() < MAX_WAITING {
                waiting.push((job.caller, job.reply_to));
            } else {
                let error = CallError::new(Code::Busy, "this call is still under way");
                self.deliver(&job.caller, job.reply_to, Err(error), None);
            }
            return None;
        }
        // Whoever began a saga waits for its end, also when a restart came between.
        if let Some(id) = self.open_saga_of(&key) {
            self.open_keys.insert(key, Vec::new());
            self.wait_for_saga(job, id);
            return None;
        }
        if self.state.keys.contains_key(&key) {
            self.repeat(job.caller, job.reply_to, &key);
            return None;
        }
        self.open_keys.insert(key, Vec::new());
        Some(job)
    }

    fn open_saga_of(&self, key: &str) -> Option<u64> {
        let keyed = self.state.keys.get(key).filter(|keyed| keyed.kind == "saga")?;
        let id = keyed.facts.get("saga").and_then(Value::as_u64)?;
        self.state.sagas.get(&id).is_some_and(|saga| saga.state.is_open()).then_some(id)
    }

    /// Its caller no longer waits for the open call with this key: it ends if it has had no effect yet, and a command of it
    /// is killed, which still settles its files and its receipt.
    pub fn withdraw(&mut self, now: Timestamp, caller: &Caller, key: &str) -> Vec<Act> {
        self.clock(now);
        let key = self.scoped_key(caller, &ReplyTo::Nobody, key);
        let withdrawn = |job: &Job| job.key.as_deref().is_some_and(|own| crate::needles::is_part(own, &key));
        let is_shell = |id: &JobId| {
            self.jobs.get(id).is_some_and(|job| withdrawn(job) && matches!(job.stage, Stage::Shell(_)))
        };
        let running = self.ops.iter().filter(|(_, target)| matches!(target, Target::Job(id) if is_shell(id)));
        let running: Vec<Act> = running.map(|(op, _)| Act::Abort { id: *op }).collect();
        self.acts.extend(running);
        self.cancel(
            |job| withdrawn(job) && job.may_expire(),
            |job| CallError::new(Code::Stopped, format!("{} was withdrawn by its caller", job.syscall.name)),
        );
        self.take_acts()
    }

    /// Answers the repetitions that waited for a call that has ended.
    pub(crate) fn answer_repetitions(&mut self, key: &str, result: &Result<Value, CallError>) {
        for (caller, reply_to) in self.open_keys.remove(key).unwrap_or_default() {
            if self.state.keys.contains_key(key) {
                self.repeat(caller, reply_to, key);
            } else {
                self.deliver(&caller, reply_to, result.clone(), Some(self.state.next_seq));
            }
        }
    }

    /// Answers like the call that had this key; what it needs of the packs is loaded first.
    fn repeat(&mut self, caller: Caller, reply_to: ReplyTo, key: &str) {
        let Some(keyed) = self.state.keys.get(key) else { return };
        let blobs = blobs_of(keyed);
        if blobs.is_empty() {
            let result = self.repeated(key, &BTreeMap::new());
            return self.deliver(&caller, reply_to, result, Some(self.state.next_seq));
        }
        let Some(syscall) = crate::table::lookup("status") else { return };
        let job = Job {
            stage: Stage::Repeat(key.to_owned()),
            ..Job::new(self.fresh_id(), caller, syscall, Value::Null, self.now.plus_millis(60_000), reply_to)
        };
        let blobs = blobs.into_iter().collect();
        self.run_for(job, Op::Observe { paths: Vec::new(), blobs }, None);
    }

    /// The result that the fold remembers, with the bodies that `blobs` holds.
    pub(crate) fn repeated(&self, key: &str, blobs: &BTreeMap<Hash, BlobBytes>) -> Result<Value, CallError> {
        let Some(keyed) = self.state.keys.get(key) else {
            return Err(CallError::new(Code::Failed, "the result of this call was forgotten"));
        };
        let mut facts = keyed.facts.clone();
        add(&mut facts, "repeated", json!(true));
        match keyed.kind.as_str() {
            "message" => {
                let bytes = hash_of(&facts, "text_blob").and_then(|hash| blobs.get(&hash));
                let text = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                add(&mut facts, "text", json!(text));
                Ok(facts)
            }
            "shell" if keyed.done => {
                for stream in ["stdout", "stderr"] {
                    let hash = hash_of(&facts, &format!("{stream}_blob"));
                    let bytes = hash.and_then(|hash| blobs.get(&hash)).map_or(&[][..], |bytes| bytes);
                    add(&mut facts, stream, json!(shown(bytes)));
                }
                Ok(facts)
            }
            "saga" => {
                let id = facts.get("saga").and_then(Value::as_u64).unwrap_or_default();
                self.saga_result(id, crate::sagas::SagaState::Completed)
            }
            "conflict" => Err(conflict_again(facts, blobs)),
            "process" if !self.runs(&facts) => {
                let message =
                    "this background process was started once and has ended; it was not started again";
                Err(CallError::new(Code::Failed, message).data(facts))
            }
            _ if keyed.done => Ok(facts),
            kind => Err(undone(kind, facts)),
        }
    }

    fn runs(&self, facts: &Value) -> bool {
        let alias = facts.get("alias").and_then(Value::as_str).unwrap_or_default();
        let intent = facts.get("intent").and_then(Value::as_u64);
        self.state.processes.get(alias).is_some_and(|(_, seq)| Some(*seq) == intent)
    }
}

fn add(facts: &mut Value, name: &str, value: Value) {
    if let Some(facts) = facts.as_object_mut() {
        facts.insert(name.to_owned(), value);
    }
}

fn hash_of(facts: &Value, name: &str) -> Option<Hash> {
    facts.get(name)?.as_str()?.parse().ok()
}

fn blobs_of(keyed: &Keyed) -> BTreeSet<Hash> {
    let names: &[&str] = match keyed.kind.as_str() {
        "shell" if keyed.done => &["stdout_blob", "stderr_blob"],
        "message" => &["text_blob"],
        "conflict" => &["base_blob", "current_blob", "proposed_blob"],
        _ => &[],
    };
    names.iter().filter_map(|name| hash_of(&keyed.facts, name)).collect()
}

/// The same conflict: merging the same three versions again finds the same clash.
fn conflict_again(facts: Value, blobs: &BTreeMap<Hash, BlobBytes>) -> CallError {
    let load = |name: &str| {
        let hash = hash_of(&facts, name)?;
        Some(Content { bytes: blobs.get(&hash)?.clone(), hash, executable: false })
    };
    let path = facts.get("path").and_then(Value::as_str).unwrap_or_default();
    let versions = (load("base_blob"), load("current_blob"), load("proposed_blob"));
    if let (Some(base), Some(current), Some(proposed)) = versions
        && let Err(Refusal::Clash(clash)) = merge(path, base, current, proposed)
    {
        return clash.to_error(facts.get("token").and_then(Value::as_str));
    }
    CallError::new(Code::Conflict, "this call ended in a conflict; nothing was written").data(facts)
}

fn undone(kind: &str, facts: Value) -> CallError {
    let problem = facts.get("problem").and_then(Value::as_str).unwrap_or("it had no effect").to_owned();
    let message = match kind {
        "shell" => format!("the command was not run again: {problem}"),
        _ => format!("this call was not carried out: {problem}"),
    };
    CallError::new(Code::Failed, message).data(facts)
}
