//! `pin.caps`: a capability boundary, one key a line.
//!
//! `line = key ":" value { value }`; a value with spaces is quoted. A pin narrows and never widens: an `allow:` line is
//! read, and does nothing.

use crate::{load::LoadError, path, verdict::RuleRef};

const MAX_BYTES: usize = 256 * 1024;
const MAX_LINES: usize = 10_000;
const KEYS: &[&str] = &["read", "write", "execute", "deny", "deny-path", "deny-verb", "allow"];

/// A class of things that a pin forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Anything in `.ostk/`.
    WriteKernel,
    /// The documents that govern.
    ModifyGovernance,
    /// The project's sources: every write.
    WriteSrc,
    /// Files that hold secrets.
    ReadSecrets,
    /// Starting processes.
    SpawnAgent,
    /// The network.
    Network,
}

impl Token {
    const ALL: [(&'static str, Self); 6] = [
        ("write-kernel", Self::WriteKernel),
        ("modify-governance", Self::ModifyGovernance),
        ("write-src", Self::WriteSrc),
        ("read-secrets", Self::ReadSecrets),
        ("spawn-agent", Self::SpawnAgent),
        ("network", Self::Network),
    ];
}

/// A parsed pin. Each entry keeps the rule it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    pub(crate) document: String,
    pub(crate) read: Option<Vec<(String, RuleRef)>>,
    pub(crate) write: Option<Vec<(String, RuleRef)>>,
    pub(crate) execute: Option<Vec<(String, RuleRef)>>,
    pub(crate) deny: Vec<(Token, RuleRef)>,
    pub(crate) deny_path: Vec<(String, RuleRef)>,
    pub(crate) deny_verb: Vec<(String, RuleRef)>,
    /// Lines that do nothing, for `lint`.
    pub(crate) warnings: Vec<String>,
}

impl Pin {
    /// Parses the text of `pins/<name>/pin.caps`.
    ///
    /// # Errors
    /// Every mistake, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<LoadError>> {
        let document = format!("pins/{name}/pin.caps");
        if text.len() > MAX_BYTES || text.lines().count() > MAX_LINES {
            let message = format!("larger than {MAX_BYTES} bytes or {MAX_LINES} lines");
            return Err(vec![LoadError::new(&document, 0, message, None)]);
        }
        let (mut pin, mut errors) = (Self { document: document.clone(), ..Self::default() }, Vec::new());
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if let Err((message, hint)) = pin.line(number + 1, trimmed) {
                errors.push(LoadError::new(&document, number + 1, message, hint));
            }
        }
        if errors.is_empty() { Ok(pin) } else { Err(errors) }
    }

    /// Paths that may be written, or `None` for wherever the built-in rules allow.
    pub fn writable(&self) -> Option<Vec<&str>> {
        self.write.as_ref().map(|paths| paths.iter().map(|(path, _)| path.as_str()).collect())
    }

    /// Paths that may be read, or `None` for wherever the built-in rules allow.
    pub fn readable(&self) -> Option<Vec<&str>> {
        self.read.as_ref().map(|paths| paths.iter().map(|(path, _)| path.as_str()).collect())
    }

    /// Paths that may be neither read nor written.
    pub fn denied(&self) -> Vec<&str> {
        self.deny_path.iter().map(|(path, _)| path.as_str()).collect()
    }

    /// Lines without effect.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), (String, Option<String>)> {
        let Some((key, rest)) = line.split_once(':') else {
            return Err(("no `key: value`".to_owned(), Some(format!("keys: {}", KEYS.join(", ")))));
        };
        let values = values(rest).map_err(|message| (message, None))?;
        if values.is_empty() {
            return Err((format!("`{key}` needs a value"), None));
        }
        for value in values {
            let rule =
                RuleRef { document: self.document.clone(), line: number, text: format!("{key} {value}") };
            self.entry(key, value, rule)?;
        }
        Ok(())
    }

    fn entry(&mut self, key: &str, value: String, rule: RuleRef) -> Result<(), (String, Option<String>)> {
        let path = |value: &String| path::check(value).map_err(|message| (message, None));
        match key {
            "read" => {
                path(&value)?;
                self.read.get_or_insert_default().push((value, rule));
            }
            "write" => {
                path(&value)?;
                self.write.get_or_insert_default().push((value, rule));
            }
            "deny-path" => {
                path(&value)?;
                self.deny_path.push((value, rule));
            }
            "deny-verb" => self.deny_verb.push((value, rule)),
            "execute" if matches!(value.as_str(), "shell" | "shell(readonly)") => {
                self.execute.get_or_insert_default().push((value, rule));
            }
            "execute" => {
                return Err((
                    format!("{value:?} cannot be executed"),
                    Some("shell or shell(readonly)".to_owned()),
                ));
            }
            "deny" => {
                let known = Token::ALL.iter().find(|(name, _)| *name == value);
                let names: Vec<&str> = Token::ALL.iter().map(|(name, _)| *name).collect();
                let (_, token) = known.ok_or_else(|| {
                    (format!("{value:?} is no token"), Some(format!("one of: {}", names.join(", "))))
                })?;
                self.deny.push((*token, rule));
            }
            "allow" => self
                .warnings
                .push(format!("{rule}: a pin cannot allow what is denied; the line does nothing")),
            other => {
                return Err((format!("{other:?} is no key"), Some(format!("keys: {}", KEYS.join(", ")))));
            }
        }
        Ok(())
    }
}

/// Words, or texts in double quotes.
fn values(text: &str) -> Result<Vec<String>, String> {
    let (mut values, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let (value, tail) = match rest.strip_prefix('"') {
            Some(inside) => inside.split_once('"').ok_or("a quote is not closed")?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        values.push(value.to_owned());
        rest = tail.trim_start();
    }
    Ok(values)
}

/// The text of a new pin to edit. `caps` names what it may do: words of `read write execute`.
pub fn scaffold(name: &str, caps: &str) -> String {
    let mut text = format!(
        "# {name}: what a lineage under this pin may do. It can only narrow what the built-in rules allow.\n"
    );
    let has = |cap: &str| caps.split_whitespace().any(|word| word == cap);
    text.push_str(if has("read") { "read: .\n" } else { "read: .ostk/store\n" });
    if has("write") {
        text.push_str("write: .\n");
    } else {
        text.push_str("deny: write-src\n");
    }
    if has("execute") {
        text.push_str("execute: shell\n");
    } else {
        text.push_str("deny-verb: \"\"\n");
    }
    text.push_str("deny: write-kernel modify-governance\n");
    text
}
