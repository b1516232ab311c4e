//! The calls on files: from a path as written to a receipt.
//!
//! Stages: resolve the paths, pass the gate for each, wait on each, observe, decide (`plan`), append the intent, place,
//! append the receipt. A file that is not what the log says is recorded as a foreign change before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::Hash;
use ostk_policy::{Class, Resource};
use serde_json::{Value, json};

use crate::{
    act::{BlobBytes, Found, Op, Outcome, Placed, Seen, Unresolved},
    call::{CallError, Caller, Code, hash_arg},
    event::{Change, Event, FileImage, Via},
    kernel::{Job, Kernel, ReplyTo, Stage, Target},
    plan::{self, Belief, Content, Plan, Refusal},
    state::name_of,
};

/// How often a write starts over because the file changed between the look and the placing.
const MAX_ATTEMPTS: u8 = 5;

/// Where a file call stands.
#[derive(Debug)]
pub(crate) enum FileStage {
    Resolving,
    Queued,
    Observing,
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
    RollingBack {
        intent: u64,
        attempt: u8,
        problem: Result<(), String>,
    },
    /// A write whose end a crash hid is compared with the file.
    Redoing {
        intent: u64,
    },
    /// Its missing files are being placed.
    Replacing {
        intent: u64,
    },
}

impl FileStage {
    pub(crate) const fn may_expire(&self) -> bool {
        matches!(self, Self::Resolving | Self::Queued | Self::Observing)
    }
}

/// The files and blobs that the host looked up.
struct Looked {
    files: BTreeMap<String, Seen>,
    blobs: BTreeMap<Hash, BlobBytes>,
}

impl Kernel {
    pub(crate) fn start_file(&mut self, mut job: Job) {
        let raw = match self.raw_paths(&job) {
            Ok(raw) => raw,
            Err(error) => return self.finish(job, Err(error), None),
        };
        let cwd = job.text("cwd").unwrap_or("").to_owned();
        job.stage = Stage::File(FileStage::Resolving);
        if raw.is_empty() {
            return self.admit_paths(job, Vec::new());
        }
        self.run_for(job, Op::Resolve { cwd, paths: raw }, None);
    }

    /// Parks `job` until `op` is done.
    pub(crate) fn run_for(&mut self, job: Job, op: Op, after: Option<u64>) {
        self.run(op, Target::Job(job.id), after);
        self.jobs.insert(job.id, job);
    }

    pub(crate) fn resume_file(&mut self, mut job: Job, outcome: Outcome) {
        let stage = std::mem::replace(&mut job.stage, Stage::New);
        let Stage::File(stage) = stage else { return };
        match (stage, outcome) {
            (FileStage::Resolving, Outcome::Resolved(paths)) => self.resolved(job, paths),
            (FileStage::Observing, Outcome::Observed { files, blobs }) => {
                self.observed(job, Looked { files, blobs }, 0)
            }
            (FileStage::Settling { via, actor }, Outcome::Observed { files, .. }) => {
                let fallback = actor.unwrap_or_else(|| self.suspect());
                let changed = self.note_foreign(&files, &via, &fallback);
                self.finish(job, Ok(json!(changed)), None);
            }
            (FileStage::Placing { intent, plans, attempt }, Outcome::Placed(placed)) => {
                self.placed(job, intent, plans, attempt, placed);
            }
            (FileStage::RollingBack { intent, attempt, problem }, Outcome::Placed(_)) => {
                self.rolled_back(job, intent, attempt, problem);
            }
            (FileStage::Redoing { intent }, Outcome::Observed { files, blobs }) => {
                self.redo(job, intent, &Looked { files, blobs });
            }
            (FileStage::Replacing { intent }, Outcome::Placed(placed)) => {
                let problem = match placed {
                    Placed::All => None,
                    Placed::Displaced { .. } => Some("the file changed during recovery".to_owned()),
                    Placed::Failed { reason, .. } => Some(reason),
                };
                self.settle_redo(job, intent, problem);
            }
            (_, Outcome::Observed { .. }) | (_, _) => {
                self.finish(
                    job,
                    Err(CallError::new(Code::Failed, "bug: unexpected outcome of a file call")),
                    None,
                );
            }
        }
    }

    /// The paths of a call as the caller wrote them; already resolved ones come from the state.
    fn raw_paths(&self, job: &Job) -> Result<Vec<String>, CallError> {
        let one = |name: &str| job.text(name).map(str::to_owned).into_iter().collect::<Vec<_>>();
        Ok(match job.syscall.name {
            "file.rename" => [one("from"), one("to")].concat(),
            "file.batch" => batch_ops(job)?.iter().map(|op| op.path.to_owned()).collect(),
            "file.accept" => vec![self.conflict(job)?.path.clone()],
            "file.undo" => self.undo_targets(job)?.into_iter().map(|target| target.path).collect(),
            "dir.list" => vec![job.text("path").unwrap_or(".").to_owned()],
            "hook.after" => texts(job, "paths"),
            _ => one("path"),
        })
    }

