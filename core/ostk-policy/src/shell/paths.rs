//! Paths as the rules see them: how much lies beneath one, and whether secrets or the system do.
//!
//! Purely by name: nothing is looked up. `~` is the home directory, a mark of `word` something not known.

use super::word::MARKS;

/// Directories that the system owns, at any depth.
const SYSTEM: [&str; 20] = [
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "usr",
    "var",
    "opt",
    "System",
    "Library",
    "Applications",
    "private",
];

/// Where anybody may write: nothing there is the system's.
const SCRATCH: [&str; 6] = ["/tmp", "/var/tmp", "/dev/shm", "/var/folders", "/private/tmp", "/run/user"];

/// Devices that swallow or give, and terminals.
const PLAIN_DEVICES: [&str; 8] = ["null", "zero", "full", "tty", "stdin", "stdout", "stderr", "fd"];

/// `path` as seen from `directory`, without `.` and with `..` resolved by name. Relative stays relative.
pub(super) fn resolve(directory: &str, path: &str) -> String {
    let rooted = path.starts_with(['/', '~']) || path.starts_with(MARKS);
    let (base, rest) = if rooted { ("", path) } else { (directory, path) };
    let root = if base.starts_with('/') || base.is_empty() && rest.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(rest.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != ".." && *last != "~") => drop(parts.pop()),
            ".." if !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    format!("{root}{}", parts.join("/"))
}

/// Why deleting everything under `path` takes more than a part of the project, if it does.
pub(super) fn broad(directory: &str, path: &str) -> Option<&'static str> {
    let resolved = resolve(directory, path);
    if resolved.starts_with(MARKS) {
        let rest = resolved.trim_start_matches(MARKS);
        return all_wild(rest).then_some("what it deletes is known only when it runs");
    }
    let scratch = SCRATCH.iter().any(|dir| below(&resolved, dir).is_some_and(|rest| !rest.is_empty()));
    if scratch {
        return None;
    }
    if let Some(rest) = resolved.strip_prefix('/') {
        return broad_absolute(rest);
    }
    let parts = literal_parts(&resolved);
    match parts.as_slice() {
        [] => Some("it deletes the whole directory it runs in"),
        ["..", ..] => Some("it deletes outside the directory it runs in"),
        [home] if home.starts_with('~') => Some("it deletes a home directory"),
        [home, inner] if home.starts_with('~') && *inner != ".cache" => {
            Some("it deletes a large part of a home directory")
        }
        [home, inner, ..] if home.starts_with('~') && inner.starts_with('.') && *inner != ".cache" => {
            Some("it deletes the settings of a person")
        }
        [".git" | ".ostk", ..] => Some("it deletes the history of the repository"),
        _ => None,
    }
}

/// `rest` is an absolute path without its first `/`.
fn broad_absolute(rest: &str) -> Option<&'static str> {
    match literal_parts(rest).as_slice() {
        [] => Some("it deletes the whole file system"),
        [first, ..] if SYSTEM.contains(first) => Some("it deletes files of the system"),
        ["home" | "Users" | "mnt" | "media", rest @ ..] if rest.len() <= 2 => {
            Some("it deletes a large part of a home directory or a disk")
        }
        parts if parts.len() <= 2 => Some("it deletes a directory close to the root"),
        _ => None,
    }
}

/// The components up to the first that is only wildcards.
fn literal_parts(path: &str) -> Vec<&str> {
    path.split('/').take_while(|part| !all_wild(part)).collect()
}

fn all_wild(part: &str) -> bool {
    part.chars().all(|c| matches!(c, '*' | '?' | '.' | '/')) && part != ".."
}

