//! Checks of the machine: sandbox, disk, programs, keys of providers.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use ostk_sandbox::{Namespaces, Probe, Protection};

use super::check::Check;

/// Less than this is worth a word: a day of a busy fleet.
const LITTLE_BYTES: u64 = 1 << 30;
/// Less than this and the next rotation of the log may fail.
const NO_BYTES: u64 = 64 << 20;
/// The first Landlock interface that also contains truncation (Linux 6.2).
const LANDLOCK_WANTED: u32 = 3;
/// A variable of each vendor that agents can call.
const PROVIDER_KEYS: [&str; 3] = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"];

/// What contains the commands of agents.
pub(crate) fn sandbox() -> Vec<Check> {
    let probe = ostk_sandbox::probe();
    vec![landlock(&probe), namespaces(&probe)]
}

fn landlock(probe: &Probe) -> Check {
    let guarantee = "commands of agents cannot write outside their bounds (Landlock)";
    let check = match probe.landlock_abi {
        Some(abi) if abi >= LANDLOCK_WANTED => Check::pass("sandbox", format!("Landlock ABI {abi}")),
        Some(abi) => {
            let detail = format!("Landlock ABI {abi} does not cover truncation; {LANDLOCK_WANTED} does");
            Check::warn("sandbox", detail, "use a kernel of version 6.2 or newer")
        }
        None => {
            let remedy = "use a kernel with Landlock (5.13 or newer, `landlock` among the security modules), or waive it \
                          in .ostk/ostk.toml: landlock = \"waived\"";
            Check::fail("sandbox", "this kernel offers no Landlock: commands of agents are refused", remedy)
        }
    };
    check.guarantees(guarantee)
}

fn namespaces(probe: &Probe) -> Check {
    let guarantee = "protected paths inside a writable tree stay read-only (mount namespace)";
    let check = match (probe.namespaces, probe.protection()) {
        (Namespaces::Privileged, _) => Check::pass("namespaces", "mount namespaces, privileged"),
        (Namespaces::User, _) => Check::pass("namespaces", "mount namespaces through a user namespace"),
        (Namespaces::Unavailable, Protection::Enumerated) => {
            let detail = "no user namespaces: protected paths are spared one by one, and a name that appears beside them \
                          later is writable only where its directory was";
            Check::warn(
                "namespaces",
                detail,
                "sysctl kernel.unprivileged_userns_clone=1, or the like of your system",
            )
        }
        (Namespaces::Unavailable, _) => {
            let detail = "neither user namespaces nor Landlock: protected paths cannot be protected";
            Check::fail("namespaces", detail, "allow user namespaces, or use a kernel with Landlock")
        }
    };
    check.guarantees(guarantee)
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
