//! Reads the text of a `pin.caps`: one `key: value value …` per line, values with spaces in double quotes, `#` to the
//! end of the line a comment.
//!
//! Never panics and never guesses: an unknown key, token or character is an error with its line, its column and the
//! nearest known word. All problems of a text are reported, up to a limit. The result is a [`Pin`].

use crate::{
    documents::{Lint, LoadError, LoadErrors, MAX_LINES, MAX_PROBLEMS, MAX_TEXT_BYTES, pin_document},
    host::HostPattern,
    path::PathPattern,
    pin::{At, DenyToken, Execute, PathList, Pin},
    shell::{MAX_VERB_WORDS, normalise},
    suggest::nearest,
    words::{Value, values},
};

const KEYS: [&str; 8] = ["read", "write", "execute", "deny", "deny-path", "deny-verb", "connect", "allow"];

/// The value that takes a capability away altogether. A path of that name is written `./none`.
const NONE: &str = "none";

impl Pin {
    /// Reads a pin. `text` is at most [`MAX_TEXT_BYTES`] bytes and [`MAX_LINES`] lines.
    ///
    /// # Errors
    /// Every problem found, with line, column and suggestion.
    pub fn parse(name: &str, text: &str) -> Result<Self, LoadErrors> {
        let mut parser = Parser::new(name);
        if text.len() > MAX_TEXT_BYTES || text.lines().nth(MAX_LINES).is_some() {
            parser.error(
                1,
                1,
                format!("a pin has at most {MAX_TEXT_BYTES} bytes and {MAX_LINES} lines"),
                None,
            );
        } else {
            for (at, line) in text.lines().enumerate() {
                if parser.errors.len() >= MAX_PROBLEMS {
                    break;
                }
                parser.line(at + 1, line);
            }
        }
        parser.finish()
    }
}

struct Parser {
    pin: Pin,
    document: String,
    errors: Vec<LoadError>,
}

impl Parser {
    fn new(name: &str) -> Self {
        let pin = Pin {
            name: name.to_owned(),
            read: None,
            write: None,
            execute: None,
            deny: Vec::new(),
            deny_paths: Vec::new(),
            deny_verbs: Vec::new(),
            connect: None,
            lints: Vec::new(),
        };
        Self { pin, document: pin_document(name), errors: Vec::new() }
    }

    fn finish(mut self) -> Result<Pin, LoadErrors> {
        self.lint_lists();
        match LoadErrors::from_list(self.errors) {
            Some(errors) => Err(errors),
            None => Ok(self.pin),
        }
    }

    fn error(&mut self, line: usize, column: usize, message: impl Into<String>, hint: Option<String>) {
        let document = self.document.clone();
        self.errors.push(LoadError { document, line, column, message: message.into(), hint });
    }

    fn lint(&mut self, line: usize, message: impl Into<String>) {
        self.pin.lints.push(Lint { document: self.document.clone(), line, message: message.into() });
    }

