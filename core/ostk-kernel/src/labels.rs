//! Labels: where data came from, followed into the arguments of later calls.
//!
//! A lineage carries the labels of what it has read; a file carries those of whoever wrote it. A call's verdict sees the
//! labels of its caller joined with those of its file, and a read hands them to the reader when its record is folded.
//! Labels only grow; a person takes one off (`label.clear`). Documents name the labels of paths (`LABEL` in HUMANFILE);
//! a connection brings `network`. What a command reads by itself is not seen: it carries its caller's labels, and those of
//! the files that its text names.

use std::collections::BTreeSet;

use ostk_policy::{Argument, DestructiveOps, Mode, Resource};
use serde_json::{Value, json};

use crate::{
    call::{CallError, Caller, Code},
    event::Event,
    gatekeeper::arguments,
    kernel::{Job, Kernel},
};

/// Longest label in bytes.
const MAX_LABEL: usize = 64;
/// Most labels that a lineage or a file carries: a vocabulary is small.
pub(crate) const MAX_LABELS: usize = 64;
/// The label of what came over a connection.
pub(crate) const NETWORK: &str = "network";
/// The label of whoever kept SIGTRUST from itself.
pub(crate) const DISTRUSTED: &str = "distrusted";

impl Kernel {
    /// The labels of the data in a call: its caller's and its file's.
    pub(crate) fn labels(&self, lineage: &str, resource: &Resource) -> Vec<String> {
        let mut labels: BTreeSet<String> = BTreeSet::new();
        labels.extend(
            self.state.lineages.get(lineage).into_iter().flat_map(|known| known.labels.iter().cloned()),
        );
        match resource {
            Resource::Path(path) => labels.extend(self.labels_of(path)),
            Resource::Command(command) => {
                let words = command.split(|c: char| c.is_whitespace() || "'\"=<>|;&()".contains(c));
                let words = words.filter(|word| !word.is_empty()).map(|word| word.trim_start_matches("./"));
                labels.extend(
                    words.filter(|word| self.is_labelled(word)).flat_map(|word| self.labels_of(word)),
                );
            }
            _ => {}
        }
        labels.into_iter().collect()
    }

    fn is_labelled(&self, path: &str) -> bool {
        self.state.files.get(path).is_some_and(|entry| !entry.labels.is_empty())
            || self.gate.policy().labels_of(path).next().is_some()
    }

    /// The labels of a file: what the documents say of its path, and what its writers carried.
    fn labels_of(&self, path: &str) -> BTreeSet<String> {
        let given = self.gate.policy().labels_of(path).map(str::to_owned);
        let carried = self.state.files.get(path).into_iter().flat_map(|entry| entry.labels.iter().cloned());
        given.chain(carried).collect()
    }

    /// The labels of the files in which a search found something.
    pub(crate) fn labels_of_matches(&self, found: &Value) -> Vec<String> {
        let matches = found.get("matches").and_then(Value::as_array).into_iter().flatten();
        let paths: BTreeSet<&str> =
            matches.filter_map(|found| found.get("path").and_then(Value::as_str)).collect();
        let labels: BTreeSet<String> = paths.into_iter().flat_map(|path| self.labels_of(path)).collect();
        labels.into_iter().collect()
    }

    /// The calls `label.take` (a lineage labels itself) and `label.clear` (a person takes a label off).
    pub(crate) fn change_label(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let label = job.text("label").unwrap_or_default().to_owned();
        if let Err(error) = check_label(&label) {
            return (Err(error), None);
        }
        let taken = job.syscall.name == "label.take";
        let (lineage, path) = match taken {
            true => (Some(job.caller.lineage().to_owned()), None),
            false => (job.text("lineage").map(str::to_owned), job.text("path").map(str::to_owned)),
        };
        if lineage.is_some() == path.is_some() {
            let error = CallError::new(Code::Usage, "a label is taken off one lineage or off one file");
            return (Err(error.hint("label.clear with lineage or with path")), None);
        }
        let result = json!({ "label": label, "taken": taken, "lineage": lineage, "path": path });
        let seq = self
            .record(&job.caller, &Event::LabelChanged { lineage, path, label, taken, key: job.key.clone() });
        (Ok(result), Some(seq + 1))
    }

    /// A client's own tool brings in what came from outside.
    pub(crate) fn take_label(&mut self, caller: &Caller, label: &str) {
        let known = self.state.lineages.get(caller.lineage());
        if known.is_some_and(|known| !known.labels.contains(label) && known.labels.len() < MAX_LABELS) {
            let lineage = Some(caller.lineage().to_owned());
            let event =
                Event::LabelChanged { lineage, path: None, label: label.to_owned(), taken: true, key: None };
            self.record(caller, &event);
        }
    }

    /// The arguments of a call for rules to look at, where a rule or a limit does.
    pub(crate) fn judged_arguments(
        &self,
        caller: &Caller,
        args: &Value,
    ) -> std::collections::BTreeMap<String, Argument> {
        let limited = || {
            let tools = self.agent_tools(caller.lineage());
            tools.is_some_and(|tools| tools.iter().any(|tool| tool.class.starts_with("limit:arg.")))
        };
        if self.gate.policy().looks_at_arguments() || limited() {
            arguments(args)
        } else {
            Default::default()
        }
    }

    /// The mode of a session that `caller` starts: an agent can only tighten what holds for itself and for the lineage.
    pub(crate) fn mode_for(&self, caller: &Caller, wanted: Option<Mode>, lineage: &str) -> Option<Mode> {
        let kept = |name: &str| self.state.lineages.get(name).and_then(|known| known.mode);
        let cap = self.state.within.as_ref().and_then(|within| within.mode);
        let own = match caller.process() {
            Some(me) => [wanted, kept(me), kept(lineage)].into_iter().flatten().min(),
            None => wanted.or(kept(lineage)),
        };
        [own, cap].into_iter().flatten().min()
    }

    pub(crate) fn task_of(&self, lineage: &str) -> Option<String> {
        self.state.lineages.get(lineage)?.task.clone()
    }

    /// What the agent's Agentfile says of destructive commands.
    pub(crate) fn destructive_ops(&self, lineage: &str) -> Option<DestructiveOps> {
        DestructiveOps::parse(self.state.agents.get(lineage)?.limits().mode("destructive_ops")?)
    }
}

fn check_label(label: &str) -> Result<(), CallError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if label.is_empty() || label.len() > MAX_LABEL || !label.chars().all(plain) {
        let message = format!("not a label: {label:?}");
        return Err(
            CallError::new(Code::Usage, message).hint(format!("1 to {MAX_LABEL} of a-z A-Z 0-9 - _ . :"))
        );
    }
    Ok(())
}
