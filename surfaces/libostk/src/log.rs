//! The log without a daemon: read it, follow it, check it. The state folder is the project's `.ostk/`.
//!
//! Everything here works beside a running daemon and after its end, takes no lock and writes nothing.

use std::path::Path;

use ostk_journal::{ReadError, Reader, Report, Tail};
use ostk_log::{Checkpoint, SignedCheckpoint};

/// Every record of the log in order, each checked to continue the one before. Signatures are not checked: see
/// [`verify`].
///
/// # Errors
/// When a folder or file cannot be read. A record that does not continue the log is an error of the iterator.
pub fn records(state_dir: &Path) -> Result<Reader, ReadError> {
    Reader::open(state_dir)
}

/// As [`records`], from record `seq` on.
///
/// # Errors
/// As [`records`].
pub fn records_from(state_dir: &Path, seq: u64) -> Result<Reader, ReadError> {
    Reader::open_at(state_dir, seq)
}

/// Follows the log from record `seq` on: each durable record once, in order, across rotation and restarts. The log
/// need not exist yet.
pub fn tail(state_dir: &Path, seq: u64) -> Tail {
    Tail::new(state_dir, seq)
}

/// Checks chain, tree head and packs of the log; with `deep` every signature, blob and tile too.
///
/// # Errors
/// When something cannot be read. What is wrong with what was read is in the report.
pub fn verify(state_dir: &Path, deep: bool) -> Result<Report, ReadError> {
    ostk_journal::verify(state_dir, deep)
}

/// The tree head that the log publishes, if it does. Whether it is signed by the right key and fits the records is
/// what [`verify`] tells.
pub fn published(state_dir: &Path) -> Option<Checkpoint> {
    let text = std::fs::read(state_dir.join("log/checkpoint")).ok()?;
    SignedCheckpoint::parse(&text).ok().map(|signed| signed.unverified().clone())
}
