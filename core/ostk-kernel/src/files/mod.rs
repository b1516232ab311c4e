//! The calls on files: from a path as written to a receipt.
//!
//! Stages: resolve the paths, pass the gate for each, wait on each, observe, decide (`decide`, `plans`, `undo`), append
//! the intent, place, append the receipt (`place`). A file that is not what the log says is recorded as a foreign change
//! before anything is decided (`foreign`). What a crash interrupted is finished by `recovery`.

pub(crate) mod columns;
mod decide;
mod fold;
mod foreign;
mod hooks;
mod place;
mod plans;
mod reads;
mod recovery;
mod undo;

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::Hash;
use ostk_policy::{Class, Resource};
use serde_json::{Value, json};

pub(crate) use decide::{Content, Refusal, merge};

use crate::{
    act::{BlobBytes, Op, Outcome, Seen, Unresolved},
    call::{CallError, Caller, Code, hash_arg},
    event::{Event, Via},
    gatekeeper::arguments,
    kernel::{Job, Kernel, Stage},
    state::Read,
};
use decide::{Belief, Plan};
use place::Rollback;
use plans::{BatchOp, batch_ops};
use recovery::Redo;

/// Where a file call stands.
#[derive(Debug)]
pub(crate) enum FileStage {
    Resolving,
    Queued,
    /// The files are being looked at, after `attempt` placings that met an outside edit.
    Observing {
        attempt: u8,
    },
    /// A look at a file on the kernel's own behalf: whatever is new is ascribed to this actor.
    Settling {
        via: Via,
        actor: Option<Caller>,
    },
    /// The intent is recorded, the files are being placed.
    Placing {
        intent: u64,
        plans: Vec<Plan>,
        attempt: u8,
    },
    /// Some files were placed before one could not be: they are being put back.
    RollingBack(Rollback),
    /// A write whose end a crash hid is compared with its files.
    Redoing(Redo),
    /// Its missing files are being placed.
    Replacing(Redo, Vec<String>),
}

impl FileStage {
    pub(crate) const fn may_expire(&self) -> bool {
        matches!(self, Self::Resolving | Self::Queued | Self::Observing { .. })
    }
}

/// The files and blobs that the host looked up.
pub(crate) struct Looked {
    files: BTreeMap<String, Seen>,
    blobs: BTreeMap<Hash, BlobBytes>,
}

impl Kernel {
    pub(crate) fn start_file(&mut self, mut job: Job) {
        let paths = match self.raw_paths(&job) {
            Ok(paths) => paths,
            Err(error) => return self.finish(job, Err(error), None),
        };
        // Paths out of the log start from the root, wherever the caller is.
        let from_log = matches!(job.syscall.name, "file.undo" | "file.accept") && job.text("path").is_none();
        let cwd = if from_log { "" } else { job.text("cwd").unwrap_or("") }.to_owned();
        job.stage = Stage::File(FileStage::Resolving);
        if paths.is_empty() {
            return self.admit_paths(job, &[]);
        }
        self.run_for(job, Op::Resolve { cwd, paths }, None);
    }

    /// Parks `job` until `op` is done.
    pub(crate) fn run_for(&mut self, job: Job, op: Op, after: Option<u64>) {
        self.run(op, crate::kernel::Target::Job(job.id), after);
        self.jobs.insert(job.id, job);
    }

    pub(crate) fn resume_file(&mut self, mut job: Job, outcome: Outcome) {
        let stage = std::mem::replace(&mut job.stage, Stage::New);
        let Stage::File(stage) = stage else { return };
        match (stage, outcome) {
            (FileStage::Resolving, Outcome::Resolved(paths)) => self.resolved(job, paths),
            (FileStage::Observing { attempt }, Outcome::Observed { files, blobs }) => {
                self.observed(job, &Looked { files, blobs }, attempt);
            }
            (FileStage::Settling { via, actor }, Outcome::Observed { files, .. }) => {
                let actor = actor.unwrap_or_else(|| self.suspect(None));
                let changed = self.note_foreign(&files, &via, &actor);
                self.finish(job, Ok(json!(changed)), None);
            }
            (FileStage::Placing { intent, plans, attempt }, Outcome::Placed(placed)) => {
                self.placed(job, intent, &plans, attempt, placed);
            }
            (FileStage::RollingBack(rollback), Outcome::Placed(placed)) => {
                self.resume_rollback(job, rollback, &placed);
            }
            (FileStage::Redoing(redo), Outcome::Observed { files, blobs }) => {
                self.redo(job, redo, &Looked { files, blobs });
            }
            (FileStage::Replacing(redo, paths), Outcome::Placed(placed)) => {
                self.redone(job, redo, &paths, placed)
            }
            (FileStage::Resolving, Outcome::Listed(entries)) => self.finish_list(job, entries),
            (_, _) => {
                let error = CallError::new(Code::Failed, "bug: unexpected outcome of a file call");
                self.finish(job, Err(error), None);
            }
        }
    }