    fn resolved(&mut self, job: Job, paths: Vec<Result<String, Unresolved>>) {
        let mut good = Vec::new();
        for path in paths {
            match path {
                Ok(path) => good.push(path),
                Err(unresolved) => return self.refuse_path(job, unresolved),
            }
        }
        self.admit_paths(job, good);
    }

    fn refuse_path(&mut self, mut job: Job, unresolved: Unresolved) {
        if !unresolved.outside {
            let error = CallError::new(Code::Usage, unresolved.message);
            return self.finish(job, Err(error), None);
        }
        let path = job.text("path").or_else(|| job.text("from")).unwrap_or("?").to_owned();
        let request =
            self.request(&job.caller, job.syscall.name, job.syscall.class, Resource::Path(path.clone()));
        let reason = format!(
            "{} may not {} {path}: {}",
            job.caller.lineage(),
            verb_of(job.syscall.class),
            unresolved.message
        );
        let event = Event::GateDenied {
            request: Box::new(request),
            effect: "boundary".to_owned(),
            rules: vec!["the workspace boundary".to_owned()],
            reason: reason.clone(),
        };
        self.record(&job.caller, &event);
        job.paths.clear();
        let error = CallError::new(Code::Denied, format!("{reason}\n  rule: the workspace boundary"))
            .hint("use a path inside the workspace");
        let after = Some(self.state.next_seq);
        self.finish(job, Err(error), after);
    }

    fn admit_paths(&mut self, mut job: Job, paths: Vec<String>) {
        for (path, class) in self.classes(&job, &paths) {
            match self.pass(&job.caller, job.syscall.name, class, Resource::Path(path)) {
                Ok(request) => job.requests.push(request),
                Err((error, after)) => return self.finish(job, Err(error), after),
            }
        }
        if let Some(command) = job.text("command").map(str::to_owned) {
            match self.pass(&job.caller, job.syscall.name, Class::ShellExec, Resource::Command(command)) {
                Ok(request) => job.requests.push(request),
                Err((error, after)) => return self.finish(job, Err(error), after),
            }
        }
        if job.syscall.name == "dir.list" {
            let path = paths.into_iter().next().unwrap_or_default();
            return self.run_for(job, Op::List { path }, None);
        }
        job.paths = paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        if self.queues.enter(job.id, &job.paths.clone()) {
            self.observe(job);
        } else {
            job.stage = Stage::File(FileStage::Queued);
            self.jobs.insert(job.id, job);
        }
    }

    /// The capability class of each path of a call.
    fn classes(&self, job: &Job, paths: &[String]) -> Vec<(String, Class)> {
        let class = match (job.syscall.name, job.text("access")) {
            ("file.batch", _) => {
                let ops = batch_ops(job).unwrap_or_default();
                let class =
                    |op: &BatchOp<'_>| if op.op == "edit" { Class::FileEdit } else { Class::FileWrite };
                return paths.iter().cloned().zip(ops.iter().map(class)).collect();
            }
            ("hook.before", Some("read")) | ("hook.after", _) => Class::FileRead,
            ("hook.before", Some("edit")) => Class::FileEdit,
            ("hook.before", _) => Class::FileWrite,
            _ => job.syscall.class,
        };
        paths.iter().map(|path| (path.clone(), class)).collect()
    }

    /// Looks at the files of a job that heads its queues.
    pub(crate) fn observe(&mut self, mut job: Job) {
        if job.syscall.name == "hook.after" && job.flag("scan") && job.paths.is_empty() {
            return self.start_hook_scan(job);
        }
        let blobs = self.wanted_blobs(&job);
        let paths = job.paths.clone();
        job.stage = Stage::File(FileStage::Observing);
        self.run_for(job, Op::Observe { paths, blobs }, None);
    }

