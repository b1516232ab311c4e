//! Bounded memory of an output stream: its beginning and its end, and how long it was.
//!
//! The supervisor pushes what it reads; a caller takes an [`Output`] or searches what is kept. No I/O here.

use std::collections::VecDeque;

/// What is kept of an output stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The last bytes, without those in `head`.
    pub tail: Vec<u8>,
    /// Bytes that the command produced.
    pub total: u64,
}

impl Output {
    /// Bytes between `head` and `tail` that were not kept.
    pub fn omitted(&self) -> u64 {
        self.total.saturating_sub((self.head.len() + self.tail.len()) as u64)
    }

    /// Head and tail as one text, with a line between them that says how much is missing, if anything is.
    pub fn to_bytes(&self) -> Vec<u8> {
        let gap = match self.omitted() {
            0 => String::new(),
            omitted => format!("\n[{omitted} bytes left out]\n"),
        };
        [self.head.as_slice(), gap.as_bytes(), self.tail.as_slice()].concat()
    }
}

/// What is read from a command at once, and what waits in its pipe when it ends (pipe(7)).
const RESERVE: usize = 2 * 64 * 1024;

/// An output stream as it grows.
#[derive(Debug)]
pub(crate) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    head_limit: usize,
    tail_limit: usize,
}

impl Capture {
    /// Keeps at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let head_limit = limit / 2;
        let tail_limit = limit - head_limit;
        Self { head: Vec::new(), tail: VecDeque::new(), total: 0, head_limit, tail_limit }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.head_limit.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        let (_, rest) = rest.split_at(rest.len().saturating_sub(self.tail_limit));
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn output(&self) -> Output {
        Output { head: self.head.clone(), tail: self.tail.iter().copied().collect(), total: self.total }
    }

    /// Whether bytes that come after `read` would be lost if this grew by as much as a pipe holds and once more.
    pub(crate) fn is_full_after(&self, read: u64) -> bool {
        let room = self.tail_limit.saturating_sub(RESERVE) as u64;
        self.total.saturating_sub(read) >= room.max(1)
    }

    /// The bytes that are kept from `from` on, at most `limit`, and where they begin: later than `from` when some were
    /// left out.
    pub(crate) fn piece(&self, from: u64, limit: usize) -> (u64, Vec<u8>) {
        let head = self.head.len() as u64;
        let tail = self.total - self.tail.len() as u64;
        let start = if from < head { from } else { from.max(tail).min(self.total) };
        let bytes = match start < head {
            true => after(self.head.iter(), start).take(limit).copied().collect(),
            false => after(self.tail.iter(), start - tail).take(limit).copied().collect(),
        };
        (start, bytes)
    }

    /// Whether `pattern` occurs in what is kept of the stream from its byte `from` on.
    pub(crate) fn contains(&self, pattern: &[u8], from: u64) -> bool {
        let tail_start = self.total - self.tail.len() as u64;
        let head = after(self.head.iter(), from);
        let tail = after(self.tail.iter(), from.saturating_sub(tail_start));
        if tail_start == self.head.len() as u64 {
            return occurs(&head.chain(tail).copied().collect::<Vec<_>>(), pattern);
        }
        occurs(&head.copied().collect::<Vec<_>>(), pattern)
            || occurs(&tail.copied().collect::<Vec<_>>(), pattern)
    }

    /// The last `lines` lines of what is kept, with a gap counted as no line.
    pub(crate) fn last_lines(&self, lines: usize) -> Vec<u8> {
        let kept = self.output().to_bytes();
        let body = kept.strip_suffix(b"\n").unwrap_or(&kept);
        let mut ends =
            body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let start = match lines.checked_sub(1) {
            None => kept.len(),
            Some(before) => ends.nth(before).unwrap_or(0),
        };
        kept.split_at(start).1.to_vec()
    }
}

fn after<I: Iterator>(bytes: I, from: u64) -> impl Iterator<Item = I::Item> {
    bytes.skip(usize::try_from(from).unwrap_or(usize::MAX))
}

fn occurs(text: &[u8], pattern: &[u8]) -> bool {
    pattern.is_empty() || text.windows(pattern.len()).any(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(limit: usize, pieces: &[&str]) -> Capture {
        let mut capture = Capture::new(limit);
        pieces.iter().for_each(|piece| capture.push(piece.as_bytes()));
        capture
    }

    #[test]
    fn a_short_stream_is_kept_whole() {
        let output = capture(100, &["one ", "two"]).output();
        assert_eq!(output.to_bytes(), b"one two");
        assert_eq!((output.total, output.omitted()), (7, 0));
    }

    #[test]
    fn a_long_stream_keeps_its_beginning_and_its_end_in_any_division() {
        for pieces in
            [vec!["0123456789abcdef"], vec!["01", "2", "3456789abcd", "ef"], vec!["0123", "456789abcdef"]]
        {
            let output = capture(8, &pieces).output();
            assert_eq!(output.to_bytes(), b"0123\n[8 bytes left out]\ncdef", "{pieces:?}");
        }
    }

    #[test]
    fn a_pattern_is_found_across_pieces_but_not_across_a_gap() {
        assert!(capture(8, &["abc", "def"]).contains(b"cd", 0));
        let gap = capture(8, &["0123456789abcdef"]);
        assert!(gap.contains(b"def", 9) && gap.contains(b"23", 1));
        assert!(!gap.contains(b"3c", 0) && !gap.contains(b"23", 3));
    }

    #[test]
    fn any_offset_can_be_read_and_what_is_lost_is_seen() {
        let whole = capture(100, &["0123456789"]);
        assert_eq!(whole.piece(0, 4), (0, b"0123".to_vec()));
        assert_eq!(whole.piece(4, 100), (4, b"456789".to_vec()));
        assert_eq!(whole.piece(10, 100), (10, Vec::new()));
        let gap = capture(8, &["0123456789abcdef"]);
        assert_eq!(gap.piece(2, 100), (2, b"23".to_vec()));
        assert_eq!(gap.piece(4, 100), (12, b"cdef".to_vec()));
        assert_eq!(gap.piece(99, 100), (16, Vec::new()));
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = |n| String::from_utf8(capture(100, &["a\nb\nc\n"]).last_lines(n)).unwrap();
        assert_eq!([text(0), text(1), text(2), text(9)], ["", "c\n", "b\nc\n", "a\nb\nc\n"]);
    }
}
