//! `ostk init --client`: the entries of ostk in a coding agent's settings. What is written is `ostk_daemon::hooks`'s.

use std::path::Path;

use ostk_daemon::hooks::{self, Client, Done as Change, SetupError, Step};

use crate::{args::ClientKind, failure::Failure};

/// Sets these clients up.
pub(super) fn install(root: &Path, kinds: &[ClientKind]) -> Result<Vec<Step>, Failure> {
    each(kinds, |kind| hooks::install(root, kind))
}

/// Takes their set-up out again.
pub(super) fn uninstall(root: &Path, kinds: &[ClientKind]) -> Result<Vec<Step>, Failure> {
    each(kinds, |kind| hooks::uninstall(root, kind))
}

fn each(
    kinds: &[ClientKind],
    act: impl Fn(Client) -> Result<Vec<Step>, SetupError>,
) -> Result<Vec<Step>, Failure> {
    let steps: Result<Vec<_>, _> = kinds.iter().map(|kind| act(client(*kind))).collect();
    Ok(steps.map_err(failure)?.into_iter().flatten().collect())
}

/// A line for people.
pub(super) fn describe(step: &Step) -> String {
    let path = &step.path;
    match step.done {
        // Before that it passes them over without a word.
        Change::Added if path == ".codex/hooks.json" => {
            format!("{path}: ostk added; Codex runs hooks once you have looked at them (/hooks)")
        }
        Change::Added => format!("{path}: ostk added"),
        Change::Unchanged => format!("{path}: ostk is there already"),
        Change::Removed => format!("{path}: ostk removed"),
        Change::Restored => format!("{path}: as it was before ostk"),
        Change::Kept => format!("{path}: the entry was changed by hand and stays; remove it yourself"),
    }
}

const fn client(kind: ClientKind) -> Client {
    match kind {
        ClientKind::Claude => Client::Claude,
        ClientKind::Codex => Client::Codex,
        ClientKind::Cursor => Client::Cursor,
    }
}

fn failure(error: SetupError) -> Failure {
    let hint = match &error {
        SetupError::Content { .. } => "nothing was changed; correct the file and repeat the command",
        SetupError::Io { .. } => "correct what the system says and repeat the command",
    };
    Failure::check(error).hint(hint)
}
