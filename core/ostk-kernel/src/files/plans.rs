//! From a file call to its plans: which decision (`decide`) is asked about which versions.
//!
//! A call's paths have been observed; every function here answers with one [`Plan`] for each file that changes, or with
//! the reason why nothing does. Nothing is recorded or placed here; `place` does that.

use std::collections::BTreeMap;

use ostk_log::Hash;
use ostk_policy::Resource;
use serde_json::{Value, json};

use super::{
    Looked,
    decide::{self, Belief, Content, Plan, Refusal},
};
use crate::{
    act::Seen,
    call::{CallError, Caller, Code},
    kernel::{Job, Kernel},
    state::Conflict,
};

/// Operations in one batch: enough for a refactoring, small enough to hold every file in memory.
const MAX_BATCH: usize = 1_000;

impl Kernel {
    pub(super) fn plan(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let path = job.paths.first().map(String::as_str).unwrap_or_default();
        let seen = looked.files.get(path).unwrap_or(&Seen::Absent);
        self.check_alive(job, job.syscall.name)?;
        let belief = self.belief_in(job, path, &looked.blobs);
        let one = match job.syscall.name {
            "file.edit" => {
                let (old, new) = (job.text("old").unwrap_or(""), job.text("new").unwrap_or(""));
                decide::edit(path, seen, &belief, (old, new, job.flag("all")))?
            }
            "file.write" => {
                let executable = job.args.get("executable").and_then(Value::as_bool);
                decide::write(path, seen, &belief, job.text("content").unwrap_or(""), executable)?
            }
            "file.delete" => decide::delete(path, seen, belief.blob)?,
            "file.accept" => self.plan_accept(job, seen, looked)?,
            "file.rename" => return self.plan_rename(job, looked),
            "file.batch" => return self.plan_batch(job, looked),
            _ => return self.plan_undo(job, looked),
        };
        Ok(vec![one])
    }

    /// A whole file is neither written nor deleted for a caller that is gone: what it had seen is not known any more.
    fn check_alive(&self, job: &Job, change: &str) -> Result<(), CallError> {
        let is_whole = matches!(change, "file.write" | "write" | "file.delete" | "delete");
        if is_whole && job.text("base_blob").is_none() && self.has_forgotten(job) {
            let who = job.caller.lineage();
            return Err(CallError::new(Code::Unread, format!("{who} began anew after this call was made"))
                .hint("read the file, then repeat the change"));
        }
        Ok(())
    }

