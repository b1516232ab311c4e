//! Documents become a policy, all or none.

use std::collections::BTreeMap;

use ostk_log::Hash;
use serde::{Deserialize, Serialize};

use crate::{pin::Pin, request::Actor};

/// Everything that governs, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// `pins/<name>/pin.caps`, by name.
    pub pins: BTreeMap<String, String>,
    /// `policy.cedar`: rules of the project's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<String>,
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{document}:{line}: {message}{}", .hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct LoadError {
    /// The document.
    pub document: String,
    /// Its line, from 1; 0 is the document as a whole.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl LoadError {
    pub(crate) fn new(document: &str, line: usize, message: String, hint: Option<String>) -> Self {
        Self { document: document.to_owned(), line, message, hint }
    }
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) pins: BTreeMap<String, Pin>,
    fingerprint: Hash,
}

/// Raised when the built-in rules change, so that a fingerprint names them too.
const BUILT_IN_VERSION: u8 = 1;

impl Policy {
    /// Compiles the documents.
    ///
    /// # Errors
    /// Every mistake in every document.
    pub fn load(documents: &Documents) -> Result<Self, Vec<LoadError>> {
        let (mut pins, mut errors) = (BTreeMap::new(), Vec::new());
        for (name, text) in &documents.pins {
            match Pin::parse(name, text) {
                Ok(pin) => {
                    pins.insert(name.clone(), pin);
                }
                Err(mut found) => errors.append(&mut found),
            }
        }
        if documents.custom.is_some() {
            let message = "rules of the project's own are not supported by this version".to_owned();
            errors.push(LoadError::new("policy.cedar", 0, message, Some("use pins".to_owned())));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let text = serde_json::to_string(documents).unwrap_or_default();
        let fingerprint = Hash::of(format!("{BUILT_IN_VERSION}\n{text}").as_bytes());
        Ok(Self { pins, fingerprint })
    }

    /// Names the effective rules: the built-in ones and the documents.
    pub const fn fingerprint(&self) -> Hash {
        self.fingerprint
    }

    /// The pin of that name.
    pub fn pin(&self, name: &str) -> Option<&Pin> {
        self.pins.get(name)
    }

    /// For the sandbox: workspace paths that an actor's commands may write, and paths inside them that they may not.
    /// A path in both is protected.
    pub fn bounds(&self, actor: &Actor) -> (Vec<String>, Vec<String>) {
        let mut protected: Vec<String> =
            crate::decide::PROTECTED.iter().map(|path| (*path).to_owned()).collect();
        let Some(name) = &actor.pin else { return (vec![String::new()], protected) };
        let Some(pin) = self.pins.get(name) else { return (Vec::new(), protected) };
        protected.extend(pin.denied().into_iter().map(str::to_owned));
        if pin.forbids_sources() || pin.shell_is_read_only() {
            return (Vec::new(), protected);
        }
        let root = |path: &str| if matches!(path, "." | "./") { String::new() } else { path.to_owned() };
        let writable =
            pin.writable().map_or_else(|| vec![String::new()], |paths| paths.into_iter().map(root).collect());
        (writable, protected)
    }
}
