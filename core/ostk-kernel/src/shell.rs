//! Commands: work for a process beside the kernel that ends with the call.
//!
//! A command's intent is durable before it starts. The workspace is scanned before and after it; what changed in
//! between is looked at behind whatever is queued on those paths, recorded, and ascribed to the caller.

use std::{collections::BTreeSet, sync::Arc};

use ostk_log::Hash;
use ostk_policy::Resource;
use serde_json::{Value, json};

use crate::{
    act::{Awaited, BlobBytes, Command, Op, Outcome, ShellEnd},
    call::{CallError, Code},
    event::{Event, Via},
    kernel::{Job, Kernel, Stage, Target},
    limits,
    queue::JobId,
};

/// Deadline of a command that names none.
pub(crate) const DEFAULT_TIMEOUT_MS: u64 = 120_000;
/// Longest deadline a command may ask for: one hour.
pub(crate) const MAX_TIMEOUT_MS: u64 = 3_600_000;
/// Longest deadline of a command that is an agent: a day.
pub(crate) const MAX_AGENT_MS: u64 = 24 * 3_600_000;
/// Output shown in a reply; the whole kept output is in the blob.
const MAX_SHOWN: usize = 32 * 1024;

/// What is said of a command whose end a crash hid.
pub(crate) const INTERRUPTED: &str = "interrupted by a restart; how far it came is unknown";

/// Where a command stands.
#[derive(Debug)]
pub(crate) enum ShellStage {
    /// The directory it starts in is being resolved.
    Resolving,
    /// `touched` files changed meanwhile and were noticed already.
    Running {
        intent: u64,
        touched: BTreeSet<String>,
    },
    /// The command ended; `waiting` changed files are still being looked at.
    Settling {
        intent: u64,
        end: Box<Result<ShellEnd, String>>,
        changed: BTreeSet<String>,
        waiting: usize,
    },
    /// A client's own command ran: the scan is under way, then its files are looked at.
    HookScan,
    HookSettling {
        changed: BTreeSet<String>,
        waiting: usize,
    },
}

impl Stage {
    /// The files that are known to have changed under a command that runs.
    pub(crate) const fn touched(&mut self) -> Option<&mut BTreeSet<String>> {
        match self {
            Self::Shell(ShellStage::Running { touched, .. }) => Some(touched),
            Self::Shell(ShellStage::Settling { changed, .. }) => Some(changed),
            _ => None,
        }
    }
}

impl Kernel {
    pub(crate) fn start_shell(&mut self, mut job: Job) {
        let command = job.text("command").unwrap_or_default().to_owned();
        let class = job.syscall.class;
        let request = match self.pass(&mut job, "shell.run", class, Resource::Command(command)) {
            Ok(request) => request,
            Err(turned) => return self.turn(job, turned),
        };
        job.requests.push(request);
        match job.text("cwd").map(str::to_owned) {
            Some(cwd) if !cwd.is_empty() => {
                job.stage = Stage::Shell(ShellStage::Resolving);
                self.run_for(job, Op::Resolve { cwd: String::new(), paths: vec![cwd] }, None);
            }
            _ => self.run_shell(job, String::new()),
        }
    }

    fn run_shell(&mut self, mut job: Job, cwd: String) {
        let Some(request) = job.requests.first().cloned() else { return };
        let command = job.text("command").unwrap_or_default().to_owned();
        let longest = if job.flag("agent") { MAX_AGENT_MS } else { MAX_TIMEOUT_MS };
        let timeout_ms = job.number("timeout_ms").unwrap_or(DEFAULT_TIMEOUT_MS).clamp(1, longest);
        let (command_blob, bytes) = blob(command.as_bytes());
        let event = Event::ShellIntent {
            command_blob,
            cwd: cwd.clone(),
            timeout_ms,
            key: job.key.clone(),
            request: Box::new(request.clone()),
        };
        if let Err(error) = limits::check_record(&event) {
            return self.finish(job, Err(error), None);
        }
        let intent = self.record_with(&job.caller, &event, vec![(command_blob, bytes)], Awaited::Durable);
        let size = |name: &str| job.number(name).and_then(|size| u16::try_from(size).ok());
        let command = Command {
            lineage: job.caller.lineage().to_owned(),
            line: command,
            cwd,
            timeout_ms,
            bounds: self.acceptance_bounds(&job, self.bounds_of(&request.actor)),
            home: job.flag("agent").then(|| self.home_of(job.caller.lineage())),
            stream: job.text("stream").map(str::to_owned),
            window: size("rows").zip(size("columns")),
            observe: job.syscall.name == "process.learn",
        };
        job.stage = Stage::Shell(ShellStage::Running { intent, touched: BTreeSet::new() });
        self.run_for(job, Op::Shell(Box::new(command)), Some(intent + 1));
    }

