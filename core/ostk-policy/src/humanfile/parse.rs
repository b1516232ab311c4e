//! Reads the text of a HUMANFILE: one directive a line, `<<TAG` for several lines, `mcp:` with indented lines below it.
//!
//! Never panics and never guesses: every problem has its line, its column and, where there is one, a remedy. A value that
//! stands where the name of a secret belongs is never quoted.

use super::{
    Humanfile,
    table::{Problem, Row, Shape, clip, find},
};
use crate::{
    documents::{Lint, LoadError, LoadErrors, MAX_LINES, MAX_PROBLEMS, MAX_TEXT_BYTES},
    pin::At,
    words::{Value, values},
};

struct Parser<'a> {
    document: &'a str,
    file: Humanfile,
    errors: Vec<LoadError>,
    /// What the lines that follow belong to.
    open: Open<'a>,
}

enum Open<'a> {
    Nothing,
    /// Until a line that is the tag; with the line that began it.
    Heredoc(&'static Row, &'a str, usize),
    /// While lines are indented.
    Block(&'static Row),
}

impl Humanfile {
    /// Reads one file, `document` for messages. `text` is at most [`MAX_TEXT_BYTES`] bytes and [`MAX_LINES`] lines.
    /// A file alone may leave out what it needs: see [`Humanfile::layered`].
    ///
    /// # Errors
    /// Every problem found, with line, column and remedy.
    pub fn parse(document: &str, text: &str) -> Result<Self, LoadErrors> {
        let mut parser = Parser { document, file: Self::default(), errors: Vec::new(), open: Open::Nothing };
        if text.len() > MAX_TEXT_BYTES || text.lines().nth(MAX_LINES).is_some() {
            let message = format!("a HUMANFILE has at most {MAX_TEXT_BYTES} bytes and {MAX_LINES} lines");
            parser.error(1, 1, (message, None));
        } else {
            for (number, line) in (1..).zip(text.lines()) {
                if parser.errors.len() >= MAX_PROBLEMS {
                    break;
                }
                parser.line(number, line);
            }
            parser.close();
        }
        match LoadErrors::from_list(parser.errors) {
            Some(errors) => Err(errors),
            None => Ok(parser.file),
        }
    }
}

impl<'a> Parser<'a> {
    fn error(&mut self, line: usize, column: usize, (message, hint): Problem) {
        self.errors.push(LoadError { document: self.document.to_owned(), line, column, message, hint });
    }

    fn line(&mut self, number: usize, line: &'a str) {
        if let Some(at) = line.chars().position(|c| c.is_control() && c != '\t') {
            return self.error(number, at + 1, ("a control character is not allowed here".to_owned(), None));
        }
        let trimmed = line.trim();
        match self.open {
            Open::Heredoc(_, tag, _) if trimmed == tag => self.open = Open::Nothing,
            _ if trimmed.is_empty() || trimmed.starts_with('#') => {}
            Open::Heredoc(row, ..) => self.entry(row, number, indent(line) + 1, trimmed),
            Open::Block(row) if indent(line) > 0 => self.server(row, number, indent(line) + 1, trimmed),
            _ if indent(line) > 0 => {
                let hint = "a directive starts at the left margin; only `mcp:` has indented lines".to_owned();
                self.error(number, 1, ("this line is indented and continues nothing".to_owned(), Some(hint)));
            }
            _ => self.directive(number, trimmed),
        }
    }

