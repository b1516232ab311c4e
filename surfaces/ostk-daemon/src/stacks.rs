//! The daemons of sub-stacks: started, watched, ended, and what they left looked at.
//!
//! A stack's daemon is this binary again, with the same workspace and the state folder `.ostk/stacks/NAME`. What it keeps to
//! stands in `stack.json` there, which this daemon writes. It goes on when this one dies, and the next one finds it. Whether a
//! stack is started, sealed or given up is the kernel's to say; here are the processes. Called by `hands.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use libostk::{CallOptions, Client, Entry, Header, Identity, Tail};
use ostk_kernel::{Allowance, Attestation, CallError, Code, Ended, FirstAgent, StackOp, State, Within};
use serde_json::{Value, json};

use crate::{
    anchor::anchored,
    hands::lock,
    host::{HostHandle, Message},
};

/// Below the state folder of the project.
pub(crate) const DIRECTORY: &str = "stacks";
/// What the daemon of a stack keeps to.
const WITHIN: &str = "stack.json";
/// How long a started daemon may take until it answers; it replays its log first.
const START: Duration = Duration::from_secs(60);
/// How long the agents of a stack may take for their last words.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// How long a daemon may take to close its journal, and to be gone after it was killed.
const STOP: Duration = Duration::from_secs(20);
/// How often a daemon is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is asked what it has spent.
const ASK: Duration = Duration::from_secs(1);
/// How long agents have for their last turn once the budget of their stack is used up.
const LAST_TURN: Duration = Duration::from_secs(600);
/// Lines of a daemon's errors that are repeated.
const LINES: usize = 6;
/// Who asks on behalf of the project.
const PARENT: &str = "ostk-project";

/// What the daemon in `state_dir` keeps to.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn within(state_dir: &Path) -> Result<Within, String> {
    let file = state_dir.join(WITHIN);
    let read = fs::read(&file).map_err(|error| error.to_string());
    let parsed = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
    parsed.map_err(|error| format!("{}: {error}", file.display()))
}

/// The stacks of a project.
pub(crate) struct Stacks {
    root: PathBuf,
    directory: PathBuf,
    /// Those that are watched; set, a watch ends.
    watched: Mutex<BTreeMap<String, Arc<AtomicBool>>>,
}

impl Stacks {
    pub(crate) fn new(root: &Path, state_dir: &Path) -> Self {
        let directory = state_dir.join(DIRECTORY);
        Self { root: root.to_owned(), directory, watched: Mutex::default() }
    }

    /// Carries out what the kernel says; may take as long as [`START`], or [`LAST_WORDS`] and twice [`STOP`].
    pub(crate) fn carry_out(&self, op: StackOp, host: &HostHandle) -> Result<Value, CallError> {
        match op {
            StackOp::Start { within, agent, heard } => self.start(&within, (agent.as_deref(), heard), host),
            StackOp::Seal { name, kill } => self.seal(&name, kill),
        }
    }

    /// Ends the daemons in good order: they are started again with this one.
    pub(crate) fn stop_all(&self) {
        for (name, watch) in std::mem::take(&mut *lock(&self.watched)) {
            watch.store(true, Ordering::Relaxed);
            self.stop(&self.directory.join(name));
        }
    }

    fn start(
        &self,
        within: &Within,
        (agent, heard): (Option<&FirstAgent>, u64),
        host: &HostHandle,
    ) -> Result<Value, CallError> {
        let directory = self.directory.join(&within.stack);
        let found = anchored(&directory);
        let child = if found { None } else { Some(self.launch(within, &directory)?) };
        let mut client = connect(&directory)?;
        self.watch(within, child, heard, host.clone());
        let mut started = None;
        if let Some(agent) = agent {
            let call = json!({ "name": agent.name, "agentfile": agent.agentfile, "task": agent.task });
            match client.call("agent.spawn", &without_nulls(call), &CallOptions::default()) {
                Ok(spawned) => started = spawned.get("lineage").cloned(),
                // The kernel gives the directory back, so nobody may be at work there.
                Err(error) => {
                    self.forget(&within.stack);
                    self.stop(&directory);
                    return Err(failed(error.to_string()));
                }
            }
        }
        let facts = json!({ "found": found, "socket": socket(&directory), "agent": started });
        Ok(without_nulls(facts))
    }

