//! The directives of a HUMANFILE: what each is called, what stands after it, and whether ostk acts on it.
//!
//! One row for each directive; reading, printing, merging and the lints go by this table. The source of the rows is the
//! reference's HUMANFILE; `CONNECT`, `MODE` and `LABEL` are ours.

use crate::suggest::nearest;

use crate::{consent::Mode, host::HostPattern, path::PathPattern};

/// Longest name of anything: a person, a model, a key, a driver.
const MAX_NAME_CHARS: usize = 128;

/// A directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HumanfileKey {
    /// `IDENTITY name`: whom records name as the operator. Needed.
    Identity,
    /// `SIGN fingerprint`: the OpenPGP key that signs governing documents.
    Sign,
    /// `TRUST unsigned|signed`: whether Agentfiles need a signature.
    Trust,
    /// `MODE plan|governed|auto|autonomous`: what agents may do without a person's consent.
    Mode,
    /// `MODEL id`: the default model. Needed.
    Model,
    /// `FALLBACK id`: the model when that one cannot be had.
    Fallback,
    /// `AVAILABLE id …`: models that `FROM auto` may choose.
    Available,
    /// `PREPROCESS id`: a local model that cleans what the operator types.
    Preprocess,
    /// `SECRET name …`: names of secrets that may be used.
    Secret,
    /// `CONNECT host[:port] …`: hosts that commands may reach.
    Connect,
    /// `LABEL name path`: the data under the path carries the label.
    Label,
    /// `DRIVER [type] name`.
    Driver,
    /// `ENRICH driver off|errors|warnings|full`.
    Enrich,
    /// `EMBED codebase|incremental|off`.
    Embed,
    /// `EXTENDS path`: a parent file.
    Extends,
    /// `BOOT step`: a step added to the boot.
    Boot,
    /// `VERB name expansion [signature doc]`.
    Verb,
    /// `TACK name expansion [signature doc]`.
    Tack,
    /// `mcp:` and below it `name: command`: servers whose tools agents may be given.
    Mcp,
}

/// How the text after a directive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Each word is an entry.
    Each,
    /// The words of a line, between these many, are one entry.
    Words(usize, usize),
    /// The line is one entry, as it stands.
    Line,
    /// `name: command`, on indented lines.
    Block,
}

/// What is wrong with a word, and what to write instead.
pub(super) type Problem = (String, Option<String>);

/// A directive with what the parser must know of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: HumanfileKey,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Stands at most once in a file.
    pub(super) once: bool,
    /// What stands after it, for messages.
    pub(super) form: &'static str,
    /// Looks at the word of this number, from 0.
    pub(super) check: fn(usize, &str) -> Result<(), Problem>,
    /// Whether anything in ostk acts on it.
    pub(super) carried_out: bool,
}

const fn row(
    key: HumanfileKey,
    name: &'static str,
    (shape, once, form): (Shape, bool, &'static str),
    check: fn(usize, &str) -> Result<(), Problem>,
) -> Row {
    Row { key, name, shape, once, form, check, carried_out: true }
}

/// A directive that is read and has no effect yet.
const fn idle(row: Row) -> Row {
    Row { carried_out: false, ..row }
}

const ONE: Shape = Shape::Words(1, 1);

/// Every directive, in the order in which a file is printed.
pub(super) const ROWS: [Row; 19] = [
    row(HumanfileKey::Identity, "IDENTITY", (ONE, true, "IDENTITY name"), identity),
    row(HumanfileKey::Sign, "SIGN", (ONE, true, "SIGN fingerprint"), fingerprint),
    idle(row(HumanfileKey::Trust, "TRUST", (ONE, true, "TRUST unsigned"), |_, word| {
        one_of(word, &["unsigned", "signed"])
    })),
    row(HumanfileKey::Mode, "MODE", (ONE, true, "MODE governed"), |_, word| {
        one_of(word, &Mode::ALL.map(Mode::as_str))
    }),
    row(HumanfileKey::Model, "MODEL", (ONE, true, "MODEL id"), |_, word| name(word)),
    row(HumanfileKey::Fallback, "FALLBACK", (ONE, true, "FALLBACK id"), |_, word| name(word)),
    idle(row(HumanfileKey::Available, "AVAILABLE", (Shape::Each, false, "AVAILABLE id …"), |_, word| {
        name(word)
    })),
    idle(row(HumanfileKey::Preprocess, "PREPROCESS", (ONE, true, "PREPROCESS id"), |_, word| name(word))),
    row(HumanfileKey::Secret, "SECRET", (Shape::Each, false, "SECRET NAME …"), secret),
    row(HumanfileKey::Connect, "CONNECT", (Shape::Each, false, "CONNECT host[:port] …"), host),
    row(HumanfileKey::Label, "LABEL", (Shape::Words(2, 2), false, "LABEL untrusted vendor/"), label),
    idle(row(
        HumanfileKey::Driver,
        "DRIVER",
        (Shape::Words(1, 2), false, "DRIVER [type] name"),
        |_, word| name(word),
    )),
    idle(row(HumanfileKey::Enrich, "ENRICH", (Shape::Words(2, 2), false, "ENRICH driver level"), enrich)),
    idle(row(HumanfileKey::Embed, "EMBED", (ONE, true, "EMBED codebase"), |_, word| {
        one_of(word, &["codebase", "incremental", "off"])
    })),
    idle(row(HumanfileKey::Extends, "EXTENDS", (ONE, true, "EXTENDS path"), |_, word| path(word))),
    idle(row(HumanfileKey::Boot, "BOOT", (Shape::Line, false, "BOOT step"), |_, _| Ok(()))),
    row(HumanfileKey::Verb, "VERB", (Shape::Words(2, 4), false, VERB), verb),
    row(HumanfileKey::Tack, "TACK", (Shape::Words(2, 4), false, TACK), verb),
    idle(row(HumanfileKey::Mcp, "mcp:", (Shape::Block, false, "name: command"), |at, word| {
        if at == 0 { name(word) } else { Ok(()) }
    })),
];

const VERB: &str = "VERB name expansion [signature doc]";
const TACK: &str = "TACK name expansion [signature doc]";

impl HumanfileKey {
    /// As written: `MODEL`; `mcp:` for the block of servers.
    pub fn as_str(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    pub(super) fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.key == self)
    }
}

