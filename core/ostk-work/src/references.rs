//! What a text refers to: needles that it depends on or blocks, and files, pages and issues that it names.
//!
//! The title forms are those of the specification, section 7: "depends on / requires / blocked by →N" and "blocks /
//! unblocks / enables →N". They are read by hand, word by word: three verbs need no expression engine.

use std::collections::BTreeSet;

use crate::NeedleId;

/// A needle that a text names, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// It waits for that one.
    DependsOn(NeedleId),
    /// That one waits for it.
    Blocks(NeedleId),
    /// It is named, no more.
    Names(NeedleId),
}

/// What the words before a needle's name can make of it.
#[derive(Clone, Copy)]
enum Bearing {
    DependsOn,
    Blocks,
}

/// The needles that a text names with an arrow, in order, each as the words before it say. A verb holds for a list:
/// "depends on →1, →2 and →3".
pub fn mentions(text: &str) -> Vec<Mention> {
    let (mut found, mut bearing, mut before) = (Vec::new(), None, String::new());
    for token in text.replace("->", "→").split_whitespace() {
        match arrows(token) {
            ids if ids.is_empty() => {
                let word = plain(token);
                bearing = verb(&before, &word).or_else(|| bearing.filter(|_| is_between(&word)));
                before = word;
            }
            ids => found.extend(ids.into_iter().map(|id| match bearing {
                Some(Bearing::DependsOn) => Mention::DependsOn(id),
                Some(Bearing::Blocks) => Mention::Blocks(id),
                None => Mention::Names(id),
            })),
        }
    }
    found
}

/// The needles in a token such as `→1,→2)`.
fn arrows(token: &str) -> Vec<NeedleId> {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    token.split('→').skip(1).filter_map(|part| digits(part).parse().ok()).collect()
}

fn plain(token: &str) -> String {
    token.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

fn verb(before: &str, word: &str) -> Option<Bearing> {
    match (before, word) {
        ("depends" | "depending" | "depend", "on") | ("blocked", "by") | (_, "requires" | "require") => {
            Some(Bearing::DependsOn)
        }
        (_, "blocks" | "unblocks" | "enables") => Some(Bearing::Blocks),
        _ => None,
    }
}

/// Words over which a verb reaches to the next name.
fn is_between(word: &str) -> bool {
    matches!(word, "" | "and" | "or" | "needle" | "needles")
}

/// Files, pages and issues that a text names: what has a slash or an extension, `https://…`, `#12`. Two texts that share
/// one are about the same thing.
pub fn references(text: &str) -> BTreeSet<String> {
    let edge = |c: char| !(c.is_alphanumeric() || matches!(c, '/' | '#' | '_' | '.' | '-' | '~'));
    let words =
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '`' | '"' | '\''));
    let words = words.map(|word| word.trim_matches(edge).trim_end_matches(['.', '/', '-']));
    words.filter(|word| is_reference(word)).map(str::to_owned).collect()
}

fn is_reference(word: &str) -> bool {
    if word.starts_with("https://") || word.starts_with("http://") {
        return true;
    }
    if let Some(number) = word.strip_prefix('#') {
        return !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    }
    let name = |c: char| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '-' | '~');
    if !word.chars().all(name) || !word.chars().any(char::is_alphabetic) {
        return false;
    }
    is_path(word) || is_file(word)
}

/// `src/net/mod.rs` and `docs/src`, but neither `and/or` nor `TCP/IP`: one of a path's names is longer than a word's pair.
fn is_path(word: &str) -> bool {
    let parts: Vec<&str> = word.split('/').filter(|part| !part.is_empty()).collect();
    parts.len() > 2 || (parts.len() == 2 && parts.last().is_some_and(|last| is_file(last)))
}

/// `main.rs`, but neither `v1.2` nor `e.g`.
fn is_file(word: &str) -> bool {
    word.rsplit_once('.').is_some_and(|(stem, extension)| {
        stem.chars().count() > 1
            && (1..=5).contains(&extension.len())
            && extension.chars().all(|c| c.is_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::{
        Mention::{Blocks, DependsOn, Names},
        *,
    };
    use crate::board::tests::id;

    #[test]
    fn every_title_form_of_the_specification_is_read() {
        for (text, expected) in [
            ("Retry uploads, depends on →004", vec![DependsOn(id(4))]),
            ("Retry uploads (requires ->4)", vec![DependsOn(id(4))]),
            ("Blocked by →4: retry uploads", vec![DependsOn(id(4))]),
            ("Split the parser, blocks →4", vec![Blocks(id(4))]),
            ("Unblocks →4 and →5", vec![Blocks(id(4)), Blocks(id(5))]),
            ("Enables →4,→5", vec![Blocks(id(4)), Blocks(id(5))]),
            (
                "Depends on →1, →2 and →3; see →9",
                vec![DependsOn(id(1)), DependsOn(id(2)), DependsOn(id(3)), Names(id(9))],
            ),
            ("Requires →1, blocks →2", vec![DependsOn(id(1)), Blocks(id(2))]),
            ("Like →1, but on Windows", vec![Names(id(1))]),
            ("It depends on the weather and →1", vec![Names(id(1))]),
        ] {
            assert_eq!(mentions(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_arrow_and_number_is_no_mention() {
        for text in ["", "depends on 4", "a → b", "→", "→0", "x->y", "→99999999999999999999"] {
            assert_eq!(mentions(text), [], "{text}");
        }
    }

    #[test]
    fn files_pages_and_issues_are_references_and_words_are_not() {
        let found = references(
            "Fix `src/net/mod.rs`, (docs/limits.md). See https://example.org/a#b, #12 and main.rs.",
        );
        let expected = ["#12", "docs/limits.md", "https://example.org/a#b", "main.rs", "src/net/mod.rs"];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
        assert!(references("and/or TCP/IP e.g. v1.2 3.14 i.e. a.b #x # / ./. -- 1/2/3").is_empty());
    }
}
