//! The processes that the kernel starts: commands and background processes, all in the sandbox.
//!
//! The kernel says what may be written; this module turns workspace paths into real ones, gives each process a scratch
//! directory and a clean environment, and keeps a handle on whatever runs so that it can be ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use ostk_files::Guard;
use ostk_kernel::{CallError, Code, Command, OpId, ProcessSignal, ShellEnd};
use ostk_keys::secrets::Masker;
use ostk_policy::Bounds;
use ostk_sandbox::{Exit, Network, Output, Process, Readable, Refused, Spec, Stream, Waited, WindowSize};
use serde_json::{Value, json};

use crate::{
    handles::Handles,
    hands::lock,
    learned::learned,
    quarantine::Keeper,
    settings::{Credentials, Reach, Settings},
    streams::Streams,
    tracked::Tracked,
    ways::{Open, Ways},
};

/// Variables that a command inherits; everything else of the daemon's environment stays out.
const INHERITED: &[&str] =
    &["PATH", "LANG", "LC_ALL", "TERM", "TZ", "CARGO_HOME", "RUSTUP_HOME", "USER", "LOGNAME"];
/// Where the tools of a developer keep what they need to run at all. The home of a command is empty, so they are told.
const TOOL_HOMES: [(&str, &str); 4] = [
    ("CARGO_HOME", ".cargo"),
    ("RUSTUP_HOME", ".rustup"),
    ("GIT_CONFIG_GLOBAL", ".gitconfig"),
    ("GIT_CONFIG_GLOBAL", ".config/git/config"),
];
/// Where people keep what lets others act in their name, below their home, and what they typed into shells.
const CREDENTIALS: [&str; 45] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".config/gcloud",
    ".config/gh",
    ".config/glab-cli",
    ".docker/config.json",
    ".config/containers/auth.json",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".terraform.d/credentials.tfrc.json",
    ".vault-token",
    ".config/rclone",
    ".config/op",
    ".config/sops",
    ".password-store",
    ".local/share/keyrings",
    ".pgpass",
    ".my.cnf",
    // Of coding agents.
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".gemini/oauth_creds.json",
    ".local/share/opencode/auth.json",
    ".config/github-copilot",
    // Of browsers: their cookies are as good as passwords.
    ".mozilla",
    ".thunderbird",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".mysql_history",
];
/// The passwords of the machine, for a daemon that may read them.
const PASSWORDS: [&str; 4] = ["/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-"];
/// Settings of programs that people start in a workspace, each of which can name a command: guarded at every depth.
const GUARDED_NAMES: [&str; 16] = [
    ".git/hooks",
    ".git/config",
    ".ostk",
    ".mcp.json",
    ".claude",
    ".codex",
    ".vscode",
    ".cursor",
    ".gemini",
    ".opencode",
    "opencode.json",
    ".zed",
    ".idea",
    ".devcontainer",
    ".envrc",
    ".husky",
];
/// Of those, how many from the first are kept from being made while a background process runs: something empty stands
/// in their place meanwhile, and people see it.
const KEPT_IN_BACKGROUND: usize = 7;
/// The same at the top only: what a shell reads where the workspace is somebody's home, and a file by which git takes
/// its settings from elsewhere.
const GUARDED_AT_THE_TOP: [&str; 8] = [
    ".bashrc",
    ".bash_profile",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".git/commondir",
    ".git/config.worktree",
];
/// What is obeyed below the person's own home, where that lies in the workspace: by shells, sessions, services and
/// whoever lets people log in; and where the first programs of the path are.
const GUARDED_AT_HOME: [&str; 24] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".kshrc",
    ".tcshrc",
    ".inputrc",
    ".xprofile",
    ".xsession",
    ".pam_environment",
    ".gitconfig",
    ".config/git",
    ".config/fish",
    ".config/environment.d",
    ".config/systemd",
    ".config/autostart",
    ".local/bin",
    ".cargo/bin",
];
/// Not there, but they would be obeyed: a directory of keys that a command makes for itself.
const MADE_AT_HOME: [&str; 2] = [".ssh", ".gnupg"];
/// Where git keeps what was committed; a pin grants it by this name.
const OBJECTS: &str = ".git/objects";
/// A background process may run this long.
const BACKGROUND: Duration = Duration::from_secs(24 * 3600);
/// Time after its deadline in which a process is ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// Background processes at once; those that have ended keep their output until the place is needed.
const MAX_BACKGROUND: usize = 256;
/// Ends of background processes whose place was needed, kept for whoever asks; then the first in the alphabet is forgotten.
const MAX_EXITS: usize = 4096;

