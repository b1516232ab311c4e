//! The fold of the log, by the kernel's own code: what a daemon that starts now would know.
//!
//! This is the one place that asks the kernel; the checker does not.

use std::path::Path;

use anyhow::Result;
use ostk_kernel::State;

/// Digest of the state after the first `count` records.
pub(crate) fn state_hash(state_dir: &Path, count: u64) -> Result<String> {
    let mut state = State::default();
    for entry in libostk::records(state_dir)?.take(usize::try_from(count)?) {
        ostk_kernel::fold_line(&mut state, &entry?.line)?;
    }
    Ok(state.hash().to_string())
}
