//! Commands, background processes and searches: work for a process beside the kernel.
//!
//! A command's intent is durable before it starts. The workspace is scanned before and after it; what changed in
//! between is looked at behind whatever is queued on those paths, recorded, and ascribed to the caller.

use std::sync::Arc;

use ostk_log::Hash;
use ostk_policy::Resource;
use serde_json::{Value, json};

use crate::{
    act::{BlobBytes, Op, Outcome, ShellEnd},
    call::{CallError, Code},
    event::{Event, Via},
    kernel::{Job, Kernel, Stage, Target},
    queue::JobId,
};

/// Deadline of a command that names none.
const DEFAULT_TIMEOUT_MS: u64 = 120_000;
/// Longest deadline a command may ask for: one hour.
const MAX_TIMEOUT_MS: u64 = 3_600_000;
/// Output shown in a reply; the whole kept output is in the blob.
const MAX_SHOWN: usize = 32 * 1024;

/// Where a command stands.
#[derive(Debug)]
pub(crate) enum ShellStage {
    Running {
        intent: u64,
    },
    /// The command ended; `waiting` changed files are still being looked at.
    Settling {
        intent: u64,
        end: Box<Result<ShellEnd, String>>,
        changed: Vec<String>,
        waiting: usize,
    },
    /// A client's own command ran: the scan is under way, then its files are looked at.
    HookScan,
    HookSettling {
        changed: Vec<String>,
        waiting: usize,
    },
}

impl Kernel {
    pub(crate) fn start_shell(&mut self, mut job: Job) {
        let command = job.text("command").unwrap_or_default().to_owned();
        let class = job.syscall.class;
        let request = match self.pass(&job.caller, "shell.run", class, Resource::Command(command.clone())) {
            Ok(request) => request,
            Err((error, after)) => return self.finish(job, Err(error), after),
        };
        let timeout_ms = job.number("timeout_ms").unwrap_or(DEFAULT_TIMEOUT_MS).clamp(1, MAX_TIMEOUT_MS);
        let cwd = job.text("cwd").unwrap_or("").to_owned();
        let (command_blob, bytes) = blob(command.as_bytes());
        let event = Event::ShellIntent {
            command_blob,
            cwd: cwd.clone(),
            timeout_ms,
            key: job.key.clone(),
            request: Box::new(request.clone()),
        };
        let intent = self.record_with(&job.caller.clone(), &event, vec![(command_blob, bytes)], false);
        let (writable, protected) = self.gate.bounds(&request.actor);
        job.stage = Stage::Shell(ShellStage::Running { intent });
        self.run_for(job, Op::Shell { command, cwd, timeout_ms, writable, protected }, Some(intent + 1));
    }

    pub(crate) fn resume_shell(&mut self, mut job: Job, outcome: Outcome) {
        let stage = std::mem::replace(&mut job.stage, Stage::New);
        match (stage, outcome) {
            (Stage::Shell(ShellStage::Running { intent }), Outcome::Shell { end, before, after }) => {
                self.settle_foreign(&before, &Via::Watcher, None);
                self.settle_shell(job, intent, end, after);
            }
            (Stage::Shell(ShellStage::HookScan), Outcome::Scanned(Ok(paths))) => {
                let waiting = paths.len();
                let (id, caller) = (job.id, job.caller.clone());
                job.stage = Stage::Shell(ShellStage::HookSettling { changed: Vec::new(), waiting });
                self.jobs.insert(id, job);
                self.settle_foreign(&paths, &Via::Hook, Some((id, &caller)));
                self.finish_if_settled(id);
            }
            (_, Outcome::Scanned(Err(message))) => {
                self.finish(job, Err(CallError::new(Code::Failed, message)), None)
            }
            (_, _) => self.finish(
                job,
                Err(CallError::new(Code::Failed, "bug: unexpected outcome of a command")),
                None,
            ),
        }
    }

    fn settle_shell(
        &mut self,
        mut job: Job,
        intent: u64,
        end: Result<ShellEnd, String>,
        touched: Vec<String>,
    ) {
        let (id, caller, waiting) = (job.id, job.caller.clone(), touched.len());
        job.stage =
            Stage::Shell(ShellStage::Settling { intent, end: Box::new(end), changed: Vec::new(), waiting });
        self.jobs.insert(id, job);
        self.settle_foreign(&touched, &Via::Shell(intent), Some((id, &caller)));
        self.finish_if_settled(id);
    }

