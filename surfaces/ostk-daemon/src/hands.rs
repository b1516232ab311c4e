//! The hands: carries out the operations that the kernel asks for, with the drivers.
//!
//! Short operations on files are done at once, on the host's thread. Commands, scans, searches and model calls run on
//! threads or tasks of their own and report to the host when they are done. Nothing here decides anything.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ostk_agent::{AgentState, model::Usage};
use ostk_blobs::BlobStore;
use ostk_files::{FilesError, Observation, PathError, Scanner, Workspace, WorkspacePath};
use ostk_kernel::{
    Allowance, CallError, Code, FileEntry, Found, ModelFacts, ModelFailure, Op, OpId, Outcome, Placed,
    ProcessSignal, Seen, State, TrustedKeys, Unresolved,
};
use ostk_log::{Hash, Timestamp};
use ostk_models::{ApiKey, ModelError, Models};
use ostk_policy::Bounds;

use crate::{
    broker::Broker,
    documents,
    host::{HostHandle, Message, now},
    processes::Processes,
    signed,
    stacks::Stacks,
};

/// An account whose quota is used up is asked again after an hour: most quotas open again within one, or by a person.
const QUOTA_MS: u64 = 3_600_000;
/// Files with names elsewhere that are covered: each costs a mount at every start.
const MAX_LINKED: usize = 256;

/// Everything that operations need.
pub(crate) struct Hands {
    pub(crate) workspace: Workspace,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) scanner: Mutex<Scans>,
    pub(crate) models: Models,
    /// Has the keys of models, and masks every outcome.
    pub(crate) broker: Arc<Broker>,
    pub(crate) processes: Processes,
    /// Keeps what a crash left.
    pub(crate) state_dir: PathBuf,
    /// The project's `.ostk/`, with the documents: the same, unless this is the daemon of a stack.
    pub(crate) project: PathBuf,
    /// What this stack may spend, if it is one.
    pub(crate) budget: Option<Allowance>,
    pub(crate) stacks: Stacks,
    /// Keys that the log spoke of when the daemon started.
    pub(crate) known: TrustedKeys,
    pub(crate) root: PathBuf,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) tasks: Mutex<BTreeMap<OpId, tokio::task::AbortHandle>>,
}

/// The scanner, and what it must know before its first scan.
pub(crate) struct Scans {
    scanner: Scanner,
    /// Files that the log knows; taken at the first scan, which compares them and takes all others as they are.
    known: Option<Vec<(WorkspacePath, Hash)>>,
}

impl Scans {
    pub(crate) fn new(workspace: &Workspace, state: &State) -> Self {
        let image = |(path, entry): (&String, &FileEntry)| {
            let path = workspace.resolve("", path).ok()?;
            Some((path, entry.image?.blob))
        };
        let known = state.files.iter().filter_map(image).collect();
        Self { scanner: Scanner::new(workspace.clone()), known: Some(known) }
    }

    /// Paths that changed since the last scan.
    fn changes(&mut self) -> Result<Vec<String>, FilesError> {
        let mut paths = Vec::new();
        let mut first = self.known.take();
        for (path, hash) in first.iter_mut().flat_map(std::mem::take) {
            self.scanner.prime(path, hash);
        }
        loop {
            let scan = if first.take().is_some() { self.scanner.baseline()? } else { self.scanner.scan()? };
            paths.extend(scan.changes.into_iter().map(|change| change.path.to_string()));
            if !scan.more {
                return Ok(paths);
            }
        }
    }
}

impl Hands {
    /// Does a short operation, or gives it back.
    pub(crate) fn try_now(&self, op: Op) -> Result<Outcome, Op> {
        self.short(op).map(|outcome| self.broker.outcome(outcome))
    }

