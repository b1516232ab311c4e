//! Every problem of every document, also while some cannot be read: what `ostk lint` prints.
//!
//! [`Policy::load`] stops at the first thing that keeps the documents from governing; here each text is read by itself
//! first, so that one mistake does not hide the warnings of another document.

use crate::{
    cedar,
    documents::{CUSTOM_DOCUMENT, Documents, Lint, LoadError, LoadErrors},
    entityfile::Entityfile,
    humanfile::Humanfile,
    pack::Pack,
    pin::Pin,
    policy::Policy,
    primefile::Primefile,
};

/// What is wrong with documents, and what probably means something else than its author thinks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Nothing governs as written until these are mended. By document and line.
    pub errors: Vec<LoadError>,
    /// Accepted. By document and line.
    pub lints: Vec<Lint>,
}

/// Looks at every text.
pub fn lint(documents: &Documents) -> Findings {
    let mut found = Findings::default();
    for (name, text) in &documents.pins {
        found.take(Pin::parse(name, text), |pin| pin.lints().to_vec());
    }
    for (name, text) in &documents.packs {
        found.take(Pack::parse(name, text), |pack| pack.lints().to_vec());
    }
    found.take(Humanfile::of(documents), |file| file.lints().to_vec());
    found.take(
        documents.primefile.as_deref().map_or_else(|| Ok(Primefile::default()), Primefile::parse),
        |_| Vec::new(),
    );
    if let Some(text) = &documents.entityfile {
        found.take(Entityfile::parse(text), |_| Vec::new());
    }
    if let Some(text) = &documents.custom {
        found.errors.extend(cedar::read(CUSTOM_DOCUMENT, text).err().unwrap_or_default());
    }
    // What only shows when all are taken together: names, numbers, two rules of one name.
    found.errors.extend(Policy::load(documents).err().map(LoadErrors::into_list).unwrap_or_default());
    found.errors.sort_by(|a, b| key(a).cmp(&key(b)));
    found.errors.dedup();
    found.lints.sort_by(|a, b| (&a.document, a.line).cmp(&(&b.document, b.line)));
    found
}

fn key(error: &LoadError) -> (&str, usize, usize, &str) {
    (&error.document, error.line, error.column, &error.message)
}

impl Findings {
    fn take<T>(&mut self, read: Result<T, LoadErrors>, lints: impl FnOnce(&T) -> Vec<Lint>) {
        match read {
            Ok(read) => self.lints.extend(lints(&read)),
            Err(errors) => self.errors.extend(errors.into_list()),
        }
    }
}
