//! What a merge answers: the types only. `merge` decides which one it is.
//!
//! Line numbers count from 0 and ranges are half-open, so an empty range names the place between two lines.

use std::ops::Range;

/// The answer of [`merge`](crate::merge) and [`revert`](crate::revert).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The proposed version adds nothing over the current one: there is nothing to write.
    Unchanged,
    /// Both sides' changes are in `bytes`; they are far enough apart to apply without asking.
    Clean {
        /// The merged file.
        bytes: Vec<u8>,
        /// Each change against the base and who made it, in the order of the file. Empty if the proposed version was
        /// taken whole because nobody else had changed the file, and it is not text or beyond the limits.
        regions: Vec<ChangedRegion>,
    },
    /// The changes are close, touch or overlap, and are small. Nothing should be written before somebody agrees.
    Assisted {
        /// The best merge, ready to be accepted, without conflict markers. Changes with a line between them and
        /// changes that merely touch are both in it, the current side first where both insert at one place. Where
        /// they overlap it has the proposed lines, and the region says so.
        candidate: Vec<u8>,
        /// The places to look at, in the order of the file; at most [`MAX_ASSISTED_REGIONS`](crate::MAX_ASSISTED_REGIONS).
        regions: Vec<Region>,
    },
    /// Too much to merge for anyone but the author of the proposed version.
    Manual {
        /// Why.
        reason: ManualReason,
    },
}

/// Who made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// The current version has it, the proposed one does not.
    Current,
    /// The proposed version has it, the current one does not.
    Proposed,
    /// Both versions made the same change.
    Both,
}

/// One change in a clean merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRegion {
    /// Who made the change.
    pub who: Who,
    /// The changed lines in the merged file; empty where lines were only deleted.
    pub lines: Range<usize>,
}

/// A place where the changes of the two sides come close, with the unchanged lines between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The lines in the base.
    pub base: Range<usize>,
    /// The lines in the current version.
    pub current: Range<usize>,
    /// The lines in the proposed version.
    pub proposed: Range<usize>,
    /// The lines in the candidate.
    pub candidate: Range<usize>,
    /// Both sides changed the same lines, and the candidate has those of the proposed version. What the current
    /// version had there is lost if the candidate is accepted.
    pub overlapping: bool,
}

/// Why a merge was not attempted or not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManualReason {
    /// One of the versions is not text: it has a NUL byte in its first 8,000 bytes, the rule of git.
    #[error("a version of the file is binary")]
    Binary,
    /// One of the versions has more than [`MAX_BYTES`](crate::MAX_BYTES) bytes or [`MAX_LINES`](crate::MAX_LINES) lines.
    #[error("a version of the file is too large to merge line by line")]
    TooLarge,
    /// The changes come close in more than [`MAX_ASSISTED_REGIONS`](crate::MAX_ASSISTED_REGIONS) regions, or in
    /// [`ASSISTED_BELOW_LINES`](crate::ASSISTED_BELOW_LINES) or more changed lines.
    #[error("the changes come close in {regions} regions with {changed_lines} changed lines")]
    TooManyRegions {
        /// Regions in which the changes come close.
        regions: usize,
        /// The sizes of the changes in them, added up over both sides; a change of m lines into n counts as the
        /// larger of the two.
        changed_lines: usize,
    },
}
