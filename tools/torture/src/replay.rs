//! The fold of the log, by the kernel's own code: what a daemon that starts now would know.
//!
//! This is the one place that asks the kernel; the checker does not.

use std::path::Path;

use anyhow::{Context, Result};
use ostk_kernel::State;
use ostk_log::Draft;

/// Digest of the state after the first `count` records.
pub(crate) fn state_hash(state_dir: &Path, count: u64) -> Result<String> {
    let mut state = State::default();
    for entry in libostk::records(state_dir)?.take(usize::try_from(count)?) {
        let record = entry?.record().context("a record")?;
        let draft = Draft {
            seq: record.seq,
            ts: record.ts,
            epoch: record.epoch,
            actor: record.actor,
            event: record.event,
            body: record.body,
        };
        ostk_kernel::fold(&mut state, &draft)?;
    }
    Ok(state.hash().to_string())
}
