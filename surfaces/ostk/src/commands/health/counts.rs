//! How much there is: agents, files, conflicts, refusals. From the daemon if one answers, else by folding the log.

use std::path::Path;

use ostk_kernel::{LineageState, State};
use ostk_log::Draft;
use serde_json::{Value, json};

use super::daemon::Daemon;
use crate::record;

/// A log larger than this is not folded for a screen: that would take longer than a second.
const MAX_FOLD_BYTES: u64 = 64 << 20;

/// The counts, or null when the log is too large or cannot be folded.
pub(crate) fn counts(state_dir: &Path, daemon: &Daemon) -> Value {
    match &daemon.status {
        Some(status) => json!({ "records": status["next_seq"], "lineages": status["lineages"],
            "running": status["running"], "files": status["files"], "writes": status["counts"]["writes"],
            "merged": status["counts"]["merged"], "open_conflicts": status["conflicts"],
            "conflicts": status["counts"]["conflicts"], "denied": status["counts"]["denied"] }),
        None => folded(state_dir).map_or(Value::Null, |state| of(&state)),
    }
}

fn of(state: &State) -> Value {
    let running = state.lineages.values().filter(|lineage| lineage.state == LineageState::Running).count();
    json!({ "records": state.next_seq, "lineages": state.lineages.len(), "running": running,
        "files": state.files.len(), "writes": state.counts.writes, "merged": state.counts.merged,
        "open_conflicts": state.conflicts.len(), "conflicts": state.counts.conflicts, "denied": state.counts.denied })
}

fn folded(state_dir: &Path) -> Option<State> {
    if log_bytes(state_dir) > MAX_FOLD_BYTES {
        return None;
    }
    let mut state = State::default();
    for entry in libostk::records(state_dir).ok()? {
        let record = record::parse(&entry.ok()?).ok()?;
        let (seq, ts, epoch) = (record.seq, record.ts, record.epoch);
        let draft = Draft { seq, ts, epoch, actor: record.actor, event: record.event, body: record.body };
        ostk_kernel::fold(&mut state, &draft).ok()?;
    }
    Some(state)
}

/// Size of all segments.
pub(crate) fn log_bytes(state_dir: &Path) -> u64 {
    let closed = std::fs::read_dir(state_dir.join("journal")).into_iter().flatten().flatten();
    let closed: u64 = closed.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum();
    closed + std::fs::metadata(state_dir.join("journal.jsonl")).map_or(0, |metadata| metadata.len())
}
