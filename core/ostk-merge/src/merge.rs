//! Three-way merge by lines: finds both sides' changes against the base, and applies them together if they are apart.
//!
//! The binding rule: what `git merge-file` resolves is resolved here to the same bytes or not at all, and what git
//! calls a conflict is never [`Outcome::Clean`]. It holds because the changes are found by git's own rules (`diff`)
//! and because more distance is asked for: git merges changes with one unchanged line between them.

use std::ops::Range;

use crate::diff::hunks;
use crate::lines::{Interner, Text, count_lines};
use crate::outcome::{ChangedRegion, ManualReason, Outcome, Region, Who};
use crate::plan::{Change, close_groups, in_order};
use crate::{ASSISTED_BELOW_LINES, MAX_ASSISTED_REGIONS, MAX_BYTES, MAX_LINES};

/// Merges what happened between `base` and `current` with what happened between `base` and `proposed`.
///
/// Lines keep their terminators, so CRLF, mixed line ends and a missing last newline come out byte for byte. If
/// `current` equals `base` the answer is `proposed` as it is, whatever its kind or size.
#[must_use]
pub fn merge(base: &[u8], current: &[u8], proposed: &[u8]) -> Outcome {
    if proposed == base || proposed == current {
        return Outcome::Unchanged;
    }
    let refused = refusal([base, current, proposed]);
    match refused {
        Some(_) if current == base => Outcome::Clean { bytes: proposed.to_vec(), regions: Vec::new() },
        Some(reason) => Outcome::Manual { reason },
        None => merge_text(base, current, proposed),
    }
}

/// Takes back the change from `before` to `after` in a file that has moved on to `current`: the merge of `current` with
/// a proposal to go from `after` to `before`. [`Outcome::Unchanged`] if the change is no longer there.
#[must_use]
pub fn revert(before: &[u8], after: &[u8], current: &[u8]) -> Outcome {
    merge(after, current, before)
}

fn refusal(versions: [&[u8]; 3]) -> Option<ManualReason> {
    if versions.iter().any(|bytes| bytes.len() > MAX_BYTES) {
        return Some(ManualReason::TooLarge);
    }
    if versions.iter().any(|bytes| is_binary(bytes)) {
        return Some(ManualReason::Binary);
    }
    // A file that could not reach the limit if each line were one byte long need not be counted.
    let long = |bytes: &[u8]| bytes.len() > MAX_LINES && count_lines(bytes) > MAX_LINES;
    versions.iter().any(|bytes| long(bytes)).then_some(ManualReason::TooLarge)
}

/// How much of a file git looks at to call it binary (`FIRST_FEW_BYTES` in its `xdiff-interface.c`).
const BINARY_PROBE: usize = 8000;

fn is_binary(bytes: &[u8]) -> bool {
    memchr::memchr(0, bytes.get(..BINARY_PROBE).unwrap_or(bytes)).is_some()
}

fn merge_text(base: &[u8], current: &[u8], proposed: &[u8]) -> Outcome {
    let mut interner = Interner::default();
    let base = interner.read(base);
    let current = interner.read_version(&base, current);
    let proposed = interner.read_version(&base, proposed);
    let ours = hunks(&base.tokens, &current.tokens, interner.distinct());
    let theirs = hunks(&base.tokens, &proposed.tokens, interner.distinct());
    let changes = in_order((&current, &ours), (&proposed, &theirs));
    let groups = close_groups(&changes);
    let mut weave = Weave::new(&base, &current, &proposed);
    weave.all(&changes, &groups);
    weave.finish()
}

/// The merge under construction. `base_line`, `current_line` and `proposed_line` say how far each version is used up.
struct Weave<'a> {
    base: &'a Text<'a>,
    current: &'a Text<'a>,
    proposed: &'a Text<'a>,
    base_line: usize,
    current_line: usize,
    proposed_line: usize,
    bytes: Vec<u8>,
    line: usize,
    changed: Vec<ChangedRegion>,
    regions: Vec<Region>,
    changed_lines: usize,
}

impl<'a> Weave<'a> {
    fn new(base: &'a Text<'a>, current: &'a Text<'a>, proposed: &'a Text<'a>) -> Self {
        let capacity = current.lines.bytes.len().max(proposed.lines.bytes.len()) + 256;
        Self {
            base,
            current,
            proposed,
            base_line: 0,
            current_line: 0,
            proposed_line: 0,
            bytes: Vec::with_capacity(capacity),
            line: 0,
            changed: Vec::new(),
            regions: Vec::new(),
            changed_lines: 0,
        }
    }

    fn all(&mut self, changes: &[Change], groups: &[Range<usize>]) {
        let mut done = 0;
        for group in groups {
            self.each(changes.get(done..group.start).unwrap_or_default());
            self.group(changes.get(group.clone()).unwrap_or_default());
            done = group.end;
        }
        self.each(changes.get(done..).unwrap_or_default());
        self.unchanged_until(self.base.lines.count());
    }

    fn each(&mut self, changes: &[Change]) {
        for change in changes {
            self.unchanged_until(change.base.start);
            self.single(change);
        }
    }

    fn unchanged_until(&mut self, base_line: usize) {
        let lines = self.base_line..base_line;
        self.current_line += lines.len();
        self.proposed_line += lines.len();
        self.base_line = base_line;
        self.take(self.base, lines);
    }

