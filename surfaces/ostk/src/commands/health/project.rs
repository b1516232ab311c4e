//! Checks of the project: repository, state folder, key, documents, log.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use libostk::{Hash, Header, Project, ReadError, Timestamp};
use ostk_keys::{KeyStore, SIGNING_KEY_FILE};
use ostk_log::Signer;
use ostk_policy::Policy;

use super::check::Check;

/// A line of the log is shorter.
const MAX_FIRST_LINE: u64 = 128 * 1024;
/// A clock may be this far behind the log: two machines' clocks differ by less.
const CLOCK_SLACK_MS: u64 = 5_000;
/// Longest path of a socket that the system takes, with its final zero.
const MAX_SOCKET_PATH: usize = 108;

pub(crate) fn git(project: &Project) -> Check {
    if project.root().join(".git").exists() {
        return Check::pass("git", format!("repository at {}", project.root().display()));
    }
    Check::fail("git", format!("{} is no git repository", project.root().display()), "git init")
}

pub(crate) fn state_dir(dir: &Path) -> Check {
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) => return Check::fail("state", format!("{}: {error}", dir.display()), "ostk init"),
    };
    let (mode, owner, user) = (metadata.mode() & 0o777, metadata.uid(), rustix::process::geteuid().as_raw());
    let check = if owner != user {
        let detail = format!("{} belongs to user {owner}, this is user {user}", dir.display());
        Check::fail("state", detail, format!("run ostk as user {owner}"))
    } else if mode & 0o077 != 0 {
        let detail = format!("{} has mode {mode:04o}: others may look inside", dir.display());
        Check::warn("state", detail, format!("chmod 700 {}", dir.display()))
    } else {
        Check::pass("state", format!("{} is private", dir.display()))
    };
    check.guarantees("prompts, files and outputs in the packs are readable by you alone")
}

/// The signing key, and its public name. Creates nothing.
pub(crate) fn key() -> (Check, Option<String>) {
    let guarantee = "every record is signed by this machine";
    let damaged = |error: ostk_keys::KeyError| {
        let text = error.to_string();
        let (what, hint) =
            text.split_once("\nHint: ").unwrap_or((&text, "ostk needs a private key directory"));
        (Check::fail("key", what, hint).guarantees(guarantee), None)
    };
    let dir = match KeyStore::default_dir(|name| std::env::var_os(name)) {
        Ok(dir) => dir,
        Err(error) => return damaged(error),
    };
    if !dir.join(SIGNING_KEY_FILE).exists() {
        return (Check::pass("key", "none yet; the first daemon makes one"), None);
    }
    match KeyStore::open(dir).and_then(|store| store.instance_key()) {
        Ok(key) => {
            let id = key.key_id().to_string();
            (Check::pass("key", format!("{id}, private")).guarantees(guarantee), Some(id))
        }
        Err(error) => damaged(error),
    }
}

/// Whether the documents parse, and whether they are what a running daemon loaded.
pub(crate) fn documents(dir: &Path, loaded: Option<Hash>) -> Check {
    let documents = ostk_daemon::read_documents(dir);
    let check = match Policy::load(&documents) {
        Err(errors) => {
            let remedy = "mend the document; until then everything with an effect is refused";
            Check::fail("documents", errors.to_string(), remedy)
        }
        Ok(policy) if loaded.is_some_and(|loaded| loaded != policy.fingerprint()) => {
            let detail = "they changed since the daemon loaded them";
            Check::warn("documents", detail, "ostk call policy.reload")
        }
        Ok(policy) => match policy.lints().as_slice() {
            [] => Check::pass("documents", format!("built-in rules and {} pins", documents.pins.len())),
            lints => {
                let lines: Vec<String> = lints.iter().map(ToString::to_string).collect();
                Check::warn("documents", lines.join("\n"), "see what the pin comes to: ostk pin show NAME")
            }
        },
    };
    check.guarantees("the gate decides every call by the documents that it loaded")
}

