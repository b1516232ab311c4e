//! Which changes come close: puts the hunks of the two sides in order, pairs equal ones, groups those that are near
//! each other. `merge` turns the plan into bytes; nothing here looks at bytes.

use std::cmp::Ordering;
use std::ops::Range;

use crate::PROXIMITY_LINES;
use crate::diff::Hunk;
use crate::lines::Text;
use crate::outcome::Who;

/// One change against the base.
pub(crate) struct Change {
    pub(crate) who: Who,
    pub(crate) base: Range<usize>,
    /// The new lines: in the proposed version for [`Who::Proposed`], else in the current one.
    pub(crate) side: Range<usize>,
}

impl Change {
    fn new(who: Who, hunk: &Hunk) -> Self {
        Self { who, base: hunk.before.clone(), side: hunk.after.clone() }
    }

    pub(crate) fn size(&self) -> usize {
        self.base.len().max(self.side.len())
    }
}

/// All changes in the order of the base; of two at the same place the current side's comes first.
pub(crate) fn in_order(current: (&Text<'_>, &[Hunk]), proposed: (&Text<'_>, &[Hunk])) -> Vec<Change> {
    let mut changes = Vec::with_capacity(current.1.len() + proposed.1.len());
    let (mut ours, mut theirs) = (current.1.iter().peekable(), proposed.1.iter().peekable());
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) if is_same((current.0, a), (proposed.0, b)) => Ordering::Equal,
            (Some(a), Some(b)) => place(a).cmp(&place(b)).then(Ordering::Less),
        };
        let ours = if order.is_le() { ours.next() } else { None };
        let theirs = if order.is_ge() { theirs.next() } else { None };
        changes.extend(match (ours, theirs) {
            (Some(hunk), Some(_)) => Some(Change::new(Who::Both, hunk)),
            (Some(hunk), None) => Some(Change::new(Who::Current, hunk)),
            (None, hunk) => hunk.map(|hunk| Change::new(Who::Proposed, hunk)),
        });
    }
}

fn place(hunk: &Hunk) -> (usize, usize) {
    (hunk.before.start, hunk.before.end)
}

fn is_same(current: (&Text<'_>, &Hunk), proposed: (&Text<'_>, &Hunk)) -> bool {
    let ((ours, a), (theirs, b)) = (current, proposed);
    a.before == b.before && ours.tokens_in(a.after.clone()) == theirs.tokens_in(b.after.clone())
}

/// Groups of changes, as ranges of indices, in which a change of one side has at most [`PROXIMITY_LINES`] unchanged
/// lines to one of the other side. In order and disjoint.
pub(crate) fn close_groups(changes: &[Change]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut seen = [Vec::new(), Vec::new()];
    for (index, change) in changes.iter().enumerate() {
        let [current, proposed] = &mut seen;
        let (own, other) = match change.who {
            Who::Current => (current, proposed),
            Who::Proposed => (proposed, current),
            Who::Both => continue,
        };
        own.push((index, change.base.end));
        let Some(first) = first_close(other, change.base.start) else { continue };
        let mut group = first..index + 1;
        while let Some(earlier) = groups.pop_if(|earlier| earlier.end > group.start) {
            group.start = group.start.min(earlier.start);
        }
        groups.push(group);
    }
    groups
}

/// The first of the other side's changes so far, given as (index, end), that is close to a change at `start`. Changes of
/// one side do not overlap, so the search backwards may stop at the first that is not close.
fn first_close(other: &[(usize, usize)], start: usize) -> Option<usize> {
    let close = other.iter().rev().take_while(|(_, end)| start <= end + PROXIMITY_LINES);
    close.last().map(|(index, _)| *index)
}
