//! The project's HUMANFILE over the operator's own.
//!
//! A project comes from other people: it may add to lists and fill in what the operator left open, but MODEL, SIGN and
//! TRUST of the operator's file stand, MODE can only become stricter, and a name that both define is the operator's.

use super::{
    Entry, GLOBAL_HUMANFILE_DOCUMENT, HUMANFILE_DOCUMENT, Humanfile, HumanfileKey,
    table::{ROWS, Shape},
};
use crate::documents::{Documents, Lint, LoadError, LoadErrors, NOT_ACCEPTED};

/// What the operator's own file decides alone.
const OPERATORS: [HumanfileKey; 3] = [HumanfileKey::Model, HumanfileKey::Sign, HumanfileKey::Trust];

/// What a HUMANFILE must say, in one of its layers.
const NEEDED: [(HumanfileKey, &str); 2] =
    [(HumanfileKey::Identity, "IDENTITY ada"), (HumanfileKey::Model, "MODEL claude-sonnet-4-6")];

/// What gives agents more than the built-in rules do. A project's file that nobody accepted says it in vain.
const WIDENING: [HumanfileKey; 10] = [
    HumanfileKey::Fallback,
    HumanfileKey::Secret,
    HumanfileKey::Connect,
    HumanfileKey::Driver,
    HumanfileKey::Mcp,
    HumanfileKey::Trust,
    HumanfileKey::Extends,
    HumanfileKey::Boot,
    HumanfileKey::Verb,
    HumanfileKey::Tack,
];

impl Humanfile {
    /// Both layers of these documents as one; the project's only narrows while it is not accepted.
    ///
    /// # Errors
    /// As [`Humanfile::layered`].
    pub fn of(documents: &Documents) -> Result<Self, LoadErrors> {
        let accepted = !documents.unaccepted.contains(HUMANFILE_DOCUMENT);
        Self::merged(documents.global_humanfile.as_deref(), documents.humanfile.as_deref(), accepted)
    }

    /// Reads the texts of both layers and lays the project's over the operator's own. Without either, nothing is said
    /// and nothing is missing.
    ///
    /// # Errors
    /// What is wrong with a text; a project that would change what the operator decides; no IDENTITY or no MODEL.
    pub fn layered(global: Option<&str>, project: Option<&str>) -> Result<Self, LoadErrors> {
        Self::merged(global, project, true)
    }

    fn merged(global: Option<&str>, project: Option<&str>, accepted: bool) -> Result<Self, LoadErrors> {
        let read = |document, text: Option<&str>| text.map(|text| Self::parse(document, text)).transpose();
        let (global, project) = (read(GLOBAL_HUMANFILE_DOCUMENT, global), read(HUMANFILE_DOCUMENT, project));
        let (global, project) = match (global, project) {
            (Ok(global), Ok(project)) => (global, project),
            (global, project) => {
                let lists =
                    [global.err(), project.err()].into_iter().flatten().flat_map(LoadErrors::into_list);
                return LoadErrors::from_list(lists.collect()).map_or(Ok(Self::default()), Err);
            }
        };
        let document = if project.is_some() { HUMANFILE_DOCUMENT } else { GLOBAL_HUMANFILE_DOCUMENT };
        let given = global.is_some() || project.is_some();
        let mut project = project.unwrap_or_default();
        if !accepted {
            project.narrow();
        }
        let merged = global.unwrap_or_default().under(project)?;
        let missing = NEEDED.into_iter().filter(|(key, _)| given && merged.first(*key).is_none());
        let errors = missing
            .map(|(key, example)| problem(document, 1, format!("{} is missing", key.as_str()), example));
        LoadErrors::from_list(errors.collect()).map_or(Ok(merged), Err)
    }

    /// This file as the operator's own, under the project's.
    ///
    /// # Errors
    /// What the project may not change.
    fn under(mut self, project: Self) -> Result<Self, LoadErrors> {
        let mut errors = Vec::new();
        for key in OPERATORS {
            errors.extend(self.changed(&project, key));
        }
        errors.extend(self.loosened(&project));
        if let Some(errors) = LoadErrors::from_list(errors) {
            return Err(errors);
        }
        self.lints.extend(project.lints);
        for (key, entries) in project.entries {
            self.add(key, entries);
        }
        Ok(self)
    }

    /// Takes out what widens, and says so.
    fn narrow(&mut self) {
        for key in WIDENING {
            let said = self.entries.remove(&key).unwrap_or_default();
            let lint = |entry: &Entry| Lint {
                document: HUMANFILE_DOCUMENT.to_owned(),
                line: entry.line,
                message: format!("{} {NOT_ACCEPTED}", key.as_str()),
            };
            self.lints.extend(said.iter().map(lint));
        }
    }

    fn changed(&self, project: &Self, key: HumanfileKey) -> Option<LoadError> {
        let (own, other) = (self.first(key)?, project.first(key)?);
        (!own.eq_ignore_ascii_case(other)).then(|| {
            let name = key.as_str();
            let message = format!("{name} is set by {} and a project cannot change it", self.place(key));
            problem(
                HUMANFILE_DOCUMENT,
                project.line(key).unwrap_or(1),
                message,
                &format!("remove the line, or write {name} {own}"),
            )
        })
    }

    fn loosened(&self, project: &Self) -> Option<LoadError> {
        let (own, other) = (self.mode()?, project.mode()?);
        (other > own).then(|| {
            let message = format!(
                "MODE {} is less strict than {} of {}, and a project can only make it stricter",
                other.as_str(),
                own.as_str(),
                self.place(HumanfileKey::Mode)
            );
            let line = project.line(HumanfileKey::Mode).unwrap_or(1);
            problem(
                HUMANFILE_DOCUMENT,
                line,
                message,
                &format!("remove the line, or write MODE {}", own.as_str()),
            )
        })
    }

    fn place(&self, key: HumanfileKey) -> String {
        format!("{GLOBAL_HUMANFILE_DOCUMENT}:{}", self.line(key).unwrap_or(1))
    }

    /// Adds what a project says about a directive; none of it is forbidden.
    fn add(&mut self, key: HumanfileKey, entries: Vec<Entry>) {
        let once = ROWS.iter().any(|row| row.key == key && row.once);
        let named =
            ROWS.iter().any(|row| row.key == key && matches!(row.shape, Shape::Block | Shape::Words(2, 4)));
        let held = self.entries.entry(key).or_default();
        if once && (held.is_empty() || !OPERATORS.contains(&key)) {
            *held = entries;
            return;
        }
        for entry in entries.into_iter().filter(|_| !once) {
            let first = |entry: &Entry| entry.value.first().cloned();
            if named && let Some(own) = held.iter().find(|own| first(own) == first(&entry)) {
                let name = first(&entry).unwrap_or_default();
                let message =
                    format!("{name:?} has no effect: {GLOBAL_HUMANFILE_DOCUMENT}:{} defines it", own.line);
                self.lints.push(Lint { document: HUMANFILE_DOCUMENT.to_owned(), line: entry.line, message });
            } else if !held.iter().any(|own| own.value == entry.value) {
                held.push(entry);
            }
        }
    }
}

fn problem(document: &str, line: usize, message: String, hint: &str) -> LoadError {
    LoadError { document: document.to_owned(), line, column: 1, message, hint: Some(hint.to_owned()) }
}
