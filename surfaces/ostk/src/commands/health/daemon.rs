//! Whether a daemon runs, found out without starting one.

use std::{fs, time::Duration};

use libostk::{Client, ClientError, Identity, Project};
use serde_json::{Value, json};

use super::check::Check;
use crate::connect;

/// How long a daemon may take to answer; one that replays its log does not answer yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the daemon.
pub(crate) struct Daemon {
    pub(crate) pid: Option<u32>,
    pub(crate) epoch: Option<u64>,
    /// What `status` says, when it answers.
    pub(crate) status: Option<Value>,
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
            status: None,
            anchored,
            problem: None,
            stale_socket: !anchored && project.socket().exists(),
        };
        if anchored {
            match status(project) {
                Ok((status, epoch)) => (daemon.status, daemon.epoch) = (Some(status), Some(epoch)),
                Err(error) => daemon.problem = Some(error.to_string()),
            }
        }
        daemon
    }

    /// `running`, `silent` or `stopped`.
    pub(crate) const fn state(&self) -> &'static str {
        match (self.anchored, &self.status) {
            (true, Some(_)) => "running",
            (true, None) => "silent",
            (false, _) => "stopped",
        }
    }

    /// Fingerprint of the policy that it decides by.
    pub(crate) fn policy(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status["policy"].as_str())
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
    pub(crate) fn version(&self) -> Check {
        let mine = env!("CARGO_PKG_VERSION");
        let theirs = self.status.as_ref().and_then(|status| status["version"].as_str());
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

fn status(project: &Project) -> Result<(Value, u64), ClientError> {
    let mut client = Client::connect(&connect::socket(project))?;
    client.attach(&Identity::Operator(connect::user()), "ostk", None)?;
    let call = json!({ "verb": "status", "args": {}, "timeout_ms": 4_000 });
    let status = client.request("call", &call, PATIENCE)?;
    Ok((status, client.epoch()))
}
