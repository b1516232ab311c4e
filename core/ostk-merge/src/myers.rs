//! The shortest edit script between two token sequences: E. W. Myers, "An O(ND) Difference Algorithm and Its
//! Variations", Algorithmica 1 (1986), in its linear-space form.
//!
//! Among equally short scripts the choice is the one git makes (diagonals from high to low, a horizontal step wins a
//! tie going forward), because `merge` must not resolve to other bytes than git. Beyond [`MAX_COST`] git leaves the
//! exact algorithm for heuristics; here the whole stretch then counts as changed, which a merge treats with care.

use std::ops::Range;

use crate::lines::Token;

/// The search depth up to which git's comparison is exact (its `XDL_HEUR_MIN_COST` and `XDL_MAX_COST_MIN`); it also
/// bounds the work to `MAX_COST * (lines of both files)`.
const MAX_COST: usize = 255;

/// Marks for each token of `a` and of `b` whether it is outside the common subsequence.
pub(crate) fn changed_tokens(a: &[Token], b: &[Token]) -> (Vec<bool>, Vec<bool>) {
    let mut changed = (vec![false; a.len()], vec![false; b.len()]);
    let mut search = Search::new(a, b);
    let mut todo = vec![Area { a: 0..a.len(), b: 0..b.len() }];
    while let Some(area) = todo.pop() {
        let area = area.trimmed(a, b);
        match search.split(&area).and_then(|point| area.cut(point)) {
            Some((low, high)) => todo.extend([high, low]),
            None => {
                changed.0.get_mut(area.a).unwrap_or_default().fill(true);
                changed.1.get_mut(area.b).unwrap_or_default().fill(true);
            }
        }
    }
    changed
}

/// A stretch of `a` to be compared with a stretch of `b`.
struct Area {
    a: Range<usize>,
    b: Range<usize>,
}

impl Area {
    fn trimmed(self, a: &[Token], b: &[Token]) -> Self {
        let inner_a = a.get(self.a.clone()).unwrap_or_default();
        let inner_b = b.get(self.b.clone()).unwrap_or_default();
        let (head, tail) = common_ends(inner_a, inner_b);
        Self { a: self.a.start + head..self.a.end - tail, b: self.b.start + head..self.b.end - tail }
    }

    /// Both parts are smaller than the whole, so splitting ends.
    fn cut(&self, (a, b): (usize, usize)) -> Option<(Self, Self)> {
        let inside = (self.a.start..=self.a.end).contains(&a) && (self.b.start..=self.b.end).contains(&b);
        let corner = (a, b) == (self.a.start, self.b.start) || (a, b) == (self.a.end, self.b.end);
        let low = Self { a: self.a.start..a, b: self.b.start..b };
        let high = Self { a: a..self.a.end, b: b..self.b.end };
        (inside && !corner).then_some((low, high))
    }
}

/// How many tokens are equal at the start, and how many of the rest at the end.
pub(crate) fn common_ends(a: &[Token], b: &[Token]) -> (usize, usize) {
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(head..).unwrap_or_default(), b.get(head..).unwrap_or_default());
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    (head, tail)
}

/// For each diagonal `k = x - y` the furthest `x` that a path of the current cost reaches.
struct Frontier {
    reach: Vec<isize>,
    zero: isize,
    low: isize,
    high: isize,
}

impl Frontier {
    fn new(a: usize, b: usize) -> Self {
        Self { reach: vec![0; a + b + 3], zero: b as isize + 1, low: 0, high: 0 }
    }