/// Starts and ends processes.
pub(crate) struct Processes {
    root: PathBuf,
    scratch: PathBuf,
    hidden: Vec<PathBuf>,
    settings: Settings,
    /// Commands under way, by their operation.
    running: Mutex<Handles<OpId, Process>>,
    /// Operations whose commands are stopped, or will be as they begin. Locked after `running`.
    held: Mutex<BTreeSet<OpId>>,
    /// Background processes, by alias.
    background: Mutex<Handles<String, Process>>,
    /// Ways out of background processes, by alias.
    open: Mutex<BTreeMap<String, Open>>,
    /// Processes whose callers follow them.
    streams: Streams,
    ways: Ways,
    keeper: Arc<Keeper>,
    tracked: Tracked,
    /// Exit codes of background processes that ended and whose place was needed, by alias.
    exits: Mutex<BTreeMap<String, i32>>,
}

impl Processes {
    /// `keys` is the directory of the private keys: no command sees into it.
    pub(crate) fn new(
        root: &Path,
        state_dir: &Path,
        keys: &Path,
        settings: Settings,
        ways: Ways,
    ) -> Result<Self, String> {
        let scratch = state_dir.join("scratch");
        // What an earlier daemon's commands left is nobody's any more.
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let keeper = Arc::new(Keeper::new(root, ways.host().clone())?);
        Ok(Self {
            root: root.to_owned(),
            scratch,
            hidden: hidden(state_dir, keys, settings.credentials),
            settings,
            running: Mutex::default(),
            held: Mutex::default(),
            background: Mutex::default(),
            exits: Mutex::default(),
            open: Mutex::default(),
            streams: Streams::default(),
            ways,
            keeper,
            tracked: Tracked::new(root),
        })
    }

