//! Git as a witness of the log: commits carry the newest checkpoint, and a log that was cut or rewritten disagrees with
//! them.
//!
//! The trailer `Ostk-Checkpoint: ORIGIN SIZE ROOT SIGNATURE` is the C2SP checkpoint of the moment on one line. A git hook
//! that `ostk init` writes adds it; `ostk audit verify --git` compares every one with the log.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use libostk::{KeyId, Problem, VerifierKey};
use ostk_log::{Frontier, SignedCheckpoint, leaf_hash};
use serde_json::json;

use super::super::Done;
use crate::{connect, failure::Failure, git::git, output::Output};

const TRAILER: &str = "Ostk-Checkpoint";
const HOOK: &str = "#!/bin/sh\n\
    # Adds the newest checkpoint of the ostk log to the message, so that git bears witness to the log.\n\
    command -v ostk >/dev/null 2>&1 && ostk audit trailer --into \"$1\" >/dev/null 2>&1\nexit 0\n";

/// Writes the hook, unless the repository has one of that name already. Returns its path if it is new.
pub(crate) fn install(root: &Path) -> Result<Option<String>, Failure> {
    let named = git(root, &["rev-parse", "--git-path", "hooks/prepare-commit-msg"])?;
    let path = root.join(named.trim());
    if path.exists() {
        return Ok(None);
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&path, HOOK)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(Some(path.strip_prefix(root).unwrap_or(&path).display().to_string()))
}

/// Prints the trailer, or puts it into the file of a commit message in place of an older one.
pub(super) fn trailer(into: Option<&Path>, output: &Output) -> Done {
    let project = connect::project()?;
    let file = project.state_dir().join("log/checkpoint");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::check("the log has no checkpoint yet").hint("ostk call status starts it"));
        }
        Err(error) => return Err(error.into()),
    };
    let value = on_one_line(&text).ok_or_else(|| Failure::check("the checkpoint is malformed"))?;
    if let Some(message) = into {
        let trailer = format!("{TRAILER}: {value}");
        let message = message.display().to_string();
        let args =
            ["interpret-trailers", "--in-place", "--if-exists", "replace", "--trailer", &trailer, &message];
        git(&std::env::current_dir()?, &args)?;
    }
    output.show(&json!({ "trailer": TRAILER, "value": value }), |_| format!("{TRAILER}: {value}"));
    Ok(ExitCode::SUCCESS)
}

/// `ORIGIN SIZE ROOT SIGNATURE` of a signed note with one signature.
fn on_one_line(note: &str) -> Option<String> {
    let mut lines = note.lines();
    let (origin, size, root, blank) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    let signature = lines.next()?.rsplit(' ').next()?;
    blank.is_empty().then(|| format!("{origin} {size} {root} {signature}"))
}

/// The signed note of a trailer's value.
fn note_of(value: &str) -> Result<SignedCheckpoint, String> {
    let words: Vec<&str> = value.split(' ').collect();
    let [origin, size, root, signature] = words.as_slice() else {
        return Err("it has not four words".to_owned());
    };
    let note = format!("{origin}\n{size}\n{root}\n\n\u{2014} {origin} {signature}\n");
    SignedCheckpoint::parse(note.as_bytes()).map_err(|error| error.to_string())
}

/// What a commit says of the log.
struct Witness {
    commit: String,
    checkpoint: SignedCheckpoint,
}

/// Compares the checkpoints in all commits of the repository with the log, which has the keys `keys`. Returns how many
/// agree, and what does not.
pub(super) fn compare(root: &Path, state_dir: &Path, keys: &[KeyId]) -> Result<(u64, Vec<Problem>), Failure> {
    let mut problems = Vec::new();
    let mut by_size: BTreeMap<u64, Vec<Witness>> = BTreeMap::new();
    let format = format!("--format=%H %(trailers:key={TRAILER},valueonly,separator=%x20)");
    for line in git(root, &["log", "--all", &format])?.lines() {
        let Some((commit, value)) = line.split_once(' ').filter(|(_, value)| !value.is_empty()) else {
            continue;
        };
        match note_of(value.trim()) {
            Ok(checkpoint) => {
                let witness = Witness { commit: commit.to_owned(), checkpoint };
                by_size.entry(witness.checkpoint.unverified().size).or_default().push(witness);
            }
            Err(why) => problems.push(problem(root, commit, &format!("the trailer is no checkpoint: {why}"))),
        }
    }
    let mut agreeing = 0;
    let mut tree = Frontier::new();
    let mut check = |tree: &Frontier, witnesses: Vec<Witness>| {
        for witness in witnesses {
            match disagreement(tree, &witness.checkpoint, keys) {
                None => agreeing += 1,
                Some(what) => problems.push(problem(root, &witness.commit, &what)),
            }
        }
    };
    for entry in libostk::records(state_dir)? {
        tree.push(leaf_hash(&entry?.line));
        if let Some(witnesses) = by_size.remove(&tree.size()) {
            check(&tree, witnesses);
        }
    }
    for witnesses in by_size.into_values() {
        check(&tree, witnesses);
    }
    Ok((agreeing, problems))
}

fn disagreement(tree: &Frontier, signed: &SignedCheckpoint, keys: &[KeyId]) -> Option<String> {
    let checkpoint = signed.unverified();
    if checkpoint.size != tree.size() {
        return Some(format!("the log had {} records then and has {} now", checkpoint.size, tree.size()));
    }
    if checkpoint.root != tree.root() {
        return Some(format!("the first {} records are not those of then", checkpoint.size));
    }
    let signs =
        |key: &KeyId| VerifierKey::new(&checkpoint.origin, *key).is_ok_and(|key| signed.verify(&key).is_ok());
    (!keys.iter().any(signs)).then(|| "no key of the log signed it".to_owned())
}

fn problem(root: &Path, commit: &str, what: &str) -> Problem {
    let what = format!("commit {commit} bears witness: {what}");
    Problem { seq: None, file: PathBuf::from(root).join(".git"), offset: 0, what }
}
