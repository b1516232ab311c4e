//! Who is at the other end of the socket, as far as the operating system can say.
//!
//! The socket admits only the user's own processes. Commands that the kernel contains are the user's processes too;
//! they carry `no_new_privs`, which nothing can take off and every child inherits, and so cannot pose as the operator,
//! nor as another agent than the one that runs them.

use tokio::net::UnixStream;

/// Generations of processes between a command and the daemon that are looked at; real ones have a handful.
const MAX_ANCESTORS: usize = 64;

/// The peer of a connection, as it was when the connection was made: later its number may be another process's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    known: bool,
    contained: Option<&'static str>,
}

impl Peer {
    pub(crate) fn of(stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|cred| cred.pid()).filter(|pid| *pid > 0);
        Self { known: pid.is_some(), contained: pid.and_then(|pid| contained(&pid.to_string())) }
    }

    /// Whether the system does not say which process it is: it runs where this daemon sees no processes, and so is none
    /// that this daemon started.
    pub(crate) const fn is_unknown(self) -> bool {
        !self.known
    }

    /// Why this peer is taken for a contained process, if it is.
    pub(crate) const fn contained(self) -> Option<&'static str> {
        self.contained
    }
}

fn contained(pid: &str) -> Option<&'static str> {
    let own = std::process::id().to_string();
    match (no_new_privs(pid), no_new_privs(&own)) {
        (None, _) => Some("its process is gone"),
        (Some(true), Some(false)) => Some("it runs under no_new_privs"),
        // Where everything runs under no_new_privs, the mount namespace tells the contained ones.
        (Some(true), _) if mounts(pid) != mounts(&own) => Some("it runs in a mount namespace of its own"),
        (Some(true), _) if descends_from(pid.to_owned(), &own) => Some("this daemon started it"),
        _ => None,
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
