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
    time::Duration,
};

use ostk_kernel::{CallError, Code, OpId, ShellEnd};
use ostk_sandbox::{Exit, Guarantee, Network, Process, Spec, Stream, Waited};
use serde_json::{Value, json};

use crate::hands::lock;

/// Variables that a command inherits; everything else of the daemon's environment stays out.
const INHERITED: &[&str] =
    &["PATH", "LANG", "LC_ALL", "TERM", "TZ", "CARGO_HOME", "RUSTUP_HOME", "USER", "LOGNAME"];
/// A background process may run this long.
const BACKGROUND: Duration = Duration::from_secs(24 * 3600);
/// Background processes at once.
const MAX_BACKGROUND: usize = 256;

/// Starts and ends processes.
pub(crate) struct Processes {
    root: PathBuf,
    scratch: PathBuf,
    hidden: Vec<PathBuf>,
    settings: Settings,
    /// Commands under way, by their operation.
    running: Mutex<BTreeMap<OpId, Arc<Process>>>,
    /// Background processes, by alias.
    background: Mutex<BTreeMap<String, Arc<Process>>>,
}

impl Processes {
    /// `keys` is the directory of the private keys: no command sees into it.
    pub(crate) fn new(root: &Path, state_dir: &Path, keys: &Path) -> Result<Self, String> {
        let scratch = state_dir.join("scratch");
        // What an earlier daemon's commands left is nobody's any more.
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        Ok(Self {
            root: root.to_owned(),
            scratch,
            hidden: vec![keys.to_owned(), state_dir.join("run")],
            settings: Settings::load(state_dir)?,
            running: Mutex::default(),
            background: Mutex::default(),
        })
    }

