//! The `.primefile`: what the kernel of this project declares about itself, its keys and where it comes from.
//!
//! ```text
//! -----BEGIN DEMO KERNEL DECLARATION-----
//! KERNEL: @demo.prime
//! KEYS
//!   T1 Kernel
//!     Fingerprint: 89ABCDEF0123456789ABCDEF0123456789ABCDEF
//! -----END DEMO KERNEL DECLARATION-----
//! ```
//!
//! `Name: value` lines, two spaces for each level. The two signatures beside it are checked by whoever boots.

use crate::{
    documents::{LoadError, LoadErrors, MAX_LINES, MAX_PROBLEMS, MAX_TEXT_BYTES},
    suggest::nearest,
};

/// Document name.
pub const PRIMEFILE_DOCUMENT: &str = ".primefile";

const TOP: [&str; 8] =
    ["KERNEL", "VERSION", "CREATED", "ROTATED", "INSTANCE", "AUTHORITY", "KEYS", "LINEAGE"];
const AUTHORITY: [&str; 3] = ["Primary", "Kernel", "Co-signers"];
const KEYS: [&str; 4] = ["T0 Human Root", "T1 Kernel", "T1 CI", "T-recovery"];
const KEY: [&str; 7] =
    ["Name", "Key", "Fingerprint", "Algorithm", "Expires", "Supersedes", "Cross-signed by"];
const LINEAGE: [&str; 3] = ["Root", "Co-sign", "Chain since"];

/// A parsed `.primefile`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Primefile {
    fields: Vec<(Vec<String>, String)>,
}

impl Primefile {
    /// Reads a declaration. What stands before the BEGIN line and after the END or SIGNATURES line is not read.
    ///
    /// # Errors
    /// Every problem found, with line, column and suggestion.
    pub fn parse(text: &str) -> Result<Self, LoadErrors> {
        let mut parser = Parser::default();
        if text.len() > MAX_TEXT_BYTES || text.lines().nth(MAX_LINES).is_some() {
            let message = format!("a .primefile has at most {MAX_TEXT_BYTES} bytes and {MAX_LINES} lines");
            parser.error(1, 1, message, None);
        } else {
            parser.read(text);
        }
        LoadErrors::from_list(parser.errors).map_or(Ok(Self { fields: parser.fields }), Err)
    }

    /// The name of the kernel.
    pub fn kernel(&self) -> Option<&str> {
        self.get(&["KERNEL"])
    }

    /// A value by its path, for example `["KEYS", "T1 Kernel", "Fingerprint"]`.
    pub fn get(&self, path: &[&str]) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == path).map(|(_, value)| value.as_str())
    }

    /// The fingerprints of the declared keys with their roles, such as `T1 Kernel`.
    pub fn fingerprints(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().filter_map(|(path, value)| match path.as_slice() {
            [_, role, field] if field == "Fingerprint" => Some((role.as_str(), value.as_str())),
            _ => None,
        })
    }
}

#[derive(Default)]
struct Parser {
    fields: Vec<(Vec<String>, String)>,
    /// The sections around the next line.
    within: Vec<String>,
    errors: Vec<LoadError>,
}

impl Parser {
    fn error(&mut self, line: usize, column: usize, message: impl Into<String>, hint: Option<String>) {
        let document = PRIMEFILE_DOCUMENT.to_owned();
        self.errors.push(LoadError { document, line, column, message: message.into(), hint });
    }

    fn read(&mut self, text: &str) {
        let mut lines = (1..).zip(text.lines());
        if !lines.any(|(_, line)| is_begin(line)) {
            let hint = "-----BEGIN DEMO KERNEL DECLARATION-----".to_owned();
            return self.error(1, 1, "there is no BEGIN … KERNEL DECLARATION line", Some(hint));
        }
        let mut last = 1;
        for (number, line) in lines {
            if self.errors.len() >= MAX_PROBLEMS || is_end(line) {
                if !self.fields.iter().any(|(path, _)| path == &["KERNEL"]) {
                    self.error(number, 1, "KERNEL is missing", Some("KERNEL: @demo.prime".to_owned()));
                }
                return;
            }
            last = number;
            self.line(number, line);
        }
        let hint = "-----END DEMO KERNEL DECLARATION-----".to_owned();
        self.error(last, 1, "there is no END line", Some(hint));
    }

    fn line(&mut self, number: usize, line: &str) {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        if let Some(at) = line.trim_end().chars().position(char::is_control) {
            return self.error(number, at + 1, "a control character is not allowed here", None);
        }
        let indent = line.chars().take_while(|c| *c == ' ').count();
        if !indent.is_multiple_of(2) || indent / 2 > self.within.len() {
            let hint = "two spaces for each level".to_owned();
            return self.error(number, indent + 1, "the indentation fits no section above", Some(hint));
        }
        self.within.truncate(indent / 2);
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name.trim_end(), Some(value.trim()).filter(|value| !value.is_empty())),
            None => (text, None),
        };
        match self.known(name) {
            Err(known) => self.unknown(number, indent + 1, name, known),
            Ok(section) => self.field(number, indent + 1, (name, value), section),
        }
    }

    /// Whether a name opens a section where it stands; the names that are known there when it is not one of them.
    fn known(&self, name: &str) -> Result<bool, &'static [&'static str]> {
        let within: Vec<&str> = self.within.iter().map(String::as_str).collect();
        let (known, sections): (&[&str], &[&str]) = match within.as_slice() {
            [] => (&TOP, &["AUTHORITY", "KEYS", "LINEAGE"]),
            ["AUTHORITY"] => (&AUTHORITY, &[]),
            ["KEYS"] => (&KEYS, &KEYS),
            ["LINEAGE"] => (&LINEAGE, &[]),
            _ => (&KEY, &[]),
        };
        if known.contains(&name) { Ok(sections.contains(&name)) } else { Err(known) }
    }

    fn unknown(&mut self, line: usize, column: usize, name: &str, known: &[&str]) {
        let shown: String = name.chars().take(80).collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.error(line, column, format!("unknown name {shown:?}"), Some(hint));
    }

    fn field(&mut self, line: usize, column: usize, (name, value): (&str, Option<&str>), section: bool) {
        let path: Vec<String> = self.within.iter().cloned().chain([name.to_owned()]).collect();
        match (section, value) {
            (true, Some(_)) => {
                self.error(line, column, format!("{name} is a section and has no value"), None)
            }
            (true, None) => self.within.push(name.to_owned()),
            (false, None) => {
                self.error(line, column, format!("{name} needs a value"), Some(format!("{name}: …")))
            }
            (false, Some(_)) if self.fields.iter().any(|(own, _)| *own == path) => {
                self.error(line, column, format!("{name} stands twice"), None);
            }
            (false, Some(value)) if name == "Fingerprint" && !is_fingerprint(value) => {
                self.error(line, column, "a fingerprint is 40 or 64 hexadecimal digits", None);
            }
            (false, Some(value)) => self.fields.push((path, value.to_owned())),
        }
    }
}

fn is_begin(line: &str) -> bool {
    line.trim_matches(['-', ' '])
        .strip_prefix("BEGIN ")
        .is_some_and(|rest| rest.ends_with("KERNEL DECLARATION"))
}

fn is_end(line: &str) -> bool {
    let line = line.trim_matches(['-', ' ', ':']);
    line == "SIGNATURES" || line == "END" || line.starts_with("END ")
}

/// OpenPGP: 20 bytes in version 4, 32 in version 6.
pub(crate) fn is_fingerprint(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