    fn take(&mut self, text: &Text<'_>, lines: Range<usize>) {
        if lines.is_empty() {
            return;
        }
        // Only where both sides end the file without newline, which is never clean: they changed the same last line.
        if self.bytes.last().is_some_and(|&last| last != b'\n') {
            self.bytes.extend_from_slice(newline_of(&self.bytes));
        }
        self.line += lines.len();
        self.bytes.extend_from_slice(text.lines.slice(lines));
    }

    fn single(&mut self, change: &Change) {
        let from = self.line;
        let text = if change.who == Who::Proposed { self.proposed } else { self.current };
        self.take(text, change.side.clone());
        self.changed.push(ChangedRegion { who: change.who, lines: from..self.line });
        self.pass(change);
    }

    /// Counts a change as used up in all versions.
    fn pass(&mut self, change: &Change) {
        let (old, new) = (change.base.len(), change.side.len());
        let (current, proposed) = match change.who {
            Who::Current => (new, old),
            Who::Proposed => (old, new),
            Who::Both => (new, new),
        };
        self.current_line += current;
        self.proposed_line += proposed;
        self.base_line = change.base.end;
    }

    /// Changes of both sides that come close. If they touch and both sides read the same it is one change; else the
    /// candidate gets them all, and the place is noted.
    fn group(&mut self, changes: &[Change]) {
        let Some(first) = changes.first() else { return };
        self.unchanged_until(first.base.start);
        let from = (self.base_line, self.current_line, self.proposed_line, self.line);
        let bytes_before = self.bytes.len();
        let changed_before = self.changed.len();
        let overlapping = self.overlapping_runs(changes);
        let region = Region {
            base: from.0..self.base_line,
            current: from.1..self.current_line,
            proposed: from.2..self.proposed_line,
            candidate: from.3..self.line,
            overlapping,
        };
        let ours = self.current.tokens_in(region.current.clone());
        let theirs = self.proposed.tokens_in(region.proposed.clone());
        // Where unchanged lines lie between, git compares the pieces one by one and may find a conflict.
        if ours == theirs && is_one_piece(changes) {
            self.bytes.truncate(bytes_before);
            self.changed.truncate(changed_before);
            self.line = from.3;
            self.take(self.current, region.current);
            self.changed.push(ChangedRegion { who: Who::Both, lines: from.3..self.line });
        } else {
            self.changed_lines += changes.iter().map(Change::size).sum::<usize>();
            self.regions.push(region);
        }
    }

    /// Applies the changes of a group; of those that overlap, the proposed lines. Says whether any did.
    fn overlapping_runs(&mut self, changes: &[Change]) -> bool {
        let mut rest = changes;
        let mut overlapping = false;
        while let Some(first) = rest.first() {
            self.unchanged_until(first.base.start);
            let (run, end) = overlapping_run(rest, first.base.end);
            match rest.get(..run).unwrap_or_default() {
                [only] => self.single(only),
                several => {
                    overlapping = true;
                    self.proposed_wins(several, end);
                }
            }
            rest = rest.get(run..).unwrap_or_default();
        }
        overlapping
    }

    fn proposed_wins(&mut self, changes: &[Change], base_end: usize) {
        let base_start = self.base_line;
        let length = |side: &[Who]| {
            let of_side = || changes.iter().filter(|change| side.contains(&change.who));
            let replaced: usize = of_side().map(|change| change.base.len()).sum();
            let replacing: usize = of_side().map(|change| change.side.len()).sum();
            (base_end - base_start + replacing).saturating_sub(replaced)
        };
        let current = length(&[Who::Current, Who::Both]);
        let proposed = length(&[Who::Proposed, Who::Both]);
        let from = self.line;
        self.take(self.proposed, self.proposed_line..self.proposed_line + proposed);
        self.changed.push(ChangedRegion { who: Who::Proposed, lines: from..self.line });
        self.current_line += current;
        self.proposed_line += proposed;
        self.base_line = base_end;
    }

    fn finish(self) -> Outcome {
        let (regions, changed_lines) = (self.regions.len(), self.changed_lines);
        if regions > MAX_ASSISTED_REGIONS || (regions > 0 && changed_lines >= ASSISTED_BELOW_LINES) {
            Outcome::Manual { reason: ManualReason::TooManyRegions { regions, changed_lines } }
        } else if regions > 0 {
            Outcome::Assisted { candidate: self.bytes, regions: self.regions }
        } else if self.bytes == self.current.lines.bytes {
            Outcome::Unchanged
        } else {
            Outcome::Clean { bytes: self.bytes, regions: self.changed }
        }
    }
}

/// The line end of the first line that has one.
fn newline_of(bytes: &[u8]) -> &'static [u8] {
    let first = memchr::memchr(b'\n', bytes).and_then(|end| bytes.get(..end));
    if first.is_some_and(|line| line.ends_with(b"\r")) { b"\r\n" } else { b"\n" }
}

/// No unchanged line lies between the changes.
fn is_one_piece(changes: &[Change]) -> bool {
    let mut end = changes.first().map_or(0, |first| first.base.start);
    changes.iter().all(|change| {
        let touches = change.base.start <= end;
        end = end.max(change.base.end);
        touches
    })
}

/// How many changes from the first on share base lines, and where the last of them ends.
fn overlapping_run(changes: &[Change], first_end: usize) -> (usize, usize) {
    let mut end = first_end;
    let more = changes.iter().skip(1).take_while(|change| {
        let inside = change.base.start < end;
        end = if inside { end.max(change.base.end) } else { end };
        inside
    });
    let run = 1 + more.count();
    (run, end)
}
