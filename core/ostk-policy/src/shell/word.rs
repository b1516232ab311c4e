//! The value of a word, as far as the command line alone decides it.
//!
//! Quotes and escapes are taken away, braces expanded, variables replaced that the same line sets. What only the run
//! decides is a mark in the text, one for each origin: the environment, a command's output, a download. A word that
//! begins at the home directory begins with `~`, whether it was written so or as `$HOME`.

/// A value from the environment.
pub(super) const VARIABLE: char = '\u{fffd}';
/// What a command prints.
pub(super) const OUTPUT: char = '\u{e002}';
/// What a download brings.
pub(super) const FETCHED: char = '\u{e001}';
/// What a file holds.
pub(super) const FILE: char = '\u{e003}';
/// Every mark.
pub(super) const MARKS: [char; 4] = [VARIABLE, OUTPUT, FETCHED, FILE];
/// Where the shell splits an unquoted value into words; never in a finished word.
const BREAK: char = '\u{e000}';

/// Most values a word may take, and most words one word may become.
const MAX_VALUES: usize = 32;
/// Longest word whose braces are expanded, in bytes: the cost is that of its length times its braces.
const MAX_BRACE_BYTES: usize = 2048;
/// Longest value followed, in bytes; what is longer counts as not known.
const MAX_VALUE_BYTES: usize = super::MAX_COMMAND_BYTES;

/// A word of a command after quotes, escapes and known variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(String);

impl Word {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Something of this origin and nothing else.
    pub(super) fn of(mark: char) -> Self {
        Self(mark.to_string())
    }

    /// Its text; a character of a private kind stands for each part that is not known.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole value is known.
    pub fn is_known(&self) -> bool {
        !self.0.contains(MARKS)
    }

    pub(super) fn has(&self, mark: char) -> bool {
        self.0.contains(mark)
    }

    /// For a person: on one line, `…` for what is not known.
    pub(super) fn show(&self) -> String {
        let plain = |c: char| match c {
            c if MARKS.contains(&c) => '…',
            c if c.is_control() => ' ',
            c => c,
        };
        let text: String = self.0.chars().take(400).map(plain).collect();
        let quoted = text.is_empty() || text.contains(char::is_whitespace);
        if quoted { format!("'{text}'") } else { text }
    }
}

/// Words joined by a space, as `eval` and `ssh` join them.
pub(super) fn join(words: &[Word]) -> Word {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word.as_str());
        if text.len() > MAX_VALUE_BYTES {
            return Word::of(VARIABLE);
        }
    }
    Word(text)
}

/// Builds the values of one word, part by part.
#[derive(Debug)]
pub(super) struct Builder {
    values: Vec<String>,
    started: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { values: vec![String::new()], started: false }
    }

    /// A literal part as written, outside quotes.
    pub(super) fn bare(&mut self, raw: &str) {
        self.each(|value| unescape(raw, value));
    }

    /// A literal part as written, inside double quotes.
    pub(super) fn in_quotes(&mut self, raw: &str) {
        self.quote_starts(raw);
        self.each(|value| unescape_quoted(raw, value));
    }

    /// A literal part without any escape.
    pub(super) fn verbatim(&mut self, text: &str) {
        self.quote_starts(text);
        self.each(|value| value.push_str(text));
    }

    /// A `~` in quotes is a name like any other.
    fn quote_starts(&mut self, text: &str) {
        if !self.started && text.starts_with('~') {
            self.each(|value| value.push_str("./"));
        }
    }

    /// An unknown part.
    pub(super) fn mark(&mut self, mark: char) {
        self.each(|value| value.push(mark));
    }

    /// A part with one of several values; outside quotes the shell splits them at spaces.
    pub(super) fn any_of(&mut self, options: &[String], quoted: bool) {
        if options.is_empty() || self.values.len() * options.len() > MAX_VALUES {
            return self.mark(VARIABLE);
        }
        let split = |option: &String| match quoted {
            true => option.clone(),
            false => option.replace(char::is_whitespace, &BREAK.to_string()),
        };
        let options: Vec<String> = options.iter().map(split).collect();
        let one =
            |value: &String| options.iter().map(|option| format!("{value}{option}")).collect::<Vec<_>>();
        self.values = self.values.iter().flat_map(one).collect();
        self.started = true;
    }

    fn each(&mut self, mut change: impl FnMut(&mut String)) {
        for value in &mut self.values {
            if value.len() <= MAX_VALUE_BYTES {
                change(value);
            } else if !value.ends_with(VARIABLE) {
                value.push(VARIABLE);
            }
        }
        self.started = true;
    }

    /// The values, each as the words the shell makes of it.
    pub(super) fn finish(self, braces: bool) -> Vec<Vec<Word>> {
        let words = |value: String| -> Vec<Word> {
            if value.contains(BREAK) {
                return value.split(BREAK).filter(|part| !part.is_empty()).map(Word::new).collect();
            }
            match braces {
                true => expand_braces(&value).into_iter().map(Word).collect(),
                false => vec![Word(value)],
            }
        };
        self.values.into_iter().map(words).collect()
    }
}

/// Takes the escapes of unquoted text away.
fn unescape(raw: &str, out: &mut String) {
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(next) => out.push(next),
            },
            c => out.push(c),
        }
    }
}

/// Takes the escapes of text in double quotes away.
fn unescape_quoted(raw: &str, out: &mut String) {
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\n')) => drop(chars.next()),
            ('\\', Some(next @ ('$' | '`' | '"' | '\\'))) => {
                out.push(*next);
                chars.next();
            }
            (c, _) => out.push(c),
        }
    }
}

/// What bash makes of `{a,b}`; a sequence such as `{1..9}` stays as it is. At most [`MAX_VALUES`] words.
fn expand_braces(text: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(next) = open.pop() {
        match first_list(&next) {
            Some(expanded) if done.len() + open.len() + expanded.len() <= MAX_VALUES => {
                open.extend(expanded.into_iter().rev());
            }
            _ => done.push(next),
        }
    }
    done
}

/// The words that the first complete list in braces stands for.
fn first_list(text: &str) -> Option<Vec<String>> {
    if text.len() > MAX_BRACE_BYTES {
        return None;
    }
    for (start, _) in text.match_indices('{').take(MAX_VALUES) {
        let (before, after) = (text.get(..start)?, text.get(start + 1..)?);
        let (mut depth, mut from, mut items) = (0_usize, 0, Vec::new());
        for (at, c) in after.char_indices() {
            match c {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    items.push(after.get(from..at)?);
                    from = at + 1;
                }
                '}' if depth > 0 => depth -= 1,
                '}' if items.is_empty() => break,
                '}' => {
                    items.push(after.get(from..at)?);
                    let rest = after.get(at + 1..)?;
                    return Some(items.into_iter().map(|item| format!("{before}{item}{rest}")).collect());
                }
                _ => {}
            }
        }
    }
    None
}
