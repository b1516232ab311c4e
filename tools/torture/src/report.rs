//! What a run comes to, as JSON.

use serde::Serialize;

/// How much of everything there was.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Calls with an effect that were answered with success.
    pub acknowledged: u64,
    /// Acknowledged lines that are missing.
    pub lost: u64,
    /// Lines that are there more often than asked for, or although nobody was told that they would be.
    pub duplicated: u64,
    /// Lines that a write removed although its caller had not asked for it.
    pub overwritten: u64,
    /// Conflicts that were handed back.
    pub conflicts: u64,
    /// Conflicts whose candidate was accepted.
    pub accepted: u64,
    /// Writes into which another writer's change was merged.
    pub merged: u64,
    /// Changes made outside the kernel that the log holds.
    pub foreign: u64,
    /// Calls whose end nobody can know.
    pub unknown: u64,
    /// Calls that were repeated after their connection broke.
    pub repeated: u64,
    /// Daemons that were killed.
    pub kills: u64,
    /// Clients that were killed.
    pub clients_killed: u64,
    /// Daemons that were started after the first.
    pub restarts: u64,
    /// Records in the log.
    pub records: u64,
}

/// What a run found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Makes the same choices again.
    pub seed: u64,
    /// Wall clock of the run and its check.
    pub elapsed_ms: u64,
    /// How much of everything there was.
    #[serde(flatten)]
    pub counts: Counts,
    /// What is wrong, at most [`Report::MAX_PROBLEMS`] of it.
    pub problems: Vec<String>,
    /// Problems that were found, listed or not.
    pub problem_count: u64,
    /// Where the repository was left, if it was to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

impl Report {
    /// One bug can show in every file; beyond this the list explains nothing more.
    pub const MAX_PROBLEMS: usize = 200;

    /// Adds a problem.
    pub fn wrong(&mut self, what: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < Self::MAX_PROBLEMS {
            self.problems.push(what.into());
        }
    }
}
