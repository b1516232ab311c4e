//! Text as lines and lines as numbers: the form every comparison in this crate works on.
//!
//! A line keeps its terminator, so `"a"`, `"a\n"` and `"a\r\n"` are three different lines and a file is exactly the
//! concatenation of its lines. [`Interner`] gives equal lines the same [`Token`]. Comparing and merging live in `diff`
//! and `merge`; this file knows nothing about changes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

/// The number of a distinct line. Two lines have the same token exactly when their bytes are equal.
pub(crate) type Token = u32;

/// A file cut into lines. `starts` holds the offset of each line and, last, the length of the file.
pub(crate) struct Lines<'a> {
    pub(crate) bytes: &'a [u8],
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut starts = Vec::with_capacity(bytes.len() / 32 + 2);
        starts.push(0);
        push_ends(bytes, 0, &mut starts);
        Self { bytes, starts }
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    fn offset(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(self.bytes.len())
    }

    /// The bytes of `lines`, terminators included. A range past the end is cut to the file.
    pub(crate) fn slice(&self, lines: Range<usize>) -> &'a [u8] {
        self.bytes.get(self.offset(lines.start)..self.offset(lines.end)).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        (0..self.count()).map(|line| self.slice(line..line + 1))
    }
}

/// Appends the end offset of each line of `bytes`, which starts at offset `from` of its file.
fn push_ends(bytes: &[u8], from: usize, ends: &mut Vec<usize>) {
    ends.extend(memchr::memchr_iter(b'\n', bytes).map(|at| from + at + 1));
    if bytes.last().is_some_and(|&last| last != b'\n') {
        ends.push(from + bytes.len());
    }
}

/// How many lines `bytes` has; a last line without terminator counts.
pub(crate) fn count_lines(bytes: &[u8]) -> usize {
    let ended = memchr::memchr_iter(b'\n', bytes).count();
    ended + usize::from(bytes.last().is_some_and(|&last| last != b'\n'))
}

/// A file as lines and as tokens; both have one entry per line.
pub(crate) struct Text<'a> {
    pub(crate) lines: Lines<'a>,
    pub(crate) tokens: Vec<Token>,
}

impl Text<'_> {
    pub(crate) fn tokens_in(&self, lines: Range<usize>) -> &[Token] {
        self.tokens.get(lines).unwrap_or_default()
    }
}

/// Gives equal lines equal tokens, across all files read through it.
#[derive(Default)]
pub(crate) struct Interner<'a> {
    known: HashMap<&'a [u8], Token, BuildHasherDefault<LineHasher>>,
}