    /// The quarantine of what processes made.
    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Processes whose callers follow them.
    pub(crate) const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, id: OpId, command: &Command) -> Result<ShellEnd, String> {
        let mut spec = self.spec(&format!("{id}"), &command.line, &command.cwd, &command.bounds);
        spec.limits.wall = Duration::from_millis(command.timeout_ms);
        spec.stdin = command.stream.is_none().then(Vec::new);
        spec.output_waits = command.stream.is_some();
        spec.observe = command.observe;
        if let Some((rows, columns)) = command.window {
            spec.terminal = Some(WindowSize { rows, columns });
            spec.env.entry("TERM".into()).or_insert_with(|| "xterm-256color".into());
        }
        let bounds = self.reachable(&command.bounds);
        let prepared = self.ways.prepare(&mut spec, &command.lineage, &bounds, command.home.as_deref())?;
        if lock(&self.running).was_ended(&id) {
            return Err("it was ended before it began".to_owned());
        }
        let patience = spec.limits.wall + spec.limits.grace + Duration::from_secs(10);
        let guard = self.keeper.prepare(&mut spec);
        let process = self.begin(&spec)?;
        self.under_way(id, &process);
        let open = self.ways.open(&process, prepared);
        let masking = (self.masker(), command.window.is_some());
        let stream = command
            .stream
            .as_ref()
            .map(|name| self.streams.enter((&command.lineage, name), &process, masking));
        let watch = self.keeper.watch(guard, &process, &command.lineage);
        self.keeper.see_through(&watch, &process, patience);
        while process.was_held() && matches!(process.wait(Duration::ZERO), Ok(None)) {
            // Its limits counted from later than those of this wait.
            self.keeper.see_through(&watch, &process, patience);
        }
        let ended = process.wait(Duration::ZERO);
        drop((open, stream));
        let mut remarks = self.keeper.sweep(&watch, false);
        lock(&self.running).remove(&id);
        lock(&self.held).remove(&id);
        let _ = fs::remove_dir_all(&spec.scratch);
        let state_dir = self.scratch.parent().unwrap_or(&self.scratch);
        let outcome =
            ended.map_err(|error| error.to_string())?.ok_or("the command did not end after its deadline")?;
        remarks.extend(self.told_of_refused(&outcome.refused));
        let reach = self.masker().reach();
        let (stdout, stderr) = (apart(outcome.stdout, reach), apart(outcome.stderr, reach));
        let dropped_bytes = stdout.omitted() + stderr.omitted();
        let mut stderr = stderr.to_bytes();
        stderr.extend(remarks.iter().flat_map(|remark| format!("{remark}\n").into_bytes()));
        Ok(ShellEnd {
            exit: code(outcome.exit),
            timed_out: outcome.timed_out,
            stdout: stdout.to_bytes(),
            stderr,
            dropped_bytes,
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
            remarks,
            observed: outcome.observed.as_ref().map(|observed| learned(observed, &self.root, state_dir)),
        })
    }

    /// Starts a process. Where it cannot be held as it must, and the settings say in vain that it need not, that is said.
    fn begin(&self, spec: &Spec) -> Result<Arc<Process>, String> {
        ostk_sandbox::start(spec).map(Arc::new).map_err(|error| match self.settings.problem() {
            Some(problem) => format!("{error}\n{problem}"),
            None => error.to_string(),
        })
    }

    /// Keeps a handle on a command that has just begun; one that was ended meanwhile is killed.
    fn under_way(&self, id: OpId, process: &Arc<Process>) {
        let mut running = lock(&self.running);
        if running.was_ended(&id) {
            process.kill();
        }
        if lock(&self.held).contains(&id) {
            process.hold();
        }
        running.insert(id, Arc::clone(process));
    }

    fn spec(&self, name: &str, command: &str, cwd: &str, bounds: &Bounds) -> Spec {
        let real = |paths: &[String]| paths.iter().map(|path| self.root.join(path)).collect::<Vec<_>>();
        let mut spec = Spec::new(["/bin/sh", "-c", command], self.root.join(cwd), self.scratch.join(name));
        spec.env = environment();
        // A grant means what was there when it was written: a link that somebody put in its place leads elsewhere.
        let granted = |paths: &[String]| {
            let plain = |path: &PathBuf| path.exists() && !crosses_link(&self.root, path);
            real(paths).into_iter().filter(plain).collect::<Vec<_>>()
        };
        spec.writable = granted(&bounds.writable);
        let top = GUARDED_NAMES.into_iter().chain(GUARDED_AT_THE_TOP).map(|name| self.root.join(name));
        let guarded = real(&bounds.protected).into_iter().chain(top).chain(self.guarded_at_home());
        (spec.protected, spec.refused) = guarded.partition(|path| fs::symlink_metadata(path).is_ok());
        spec.protected_names = GUARDED_NAMES.map(PathBuf::from).to_vec();
        spec.hidden = [self.hidden.clone(), real(&bounds.denied)].concat();
        // What git tracks of the denied can be read from its objects.
        let granted_by_name = bounds.readable.iter().flatten().any(|path| path == OBJECTS);
        spec.hidden.extend(self.tracked.objects_with(&bounds.denied).filter(|_| !granted_by_name));
        if let Some(readable) = &bounds.readable {
            spec.readable = Readable::AllBut { tree: self.root.clone(), within: granted(readable) };
        }
        spec.network = match self.settings.network {
            Reach::Host if bounds.network => Network::Host,
            _ => Network::None,
        };
        spec.local_sockets = self.settings.local_sockets;
        spec.accepted = self.settings.accepted.clone();
        spec.limits = self.settings.limits.clone();
        spec
    }

    /// Where the person's home lies in the workspace: what is obeyed there.
    fn guarded_at_home(&self) -> Vec<PathBuf> {
        let Some(home) = env::home_dir().and_then(|home| fs::canonicalize(home).ok()) else {
            return Vec::new();
        };
        if !home.starts_with(&self.root) {
            return Vec::new();
        }
        let made = MADE_AT_HOME.map(|name| home.join(name)).into_iter().filter(|path| !path.exists());
        GUARDED_AT_HOME.map(|name| home.join(name)).into_iter().chain(made).collect()
    }

    /// The bounds, without hosts where the operator wants no network at all.
    fn reachable(&self, bounds: &Bounds) -> Bounds {
        Bounds { hosts: bounds.hosts && self.settings.network == Reach::Granted, ..bounds.clone() }
    }

    /// A line for each path that a command made and may not leave behind.
    fn told_of_refused(&self, refused: &[Refused]) -> Vec<String> {
        let line = |Refused { path, removed }: &Refused| {
            let shown = path.strip_prefix(&self.root).unwrap_or(path).display();
            let done = if *removed { "was removed" } else { "could not be removed" };
            format!("ostk: {shown} {done}: a command may not create it")
        };
        refused.iter().map(line).collect()
    }

    /// Starts a background process.
    pub(crate) fn start(
        &self,
        lineage: &str,
        alias: &str,
        command: &str,
        bounds: &Bounds,
        wait_for: Option<&str>,
        wait: Duration,
    ) -> Result<Value, CallError> {
        self.make_room()?;
        let stopped = || {
            let message = format!("the background process {alias:?} was ended before it began");
            CallError::new(Code::Stopped, message).hint("start it again: process.start")
        };
        let name = alias.to_owned();
        if lock(&self.background).was_ended(&name) {
            return Err(stopped());
        }
        let mut spec = self.spec(&format!("bg-{alias}"), command, "", bounds);
        // It may run for hours: these are kept from being made, not cleared away at its end.
        let is_kept = |path: &mut PathBuf| {
            GUARDED_NAMES.iter().take(KEPT_IN_BACKGROUND).any(|name| *path == self.root.join(name))
        };
        spec.protected.extend(spec.refused.extract_if(.., is_kept));
        spec.limits.wall = BACKGROUND;
        let guard = self.keeper.prepare(&mut spec);
        let failed = |error: String| CallError::new(Code::Failed, error);
        let bounds = self.reachable(bounds);
        let prepared = self.ways.prepare(&mut spec, lineage, &bounds, None).map_err(failed)?;
        let process = self.begin(&spec).map_err(failed)?;
        lock(&self.open).insert(name.clone(), self.ways.open(&process, prepared));
        self.look_after(guard, &process, lineage).map_err(failed)?;
        {
            let mut background = lock(&self.background);
            if background.was_ended(&name) {
                process.kill();
                return Err(stopped());
            }
            background.insert(name, Arc::clone(&process));
        }
        let found = wait_for.map(|text| process.wait_for(text.as_bytes(), wait) == Waited::Found);
        Ok(json!({ "alias": alias, "pid": process.pid(), "output": self.tail(&process, 50), "found": found }))
    }

    /// Looks after a background process, on a thread that lives as long as it does.
    fn look_after(&self, guard: Guard, process: &Arc<Process>, lineage: &str) -> Result<(), String> {
        let watch = self.keeper.watch(guard, process, lineage);
        let (keeper, process) = (Arc::clone(&self.keeper), Arc::clone(process));
        let thread = thread::Builder::new().name("quarantine".to_owned()).spawn(move || {
            keeper.see_through(&watch, &process, BACKGROUND + PATIENCE);
            keeper.sweep(&watch, true);
        });
        thread.map(drop).map_err(|error| error.to_string())
    }

    /// Gives up the output of ended background processes where all places are taken; refuses where all of them run.
    fn make_room(&self) -> Result<(), CallError> {
        let mut background = lock(&self.background);
        if background.len() < MAX_BACKGROUND {
            return Ok(());
        }
        let ended = |process: &Process| Some(code(process.try_wait().ok()??.exit));
        let mut exits = lock(&self.exits);
        exits.extend(background.take_ended(ended));
        lock(&self.open).retain(|alias, _| background.get(alias).is_some());
        while exits.len() > MAX_EXITS {
            exits.pop_first();
        }
        if background.len() < MAX_BACKGROUND {
            return Ok(());
        }
        let message = format!("{MAX_BACKGROUND} background processes run already");
        Err(CallError::new(Code::Busy, message).hint("end one: process.interact with action kill"))
    }

    /// Talks to a background process.
    pub(crate) fn interact(
        &self,
        alias: &str,
        action: &str,
        input: Option<&str>,
        lines: u64,
        wait: Duration,
    ) -> Result<Value, CallError> {
        let name = alias.to_owned();
        if let Some(exit) = lock(&self.exits).remove(alias) {
            let output = "ostk: it ended, and its output was given up for other processes\n";
            return Ok(json!({ "output": output, "alive": false, "found": null, "exit": exit }));
        }
        let process = {
            let mut background = lock(&self.background);
            // The one that is to be ended may still wait for its start.
            if action == "kill" { background.end(&name) } else { background.get(&name) }
        };
        let process = process.ok_or_else(|| {
            let begins = if action == "kill" { "; if its start is under way, it will not begin" } else { "" };
            CallError::new(Code::NotFound, format!("no background process {alias:?} runs{begins}"))
                .hint("look again when its start has been answered, or start it: process.start")
        })?;
        let failed = |error: ostk_sandbox::SandboxError| CallError::new(Code::Failed, error.to_string());
        let mut found = None;
        match action {
            "read_tail" => {}
            "write" => process.write_stdin(input.unwrap_or_default().as_bytes()).map_err(failed)?,
            "wait_for" => {
                found = Some(process.wait_for(input.unwrap_or_default().as_bytes(), wait) == Waited::Found)
            }
            "stop" => process.hold(),
            "continue" => process.resume(),
            "kill" => {
                process.terminate();
                process.wait(wait).map_err(failed)?;
            }
            other => {
                let message = format!("no action {other:?}; read_tail, write, wait_for or kill");
                return Err(CallError::new(Code::Usage, message));
            }
        }
        let end = process.try_wait().map_err(failed)?;
        if end.is_some() {
            lock(&self.background).remove(&name);
            lock(&self.open).remove(&name);
        }
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        Ok(json!({ "output": self.tail(&process, lines), "alive": end.is_none(), "found": found,
            "exit": end.map(|end| code(end.exit)) }))
    }

    /// Stops, continues or asks to end the command of an operation. One that has not begun is stopped as it begins.
    pub(crate) fn signal(&self, id: OpId, signal: ProcessSignal) {
        let running = lock(&self.running);
        match signal {
            ProcessSignal::Stop => lock(&self.held).insert(id),
            ProcessSignal::Continue | ProcessSignal::Terminate => lock(&self.held).remove(&id),
        };
        let Some(process) = running.get(&id) else { return };
        match signal {
            ProcessSignal::Stop => process.hold(),
            ProcessSignal::Continue => process.resume(),
            ProcessSignal::Terminate => process.terminate(),
        }
    }

    /// The last lines of what a process has written, masked as a whole: a secret may be split over lines.
    fn tail(&self, process: &Process, lines: usize) -> String {
        let masker = self.masker();
        let ended = matches!(process.try_wait(), Ok(Some(_)));
        let of = |stream| {
            let kept = apart(process.output(stream), masker.reach()).to_bytes();
            let text = if ended { masker.mask(&kept).into_owned() } else { masker.mask_so_far(&kept) };
            String::from_utf8_lossy(last_lines(&text, lines)).into_owned()
        };
        of(Stream::Stdout) + &of(Stream::Stderr)
    }

    fn masker(&self) -> Masker {
        self.ways.host().broker().masker()
    }

    /// Kills the command of an operation, also one that has not begun; its end is still reported.
    pub(crate) fn kill(&self, id: OpId) {
        if let Some(process) = lock(&self.running).end(&id) {
            process.kill();
        }
    }

    /// Kills everything that runs; nothing begins any more.
    pub(crate) fn kill_all(&self) {
        for process in lock(&self.running).close().into_iter().chain(lock(&self.background).close()) {
            process.kill();
        }
    }
}

