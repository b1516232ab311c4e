//! From two token sequences to the list of changed stretches ("hunks").
//!
//! Three steps, each of which must agree with git for a merge to agree: set aside lines that cannot or should not be
//! matched, find the shortest edit script of the rest (`myers`), and move each hunk to its customary place where it
//! could slide. The rules are those of git 2.47 `xdiff`, written anew. Called by `merge`, `blame` and `unified`.

use std::ops::Range;

use crate::lines::Token;
use crate::myers::{changed_tokens, common_ends};

/// Lines `before` of the old version became lines `after` of the new one. One of the two may be empty, never both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hunk {
    pub(crate) before: Range<usize>,
    pub(crate) after: Range<usize>,
}

/// The hunks between two versions, in order; at least one unchanged line lies between two of them. `distinct` is an
/// upper bound of the tokens.
pub(crate) fn hunks(before: &[Token], after: &[Token], distinct: usize) -> Vec<Hunk> {
    let (head, tail) = common_ends(before, after);
    let inner = |tokens: &[Token]| head..tokens.len() - tail;
    let (inner_before, inner_after) = (inner(before), inner(after));
    let mut removed = vec![false; before.len()];
    let mut added = vec![false; after.len()];
    if inner_before.is_empty() || inner_after.is_empty() {
        removed.get_mut(inner_before).unwrap_or_default().fill(true);
        added.get_mut(inner_after).unwrap_or_default().fill(true);
    } else {
        let kept_before = Kept::choose(before, inner_before, &count(after, distinct), &mut removed);
        let kept_after = Kept::choose(after, inner_after, &count(before, distinct), &mut added);
        let (inner_removed, inner_added) = changed_tokens(&kept_before.tokens, &kept_after.tokens);
        kept_before.mark(&inner_removed, &mut removed);
        kept_after.mark(&inner_added, &mut added);
    }
    settle(before, &mut removed, &added);
    settle(after, &mut added, &removed);
    collect(&removed, &added)
}

fn count(tokens: &[Token], distinct: usize) -> Vec<u32> {
    let mut counts = vec![0; distinct];
    for &token in tokens {
        if let Some(count) = counts.get_mut(token as usize) {
            *count += 1;
        }
    }
    counts
}

#[derive(Clone, Copy, PartialEq)]
enum Matches {
    None,
    Some,
    /// So often in the other file that a match says little: blank lines, closing braces.
    Many,
}

/// The lines that take part in the search, and where they are in the file.
struct Kept {
    tokens: Vec<Token>,
    places: Vec<usize>,
}

impl Kept {
    /// Marks the lines of `inner` that stay out of the search as changed, keeps the others.
    fn choose(tokens: &[Token], inner: Range<usize>, other: &[u32], changed: &mut [bool]) -> Self {
        let many = frequent_from(tokens.len());
        let lines = tokens.get(inner.clone()).unwrap_or_default();
        let matches: Vec<Matches> = lines.iter().map(|&token| matches_of(token, other, many)).collect();
        let mut kept =
            Self { tokens: Vec::with_capacity(lines.len()), places: Vec::with_capacity(lines.len()) };
        for (index, (&token, &found)) in lines.iter().zip(&matches).enumerate() {
            let keep = found == Matches::Some || (found == Matches::Many && !drowned(&matches, index));
            if keep {
                kept.tokens.push(token);
                kept.places.push(inner.start + index);
            } else if let Some(flag) = changed.get_mut(inner.start + index) {
                *flag = true;
            }
        }
        kept
    }

    fn mark(&self, changed: &[bool], all: &mut [bool]) {
        for (&place, _) in self.places.iter().zip(changed).filter(|(_, changed)| **changed) {
            if let Some(flag) = all.get_mut(place) {
                *flag = true;
            }
        }
    }
}

fn matches_of(token: Token, other: &[u32], many: u32) -> Matches {
    match other.get(token as usize).copied().unwrap_or(0) {
        0 => Matches::None,
        found if found >= many => Matches::Many,
        _ => Matches::Some,
    }
}

/// From how many occurrences a line counts as frequent in a file of `lines` lines: about its square root, as a power
/// of two, at most 1,024 (git's `XDL_MAX_EQLIMIT`).
fn frequent_from(lines: usize) -> u32 {
    let bits = usize::BITS - lines.leading_zeros();
    (1 << bits.div_ceil(2)).min(1024)
}

/// How far [`drowned`] looks in each direction (git's `XDL_SIMSCAN_WINDOW`).
const WINDOW: usize = 100;

