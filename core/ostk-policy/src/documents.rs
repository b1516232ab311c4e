//! The texts that govern, and what can be wrong with them.
//!
//! [`Documents`] carries the texts as they are on disk; reading them is a driver's work. Every problem names its
//! document, line and column and, where one is known, what to write instead. Parsing is in `pin` and `cedar`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    entityfile::ENTITYFILE_DOCUMENT,
    humanfile::{GLOBAL_HUMANFILE_DOCUMENT, HUMANFILE_DOCUMENT},
    pack,
    primefile::PRIMEFILE_DOCUMENT,
};

/// Document name of the operator's own Cedar rules.
pub const CUSTOM_DOCUMENT: &str = "policy.cedar";

/// Longest text of one document. A pin is written by hand; a longer one is a mistake or an attack.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;

/// Most lines of one document, for the same reason.
pub const MAX_LINES: usize = 10_000;

/// Most pins of one workspace.
pub const MAX_PINS: usize = 1_000;

/// Why a line of a document that nobody accepted does nothing.
pub(crate) const NOT_ACCEPTED: &str =
    "has no effect: you have not accepted this document on this machine (read it, then ostk sign it)";

/// Most problems reported at once: the rest appears when these are mended.
pub(crate) const MAX_PROBLEMS: usize = 20;

/// The governing texts of a workspace. What bounds a single agent (its Agentfile's TOOL grants and path LIMITs)
/// travels in the request instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// Name of a pin to the text of its `pin.caps`.
    pub pins: BTreeMap<String, String>,
    /// The operator's own rules, in Cedar: `.ostk/policy.cedar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<String>,
    /// File name to the text of a rule pack: `.ostk/rules/*.yaml`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packs: BTreeMap<String, String>,
    /// The project's `.ostk/HUMANFILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub humanfile: Option<String>,
    /// The operator's own `~/.HUMANFILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_humanfile: Option<String>,
    /// The kernel's declaration, `.ostk/.primefile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primefile: Option<String>,
    /// The trust constitution, `.ostk/ENTITYFILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entityfile: Option<String>,
    /// Names of documents of the project that the operator of this machine has not accepted, such as `HUMANFILE`: they
    /// may narrow what agents get and not widen it. Whoever reads the documents finds out; the recorded set makes the
    /// verdicts come out the same elsewhere.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unaccepted: BTreeSet<String>,
}

impl Documents {
    /// Every text with its document name, in the order of their fingerprint.
    pub fn texts(&self) -> impl Iterator<Item = (String, &str)> {
        fn named<'a>(name: &str, text: &'a Option<String>) -> Option<(String, &'a str)> {
            text.as_deref().map(|text| (name.to_owned(), text))
        }
        let pins = self.pins.iter().map(|(name, text)| (pin_document(name), text.as_str()));
        pins.chain(named(CUSTOM_DOCUMENT, &self.custom))
            .chain(named(GLOBAL_HUMANFILE_DOCUMENT, &self.global_humanfile))
            .chain(named(HUMANFILE_DOCUMENT, &self.humanfile))
            .chain(named(PRIMEFILE_DOCUMENT, &self.primefile))
            .chain(named(ENTITYFILE_DOCUMENT, &self.entityfile))
            .chain(self.packs.iter().map(|(name, text)| (pack::document(name), text.as_str())))
    }
}

/// The document name of a pin: `pins/fix-bug/pin.caps`.
pub fn pin_document(name: &str) -> String {
    format!("pins/{name}/pin.caps")
}

/// One thing wrong with one document. Prints as `document:line:column: message (hint)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{document}:{line}:{column}: {message}{}", .hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct LoadError {
    /// Which document, relative to `.ostk/`.
    pub document: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Everything found wrong, at least one and at most twenty entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadErrors(Vec<LoadError>);

impl LoadErrors {
    /// `None` when nothing is wrong.
    pub(crate) fn from_list(mut errors: Vec<LoadError>) -> Option<Self> {
        errors.truncate(MAX_PROBLEMS);
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The problems, in the order of documents and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, LoadError> {
        self.0.iter()
    }

    pub(crate) fn into_list(self) -> Vec<LoadError> {
        self.0
    }
}

impl From<LoadError> for LoadErrors {
    fn from(error: LoadError) -> Self {
        Self(vec![error])
    }
}

impl<'a> IntoIterator for &'a LoadErrors {
    type Item = &'a LoadError;
    type IntoIter = std::slice::Iter<'a, LoadError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

/// Something accepted that probably does not do what its author meant. Prints as `document:line: message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// Which document.
    pub document: String,
    /// 1-based.
    pub line: usize,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.document, self.line, self.message)
    }
}