    fn line(&mut self, number: usize, line: &str) {
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return;
        }
        let Some((key, rest)) = trimmed.split_once(':') else {
            let hint = "write `key: value`, for example `read: src docs`".to_owned();
            return self.error(number, indent + 1, "a line needs a key and a colon", Some(hint));
        };
        if !KEYS.contains(&key) {
            return self.unknown(number, indent + 1, "key", key, &KEYS);
        }
        let first_column = indent + key.chars().count() + 2;
        match values(rest, first_column) {
            Err((column, message)) => self.error(number, column, message, None),
            Ok(values) if values.is_empty() => {
                let hint = (key != "allow").then(|| format!("`{key}: {NONE}` or leave the line out"));
                self.error(number, first_column, format!("`{key}:` needs a value"), hint);
            }
            Ok(values) => self.entry(number, key, values),
        }
    }

    fn entry(&mut self, line: usize, key: &str, values: Vec<Value>) {
        match key {
            "read" | "write" => self.path_list(line, key, values),
            "execute" => self.execute(line, &values),
            "deny" => values.iter().for_each(|value| self.deny(line, value)),
            "deny-path" => values.iter().for_each(|value| self.deny_path(line, value)),
            "deny-verb" => values.iter().for_each(|value| self.deny_verb(line, value)),
            "connect" => self.connect(line, &values),
            _ => {
                self.lint(line, "`allow:` gives nothing: a pin only takes rights away, and no deny is lifted")
            }
        }
    }

    fn unknown(&mut self, line: usize, column: usize, what: &str, word: &str, known: &[&str]) {
        let hint = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        let shown: String = word.chars().take(80).collect();
        self.error(line, column, format!("unknown {what} {shown:?}"), Some(hint));
    }

    fn path(&mut self, line: usize, value: &Value) -> Option<PathPattern> {
        match PathPattern::parse(&value.text) {
            Ok(pattern) => Some(pattern),
            Err(problem) => {
                self.error(line, value.column, problem.to_string(), None);
                None
            }
        }
    }

    fn path_list(&mut self, line: usize, key: &str, values: Vec<Value>) {
        let none = values.iter().find(|value| value.text == NONE).map(|value| value.column);
        let mut paths = Vec::new();
        if none.is_none() {
            paths = values.iter().filter_map(|value| self.path(line, value)).collect();
        }
        let list = if key == "read" { &mut self.pin.read } else { &mut self.pin.write };
        let contradicts = none.is_some() && (values.len() > 1 || list.is_some())
            || list.as_ref().is_some_and(|list| list.paths.is_empty());
        list.get_or_insert(PathList { line, paths: Vec::new() }).paths.append(&mut paths);
        if contradicts {
            let column = none.unwrap_or(1);
            self.error(
                line,
                column,
                format!("`{key}: {NONE}` stands alone"),
                Some(format!("a path is ./{NONE}")),
            );
        }
    }

    fn execute(&mut self, line: usize, values: &[Value]) {
        let [value] = values else {
            return self.error(line, 1, "`execute:` takes one value: shell, shell(readonly) or none", None);
        };
        let modes = [Execute::Shell, Execute::ReadonlyShell, Execute::None];
        let Some(mode) = modes.into_iter().find(|mode| mode.as_str() == value.text) else {
            return self.unknown(line, value.column, "value", &value.text, &modes.map(Execute::as_str));
        };
        if let Some(earlier) = &self.pin.execute {
            let message = format!("`execute:` is already given on line {}", earlier.line);
            return self.error(line, 1, message, None);
        }
        self.pin.execute = Some(At { line, value: mode });
    }

    fn deny(&mut self, line: usize, value: &Value) {
        let Some((_, token)) = DenyToken::ALL.iter().find(|(name, _)| *name == value.text) else {
            return self.unknown(
                line,
                value.column,
                "token",
                &value.text,
                &DenyToken::ALL.map(|(name, _)| name),
            );
        };
        push_new(&mut self.pin.deny, At { line, value: *token });
    }

    fn deny_path(&mut self, line: usize, value: &Value) {
        let Some(pattern) = self.path(line, value) else { return };
        if pattern.literal().is_none() && pattern.base().is_empty() {
            let text = pattern.as_str();
            self.lint(
                line,
                format!("{text} holds for file calls; a sandbox cannot keep a command from such names"),
            );
        }
        push_new(&mut self.pin.deny_paths, At { line, value: pattern });
    }

    fn deny_verb(&mut self, line: usize, value: &Value) {
        let verb = normalise(&value.text);
        match verb.split(' ').count() {
            _ if verb.is_empty() => self.error(line, value.column, "a verb may not be empty", None),
            1..=MAX_VERB_WORDS => push_new(&mut self.pin.deny_verbs, At { line, value: verb }),
            _ => self.error(line, value.column, format!("a verb has at most {MAX_VERB_WORDS} words"), None),
        }
    }

    fn connect(&mut self, line: usize, values: &[Value]) {
        let mut hosts = Vec::new();
        for value in values.iter().filter(|value| value.text != NONE) {
            match HostPattern::parse(&value.text) {
                Ok(pattern) => hosts.push(pattern),
                Err(problem) => self.error(line, value.column, problem.to_string(), None),
            }
        }
        if values.len() > 1 && values.iter().any(|value| value.text == NONE) {
            self.error(line, 1, format!("`connect: {NONE}` stands alone"), None);
        }
        self.pin.connect.get_or_insert_default().append(&mut hosts);
    }

    fn lint_lists(&mut self) {
        let globs = self.pin.write.iter().flat_map(|list| &list.paths).any(|path| path.literal().is_none());
        if let (true, Some(line)) = (globs, self.pin.write.as_ref().map(|list| list.line)) {
            self.lint(
                line,
                "a glob in `write:` holds for file calls; commands may write only where a path is given",
            );
        }
        if let (Some(read), None) = (&self.pin.read, &self.pin.write) {
            self.lint(
                read.line,
                "there is no `write:` line, so writing keeps the defaults; `write: none` takes it away",
            );
        }
    }
}

/// Adds a rule unless the same line already has it.
fn push_new<T: PartialEq>(list: &mut Vec<At<T>>, new: At<T>) {
    if !list.contains(&new) {
        list.push(new);
    }
}