    /// Blobs that the decision may need beside the files themselves.
    fn wanted_blobs(&self, job: &Job) -> Vec<Hash> {
        let mut wanted: BTreeSet<Hash> = job.paths.iter().filter_map(|path| self.belief(job, path)).collect();
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
            _ => {}
        }
        let current = |hash: &Hash| job.paths.iter().any(|path| self.current_blob(path) == Some(*hash));
        wanted
            .into_iter()
            .filter(|hash| job.syscall.name == "file.blame" || !current(hash) || job.paths.len() > 1)
            .collect()
    }

    fn current_blob(&self, path: &str) -> Option<Hash> {
        self.state.files.get(path)?.image.map(|image| image.blob)
    }

    /// The version that the caller started from: named by the call, or the one it saw last.
    fn belief(&self, job: &Job, path: &str) -> Option<Hash> {
        if job.text("base_blob").is_some() {
            return hash_arg(&job.args, "base_blob");
        }
        let lineage = self.state.lineages.get(job.caller.lineage())?;
        lineage.reads.get(path).map(|read| read.blob)
    }

    fn observed(&mut self, job: Job, looked: Looked, attempt: u8) {
        let suspect = self.suspect();
        let via = if job.syscall.name == "hook.after" { Via::Hook } else { Via::Touch };
        let fallback = if via == Via::Hook { job.caller.clone() } else { suspect };
        self.note_foreign(&looked.files, &via, &fallback);
        match job.syscall.name {
            "file.read" => self.finish_read(job, &looked),
            "file.log" => self.finish_log(job),
            "file.blame" => self.finish_blame(job, &looked),
            "hook.before" => self.finish_hook_before(job, &looked),
            "hook.after" => self.finish_hook_after(job, &looked),
            _ => match self.plan(&job, &looked) {
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

    fn plan(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let path = job.paths.first().map(String::as_str).unwrap_or_default();
        let seen = looked.files.get(path).unwrap_or(&Seen::Absent);
        let belief = Belief { blob: self.belief(job, path), blobs: &looked.blobs };
        let one = match job.syscall.name {
            "file.edit" => {
                let (old, new) = (job.text("old").unwrap_or(""), job.text("new").unwrap_or(""));
                plan::edit(path, seen, &belief, (old, new, job.flag("all")))?
            }
            "file.write" => {
                let executable = job.args.get("executable").and_then(Value::as_bool);
                plan::write(path, seen, &belief, job.text("content").unwrap_or(""), executable)?
            }
            "file.delete" => plan::delete(path, seen, &belief)?,
            "file.accept" => self.plan_accept(job, seen, looked)?,
            "file.rename" => return self.plan_rename(job, looked),
            "file.batch" => return self.plan_batch(job, looked),
            _ => return self.plan_undo(job, looked),
        };
        Ok(vec![one])
    }

    fn plan_accept(&self, job: &Job, seen: &Seen, looked: &Looked) -> Result<Plan, Refusal> {
        let conflict = self.conflict(job)?;
        let current = plan::content_of(&conflict.path, seen)?.ok_or_else(|| {
            CallError::new(Code::Conflict, format!("{} was deleted meanwhile", conflict.path))
        })?;
        let load = |hash: &Hash| match looked.blobs.get(hash) {
            Some(bytes) => Ok(Content { bytes: bytes.clone(), hash: *hash, executable: current.executable }),
            None if *hash == current.hash => Ok(current.clone()),
            None => Err(CallError::new(Code::NotFound, format!("blob {hash} is not stored"))),
        };
        let candidate = load(&conflict.candidate)?;
        if current.hash == conflict.current {
            let path = conflict.path.clone();
            return Ok(Plan {
                path,
                before: Some(current),
                after: Some(candidate),
                belief: None,
                merged: true,
            });
        }
        plan::merge(&conflict.path, load(&conflict.current)?, current, candidate)
    }

    fn plan_rename(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let paths: Vec<String> = job
            .requests
            .iter()
            .filter_map(|request| match &request.resource {
                Resource::Path(path) => Some(path.clone()),
                _ => None,
            })
            .collect();
        let [from, to] = paths.as_slice() else {
            return Err(CallError::new(Code::Usage, "a rename needs two names").into());
        };
        let absent = Seen::Absent;
        let seen = |path: &String| looked.files.get(path).unwrap_or(&absent);
        let belief = Belief { blob: self.belief(job, from), blobs: &looked.blobs };
        let mut gone = plan::delete(from, seen(from), &belief)?;
        if !matches!(seen(to), Seen::Absent) {
            return Err(CallError::new(Code::Conflict, format!("{to} exists"))
                .hint("delete it first")
                .into());
        }
        let moved = gone.before.clone();
        gone.belief = None;
        let made = Plan { path: to.clone(), before: None, after: moved, belief: None, merged: false };
        Ok(vec![made, gone])
    }

    /// Runs the operations over an overlay of the observed files, so that later ones see earlier ones.
    fn plan_batch(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let mut overlay: BTreeMap<String, Plan> = BTreeMap::new();
        let mut problems = Vec::new();
        let resolved: Vec<&str> = job
            .requests
            .iter()
            .filter_map(|request| match &request.resource {
                Resource::Path(path) => Some(path.as_str()),
                _ => None,
            })
            .collect();
        for (number, (op, path)) in batch_ops(job)?.iter().zip(resolved).enumerate() {
            let fresh = looked.files.get(path).cloned().unwrap_or(Seen::Absent);
            let earlier = overlay.get(path);
            let seen = earlier.map_or(fresh, |plan| seen_of(plan.after.as_ref()));
            let blob = earlier
                .map_or_else(|| self.belief(job, path), |plan| plan.after.as_ref().map(|after| after.hash));
            let belief = Belief { blob, blobs: &looked.blobs };
            let planned = match op.op {
                "edit" => plan::edit(path, &seen, &belief, (op.old, op.new, op.all)),
                "write" => plan::write(path, &seen, &belief, op.content, op.executable),
                _ => plan::delete(path, &seen, &belief),
            };
            match planned {
                Ok(mut plan) => {
                    if let Some(earlier) = overlay.remove(path) {
                        plan.before = earlier.before;
                        plan.merged |= earlier.merged;
                        plan.belief = plan.belief.or(earlier.belief);
                    }
                    overlay.insert(path.to_owned(), plan);
                }
                Err(Refusal::Nothing) => {}
                Err(Refusal::Error(error)) => {
                    problems.push(json!({ "op": number, "message": error.message }))
                }
                Err(Refusal::Clash(clash)) => {
                    problems.push(json!({ "op": number, "message": format!("{} {}", clash.path, clash.why) }))
                }
            }
        }
        if problems.is_empty() {
            let plans: Vec<Plan> = overlay.into_values().collect();
            return if plans.is_empty() { Err(Refusal::Nothing) } else { Ok(plans) };
        }
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| {
                format!("  op {}: {}", problem["op"], problem["message"].as_str().unwrap_or_default())
            })
            .collect();
        let message = format!(
            "{} of the batch's operations cannot be done; nothing was written\n{}",
            lines.len(),
            lines.join("\n")
        );
        Err(CallError::new(Code::Conflict, message).data(json!({ "problems": problems })).into())
    }

    fn plan_undo(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let mut plans = Vec::new();
        let load = |image: &FileImage, current: Option<&Content>| -> Result<Content, CallError> {
            if let Some(current) = current.filter(|current| current.hash == image.blob) {
                return Ok(Content { executable: image.executable, ..current.clone() });
            }
            let bytes = looked.blobs.get(&image.blob).cloned();
            let bytes = bytes.ok_or_else(|| {
                CallError::new(Code::NotFound, format!("blob {} is not stored", image.blob))
            })?;
            Ok(Content { bytes, hash: image.blob, executable: image.executable })
        };
        for target in self.undo_targets(job)? {
            let seen = looked.files.get(&target.path).unwrap_or(&Seen::Absent);
            let found = plan::content_of(&target.path, seen)?;
            let mut current = found.clone();
            for (before, after) in &target.reverts {
                let before = before.as_ref().map(|image| load(image, found.as_ref())).transpose()?;
                let after = after.as_ref().map(|image| load(image, found.as_ref())).transpose()?;
                current = plan::revert(&target.path, current, before, after)?;
            }
            if current.as_ref().map(Content::image) != found.as_ref().map(Content::image) {
                plans.push(Plan {
                    path: target.path,
                    before: found,
                    after: current,
                    belief: None,
                    merged: false,
                });
            }
        }
        if plans.is_empty() { Err(Refusal::Nothing) } else { Ok(plans) }
    }

    /// Appends the intent and, once it is durable, lets the files be placed.
    fn intend(&mut self, mut job: Job, plans: Vec<Plan>, attempt: u8) {
        let event = Event::WriteIntent {
            changes: plans.iter().map(Plan::change).collect(),
            verb: job.syscall.name.to_owned(),
            token: job.text("token").map(str::to_owned),
            reason: job.text("reason").map(str::to_owned),
            key: job.key.clone(),
            requests: job.requests.clone(),
        };
        let blobs = plans.iter().flat_map(Plan::blobs).collect();
        let intent = self.record_with(&job.caller.clone(), &event, blobs, false);
        let steps = plans.iter().map(forward).collect();
        job.stage = Stage::File(FileStage::Placing { intent, plans, attempt });
        self.run_for(job, Op::Place { steps }, Some(intent + 1));
    }

    fn placed(&mut self, mut job: Job, intent: u64, plans: Vec<Plan>, attempt: u8, placed: Placed) {
        let (done, problem) = match placed {
            Placed::All => return self.written(job, intent, &plans),
            Placed::Displaced { done } => (done, Ok(())),
            Placed::Failed { done, reason } => (done, Err(reason)),
        };
        let steps: Vec<Found> = plans.iter().take(done).rev().map(backward).collect();
        if steps.is_empty() {
            return self.rolled_back(job, intent, attempt, problem);
        }
        job.stage = Stage::File(FileStage::RollingBack { intent, attempt, problem });
        self.run_for(job, Op::Place { steps }, None);
    }

    fn written(&mut self, job: Job, intent: u64, plans: &[Plan]) {
        let receipt = Event::WriteReceipt { intent, done: true, problem: None };
        self.record_with(&job.caller.clone(), &receipt, Vec::new(), true);
        let files: Vec<Value> = plans.iter().map(|plan| self.file_facts(&plan.path, plan.merged)).collect();
        for plan in plans {
            self.mark_told(job.caller.lineage(), &plan.path);
        }
        // The intent was durable before the files were placed; the receipt only spares recovery a look.
        self.finish(job, Ok(json!({ "intent": intent, "files": files })), None);
    }

    fn rolled_back(&mut self, mut job: Job, intent: u64, attempt: u8, problem: Result<(), String>) {
        let text = problem
            .as_ref()
            .err()
            .cloned()
            .unwrap_or_else(|| "the file changed before it was placed".to_owned());
        let receipt = Event::WriteReceipt { intent, done: false, problem: Some(text.clone()) };
        self.record_with(&job.caller.clone(), &receipt, Vec::new(), true);
        if problem.is_ok() && attempt < MAX_ATTEMPTS {
            let blobs = self.wanted_blobs(&job);
            let paths = job.paths.clone();
            job.stage = Stage::File(FileStage::Observing);
            return self.run_for(job, Op::Observe { paths, blobs }, None);
        }
        let error =
            CallError::new(Code::Failed, format!("{}: {text}; nothing was changed", job.paths.join(", ")));
        self.finish(job, Err(error), None);
    }

    fn hand_back(&mut self, job: Job, clash: &plan::Clash) {
        let token = clash.candidate.as_ref().map(|_| format!("c{}", self.state.next_seq));
        let event = Event::FileConflict {
            token: token.clone(),
            path: clash.path.clone(),
            base_blob: clash.base.hash,
            current_blob: clash.current.hash,
            proposed_blob: clash.proposed.hash,
            candidate_blob: clash.candidate.as_ref().map(|candidate| candidate.hash),
            key: job.key.clone(),
        };
        let contents =
            [Some(&clash.base), Some(&clash.current), Some(&clash.proposed), clash.candidate.as_ref()];
        let blobs =
            contents.into_iter().flatten().map(|content| (content.hash, content.bytes.clone())).collect();
        let seq = self.record_with(&job.caller.clone(), &event, blobs, false);
        let error = clash.to_error(token.as_deref());
        self.finish(job, Err(error), Some(seq + 1));
    }

    fn finish_read(&mut self, job: Job, looked: &Looked) {
        let path = job.paths.first().cloned().unwrap_or_default();
        let content = match plan::content_of(&path, looked.files.get(&path).unwrap_or(&Seen::Absent)) {
            Ok(Some(content)) => content,
            Ok(None) => {
                let error = CallError::new(Code::NotFound, format!("{path} does not exist"));
                return self.finish(job, Err(error), None);
            }
            Err(error) => return self.finish(job, Err(error), None),
        };
        let whole = job.number("offset").is_none() && job.number("limit").is_none();
        let elided = whole && !job.flag("fresh") && self.belief(&job, &path) == Some(content.hash);
        let known = self.current_blob(&path) == Some(content.hash);
        let request = job.requests.first().cloned();
        let Some(request) = request else {
            return self.finish(job, Err(CallError::new(Code::Failed, "bug: a read without a verdict")), None);
        };
        let event = Event::FileRead {
            path: path.clone(),
            image: content.image(),
            elided,
            request: Box::new(request),
        };
        let blobs = if known { Vec::new() } else { vec![(content.hash, content.bytes.clone())] };
        self.record_with(&job.caller.clone(), &event, blobs, true);
        self.mark_told(job.caller.lineage(), &path);
        let generation = self.state.generation(&path);
        let mut result = json!({ "path": path, "generation": generation, "blob": content.hash,
            "size": content.bytes.len(), "executable": content.executable });
        if elided {
            result["elided"] = Value::Bool(true);
        } else {
            match std::str::from_utf8(&content.bytes) {
                Ok(text) => {
                    result["content"] =
                        Value::String(lines_of(text, job.number("offset"), job.number("limit")))
                }
                Err(_) => result["binary"] = Value::Bool(true),
            }
        }
        self.finish(job, Ok(result), None);
    }

    fn finish_log(&mut self, job: Job) {
        let path = job.paths.first().cloned().unwrap_or_default();
        let versions = self.state.files.get(&path).map(|entry| entry.history.clone()).unwrap_or_default();
        self.finish(job, Ok(json!({ "path": path, "versions": versions })), None);
    }

    fn finish_blame(&mut self, job: Job, looked: &Looked) {
        let path = job.paths.first().cloned().unwrap_or_default();
        let Some(entry) = self.state.files.get(&path) else {
            let error = CallError::new(Code::NotFound, format!("{path} has no history in this log"))
                .hint("a file has history once an agent has read or written it");
            return self.finish(job, Err(error), None);
        };
        let empty: BlobBytes = Vec::new().into();
        let texts: Vec<&[u8]> = entry
            .history
            .iter()
            .map(|version| {
                let bytes = version.image.and_then(|image| looked.blobs.get(&image.blob)).unwrap_or(&empty);
                bytes.as_ref()
            })
            .collect();
        let owners = ostk_merge::blame(&texts);
        let last = texts.last().copied().unwrap_or_default();
        let lines: Vec<Value> = String::from_utf8_lossy(last)
            .lines()
            .zip(owners)
            .filter_map(|(text, owner)| {
                let version = entry.history.get(owner)?;
                Some(json!({ "writer": version.writer, "generation": version.generation, "seq": version.seq,
                "ts": version.ts, "text": text }))
            })
            .collect();
        self.finish(job, Ok(json!({ "path": path, "lines": lines })), None);
    }

    pub(crate) fn file_facts(&self, path: &str, merged: bool) -> Value {
        let entry = self.state.files.get(path);
        json!({ "path": path, "generation": entry.map_or(0, |entry| entry.generation), "merged": merged,
            "blob": entry.and_then(|entry| entry.image).map(|image| image.blob) })
    }

    // --- changes made outside the kernel ---

    /// Records every file that is not what the log says.
    fn note_foreign(&mut self, files: &BTreeMap<String, Seen>, via: &Via, actor: &Caller) -> Vec<String> {
        let mut changed = Vec::new();
        for (path, seen) in files {
            let content = match seen {
                Seen::File { .. } | Seen::Absent => plan::content_of(path, seen).ok().flatten(),
                Seen::Directory => None,
                Seen::Unreadable(_) => continue,
            };
            let before = self.state.files.get(path).map(|entry| entry.image);
            let after = content.as_ref().map(Content::image);
            let differs = match before {
                Some(before) => before != after,
                // A file never touched before is only news when somebody is known to have made it.
                None => after.is_some() && !matches!(via, Via::Touch),
            };
            if !differs {
                continue;
            }
            let change = Change {
                path: path.clone(),
                before: before.flatten(),
                after,
                belief_blob: None,
                merged: false,
            };
            let event = Event::FileForeign { change, via: via.clone(), suspects: self.suspects() };
            let blobs = content.iter().map(|content| (content.hash, content.bytes.clone())).collect();
            self.record_with(actor, &event, blobs, true);
            changed.push(path.clone());
        }
        changed
    }

    /// Lineages whose commands run now.
    fn suspects(&self) -> Vec<String> {
        let running: BTreeSet<&str> =
            self.state.open_shells.values().map(|shell| name_of(&shell.actor)).collect();
        if running.len() > 1 { running.into_iter().map(str::to_owned).collect() } else { Vec::new() }
    }

    /// Who most likely made a change that nobody announced: the one agent whose command runs, else somebody outside.
    fn suspect(&self) -> Caller {
        let running: BTreeSet<&str> =
            self.state.open_shells.values().map(|shell| name_of(&shell.actor)).collect();
        match running.iter().next() {
            Some(lineage) if running.len() == 1 => Caller::Agent((*lineage).to_owned()),
            _ => Caller::Human("external".to_owned()),
        }
    }

    /// Looks at paths behind whatever is queued on them and records what changed. The reply goes to `shell`, if any.
    pub(crate) fn settle_foreign(
        &mut self,
        paths: &[String],
        via: &Via,
        shell: Option<(u64, &Caller)>,
    ) -> usize {
        let Some(syscall) = crate::table::lookup("file.read") else { return 0 };
        for path in paths {
            let id = self.fresh_id();
            let job = Job {
                id,
                caller: Caller::Kernel,
                syscall,
                args: Value::Null,
                key: None,
                deadline: self.now.plus_millis(60_000),
                reply_to: shell.map_or(ReplyTo::Nobody, |(job, _)| ReplyTo::Shell(job)),
                paths: vec![path.clone()],
                requests: Vec::new(),
                stage: Stage::File(FileStage::Settling {
                    via: via.clone(),
                    actor: shell.map(|(_, caller)| caller.clone()),
                }),
            };
            self.enter_settling(job);
        }
        paths.len()
    }

    fn enter_settling(&mut self, job: Job) {
        if self.queues.enter(job.id, &job.paths.clone()) {
            self.look(job);
        } else {
            self.jobs.insert(job.id, job);
        }
    }

    /// Looks at the files of a job without changing its stage.
    pub(crate) fn look(&mut self, job: Job) {
        let op = Op::Observe { paths: job.paths.clone(), blobs: Vec::new() };
        self.run_for(job, op, None);
    }

    // --- recovery ---

    /// Compares every write whose receipt is missing with its files, and finishes it.
    pub(crate) fn redo_open_writes(&mut self) {
        let Some(syscall) = crate::table::lookup("file.write") else { return };
        let open: Vec<(u64, Vec<Change>, String)> = self
            .state
            .open_writes
            .iter()
            .map(|(intent, write)| (*intent, write.changes.clone(), write.actor.clone()))
            .collect();
        for (intent, changes, actor) in open {
            let id = self.fresh_id();
            let paths: BTreeSet<String> = changes.iter().map(|change| change.path.clone()).collect();
            let images = changes.iter().flat_map(|change| [change.before, change.after]).flatten();
            let blobs: BTreeSet<Hash> = images.map(|image| image.blob).collect();
            let job = Job {
                id,
                caller: caller_of(&actor),
                syscall,
                args: Value::Null,
                key: None,
                deadline: self.now.plus_millis(600_000),
                reply_to: ReplyTo::Nobody,
                paths: paths.into_iter().collect(),
                requests: Vec::new(),
                stage: Stage::File(FileStage::Redoing { intent }),
            };
            self.queues.enter(id, &job.paths.clone());
            let op = Op::Observe { paths: job.paths.clone(), blobs: blobs.into_iter().collect() };
            self.run_for(job, op, None);
        }
    }

    fn redo(&mut self, mut job: Job, intent: u64, looked: &Looked) {
        let changes =
            self.state.open_writes.get(&intent).map(|write| write.changes.clone()).unwrap_or_default();
        let mut steps = Vec::new();
        for change in &changes {
            let seen = looked.files.get(&change.path).unwrap_or(&Seen::Absent);
            let here = match plan::content_of(&change.path, seen) {
                Ok(content) => content.as_ref().map(Content::image),
                Err(error) => return self.settle_redo(job, intent, Some(error.message)),
            };
            if here == change.after {
                continue;
            }
            if here != change.before {
                // Somebody else's bytes are there: they stay, and the write counts as not done.
                let problem = format!("{} changed while no daemon ran", change.path);
                return self.settle_redo(job, intent, Some(problem));
            }
            let wanted = match change.after {
                None => None,
                Some(image) => match looked.blobs.get(&image.blob) {
                    Some(bytes) => Some((bytes.clone(), image.executable)),
                    None => {
                        return self.settle_redo(
                            job,
                            intent,
                            Some(format!("blob {} is not stored", image.blob)),
                        );
                    }
                },
            };
            let expected = change.before.map(|image| image.blob);
            steps.push(Found { path: change.path.clone(), expected, wanted });
        }
        if steps.is_empty() {
            return self.settle_redo(job, intent, None);
        }
        job.stage = Stage::File(FileStage::Replacing { intent });
        self.run_for(job, Op::Place { steps }, None);
    }

    fn settle_redo(&mut self, job: Job, intent: u64, problem: Option<String>) {
        let receipt = Event::WriteReceipt { intent, done: problem.is_none(), problem };
        self.record(&job.caller.clone(), &receipt);
        self.finish(job, Ok(Value::Null), None);
    }

    fn conflict(&self, job: &Job) -> Result<&crate::state::Conflict, CallError> {
        let token = job.text("token").unwrap_or_default();
        let conflict = self.state.conflicts.get(token).filter(|conflict| {
            matches!(job.caller, Caller::Human(_)) || conflict.lineage == job.caller.lineage()
        });
        conflict.ok_or_else(|| {
            CallError::new(Code::NotFound, format!("no open conflict has the token {token:?}"))
                .hint("a token works once; read the file and repeat the change")
        })
    }
}

/// What one file's undo takes back, newest first.
struct UndoTarget {
    path: String,
    reverts: Vec<(Option<FileImage>, Option<FileImage>)>,
}

impl Kernel {
    fn undo_targets(&self, job: &Job) -> Result<Vec<UndoTarget>, CallError> {
        let (seq, lineage) = (job.number("seq"), job.text("lineage"));
        let (from, to) = (job.number("from"), job.number("to"));
        if seq.is_none() && lineage.is_none() && from.is_none() {
            return Err(CallError::new(Code::Usage, "undo what? name a seq, a lineage, or from and to")
                .hint("ostk log FILE shows the records"));
        }
        let chosen = |version: &crate::state::Version| {
            seq.is_none_or(|seq| version.seq == seq)
                && lineage.is_none_or(|lineage| name_of(&version.writer) == lineage)
                && from.is_none_or(|from| version.seq >= from)
                && to.is_none_or(|to| version.seq <= to)
                && version.writer != "initial"
        };
        let mut targets = Vec::new();
        for (path, entry) in &self.state.files {
            if job.text("path").is_some_and(|only| only != path) {
                continue;
            }
            let mut reverts = Vec::new();
            let mut before = None;
            for version in &entry.history {
                if chosen(version) {
                    reverts.push((before, version.image));
                }
                before = version.image;
            }
            reverts.reverse();
            if !reverts.is_empty() {
                targets.push(UndoTarget { path: path.clone(), reverts });
            }
        }
        if targets.is_empty() {
            return Err(CallError::new(Code::NotFound, "no such write in the log")
                .hint("ostk log FILE shows the records"));
        }
        Ok(targets)
    }
}

/// One operation of a batch.
struct BatchOp<'a> {
    op: &'a str,
    path: &'a str,
    old: &'a str,
    new: &'a str,
    all: bool,
    content: &'a str,
    executable: Option<bool>,
}

