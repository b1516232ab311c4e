//! What containment promises, and which of it a machine cannot keep.
//!
//! `plan.rs` refuses a command whose spec asks for a guarantee that is missing, unless the operator accepted that by
//! name; `ostk boot` and `ostk doctor` print the list.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Namespaces, Probe, plan::LANDLOCK_WITH_SOCKETS, probe::LANDLOCK_NEEDED};

/// One promise about a contained command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// It reads and changes no files but those that it may (Landlock).
    Files,
    /// Protected paths inside writable trees stay as they are (mount namespace, or Landlock).
    Protected,
    /// Hidden paths cannot be read (mount namespace, or Landlock).
    Hidden,
    /// Calls that reach into other processes, change mounts or open large surfaces of the kernel fail (seccomp).
    SystemCalls,
    /// When it ends, all its processes end (process namespace, or a filter that keeps them in one group).
    Processes,
    /// It signals no process outside (process namespace, or Landlock).
    Signals,
    /// Without network, it reaches none (network namespace, or a filter).
    Network,
    /// Where it reaches the network through relays, it reaches it in no other way (network namespace).
    Relays,
    /// It connects to no local socket outside its writable trees (Landlock, or notices and filters of system calls).
    LocalSockets,
    /// Limits on all its processes together hold (control groups).
    Totals,
}

/// A guarantee that this machine cannot give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Which.
    pub guarantee: Guarantee,
    /// What the machine lacks.
    pub why: String,
    /// What would help.
    pub remedy: String,
}

impl Guarantee {
    /// Every guarantee.
    pub const ALL: [Self; 10] = [
        Self::Files,
        Self::Protected,
        Self::Hidden,
        Self::SystemCalls,
        Self::Processes,
        Self::Signals,
        Self::Network,
        Self::Relays,
        Self::LocalSockets,
        Self::Totals,
    ];

    /// Its name in `ostk.toml`, as `accept_missing` lists it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Protected => "protected",
            Self::Hidden => "hidden",
            Self::SystemCalls => "system_calls",
            Self::Processes => "processes",
            Self::Signals => "signals",
            Self::Network => "network",
            Self::Relays => "relays",
            Self::LocalSockets => "local_sockets",
            Self::Totals => "totals",
        }
    }

    /// What it says, as part of a sentence about commands.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Files => "cannot read or change files outside their bounds",
            Self::Protected => "cannot change protected paths inside their bounds",
            Self::Hidden => "cannot read private keys and tokens",
            Self::SystemCalls => "cannot make dangerous system calls",
            Self::Processes => "leave no process behind",
            Self::Signals => "cannot signal processes outside",
            Self::Network => "reach no network when they may not",
            Self::Relays => "reach the network through the daemon's relays only",
            Self::LocalSockets => "cannot connect to the sockets of other programs",
            Self::Totals => "stay within limits on memory, processes and processor time as a whole",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Guarantee {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|guarantee| guarantee.name() == name);
        found.ok_or_else(|| {
            format!("no guarantee {name:?}; there are: {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

const NEWER_KERNEL: &str = "boot with `landlock` in the kernel's `lsm=` list (Linux 6.2 or newer)";
const DELEGATE: &str = "start the daemon where systemd delegates memory, pids and cpu: systemd-run --user --scope -p Delegate=yes";
const SECCOMP: &str = "use a kernel with CONFIG_SECCOMP_FILTER";
const NAMESPACES: &str =
    "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, or the like of your system";

impl Probe {
    /// What this machine cannot give, in the order of [`Guarantee::ALL`].
    pub fn missing(&self) -> Vec<Missing> {
        Guarantee::ALL.into_iter().filter_map(|guarantee| self.lacks(guarantee)).collect()
    }

    /// Why a guarantee is missing here, if it is.
    pub(crate) fn lacks(&self, guarantee: Guarantee) -> Option<Missing> {
        let namespaces = self.namespaces != Namespaces::Unavailable;
        let landlock = self.landlock_abi.unwrap_or(0);
        let bounded = landlock >= LANDLOCK_NEEDED;
        let (given, lack, remedy) = match guarantee {
            Guarantee::Files => (bounded, self.landlock_lack(), NEWER_KERNEL),
            Guarantee::Protected | Guarantee::Hidden => {
                (namespaces || bounded, "neither namespaces nor Landlock".to_owned(), NAMESPACES)
            }
            Guarantee::SystemCalls => (self.filters, "no filters of system calls".to_owned(), SECCOMP),
            Guarantee::Processes => {
                let lack = "neither process namespaces nor filters of system calls";
                (self.own_processes() || self.filters, lack.to_owned(), NAMESPACES)
            }
            Guarantee::Signals => {
                let lack = "no process namespaces, and Landlock before ABI 6 lets signals pass";
                (self.own_processes() || landlock >= 6, lack.to_owned(), NAMESPACES)
            }
            Guarantee::Network => {
                let lack = "neither network namespaces nor filters of system calls";
                (self.own_network() || self.filters, lack.to_owned(), NAMESPACES)
            }
            Guarantee::Relays => (self.own_network(), "no network namespaces".to_owned(), NAMESPACES),
            Guarantee::LocalSockets => {
                let lack = "no filters of system calls, and Landlock before ABI 9 knows no sockets by path";
                (self.filters || landlock >= LANDLOCK_WITH_SOCKETS, lack.to_owned(), SECCOMP)
            }
            Guarantee::Totals => (self.totals, "no control groups to make".to_owned(), DELEGATE),
        };
        (!given).then(|| Missing { guarantee, why: lack, remedy: remedy.to_owned() })
    }

    fn landlock_lack(&self) -> String {
        match self.landlock_abi {
            None => "no Landlock".to_owned(),
            Some(abi) => {
                format!("Landlock ABI {abi} cannot keep a command from emptying files; {LANDLOCK_NEEDED} can")
            }
        }
    }
}
