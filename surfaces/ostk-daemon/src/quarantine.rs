//! Looks after contained processes: what they made and others would obey goes to quarantine, and is reported.
//!
//! After a command before anybody learns of its end, and while a process runs for long from time to time. The driver
//! (`ostk-files`) finds and moves, the kernel records and tells. Called by `processes.rs`.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use ostk_files::{Guard, Quarantine, Taken, What, Workspace};
use ostk_kernel::Caller;
use ostk_sandbox::{Process, Spec};
use serde_json::{Value, json};

use crate::host::{HostHandle, NewCall, Reply};

/// How often is looked while a process runs, at the most.
const OFTEN: Duration = Duration::from_secs(2);
/// A look may take one part in so many of the time.
const SHARE: u32 = 50;
/// Things of one look that are recorded each for itself; all of them are in the list of the quarantine.
const MAX_TOLD: usize = 100;
/// Longest path that is told, in characters.
const MAX_PATH: usize = 1_000;
/// How long the record of something may take before the command's end is told without it.
const ANSWER: Duration = Duration::from_secs(2);
/// Deadline of the call that records it.
const RECORD_MS: u64 = 60_000;

/// The quarantine of a project.
pub(crate) struct Keeper {
    quarantine: Quarantine,
    root: PathBuf,
    host: HostHandle,
}

/// One process that is looked after.
pub(crate) struct Watch {
    guard: Guard,
    lineage: String,
}

impl Keeper {
    pub(crate) fn new(root: &Path, host: HostHandle) -> Result<Self, String> {
        let utf8 = Utf8Path::from_path(root).ok_or("the path of the project is not UTF-8")?;
        let workspace = Workspace::open(utf8).map_err(|error| error.to_string())?;
        Ok(Self { quarantine: Quarantine::new(workspace), root: root.to_owned(), host })
    }

    /// Takes from the spec of a process what is looked after here.
    pub(crate) fn prepare(&self, spec: &mut Spec) -> Guard {
        let inside = |paths: &[PathBuf]| {
            let inside = |path: &PathBuf| path.strip_prefix(&self.root).ok().map(Path::to_owned);
            paths.iter().filter_map(inside).collect::<Vec<_>>()
        };
        let refused = std::mem::take(&mut spec.refused);
        let mut guard = Guard::default();
        guard.roots = inside(&spec.writable);
        // Its home and its scratch are for itself alone: nobody else obeys what it keeps there.
        guard.roots.retain(|root| !root.starts_with(".ostk"));
        guard.names.clone_from(&spec.protected_names);
        guard.refused = inside(&refused);
        guard
    }

    /// Looks after a process that has just been started.
    pub(crate) fn watch(&self, guard: Guard, process: &Process, lineage: &str) -> Watch {
        Watch { guard: self.quarantine.guard(guard, process.guarded()), lineage: lineage.to_owned() }
    }

    /// Waits for the end of a process, looking from time to time; its lineage is told of what is found.
    pub(crate) fn see_through(&self, watch: &Watch, process: &Process, patience: Duration) {
        let over = Instant::now() + patience;
        let mut pause = OFTEN;
        while let left = over.saturating_duration_since(Instant::now())
            && !left.is_zero()
            && matches!(process.wait(pause.min(left)), Ok(None))
        {
            let began = Instant::now();
            self.sweep(watch, true);
            pause = OFTEN.max(began.elapsed() * SHARE);
        }
    }

    /// Moves away what is there now, has it recorded, and says a line about each.
    pub(crate) fn sweep(&self, watch: &Watch, message: bool) -> Vec<String> {
        let mut taken = self.quarantine.sweep(&watch.guard, &watch.lineage);
        let more = taken.len().saturating_sub(MAX_TOLD);
        taken.truncate(MAX_TOLD);
        let (told, answers) = mpsc::channel();
        let mut lines = Vec::new();
        for taken in taken {
            let line = line(&taken);
            let mut args = json!({ "item": taken.item, "path": short(&taken.path), "what": taken.what, "kept": taken.kept });
            if let Some(members) = args.as_object_mut() {
                members.extend(taken.problem.map(|problem| ("problem".to_owned(), json!(problem))));
                members.extend(message.then(|| ("message".to_owned(), json!(line))));
            }
            self.record(&watch.lineage, args, told.clone());
            lines.push(line);
        }
        drop(told);
        let over = Instant::now() + ANSWER;
        while answers.recv_timeout(over.saturating_duration_since(Instant::now())).is_ok() {}
        if more > 0 {
            lines.push(format!("ostk: and {more} more, see: ostk quarantine list"));
        }
        lines
    }

    fn record(&self, lineage: &str, args: Value, told: mpsc::Sender<()>) {
        let call = NewCall {
            caller: Caller::Agent(lineage.to_owned()),
            verb: "quarantine.took".to_owned(),
            args,
            idempotency: None,
            timeout_ms: RECORD_MS,
        };
        self.host.submit(call, Reply::new(move |_| _ = told.send(())));
    }

    /// Everything in quarantine.
    pub(crate) fn list(&self) -> Value {
        json!({ "items": self.quarantine.list() })
    }

    /// Puts something back.
    pub(crate) fn restore(&self, item: &str) -> std::io::Result<Value> {
        let taken = self.quarantine.restore(item)?;
        Ok(json!({ "item": taken.item, "path": taken.path }))
    }
}

/// What the maker of something is told.
fn line(taken: &Taken) -> String {
    let (path, item) = (short(&taken.path), &taken.item);
    let what = match taken.what {
        What::Program => "programs that people start would obey it",
        What::Hook => "git would run it",
        What::Settings => "it names programs that git would run, or other settings",
        What::Lead => "it leads git to another repository",
        What::Steps => "git would run commands in it",
    };
    if let Some(problem) = &taken.problem {
        return format!("ostk: {path} must not stay, for {what}; {problem}");
    }
    let kept = if taken.kept { "; its harmless part stays" } else { "" };
    let tracked = match taken.what {
        What::Program => ". Until then git, where it tracks it, counts it as deleted: do not commit that",
        _ => "",
    };
    format!(
        "ostk: {path} was moved to quarantine, for {what}{kept}. The operator restores it: ostk quarantine restore {item}{tracked}"
    )
}

fn short(path: &str) -> String {
    path.chars().take(MAX_PATH).collect()
}
