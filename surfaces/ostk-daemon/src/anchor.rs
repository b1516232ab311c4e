//! The anchor: the one long-lived daemon of a project, from the lock to the last flush.
//!
//! Start: take the lock, open the journal (which repairs a torn tail), fold the records, load the documents, start the
//! host, bind the socket, watch the workspace. Stop: on SIGTERM, SIGINT, `kernel/stop`, or when idle.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use ostk_files::{FileVersion, WatchEvent, Watcher, Workspace, WorkspacePath};
use ostk_journal::{Journal, Recovery};
use ostk_kernel::{Allowance, Config, Kernel, State, Within};
use ostk_keys::KeyStore;
use ostk_log::Signer;
use ostk_policy::{Documents, Gate};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::{
    broker::Broker,
    hands::{Hands, Scans},
    host::{self, Host, HostHandle, MAX_MESSAGES, Message, Progress},
    processes::Processes,
    replay::replay,
    rpc::{self, Shared},
    settings::Settings,
    signed,
    snapshot::{self, Snapshots},
    stacks::{self, Stacks},
    ways::Ways,
};

/// How long a start waits for the lock of a daemon that has just died.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long one that was killed may still be seen to live.
const DYING: Duration = Duration::from_millis(500);
/// Connections at once; a fleet of a thousand agents fits.
const MAX_CONNECTIONS: usize = 2_048;

/// How to run the daemon.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Leave after this long without a client or a running agent.
    pub idle_exit: Option<Duration>,
    /// It is the daemon of this sub-stack.
    pub stack: Option<String>,
}

/// Where a daemon finds what it needs.
struct Place {
    root: PathBuf,
    /// The project's `.ostk/`: the documents that govern, and the settings.
    project: PathBuf,
    /// Journal, packs, snapshots, sockets: the same, or that of a stack.
    state_dir: PathBuf,
    /// What the stack keeps to, if it is one.
    within: Option<Within>,
}

impl Place {
    fn new(root: &Path, stack: Option<&str>) -> Result<Self, AnchorError> {
        let (root, project) = (root.to_owned(), root.join(".ostk"));
        let Some(name) = stack else {
            return Ok(Self { root, state_dir: project.clone(), project, within: None });
        };
        let state_dir = project.join(stacks::DIRECTORY).join(name);
        let within = stacks::within(&state_dir).map_err(AnchorError::Part)?;
        Ok(Self { root, project, state_dir, within: Some(within) })
    }

    /// What may be spent: a stack's budget is its own, others have the project's settings.
    fn allowance(&self) -> Result<Allowance, AnchorError> {
        match &self.within {
            Some(within) => Ok(within.budget),
            None => crate::allowance::allowance(&self.project).map_err(AnchorError::Part),
        }
    }

    /// The log's name in its checkpoints: the repository's directory name, and that of the stack.
    fn origin(&self) -> String {
        let name = self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        let stack = self.within.as_ref().map(|within| format!("/{}", within.stack)).unwrap_or_default();
        format!("ostk/{}{stack}", name.unwrap_or_default().chars().map(plain).collect::<String>())
    }
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// Another daemon holds the project.
    #[error("another daemon{} holds this project", .0.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held(Option<u32>),
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Documents that govern are not what was signed, or not signed where they must be; each with the remedy.
    #[error("{0}")]
    Untrusted(String),
    /// A part could not start; the message names it.
    #[error("{0}")]
    Part(String),
}

impl AnchorError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Held(_) => Some("use it as it is (ostk ps), or stop it first: ostk shutdown"),
            Self::Untrusted(_) => None,
            Self::Io { .. } | Self::Part(_) => Some("ostk doctor looks for what is wrong"),
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn part(name: &str) -> impl FnOnce(String) -> Self {
        let name = name.to_owned();
        move |message| Self::Part(format!("{name}: {message}"))
    }
}

