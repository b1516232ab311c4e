//! What a command line has set so far: its variables and the directory it is in.
//!
//! A variable that is set twice holds both values: which of them is in force may depend on a branch. Used by `reader`.

use std::collections::BTreeMap;

use super::word::{VARIABLE, Word};

/// Most values of one variable, and most variables; more count as not known.
const MAX_VALUES: usize = 8;
const MAX_VARIABLES: usize = 256;

/// Variables and directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Ground {
    variables: BTreeMap<String, Vec<String>>,
    /// Relative to where the line starts, or absolute, or below `~`; `""` is the start.
    pub(super) directory: String,
}

impl Ground {
    /// Adds possible values.
    pub(super) fn set(&mut self, name: &str, values: &[String]) {
        if self.variables.len() >= MAX_VARIABLES && !self.variables.contains_key(name) {
            return;
        }
        let held = self.variables.entry(name.to_owned()).or_default();
        for value in values {
            if !held.contains(value) {
                held.push(value.clone());
            }
        }
        if held.len() > MAX_VALUES {
            *held = vec![VARIABLE.to_string()];
        }
    }

    /// The possible values; one of them unknown when nothing on the line sets it.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        match name {
            "IFS" => vec![" ".to_owned()],
            _ => self.variables.get(name).cloned().unwrap_or_else(|| vec![VARIABLE.to_string()]),
        }
    }

    /// Whether something on the line sets it.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// What `cd` with these arguments does.
    pub(super) fn change(&mut self, args: &[Word]) {
        let target = args.iter().find(|word| !word.as_str().starts_with('-'));
        let back = args.iter().any(|word| word.as_str() == "-");
        self.directory = match target {
            _ if back => VARIABLE.to_string(),
            None => "~".to_owned(),
            Some(word) => super::paths::resolve(&self.directory, word.as_str()),
        };
    }
}