    fn at(&self, k: isize) -> isize {
        self.reach.get((k + self.zero) as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, k: isize, x: isize) {
        if let Some(slot) = self.reach.get_mut((k + self.zero) as usize) {
            *slot = x;
        }
    }

    fn start(&mut self, k: isize, x: isize) {
        (self.low, self.high) = (k, k);
        self.set(k, x);
    }

    /// Opens one more diagonal on each side; at the border of the area the range shrinks instead, which keeps the
    /// parity. `closed` is what a diagonal that no path has reached yet answers.
    fn widen(&mut self, limits: &Range<isize>, closed: isize) {
        if self.low > limits.start {
            self.low -= 1;
            self.set(self.low - 1, closed);
        } else {
            self.low += 1;
        }
        if self.high < limits.end {
            self.high += 1;
            self.set(self.high + 1, closed);
        } else {
            self.high -= 1;
        }
    }

    fn covers(&self, k: isize) -> bool {
        (self.low..=self.high).contains(&k)
    }

    /// The diagonals of this round, from high to low.
    fn diagonals(&self) -> impl Iterator<Item = isize> + use<> {
        let (low, high) = (self.low, self.high);
        (0..).map(move |step| high - 2 * step).take_while(move |&k| k >= low)
    }
}

struct Search<'a> {
    a: &'a [Token],
    b: &'a [Token],
    forward: Frontier,
    backward: Frontier,
}

const NOT_REACHED_FORWARD: isize = -1;
const NOT_REACHED_BACKWARD: isize = isize::MAX / 2;

impl<'a> Search<'a> {
    fn new(a: &'a [Token], b: &'a [Token]) -> Self {
        let (forward, backward) = (Frontier::new(a.len(), b.len()), Frontier::new(a.len(), b.len()));
        Self { a, b, forward, backward }
    }

    /// A point on a shortest path through `area`. `None` if one side is empty or the path is too long to find.
    fn split(&mut self, area: &Area) -> Option<(usize, usize)> {
        if area.a.is_empty() || area.b.is_empty() {
            return None;
        }
        let signed = |range: &Range<usize>| (range.start as isize, range.end as isize);
        let ((a0, a1), (b0, b1)) = (signed(&area.a), signed(&area.b));
        let limits = a0 - b1..a1 - b0;
        let odd = ((a0 - b0) - (a1 - b1)) & 1 != 0;
        self.forward.start(a0 - b0, a0);
        self.backward.start(a1 - b1, a1);
        for _cost in 0..MAX_COST {
            self.forward.widen(&limits, NOT_REACHED_FORWARD);
            let met = self.step_forward(area, odd);
            let met = met.or_else(|| {
                self.backward.widen(&limits, NOT_REACHED_BACKWARD);
                self.step_backward(area, !odd)
            });
            if let Some((x, k)) = met {
                return Some((usize::try_from(x).ok()?, usize::try_from(x - k).ok()?));
            }
        }
        None
    }

    fn step_forward(&mut self, area: &Area, may_meet: bool) -> Option<(isize, isize)> {
        for k in self.forward.diagonals() {
            let (below, above) = (self.forward.at(k - 1), self.forward.at(k + 1));
            let start = if below >= above { below + 1 } else { above };
            let rest_a = self.a.get(start as usize..area.a.end).unwrap_or_default();
            let rest_b = self.b.get((start - k) as usize..area.b.end).unwrap_or_default();
            let x = start + rest_a.iter().zip(rest_b).take_while(|(a, b)| a == b).count() as isize;
            self.forward.set(k, x);
            if may_meet && self.backward.covers(k) && self.backward.at(k) <= x {
                return Some((x, k));
            }
        }
        None
    }

    fn step_backward(&mut self, area: &Area, may_meet: bool) -> Option<(isize, isize)> {
        for k in self.backward.diagonals() {
            let (below, above) = (self.backward.at(k - 1), self.backward.at(k + 1));
            let start = if below < above { below } else { above - 1 };
            let rest_a = self.a.get(area.a.start..start as usize).unwrap_or_default();
            let rest_b = self.b.get(area.b.start..(start - k) as usize).unwrap_or_default();
            let equal = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(a, b)| a == b);
            let x = start - equal.count() as isize;
            self.backward.set(k, x);
            if may_meet && self.forward.covers(k) && x <= self.forward.at(k) {
                return Some((x, k));
            }
        }
        None
    }
}
