//! Search the workspace with ripgrep's crates.
//!
//! A driver: one call in, sorted matches out, within a deadline and bounds on results and bytes. What git ignores is
//! left out, and so are `.git`, `.ostk`, binary files, links and files over 64 MiB. Which files the caller may read is
//! decided before the call and arrives as a function: the others are not opened, so that nothing of the answer, not even
//! its bounds, depends on what they hold. Callers are the daemon's `file.search` and its kin.

mod files;
mod lines;
mod pattern;

use std::{path::Path, sync::Mutex, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{files::Tree, lines::search_file, pattern::Finder};

/// How many matches a query returns unless it says otherwise: more than a model reads.
pub const DEFAULT_RESULTS: usize = 200;

/// How many matches a query can ask for.
pub const MAX_RESULTS: usize = 2000;

/// How many bytes of text a query returns unless it says otherwise.
pub const DEFAULT_BYTES: usize = 256 * 1024;

/// How many bytes of text a query can ask for.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How many lines of context around a match can be asked for.
pub const MAX_CONTEXT_LINES: usize = 20;

/// Lines are cut to about this many bytes.
pub const MAX_LINE_BYTES: usize = 512;

/// The longest pattern, and the longest glob, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// How many globs and paths a query may have.
pub const MAX_FILTERS: usize = 64;

/// How many files are walked; the rest is reported as [`Truncation::Files`].
pub const MAX_FILES: usize = 200_000;

/// Larger files are skipped, as everywhere in the workspace.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The machine is shared with the agents' own builds.
pub(crate) const THREADS: usize = 2;

/// Files searched between two looks at the bounds. Whole blocks keep the answer independent of thread timing.
const BLOCK: usize = 256;

/// What a pattern means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The pattern's characters as they stand.
    #[default]
    Literal,
    /// The pattern's characters as a whole word: the uses of an identifier.
    Word,
    /// A regular expression in the syntax of the `regex` crate, matched line by line.
    Regex,
    /// A glob over file names (`*.rs`) or, if it holds a `/`, over whole paths. Contents are not read.
    Glob,
}

/// What to search for, where, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// What to find.
    pub pattern: String,
    /// What the pattern means.
    pub mode: Mode,
    /// Files or directories to search, relative to the root; empty for all. Links are not followed.
    pub paths: Vec<String>,
    /// Only files that match one of these; `!glob` leaves files out. Without a `/` a glob is matched against names.
    pub globs: Vec<String>,
    /// Whether upper and lower case are the same.
    pub case_insensitive: bool,
    /// Lines shown before and after each match, at most [`MAX_CONTEXT_LINES`].
    pub context_lines: usize,
    /// How many matches to return, at most [`MAX_RESULTS`].
    pub max_results: usize,
    /// How many bytes of text to return, at most [`MAX_BYTES`].
    pub max_bytes: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            pattern: String::new(),
            mode: Mode::default(),
            paths: Vec::new(),
            globs: Vec::new(),
            case_insensitive: false,
            context_lines: 0,
            max_results: DEFAULT_RESULTS,
            max_bytes: DEFAULT_BYTES,
        }
    }
}

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The file, relative to the root.
    pub path: String,
    /// The line's number, from 1; 0 for [`Mode::Glob`].
    pub line: u64,
    /// Where in the line the first match begins: a byte number, from 1; 0 for [`Mode::Glob`].
    pub column: u64,
    /// The line without its end. Over 512 bytes it is cut around the match, each cut shown as `…`.
    pub text: String,
    /// The lines before it.
    pub before: Vec<String>,
    /// The lines after it.
    pub after: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// The matches, sorted by path (as bytes), then line.
    pub matches: Vec<Match>,
    /// How many files were searched.
    pub files_searched: usize,
    /// How many of those were skipped: binary, unreadable, over 64 MiB, or with a name that is not UTF-8.
    pub files_skipped: usize,
    /// How many files were not searched because the caller may not read them, whatever they hold.
    pub files_withheld: usize,
    /// Why there may be more matches than these.
    pub truncated: Option<Truncation>,
}

/// Why a search ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// `max_results` was reached.
    Results,
    /// `max_bytes` was reached.
    Bytes,
    /// The deadline passed.
    Deadline,
    /// The workspace has more than [`MAX_FILES`] files.
    Files,
}

/// A query that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// An empty pattern.
    #[error("the pattern is empty")]
    EmptyPattern,
    /// A pattern, glob or list over its limit.
    #[error("{what} is too long: {given} (the limit is {limit})")]
    TooLong {
        /// Which part of the query.
        what: &'static str,
        /// Its length.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// A regular expression or glob that does not parse.
    #[error("the pattern {pattern:?} is wrong at byte {position}: {reason}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// Where, as a byte offset from 0.
        position: usize,
        /// Why.
        reason: String,
    },
    /// A pattern that parses but cannot be used.
    #[error("the pattern {pattern:?} cannot be used: {reason}")]
    Unusable {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A path that is not relative and normalised.
    #[error("the path {path:?} is not a normalised path relative to the workspace")]
    Path {
        /// The path.
        path: String,
    },
    /// The root cannot be opened.
    #[error("cannot open {root}: {reason}")]
    Root {
        /// The root.
        root: String,
        /// Why not.
        reason: String,
    },
}