/// Whether a daemon holds the project whose state is in `state_dir`.
pub fn anchored(state_dir: &Path) -> bool {
    let Ok(file) = File::open(state_dir.join("run/anchor.lock")) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Runs the daemon of the project at `root` until it is told to stop.
///
/// # Errors
/// When another daemon runs, or a part of this one cannot start.
pub fn listen(root: &Path, options: Options) -> Result<(), AnchorError> {
    let place = Place::new(root, options.stack.as_deref())?;
    let run = place.state_dir.join("run");
    fs::create_dir_all(&run).map_err(AnchorError::io(&run))?;
    let _lock = take_lock(&run)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(128)
        .enable_all()
        .build()
        .map_err(AnchorError::io(&run))?;
    let _caught = catch_file_size_limit(&runtime, &run)?;
    let result = start(&place, &options, &runtime);
    runtime.shutdown_timeout(Duration::from_secs(2));
    let _ = fs::remove_file(run.join("ostk.sock"));
    let _ = fs::remove_file(run.join("anchor.pid"));
    result
}

/// Makes a write beyond the limit on the size of files fail, as one on a full disk does, instead of ending the daemon.
fn catch_file_size_limit(
    runtime: &tokio::runtime::Runtime,
    run: &Path,
) -> Result<tokio::signal::unix::Signal, AnchorError> {
    let _runtime = runtime.enter();
    let kind = tokio::signal::unix::SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind, run)
}

