//! Named places on the write path where a test can stop the process. In production the hook is absent.

use std::sync::Arc;

/// Called with a name of [`FAILPOINTS`] each time the write path passes it; a test aborts the process there.
pub type Failpoint = Arc<dyn Fn(&'static str) + Send + Sync>;

/// The boundaries of the write path, in the order of a group and then of a rotation.
pub const FAILPOINTS: &[&str] = &[
    "group.sealed",
    "pack.written",
    "journal.half_written",
    "journal.written",
    "pack.synced",
    "journal.synced",
    "tiles.written",
    "checkpoint.written",
    "checkpoint.renamed",
    "group.reported",
    "rotate.renamed",
    "rotate.synced",
    "rotate.created",
];

/// The hook, or its absence.
#[derive(Clone, Default)]
pub(crate) struct Failpoints(pub(crate) Option<Failpoint>);

impl Failpoints {
    /// The write path is at `name`.
    pub(crate) fn at(&self, name: &'static str) {
        debug_assert!(FAILPOINTS.contains(&name), "{name} is not in the list");
        if let Some(hook) = &self.0 {
            hook(name);
        }
    }

    /// Whether anyone listens.
    pub(crate) fn armed(&self) -> bool {
        self.0.is_some()
    }
}