    /// Starts the daemon and waits until it answers.
    fn launch(&self, within: &Within, directory: &Path) -> Result<Child, CallError> {
        let scope = self.root.join(&within.scope);
        let real = fs::canonicalize(&scope).ok();
        if !scope.is_dir() || real.as_ref() != Some(&scope) {
            let message = format!("{} is no directory of this repository", within.scope);
            return Err(
                CallError::new(Code::NotFound, message).hint("make it first, and name it without links")
            );
        }
        let run = directory.join("run");
        let said = run.join("daemon.log");
        let prepared = prepare(within, directory, &run).and_then(|()| fs::File::create(&said));
        let errors = prepared.map_err(|error| failed(format!("{}: {error}", directory.display())))?;
        let binary = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(binary);
        command.args(["--stack", &within.stack, "listen"]).current_dir(&self.root);
        for name in ["OSTK_DIR", "OSTK_SOCKET", "OSTK_KERNEL_SOCKET", "OSTK_STACK"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).process_group(0);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        match answers(&mut child, directory) {
            Ok(()) => Ok(child),
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = fs::read_to_string(&said).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(LINES).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                Err(failed(format!("the daemon of the stack {} {why}\n{}", within.stack, last.join("\n"))))
            }
        }
    }

    /// Tells the host when the daemon is gone, and when it has spent its budget.
    fn watch(&self, within: &Within, child: Option<Child>, heard: u64, host: HostHandle) {
        let name = &within.stack;
        let end = Arc::new(AtomicBool::new(false));
        if let Some(earlier) = lock(&self.watched).insert(name.clone(), Arc::clone(&end)) {
            earlier.store(true, Ordering::Relaxed);
        }
        let (name, directory) = (name.clone(), self.directory.join(name));
        let (packs, tail) = (directory.join("packs"), libostk::tail(&directory, heard));
        let ear = Ear { name: name.clone(), packs, tail, host: host.clone() };
        let is_bounded = within.budget != Allowance::default();
        let watch = Watch { directory, child, ear, is_bounded, spent_since: None };
        thread::spawn(move || match watch.until(&end) {
            Seen::Nothing => {}
            Seen::Gone(how) => host.tell(Message::StackEnded { name, how }),
            Seen::Spent => host.tell(Message::StackSpent { name }),
        });
    }

    /// Watches it no more.
    fn forget(&self, name: &str) {
        if let Some(watch) = lock(&self.watched).remove(name) {
            watch.store(true, Ordering::Relaxed);
        }
    }

    fn seal(&self, name: &str, kill: bool) -> Result<Value, CallError> {
        self.forget(name);
        let directory = self.directory.join(name);
        if anchored(&directory) {
            if let Ok(mut client) = connect(&directory) {
                end_processes(&mut client, kill);
            }
            self.stop(&directory);
        }
        let ended = look(&directory).map_err(failed)?;
        serde_json::to_value(&ended).map_err(|error| failed(error.to_string()))
    }

    /// Ends a daemon: asks, and kills it if it does not listen.
    fn stop(&self, directory: &Path) {
        if let Ok(mut client) = connect(directory) {
            let _ = client.request("kernel/stop", &json!({}), STOP);
        }
        if wait_until(STOP, || !anchored(directory)) {
            return;
        }
        let pid = fs::read_to_string(directory.join("run/anchor.pid")).ok();
        let pid = pid.and_then(|text| text.trim().parse().ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        wait_until(STOP, || !anchored(directory));
    }
}

/// What became of a daemon that is watched.
enum Seen {
    /// Nobody asks any more.
    Nothing,
    Gone(String),
    /// Its budget is used up, and its agents have had their last turn.
    Spent,
}

struct Watch {
    directory: PathBuf,
    child: Option<Child>,
    ear: Ear,
    /// It has a budget that can be used up.
    is_bounded: bool,
    spent_since: Option<Instant>,
}

impl Watch {
    fn until(mut self, end: &AtomicBool) -> Seen {
        let mut asked = Instant::now();
        loop {
            thread::sleep(LOOK);
            self.ear.listen();
            let is_over = end.load(Ordering::Relaxed);
            if let Some(how) = self.gone() {
                // Also to its last words.
                self.ear.listen();
                // A daemon that was told to end is waited for all the same, so that no dead process stays.
                return if is_over { Seen::Nothing } else { Seen::Gone(how) };
            }
            if self.is_bounded && !is_over && asked.elapsed() >= ASK {
                asked = Instant::now();
                if self.has_spent() {
                    return self.hand_on(end);
                }
            }
        }
    }

    /// The budget is used up; whoever seals the stack ends the daemon, which is waited for.
    fn hand_on(mut self, end: &AtomicBool) -> Seen {
        thread::spawn(move || {
            while self.gone().is_none() {
                thread::sleep(LOOK);
            }
            self.ear.listen();
        });
        if end.load(Ordering::Relaxed) { Seen::Nothing } else { Seen::Spent }
    }

    fn gone(&mut self) -> Option<String> {
        match &mut self.child {
            Some(child) => child.try_wait().ok().flatten().map(|status| status.to_string()),
            None => (!anchored(&self.directory)).then(|| "for a reason that is not known".to_owned()),
        }
    }

    /// Whether nothing is left to spend and every agent has said its last, or has had the time for it.
    fn has_spent(&mut self) -> bool {
        let status = connect(&self.directory)
            .ok()
            .and_then(|mut client| client.call("status", &json!({}), &CallOptions::default()).ok());
        let Some(status) = status else { return false };
        if status.pointer("/budget/closed") != Some(&Value::Bool(true)) {
            return false;
        }
        let since = *self.spent_since.get_or_insert_with(Instant::now);
        status.get("working").and_then(Value::as_u64) == Some(0) || since.elapsed() >= LAST_TURN
    }
}