    fn short(&self, op: Op) -> Result<Outcome, Op> {
        Ok(match op {
            Op::Resolve { cwd, paths } => {
                Outcome::Resolved(paths.iter().map(|path| self.resolve(&cwd, path)).collect())
            }
            Op::Observe { paths, blobs } => self.observe(paths, &blobs),
            Op::Place { steps } => Outcome::Placed(self.place(&steps)),
            Op::List { path } => Outcome::Listed(self.list(&path)),
            Op::DescribeModel { model } => Outcome::Described(self.describe(&model)),
            Op::LoadDocuments => self.load_documents(),
            other => return Err(other),
        })
    }

    /// Starts an operation; its outcome is sent to the host.
    pub(crate) fn start(self: Arc<Self>, id: OpId, op: Op, host: HostHandle) {
        if let Op::Model { agent, deadline, secrets } = op {
            return self.start_model(id, *agent, (deadline, secrets), host);
        }
        let runtime = self.runtime.clone();
        runtime.spawn_blocking(move || {
            let outcome = self.broker.outcome(self.long(id, op, &host));
            host.tell(Message::Done { op: id, outcome });
        });
    }

    fn long(&self, id: OpId, op: Op, host: &HostHandle) -> Outcome {
        match op {
            Op::Stack(op) => Outcome::Json(self.stacks.carry_out(op, host)),
            Op::Shell(mut command) => {
                let before = self.scan().unwrap_or_default();
                let end = self.prepare(&mut command.bounds).and_then(|()| self.processes.run(id, &command));
                match self.scan() {
                    Ok(after) => Outcome::Shell { end, before, after },
                    Err(problem) => Outcome::Shell { end: end.and(Err(problem)), before, after: Vec::new() },
                }
            }
            Op::Scan => Outcome::Scanned(self.scan()),
            Op::Start { lineage, alias, command, mut bounds, wait_for, timeout_ms } => {
                if let Err(reason) = self.prepare(&mut bounds) {
                    return Outcome::Json(Err(CallError::new(Code::Denied, reason)));
                }
                let wait = Duration::from_millis(timeout_ms);
                let found = wait_for.as_deref();
                Outcome::Json(self.processes.start(&lineage, &alias, &command, &bounds, found, wait))
            }
            Op::Interact { alias, action, input, lines, timeout_ms } => {
                let wait = Duration::from_millis(timeout_ms);
                Outcome::Json(self.processes.interact(&alias, &action, input.as_deref(), lines, wait))
            }
            Op::ListQuarantine => Outcome::Json(Ok(self.processes.keeper().list())),
            Op::Restore { item } => {
                let restored = self.processes.keeper().restore(&item);
                Outcome::Json(restored.map_err(|error| {
                    let code =
                        if error.kind() == ErrorKind::NotFound { Code::NotFound } else { Code::Failed };
                    CallError::new(code, error.to_string()).hint("ostk quarantine list")
                }))
            }
            Op::Search { query, may_read, timeout_ms } => {
                let wait = Duration::from_millis(timeout_ms);
                Outcome::Json(crate::lookup::search(&self.root, &query, &may_read, &self.broker, wait))
            }
            short => self.short(short).unwrap_or_else(|_| {
                Outcome::Json(Err(CallError::new(Code::Failed, "bug: an operation without hands")))
            }),
        }
    }

    /// Ends what runs under an operation; a command that waits for its turn does not begin.
    pub(crate) fn abort(&self, id: OpId) {
        match lock(&self.tasks).remove(&id) {
            Some(task) => task.abort(),
            None => self.processes.kill(id),
        }
    }

    /// Stops, continues or asks to end what runs under an operation.
    pub(crate) fn signal(&self, id: OpId, signal: ProcessSignal) {
        self.processes.signal(id, signal);
    }

    /// Kills everything that runs; no process begins any more.
    pub(crate) fn stop_all(&self) {
        self.stacks.stop_all();
        self.processes.kill_all();
        for (_, task) in std::mem::take(&mut *lock(&self.tasks)) {
            task.abort();
        }
    }

    fn resolve(&self, cwd: &str, path: &str) -> Result<String, Unresolved> {
        match self.workspace.resolve(cwd, path) {
            Ok(path) => Ok(path.to_string()),
            Err(error) => Err(Unresolved { outside: is_outside(&error), message: error.to_string() }),
        }
    }

