//! Three-way merge, targeted edits, line history: pure functions over file versions.
//!
//! [`merge`] decides what becomes of a write that was based on an older version, [`revert`] takes a change back,
//! [`edit()`] replaces text that must be found exactly, [`blame`] says which version brought a line, [`unified_diff`] and
//! [`changed_line_ranges`] show changes. Lines are those of git: ended by `\n`, compared byte for byte, terminators
//! included. No I/O and no state; the kernel calls it with bytes it holds.

mod blame;
mod diff;
mod edit;
mod lines;
mod merge;
mod myers;
mod outcome;
mod plan;
mod unified;

pub use blame::blame;
pub use edit::{EditError, Edited, MAX_LISTED_MATCHES, NearestLine, edit};
pub use merge::{merge, revert};
pub use outcome::{ChangedRegion, ManualReason, Outcome, Region, Who};
pub use unified::{MAX_DIFF_BYTES, MAX_DIFF_LINE_BYTES, changed_line_ranges, unified_diff};

/// Changes of two sides with at most this many unchanged lines between them are not merged without asking (Hot PR
/// constant of the ostk specification, section 2.1).
pub const PROXIMITY_LINES: usize = 3;

/// A merge is offered as [`Outcome::Assisted`] only below this many changed lines (`TIER2_MAX_CHANGED_LINES`).
pub const ASSISTED_BELOW_LINES: usize = 30;

/// A merge is offered as [`Outcome::Assisted`] in at most this many regions (`TIER2_MAX_CONFLICT_REGIONS`).
pub const MAX_ASSISTED_REGIONS: usize = 2;

/// The largest version that is merged line by line, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// The longest version that is merged line by line, in lines.
pub const MAX_LINES: usize = 200_000;