/// Operations in one batch: enough for a refactoring, small enough to hold every file in memory.
const MAX_BATCH: usize = 1_000;

fn batch_ops(job: &Job) -> Result<Vec<BatchOp<'_>>, CallError> {
    let ops = job.args.get("ops").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let usage = |number: usize, what: &str| {
        Err(CallError::new(Code::Usage, format!("file.batch: op {number}: {what}")))
    };
    if ops.is_empty() || ops.len() > MAX_BATCH {
        return Err(CallError::new(Code::Usage, format!("file.batch takes 1 to {MAX_BATCH} operations")));
    }
    let mut parsed = Vec::with_capacity(ops.len());
    for (number, op) in ops.iter().enumerate() {
        let text = |name: &str| op.get(name).and_then(Value::as_str);
        let Some(path) = text("path") else { return usage(number, "`path` is missing") };
        let kind = text("op").unwrap_or(if op.get("content").is_some() { "write" } else { "edit" });
        let complete = match kind {
            "edit" => text("old").is_some() && text("new").is_some(),
            "write" => text("content").is_some(),
            "delete" => true,
            _ => return usage(number, "`op` must be edit, write or delete"),
        };
        if !complete {
            return usage(number, "an edit needs `old` and `new`, a write needs `content`");
        }
        parsed.push(BatchOp {
            op: kind,
            path,
            old: text("old").unwrap_or(""),
            new: text("new").unwrap_or(""),
            all: op.get("all").and_then(Value::as_bool).unwrap_or(false),
            content: text("content").unwrap_or(""),
            executable: op.get("executable").and_then(Value::as_bool),
        });
    }
    Ok(parsed)
}

