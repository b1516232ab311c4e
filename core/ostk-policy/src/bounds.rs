//! What the documents say about a process as a whole, for the sandbox it runs in.
//!
//! A sandbox knows directories, not globs, so what cannot be said in directories is said more narrowly: a glob gives a
//! command no right to write, and a denied glob protects the whole directory it stays within. Called by
//! [`crate::Policy::bounds`].

use crate::{
    grant::ToolGrant,
    host::HostPattern,
    index::NOT_SOURCE,
    path::{PathPattern, ancestors},
    pin::{DenyToken, Execute, Pin},
    request::{Actor, ActorKind},
};

/// The limits of a process. Paths are relative to the workspace, without a final `/`; `""` is the root. The default
/// writes nothing and reaches no network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// What it may read; `None` for the whole workspace.
    pub readable: Option<Vec<String>>,
    /// What it may write.
    pub writable: Vec<String>,
    /// What it may not write although it lies within `writable`.
    pub protected: Vec<String>,
    /// What it may neither read nor write.
    pub denied: Vec<String>,
    /// Whether no document takes the network away from it.
    pub network: bool,
    /// Whether there are hosts that it may reach; which, is decided for each connection.
    pub hosts: bool,
    /// Names of the secrets that drivers may use for it; it never sees them.
    pub secrets: Vec<String>,
}

/// What no process but the kernel writes; git's configuration and hooks because they name programs that people run.
const PROTECTED: [&str; 3] = [".ostk", ".git/hooks", ".git/config"];

/// What an agent's process may not write either: as in `default.cedar`, with the spelling that has an effect.
const PROTECTED_FROM_AGENTS: [&str; 7] =
    ["HUMANFILE", "ENTITYFILE", ".primefile", "Agentfile", "Agentfile.self.sig", "ostk.toml", "pins"];

impl Bounds {
    /// What lies within both: for a process that runs on behalf of two actors.
    #[must_use]
    pub fn within(mut self, other: Self) -> Self {
        narrow(&mut self.writable, other.writable);
        self.readable = match (self.readable, other.readable) {
            (Some(mut held), Some(limits)) => {
                narrow(&mut held, limits);
                Some(held)
            }
            (held, limits) => held.or(limits),
        };
        for (held, more) in [(&mut self.protected, other.protected), (&mut self.denied, other.denied)] {
            held.extend(more.into_iter().filter(|path| !held.contains(path)).collect::<Vec<_>>());
        }
        self.network &= other.network;
        self.hosts &= other.hosts;
        self.secrets.retain(|name| other.secrets.contains(name));
        self
    }
}

/// `pin` is `None` without one, and `Some(None)` when it does not exist: then nothing may be written.
pub(crate) fn bounds(actor: &Actor, pin: Option<Option<&Pin>>, hosts: &[HostPattern]) -> Bounds {
    let mut protected: Vec<String> = PROTECTED.map(str::to_owned).to_vec();
    if actor.kind != ActorKind::Human {
        protected.extend(PROTECTED_FROM_AGENTS.map(str::to_owned));
    }
    let mut limits = Bounds {
        readable: None,
        writable: vec![String::new()],
        protected,
        denied: Vec::new(),
        network: true,
        hosts: !hosts.is_empty(),
        secrets: Vec::new(),
    };
    match pin {
        None => {}
        Some(None) => {
            limits.writable.clear();
            limits.readable = Some(Vec::new());
            limits.network = false;
            limits.hosts = false;
        }
        Some(Some(pin)) => narrow_by_pin(&mut limits, pin),
    }
    if let Some(tools) = &actor.tools {
        narrow_by_tools(&mut limits.writable, tools);
    }
    limits
}

fn narrow_by_pin(limits: &mut Bounds, pin: &Pin) {
    if let Some(list) = pin.writable() {
        narrow(&mut limits.writable, literals(list));
    }
    if pin.denies(DenyToken::WriteSrc) {
        narrow(&mut limits.writable, NOT_SOURCE.map(str::to_owned).to_vec());
    }
    if matches!(pin.execute(), Some(Execute::ReadonlyShell | Execute::None)) {
        limits.writable.clear();
    }
    limits.readable = pin.readable().map(literals);
    limits.network = !pin.denies(DenyToken::Network);
    limits.hosts &= limits.network && pin.hosts().is_none_or(|hosts| !hosts.is_empty());
    // A glob such as `**/*.pem` stays within no directory; `Pin::parse` says so in a lint.
    let bases = pin.denied().map(PathPattern::base);
    limits.denied = pin
        .denied()
        .zip(bases)
        .filter(|(p, base)| p.literal().is_some() || !base.is_empty())
        .map(|(_, base)| base.to_owned())
        .collect();
    limits.protected.extend(limits.denied.iter().cloned());
}

fn narrow_by_tools(writable: &mut Vec<String>, tools: &[ToolGrant]) {
    let limits: Vec<Option<String>> = tools.iter().filter_map(ToolGrant::write_limit).collect();
    if !limits.is_empty() {
        narrow(writable, limits.into_iter().flatten().collect());
    }
    let readonly = tools.iter().any(ToolGrant::is_readonly_shell);
    if readonly && !tools.iter().any(ToolGrant::is_writing_shell) {
        writable.clear();
    }
}

fn literals(list: &[PathPattern]) -> Vec<String> {
    list.iter().filter_map(PathPattern::literal).map(str::to_owned).collect()
}

/// Keeps what lies within both lists.
fn narrow(held: &mut Vec<String>, limits: Vec<String>) {
    let within = |inner: &str, outer: &[String]| ancestors(inner).any(|path| outer.iter().any(|o| o == path));
    let mut both: Vec<String> = held.iter().filter(|path| within(path, &limits)).cloned().collect();
    both.extend(limits.iter().filter(|path| within(path, held)).cloned());
    both.sort_unstable();
    both.dedup();
    *held = both;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_two_may_do_together_is_what_each_may() {
        let one = Bounds {
            readable: None,
            writable: words(&["src", "doc"]),
            protected: words(&[".ostk"]),
            denied: words(&["infra"]),
            network: true,
            hosts: true,
            secrets: words(&["A", "B"]),
        };
        let other = Bounds {
            readable: Some(words(&["src"])),
            writable: words(&["src/net", "test"]),
            protected: words(&[".ostk", "pins"]),
            denied: Vec::new(),
            network: false,
            hosts: true,
            secrets: words(&["B"]),
        };
        let both = one.clone().within(other.clone());
        assert_eq!((&both.writable, &both.readable), (&words(&["src/net"]), &Some(words(&["src"]))));
        assert_eq!((&both.protected, &both.denied), (&words(&[".ostk", "pins"]), &words(&["infra"])));
        assert_eq!((both.network, both.hosts, &both.secrets), (false, true, &words(&["B"])));
        assert_eq!(other.within(one).writable, both.writable, "whoever comes first");
    }
}
