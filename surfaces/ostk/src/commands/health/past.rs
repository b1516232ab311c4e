//! What the log says has happened: a fold of all of it, read from the files, as the daemon does at its start.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ostk_kernel::{Allowance, LineageState, State, TrustedKeys};
use ostk_log::{Hash, Timestamp};
use serde_json::{Value, json};

use super::check::Check;
use crate::record;

/// A log larger than this is not folded for a screen: that would take longer than a second or two.
const MAX_FOLD_BYTES: u64 = 64 << 20;

/// The folded log.
pub(crate) struct Past {
    state: State,
    /// Version of the daemon that started last.
    pub(crate) version: Option<String>,
}

/// The keys that the log speaks of; none when it cannot be folded.
pub(crate) fn keys_of_log(state_dir: &Path) -> TrustedKeys {
    Past::read(state_dir).map(|past| past.state.trust).unwrap_or_default()
}

impl Past {
    /// None when the log is too large, or is not whole; another check says where.
    pub(crate) fn read(state_dir: &Path) -> Option<Self> {
        if log_bytes(state_dir) > MAX_FOLD_BYTES {
            return None;
        }
        let (mut state, mut version) = (State::default(), None);
        for entry in libostk::records(state_dir).ok()? {
            let entry = entry.ok()?;
            if record::header(&entry).ok()?.event == "anchor.started" {
                let started = record::parse(&entry).ok()?;
                version = started.body.get("version").and_then(Value::as_str).map(str::to_owned);
            }
            ostk_kernel::fold_line(&mut state, &entry.line).ok()?;
        }
        Some(Self { state, version })
    }

    /// Fingerprint of the policy that was loaded last.
    pub(crate) fn policy(&self) -> Option<Hash> {
        self.state.policy.map(|(fingerprint, _)| fingerprint)
    }

    /// How the day's budget stands.
    pub(crate) fn budget(&self) -> Check {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        let spending = &self.state.spending;
        match spending.warnings(now).as_slice() {
            [] if spending.allowance() == Allowance::default() => {
                Check::pass("budget", "no limit for the day; [budget] in .ostk/ostk.toml sets one")
            }
            [] => Check::pass("budget", "less than 85 % of what the day allows is spent"),
            near => {
                let remedy = "raise it in .ostk/ostk.toml ([budget]), then: ostk call policy.reload";
                Check::warn("budget", near.join("\n"), remedy)
            }
        }
    }

    pub(crate) fn counts(&self) -> Value {
        let state = &self.state;
        let running =
            state.lineages.values().filter(|lineage| lineage.state == LineageState::Running).count();
        json!({ "records": state.next_seq, "lineages": state.lineages.len(), "running": running,
            "files": state.files.len(), "writes": state.counts.writes, "merged": state.counts.merged,
            "open_conflicts": state.conflicts.len(), "conflicts": state.counts.conflicts,
            "denied": state.counts.denied })
    }
}

/// Size of all segments.
fn log_bytes(state_dir: &Path) -> u64 {
    let closed = std::fs::read_dir(state_dir.join("journal")).into_iter().flatten().flatten();
    let closed: u64 = closed.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum();
    closed + std::fs::metadata(state_dir.join("journal.jsonl")).map_or(0, |metadata| metadata.len())
}