impl<'a> Interner<'a> {
    /// How many distinct lines were seen; every token is smaller.
    pub(crate) fn distinct(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn read(&mut self, bytes: &'a [u8]) -> Text<'a> {
        let lines = Lines::new(bytes);
        self.known.reserve(lines.count());
        let tokens = lines.iter().map(|line| self.token(line)).collect();
        Text { lines, tokens }
    }

    /// Reads another version of `base`. Lines before the first and after the last difference are copied, not hashed:
    /// versions of one file share most of their bytes.
    pub(crate) fn read_version(&mut self, base: &Text<'a>, bytes: &'a [u8]) -> Text<'a> {
        let shared = SharedEnds::find(&base.lines, bytes);
        let mut starts = Vec::with_capacity(base.lines.starts.len() + 16);
        starts.extend_from_slice(base.lines.starts.get(..=shared.head_lines).unwrap_or_default());
        push_ends(bytes.get(shared.middle.clone()).unwrap_or_default(), shared.middle.start, &mut starts);
        let middle_end = starts.len().saturating_sub(1);
        let tail = base.lines.starts.get(shared.tail_from + 1..).unwrap_or_default();
        starts.extend(tail.iter().map(|&end| (end + bytes.len()).saturating_sub(base.lines.bytes.len())));
        let lines = Lines { bytes, starts };
        let mut tokens = Vec::with_capacity(lines.count());
        tokens.extend_from_slice(base.tokens_in(0..shared.head_lines));
        tokens.extend((shared.head_lines..middle_end).map(|line| self.token(lines.slice(line..line + 1))));
        tokens.extend_from_slice(base.tokens.get(shared.tail_from..).unwrap_or_default());
        Text { lines, tokens }
    }

    fn token(&mut self, line: &'a [u8]) -> Token {
        // At most 2^32 distinct lines fit: files are limited long before (`MAX_LINES`), and a file of 2^32 lines
        // that only `blame` could see would merely repeat the last number.
        let next = Token::try_from(self.known.len()).unwrap_or(Token::MAX);
        *self.known.entry(line).or_insert(next)
    }
}

/// What a version has in common with its base at both ends, in whole lines.
struct SharedEnds {
    /// Lines `0..head_lines` are the same in both.
    head_lines: usize,
    /// Lines `tail_from..` of the base are the last lines of the version.
    tail_from: usize,
    /// The bytes of the version between the two.
    middle: Range<usize>,
}

impl SharedEnds {
    fn find(base: &Lines<'_>, bytes: &[u8]) -> Self {
        let same_head = common_head(base.bytes, bytes);
        // Only lines that end inside the common bytes, with their newline, are lines of both.
        let ended = base.starts.partition_point(|&start| start <= same_head).saturating_sub(1);
        let cut = base.bytes.get(..base.offset(ended)).is_some_and(|head| head.last() != Some(&b'\n'));
        let head_lines = if cut { ended.saturating_sub(1) } else { ended };
        let head_bytes = base.offset(head_lines);
        let base_rest = base.bytes.get(head_bytes..).unwrap_or_default();
        let rest = bytes.get(head_bytes..).unwrap_or_default();
        // A line of the tail starts after a newline that is itself common, so its start is a line start in both.
        let first_common = base.bytes.len() - common_tail(base_rest, rest);
        let tail_from = base.starts.partition_point(|&start| start <= first_common).min(base.count());
        let tail_bytes = base.bytes.len() - base.offset(tail_from);
        Self { head_lines, tail_from, middle: head_bytes..bytes.len() - tail_bytes }
    }
}

/// Compared at once; about the length at which one call of `memcmp` costs less than the loop around it.
const STRIDE: usize = 128;

fn common_head(a: &[u8], b: &[u8]) -> usize {
    let strides = a.chunks_exact(STRIDE).zip(b.chunks_exact(STRIDE)).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(strides * STRIDE..), b.get(strides * STRIDE..));
    let rest = a.unwrap_or_default().iter().zip(b.unwrap_or_default());
    strides * STRIDE + rest.take_while(|(a, b)| a == b).count()
}

fn common_tail(a: &[u8], b: &[u8]) -> usize {
    let strides = a.rchunks_exact(STRIDE).zip(b.rchunks_exact(STRIDE)).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(..a.len() - strides * STRIDE), b.get(..b.len() - strides * STRIDE));
    let rest = a.unwrap_or_default().iter().rev().zip(b.unwrap_or_default().iter().rev());
    strides * STRIDE + rest.take_while(|(a, b)| a == b).count()
}

/// Multiply-and-fold over eight bytes at a time. The same on every machine; not meant to withstand an attacker, who
/// could at worst make a merge of his own file slow, within the size limits.
#[derive(Default)]
struct LineHasher(u64);

const ODD: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 / golden ratio, the usual multiplier of Fibonacci hashing

impl LineHasher {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word ^ ODD) * u128::from(ODD ^ (word << 32 | 1));
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}

impl Hasher for LineHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        self.mix(last);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= (length as u64).wrapping_mul(ODD);
    }

    fn finish(&self) -> u64 {
        self.0.wrapping_mul(ODD).rotate_left(29)
    }
}