    /// The paths of a call as the caller wrote them, or as the state has them.
    fn raw_paths(&self, job: &Job) -> Result<Vec<String>, CallError> {
        let one = |name: &str| job.text(name).map(str::to_owned).into_iter().collect::<Vec<_>>();
        if job.text("base_blob").is_some_and(|base| base != ABSENT)
            && hash_arg(&job.args, "base_blob").is_none()
        {
            let message = format!("base_blob is neither a SHA-256 digest nor {ABSENT:?}");
            return Err(CallError::new(Code::Usage, message));
        }
        Ok(match job.syscall.name {
            "file.rename" => [one("from"), one("to")].concat(),
            "file.batch" => batch_ops(job)?.iter().map(|op| op.path.to_owned()).collect(),
            "file.accept" => vec![self.conflict(job)?.path.clone()],
            "file.undo" if job.text("path").is_none() => {
                self.undo_targets(job)?.into_iter().map(|target| target.path).collect()
            }
            "dir.list" => vec![job.text("path").unwrap_or(".").to_owned()],
            "hook.after" => texts(job, "paths"),
            _ => one("path"),
        })
    }

    fn resolved(&mut self, mut job: Job, paths: Vec<Result<String, Unresolved>>) {
        let mut good = Vec::new();
        for (at, path) in paths.into_iter().enumerate() {
            match path {
                Ok(path) => good.push(path),
                Err(unresolved) => {
                    let raw =
                        self.raw_paths(&job).unwrap_or_default().into_iter().nth(at).unwrap_or_default();
                    return self.refuse_path(job, raw, unresolved);
                }
            }
        }
        if job.syscall.name == "file.undo"
            && let (Some(path), [only]) = (job.args.get_mut("path"), good.as_slice())
        {
            *path = Value::String(only.clone());
        }
        self.admit_paths(job, &good);
    }

    /// A path that leads out of the workspace is an attempt that is recorded; any other is a slip of the pen.
    pub(crate) fn refuse_path(&mut self, job: Job, path: String, unresolved: Unresolved) {
        if !unresolved.outside {
            let error = CallError::new(Code::Usage, unresolved.message);
            return self.finish(job, Err(error), None);
        }
        let (who, verb) = (job.caller.lineage(), verb_of(job.syscall.class));
        let reason = format!("{who} may not {verb} {path}: {}", unresolved.message);
        let request = self.request(&job.caller, job.syscall.name, job.syscall.class, Resource::Path(path));
        let rule = "the workspace boundary".to_owned();
        let event = Event::GateDenied {
            request: Box::new(request),
            effect: "boundary".to_owned(),
            rules: vec![rule.clone()],
            reason: reason.clone(),
        };
        let seq = self.record(&job.caller, &event);
        let error = CallError::new(Code::Denied, format!("{reason}\n  rule: {rule}"))
            .data(json!({ "rules": [rule], "seq": seq }))
            .hint("use a path inside the workspace");
        self.finish(job, Err(error), Some(seq + 1));
    }

    fn admit_paths(&mut self, mut job: Job, paths: &[String]) {
        for (class, resource) in self.resources(&job, paths) {
            let verb = judged_as(job.syscall.name, class);
            let args = match job.args.get("input").and_then(|input| input.get(0)) {
                Some(input) => arguments(input),
                None => self.judged_arguments(&job.caller, &job.args),
            };
            match self.pass_with(&mut job, verb, class, resource, args) {
                Ok(request) => job.requests.push(request),
                Err(turned) => return self.turn(job, turned),
            }
        }
        if job.syscall.name == "hook.after" {
            for label in texts(&job, "labels") {
                self.take_label(&job.caller, &label);
            }
        }
        if job.syscall.name == "dir.list" {
            let path = paths.first().cloned().unwrap_or_default();
            job.stage = Stage::File(FileStage::Resolving);
            return self.run_for(job, Op::List { path }, None);
        }
        job.paths = paths.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        if self.queues.enter(job.id, &job.paths) {
            self.observe(job);
        } else {
            job.stage = Stage::File(FileStage::Queued);
            self.jobs.insert(job.id, job);
        }
    }

