//! The words of a line, as pins and the HUMANFILE write them: separated by spaces, in double quotes where a word holds
//! one, `#` before a word begins a comment. Inside quotes a backslash takes the next character as it is.
//!
//! What the words mean is said by the parsers that call this.

/// A word with its place.
pub(crate) struct Value {
    pub(crate) text: String,
    /// 1-based, in characters.
    pub(crate) column: usize,
}

/// Splits the part of a line that begins at `first_column`. An error is a column and what is wrong there.
pub(crate) fn values(rest: &str, first_column: usize) -> Result<Vec<Value>, (usize, &'static str)> {
    let mut values = Vec::new();
    let mut chars = (first_column..).zip(rest.chars()).peekable();
    while let Some((column, c)) = chars.next() {
        match c {
            '#' => break,
            '"' => {
                let mut text = String::new();
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((_, '\\')) => text.extend(chars.next().map(|(_, escaped)| escaped)),
                        Some((_, plain)) => text.push(plain),
                        None => return Err((column, "the quotation mark is not closed")),
                    }
                }
                if chars.peek().is_some_and(|(_, next)| !next.is_whitespace()) {
                    return Err((column, "a space must follow a quoted value"));
                }
                values.push(Value { text, column });
            }
            space if space.is_whitespace() => {}
            first => {
                let mut text = String::from(first);
                while let Some((_, next)) = chars.next_if(|(_, next)| !next.is_whitespace()) {
                    text.push(next);
                }
                values.push(Value { text, column });
            }
        }
    }
    Ok(values)
}

/// The word as [`values`] reads it back.
pub(crate) fn quote(word: &str) -> String {
    let plain = !word.is_empty() && !word.starts_with(['"', '#', '<']) && !word.contains(char::is_whitespace);
    if plain {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', r#"\""#))
}
