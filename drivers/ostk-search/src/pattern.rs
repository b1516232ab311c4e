//! From a query's text to something that matches: a regular expression over lines, a glob over names, path filters.
//!
//! Patterns come from models, so each is bounded in length and in the size of what it compiles to, and an error says
//! where in the pattern it is.

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use grep::regex::{RegexMatcher, RegexMatcherBuilder};

use crate::{MAX_FILTERS, MAX_PATTERN_BYTES, Mode, Query, SearchError};

/// Memory that a compiled regular expression, and its lazy automaton, may take.
const MAX_COMPILED_BYTES: usize = 10 * 1024 * 1024;

/// How deep groups may nest.
const MAX_NESTING: u32 = 100;

/// A pattern ready to be used.
pub(crate) enum Finder {
    /// Look into files.
    Lines(RegexMatcher),
    /// Look at names only.
    Names(NameGlob),
}

impl Finder {
    pub(crate) fn new(query: &Query) -> Result<Self, SearchError> {
        let pattern = query.pattern.as_str();
        if pattern.is_empty() {
            return Err(SearchError::EmptyPattern);
        }
        check_length("the pattern", pattern.len(), MAX_PATTERN_BYTES)?;
        match query.mode {
            Mode::Glob => NameGlob::new(pattern, query.case_insensitive).map(Self::Names),
            Mode::Regex => {
                check_syntax(pattern)?;
                lines(query)
            }
            Mode::Literal | Mode::Word => lines(query),
        }
    }
}

fn lines(query: &Query) -> Result<Finder, SearchError> {
    let matcher = RegexMatcherBuilder::new()
        .multi_line(true)
        .crlf(true)
        .fixed_strings(query.mode != Mode::Regex)
        .word(query.mode == Mode::Word)
        .case_insensitive(query.case_insensitive)
        .nest_limit(MAX_NESTING)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .build(&query.pattern);
    matcher.map(Finder::Lines).map_err(|error| SearchError::Unusable {
        pattern: query.pattern.clone(),
        reason: match error.kind() {
            grep::regex::ErrorKind::NotAllowed(_) => "it spans lines; the search is line by line".to_owned(),
            _ => error.to_string(),
        },
    })
}

/// Parses a regular expression only to learn where it is wrong.
fn check_syntax(pattern: &str) -> Result<(), SearchError> {
    let parsed =
        regex_syntax::ParserBuilder::new().nest_limit(MAX_NESTING).utf8(false).build().parse(pattern);
    let (position, reason) = match parsed {
        Ok(_) => return Ok(()),
        Err(regex_syntax::Error::Parse(e)) => (e.span().start.offset, e.kind().to_string()),
        Err(regex_syntax::Error::Translate(e)) => (e.span().start.offset, e.kind().to_string()),
        Err(other) => (0, other.to_string()),
    };
    Err(SearchError::Syntax { pattern: pattern.to_owned(), position, reason })
}

/// A glob over names, or over whole paths if it holds a `/`.
pub(crate) struct NameGlob {
    glob: GlobMatcher,
    whole_path: bool,
}

impl NameGlob {
    fn new(pattern: &str, case_insensitive: bool) -> Result<Self, SearchError> {
        let glob = compile(pattern.trim_start_matches('/'), case_insensitive)?.compile_matcher();
        Ok(Self { glob, whole_path: pattern.contains('/') })
    }

    pub(crate) fn is_match(&self, path: &str) -> bool {
        let name = if self.whole_path { path } else { path.rsplit('/').next().unwrap_or(path) };
        self.glob.is_match(name)
    }
}

/// Which files a query wants: below its paths, in one of its globs, in none of its `!` globs.
pub(crate) struct Filter {
    paths: Vec<String>,
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    pub(crate) fn new(query: &Query) -> Result<Self, SearchError> {
        check_length("the list of paths", query.paths.len(), MAX_FILTERS)?;
        check_length("the list of globs", query.globs.len(), MAX_FILTERS)?;
        let (mut include, mut exclude) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let mut any_included = false;
        for glob in &query.globs {
            check_length("a glob", glob.len(), MAX_PATTERN_BYTES)?;
            match glob.strip_prefix('!') {
                Some(glob) => add_glob(&mut exclude, glob, query.case_insensitive)?,
                None => {
                    any_included = true;
                    add_glob(&mut include, glob, query.case_insensitive)?;
                }
            }
        }
        let include = if any_included { Some(build(&include)?) } else { None };
        let paths = query.paths.iter().map(|path| relative(path)).collect::<Result<Vec<_>, _>>()?;
        // The root among the paths makes the others needless.
        let paths = if paths.iter().any(String::is_empty) { Vec::new() } else { paths };
        Ok(Self { paths, include, exclude: build(&exclude)? })
    }

    /// Whether the walk must enter the directory `path`.
    pub(crate) fn enters(&self, path: &str) -> bool {
        self.paths.is_empty()
            || self.paths.iter().any(|wanted| is_below(path, wanted) || is_below(wanted, path))
    }

    /// Whether the file `path` is wanted.
    pub(crate) fn wants(&self, path: &str) -> bool {
        let below = self.paths.is_empty() || self.paths.iter().any(|wanted| is_below(path, wanted));
        below && self.include.as_ref().is_none_or(|set| set.is_match(path)) && !self.exclude.is_match(path)
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path without a trailing `/`, empty for the root.
fn relative(path: &str) -> Result<String, SearchError> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if trimmed == "." {
        return Ok(String::new());
    }
    let ordinary = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
    if trimmed.len() > MAX_PATTERN_BYTES || !trimmed.split('/').all(ordinary) {
        return Err(SearchError::Path { path: path.chars().take(200).collect() });
    }
    Ok(trimmed.to_owned())
}

/// Adds `glob` and what lies below it, so that a directory's name selects its content.
fn add_glob(set: &mut GlobSetBuilder, glob: &str, case_insensitive: bool) -> Result<(), SearchError> {
    let anchored = glob.trim_end_matches('/');
    let anywhere = if anchored.contains('/') {
        anchored.trim_start_matches('/').to_owned()
    } else {
        format!("**/{anchored}")
    };
    set.add(compile(&anywhere, case_insensitive)?);
    set.add(compile(&format!("{anywhere}/**"), case_insensitive)?);
    Ok(())
}

fn compile(glob: &str, case_insensitive: bool) -> Result<Glob, SearchError> {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .case_insensitive(case_insensitive)
        .build()
        .map_err(|error| SearchError::Unusable { pattern: glob.to_owned(), reason: error.kind().to_string() })
}

fn build(set: &GlobSetBuilder) -> Result<GlobSet, SearchError> {
    set.build().map_err(|error| SearchError::Unusable {
        pattern: error.glob().unwrap_or_default().to_owned(),
        reason: error.kind().to_string(),
    })
}

fn check_length(what: &'static str, given: usize, limit: usize) -> Result<(), SearchError> {
    if given > limit { Err(SearchError::TooLong { what, given, limit }) } else { Ok(()) }
}
