//! What this machine offers for containment, found out by trying.
//!
//! The daemon prints the result in `ostk boot` and `ostk doctor`; [`Sandbox`](crate::Sandbox) relies on it.

use rustix::process::WaitOptions;
use serde::{Deserialize, Serialize};

use crate::{child, plan::Protection};

/// The first Landlock ABI that covers truncation, so that "may not write" also means "may not empty" (Linux 6.2).
pub(crate) const LANDLOCK_NEEDED: u32 = 3;

/// What this machine offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Version of the Landlock interface, `None` when it is missing or switched off.
    pub landlock_abi: Option<u32>,
    /// How a command can get its own view of the mounts.
    pub namespaces: Namespaces,
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
}

/// Tries out what this machine offers. Takes a few milliseconds: it forks twice at most.
pub fn probe() -> Probe {
    let works = |kind: &Namespaces| tried_in_a_child(*kind);
    let kinds = [Namespaces::Privileged, Namespaces::User];
    let namespaces = kinds.into_iter().find(works).unwrap_or(Namespaces::Unavailable);
    Probe { landlock_abi: child::landlock_abi(), namespaces }
}

/// Whether a forked process can enter such a namespace and change mounts in it.
fn tried_in_a_child(kind: Namespaces) -> bool {
    let maps = child::IdMaps::of_this_process();
    let Some(pid) = child::fork_and(|| child::enter_namespace(kind, &maps).is_ok()) else {
        return false;
    };
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    matches!(status, Ok(Some((_, status))) if status.exit_status() == Some(0))
}
