//! The gate's answer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Allow, deny or ask, with the rules that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The answer.
    pub effect: Effect,
    /// The rules that decided; empty where only the default did.
    pub rules: Vec<RuleRef>,
    /// One line for the reader.
    pub reason: String,
    /// What to do about a refusal.
    pub remedy: Option<String>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Go on.
    Allow,
    /// Stop.
    Deny,
    /// A person decides.
    Ask,
}

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRef {
    /// The document.
    pub document: String,
    /// Its line, from 1; 0 is the document as a whole.
    pub line: usize,
    /// The rule as it stands there.
    pub text: String,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{} {}", self.document, self.text),
            line => write!(f, "{}:{line} {}", self.document, self.text),
        }
    }
}