/// Hears what agents of a stack write to the project: from its log, each message once.
struct Ear {
    name: String,
    packs: PathBuf,
    tail: Tail,
    host: HostHandle,
}

impl Ear {
    /// Passes on what has come. Ends at what cannot be read: whoever verifies the log says where that is.
    fn listen(&mut self) {
        while let Ok(Some(entry)) = self.tail.next(Duration::ZERO) {
            if let Some((from, text)) = self.message(&entry) {
                let (name, seq) = (self.name.clone(), entry.seq);
                self.host.tell(Message::StackSaid { name, seq, from, text });
            }
        }
    }

    fn message(&self, entry: &Entry) -> Option<(String, String)> {
        if Header::scan(&entry.line).ok()?.event != "nudge.sent" {
            return None;
        }
        let record = entry.record().ok()?;
        let text = |name: &str| record.body.get(name).and_then(Value::as_str);
        if text("to") != Some(ostk_kernel::PROJECT) {
            return None;
        }
        let blobs = ostk_blobs::BlobStore::open_read_only(&self.packs).ok()?;
        let bytes = blobs.get(&text("text_blob")?.parse().ok()?).ok()??;
        Some((record.actor.clone(), String::from_utf8_lossy(&bytes).into_owned()))
    }
}

fn prepare(within: &Within, directory: &Path, run: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(run)?;
    let (file, draft) = (directory.join(WITHIN), directory.join("stack.json.new"));
    let text = serde_json::to_vec_pretty(within)?;
    let mut options = fs::OpenOptions::new();
    let mut opened = options.create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    io::Write::write_all(&mut opened, &text)?;
    fs::rename(draft, file)
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("run/ostk.sock")
}

/// A connection as the project.
fn connect(directory: &Path) -> Result<Client, CallError> {
    let socket = socket(directory);
    let open = || -> Result<Client, libostk::ClientError> {
        let mut client = Client::connect(&socket)?;
        client.attach(&Identity::Operator(PARENT.to_owned()), "ostk", None)?;
        Ok(client)
    };
    open().map_err(|error| failed(format!("{}: {error}", socket.display())))
}

/// Waits until a daemon that was started answers.
fn answers(child: &mut Child, directory: &Path) -> Result<(), String> {
    let begun = Instant::now();
    while Client::connect(&socket(directory)).is_err() {
        match child.try_wait() {
            Ok(Some(status)) => return Err(format!("did not start ({status})")),
            _ if begun.elapsed() > START => return Err(format!("gave no answer in {} s", START.as_secs())),
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
    Ok(())
}

/// Asks everybody in the stack to end, and waits for their last words; kills whoever is left.
fn end_processes(client: &mut Client, kill: bool) {
    if !kill {
        signal_all(client, "SIGTERM");
        wait_until(LAST_WORDS, || alive(client).is_empty());
    }
    signal_all(client, "SIGKILL");
}

fn signal_all(client: &mut Client, signal: &str) {
    for lineage in alive(client) {
        let call = json!({ "lineage": lineage, "signal": signal, "text": "the stack is sealed" });
        // Whoever has ended meanwhile needs no signal.
        let _ = client.call("agent.signal", &call, &CallOptions::default());
    }
}

/// Whoever is no person and has not ended.
fn alive(client: &mut Client) -> Vec<String> {
    let rows = client.call("ps", &json!({}), &CallOptions::default()).unwrap_or_default();
    let rows = rows.get("processes").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let alive = rows.iter().filter(|row| text(row, "kind") != "human" && text(row, "state") != "exited");
    alive.map(|row| text(row, "lineage")).collect()
}

/// What a stack left: its log must be whole, and is folded.
fn look(directory: &Path) -> Result<Ended, String> {
    let report = ostk_journal::verify(directory, false).map_err(|error| error.to_string())?;
    if let Some(problem) = report.problems.first() {
        let place = problem.seq.map(|seq| format!("record {seq}, ")).unwrap_or_default();
        let file = problem.file.display();
        return Err(format!(
            "its log is not whole: {place}{file} at byte {}: {}",
            problem.offset, problem.what
        ));
    }
    let mut state = State::default();
    crate::replay::replay(directory, &mut state).map_err(|error| error.to_string())?;
    let attestation = Attestation {
        origin: report.origin.unwrap_or_default(),
        size: report.records,
        root: report.root,
        state_hash: state.hash(),
    };
    Ok(Ended { attestation, changed: changed(&state), spent: state.spending.in_all() })
}

/// The files that somebody in the stack wrote.
fn changed(state: &State) -> Vec<String> {
    let ours = |version: &ostk_kernel::Version| {
        version.writer.starts_with("agent:") || (version.writer.starts_with("human:") && !version.foreign)
    };
    let written = state.files.iter().filter(|(_, entry)| entry.history.iter().any(ours));
    written.map(|(path, _)| path.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn without_nulls(mut call: Value) -> Value {
    if let Some(members) = call.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    call
}

fn wait_until(most: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !done() {
        if begun.elapsed() > most {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

fn failed(what: impl Into<String>) -> CallError {
    CallError::new(Code::Failed, what)
}