    fn observe(&self, paths: Vec<String>, wanted: &[Hash]) -> Outcome {
        let files = paths.into_iter().map(|path| (path.clone(), self.see(&path))).collect();
        let mut blobs = BTreeMap::new();
        for hash in wanted {
            // A blob that cannot be read is missing: the kernel refuses what depends on it.
            if let Ok(Some(bytes)) = self.blobs.get(hash) {
                blobs.insert(*hash, bytes.into());
            }
        }
        Outcome::Observed { files, blobs }
    }

    fn see(&self, path: &str) -> Seen {
        let resolved = match self.workspace.resolve("", path) {
            Ok(resolved) => resolved,
            Err(error) => return Seen::Unreadable(error.to_string()),
        };
        match self.workspace.observe(&resolved) {
            Ok(Observation::Absent) => Seen::Absent,
            Ok(Observation::File(file)) => {
                Seen::File { hash: file.hash, bytes: file.bytes, executable: file.executable }
            }
            Ok(Observation::Directory) => Seen::Directory,
            Ok(Observation::Special(kind)) => Seen::Unreadable(format!("it is a {kind}")),
            Err(error) => Seen::Unreadable(error.to_string()),
        }
    }

    fn place(&self, steps: &[Found]) -> Placed {
        for (done, step) in steps.iter().enumerate() {
            let wanted = step.wanted.as_ref().map(|(bytes, executable)| (&bytes[..], *executable));
            match self.workspace.change(&step.path, step.expected, wanted) {
                Ok(true) => {}
                Ok(false) => return Placed::Displaced { done },
                Err(error) => return Placed::Failed { done, reason: error.to_string() },
            }
        }
        Placed::All
    }

    fn list(&self, path: &str) -> Result<Vec<String>, String> {
        let path = self.workspace.resolve("", path).map_err(|error| error.to_string())?;
        let listing = self.workspace.list(&path).map_err(|error| error.to_string())?;
        Ok(listing.entries.iter().map(documents::listed).collect())
    }

    fn scan(&self) -> Result<Vec<String>, String> {
        lock(&self.scanner).changes().map_err(|error| error.to_string())
    }

    /// What must be so before a process starts: every secret is known, so that its output can be masked.
    fn prepare(&self, bounds: &mut Bounds) -> Result<(), String> {
        self.broker.renew().map_err(|error| error.to_string())?;
        self.protect_linked(bounds)
    }

    fn load_documents(&self) -> Outcome {
        let documents = signed::documents(&self.project, &self.known);
        // A HUMANFILE that does not parse lists nothing, and the gate refuses it; what was known stays known.
        let listed = crate::secrets::listed_secrets(&documents).unwrap_or_default();
        if let Err(error) = self.broker.list(listed) {
            let _ = writeln!(io::stderr(), "what HUMANFILE lists newly is not masked: {error}");
        }
        // A stack's budget is what it was spawned with.
        let allowance = self.budget.map_or_else(|| crate::allowance::allowance(&self.project), Ok);
        Outcome::Documents { documents: Box::new(documents), allowance }
    }

    /// A file with a name elsewhere is that other file too: it may be read only, as of the last scan.
    fn protect_linked(&self, bounds: &mut Bounds) -> Result<(), String> {
        let scans = lock(&self.scanner);
        let linked = scans.scanner.linked();
        if linked.len() > MAX_LINKED && !bounds.writable.is_empty() {
            return Err(format!(
                "{} files of the workspace have names elsewhere (hard links), such as {}; a command could change those, and \
                 no more than {MAX_LINKED} can be covered: make copies of them (cp FILE COPY && mv COPY FILE)",
                linked.len(),
                linked.first().map_or("", |path| path.as_str()),
            ));
        }
        bounds.protected.extend(linked.iter().map(ToString::to_string));
        Ok(())
    }

