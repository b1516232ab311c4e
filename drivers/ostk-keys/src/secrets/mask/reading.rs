//! Ways to read a text, each with the place in the text that every byte comes from.
//!
//! As it is or without white space and the signs that split strings, and each of these with percent-encoding
//! (RFC 3986) and the escapes of JSON and C strings turned into what they stand for, or not.

use zeroize::Zeroizing;

/// Longest escape: `\u0041`.
const MAX_ESCAPE: usize = 6;

/// More left-out bytes in a row than this end a form: a line's indentation fits.
pub(super) const MAX_GAP: usize = 64;

/// How to read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// Leave out what splits strings.
    pub(super) stripped: bool,
    /// Turn escapes into what they stand for.
    pub(super) decoded: bool,
}

/// A text as it is read.
pub(super) struct View {
    pub(super) bytes: Vec<u8>,
    /// Where each byte comes from: start and end in the text.
    places: Vec<(usize, usize)>,
    /// Where escapes stand.
    escapes: Vec<(usize, usize)>,
    /// Where the reading ended: before an escape that may go on, otherwise at the end of the text.
    end: usize,
}

/// What splits a string in the languages that agents write: quotes, joining signs, commas of lists, and the zero bytes of
/// UTF-16.
pub(super) fn splits(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`' | b'+' | b'\\' | b',' | b':' | b'.' | b'|' | b'&' | 0)
        || byte.is_ascii_whitespace()
        || byte == 0x0b
}

/// A form without what splits strings.
pub(super) fn strip(form: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(form.iter().copied().filter(|byte| !splits(*byte)).collect())
}

/// Whether to decode makes a difference.
pub(super) fn has_escapes(text: &[u8]) -> bool {
    memchr::memchr2(b'%', b'\\', text).is_some()
}

impl View {
    /// Reads `text`; `whole` says that nothing follows.
    pub(super) fn new(text: &[u8], reading: Reading, whole: bool) -> Self {
        let mut view = Self {
            bytes: Vec::with_capacity(text.len()),
            places: Vec::with_capacity(text.len()),
            escapes: Vec::new(),
            end: text.len(),
        };
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            if reading.decoded && may_go_on(rest) && !whole {
                view.end = at;
                break;
            }
            at = view.take(rest, at, reading);
        }
        view
    }

    /// Takes what stands at the start of `rest`; returns where the next stands.
    fn take(&mut self, rest: &[u8], at: usize, reading: Reading) -> usize {
        let escape = escape(rest).filter(|_| reading.decoded);
        let Some((byte, length)) = escape.or_else(|| rest.first().map(|byte| (*byte, 1))) else {
            return at + 1;
        };
        let end = at + length;
        if escape.is_some() {
            self.escapes.push((at, end));
        }
        if !(reading.stripped && splits(byte)) {
            self.bytes.push(byte);
            self.places.push((at, end));
        }
        end
    }

    /// Where in the text the bytes from `start` to `end` stand; `None` when too much lies between two of them.
    pub(super) fn place(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let places = self.places.get(start..end)?;
        let near = |pair: &[(usize, usize)]| matches!(pair, [a, b] if b.0 - a.1 <= MAX_GAP);
        let (first, last) = (places.first()?, places.last()?);
        places.windows(2).all(near).then_some((first.0, last.1))
    }

    /// The first byte from which on nothing is too far from the next, the end included, among the last `most`.
    pub(super) fn open_end(&self, most: usize) -> usize {
        let (mut first, mut next) = (self.places.len(), self.end);
        for (start, end) in self.places.iter().rev().take(most) {
            if next - end > MAX_GAP {
                break;
            }
            (first, next) = (first - 1, *start);
        }
        first
    }

    /// Where byte `index` begins in the text; for the one behind the last, where the reading ended.
    pub(super) fn begins(&self, index: usize) -> usize {
        self.places.get(index).map_or(self.end, |place| place.0)
    }

    /// `at`, or the start of the escape that it stands in.
    pub(super) fn outside_escape(&self, at: usize) -> usize {
        let next = self.escapes.partition_point(|(start, _)| *start < at);
        let before = next.checked_sub(1).and_then(|index| self.escapes.get(index));
        before.filter(|(_, end)| at < *end).map_or(at, |(start, _)| *start)
    }
}

/// The byte that an escape stands for and the escape's length; `None` where no escape begins.
pub(super) fn escape(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'%', high, low, ..] => Some((byte(*high, *low)?, 3)),
        [b'\\', b'x', high, low, ..] => Some((byte(*high, *low)?, 4)),
        [b'\\', b'u', b'0', b'0', high, low, ..] => Some((byte(*high, *low)?, 6)),
        [b'\\', b'n', ..] => Some((b'\n', 2)),
        [b'\\', b'r', ..] => Some((b'\r', 2)),
        [b'\\', b't', ..] => Some((b'\t', 2)),
        _ => None,
    }
}

/// Whether an escape begins here that may end beyond the text.
fn may_go_on(text: &[u8]) -> bool {
    match text.first() {
        Some(b'%') => text.len() < 3,
        Some(b'\\') => text.len() < MAX_ESCAPE,
        _ => false,
    }
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}