/// Searches the files of the workspace at `root` for which `may_read` holds, until `deadline`.
///
/// Two threads walk and search; the same tree gives the same answer unless the deadline cuts it off. The deadline is
/// looked at between files and matches, so it can be overrun by the time one file of 64 MiB takes.
pub fn search(
    root: &Path,
    query: &Query,
    may_read: &dyn Fn(&str) -> bool,
    deadline: Instant,
) -> Result<Results, SearchError> {
    let finder = Finder::new(query)?;
    let tree = Tree::open(root, query)?;
    let mut walked = tree.files(deadline);
    let mut results =
        Results { truncated: walked.truncated, files_skipped: walked.skipped, ..Results::default() };
    withhold(&mut walked.files, may_read, deadline, &mut results);
    let budget = Budget::of(query);
    match finder {
        Finder::Names(glob) => names(&walked.files, &glob, budget, &mut results),
        Finder::Lines(matcher) => {
            let job = Job {
                tree: &tree,
                matcher: &matcher,
                context_lines: query.context_lines.min(MAX_CONTEXT_LINES),
                deadline,
            };
            contents(&walked.files, &job, budget, &mut results);
        }
    }
    Ok(results)
}

/// Keeps the files that may be read. Past the deadline none is asked about, and none is kept.
fn withhold(
    files: &mut Vec<String>,
    may_read: &dyn Fn(&str) -> bool,
    deadline: Instant,
    results: &mut Results,
) {
    files.retain(|path| {
        if Instant::now() >= deadline {
            results.truncated = Some(Truncation::Deadline);
            return false;
        }
        let readable = may_read(path);
        results.files_withheld += usize::from(!readable);
        readable
    });
}

/// What is left of the query's bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) results: usize,
    pub(crate) bytes: usize,
}

impl Budget {
    fn of(query: &Query) -> Self {
        Self { results: query.max_results.clamp(1, MAX_RESULTS), bytes: query.max_bytes.clamp(1, MAX_BYTES) }
    }

    /// Pays for one match, or says which bound is used up.
    pub(crate) fn pay(&mut self, found: &Match) -> Result<(), Truncation> {
        self.results = self.results.checked_sub(1).ok_or(Truncation::Results)?;
        let context: usize = found.before.iter().chain(&found.after).map(String::len).sum();
        let cost = found.path.len() + found.text.len() + context;
        self.bytes = self.bytes.checked_sub(cost).ok_or(Truncation::Bytes)?;
        Ok(())
    }
}

/// What the searching threads share.
pub(crate) struct Job<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) matcher: &'a grep::regex::RegexMatcher,
    pub(crate) context_lines: usize,
    pub(crate) deadline: Instant,
}

fn names(files: &[String], glob: &pattern::NameGlob, mut budget: Budget, results: &mut Results) {
    results.files_searched = files.len();
    for path in files.iter().filter(|path| glob.is_match(path)) {
        let found = Match {
            path: path.clone(),
            line: 0,
            column: 0,
            text: String::new(),
            before: Vec::new(),
            after: Vec::new(),
        };
        if let Err(reason) = budget.pay(&found) {
            results.truncated = Some(reason);
            return;
        }
        results.matches.push(found);
    }
}

fn contents(files: &[String], job: &Job<'_>, mut budget: Budget, results: &mut Results) {
    for block in files.chunks(BLOCK) {
        if Instant::now() >= job.deadline {
            results.truncated = Some(Truncation::Deadline);
            return;
        }
        results.files_searched += block.len();
        for outcome in search_block(block, job, budget) {
            results.files_skipped += usize::from(outcome.skipped);
            for found in outcome.matches {
                if let Err(reason) = budget.pay(&found) {
                    results.truncated = Some(reason);
                    return;
                }
                results.matches.push(found);
            }
            if outcome.truncated.is_some() {
                results.truncated = outcome.truncated;
                return;
            }
        }
    }
}

/// What one file held.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) matches: Vec<Match>,
    pub(crate) skipped: bool,
    pub(crate) truncated: Option<Truncation>,
}

/// The outcomes of a block's files, in the files' order.
fn search_block(block: &[String], job: &Job<'_>, budget: Budget) -> Vec<Outcome> {
    let queue = Mutex::new(block.iter().enumerate());
    let work = || {
        let mut done = Vec::new();
        // The lock is held for the taking only. A poisoned queue ends the work; the panic comes back from the scope.
        while let Some((n, path)) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            done.push((n, search_file(path, job, budget)));
        }
        done
    };
    let mut outcomes = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut outcomes = work();
        match other.join() {
            Ok(more) => outcomes.extend(more),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        outcomes
    });
    outcomes.sort_unstable_by_key(|(n, _)| *n);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