    /// What a call needs leave for: each path, a client's command, or at least the call itself.
    fn resources(&self, job: &Job, paths: &[String]) -> Vec<(Class, Resource)> {
        let class = match (job.syscall.name, job.text("access")) {
            ("hook.before", Some("read")) | ("hook.after", _) => Class::FileRead,
            ("hook.before", Some("edit" | "patch")) => Class::FileEdit,
            ("hook.before", _) => Class::FileWrite,
            _ => job.syscall.class,
        };
        let ops =
            if job.syscall.name == "file.batch" { batch_ops(job).unwrap_or_default() } else { Vec::new() };
        let class_at = |at: usize| match ops.get(at).map(|op: &BatchOp<'_>| op.op) {
            Some("edit") => Class::FileEdit,
            Some(_) => Class::FileWrite,
            None => class,
        };
        // The gate's name for the root is the empty one.
        let judged = |path: &String| if path == "." { String::new() } else { path.clone() };
        let of_path = |(at, path): (usize, &String)| (class_at(at), Resource::Path(judged(path)));
        let mut resources: Vec<(Class, Resource)> = paths.iter().enumerate().map(of_path).collect();
        if let Some(command) = job.text("command") {
            resources.push((Class::ShellExec, Resource::Command(command.to_owned())));
        }
        match job.text("access") {
            Some("fetch") => {
                resources.push((
                    Class::NetConnect,
                    Resource::Host(job.text("target").unwrap_or_default().to_owned()),
                ));
            }
            Some("tool") => {
                resources.push((
                    Class::KernelWrite,
                    Resource::Tool(job.text("tool").unwrap_or_default().to_owned()),
                ));
            }
            _ => {}
        }
        if resources.is_empty() {
            resources.push((job.syscall.class, Resource::None));
        }
        resources
    }

    /// Looks at the files of a job that heads its queues.
    pub(crate) fn observe(&mut self, job: Job) {
        if job.syscall.name == "hook.after" && job.flag("scan") && job.paths.is_empty() {
            return self.start_hook_scan(job);
        }
        self.observe_again(job, 0);
    }

    fn observe_again(&mut self, mut job: Job, attempt: u8) {
        let blobs = self.wanted_blobs(&job);
        let paths = job.paths.clone();
        job.stage = Stage::File(FileStage::Observing { attempt });
        self.run_for(job, Op::Observe { paths, blobs }, None);
    }

    /// Blobs that the decision may need beside the files themselves. They are named even where the log has them as the
    /// current version: the file may have changed outside since.
    fn wanted_blobs(&self, job: &Job) -> Vec<Hash> {
        let mut wanted: BTreeSet<Hash> = BTreeSet::new();
        match job.syscall.name {
            "file.accept" => {
                if let Ok(conflict) = self.conflict(job) {
                    wanted.extend([conflict.current, conflict.candidate, conflict.proposed]);
                }
            }
            "file.blame" => {
                let versions = job.paths.iter().filter_map(|path| self.state.files.get(path));
                let images = versions.flat_map(|entry| &entry.history).filter_map(|version| version.image);
                wanted.extend(images.map(|image| image.blob));
            }
            "file.undo" => {
                for target in self.undo_targets(job).unwrap_or_default() {
                    let images = target.reverts.iter().flat_map(|(before, after)| [before, after]);
                    wanted.extend(images.flatten().map(|image| image.blob));
                }
            }
            "file.edit" | "file.write" | "file.batch" | "file.rename" => {
                wanted.extend(job.paths.iter().filter_map(|path| self.belief(job, path)));
            }
            _ => {}
        }
        wanted.into_iter().collect()
    }

    fn current_blob(&self, path: &str) -> Option<Hash> {
        self.state.files.get(path)?.image.map(|image| image.blob)
    }

    /// The version that the caller started from: named by the call, or the one it saw last.
    fn belief(&self, job: &Job, path: &str) -> Option<Hash> {
        if job.text("base_blob").is_some() {
            return hash_arg(&job.args, "base_blob");
        }
        self.last_read(job, path).map(|read| read.blob)
    }

