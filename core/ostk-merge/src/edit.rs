//! Targeted edits: replace a text that must be found exactly. The text itself is the check that the caller knows what
//! the file says, so an edit holds whatever changed elsewhere. A miss answers with the place that was probably meant.

use memchr::memmem;

use crate::lines::{Lines, count_lines};

/// How many places [`EditError::Ambiguous`] names.
pub const MAX_LISTED_MATCHES: usize = 5;

/// How many lines the search for a similar line looks at, and how many bytes of each.
const MAX_HINT_LINES: usize = 50_000;
const MAX_HINT_LINE_BYTES: usize = 512;

/// A replacement that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The file after the edit.
    pub bytes: Vec<u8>,
    /// How many places were replaced.
    pub count: usize,
    /// The line, counted from 1, in which the first replaced place starts.
    pub first_line: usize,
}

/// Where [`EditError::NotFound`] suspects the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearestLine {
    /// The line, counted from 1, that is most like the first line of the text that is not blank.
    pub line: usize,
    /// The whole text stands there but for spaces, tabs and line ends.
    pub only_whitespace_differs: bool,
}

/// Why an edit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is nothing to look for.
    #[error("the text to replace is empty")]
    EmptyOld,
    /// The file does not contain the text.
    #[error("the text to replace is not in the file{}", describe(*hint))]
    NotFound {
        /// The most similar place, if any line is at all similar.
        hint: Option<NearestLine>,
    },
    /// The file contains the text more than once and one place was asked for.
    #[error(
        "the text to replace is in the file {count} times, first at lines {lines:?}; give more of the text around it"
    )]
    Ambiguous {
        /// How many times, without overlaps; at least 2.
        count: usize,
        /// The lines, counted from 1, of the first [`MAX_LISTED_MATCHES`] places.
        lines: Vec<usize>,
    },
    /// Old and new text are the same.
    #[error("the old and the new text are the same")]
    NoChange,
}

fn describe(hint: Option<NearestLine>) -> String {
    match hint {
        None => String::new(),
        Some(NearestLine { line, only_whitespace_differs: true }) => {
            format!("; at line {line} it stands with other spaces, tabs or line ends")
        }
        Some(NearestLine { line, .. }) => format!("; line {line} is the most similar"),
    }
}

/// Replaces `old` with `new` in `current`: the only place, or with `all` every place from the start on, without overlaps.
///
/// # Errors
/// [`EditError`] says why nothing was replaced. Two overlapping places are ambiguous too.
pub fn edit(current: &[u8], old: &[u8], new: &[u8], all: bool) -> Result<Edited, EditError> {
    if old.is_empty() {
        return Err(EditError::EmptyOld);
    }
    if old == new {
        return Err(EditError::NoChange);
    }
    let finder = memmem::Finder::new(old);
    let Some(first) = finder.find(current) else {
        return Err(EditError::NotFound { hint: nearest(current, old) });
    };
    let second = current.get(first + 1..).and_then(|rest| finder.find(rest)).map(|at| first + 1 + at);
    if let (Some(second), false) = (second, all) {
        return Err(ambiguous(current, &finder, second));
    }
    let (bytes, count) = replaced(current, &finder, new);
    Ok(Edited { bytes, count, first_line: line_at(current, first) })
}

fn replaced(current: &[u8], finder: &memmem::Finder<'_>, new: &[u8]) -> (Vec<u8>, usize) {
    let mut bytes = Vec::with_capacity(current.len() + new.len());
    let (mut done, mut count) = (0, 0);
    for at in finder.find_iter(current) {
        bytes.extend_from_slice(current.get(done..at).unwrap_or_default());
        bytes.extend_from_slice(new);
        done = at + finder.needle().len();
        count += 1;
    }
    bytes.extend_from_slice(current.get(done..).unwrap_or_default());
    (bytes, count)
}

/// `second` is where the text begins for the second time, perhaps inside the first.
fn ambiguous(current: &[u8], finder: &memmem::Finder<'_>, second: usize) -> EditError {
    let mut places: Vec<usize> = finder.find_iter(current).take(MAX_LISTED_MATCHES).collect();
    if places.len() < 2 {
        places.push(second);
    }
    let lines = places.into_iter().map(|at| line_at(current, at)).collect();
    EditError::Ambiguous { count: finder.find_iter(current).count().max(2), lines }
}

/// The line, counted from 1, that contains the byte at `offset`.
fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', bytes.get(..offset).unwrap_or(bytes)).count()
}

fn nearest(current: &[u8], old: &[u8]) -> Option<NearestLine> {
    if let Some(line) = found_without_whitespace(current, old) {
        return Some(NearestLine { line, only_whitespace_differs: true });
    }
    let wanted = Lines::new(old).iter().map(probe).find(|line| !line.is_empty())?;
    let lines = Lines::new(current);
    let scored = lines
        .iter()
        .take(MAX_HINT_LINES)
        .enumerate()
        .map(|(index, line)| (similarity(wanted, probe(line)), index));
    // Of equally similar lines the first one.
    let (score, index) = scored.max_by_key(|&(score, index)| (score, std::cmp::Reverse(index)))?;
    (score >= SIMILAR_PERCENT).then_some(NearestLine { line: index + 1, only_whitespace_differs: false })
}

fn probe(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    line.get(..MAX_HINT_LINE_BYTES).unwrap_or(line)
}

/// From this similarity on a line is worth naming.
const SIMILAR_PERCENT: usize = 50;

/// The bytes two lines share at their start and end, in percent of the longer one. Coarse, but linear.
fn similarity(a: &[u8], b: &[u8]) -> usize {
    let (shorter, longer) = (a.len().min(b.len()), a.len().max(b.len()));
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let tail = a.iter().rev().zip(b.iter().rev()).take(shorter - head).take_while(|(a, b)| a == b).count();
    (head + tail) * 100 / longer.max(1)
}

/// The line in which `old` begins if whitespace is left out of both texts.
fn found_without_whitespace(current: &[u8], old: &[u8]) -> Option<usize> {
    let is_text = |byte: &u8| !byte.is_ascii_whitespace();
    let squeezed_old: Vec<u8> = old.iter().copied().filter(is_text).collect();
    if squeezed_old.is_empty() {
        return None;
    }
    let squeezed: Vec<u8> = current.iter().copied().filter(is_text).collect();
    let at = memmem::find(&squeezed, &squeezed_old)?;
    let (offset, _) = current.iter().enumerate().filter(|(_, byte)| is_text(byte)).nth(at)?;
    Some(count_lines(current.get(..=offset)?))
}
