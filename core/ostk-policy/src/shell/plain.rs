//! Reads the plainest command lines without the parser: words, `|`, `&&`, `||`, `;` and simple redirections.
//!
//! Most lines that agents run are of this kind, and the gate is to answer in microseconds. A line with any character
//! that a shell may give another meaning is left to the parser; the tests hold both to the same survey.

/// One command: its words, and the files it opens for writing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) words: Vec<&'a str>,
    pub(super) writes: Vec<&'a str>,
    /// It reads what the command before it prints.
    pub(super) piped: bool,
}

/// Words that begin something else than a simple command, or that the syntax treats apart.
const KEYWORDS: [&str; 32] = [
    "if",
    "then",
    "elif",
    "else",
    "fi",
    "for",
    "while",
    "until",
    "do",
    "done",
    "case",
    "esac",
    "in",
    "select",
    "function",
    "time",
    "coproc",
    "foreach",
    "repeat",
    "end",
    "always",
    "nocorrect",
    "declare",
    "typeset",
    "local",
    "export",
    "readonly",
    "break",
    "continue",
    "return",
    "exit",
    "let",
];

/// The commands of the line; `None` when it takes a parser to read it.
pub(super) fn read(text: &str) -> Option<Vec<Part<'_>>> {
    if !text.bytes().all(|byte| is_plain(byte) || matches!(byte, b' ' | b'|' | b'&' | b';' | b'>')) {
        return None;
    }
    let mut parts = vec![Part::default()];
    let mut rest = text.trim_matches(' ');
    while let Some(first) = rest.bytes().next() {
        let part = parts.last_mut()?;
        match first {
            b' ' => rest = rest.trim_start_matches(' '),
            b'>' => rest = redirection(rest, part)?,
            b'|' | b'&' | b';' => {
                let (operator, after) = operator(rest)?;
                let next = Part { piped: operator == "|", ..Part::default() };
                (is_command(part) && !after.is_empty()).then_some(())?;
                parts.push(next);
                rest = after;
            }
            _ => {
                let (word, after) = word(rest);
                // A number right before `>` is a descriptor, and what else stands there is none.
                match after.starts_with('>') {
                    true if word.bytes().all(|byte| byte.is_ascii_digit()) => {}
                    true => return None,
                    false => part.words.push(word),
                }
                rest = after;
            }
        }
    }
    parts.last().is_some_and(is_command).then_some(parts)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':' | b'=' | b',' | b'@' | b'+' | b'%')
}

fn is_command(part: &Part<'_>) -> bool {
    part.words.first().is_some_and(|first| !first.contains('=') && !KEYWORDS.contains(first))
}

/// The operator at the start, and what follows it.
fn operator(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !matches!(byte, b'|' | b'&' | b';'))?;
    let (operator, rest) = text.split_at_checked(end)?;
    matches!(operator, "|" | "||" | "&&" | ";").then(|| (operator, rest.trim_start_matches(' ')))
}

fn word(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !is_plain(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Takes `>`, `>>` or `>&1` with its target; answers what follows.
fn redirection<'a>(text: &'a str, part: &mut Part<'a>) -> Option<&'a str> {
    let text = text.strip_prefix('>')?;
    if let Some(text) = text.strip_prefix('&') {
        let (target, rest) = word(text);
        let descriptor = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_digit());
        return (descriptor && !rest.starts_with('>')).then_some(rest);
    }
    let (target, rest) = word(text.strip_prefix('>').unwrap_or(text).trim_start_matches(' '));
    (!target.is_empty() && !rest.starts_with('>')).then_some(())?;
    part.writes.push(target);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::reader::Reader, read};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_plain_line_is_read_as_the_parser_reads_it(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "git", "push", "-f", "a", "cd", "..", "/etc", "rm", "-rf", "x=1", "--a=b", "sudo", "xargs", "echo", "sh", "-c", "curl",
                "env", "if", "time", "exit", "2", "1", "%1", "a:b", " ", " ", " ", " ", "|", "||", "&&", "&", ";", ">", ">>", "2>&1",
                "> f", ">f", " 2>", "",
            ]), 0..14),
            spaced in any::<bool>(),
        ) {
            let line = pieces.join(if spaced { " " } else { "" });
            if read(&line).is_some() {
                prop_assert_eq!(Reader::read(&line), Reader::read_by_parser(&line), "{}", line);
            }
        }
    }

    #[test]
    fn what_may_mean_something_else_is_left_to_the_parser() {
        for line in ["git status", "cargo test -p x -- --nocapture 2>&1 | tail -20", "cd a && make; ls > f"] {
            assert!(read(line).is_some(), "{line}");
        }
        for line in [
            "", "a; ;b", "a &", "a &&", "X=1 a", "if a", "a 'b'", "a $b", "a*", "~", "a <b", "a |& b",
            "a\nb", "a 2>&-", "é",
        ] {
            assert!(read(line).is_none(), "{line}");
        }
    }
}
