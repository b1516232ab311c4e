//! From text to directives: continuation lines joined, variables expanded. Knows no directive but the two that continue.
//!
//! `${VAR}` and `${VAR:-default}` expand, `$${` is a literal `${`; a value is not expanded again. Lines are joined
//! before they expand, so a value cannot add a directive.

use super::AgentfileError;

/// The largest text after expansion, in bytes: as much as the largest file.
const MAX_EXPANDED: usize = super::parse::MAX_BYTES;

/// A directive with its continuation lines.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    /// Where the argument begins, in characters from 1.
    pub(super) column: usize,
    pub(super) directive: &'a str,
    pub(super) argument: String,
}

/// Whether indented lines continue a directive.
pub(super) fn continues(directive: &str) -> bool {
    matches!(directive, "TASK" | "PROMPT")
}

/// Splits a text into directives. A blank line inside a continued text is kept, comments and other blank lines are not.
pub(super) fn split<'a>(text: &'a str, errors: &mut Vec<AgentfileError>) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut blank = 0;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            blank += 1;
            continue;
        }
        match (unindent(line), lines.last_mut()) {
            (None, _) if line.starts_with('#') => continue,
            (None, _) => lines.push(directive(number, line)),
            (Some(text), Some(last)) if continues(last.directive) => {
                last.argument.push_str(&"\n".repeat(blank + 1));
                last.argument.push_str(text);
            }
            (Some(_), _) => errors.push(AgentfileError {
                line: number,
                column: 1,
                directive: clip(line.trim()),
                message: "only TASK and PROMPT continue on indented lines".to_owned(),
                hint: Some("a directive starts at the left margin".to_owned()),
            }),
        }
        blank = 0;
    }
    lines
}

fn directive(number: usize, line: &str) -> Line<'_> {
    let (directive, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = rest.trim_start();
    let column = line.chars().count() - argument.chars().count() + 1;
    Line { number, column, directive, argument: argument.to_owned() }
}

/// The text of an indented line. Two spaces or a tab are the indent; what is beyond belongs to the text.
fn unindent(line: &str) -> Option<&str> {
    line.strip_prefix('\t').or_else(|| line.strip_prefix("  ")).or_else(|| line.strip_prefix(' '))
}

/// A text in the form that is kept: no space at the end of a line, none around the whole.
pub(super) fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned()
}

/// Replaces variables.
pub(super) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (inside, tail) = after.split_once('}').ok_or("`${` without `}`; a literal one is `$${`")?;
        out.push_str(&value(inside, lookup)?);
        rest = tail;
        if out.len() > MAX_EXPANDED {
            break;
        }
    }
    out.push_str(rest);
    if out.len() > MAX_EXPANDED {
        return Err(format!("longer than {MAX_EXPANDED} bytes when expanded"));
    }
    Ok(out)
}

fn value(inside: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) =
        inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("{:?} is no name of a variable; a literal `${{` is `$${{`", clip(name)));
    }
    lookup(name).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        format!("the variable {} is not set; `${{{name}:-default}}` gives a default", clip(name))
    })
}

/// The reverse of [`expand`] for a text without variables.
pub(super) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

/// Enough of a word to recognise it in an error.
pub(super) fn clip(word: &str) -> String {
    word.chars().take(80).collect()
}

/// The known word closest to `word`, if at most three letters differ (Levenshtein) and more than those are the same.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > 32 {
        return None;
    }
    let scored =
        known.iter().map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), *candidate));
    let (score, candidate) = scored.min_by_key(|(score, _)| *score)?;
    (score <= 3 && score < word.len()).then_some(candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, (diagonal, above)) in b.chars().zip(row.iter().zip(row.iter().skip(1))) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
