//! Who is at the other end of the socket, as far as the operating system can say.
//!
//! The socket admits only the user's own processes. Commands that the kernel contains are the user's processes too;
//! they carry `no_new_privs`, which nothing can take off and every child inherits, and so cannot pose as the operator,
//! nor as another agent than the one that runs them.

use tokio::net::UnixStream;

/// Generations of processes between a command and the daemon that are looked at; real ones have a handful.
const MAX_ANCESTORS: usize = 64;

/// The peer of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pid: Option<i32>,
}

impl Peer {
    pub(crate) fn of(stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
        Self { pid: pid.filter(|pid| *pid > 0) }
    }

    /// Whether the system does not say which process it is: it runs where this daemon sees no processes, and so is none
    /// that this daemon started.
    pub(crate) const fn is_unknown(&self) -> bool {
        self.pid.is_none()
    }

    /// Why this peer is taken for a contained process, if it is.
    pub(crate) fn contained(&self) -> Option<&'static str> {
        let pid = self.pid?;
        let own = std::process::id().to_string();
        let contained = no_new_privs(&pid.to_string());
        match (contained, no_new_privs(&own)) {
            (None, _) => Some("its process is gone"),
            (Some(true), Some(false)) => Some("it runs under no_new_privs"),
            // Where everything runs under no_new_privs, the mount namespace tells the contained ones.
            (Some(true), _) if mounts(&pid.to_string()) != mounts(&own) => {
                Some("it runs in a mount namespace of its own")
            }
            (Some(true), _) if descends_from(pid.to_string(), &own) => Some("this daemon started it"),
            _ => None,
        }
    }
}

fn no_new_privs(pid: &str) -> Option<bool> {
    Some(status(pid, "NoNewPrivs:")? == "1")
}

fn descends_from(mut pid: String, ancestor: &str) -> bool {
    for _ in 0..MAX_ANCESTORS {
        match status(&pid, "PPid:") {
            Some(parent) if parent == ancestor => return true,
            Some(parent) => pid = parent,
            None => return false,
        }
    }
    // Too deep to tell.
    true
}

/// A field of the process's status.
fn status(pid: &str, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
}

fn mounts(pid: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}