    /// One of the files that a command touched has been looked at; `found` lists it if it is not as the log had it.
    pub(crate) fn shell_settled(&mut self, id: JobId, found: &Result<Value, CallError>) {
        if let Some(job) = self.jobs.get_mut(&id)
            && let Stage::Shell(
                ShellStage::Settling { waiting, changed, .. } | ShellStage::HookSettling { waiting, changed },
            ) = &mut job.stage
        {
            *waiting = waiting.saturating_sub(1);
            let paths = found.as_ref().ok().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            changed.extend(paths.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        self.finish_if_settled(id);
    }

    fn finish_if_settled(&mut self, id: JobId) {
        let settled = self.jobs.get(&id).is_some_and(|job| {
            matches!(
                &job.stage,
                Stage::Shell(
                    ShellStage::Settling { waiting: 0, .. } | ShellStage::HookSettling { waiting: 0, .. }
                )
            )
        });
        if !settled {
            return;
        }
        let Some(mut job) = self.jobs.remove(&id) else { return };
        match std::mem::replace(&mut job.stage, Stage::New) {
            Stage::Shell(ShellStage::Settling { intent, end, changed, .. }) => {
                self.finish_shell(job, intent, *end, changed);
            }
            Stage::Shell(ShellStage::HookSettling { changed, .. }) => {
                self.finish(job, Ok(json!({ "changed": changed })), None);
            }
            _ => {}
        }
    }

    fn finish_shell(&mut self, job: Job, intent: u64, end: Result<ShellEnd, String>, changed: Vec<String>) {
        let mut blobs = Vec::new();
        let mut keep = |bytes: &[u8]| {
            (!bytes.is_empty()).then(|| {
                let (hash, bytes) = blob(bytes);
                blobs.push((hash, bytes));
                hash
            })
        };
        let ended = end.as_ref().ok();
        let event = Event::ShellReceipt {
            intent,
            exit: ended.map(|end| end.exit),
            timed_out: ended.is_some_and(|end| end.timed_out),
            stdout_blob: ended.and_then(|end| keep(&end.stdout)),
            stderr_blob: ended.and_then(|end| keep(&end.stderr)),
            dropped_bytes: ended.map_or(0, |end| end.dropped_bytes),
            duration_ms: ended.map_or(0, |end| end.duration_ms),
            changed: changed.clone(),
            problem: end.as_ref().err().cloned(),
        };
        self.record_with(&job.caller.clone(), &event, blobs, false);
        let after = Some(self.state.next_seq);
        let result = match end {
            Ok(end) => Ok(json!({ "intent": intent, "exit": end.exit, "timed_out": end.timed_out,
                "stdout": shown(&end.stdout), "stderr": shown(&end.stderr), "dropped_bytes": end.dropped_bytes,
                "duration_ms": end.duration_ms, "changed": changed })),
            Err(message) => Err(CallError::new(Code::Failed, message)),
        };
        self.finish(job, result, after);
    }

    pub(crate) fn start_hook_scan(&mut self, mut job: Job) {
        job.stage = Stage::Shell(ShellStage::HookScan);
        self.run_for(job, Op::Scan, None);
    }

    /// Commands whose end a crash hid: nobody knows how far they came, so nobody runs them again.
    pub(crate) fn report_lost_shells(&mut self) {
        let open: Vec<(u64, String)> =
            self.state.open_shells.iter().map(|(intent, shell)| (*intent, shell.actor.clone())).collect();
        for (intent, actor) in open {
            let event = Event::ShellReceipt {
                intent,
                exit: None,
                timed_out: false,
                stdout_blob: None,
                stderr_blob: None,
                dropped_bytes: 0,
                duration_ms: 0,
                changed: Vec::new(),
                problem: Some("interrupted by a restart; how far it came is unknown".to_owned()),
            };
            self.record(&crate::files::caller_of(&actor), &event);
        }
        self.run(Op::Scan, Target::Scan, None);
    }

    pub(crate) fn end_lost_processes(&mut self) {
        for alias in self.state.processes.keys().cloned().collect::<Vec<_>>() {
            let event = Event::ProcessEnded { alias, outcome: "lost in a restart".to_owned() };
            self.record(&crate::call::Caller::Kernel, &event);
        }
    }

    /// A search or a call on a background process: gate, record, run, reply with the host's JSON.
    pub(crate) fn start_op(&mut self, mut job: Job) {
        let name = job.syscall.name;
        let text = |field: &str| job.text(field).unwrap_or_default().to_owned();
        let alias = text("alias");
        if name == "process.interact" {
            let owner = self.state.processes.get(&alias).map(|(lineage, _)| lineage.clone());
            if owner.as_deref() != Some(job.caller.lineage()) {
                let error =
                    CallError::new(Code::NotFound, format!("no background process {alias:?} of yours runs"))
                        .hint("start one: process.start");
                return self.finish(job, Err(error), None);
            }
        }
        if name == "process.start" && self.state.processes.contains_key(&alias) {
            let error =
                CallError::new(Code::Conflict, format!("a background process {alias:?} runs already"));
            return self.finish(job, Err(error), None);
        }
        let resource = match name {
            "process.start" => Resource::Command(text("command")),
            "process.interact" => Resource::Tool(alias.clone()),
            _ => Resource::None,
        };
        let request = match self.pass(&job.caller, name, job.syscall.class, resource) {
            Ok(request) => request,
            Err((error, after)) => return self.finish(job, Err(error), after),
        };
        let timeout_ms = job.number("timeout_ms").unwrap_or(10_000).clamp(1, MAX_TIMEOUT_MS);
        let mut after = None;
        let op = match name {
            "process.start" => {
                let (command_blob, bytes) = blob(text("command").as_bytes());
                let request = Box::new(request.clone());
                let event = Event::ProcessIntent { alias: alias.clone(), command_blob, request };
                let seq = self.record_with(&job.caller.clone(), &event, vec![(command_blob, bytes)], false);
                after = Some(seq + 1);
                let (writable, protected) = self.gate.bounds(&job_actor(self, &job));
                let wait_for = job.text("wait_for").map(str::to_owned);
                Op::Start { alias, command: text("command"), writable, protected, wait_for, timeout_ms }
            }
            "process.interact" => Op::Interact {
                alias,
                action: text("action"),
                input: job.text("input").map(str::to_owned),
                lines: job.number("lines").unwrap_or(100).min(10_000),
                timeout_ms,
            },
            _ => Op::Search { query: job.args.clone(), timeout_ms },
        };
        job.requests.push(request);
        job.stage = Stage::Json;
        self.run_for(job, op, after);
    }

    pub(crate) fn finish_op(&mut self, job: Job, result: Result<Value, CallError>) {
        let caller = job.caller.clone();
        match (job.syscall.name, &result) {
            ("search", Ok(found)) => {
                let matches =
                    found.get("matches").and_then(Value::as_array).map_or(0, |all| all.len() as u64);
                if let Some(request) = job.requests.first().cloned() {
                    let pattern: String = job.text("pattern").unwrap_or_default().chars().take(256).collect();
                    let event = Event::SearchReceipt { pattern, matches, request: Box::new(request) };
                    self.record_with(&caller, &event, Vec::new(), true);
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

fn job_actor(kernel: &Kernel, job: &Job) -> ostk_policy::Actor {
    kernel.request(&job.caller, job.syscall.name, job.syscall.class, Resource::None).actor
}

/// A blob of these bytes.
pub(crate) fn blob(bytes: &[u8]) -> (Hash, BlobBytes) {
    (Hash::of(bytes), Arc::from(bytes))
}

/// Output as a reply shows it: the head and the tail if it is long.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= MAX_SHOWN {
        return text.into_owned();
    }
    let head: String = text.chars().take(MAX_SHOWN / 2).collect();
    let skip = text.chars().count().saturating_sub(MAX_SHOWN / 2);
    let tail: String = text.chars().skip(skip).collect();
    format!("{head}\n… {} bytes left out …\n{tail}", bytes.len().saturating_sub(head.len() + tail.len()))
}