    fn start_model(
        self: Arc<Self>,
        id: OpId,
        agent: AgentState,
        terms: (Timestamp, Vec<String>),
        host: HostHandle,
    ) {
        let hands = Arc::clone(&self);
        let task = self.runtime.spawn(async move {
            let outcome = hands.broker.outcome(hands.call_model(agent, terms).await);
            lock(&hands.tasks).remove(&id);
            // The host's queue may be full: wait on a thread that may block.
            let told = tokio::task::spawn_blocking(move || host.tell(Message::Done { op: id, outcome }));
            let _ = told.await;
        });
        lock(&self.tasks).insert(id, task.abort_handle());
    }

    fn describe(&self, model: &str) -> Result<ModelFacts, String> {
        ostk_models::route(model).map_err(|error| error.to_string())?;
        let context_window = self.models.context_window(model);
        let has_price = ostk_models::price(model, &Usage::default()).is_some();
        Ok(ModelFacts { context_window, has_price })
    }

    /// The providers with the key that a call of `model` takes: listed in HUMANFILE, and present. Without it the call is
    /// refused, unless a server on this machine brings the key itself. May ask the operator's own command.
    fn keyed(&self, model: &str, listed: Vec<String>) -> Result<Models, String> {
        let Some((name, needed)) = self.models.key_of(model).map_err(|error| error.to_string())? else {
            return Ok(self.models.clone());
        };
        match self.broker.resolve(name, &listed.into_iter().collect()) {
            Ok(secret) => match ApiKey::new(secret.expose()) {
                Some(key) => self.models.with_key(model, key).map_err(|error| error.to_string()),
                None => Err(format!("the value of {name} is blank\nHint: ostk secret set {name}")),
            },
            Err(_) if !needed => Ok(self.models.clone()),
            Err(error) => Err(error),
        }
    }

    async fn call_model(self: &Arc<Self>, agent: AgentState, terms: (Timestamp, Vec<String>)) -> Outcome {
        let (deadline, listed) = terms;
        // What was recorded before a secret was known may hold it.
        let masker = self.broker.masker();
        let load =
            |hash: &Hash| self.blobs.get(hash).ok().flatten().map(|bytes| masker.mask(&bytes).into_owned());
        let request = match agent.compose(&load, &crate::lookup::tool_specs(&agent)) {
            Ok(request) => request,
            Err(error) => {
                return lasting_failure(error.to_string());
            }
        };
        let until = Instant::now() + Duration::from_millis(deadline.millis_since(now()));
        let (hands, model) = (Arc::clone(self), request.model.clone());
        let keyed = tokio::task::spawn_blocking(move || hands.keyed(&model, listed)).await;
        let models =
            match keyed.unwrap_or_else(|error| Err(format!("the key could not be looked up: {error}"))) {
                Ok(models) => models,
                Err(message) => return lasting_failure(message),
            };
        match models.call(&request, until, |_| {}).await {
            Ok(reply) => {
                let price = ostk_models::price(&request.model, &reply.usage).map(|price| price.0);
                Outcome::Model(Ok((reply, price)))
            }
            Err(error) => Outcome::Model(Err(failure(&error))),
        }
    }
}

/// A model call that failed, in the kernel's words.
fn failure(error: &ModelError) -> ModelFailure {
    let used_up = matches!(error, ModelError::QuotaExhausted { .. }).then_some(QUOTA_MS);
    let asked = error.retry_after().and_then(|wait| u64::try_from(wait.as_millis()).ok());
    ModelFailure {
        retryable: error.is_transient(),
        unsettled: error.may_be_charged(),
        retry_after_ms: asked.or(used_up),
        message: error.to_string(),
    }
}

/// A model call that would fail again in the same way.
const fn lasting_failure(message: String) -> Outcome {
    Outcome::Model(Err(ModelFailure { message, retryable: false, retry_after_ms: None, unsettled: false }))
}

fn is_outside(error: &PathError) -> bool {
    matches!(
        error,
        PathError::Outside { .. } | PathError::OutsideThroughLink { .. } | PathError::Reserved { .. }
    )
}

/// A lock whose holder panicked still guards consistent data: every critical section here is one insertion or removal.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