    /// What the caller saw of a file last, if the one that has its name now is still the one that called.
    fn last_read(&self, job: &Job, path: &str) -> Option<&Read> {
        let lineage = self.state.lineages.get(job.caller.lineage())?;
        lineage.reads.get(path).filter(|_| !self.has_forgotten(job))
    }

    /// Whether the caller's lineage began anew after the call was made.
    fn has_forgotten(&self, job: &Job) -> bool {
        let lineage = self.state.lineages.get(job.caller.lineage());
        let is_another = lineage.is_some_and(|lineage| lineage.knows_since != job.knows_since);
        is_another && !ostk_log::planted!("eyes of the dead")
    }

    /// Whether the caller has seen every line of that version; of a file that it does not know, none is unseen.
    fn knows_whole(&self, job: &Job, path: &str) -> bool {
        job.text("base_blob").is_some() || self.last_read(job, path).is_none_or(|read| read.whole)
    }

    fn belief_in<'a>(&self, job: &Job, path: &str, blobs: &'a BTreeMap<Hash, BlobBytes>) -> Belief<'a> {
        Belief { blob: self.belief(job, path), whole: self.knows_whole(job, path), blobs }
    }

    fn observed(&mut self, job: Job, looked: &Looked, attempt: u8) {
        let (via, actor) = match job.syscall.name {
            "hook.after" => (Via::Hook, job.caller.clone()),
            _ => (Via::Touch, self.suspect(None)),
        };
        let changed = self.note_foreign(&looked.files, &via, &actor);
        let Some(job) = self.without_secrets(job, &looked.files) else { return };
        match job.syscall.name {
            "file.read" => self.finish_read(job, looked),
            "file.log" => self.finish_log(job),
            "file.blame" => self.finish_blame(job, looked),
            "hook.before" => self.finish_hook_before(job, looked),
            "hook.after" => self.finish_hook_after(job, looked, &changed),
            _ => match self.plan(&job, looked) {
                Ok(plans) => self.intend(job, plans, attempt),
                Err(Refusal::Error(error)) => self.finish(job, Err(*error), None),
                Err(Refusal::Clash(clash)) => self.hand_back(job, &clash),
                Err(Refusal::Nothing) => {
                    let files: Vec<Value> =
                        job.paths.iter().map(|path| self.file_facts(path, false)).collect();
                    self.finish(job, Ok(json!({ "files": files, "unchanged": true })), None);
                }
            },
        }
    }

    pub(crate) fn file_facts(&self, path: &str, merged: bool) -> Value {
        let entry = self.state.files.get(path);
        json!({ "path": path, "generation": entry.map_or(0, |entry| entry.generation), "merged": merged,
            "blob": entry.and_then(|entry| entry.image).map(|image| image.blob) })
    }
}

/// The `base_blob` of a caller that knows that there is no file.
const ABSENT: &str = "absent";

fn texts(job: &Job, name: &str) -> Vec<String> {
    let items = job.args.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What a class is called in a refusal.
pub(crate) const fn verb_of(class: Class) -> &'static str {
    match class {
        Class::FileRead => "read",
        Class::FileEdit | Class::FileWrite => "write",
        Class::ShellRead | Class::ShellWrite | Class::ShellExec | Class::ShellSecret => "run",
        Class::KernelSpawn => "start or signal",
        Class::ModelCall => "call",
        Class::NetConnect => "reach",
        Class::KernelRead | Class::KernelWrite | Class::KernelSecret => "use",
    }
}

/// The call that the gate judges: a client's own tool is held to what holds for the call that does the same.
fn judged_as(call: &'static str, class: Class) -> &'static str {
    match (call, class) {
        ("hook.before", Class::FileRead) => "file.read",
        ("hook.before", Class::FileEdit) => "file.edit",
        ("hook.before", Class::FileWrite) => "file.write",
        ("hook.before", Class::ShellExec) => "shell.run",
        ("hook.before", Class::NetConnect) => "net.connect",
        ("hook.before", Class::KernelWrite) => "tool.call",
        _ => call,
    }
}

/// The caller that an actor names.
pub(crate) fn caller_of(actor: &str) -> Caller {
    match actor.split_once(':') {
        Some(("human", name)) => Caller::Human(name.to_owned()),
        Some(("agent", name)) => Caller::Agent(name.to_owned()),
        Some(("stack", name)) => Caller::Stack(name.to_owned()),
        Some(("world", name)) => Caller::World(name.to_owned()),
        _ => Caller::Kernel,
    }
}
