//! `ostk init --client`: the entries of ostk in a coding agent's settings. What is written is `ostk_daemon::hooks`'s.

use std::path::Path;

use ostk_daemon::hooks::{self, Client, Done as Change, SetupError, Step};

use crate::{
    args::{ClientKind, Init},
    failure::Failure,
};

/// Sets up the clients that `args` names, or takes their set-up out again.
pub(super) fn set_up(root: &Path, args: &Init) -> Result<Vec<Step>, Failure> {
    let act = if args.uninstall { hooks::uninstall } else { hooks::install };
    let mut steps = Vec::new();
    for kind in &args.client {
        steps.extend(act(root, client(*kind)).map_err(failure)?);
    }
    Ok(steps)
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
