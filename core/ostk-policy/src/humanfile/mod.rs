//! The HUMANFILE: who the operator is, which models, secrets and hosts may be used, and how much agents do unasked.
//!
//! ```text
//! IDENTITY ada
//! MODEL claude-sonnet-4-6
//! SECRET <<KEYS
//! ANTHROPIC_API_KEY
//! KEYS
//! CONNECT crates.io *.example.org:443
//! ```
//!
//! `~/.HUMANFILE` is the operator's own, `.ostk/HUMANFILE` the project's; [`Humanfile::layered`] lays one over the other.
//! `parse` reads a text, `print` writes it back, `table` knows the directives, `host` what a host is. It grants nothing to
//! an agent by itself: the gate, the egress proxy and the keeper of secrets ask it.

mod layers;
mod parse;
mod print;
mod table;

use std::collections::BTreeMap;

use crate::{consent::Mode, documents::Lint, host::HostPattern, path::PathPattern, pin::At};

pub use table::HumanfileKey;

/// Document name of the project's file.
pub const HUMANFILE_DOCUMENT: &str = "HUMANFILE";

/// Document name of the operator's own file.
pub const GLOBAL_HUMANFILE_DOCUMENT: &str = "~/.HUMANFILE";

/// The words of one entry, with the line they stand on.
type Entry = At<Vec<String>>;

/// A HUMANFILE, or both layers as one. The default holds nothing: no secret and no host may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Humanfile {
    entries: BTreeMap<HumanfileKey, Vec<Entry>>,
    lints: Vec<Lint>,
}

impl Humanfile {
    /// Whom records name as the operator.
    pub fn identity(&self) -> Option<&str> {
        self.first(HumanfileKey::Identity)
    }

    /// Fingerprint of the OpenPGP key that signs governing documents, in upper case.
    pub fn sign(&self) -> Option<String> {
        self.first(HumanfileKey::Sign).map(str::to_ascii_uppercase)
    }

    /// Whether Agentfiles are accepted without a signature because `TRUST unsigned` says so; `None` when it does not say.
    pub fn trusts_unsigned(&self) -> Option<bool> {
        self.first(HumanfileKey::Trust).map(|word| word == "unsigned")
    }

    /// What agents may do without consent; `None` when it does not say.
    pub fn mode(&self) -> Option<Mode> {
        self.first(HumanfileKey::Mode).and_then(Mode::parse)
    }

    /// The default model.
    pub fn model(&self) -> Option<&str> {
        self.first(HumanfileKey::Model)
    }

    /// The model when that one cannot be had.
    pub fn fallback(&self) -> Option<&str> {
        self.first(HumanfileKey::Fallback)
    }

    /// Models that `FROM auto` may choose.
    pub fn available(&self) -> impl Iterator<Item = &str> {
        self.words(HumanfileKey::Available)
    }

    /// Names of secrets that may be used.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.words(HumanfileKey::Secret)
    }

    /// Hosts that commands may reach.
    pub fn connect(&self) -> impl Iterator<Item = HostPattern> {
        self.words(HumanfileKey::Connect).filter_map(|word| HostPattern::parse(word).ok())
    }

    /// Paths and the labels that the data under them carries.
    pub fn labels(&self) -> impl Iterator<Item = (PathPattern, String)> {
        self.entries(HumanfileKey::Label).filter_map(|words| match words {
            [label, path] => Some((PathPattern::parse(path).ok()?, label.clone())),
            _ => None,
        })
    }

    /// Names and command lines of outbound servers.
    pub fn mcp(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries(HumanfileKey::Mcp).filter_map(|words| match words {
            [name, command] => Some((name.as_str(), command.as_str())),
            _ => None,
        })
    }

    /// The words of each entry of a directive, for those without an accessor of their own.
    pub fn entries(&self, key: HumanfileKey) -> impl Iterator<Item = &[String]> {
        self.entries.get(&key).into_iter().flatten().map(|entry| entry.value.as_slice())
    }

    /// What was accepted and does nothing, or something else than its author may think.
    pub fn lints(&self) -> &[Lint] {
        &self.lints
    }

    fn words(&self, key: HumanfileKey) -> impl Iterator<Item = &str> {
        self.entries(key).flatten().map(String::as_str)
    }

    fn first(&self, key: HumanfileKey) -> Option<&str> {
        self.words(key).next()
    }

    fn line(&self, key: HumanfileKey) -> Option<usize> {
        self.entries.get(&key)?.first().map(|entry| entry.line)
    }
}