/// What is left of `path` under `dir`.
fn below<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(dir)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Whether secrets lie there, by a name that they go by.
pub(super) fn secret(path: &str) -> bool {
    if path.contains(char::is_whitespace) || path.contains("://") {
        return false;
    }
    const DIRECTORIES: [&str; 6] = [".ssh", ".gnupg", ".aws", ".kube", ".azure", ".password-store"];
    const FILES: [&str; 12] = [
        ".netrc",
        ".npmrc",
        ".pypirc",
        ".git-credentials",
        ".pgpass",
        ".my.cnf",
        ".bash_history",
        ".zsh_history",
        "shadow",
        "gshadow",
        "sudoers",
        ".htpasswd",
    ];
    const ENDS: [&str; 5] = [
        ".docker/config.json",
        ".cargo/credentials",
        ".cargo/credentials.toml",
        ".config/gh/hosts.yml",
        ".ostk/keys",
    ];
    let parts: Vec<&str> = path.split('/').collect();
    let last = parts.last().copied().unwrap_or_default();
    let in_etc = |name: &str| !matches!(name, "shadow" | "gshadow" | "sudoers") || path.starts_with("/etc/");
    parts.iter().any(|part| DIRECTORIES.contains(part))
        || FILES.contains(&last) && in_etc(last)
        || ENDS.iter().any(|end| path.ends_with(end) || path.contains(&format!("{end}/")))
        || path.contains(".config/gcloud")
        || path.starts_with("/etc/sudoers.d")
        || path.starts_with("/etc/ssl/private")
        || environment_file(last)
        || (last.ends_with(".pem") || last.ends_with(".p12") || last.ends_with(".pfx")) && last.len() > 4
        || last.starts_with("id_")
            && ["rsa", "dsa", "ecdsa", "ed25519"].contains(&last.trim_start_matches("id_"))
        || path.starts_with("/proc/") && (last == "environ" || last == "mem")
        || matches!(path, "/dev/mem" | "/dev/kmem" | "/dev/port")
}

/// `.env`, `.env.local`, and not `.env.example`.
fn environment_file(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(".env") else { return false };
    rest.is_empty()
        || rest.strip_prefix('.').is_some_and(|kind| {
            !kind.is_empty()
                && !["example", "sample", "template", "dist", "defaults", "schema"].contains(&kind)
        })
}

/// Why writing `path` is more than a change of the project, if it is.
pub(super) fn sensitive_write(directory: &str, path: &str) -> Option<&'static str> {
    let resolved = resolve(directory, path);
    let at = resolved.as_str();
    if SCRATCH.iter().any(|dir| below(at, dir).is_some()) || plain_device(at) || disk(at) {
        return None;
    }
    if secret(at) {
        return Some("a place where secrets are kept");
    }
    let parts: Vec<&str> = at.split('/').collect();
    if parts.windows(2).any(|two| matches!(two, [".git", "hooks" | "config"])) {
        return Some("a place of git whose programs people run");
    }
    if parts.contains(&".ostk") {
        return Some("the state of ostk");
    }
    if let Some(rest) = at.strip_prefix('/') {
        let first = rest.split('/').next().unwrap_or_default();
        return SYSTEM.contains(&first).then_some("a file of the system");
    }
    let home = parts.first().is_some_and(|part| part.starts_with('~'));
    const STARTED: [&str; 12] = [
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".bash_logout",
        ".profile",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".gitconfig",
        ".vimrc",
        ".config",
        ".local",
    ];
    let started = parts.get(1).is_some_and(|part| STARTED.contains(part));
    (home && started).then_some("a file that a person's programs obey")
}

fn plain_device(path: &str) -> bool {
    let name = path.strip_prefix("/dev/").and_then(|rest| rest.split('/').next());
    name.is_some_and(|name| PLAIN_DEVICES.contains(&name) || name.starts_with("pts"))
}

/// A disk or a part of one.
pub(super) fn disk(path: &str) -> bool {
    const DISKS: [&str; 9] = ["sd", "hd", "nvme", "vd", "xvd", "mmcblk", "disk", "mapper", "md"];
    let name = path.strip_prefix("/dev/");
    name.is_some_and(|name| DISKS.iter().any(|disk| name.starts_with(disk)))
}