    /// Runs a command to its end.
    pub(crate) fn run(
        &self,
        id: OpId,
        command: &str,
        cwd: &str,
        timeout_ms: u64,
        writable: &[String],
        protected: &[String],
    ) -> Result<ShellEnd, String> {
        let mut spec = self.spec(&format!("{id}"), command, cwd, writable, protected);
        spec.limits.wall = Duration::from_millis(timeout_ms);
        spec.stdin = Some(Vec::new());
        let patience = spec.limits.wall + spec.limits.grace + Duration::from_secs(10);
        let process = Arc::new(ostk_sandbox::start(&spec).map_err(|error| error.to_string())?);
        lock(&self.running).insert(id, Arc::clone(&process));
        let ended = process.wait(patience);
        lock(&self.running).remove(&id);
        let _ = fs::remove_dir_all(&spec.scratch);
        let outcome =
            ended.map_err(|error| error.to_string())?.ok_or("the command did not end after its deadline")?;
        Ok(ShellEnd {
            exit: code(outcome.exit),
            timed_out: outcome.timed_out,
            stdout: outcome.stdout.to_bytes(),
            stderr: outcome.stderr.to_bytes(),
            dropped_bytes: outcome.stdout.omitted() + outcome.stderr.omitted(),
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn spec(&self, name: &str, command: &str, cwd: &str, writable: &[String], protected: &[String]) -> Spec {
        let real = |paths: &[String]| paths.iter().map(|path| self.root.join(path)).collect::<Vec<_>>();
        let mut spec = Spec::new(["/bin/sh", "-c", command], self.root.join(cwd), self.scratch.join(name));
        spec.env = environment();
        spec.writable = real(writable).into_iter().filter(|path| path.exists()).collect();
        spec.protected = real(protected);
        spec.hidden = self.hidden.clone();
        spec.network = self.settings.network;
        spec.accepted = self.settings.accepted.clone();
        spec
    }

    /// Starts a background process.
    pub(crate) fn start(
        &self,
        alias: &str,
        command: &str,
        (writable, protected): (&[String], &[String]),
        wait_for: Option<&str>,
        wait: Duration,
    ) -> Result<Value, CallError> {
        if lock(&self.background).len() >= MAX_BACKGROUND {
            return Err(CallError::new(
                Code::Busy,
                format!("{MAX_BACKGROUND} background processes run already"),
            )
            .hint("end one: process.interact with action kill"));
        }
        let mut spec = self.spec(&format!("bg-{alias}"), command, "", writable, protected);
        spec.limits.wall = BACKGROUND;
        let process =
            ostk_sandbox::start(&spec).map_err(|error| CallError::new(Code::Failed, error.to_string()))?;
        let process = Arc::new(process);
        lock(&self.background).insert(alias.to_owned(), Arc::clone(&process));
        let found = wait_for.map(|text| process.wait_for(text.as_bytes(), wait) == Waited::Found);
        Ok(json!({ "alias": alias, "pid": process.pid(), "output": tail(&process, 50), "found": found }))
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
        let process = lock(&self.background).get(alias).cloned();
        let process = process.ok_or_else(|| {
            CallError::new(Code::NotFound, format!("no background process {alias:?} runs"))
                .hint("it ended with the daemon that started it; start it again: process.start")
        })?;
        let failed = |error: ostk_sandbox::SandboxError| CallError::new(Code::Failed, error.to_string());
        let mut found = None;
        match action {
            "read_tail" => {}
            "write" => process.write_stdin(input.unwrap_or_default().as_bytes()).map_err(failed)?,
            "wait_for" => {
                found = Some(process.wait_for(input.unwrap_or_default().as_bytes(), wait) == Waited::Found)
            }
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
            lock(&self.background).remove(alias);
        }
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        Ok(json!({ "output": tail(&process, lines), "alive": end.is_none(), "found": found,
            "exit": end.map(|end| code(end.exit)) }))
    }

    /// Kills the command of an operation; its end is still reported.
    pub(crate) fn kill(&self, id: OpId) {
        if let Some(process) = lock(&self.running).get(&id) {
            process.kill();
        }
    }

    /// Kills everything that runs.
    pub(crate) fn kill_all(&self) {
        for process in lock(&self.running).values().chain(lock(&self.background).values()) {
            process.kill();
        }
    }
}

fn tail(process: &Process, lines: usize) -> String {
    let mut text = process.tail(Stream::Stdout, lines);
    text.extend(process.tail(Stream::Stderr, lines));
    String::from_utf8_lossy(&text).into_owned()
}

/// As a shell reports it: a signal is 128 and its number.
const fn code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    }
}

fn environment() -> BTreeMap<OsString, OsString> {
    INHERITED.iter().filter_map(|name| Some((OsString::from(name), env::var_os(name)?))).collect()
}

/// What the operator says about commands, in the section `[sandbox]` of `ostk.toml`.
struct Settings {
    network: Network,
    /// Guarantees that a machine need not give.
    accepted: BTreeSet<Guarantee>,
}

impl Settings {
    fn load(state_dir: &Path) -> Result<Self, String> {
        let file = state_dir.join("ostk.toml");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: {error}", file.display())),
        };
        Self::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        let setting = |name| settings.get("sandbox").and_then(|sandbox| sandbox.get(name));
        let network = match setting("network").map(toml::Value::as_str) {
            None | Some(Some("host")) => Network::Host,
            Some(Some("none")) => Network::None,
            Some(_) => return Err("sandbox.network must be \"host\" or \"none\"".to_owned()),
        };
        let Some(listed) = setting("accept_missing") else {
            return Ok(Self { network, accepted: BTreeSet::new() });
        };
        let names = listed.as_array().ok_or("sandbox.accept_missing must be a list of names")?;
        let accepted = names.iter().map(|name| name.as_str().unwrap_or_default().parse());
        Ok(Self { network, accepted: accepted.collect::<Result<_, String>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_accepts_missing_guarantees_by_name_and_no_others() {
        let settings =
            Settings::parse("[sandbox]\nnetwork = \"none\"\naccept_missing = [\"files\"]").unwrap();
        assert_eq!(
            (settings.network, settings.accepted),
            (Network::None, BTreeSet::from([Guarantee::Files]))
        );
        let nothing = Settings::parse("").unwrap();
        assert_eq!((nothing.network, nothing.accepted), (Network::Host, BTreeSet::new()));
        let wrong = Settings::parse("[sandbox]\naccept_missing = [\"everything\"]").err().unwrap();
        assert!(wrong.contains("everything") && wrong.contains("files"), "{wrong}");
        assert!(Settings::parse("[sandbox]\nnetwork = true").is_err());
    }
}