/// The last record of the log.
pub(crate) struct Last {
    pub(crate) seq: u64,
    ts: Timestamp,
}

/// The chain of the last segment: enough to find a torn or changed end, and quick whatever the log's size.
pub(crate) fn journal(dir: &Path) -> (Check, Option<Last>) {
    let remedy = "ostk audit verify --deep says what is wrong and where; nothing is repaired silently";
    let guarantee = "every action is in one hash-chained log";
    match walk(dir) {
        Ok((_, None)) => (Check::pass("journal", "no record yet"), None),
        Ok((first, Some(last))) => {
            let detail = format!(
                "chain of the last segment, records {first} to {}; ostk audit verify checks all of it",
                last.seq
            );
            (Check::pass("journal", detail).guarantees(guarantee), Some(last))
        }
        Err(error) => (Check::fail("journal", error.to_string(), remedy).guarantees(guarantee), None),
    }
}

fn walk(dir: &Path) -> Result<(u64, Option<Last>), ReadError> {
    let first = first_of_last_segment(dir);
    let mut last = None;
    for entry in libostk::records_from(dir, first)? {
        let entry = entry?;
        if let Ok(header) = Header::scan(&entry.line) {
            last = Some(Last { seq: entry.seq, ts: header.ts });
        }
    }
    Ok((first, last))
}

/// From the live segment's first line; just after a rotation, from the name of the newest closed one.
fn first_of_last_segment(dir: &Path) -> u64 {
    let mut line = Vec::new();
    if let Ok(file) = File::open(dir.join("journal.jsonl")) {
        // What cannot be read here is found by whoever walks the segment.
        let _ = BufReader::new(file.take(MAX_FIRST_LINE)).read_until(b'\n', &mut line);
    }
    if let Ok(header) = Header::scan(line.strip_suffix(b"\n").unwrap_or(&line)) {
        return header.seq;
    }
    let closed = fs::read_dir(dir.join("journal")).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_suffix(".jsonl").and_then(|digits| digits.parse().ok());
    closed.filter_map(|entry| number(entry.file_name().to_str()?)).max().unwrap_or(0)
}

pub(crate) fn checkpoint(dir: &Path, last: Option<&Last>) -> Check {
    let remedy = "ostk audit verify --deep";
    let check = match (libostk::published(dir), last) {
        (None, None) => Check::pass("checkpoint", "no record yet"),
        (None, Some(_)) => {
            Check::warn("checkpoint", "there is none, or it cannot be read", "the next daemon writes one")
        }
        (Some(head), Some(last)) if head.size > last.seq + 1 => {
            let detail = format!("it covers {} records, the log has {}", head.size, last.seq + 1);
            Check::fail("checkpoint", detail, remedy)
        }
        (Some(head), None) if head.size > 0 => Check::fail(
            "checkpoint",
            format!("it covers {} records, the log cannot be read", head.size),
            remedy,
        ),
        (Some(head), _) => Check::pass("checkpoint", format!("{} records, root {}", head.size, head.root)),
    };
    check.guarantees("a changed or shortened log does not fit its signed tree head")
}

/// Time in the log never goes backwards; a clock behind it means that new records bear the old time.
pub(crate) fn clock(last: Option<&Last>) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_micros(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    let behind = last.map_or(0, |last| last.ts.millis_since(now));
    if behind > CLOCK_SLACK_MS {
        let detail = format!("{} s behind the last record", behind / 1_000);
        return Check::warn(
            "clock",
            detail,
            "set the clock; until it has caught up, records bear the last time",
        );
    }
    Check::pass("clock", "not behind the log")
}

pub(crate) fn socket(path: &Path) -> Check {
    let length = path.as_os_str().len();
    if length >= MAX_SOCKET_PATH {
        let detail =
            format!("{} is {length} bytes long; the system takes {}", path.display(), MAX_SOCKET_PATH - 1);
        return Check::fail("socket", detail, "move the project to a shorter path");
    }
    Check::pass("socket", path.display().to_string())
}