/// The row of a word at the left margin.
pub(super) fn find(word: &str) -> Result<&'static Row, Problem> {
    if let Some(row) = ROWS.iter().find(|row| row.name == word) {
        return Ok(row);
    }
    let near = nearest(&word.to_uppercase(), ROWS.iter().map(|row| row.name));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", ROWS.map(|row| row.name).join(", ")),
    };
    Err((format!("unknown directive {:?}", clip(word)), Some(hint)))
}

/// Enough of a word to recognise it.
pub(super) fn clip(word: &str) -> String {
    word.chars().take(80).collect()
}

fn wrong<T>(message: impl Into<String>, hint: &str) -> Result<T, Problem> {
    Err((message.into(), Some(hint.to_owned())))
}

fn name(word: &str) -> Result<(), Problem> {
    match word.chars().count() {
        0 => wrong("a name may not be empty", "leave the line out"),
        count if count > MAX_NAME_CHARS => {
            wrong(format!("a name has at most {MAX_NAME_CHARS} characters"), "give its short name")
        }
        _ if word.contains(char::is_whitespace) => wrong("a name holds no space", "write it as one word"),
        _ => Ok(()),
    }
}

fn identity(_: usize, word: &str) -> Result<(), Problem> {
    name(word)?;
    if word.chars().all(|c| c.is_alphanumeric() || "-_.@+".contains(c)) {
        return Ok(());
    }
    wrong("an identity is letters, digits, `-`, `_`, `.`, `+` and `@`", "IDENTITY ada")
}

/// OpenPGP fingerprints are 20 bytes in version 4 (RFC 4880, 12.2) and 32 in version 6 (RFC 9580, 5.5.4).
fn fingerprint(_: usize, word: &str) -> Result<(), Problem> {
    if matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    wrong(
        "a fingerprint is 40 or 64 hexadecimal digits without spaces",
        "gpg --fingerprint --with-colons lists yours",
    )
}

fn one_of(word: &str, known: &[&str]) -> Result<(), Problem> {
    if known.contains(&word) {
        return Ok(());
    }
    let hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.join(", ")),
    };
    Err((format!("unknown value {:?}", clip(word)), Some(hint)))
}

/// Never quotes the word: it may be the secret itself, written in the wrong place.
fn secret(_: usize, word: &str) -> Result<(), Problem> {
    let good = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.len() <= MAX_NAME_CHARS
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if good {
        return Ok(());
    }
    wrong(
        "a secret is named by letters, digits and `_`, as an environment variable is",
        "write the name here and never the value: SECRET ANTHROPIC_API_KEY",
    )
}

fn host(_: usize, word: &str) -> Result<(), Problem> {
    HostPattern::parse(word)
        .map(drop)
        .map_err(|problem| (problem.to_string(), Some("CONNECT crates.io *.example.org:443".to_owned())))
}

fn label(at: usize, word: &str) -> Result<(), Problem> {
    let example = "LABEL untrusted vendor/";
    if at == 0 {
        name(word)?;
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        return if plain {
            Ok(())
        } else {
            wrong("a label is letters, digits, `-`, `_`, `.` and `:`", example)
        };
    }
    PathPattern::parse(word).map(drop).map_err(|problem| (problem.to_string(), Some(example.to_owned())))
}

fn enrich(at: usize, word: &str) -> Result<(), Problem> {
    if at == 0 { name(word) } else { one_of(word, &["off", "errors", "warnings", "full"]) }
}

fn path(word: &str) -> Result<(), Problem> {
    match word {
        "" => wrong("a path may not be empty", "EXTENDS team/HUMANFILE"),
        _ if word.split('/').any(|part| part == "..") => {
            wrong("a path may not contain `..`", "EXTENDS team/HUMANFILE")
        }
        _ => Ok(()),
    }
}

fn verb(at: usize, word: &str) -> Result<(), Problem> {
    match at {
        0 => name(word),
        1 if word.is_empty() => wrong("an expansion may not be empty", "VERB :tidy \":compile :refine\""),
        _ => Ok(()),
    }
}