/// An output without what, next to a gap in it, may be a part of a secret that reaches into the gap.
fn apart(output: Output, reach: usize) -> Output {
    if output.omitted() == 0 {
        return output;
    }
    let Output { mut head, mut tail, total } = output;
    head.truncate(head.len().saturating_sub(reach));
    tail.drain(..reach.min(tail.len()));
    Output { head, tail, total }
}

/// The last lines of a text.
fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let start = match lines.checked_sub(1) {
        None => text.len(),
        Some(before) => {
            let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
            ends.map(|(at, _)| at + 1).nth(before).unwrap_or(0)
        }
    };
    text.get(start..).unwrap_or_default()
}

/// As a shell reports it: a signal is 128 and its number.
const fn code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    }
}

fn environment() -> BTreeMap<OsString, OsString> {
    let mut found: BTreeMap<_, _> =
        INHERITED.iter().filter_map(|name| Some((OsString::from(name), env::var_os(name)?))).collect();
    for (name, place) in TOOL_HOMES {
        let place = env::home_dir().map(|home| home.join(place)).filter(|place| place.exists());
        if let Some(value) = env::var_os(name).or(place.map(PathBuf::into_os_string)) {
            found.entry(name.into()).or_insert(value);
        }
    }
    found
}

/// The keys and tokens of ostk, and those of the person unless the operator shows them.
fn hidden(state_dir: &Path, keys: &Path, credentials: Credentials) -> Vec<PathBuf> {
    let mut hidden = vec![keys.to_owned(), state_dir.join("run")];
    // Of a stack the project's own too.
    let project = state_dir.ancestors().find(|dir| dir.ends_with(".ostk")).filter(|dir| *dir != state_dir);
    hidden.extend(project.map(|dir| dir.join("run")));
    if credentials == Credentials::Hidden
        && let Some(home) = env::home_dir()
    {
        hidden.extend(CREDENTIALS.map(|place| home.join(place)));
        let readable = |path: &PathBuf| fs::File::open(path).is_ok();
        hidden.extend(PASSWORDS.map(PathBuf::from).into_iter().filter(readable));
    }
    hidden
}

