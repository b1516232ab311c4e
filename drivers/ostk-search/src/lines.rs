//! Searching one file: the matching lines with their context, each cut to a readable length.
//!
//! A file that turns out to be binary gives no matches, even if a NUL byte comes after some.

use std::{io, time::Instant};

use grep::{
    matcher::{LineTerminator, Matcher},
    regex::RegexMatcher,
    searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish, SinkMatch},
};

use crate::{Budget, Job, MAX_FILE_BYTES, MAX_LINE_BYTES, Match, Outcome, Truncation};

/// How much of a cut line is shown before its match.
const LEAD_BYTES: usize = 128;

/// What the searcher may hold of one line before it gives the file up.
const MAX_HEAP_BYTES: usize = 64 * 1024 * 1024;

/// Searches the file `path`, collecting at most one match more than `budget` allows.
pub(crate) fn search_file(path: &str, job: &Job<'_>, budget: Budget) -> Outcome {
    if Instant::now() >= job.deadline {
        return Outcome { truncated: Some(Truncation::Deadline), ..Outcome::default() };
    }
    let skipped = Outcome { skipped: true, ..Outcome::default() };
    let Ok(file) = job.tree.open_file(path) else { return skipped };
    match file.metadata() {
        Ok(meta) if meta.is_file() && meta.len() <= MAX_FILE_BYTES => {}
        _ => return skipped,
    }
    let mut collector = Collector { job, lines: Vec::new(), budget, binary: false, late: false };
    let searched = searcher(job.context_lines).search_file(job.matcher, &file, &mut collector);
    if searched.is_err() || collector.binary {
        return skipped;
    }
    let truncated = collector.late.then_some(Truncation::Deadline);
    Outcome { matches: matches(path, &collector.lines, job.context_lines), skipped: false, truncated }
}

fn searcher(context_lines: usize) -> Searcher {
    SearcherBuilder::new()
        .line_terminator(LineTerminator::crlf())
        .before_context(context_lines)
        .after_context(context_lines)
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(MAX_HEAP_BYTES))
        .build()
}

/// A line that matches or stands beside one.
struct Line {
    number: u64,
    text: String,
    /// For a match, the byte number from 1 where it begins.
    column: Option<u64>,
}

/// Takes the searcher's lines until the budget is spent or the deadline passes.
struct Collector<'a> {
    job: &'a Job<'a>,
    lines: Vec<Line>,
    budget: Budget,
    binary: bool,
    late: bool,
}

impl Collector<'_> {
    fn take(&mut self, number: Option<u64>, bytes: &[u8], column: Option<usize>) -> bool {
        let text = readable(bytes, column.unwrap_or(0));
        let column = column.map(|column| column as u64 + 1);
        // One match over the budget is kept, as the sign that there are more.
        let spent = column.is_some() && self.budget.results == 0 || self.budget.bytes == 0;
        if column.is_some() {
            self.budget.results = self.budget.results.saturating_sub(1);
        }
        self.budget.bytes = self.budget.bytes.saturating_sub(text.len());
        self.lines.push(Line { number: number.unwrap_or(0), text, column });
        self.late = Instant::now() >= self.job.deadline;
        !spent && !self.late
    }
}

impl Sink for Collector<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        let line = without_end(found.bytes());
        Ok(self.take(found.line_number(), line, Some(first_match(self.job.matcher, line))))
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> io::Result<bool> {
        Ok(self.take(context.line_number(), without_end(context.bytes()), None))
    }

    fn finish(&mut self, _: &Searcher, finish: &SinkFinish) -> io::Result<()> {
        self.binary = finish.binary_byte_offset().is_some();
        Ok(())
    }
}

/// Where the first match in `line` begins.
fn first_match(matcher: &RegexMatcher, line: &[u8]) -> usize {
    matcher.find(line).ok().flatten().map_or(0, |found| found.start())
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The line as text; over 512 bytes, the part from shortly before `column`.
fn readable(line: &[u8], column: usize) -> String {
    if line.len() <= MAX_LINE_BYTES {
        return String::from_utf8_lossy(line).into_owned();
    }
    let start = if column < MAX_LINE_BYTES - LEAD_BYTES { 0 } else { column.saturating_sub(LEAD_BYTES) };
    let start = boundary(line, start);
    let end = boundary(line, start.saturating_add(MAX_LINE_BYTES).min(line.len()));
    let part = String::from_utf8_lossy(line.get(start..end).unwrap_or_default());
    let (lead, tail) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    format!("{lead}{part}{tail}")
}

/// The last start of a UTF-8 character at or before `at`.
fn boundary(line: &[u8], at: usize) -> usize {
    // A character has at most three bytes of continuation (0b10......); what is longer is not UTF-8.
    let continues = |at: usize| line.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (at.saturating_sub(3)..=at).rev().find(|at| !continues(*at)).unwrap_or(at)
}

/// Each match with the lines around it.
fn matches(path: &str, lines: &[Line], context_lines: usize) -> Vec<Match> {
    let context = context_lines as u64;
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let Some(column) = line.column else { continue };
        let (earlier, later) = (lines.get(..n).unwrap_or_default(), lines.get(n + 1..).unwrap_or_default());
        let mut before: Vec<String> = earlier
            .iter()
            .rev()
            .take_while(|l| l.number + context >= line.number)
            .map(|l| l.text.clone())
            .collect();
        before.reverse();
        let after =
            later.iter().take_while(|l| l.number <= line.number + context).map(|l| l.text.clone()).collect();
        let (path, text) = (path.to_owned(), line.text.clone());
        found.push(Match { path, line: line.number, column, text, before, after });
    }
    found
}