fn take_lock(run: &Path) -> Result<File, AnchorError> {
    let path = run.join("anchor.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o600).open(&path);
    let file = file.map_err(AnchorError::io(&path))?;
    let holder = || fs::read_to_string(run.join("anchor.pid")).ok().and_then(|text| text.trim().parse().ok());
    if !locked_soon(&file, holder()) {
        return Err(AnchorError::Held(holder()));
    }
    let pid = run.join("anchor.pid");
    fs::write(&pid, format!("{}\n", std::process::id())).map_err(AnchorError::io(&pid))?;
    Ok(file)
}

/// A child that a killed daemon had just begun to start keeps its lock and its socket until it executes its program: wait
/// a moment for it, and a shorter one for a daemon that lives: it may have been killed just now.
fn locked_soon(file: &File, holder: Option<u32>) -> bool {
    let begun = Instant::now();
    loop {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        let patience = if holder.is_some_and(lives) { DYING } else { LOCK_PATIENCE };
        if begun.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process of this number runs; one that has died and was not waited for does not.
fn lives(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

fn start(place: &Place, options: &Options, runtime: &tokio::runtime::Runtime) -> Result<(), AnchorError> {
    let Place { root, project, state_dir, .. } = place;
    let (sender, inbox) = mpsc::sync_channel(MAX_MESSAGES);
    let signer = signer()?;
    let progress: Arc<Progress> = Arc::default();
    let (journal, recovery) = open_journal(place, Arc::clone(&signer), &progress, sender.clone())?;
    let (state, snapshots) = fold(state_dir, signer, recovery.next_seq)?;
    host::begin_clock(state.last_ts);
    trusted(project, &state)?;
    let documents = signed::read_accepted(project, &state.trust);
    let broker = broker(project, &state, &documents)?;
    let documents = broker.documents(documents);
    let gate = Gate::new(&documents).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        AnchorError::Part(format!("the governance documents are malformed:\n{}", lines.join("\n")))
    })?;
    progress.begin(recovery.next_seq);
    let epoch = recovery.last_epoch + 1;
    let config = Config {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch,
        recovered: recovered(&recovery),
        model_slots: crate::slots::model_slots(project).map_err(AnchorError::Part)?,
        agent_slots: crate::slots::agent_slots(project).map_err(AnchorError::Part)?,
        allowance: place.allowance()?,
        within: place.within.clone(),
    };
    let handle = HostHandle::new(sender, epoch, broker);
    let hands = Arc::new(hands(place, &journal, &state, runtime, &handle)?);
    if state.next_seq > 0 && !state.stopped {
        sweep(&hands, &state)?;
    }
    let workspace = hands.workspace.clone();
    let kernel = Kernel::new(config, state, gate);
    let host = Host::new(kernel, journal, Arc::clone(&hands), handle.clone(), inbox, snapshots, progress);
    let builder = thread::Builder::new().name("ostk-kernel".to_owned());
    let host = builder.spawn(move || host.run(&documents)).map_err(AnchorError::io(root))?;
    let _watcher = watch(workspace, handle.clone());
    runtime.block_on(serve(state_dir, handle.clone(), hands, options))?;
    handle.tell(Message::Stop { reason: "asked to stop".to_owned() });
    host.join().map(|_| ()).map_err(|_| AnchorError::Part("bug: the kernel's thread panicked".to_owned()))
}

/// A document that was changed after it was signed ends the start.
fn trusted(state_dir: &Path, state: &State) -> Result<(), AnchorError> {
    let trust = signed::look(state_dir, &state.trust).map_err(AnchorError::Part)?;
    trust.problem().map_or(Ok(()), |problem| Err(AnchorError::Untrusted(problem)))
}

/// Knows the secrets before anything else is read.
fn broker(state_dir: &Path, state: &State, documents: &Documents) -> Result<Arc<Broker>, AnchorError> {
    let store = crate::secrets::secret_store(state_dir, &state.trust).map_err(AnchorError::Part)?;
    // A HUMANFILE that does not parse lists nothing; the gate refuses it in a moment.
    let listed = crate::secrets::listed_secrets(documents).unwrap_or_default();
    let broker = Broker::new(store, listed).map_err(|error| AnchorError::Part(error.to_string()))?;
    Ok(Arc::new(broker))
}

/// This instance's key.
fn signer() -> Result<Arc<dyn Signer>, AnchorError> {
    let key = KeyStore::open(keys_dir()?).and_then(|store| store.instance_key());
    Ok(Arc::new(key.map_err(|error| AnchorError::Part(error.to_string()))?))
}

fn open_journal(
    place: &Place,
    signer: Arc<dyn Signer>,
    progress: &Arc<Progress>,
    sender: mpsc::SyncSender<Message>,
) -> Result<(Journal, Recovery), AnchorError> {
    // What cannot be told because the host has much to do, it finds when it looks.
    let (told, teller) = (Arc::clone(progress), sender.clone());
    let on_durable = Box::new(move |news: Result<u64, Arc<ostk_journal::PoisonError>>| {
        told.durable(news.map_err(|error| error.to_string()));
        let _ = teller.try_send(Message::Progress);
    });
    let mut options = ostk_journal::Options::new(signer, place.origin(), on_durable);
    let told = Arc::clone(progress);
    options.on_written = Some(Box::new(move |count| {
        told.written(count);
        let _ = sender.try_send(Message::Progress);
    }));
    Journal::open(&place.state_dir, options).map_err(|error| AnchorError::Part(error.to_string()))
}

fn keys_dir() -> Result<PathBuf, AnchorError> {
    KeyStore::default_dir(|name| std::env::var_os(name)).map_err(|error| AnchorError::Part(error.to_string()))
}

/// The state after the last record: a snapshot, and the log from there on.
fn fold(state_dir: &Path, signer: Arc<dyn Signer>, next_seq: u64) -> Result<(State, Snapshots), AnchorError> {
    let mut state = snapshot::load(state_dir, &*signer, next_seq);
    let snapshots = Snapshots::new(state_dir, signer, state.next_seq);
    replay(state_dir, &mut state).map_err(|error| AnchorError::Part(error.to_string()))?;
    debug_assert_eq!(state.next_seq, next_seq, "recovery and replay saw the same records");
    Ok((state, snapshots))
}

/// Clears away what a crash left between two renames. A temporary file can hold the only copy of an outside edit: what
/// the packs do not know is put aside under `recovered/`.
fn sweep(hands: &Hands, state: &State) -> Result<(), AnchorError> {
    let aside = hands.state_dir.join("recovered");
    let mut keep = |_: &WorkspacePath, version: &FileVersion| {
        // An empty one is a draft that was never written to.
        if version.bytes.is_empty() || hands.blobs.contains(&version.hash) {
            return Ok(());
        }
        fs::create_dir_all(&aside)?;
        let file = aside.join(version.hash.to_string());
        let _ = writeln!(io::stderr(), "an outside edit was saved from a crash: {}", file.display());
        fs::write(file, &version.bytes)
    };
    // Where another daemon writes, a temporary file may be one that it is about to place.
    let skip = |directory: &WorkspacePath| !state.is_ours(directory.as_str());
    let swept = hands.workspace.sweep_temporaries_but(&skip, &mut keep);
    swept.map(|_| ()).map_err(|error| AnchorError::Part(error.to_string()))
}

fn recovered(recovery: &Recovery) -> Option<Value> {
    let torn = recovery.torn.as_ref()?;
    Some(json!({ "torn_from_seq": torn.first_seq, "torn_bytes": torn.bytes }))
}

fn hands(
    place: &Place,
    journal: &Journal,
    state: &State,
    runtime: &tokio::runtime::Runtime,
    host: &HostHandle,
) -> Result<Hands, AnchorError> {
    let Place { root, project, state_dir, within } = place;
    let utf8 = camino::Utf8Path::from_path(root).ok_or_else(|| {
        AnchorError::Part(format!("the path of the project is not UTF-8: {}", root.display()))
    })?;
    let workspace = Workspace::open(utf8).map_err(|error| AnchorError::Part(error.to_string()))?;
    let scanner = Scans::new(&workspace, state);
    Ok(Hands {
        workspace,
        blobs: Arc::clone(journal.blobs()),
        scanner: Mutex::new(scanner),
        models: ostk_models::Models::new(ostk_models::Config::without_keys())
            .map_err(|error| AnchorError::Part(error.to_string()))?,
        processes: Processes::new(
            root,
            state_dir,
            &keys_dir()?,
            settings(project, state)?,
            Ways::new(host.clone(), runtime.handle().clone(), root, state_dir),
        )
        .map_err(AnchorError::part("sandbox"))?,
        broker: Arc::clone(host.broker()),
        state_dir: state_dir.to_owned(),
        project: project.to_owned(),
        budget: within.as_ref().map(|within| within.budget),
        stacks: Stacks::new(root, project),
        known: state.trust.clone(),
        root: root.to_owned(),
        runtime: runtime.handle().clone(),
        tasks: Mutex::new(BTreeMap::new()),
    })
}

/// What the operator says about commands; what is not accepted is said to have no effect.
fn settings(state_dir: &Path, state: &State) -> Result<Settings, AnchorError> {
    let settings = Settings::load(state_dir, &state.trust).map_err(AnchorError::part("settings"))?;
    if let Some(problem) = settings.problem() {
        let _ = writeln!(io::stderr(), "{problem}");
    }
    Ok(settings)
}

/// Watching is a help, not a guarantee: every touch checks the file's hash anyway.
fn watch(workspace: Workspace, handle: HostHandle) -> Option<Watcher> {
    let started = Watcher::start(workspace, move |event| {
        let paths = match event {
            WatchEvent::Changed(paths) => paths.iter().map(ToString::to_string).collect(),
            WatchEvent::Overflow | WatchEvent::Unwatched(_) => Vec::new(),
        };
        // A host with a full queue will look at the files when they are touched.
        let _ = handle.offer(Message::Noticed(paths));
    });
    match started {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "the workspace is not watched: {error}; changes are found when a file is touched"
            );
            None
        }
    }
}