    fn plan_accept(&self, job: &Job, seen: &Seen, looked: &Looked) -> Result<Plan, Refusal> {
        let conflict = self.conflict(job)?;
        let current = decide::content_of(&conflict.path, seen)?.ok_or_else(|| {
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
            // Whoever began anew was not shown the merge; a text that is too long nobody was shown.
            let blind = self.last_read(job, &path).is_none();
            let belief =
                (!decide::is_shown([&current, &candidate])).then(|| load(&conflict.proposed)).transpose()?;
            return Ok(Plan {
                merged: true,
                blind,
                belief,
                ..Plan::new(&path, Some(current), Some(candidate))
            });
        }
        decide::merge(&conflict.path, load(&conflict.current)?, current, candidate)
    }

    fn plan_rename(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let [from, to] = job_paths(job)[..] else {
            return Err(CallError::new(Code::Usage, "a rename needs two names").into());
        };
        let seen = |path: &str| looked.files.get(path).unwrap_or(&Seen::Absent);
        if !matches!(seen(to), Seen::Absent) {
            return Err(CallError::new(Code::Conflict, format!("{to} exists"))
                .hint("delete it first")
                .into());
        }
        // The content moves as it is, whatever the caller believes of it; so does the belief.
        let gone = decide::delete(from, seen(from), None)?;
        let moved = gone.before.clone();
        let known = self.belief_in(job, from, &looked.blobs);
        let believed = moved.as_ref().filter(|_| known.whole).and_then(|moved| known.content(moved));
        let made = Plan { blind: believed.is_none(), belief: believed, ..Plan::new(to, None, moved) };
        Ok(vec![made, gone])
    }

    pub(super) fn conflict(&self, job: &Job) -> Result<&Conflict, CallError> {
        let token = job.text("token").unwrap_or_default();
        let conflict = self.state.conflicts.get(token).filter(|conflict| {
            matches!(job.caller, Caller::Human(_)) || conflict.lineage == job.caller.lineage()
        });
        conflict.ok_or_else(|| {
            CallError::new(Code::NotFound, format!("no open conflict has the token {token:?}"))
                .hint("a token works once; read the file and repeat the change")
        })
    }

    /// Runs the operations over an overlay of the observed files, so that later ones see earlier ones.
    fn plan_batch(&self, job: &Job, looked: &Looked) -> Result<Vec<Plan>, Refusal> {
        let mut overlay: BTreeMap<String, Plan> = BTreeMap::new();
        let mut problems = Vec::new();
        for (number, (op, path)) in batch_ops(job)?.iter().zip(job_paths(job)).enumerate() {
            let message = match self.plan_op(job, looked, op, path, overlay.get(path)) {
                Ok(plan) => {
                    overlay.insert(path.to_owned(), plan);
                    continue;
                }
                Err(Refusal::Nothing) => continue,
                Err(Refusal::Error(error)) => error.message,
                Err(Refusal::Clash(clash)) => format!("{} {}", clash.path, clash.why),
            };
            problems.push((number, message));
        }
        if !problems.is_empty() {
            return Err(batch_error(&problems).into());
        }
        // Operations that undo each other leave a file as it was.
        let changed =
            |plan: &Plan| plan.before.as_ref().map(Content::image) != plan.after.as_ref().map(Content::image);
        let plans: Vec<Plan> = overlay.into_values().filter(changed).collect();
        if plans.is_empty() { Err(Refusal::Nothing) } else { Ok(plans) }
    }

    /// One operation of a batch, on top of what `earlier` ones made of its file.
    fn plan_op(
        &self,
        job: &Job,
        looked: &Looked,
        op: &BatchOp<'_>,
        path: &str,
        earlier: Option<&Plan>,
    ) -> Result<Plan, Refusal> {
        let seen = match earlier {
            Some(plan) => seen_of(plan.after.as_ref()),
            None => looked.files.get(path).cloned().unwrap_or(Seen::Absent),
        };
        let mut blobs = looked.blobs.clone();
        let blob = match earlier {
            // What the operations before believe by now, in place of what the call started from.
            Some(plan) if plan.blind => None,
            Some(plan) => plan.belief.as_ref().or(plan.after.as_ref()).map(|content| {
                blobs.insert(content.hash, content.bytes.clone());
                content.hash
            }),
            None => self.belief(job, path),
        };
        let belief = Belief { blob, whole: self.knows_whole(job, path), blobs: &blobs };
        self.check_alive(job, op.op)?;
        let mut plan = match op.op {
            "edit" => decide::edit(path, &seen, &belief, (op.old, op.new, op.all))?,
            "write" => decide::write(path, &seen, &belief, op.content, op.executable)?,
            _ => decide::delete(path, &seen, blob)?,
        };
        if let Some(earlier) = earlier {
            plan.before.clone_from(&earlier.before);
            plan.merged |= earlier.merged;
        }
        Ok(plan)
    }
}

/// The resolved paths of a job in the order in which the call names them, repetitions included.
fn job_paths(job: &Job) -> Vec<&str> {
    let resources = job.requests.iter().map(|request| &request.resource);
    let paths = resources.filter_map(|resource| match resource {
        Resource::Path(path) => Some(path.as_str()),
        _ => None,
    });
    paths.collect()
}

fn batch_error(problems: &[(usize, String)]) -> CallError {
    let lines: Vec<String> =
        problems.iter().map(|(number, message)| format!("  op {number}: {message}")).collect();
    let rows: Vec<Value> =
        problems.iter().map(|(number, message)| json!({ "op": number, "message": message })).collect();
    let message = format!(
        "{} of the batch's operations cannot be done; nothing was written\n{}",
        lines.len(),
        lines.join("\n")
    );
    CallError::new(Code::Conflict, message).data(json!({ "problems": rows }))
}

/// One operation of a batch.
pub(super) struct BatchOp<'a> {
    pub(super) op: &'a str,
    pub(super) path: &'a str,
    old: &'a str,
    new: &'a str,
    all: bool,
    content: &'a str,
    executable: Option<bool>,
}

pub(super) fn batch_ops(job: &Job) -> Result<Vec<BatchOp<'_>>, CallError> {
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

fn seen_of(content: Option<&Content>) -> Seen {
    content.map_or(Seen::Absent, |content| Seen::File {
        hash: content.hash,
        bytes: content.bytes.clone(),
        executable: content.executable,
    })
}