    fn directive(&mut self, number: usize, line: &'a str) {
        self.open = Open::Nothing;
        let (word, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let row = match find(word) {
            Ok(row) => row,
            Err(problem) => return self.error(number, 1, problem),
        };
        let argument = argument.trim_start();
        let column = line.chars().count() - argument.chars().count() + 1;
        if !row.carried_out {
            let message = format!("{word} is read and checked; nothing acts on it yet");
            self.file.lints.push(Lint { document: self.document.to_owned(), line: number, message });
        }
        match argument.strip_prefix("<<") {
            _ if row.shape == Shape::Block => self.block(row, number, column, argument),
            Some(tag) if tag.is_empty() || tag.contains(char::is_whitespace) || tag.starts_with('#') => {
                let hint = format!("{word} <<END, the lines, and END on a line of its own");
                self.error(number, column, ("a word must follow `<<`".to_owned(), Some(hint)));
            }
            Some(tag) => self.open = Open::Heredoc(row, tag, number),
            None => self.entry(row, number, column, argument),
        }
    }

    fn block(&mut self, row: &'static Row, number: usize, column: usize, argument: &str) {
        self.open = Open::Block(row);
        if !argument.is_empty() && !argument.starts_with('#') {
            let hint = "the servers follow on indented lines: `notes: notes-mcp --stdio`".to_owned();
            self.error(number, column, ("nothing stands after `mcp:` on its line".to_owned(), Some(hint)));
        }
    }

    /// One line of the `mcp:` block.
    fn server(&mut self, row: &'static Row, number: usize, column: usize, line: &str) {
        let Some((name, command)) =
            line.split_once(':').map(|(name, command)| (name.trim_end(), command.trim()))
        else {
            let hint = "for example `notes: notes-mcp --stdio`".to_owned();
            return self.error(number, column, ("a server is `name: command`".to_owned(), Some(hint)));
        };
        if command.is_empty() {
            return self.error(number, column, (format!("the server {:?} has no command", clip(name)), None));
        }
        let known = self.file.entries(row.key).any(|words| words.first().is_some_and(|own| own == name));
        if known {
            return self.error(number, column, (format!("the server {:?} stands twice", clip(name)), None));
        }
        let words = [name, command].map(|text| Value { text: text.to_owned(), column });
        self.add(row, number, words.into());
    }

    /// The text after a directive, or one line of a heredoc.
    fn entry(&mut self, row: &'static Row, number: usize, column: usize, text: &str) {
        let missing = |what: &str| (format!("{what} {}", row.name), Some(row.form.to_owned()));
        if row.shape == Shape::Line {
            return match text {
                "" => self.error(number, column, missing("nothing follows")),
                text if text.starts_with('#') => self.error(number, column, missing("nothing follows")),
                text => self.add(row, number, vec![Value { text: text.to_owned(), column }]),
            };
        }
        let words = match values(text, column) {
            Ok(words) => words,
            Err((column, message)) => return self.error(number, column, (message.to_owned(), None)),
        };
        match (row.shape, words.len()) {
            (_, 0) => self.error(number, column, missing("nothing follows")),
            (Shape::Each, _) => words.into_iter().for_each(|word| self.add(row, number, vec![word])),
            (Shape::Words(least, most), count) if !(least..=most).contains(&count) => {
                let hint = format!("{}; a word with spaces stands in double quotes", row.form);
                self.error(number, column, (format!("{count} words follow {}", row.name), Some(hint)));
            }
            _ => self.add(row, number, words),
        }
    }

    /// Checks the words of an entry and keeps them.
    fn add(&mut self, row: &'static Row, line: usize, words: Vec<Value>) {
        for (at, word) in words.iter().enumerate() {
            if let Err(problem) = (row.check)(at, &word.text) {
                return self.error(line, word.column, problem);
            }
        }
        let entry = At { line, value: words.into_iter().map(|word| word.text).collect() };
        let held = self.file.entries.entry(row.key).or_default();
        if let Some(earlier) = held.first().filter(|_| row.once) {
            let message = format!("{} is already given on line {}", row.name, earlier.line);
            return self.error(line, 1, (message, Some("remove one of the two".to_owned())));
        }
        if !held.iter().any(|own| own.value == entry.value) {
            held.push(entry);
        }
    }

    fn close(&mut self) {
        if let Open::Heredoc(row, tag, line) = self.open {
            let hint = format!("write {} on a line of its own after the last one", clip(tag));
            self.error(line, 1, (format!("the lines of {} are not closed", row.name), Some(hint)));
        }
    }
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).count()
}