/// Whether a part of `path` below `root` is a link.
fn crosses_link(root: &Path, path: &Path) -> bool {
    let below = path.ancestors().take_while(|part| *part != root && part.starts_with(root));
    below.into_iter().any(Path::is_symlink)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operator's, in the daemon's environment.
    const KEY: &str = "sk-the-operators-key-0123";

    /// A workspace with a repository, a token and a key, and what the daemon runs commands with.
    fn workspace() -> (tempfile::TempDir, Processes) {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap().join("w");
        let (state_dir, keys) = (root.join(".ostk"), root.parent().unwrap().join("keys"));
        for directory in [&state_dir.join("run"), &keys, &root.join("src"), &root.join("pkg/.vscode")] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(state_dir.join("run/mcp.token"), "secret").unwrap();
        fs::write(keys.join("signing.key"), "secret").unwrap();
        assert!(
            std::process::Command::new("git").args(["init", "-q"]).arg(&root).status().unwrap().success()
        );
        let processes = {
            let settings = Settings::load(&state_dir, &ostk_kernel::TrustedKeys::new()).unwrap();
            Processes::new(&root, &state_dir, &keys, settings, ways(&root, &state_dir)).unwrap()
        };
        (place, processes)
    }

    /// Ways that lead to a kernel which never answers.
    fn ways(root: &Path, state_dir: &Path) -> Ways {
        let (sender, _) = std::sync::mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = crate::host::HostHandle::new(sender, 1, crate::broker::Broker::of(&[("A_KEY", KEY)]));
        let ways = Ways::new(host, runtime.handle().clone(), root, state_dir);
        // Nothing here is served; the handle must only outlive the test.
        std::mem::forget(runtime);
        ways
    }

    /// A command of nobody in particular.
    fn command(line: &str, bounds: Bounds) -> Command {
        Command {
            lineage: "w".to_owned(),
            line: line.to_owned(),
            cwd: String::new(),
            timeout_ms: 60_000,
            bounds,
            home: None,
            stream: None,
            window: None,
            observe: false,
        }
    }

    fn run(processes: &Processes, command: &str) -> (i32, String, String) {
        run_within(processes, command, |_| {})
    }

    fn run_within(processes: &Processes, line: &str, narrow: impl Fn(&mut Bounds)) -> (i32, String, String) {
        let protected = [".ostk", ".git/hooks", ".git/config", "HUMANFILE"].map(str::to_owned).to_vec();
        let mut bounds =
            Bounds { writable: vec![String::new()], protected, network: true, ..Bounds::default() };
        narrow(&mut bounds);
        let end = processes.run(1, &command(line, bounds)).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (end.exit, text(end.stdout), text(end.stderr))
    }

    fn anywhere() -> Bounds {
        Bounds { writable: vec![String::new()], network: true, ..Bounds::default() }
    }

    #[test]
    fn a_command_that_is_ended_before_it_begins_does_nothing() {
        let (_place, processes) = workspace();
        processes.kill(7);
        let refused = processes.run(7, &command("touch src/made", anywhere())).unwrap_err();
        assert!(refused.contains("before it began"), "{refused}");
        assert!(!processes.root.join("src/made").exists());
        assert_eq!(processes.run(8, &command("touch src/made", anywhere())).unwrap().exit, 0);
    }

    #[test]
    fn a_command_that_is_ended_while_it_is_being_started_is_killed() {
        let (_place, processes) = workspace();
        let spec = processes.spec("7", "sleep 600", "", &anywhere());
        let process = Arc::new(ostk_sandbox::start(&spec).unwrap());
        processes.kill(7);
        processes.under_way(7, &process);
        let end = process.wait(Duration::from_secs(60)).unwrap().expect("it was killed");
        assert_eq!(end.exit, Exit::Signal(9));
    }

    fn start(processes: &Processes, alias: &str, command: &str) -> Result<Value, CallError> {
        processes.start("w", alias, command, &anywhere(), None, Duration::ZERO)
    }

    fn interact(processes: &Processes, alias: &str, action: &str) -> Result<Value, CallError> {
        processes.interact(alias, action, None, 10, Duration::from_secs(60))
    }

    #[test]
    fn a_background_process_that_is_ended_before_it_begins_does_not_begin() {
        let (_place, processes) = workspace();
        assert_eq!(interact(&processes, "web", "kill").unwrap_err().code, Code::NotFound);
        assert_eq!(start(&processes, "web", "touch src/made; sleep 600").unwrap_err().code, Code::Stopped);
        assert_eq!(interact(&processes, "web", "read_tail").unwrap_err().code, Code::NotFound);
        assert!(!processes.root.join("src/made").exists());
        start(&processes, "web", "sleep 600").unwrap();
        assert_eq!(interact(&processes, "web", "kill").unwrap()["alive"], false);
    }

    #[test]
    fn background_processes_that_have_ended_make_room_for_others() {
        let (_place, processes) = workspace();
        start(&processes, "long", "sleep 600").unwrap();
        for number in 0..=MAX_BACKGROUND {
            let (alias, until) = (format!("short{number}"), Duration::from_secs(60));
            processes.start("w", &alias, "exit 3", &anywhere(), Some("never said"), until).unwrap();
        }
        assert_eq!(interact(&processes, "long", "read_tail").unwrap()["alive"], true);
        let first = interact(&processes, "short0", "read_tail").unwrap();
        assert_eq!((&first["alive"], &first["exit"]), (&json!(false), &json!(3)));
        assert_eq!(interact(&processes, "short0", "read_tail").unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn what_is_next_to_a_gap_in_an_output_is_left_out_with_it() {
        let output = |head: &str, tail: &str, total| Output { head: head.into(), tail: tail.into(), total };
        assert_eq!(apart(output("0123", "cdef", 8), 3), output("0123", "cdef", 8));
        assert_eq!(apart(output("0123", "cdef", 16), 3), output("0", "f", 16));
        assert_eq!(apart(output("0123", "cdef", 16), 99), output("", "", 16));
    }

    #[test]
    fn the_last_lines_of_a_background_process_hold_no_part_of_a_secret_over_two_lines() {
        let (_place, processes) = workspace();
        let (first, rest) = KEY.split_at(9);
        start(&processes, "web", &format!("echo a; echo {first}; echo {rest}; echo end!; sleep 600"))
            .unwrap();
        interact(&processes, "web", "read_tail").unwrap();
        let found = processes.interact("web", "wait_for", Some("end!"), 1, Duration::from_secs(20)).unwrap();
        assert_eq!(found["output"], "end!\n");
        let whole = processes.interact("web", "read_tail", None, 3, Duration::ZERO).unwrap();
        assert_eq!(whole["output"], "a\n[secret A_KEY, 25 characters]\nend!\n");
        processes.kill_all();
    }

    #[test]
    fn nothing_begins_when_the_daemon_ends() {
        let (_place, processes) = workspace();
        start(&processes, "web", "sleep 600").unwrap();
        processes.kill_all();
        assert!(processes.run(1, &command("true", anywhere())).is_err());
        assert!(start(&processes, "again", "true").is_err());
        assert_eq!(interact(&processes, "web", "kill").unwrap()["exit"], 128 + 9);
    }

    #[test]
    fn a_command_reads_neither_the_token_of_the_daemon_nor_its_keys() {
        let (_place, processes) = workspace();
        let (exit, out, _) =
            run(&processes, "cat .ostk/run/mcp.token ../keys/signing.key; cat .ostk/run/* ../keys/*; exit 3");
        assert_eq!((exit, out.as_str()), (3, ""));
    }

    #[test]
    fn a_command_commits_builds_and_pipes_in_the_workspace() {
        let (_place, processes) = workspace();
        let (exit, out, err) = run(
            &processes,
            "set -e; echo x > src/x; git add src; git -c user.name=a -c user.email=a@b commit -qm one
            git log --oneline | wc -l; cargo --version | wc -l; echo $TMPDIR > $TMPDIR/t",
        );
        assert_eq!((exit, out.as_str()), (0, "1\n1\n"), "{err}");
    }

    #[test]
    fn what_other_programs_would_obey_is_guarded_and_taken_away_with_a_word() {
        let (_place, processes) = workspace();
        let (_, _, err) = run(
            &processes,
            "echo x > HUMANFILE; echo x > .mcp.json; mkdir .claude; echo src > .git/commondir; echo x > pkg/.vscode/t",
        );
        for path in ["HUMANFILE", ".mcp.json", ".claude", ".git/commondir", "pkg/.vscode/t"] {
            assert!(fs::symlink_metadata(processes.root.join(path)).is_err(), "{path}");
        }
        assert!(err.contains("ostk: .mcp.json was moved to quarantine"), "{err}");
    }

    #[test]
    fn what_git_keeps_of_a_denied_path_is_read_only_where_the_pin_grants_it_by_name() {
        let (_place, processes) = workspace();
        fs::write(processes.root.join("pkg/secret"), "secret").unwrap();
        for line in ["git add pkg/secret", "git -c user.name=a -c user.email=a@b commit -qm x"] {
            let done =
                std::process::Command::new("sh").args(["-c", line]).current_dir(&processes.root).status();
            assert!(done.unwrap().success());
        }
        let show = |readable: &[&str]| {
            run_within(&processes, "git show HEAD:pkg/secret", |bounds| {
                bounds.denied = vec!["pkg".to_owned()];
                bounds.readable =
                    (!readable.is_empty()).then(|| readable.iter().map(|name| (*name).to_owned()).collect());
            })
            .1
        };
        assert_eq!(show(&[]), "");
        assert_eq!(show(&["src", ".git"]), "");
        assert_eq!(show(&["src", ".git", ".git/objects"]), "secret");
        assert_eq!(run(&processes, "git show HEAD:pkg/secret").1, "secret");
    }

    #[test]
    fn a_link_in_the_place_of_a_granted_path_grants_nothing() {
        let (_place, processes) = workspace();
        let outside = processes.root.parent().unwrap().join("outside");
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, processes.root.join("granted")).unwrap();
        let (exit, _, _) = run_within(&processes, "touch granted/x", |bounds| {
            bounds.writable = vec!["granted".to_owned(), "granted/deeper".to_owned()];
        });
        assert!(exit != 0 && !outside.join("x").exists());
    }

    #[test]
    fn a_pin_keeps_a_command_from_reading_files_and_from_the_network() {
        let (_place, processes) = workspace();
        fs::write(processes.root.join("src/a"), "a").unwrap();
        fs::write(processes.root.join("pkg/b"), "b").unwrap();
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let command =
            format!("cat src/a; cat pkg/b; bash -c 'echo > /dev/tcp/127.0.0.1/{port} && echo reached'");
        let (_, free, err) = run(&processes, &command);
        assert_eq!(free, "ab", "no host is granted: {err}");
        let denied = run_within(&processes, &command, |bounds| {
            bounds.network = false;
            bounds.denied = vec!["pkg".to_owned()];
        });
        assert_eq!(denied.1, "a");
        let listed = run_within(&processes, &command, |bounds| {
            bounds.network = false;
            bounds.readable = Some(vec!["src".to_owned()]);
            bounds.writable = Vec::new();
        });
        assert_eq!(listed.1, "a");
    }
}