/// A frequent line stays out of the search if it stands in a run, on both sides, in which lines without a match are
/// more than three times as many as frequent ones (git's `XDL_KPDIS_RUN` is 4, of the total).
fn drowned(matches: &[Matches], index: usize) -> bool {
    let run = |lines: &mut dyn Iterator<Item = &Matches>| {
        let run = lines.take(WINDOW).take_while(|found| **found != Matches::Some);
        run.fold((0, 0), |(none, many), found| match found {
            Matches::None => (none + 1, many),
            _ => (none, many + 1),
        })
    };
    let before = run(&mut matches.get(..index).unwrap_or_default().iter().rev());
    let after = run(&mut matches.get(index + 1..).unwrap_or_default().iter());
    let (none, many) = (before.0 + after.0, before.1 + after.1 + 2);
    before.0 > 0 && after.0 > 0 && many * 4 < many + none
}

/// A run of changed lines, possibly empty. Between two neighbouring groups lies exactly one unchanged line, so the
/// groups of the two versions correspond one to one.
#[derive(Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
}

fn is_changed(changed: &[bool], line: usize) -> bool {
    changed.get(line).copied().unwrap_or(false)
}

impl Group {
    fn first(changed: &[bool]) -> Self {
        Self { start: 0, end: 0 }.grown_down(changed)
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn grown_down(mut self, changed: &[bool]) -> Self {
        while is_changed(changed, self.end) {
            self.end += 1;
        }
        self
    }

    fn grown_up(mut self, changed: &[bool]) -> Self {
        while self.start > 0 && is_changed(changed, self.start - 1) {
            self.start -= 1;
        }
        self
    }

    fn next(self, changed: &[bool]) -> Option<Self> {
        let start = self.end + 1;
        (self.end < changed.len()).then(|| Self { start, end: start }.grown_down(changed))
    }

    fn previous(self, changed: &[bool]) -> Option<Self> {
        let end = self.start.checked_sub(1)?;
        Some(Self { start: end, end }.grown_up(changed))
    }

    /// One line up, if the line above is the same as the last line of the group. Swallows a group it runs into.
    fn slid_up(self, tokens: &[Token], changed: &mut [bool]) -> Option<Self> {
        let (above, last) = (self.start.checked_sub(1)?, self.end.checked_sub(1)?);
        if tokens.get(above)? != tokens.get(last)? {
            return None;
        }
        *changed.get_mut(above)? = true;
        *changed.get_mut(last)? = false;
        Some(Self { start: above, end: last }.grown_up(changed))
    }

    fn slid_down(self, tokens: &[Token], changed: &mut [bool]) -> Option<Self> {
        if tokens.get(self.start)? != tokens.get(self.end)? {
            return None;
        }
        *changed.get_mut(self.start)? = false;
        *changed.get_mut(self.end)? = true;
        Some(Self { start: self.start + 1, end: self.end + 1 }.grown_down(changed))
    }
}

/// Moves each group of `changed` that can slide: beside a change of the other version where there is one, else as far
/// down as it goes. Groups that meet on the way become one.
fn settle(tokens: &[Token], changed: &mut [bool], other_changed: &[bool]) {
    let (mut group, mut other) = (Group::first(changed), Group::first(other_changed));
    loop {
        if !group.is_empty() {
            (group, other) = settle_group(tokens, changed, other_changed, group, other);
        }
        match (group.next(changed), other.next(other_changed)) {
            (Some(next), Some(next_other)) => (group, other) = (next, next_other),
            _ => return,
        }
    }
}

fn settle_group(
    tokens: &[Token],
    changed: &mut [bool],
    other_changed: &[bool],
    mut group: Group,
    mut other: Group,
) -> (Group, Group) {
    let mut highest_end;
    let mut beside_other;
    loop {
        let size = group.end - group.start;
        while let Some((up, other_up)) = step_up(tokens, changed, other_changed, group, other) {
            (group, other) = (up, other_up);
        }
        highest_end = group.end;
        beside_other = !other.is_empty();
        while let Some(down) = group.slid_down(tokens, changed) {
            group = down;
            other = other.next(other_changed).unwrap_or(other);
            beside_other |= !other.is_empty();
        }
        if group.end - group.start == size {
            break;
        }
    }
    while beside_other && group.end > highest_end && other.is_empty() {
        match step_up(tokens, changed, other_changed, group, other) {
            Some(up) => (group, other) = up,
            None => break,
        }
    }
    (group, other)
}

fn step_up(
    tokens: &[Token],
    changed: &mut [bool],
    other_changed: &[bool],
    group: Group,
    other: Group,
) -> Option<(Group, Group)> {
    let up = group.slid_up(tokens, changed)?;
    Some((up, other.previous(other_changed).unwrap_or(other)))
}

fn collect(removed: &[bool], added: &[bool]) -> Vec<Hunk> {
    let mut hunks = Vec::new();
    let (mut old, mut new) = (Some(Group::first(removed)), Some(Group::first(added)));
    while let (Some(before), Some(after)) = (old, new) {
        if !(before.is_empty() && after.is_empty()) {
            hunks.push(Hunk { before: before.start..before.end, after: after.start..after.end });
        }
        (old, new) = (before.next(removed), after.next(added));
    }
    hunks
}
