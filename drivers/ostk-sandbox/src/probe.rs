//! What this machine offers for containment, found out by trying.
//!
//! The daemon prints the result in `ostk boot` and `ostk doctor`; [`Sandbox`](crate::Sandbox) relies on it.

use rustix::process::{Pid, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup, child, init,
    namespace::{self, IdMaps, View},
    notify,
    plan::Protection,
};

/// The first Landlock ABI that covers truncation, so that "may not write" also means "may not empty" (Linux 6.2).
pub(crate) const LANDLOCK_NEEDED: u32 = 3;

/// What this machine offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Version of the Landlock interface, `None` when it is missing or switched off.
    pub landlock_abi: Option<u32>,
    /// How a command can get its own view of the mounts.
    pub namespaces: Namespaces,
    /// With namespaces: whether a command can get its own processes and their `/proc`.
    pub processes: bool,
    /// With namespaces: whether a command can get a network of its own.
    pub networks: bool,
    /// Whether system calls can be filtered.
    pub filters: bool,
    /// Whether calls can be carried out in a process's place (notices of system calls, `pidfd_getfd`, `openat2`).
    pub notices: bool,
    /// Whether memory, processes and processor time of a command as a whole can be limited.
    pub totals: bool,
}

/// A way to a private view of the mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespaces {
    /// The daemon may create mount namespaces itself (it has CAP_SYS_ADMIN).
    Privileged,
    /// Through a user namespace.
    User,
    /// None: switched off by the distribution, a container or a security module.
    Unavailable,
}

impl Probe {
    /// How protected paths inside writable trees can be protected here.
    pub fn protection(&self) -> Protection {
        match (self.namespaces, self.landlock_abi) {
            (Namespaces::Privileged | Namespaces::User, _) => Protection::Namespace,
            (Namespaces::Unavailable, Some(LANDLOCK_NEEDED..)) => Protection::Enumerated,
            (Namespaces::Unavailable, _) => Protection::Missing,
        }
    }

    pub(crate) fn own_processes(&self) -> bool {
        self.namespaces != Namespaces::Unavailable && self.processes
    }

    pub(crate) fn own_network(&self) -> bool {
        self.namespaces != Namespaces::Unavailable && self.networks
    }
}

/// Tries out what this machine offers. Takes a few milliseconds: it forks five times at most.
pub fn probe() -> Probe {
    let (landlock_abi, filters, totals) = (child::landlock_abi(), child::filters_work(), cgroup::works());
    let notices = filters && notify::works();
    let kinds = [Namespaces::Privileged, Namespaces::User];
    let view = |way, processes, network| {
        let maps = IdMaps::of_this_process();
        View { way, maps, processes, network, spare: None, mounts: Vec::new() }
    };
    let Some(way) = kinds.into_iter().find(|way| works(&view(*way, false, false))) else {
        let namespaces = Namespaces::Unavailable;
        return Probe {
            landlock_abi,
            namespaces,
            processes: false,
            networks: false,
            filters,
            notices,
            totals,
        };
    };
    let processes = init::program().is_some() && works(&view(way, true, false));
    let networks = works(&view(way, false, true));
    Probe { landlock_abi, namespaces: way, processes, networks, filters, notices, totals }
}

/// Whether a forked process can enter such a view, and one inside it see only what is there.
fn works(view: &View) -> bool {
    let enters = || view.enter().is_ok() && (!view.processes || succeeds(|| namespace::mount_proc().is_ok()));
    succeeds(enters)
}

fn succeeds(work: impl FnOnce() -> bool) -> bool {
    child::fork_and(work).is_some_and(ended_well)
}

fn ended_well(pid: Pid) -> bool {
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    matches!(status, Ok(Some((_, status))) if status.exit_status() == Some(0))
}
