//! The processes that the kernel starts: commands and background processes, all in the sandbox.
//!
//! The kernel says what may be written; this module turns workspace paths into real ones, gives each process a scratch
//! directory and a clean environment, and keeps a handle on whatever runs so that it can be ended.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ostk_kernel::{CallError, OpId, ShellEnd};
use serde_json::Value;

/// Variables that a command inherits; everything else of the daemon's environment stays out.
const INHERITED: &[&str] =
    &["PATH", "LANG", "LC_ALL", "TERM", "TZ", "CARGO_HOME", "RUSTUP_HOME", "USER", "LOGNAME"];

/// Starts and ends processes.
pub(crate) struct Processes {
    root: PathBuf,
    scratch: PathBuf,
}

impl Processes {
    pub(crate) fn new(root: &Path, state_dir: &Path) -> Result<Self, String> {
        let scratch = state_dir.join("run/scratch");
        fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        Ok(Self { root: root.to_owned(), scratch })
    }

    /// Runs a command to its end.
    pub(crate) fn run(
        &self,
        _id: OpId,
        command: &str,
        cwd: &str,
        timeout_ms: u64,
        writable: &[String],
        protected: &[String],
    ) -> Result<ShellEnd, String> {
        let started = Instant::now();
        let end = ostk_sandbox::run(self.spec(
            command,
            cwd,
            Duration::from_millis(timeout_ms),
            writable,
            protected,
        ))?;
        Ok(ShellEnd {
            exit: end.code,
            timed_out: end.timed_out,
            stdout: end.stdout,
            stderr: end.stderr,
            dropped_bytes: end.dropped,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn spec(
        &self,
        command: &str,
        cwd: &str,
        wall: Duration,
        writable: &[String],
        protected: &[String],
    ) -> ostk_sandbox::Spec {
        let real = |paths: &[String]| paths.iter().map(|path| self.root.join(path)).collect();
        ostk_sandbox::Spec {
            argv: ["/bin/sh", "-c", command].map(OsString::from).to_vec(),
            cwd: self.root.join(cwd),
            env: environment(),
            writable: real(writable),
            protected: real(protected),
            wall,
            scratch: self.scratch.clone(),
        }
    }

    pub(crate) fn start(
        &self,
        _alias: &str,
        _command: &str,
        _writable: &[String],
        _protected: &[String],
        _wait_for: Option<&str>,
        _wait: Duration,
    ) -> Result<Value, CallError> {
        Err(crate::hands::no_process("x"))
    }

    pub(crate) fn interact(
        &self,
        alias: &str,
        _action: &str,
        _input: Option<&str>,
        _lines: u64,
        _wait: Duration,
    ) -> Result<Value, CallError> {
        Err(crate::hands::no_process(alias))
    }

    pub(crate) fn kill(&self, _id: OpId) {}

    pub(crate) fn kill_all(&self) {}
}

fn environment() -> BTreeMap<OsString, OsString> {
    INHERITED.iter().filter_map(|name| Some((OsString::from(name), env::var_os(name)?))).collect()
}
