//! Who is at the other end of the socket, as far as the operating system can say.
//!
//! The socket admits only the user's own processes. Commands that the kernel contains are the user's processes too;
//! they carry `no_new_privs`, which nothing can take off, and so cannot pose as the operator.

use tokio::net::UnixStream;

/// The peer of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pid: Option<i32>,
}

impl Peer {
    pub(crate) fn of(stream: &UnixStream) -> Self {
        Self { pid: stream.peer_cred().ok().and_then(|cred| cred.pid()) }
    }

    /// Why this peer may not speak as the operator, if it may not.
    pub(crate) fn not_operator(&self) -> Option<&'static str> {
        let Some(pid) = self.pid else { return Some("its process is unknown") };
        let own = std::process::id().to_string();
        let contained = no_new_privs(&pid.to_string());
        match (contained, no_new_privs(&own)) {
            (None, _) => Some("its process is gone"),
            (Some(true), Some(false)) => Some("it runs under no_new_privs"),
            // Where everything runs under no_new_privs, the mount namespace tells the contained ones.
            (Some(true), _) if mounts(&pid.to_string()) != mounts(&own) => {
                Some("it runs in a mount namespace of its own")
            }
            _ => None,
        }
    }
}

fn no_new_privs(pid: &str) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:"))?;
    Some(line.trim() == "1")
}

fn mounts(pid: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}
