//! Changes for display: a unified diff as `git diff` prints it, and the changed lines as ranges. Bounded, because the
//! text goes to people and language models; a diff that must be applied again is not made here.

use std::fmt::Write as _;
use std::ops::Range;

use crate::diff::{Hunk, hunks};
use crate::lines::{Interner, Text};

/// Where [`unified_diff`] stops, in bytes of output; the last line then says so.
pub const MAX_DIFF_BYTES: usize = 256 << 10;

/// How much of one line [`unified_diff`] prints, in bytes.
pub const MAX_DIFF_LINE_BYTES: usize = 2000;

/// The lines changed from `old` to `new`, counted from 0: each pair is a range of old lines and the range of new lines that
/// replaced it. Either may be empty. In order; an unchanged line lies between two pairs.
#[must_use]
pub fn changed_line_ranges(old: &[u8], new: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut interner = Interner::default();
    let old = interner.read(old);
    let new = interner.read_version(&old, new);
    let hunks = hunks(&old.tokens, &new.tokens, interner.distinct());
    hunks.into_iter().map(|hunk| (hunk.before, hunk.after)).collect()
}

/// The unified diff from `old` to `new` with `context` unchanged lines around each change, under the two `labels`. Empty if
/// nothing changed. Bytes that are not UTF-8 appear as U+FFFD; long lines and long diffs are cut
/// ([`MAX_DIFF_LINE_BYTES`], [`MAX_DIFF_BYTES`]).
#[must_use]
pub fn unified_diff(old: &[u8], new: &[u8], context: usize, labels: (&str, &str)) -> String {
    let mut interner = Interner::default();
    let old = interner.read(old);
    let new = interner.read_version(&old, new);
    let hunks = hunks(&old.tokens, &new.tokens, interner.distinct());
    if hunks.is_empty() {
        return String::new();
    }
    let mut page = Page { old: &old, new: &new, text: format!("--- {}\n+++ {}\n", labels.0, labels.1) };
    for block in blocks(&hunks, context) {
        page.block(block, context);
        if page.text.len() > MAX_DIFF_BYTES {
            page.cut();
            break;
        }
    }
    page.text
}

/// Hunks whose context would touch or overlap are printed under one heading.
fn blocks(hunks: &[Hunk], context: usize) -> impl Iterator<Item = &[Hunk]> {
    let reach = context.saturating_mul(2);
    hunks.chunk_by(move |a, b| b.before.start - a.before.end <= reach)
}

struct Page<'a> {
    old: &'a Text<'a>,
    new: &'a Text<'a>,
    text: String,
}

impl Page<'_> {
    fn block(&mut self, hunks: &[Hunk], context: usize) {
        let (Some(first), Some(last)) = (hunks.first(), hunks.last()) else { return };
        let above = context.min(first.before.start);
        let below = context.min(self.old.lines.count() - last.before.end);
        let old = first.before.start - above..last.before.end + below;
        let new = first.after.start - above..last.after.end + below;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "@@ -{} +{} @@", heading(&old), heading(&new));
        let mut line = old.start;
        for hunk in hunks {
            self.lines(' ', self.old, line..hunk.before.start);
            self.lines('-', self.old, hunk.before.clone());
            self.lines('+', self.new, hunk.after.clone());
            line = hunk.before.end;
        }
        self.lines(' ', self.old, line..old.end);
    }

    fn lines(&mut self, sign: char, text: &Text<'_>, lines: Range<usize>) {
        for line in lines {
            if self.text.len() > MAX_DIFF_BYTES {
                return;
            }
            let bytes = text.lines.slice(line..line + 1);
            let shown = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            self.text.push(sign);
            self.text.push_str(&String::from_utf8_lossy(shown.get(..MAX_DIFF_LINE_BYTES).unwrap_or(shown)));
            if shown.len() > MAX_DIFF_LINE_BYTES {
                let _ = write!(self.text, "… ({} bytes)", shown.len());
            }
            self.text.push('\n');
            if !bytes.ends_with(b"\n") {
                self.text.push_str("\\ No newline at end of file\n");
            }
        }
    }

    fn cut(&mut self) {
        let _ = writeln!(self.text, "… cut: the diff is longer than {} KiB", MAX_DIFF_BYTES >> 10);
    }
}

/// `start,length` as in POSIX `diff -u`: lines count from 1, a length of 1 is left out, an empty range names the line
/// before it.
fn heading(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        length => format!("{},{length}", lines.start + 1),
    }
}