    pub(crate) fn resume_shell(&mut self, mut job: Job, outcome: Outcome) {
        let stage = std::mem::replace(&mut job.stage, Stage::New);
        match (stage, outcome) {
            (Stage::Shell(ShellStage::Resolving), Outcome::Resolved(paths)) => match paths.into_iter().next()
            {
                Some(Ok(cwd)) => self.run_shell(job, cwd),
                Some(Err(unresolved)) => {
                    let cwd = job.text("cwd").unwrap_or_default().to_owned();
                    self.refuse_path(job, cwd, unresolved);
                }
                None => {
                    let error = CallError::new(Code::Failed, "bug: the directory was not resolved");
                    self.finish(job, Err(error), None);
                }
            },
            (
                Stage::Shell(ShellStage::Running { intent, touched }),
                Outcome::Shell { end, mut before, after },
            ) => {
                // What had changed before this command began is another's; what changed again since is its own.
                before.retain(|path| !after.contains(path));
                let another = self.suspect(Some(intent));
                self.settle_foreign(&before, &Via::Watcher, Some(&another), None);
                self.settle_shell(job, intent, (end, touched), &after);
            }
            (Stage::Shell(ShellStage::HookScan), Outcome::Scanned(Ok(paths))) => {
                let waiting = paths.len();
                let (id, caller) = (job.id, job.caller.clone());
                job.stage = Stage::Shell(ShellStage::HookSettling { changed: BTreeSet::new(), waiting });
                self.jobs.insert(id, job);
                self.settle_foreign(&paths, &Via::Hook, Some(&caller), Some(id));
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
        (end, changed): (Result<ShellEnd, String>, BTreeSet<String>),
        found: &[String],
    ) {
        let (id, caller, waiting) = (job.id, job.caller.clone(), found.len());
        job.stage = Stage::Shell(ShellStage::Settling { intent, end: Box::new(end), changed, waiting });
        self.jobs.insert(id, job);
        self.settle_foreign(found, &Via::Shell(intent), Some(&caller), Some(id));
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
                self.finish_shell(job, intent, *end, changed.into_iter().collect());
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
        let (listed, changed_more) = limits::listed(&changed);
        let event = Event::ShellReceipt {
            intent,
            exit: ended.map(|end| end.exit),
            timed_out: ended.is_some_and(|end| end.timed_out),
            stdout_blob: ended.and_then(|end| keep(&end.stdout)),
            stderr_blob: ended.and_then(|end| keep(&end.stderr)),
            dropped_bytes: ended.map_or(0, |end| end.dropped_bytes),
            duration_ms: ended.map_or(0, |end| end.duration_ms),
            changed: listed,
            changed_more,
            problem: end.as_ref().err().map(|problem| limits::clip(problem)),
        };
        self.record_with(&job.caller, &event, blobs, Awaited::Durable);
        let after = Some(self.state.next_seq);
        let result = match end {
            Ok(end) => {
                let mut result = json!({ "intent": intent, "exit": end.exit, "timed_out": end.timed_out,
                    "stdout": shown(&end.stdout), "stderr": shown(&end.stderr),
                    "dropped_bytes": end.dropped_bytes, "duration_ms": end.duration_ms, "remarks": end.remarks,
                    "changed": changed });
                if let (Some(members), Some(observed)) = (result.as_object_mut(), end.observed) {
                    members.insert("observed".to_owned(), observed);
                }
                Ok(result)
            }
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
                changed_more: 0,
                problem: Some(INTERRUPTED.to_owned()),
            };
            self.record(&crate::files::caller_of(&actor), &event);
        }
        self.run(Op::Scan, Target::Scan, None);
    }
}

/// A blob of these bytes.
pub(crate) fn blob(bytes: &[u8]) -> (Hash, BlobBytes) {
    (Hash::of(bytes), Arc::from(bytes))
}

/// Output as a reply shows it: the head and the tail if it is long.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= MAX_SHOWN {
        return text.into_owned();
    }
    let head: String = text.chars().take(MAX_SHOWN / 2).collect();
    let skip = text.chars().count().saturating_sub(MAX_SHOWN / 2);
    let tail: String = text.chars().skip(skip).collect();
    format!("{head}\n… {} bytes left out …\n{tail}", bytes.len().saturating_sub(head.len() + tail.len()))
}
