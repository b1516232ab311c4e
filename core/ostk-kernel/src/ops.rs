//! Searches, background processes and the quarantine: one operation of the host, whose JSON result is the reply.
//!
//! A process belongs to the lineage that started it. Its start and the words it is sent are on record before they
//! happen; what it writes stays with the host, which bounds it.

use ostk_policy::Resource;
use serde_json::{Value, json};

use crate::{
    act::{Awaited, Op},
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Stage},
    limits,
    shell::{MAX_TIMEOUT_MS, blob},
    work::check_name,
};

/// Deadline of an operation that names none.
const DEFAULT_TIMEOUT_MS: u64 = 10_000;
/// Lines of output that an interaction returns, unless it asks for less or more.
const DEFAULT_LINES: u64 = 100;
/// Most lines of output that an interaction returns.
const MAX_LINES: u64 = 10_000;
/// Longest pattern of a search in its receipt, in characters.
const MAX_PATTERN: usize = 256;

impl Kernel {
    pub(crate) fn end_lost_processes(&mut self) {
        for alias in self.state.processes.keys().cloned().collect::<Vec<_>>() {
            let event = Event::ProcessEnded { alias, outcome: "lost in a restart".to_owned() };
            self.record(&Caller::Kernel, &event);
        }
    }

    /// A search or a call on a background process: gate, record, run, reply with the host's JSON.
    pub(crate) fn start_op(&mut self, mut job: Job) {
        let text = |field: &str| job.text(field).unwrap_or_default().to_owned();
        let resource = match job.syscall.name {
            "process.start" => Resource::Command(text("command")),
            "process.interact" => Resource::Tool(text("alias")),
            _ => Resource::None,
        };
        let (verb, class) = (job.syscall.name, job.syscall.class);
        match self.pass(&mut job, verb, class, resource) {
            Ok(request) => job.requests.push(request),
            Err(turned) => return self.turn(job, turned),
        }
        if let Err(error) = self.check_process(&job) {
            return self.finish(job, Err(error), None);
        }
        let after = match self.op_intent(&job) {
            Ok(after) => after,
            Err(error) => return self.finish(job, Err(error), None),
        };
        let op = self.op(&job);
        job.stage = Stage::Json;
        self.run_for(job, op, after);
    }

    fn check_process(&self, job: &Job) -> Result<(), CallError> {
        let alias = job.text("alias").unwrap_or_default();
        let owner = self.state.processes.get(alias).map(|(lineage, _)| lineage.as_str());
        match job.syscall.name {
            "process.start" if owner.is_some() => {
                let message = format!("a background process {alias:?} runs already");
                Err(CallError::new(Code::Conflict, message).hint("choose another alias"))
            }
            "process.start" => check_name(alias),
            "process.interact" if owner != Some(job.caller.lineage()) => {
                let message = format!("no background process {alias:?} of yours runs");
                Err(CallError::new(Code::NotFound, message).hint("start one: process.start"))
            }
            _ => Ok(()),
        }
    }

    /// Records what is about to happen, if it has an effect; returns how many records must be durable first.
    fn op_intent(&mut self, job: &Job) -> Result<Option<u64>, CallError> {
        let Some(request) = job.requests.first().cloned().map(Box::new) else { return Ok(None) };
        let text = |field: &str| job.text(field).unwrap_or_default().to_owned();
        let (event, text) = match (job.syscall.name, job.text("action")) {
            ("process.start", _) => {
                let (command_blob, bytes) = blob(text("command").as_bytes());
                let (alias, key) = (text("alias"), job.key.clone());
                (Event::ProcessIntent { alias, command_blob, key, request }, (command_blob, bytes))
            }
            ("process.interact", Some("write" | "kill")) => {
                let (input_blob, bytes) = blob(text("input").as_bytes());
                let facts = [
                    ("alias".to_owned(), json!(text("alias"))),
                    ("action".to_owned(), json!(text("action"))),
                    ("input_blob".to_owned(), json!(input_blob)),
                ];
                let (verb, key) = (job.syscall.name.to_owned(), job.key.clone());
                (Event::CallReceipt { verb, facts: facts.into(), key, request }, (input_blob, bytes))
            }
            ("quarantine.restore", _) => {
                let facts = [("item".to_owned(), json!(text("item")))].into();
                let (verb, key) = (job.syscall.name.to_owned(), job.key.clone());
                let event = Event::CallReceipt { verb, facts, key, request };
                limits::check_record(&event)?;
                return Ok(Some(self.record_with(&job.caller, &event, Vec::new(), Awaited::Durable) + 1));
            }
            _ => return Ok(None),
        };
        limits::check_record(&event)?;
        Ok(Some(self.record_with(&job.caller, &event, vec![text], Awaited::Durable) + 1))
    }

    fn op(&self, job: &Job) -> Op {
        let text = |field: &str| job.text(field).unwrap_or_default().to_owned();
        let timeout_ms = job.number("timeout_ms").unwrap_or(DEFAULT_TIMEOUT_MS).clamp(1, MAX_TIMEOUT_MS);
        match job.syscall.name {
            "process.start" => {
                let bounds = job.requests.first().map(|request| self.bounds_of(&request.actor));
                let bounds = Box::new(bounds.unwrap_or_default());
                let wait_for = job.text("wait_for").map(str::to_owned);
                let (alias, command) = (text("alias"), text("command"));
                let lineage = job.caller.lineage().to_owned();
                Op::Start { lineage, alias, command, bounds, wait_for, timeout_ms }
            }
            "process.interact" => Op::Interact {
                alias: text("alias"),
                action: text("action"),
                input: job.text("input").map(str::to_owned),
                lines: job.number("lines").unwrap_or(DEFAULT_LINES).min(MAX_LINES),
                timeout_ms,
            },
            "quarantine.list" => Op::ListQuarantine,
            "quarantine.restore" => Op::Restore { item: text("item") },
            _ => {
                let (query, may_read) = (job.args.clone(), Box::new(self.readable(&job.caller)));
                Op::Search { query, may_read, timeout_ms }
            }
        }
    }

    pub(crate) fn finish_op(&mut self, job: Job, result: Result<Value, CallError>) {
        let caller = job.caller.clone();
        match (job.syscall.name, &result) {
            ("search", Ok(found)) => {
                let matches =
                    found.get("matches").and_then(Value::as_array).map_or(0, |all| all.len() as u64);
                if let Some(request) = job.requests.first().cloned() {
                    let pattern: String =
                        job.text("pattern").unwrap_or_default().chars().take(MAX_PATTERN).collect();
                    let labels = self.labels_of_matches(found);
                    let event = Event::SearchReceipt { pattern, matches, labels, request: Box::new(request) };
                    self.record_with(&caller, &event, Vec::new(), Awaited::Nothing);
                }
            }
            ("process.start", Err(error)) => {
                let alias = job.text("alias").unwrap_or_default().to_owned();
                self.record(&caller, &Event::ProcessEnded { alias, outcome: error.message.clone() });
            }
            ("process.interact", Ok(answer)) if answer.get("alive") == Some(&Value::Bool(false)) => {
                let alias = job.text("alias").unwrap_or_default().to_owned();
                let outcome =
                    answer.get("exit").map_or_else(|| "ended".to_owned(), |exit| format!("exit {exit}"));
                self.record(&caller, &Event::ProcessEnded { alias, outcome });
            }
            _ => {}
        }
        let after = (job.syscall.name != "search").then_some(self.state.next_seq);
        self.finish(job, result, after);
    }
}
