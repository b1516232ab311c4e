//! Checks of the machine: sandbox, disk, programs, keys of providers.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use ostk_sandbox::{Guarantee, Missing, Namespaces, Probe};

use super::check::{Check, Held};

/// Less than this is worth a word: a day of a busy fleet.
const LITTLE_BYTES: u64 = 1 << 30;
/// Less than this and the next rotation of the log may fail.
const NO_BYTES: u64 = 64 << 20;
/// A variable of each vendor that agents can call.
const PROVIDER_KEYS: [&str; 3] = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"];

/// What contains the commands of agents: what this machine offers, and each guarantee that it cannot give. `accepted` are
/// those that the operator goes without.
pub(crate) fn sandbox(accepted: &BTreeSet<Guarantee>) -> Vec<Check> {
    let probe = ostk_sandbox::probe();
    let mut checks = vec![offered(&probe)];
    checks.extend(
        probe.missing().iter().map(|missing| lacking(missing, accepted.contains(&missing.guarantee))),
    );
    checks
}

/// Every guarantee of the sandbox, and whether it holds here.
pub(crate) fn guarantees(accepted: &BTreeSet<Guarantee>) -> Vec<Held> {
    let missing = ostk_sandbox::probe().missing();
    let held = |guarantee: Guarantee| {
        let lack = missing.iter().find(|missing| missing.guarantee == guarantee);
        let state = match lack {
            None => "active",
            Some(_) if accepted.contains(&guarantee) => "accepted",
            Some(_) => "missing",
        };
        let takes = lack.map(|lack| format!("{} ({})", lack.remedy, lack.why));
        Held {
            name: guarantee.to_string(),
            state,
            promise: format!("commands {}", guarantee.promise()),
            takes,
        }
    };
    Guarantee::ALL.into_iter().map(held).collect()
}

fn lacking(missing: &Missing, is_accepted: bool) -> Check {
    let Missing { guarantee, why, remedy } = missing;
    let what = match guarantee {
        // Asked for by settings of the operator only.
        Guarantee::Totals => "memory_mib, processes and cpu_percent cannot be limited".to_owned(),
        // Asked for by programs that reach the network through the daemon only.
        Guarantee::Relays => "programs that may reach chosen hosts only are refused".to_owned(),
        _ if is_accepted => {
            format!("you accepted that commands are not held to this: they {}", guarantee.promise())
        }
        _ => format!("commands are refused, for they are to be held to this: they {}", guarantee.promise()),
    };
    let detail = format!("{guarantee}: {why}: {what}");
    if is_accepted || matches!(guarantee, Guarantee::Totals | Guarantee::Relays) {
        return Check::warn("sandbox", detail, remedy.as_str());
    }
    let remedy =
        format!("{remedy}, or accept it in .ostk/ostk.toml: [sandbox] accept_missing = [\"{guarantee}\"]");
    Check::fail("sandbox", detail, remedy)
}

fn offered(probe: &Probe) -> Check {
    let landlock = match probe.landlock_abi {
        Some(abi) => format!("Landlock ABI {abi}"),
        None => "no Landlock".to_owned(),
    };
    let filters = if probe.filters { "filters of system calls" } else { "no filters of system calls" };
    let seen = match probe.namespaces {
        Namespaces::Privileged => "namespaces, privileged",
        Namespaces::User => "namespaces through a user namespace",
        Namespaces::Unavailable => "no namespaces",
    };
    let detail = format!("{landlock}, {filters}, {seen}");
    if probe.namespaces == Namespaces::Unavailable && probe.landlock_abi.is_some() {
        let narrow = "in a directory that holds something protected a command can create nothing, so `git commit` fails \
                      in a command, which can make no local sockets and, without network, no others either";
        let remedy =
            "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, or the like of your system";
        return Check::warn("sandbox", format!("{detail}: {narrow}"), remedy);
    }
    Check::pass("sandbox", detail)
}

/// Room where the log is written.
pub(crate) fn disk(dir: &Path) -> Check {
    let stat = match rustix::fs::statvfs(dir) {
        Ok(stat) => stat,
        Err(error) => return Check::fail("disk", format!("{}: {error}", dir.display()), "mount it again"),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
    match free {
        NO_BYTES.. if free >= LITTLE_BYTES => Check::pass("disk", detail),
        NO_BYTES.. => Check::warn("disk", detail, "free some: the log only grows"),
        _ => Check::fail(
            "disk",
            detail,
            "free some: when the disk is full, every call with an effect is refused",
        ),
    }
}

/// `git` is what turns the fleet's work into history.
pub(crate) fn git_program() -> Check {
    let run = Command::new("git").arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    match run {
        Ok(done) if done.status.success() => {
            Check::pass("programs", String::from_utf8_lossy(&done.stdout).trim().to_owned())
        }
        Ok(done) => {
            Check::warn("programs", format!("git --version ended with {}", done.status), "install git again")
        }
        Err(error) => Check::warn("programs", format!("git: {error}"), "install git"),
    }
}

/// Names of the keys that are set; the values are nobody's business.
pub(crate) fn provider_keys() -> Check {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let present: Vec<&str> = PROVIDER_KEYS.into_iter().filter(|name| set(name)).collect();
    if present.is_empty() {
        let remedy = format!(
            "set one of {} where the daemon starts; other clients need none",
            PROVIDER_KEYS.join(", ")
        );
        return Check::warn(
            "providers",
            "no vendor's key is set: `ostk run AGENTFILE` reaches local models only",
            remedy,
        );
    }
    Check::pass("providers", present.join(", "))
}