fn texts(job: &Job, name: &str) -> Vec<String> {
    let items = job.args.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn seen_of(content: Option<&Content>) -> Seen {
    content.map_or(Seen::Absent, |content| Seen::File {
        hash: content.hash,
        bytes: content.bytes.clone(),
        executable: content.executable,
    })
}

fn forward(plan: &Plan) -> Found {
    step(&plan.path, plan.before.as_ref(), plan.after.as_ref())
}

fn backward(plan: &Plan) -> Found {
    step(&plan.path, plan.after.as_ref(), plan.before.as_ref())
}

fn step(path: &str, from: Option<&Content>, to: Option<&Content>) -> Found {
    Found {
        path: path.to_owned(),
        expected: from.map(|content| content.hash),
        wanted: to.map(|content| (content.bytes.clone(), content.executable)),
    }
}

/// Lines `offset..offset + limit` of a text, counted from 1.
fn lines_of(text: &str, offset: Option<u64>, limit: Option<u64>) -> String {
    if offset.is_none() && limit.is_none() {
        return text.to_owned();
    }
    let skip = usize::try_from(offset.unwrap_or(1).saturating_sub(1)).unwrap_or(usize::MAX);
    let take = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    text.split_inclusive('\n').skip(skip).take(take).collect()
}

/// What a class is called in a refusal.
pub(crate) const fn verb_of(class: Class) -> &'static str {
    match class {
        Class::FileRead => "read",
        Class::FileEdit | Class::FileWrite => "write",
        Class::ShellRead | Class::ShellWrite | Class::ShellExec | Class::ShellSecret => "run",
        Class::KernelSpawn => "start or signal",
        Class::ModelCall => "call",
        Class::KernelRead | Class::KernelWrite | Class::KernelSecret => "use",
    }
}