async fn serve(
    state_dir: &Path,
    host: HostHandle,
    hands: Arc<Hands>,
    options: &Options,
) -> Result<(), AnchorError> {
    let path = state_dir.join("run/ostk.sock");
    // The lock is ours, so a socket that is there belongs to a daemon that is gone.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(AnchorError::io(&path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(AnchorError::io(&path))?;
    let shared = Arc::new(Shared::front(host, state_dir.to_owned(), hands));
    let open = Arc::new(AtomicUsize::new(0));
    let mut idle_since = Instant::now();
    let mut terminate = signal(tokio::signal::unix::SignalKind::terminate(), &path)?;
    let mut interrupt = signal(tokio::signal::unix::SignalKind::interrupt(), &path)?;
    let mut clock = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = clock.tick() => {
                if shared.host.is_stopped() {
                    return Ok(());
                }
                if open.load(Ordering::Relaxed) > 0 || shared.host.is_busy() {
                    idle_since = Instant::now();
                } else if options.idle_exit.is_some_and(|limit| idle_since.elapsed() >= limit) {
                    return Ok(());
                }
            }
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                if open.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
                    continue;
                }
                open.fetch_add(1, Ordering::Relaxed);
                let (shared, open) = (Arc::clone(&shared), Arc::clone(&open));
                tokio::spawn(async move {
                    rpc::serve(shared, stream).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }
}

fn signal(
    kind: tokio::signal::unix::SignalKind,
    path: &Path,
) -> Result<tokio::signal::unix::Signal, AnchorError> {
    tokio::signal::unix::signal(kind).map_err(AnchorError::io(path))
}
