//! YAML as governing documents use it: maps, lists and scalars, each with its place.
//!
//! Anchors, aliases, tags, several documents and two equal keys of one map are refused: what governs must read the same to
//! everyone, and cannot grow beyond its text. Scalars mean what YAML 1.2's core schema says. The events are
//! `saphyr-parser`'s; nothing else knows it.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::{
    documents::{LoadError, LoadErrors, MAX_LINES, MAX_TEXT_BYTES},
    suggest::nearest,
};

/// Deepest nesting. Rules need five levels.
const MAX_DEPTH: usize = 32;

/// A value with its place, both counted from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A scalar as written, and whether it stands without quotes, so that it may be a number, a bool or null.
    Scalar(String, bool),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A YAML text under a document's name, for messages.
pub(crate) struct Yaml<'a> {
    pub(crate) document: &'a str,
    /// Lines of the document before the text.
    pub(crate) skipped: usize,
}

/// Not yet closed, with where it begins: a list, or a map with the key that waits for its value.
enum Open {
    List((usize, usize), Vec<Node>),
    Map((usize, usize), Vec<(Key, Node)>, Option<Key>),
}

impl Yaml<'_> {
    pub(crate) fn error(&self, (line, column): (usize, usize), message: impl Into<String>) -> LoadError {
        let document = self.document.to_owned();
        LoadError { document, line, column, message: message.into(), hint: None }
    }

    /// An error that says which words are known.
    pub(crate) fn unknown(&self, at: (usize, usize), what: &str, word: &str, known: &[&str]) -> LoadError {
        let shown: String = word.chars().take(80).collect();
        let hint = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        LoadError { hint: Some(hint), ..self.error(at, format!("unknown {what} {shown:?}")) }
    }

    /// Reads a text of one value; `None` for one that holds nothing.
    ///
    /// # Errors
    /// The first thing that is not YAML, or not of the kind that governs.
    pub(crate) fn read(&self, text: &str) -> Result<Option<Node>, LoadErrors> {
        if text.len() > MAX_TEXT_BYTES || text.lines().nth(MAX_LINES).is_some() {
            let message = format!("a document has at most {MAX_TEXT_BYTES} bytes and {MAX_LINES} lines");
            return Err(self.error((1, 1), message).into());
        }
        let (mut open, mut whole) = (Vec::new(), None);
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|problem| {
                let at = (problem.marker().line() + self.skipped, problem.marker().col() + 1);
                LoadErrors::from(self.error(at, format!("not YAML: {}", problem.info())))
            })?;
            if let Some(node) = self.event(event, span, &mut open)? {
                match open.last_mut() {
                    None if whole.is_some() => {
                        return Err(self
                            .error((node.line, node.column), "a second document starts here")
                            .into());
                    }
                    None => whole = Some(node),
                    Some(open) => self.place(open, node)?,
                }
            }
        }
        Ok(whole)
    }

    /// Takes one event; returns the value that it completes.
    fn event(&self, event: Event<'_>, span: Span, open: &mut Vec<Open>) -> Result<Option<Node>, LoadErrors> {
        let at = (span.start.line() + self.skipped, span.start.col() + 1);
        let plain = |anchor: usize, tagged: bool| match (anchor, tagged) {
            (0, false) => Ok(()),
            (_, true) => Err(LoadErrors::from(self.error(at, "tags (`!…`) are not used here"))),
            _ => Err(self.error(at, "anchors (`&…`) are not used here").into()),
        };
        let node = |(line, column), kind| Ok(Some(Node { line, column, kind }));
        match event {
            Event::Alias(_) => return Err(self.error(at, "aliases (`*…`) are not used here").into()),
            Event::Scalar(text, style, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                return node(at, Kind::Scalar(text.into_owned(), style == ScalarStyle::Plain));
            }
            Event::SequenceStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                open.push(Open::List(at, Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                open.push(Open::Map(at, Vec::new(), None));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                return match open.pop() {
                    Some(Open::List(at, list)) => node(at, Kind::List(list)),
                    Some(Open::Map(at, pairs, _)) => node(at, Kind::Map(pairs)),
                    None => Ok(None),
                };
            }
            _ => {}
        }
        if open.len() > MAX_DEPTH {
            return Err(self.error(at, format!("nested deeper than {MAX_DEPTH} levels")).into());
        }
        Ok(None)
    }

    /// Puts a value into what is open around it.
    fn place(&self, open: &mut Open, node: Node) -> Result<(), LoadErrors> {
        match open {
            Open::List(_, list) => list.push(node),
            Open::Map(_, pairs, waiting @ None) => {
                let at = (node.line, node.column);
                let Kind::Scalar(text, _) = node.kind else {
                    return Err(self.error(at, "a key is a word").into());
                };
                if let Some((earlier, _)) = pairs.iter().find(|(key, _)| key.text == text) {
                    return Err(self
                        .error(at, format!("the key is already given on line {}", earlier.line))
                        .into());
                }
                *waiting = Some(Key { text, line: at.0, column: at.1 });
            }
            Open::Map(_, pairs, waiting) => pairs.extend(waiting.take().map(|key| (key, node))),
        }
        Ok(())
    }
}

impl Node {
    pub(crate) const fn at(&self) -> (usize, usize) {
        (self.line, self.column)
    }

    /// The text of a scalar that is not null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, plain) if !(*plain && is_null(text)) => Some(text),
            _ => None,
        }
    }

    /// The values of a list.
    pub(crate) fn list(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::List(list) => Some(list),
            _ => None,
        }
    }

    /// The pairs of a map.
    pub(crate) fn map(&self) -> Option<&[(Key, Self)]> {
        match &self.kind {
            Kind::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value of a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.map()?.iter().find(|(own, _)| own.text == key).map(|(_, value)| value)
    }

    /// A whole number, written without quotes.
    pub(crate) fn number(&self) -> Option<i64> {
        match &self.kind {
            Kind::Scalar(text, true) => text.parse().ok(),
            _ => None,
        }
    }

    /// `true` or `false`, written without quotes.
    pub(crate) fn flag(&self) -> Option<bool> {
        match &self.kind {
            Kind::Scalar(text, true) => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The nulls of YAML 1.2, 10.3.2.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
