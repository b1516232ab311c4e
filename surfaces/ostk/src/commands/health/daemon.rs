//! Whether a daemon runs, found out without starting one.

use std::fs;

use libostk::{Client, ClientError, Identity, Project};
use serde_json::{Value, json};

use super::{check::Check, past::Past};
use crate::connect;

/// What is known of the daemon.
pub(crate) struct Daemon {
    pub(crate) pid: Option<u32>,
    pub(crate) epoch: Option<u64>,
    /// Somebody holds the project's lock.
    pub(crate) anchored: bool,
    problem: Option<String>,
    stale_socket: bool,
}

impl Daemon {
    pub(crate) fn look(project: &Project) -> Self {
        let state_dir = project.state_dir();
        let anchored = ostk_daemon::anchored(&state_dir);
        let pid = fs::read_to_string(state_dir.join("run/anchor.pid")).ok();
        let mut daemon = Self {
            pid: pid.and_then(|text| text.trim().parse().ok()).filter(|_| anchored),
            epoch: None,
            anchored,
            problem: None,
            stale_socket: !anchored && project.socket().exists(),
        };
        if anchored {
            match epoch(project) {
                Ok(epoch) => daemon.epoch = Some(epoch),
                Err(error) => daemon.problem = Some(error.to_string()),
            }
        }
        daemon
    }

    /// `running`, `silent` or `stopped`.
    pub(crate) const fn state(&self) -> &'static str {
        match (self.anchored, self.epoch) {
            (true, Some(_)) => "running",
            (true, None) => "silent",
            (false, _) => "stopped",
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "state": self.state(), "pid": self.pid, "epoch": self.epoch })
    }

    pub(crate) fn words(&self) -> String {
        let pid = self.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
        let epoch = self.epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
        match self.state() {
            "stopped" => "not running; commands start one on demand".to_owned(),
            state => format!("{state}{pid}{epoch}"),
        }
    }

    pub(crate) fn check(&self) -> Check {
        match (self.state(), &self.problem) {
            ("silent", problem) => {
                let detail = format!(
                    "{}, but it does not answer: {}",
                    self.words(),
                    problem.clone().unwrap_or_default()
                );
                Check::fail(
                    "daemon",
                    detail,
                    "ostk shutdown; if that does not help, end the process by its pid",
                )
            }
            _ if self.stale_socket => {
                let detail = "not running; a socket of one that is gone is left behind";
                Check::warn("daemon", detail, "nothing to do: the next daemon replaces it")
            }
            _ => Check::pass("daemon", self.words()),
        }
    }

    /// The binary and the daemon should be of one version.
    pub(crate) fn version(&self, past: Option<&Past>) -> Check {
        let mine = env!("CARGO_PKG_VERSION");
        let theirs = past.and_then(|past| past.version.as_deref()).filter(|_| self.anchored);
        match theirs {
            Some(theirs) if theirs != mine => {
                let detail = format!("this is {mine}, the daemon is {theirs}");
                Check::warn(
                    "version",
                    detail,
                    "ostk shutdown; the next command starts a daemon of this version",
                )
            }
            _ => Check::pass("version", mine),
        }
    }
}

/// Attaches and makes no call: a first call would be recorded as the start of a session.
fn epoch(project: &Project) -> Result<u64, ClientError> {
    let mut client = Client::connect(&connect::socket(project))?;
    client.attach(&Identity::Operator(connect::user()), "ostk", None)?;
    Ok(client.epoch())
}