/// The caller that an actor names.
pub(crate) fn caller_of(actor: &str) -> Caller {
    match actor.split_once(':') {
        Some(("human", name)) => Caller::Human(name.to_owned()),
        Some(("agent", name)) => Caller::Agent(name.to_owned()),
        Some(("world", name)) => Caller::World(name.to_owned()),
        _ => Caller::Kernel,
    }
}

impl Kernel {
    fn finish_hook_before(&mut self, job: Job, looked: &Looked) {
        let result = self.hook_before(&job, &looked.files);
        if result.is_ok() && job.text("access") == Some("read") {
            return self.remember_hook_read(job, looked);
        }
        self.finish(job, result, None);
    }

    /// The client's own tool shows the file to its model: remember which version that was.
    fn remember_hook_read(&mut self, job: Job, looked: &Looked) {
        for (path, seen) in &looked.files {
            let (Ok(Some(content)), Some(request)) = (plan::content_of(path, seen), job.requests.first())
            else {
                continue;
            };
            let request = Box::new(request.clone());
            let event =
                Event::FileRead { path: path.clone(), image: content.image(), elided: false, request };
            self.record_with(&job.caller.clone(), &event, vec![(content.hash, content.bytes.clone())], true);
            self.mark_told(job.caller.lineage(), path);
        }
        self.finish(job, Ok(json!({ "ok": true })), None);
    }

    /// The client's own tool has written: the change was noted as its own; now it knows what is there.
    fn finish_hook_after(&mut self, job: Job, looked: &Looked) {
        let changed: Vec<String> = looked.files.keys().cloned().collect();
        for (path, seen) in &looked.files {
            let (Ok(Some(content)), Some(request)) = (plan::content_of(path, seen), job.requests.first())
            else {
                continue;
            };
            let request = Box::new(request.clone());
            let event = Event::FileRead { path: path.clone(), image: content.image(), elided: true, request };
            self.record_with(&job.caller.clone(), &event, Vec::new(), true);
            self.mark_told(job.caller.lineage(), path);
        }
        let after = Some(self.state.next_seq);
        self.finish(job, Ok(json!({ "changed": changed })), after);
    }
}
