//! Masking a text that comes in pieces: what may be the start of a secret is held back until it is one or is not.
//!
//! The result does not depend on where the pieces end. What is given out is everything before the first place at which
//! a form may begin that goes on after what came so far; so every form that begins before that place is known.

use std::{collections::BTreeSet, mem, sync::Arc};

use super::{
    Table, Tables,
    reading::{Reading, View, has_escapes},
};

/// A text on its way through a masker. Holds back at most the longest form with the longest gap between all its bytes,
/// and nothing where the text's end cannot be the start of a form.
pub struct MaskStream {
    tables: Arc<Tables>,
    held: Vec<u8>,
    /// How much of what is held belongs to a secret that was replaced already.
    covered: usize,
    /// What stands in the place of each byte of a secret; its label stands in the place of the whole, otherwise.
    fill: Option<u8>,
    found: BTreeSet<usize>,
}

/// What is left at the end of a text.
pub(super) struct End {
    pub(super) rest: Vec<u8>,
    /// Which secrets were replaced.
    pub(super) found: BTreeSet<usize>,
}

/// A form that was found.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    start: usize,
    /// The longest first.
    end: std::cmp::Reverse<usize>,
    secret: usize,
}

impl MaskStream {
    pub(super) fn new(tables: Arc<Tables>, fill: Option<u8>) -> Self {
        Self { tables, held: Vec::new(), covered: 0, fill, found: BTreeSet::new() }
    }

    /// Takes the next piece and gives out what is certain.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.advance(false)
    }

    /// Gives out the rest.
    pub fn finish(self) -> Vec<u8> {
        self.end().rest
    }

    /// Gives out what is held back, as if nothing followed; goes on as a new text.
    pub fn flush(&mut self) -> Vec<u8> {
        self.advance(true)
    }

    /// Whether something is held back.
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn end(mut self) -> End {
        let rest = self.advance(true);
        End { rest, found: self.found }
    }

    fn advance(&mut self, whole: bool) -> Vec<u8> {
        let tables = Arc::clone(&self.tables);
        let views = self.views(&tables, whole);
        let mut limit = self.held.len();
        if !whole {
            limit = views.iter().map(|(view, table)| open(view, table)).min().unwrap_or(limit);
            limit = views.iter().map(|(view, _)| view.outside_escape(limit)).min().unwrap_or(limit);
        }
        let mut found: Vec<Match> = views.iter().flat_map(|(view, table)| matches(view, table)).collect();
        found.retain(|found| found.start < limit);
        found.sort_unstable();
        self.give_out(&found, limit)
    }

    /// What is held, in each reading that can show something.
    fn views<'a>(&self, tables: &'a Tables, whole: bool) -> Vec<(View, &'a Table)> {
        let mut views = Vec::new();
        for (stripped, table) in [(true, &tables.loose), (false, &tables.exact)] {
            if table.automaton.is_some() {
                views.push((View::new(&self.held, Reading { stripped, decoded: false }, whole), table));
                if has_escapes(&self.held) {
                    views.push((View::new(&self.held, Reading { stripped, decoded: true }, whole), table));
                }
            }
        }
        views
    }

    /// Gives out what is held up to `limit`, with the label of the first of each group of forms that overlap.
    fn give_out(&mut self, found: &[Match], limit: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(limit);
        self.fill(&mut out, 0, self.covered.min(limit));
        for Match { start, end, secret } in found {
            if *start >= self.covered {
                out.extend_from_slice(self.held.get(self.covered..*start).unwrap_or_default());
                if self.fill.is_none() {
                    let label = self.tables.labels.get(*secret).map(String::as_str);
                    out.extend_from_slice(label.unwrap_or("[secret]").as_bytes());
                }
            }
            self.fill(&mut out, self.covered.max(*start), end.0.min(limit));
            self.found.insert(*secret);
            self.covered = self.covered.max(end.0);
        }
        out.extend_from_slice(self.held.get(self.covered..limit).unwrap_or_default());
        self.covered = self.covered.max(limit) - limit;
        let rest = self.held.split_off(limit);
        zeroize::Zeroize::zeroize(&mut mem::replace(&mut self.held, rest));
        out
    }

    /// Where the length stays, the bytes of a secret from `start` to `end`.
    fn fill(&self, out: &mut Vec<u8>, start: usize, end: usize) {
        if let Some(fill) = self.fill {
            out.extend(std::iter::repeat_n(fill, end.saturating_sub(start)));
        }
    }
}

/// Every form in the view, by its place in the text.
fn matches(view: &View, table: &Table) -> Vec<Match> {
    let Some(automaton) = &table.automaton else { return Vec::new() };
    let found = automaton.find_overlapping_iter(&view.bytes).filter_map(|found| {
        let (start, end) = view.place(found.start(), found.end())?;
        let (_, secret) = table.forms.get(found.pattern().as_usize())?;
        Some(Match { start, end: std::cmp::Reverse(end), secret: *secret })
    });
    found.collect()
}

/// The first place in the text where a form begins that may go on after the text's end.
fn open(view: &View, table: &Table) -> usize {
    let first = view.open_end(table.longest.saturating_sub(1));
    let mut starts = first..view.bytes.len();
    let open = starts.find(|start| table.goes_on(view.bytes.get(*start..).unwrap_or_default()));
    view.begins(open.unwrap_or(view.bytes.len()))
}
