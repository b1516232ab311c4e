//! Finding secrets in outputs, also encoded ones, and replacing them.
//!
//! A text is read in several ways (`reading.rs`), each secret has a list of forms (`forms.rs`), and one automaton
//! (Aho-Corasick) looks for all forms of all secrets at once. `quick.rs` says of most texts that there is none in them;
//! `stream.rs` does the work on a text that comes in pieces, and a whole text is a stream of one. A masker holds copies of
//! the secrets, so it lives where they may live.

mod forms;
mod quick;
mod reading;
mod stream;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

use aho_corasick::AhoCorasick;
use zeroize::Zeroizing;

pub use self::stream::MaskStream;
use super::{
    secret::Secret,
    strength::{MIN_MASKED_BYTES, Weak},
};

/// All secrets of a masker together; the automaton has about ten states for each of their bytes.
const MAX_TOTAL_BYTES: usize = 64 << 10;

/// A whole text is worked on in pieces of this size, which bounds the memory that positions take.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes of the longest escape, `\u0041`, and of the sign before it that splits a string in a string.
const LONGEST_ESCAPE: usize = 8;

/// A masker cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskerError {
    /// Too much to look for.
    #[error("the secrets have {0} bytes together, and {MAX_TOTAL_BYTES} can be masked")]
    TooMuch(usize),
    /// The automaton's own limits.
    #[error("the secrets are too many to look for at once")]
    Automaton,
}

/// Replaces secrets by `[secret NAME, N characters]`. Cheap to clone.
///
/// Found are: the secret itself; reversed; in hexadecimal of either case; in base64, standard or URL-safe, at any
/// alignment, also inside a longer text that was encoded; each of these percent-encoded or with the escapes of JSON and
/// C strings, as a whole or in part; and each split by white space, quotes and the signs by which strings are joined,
/// with at most 64 such bytes in one place, if it has 8 bytes that are none of these. Not found: what was compressed,
/// encrypted or encoded twice over.
#[derive(Clone)]
pub struct Masker {
    tables: Arc<Tables>,
}

struct Tables {
    names: Vec<String>,
    labels: Vec<String>,
    weak: Vec<(String, Weak)>,
    /// Forms that are looked for in the text without separators.
    loose: Table,
    /// Forms of which too little is left without separators.
    exact: Table,
}

/// Forms in the order of their bytes, and what finds them.
struct Table {
    forms: Vec<(Zeroizing<Vec<u8>>, usize)>,
    automaton: Option<AhoCorasick>,
    longest: usize,
}

impl Masker {
    /// Looks for these secrets, named as they will be shown; a name may have several values. One that cannot be told from
    /// other text is left out (see [`Secret::weakness`]).
    ///
    /// # Errors
    /// When they are too many.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a Secret)>) -> Result<Self, MaskerError> {
        Self::of(secrets, Secret::weakness)
    }

    fn of<'a>(
        secrets: impl IntoIterator<Item = (&'a str, &'a Secret)>,
        weakness: impl Fn(&Secret) -> Option<Weak>,
    ) -> Result<Self, MaskerError> {
        let (mut names, mut labels, mut weak, mut total) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let (mut loose, mut exact) = (Vec::new(), Vec::new());
        for (name, secret) in secrets {
            if let Some(why) = weakness(secret) {
                weak.push((name.to_owned(), why));
                continue;
            }
            total += secret.expose().len();
            if total > MAX_TOTAL_BYTES {
                return Err(MaskerError::TooMuch(total));
            }
            for form in forms::of(secret.expose()) {
                let stripped = reading::strip(&form);
                let enough = stripped.len() >= MIN_MASKED_BYTES;
                let (table, form) = if enough { (&mut loose, stripped) } else { (&mut exact, form) };
                table.push((form, labels.len()));
            }
            names.push(name.to_owned());
            labels.push(format!("[secret {name}, {} characters]", secret.characters()));
        }
        let tables = Tables { names, labels, weak, loose: Table::new(loose)?, exact: Table::new(exact)? };
        Ok(Self { tables: Arc::new(tables) })
    }

    /// Secrets that are not masked, and why.
    pub fn unmasked(&self) -> &[(String, Weak)] {
        &self.tables.weak
    }

    /// Whether this is a clone of `other`.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tables, &other.tables)
    }

    /// Names of the secrets that are in the text.
    pub fn names_in(&self, text: &[u8]) -> BTreeSet<&str> {
        if !quick::may_hold(&self.tables, text) {
            return BTreeSet::new();
        }
        let mut stream = self.stream();
        text.chunks(PIECE_BYTES).for_each(|piece| drop(stream.push(piece)));
        let found = stream.end().found;
        found.iter().filter_map(|index| self.tables.names.get(*index)).map(String::as_str).collect()
    }

    /// How far a secret reaches in a text where nothing but escapes stands between its characters, in bytes; 0 when there
    /// is nothing to look for. Where a text was cut, so much on either side may be a part of a secret.
    pub fn reach(&self) -> usize {
        LONGEST_ESCAPE * self.tables.loose.longest.max(self.tables.exact.longest)
    }

    /// The text without the secrets; borrowed when there is none in it.
    pub fn mask<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if !quick::may_hold(&self.tables, text) {
            return Cow::Borrowed(text);
        }
        let mut stream = self.stream();
        let mut masked = Vec::new();
        for piece in text.chunks(PIECE_BYTES) {
            masked.extend(stream.push(piece));
        }
        let end = stream.end();
        if end.found.is_empty() {
            return Cow::Borrowed(text);
        }
        masked.extend(end.rest);
        Cow::Owned(masked)
    }

    /// [`Masker::mask`] for a text that may go on, without an end that may be the beginning of a secret.
    pub fn mask_so_far(&self, text: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        text.chunks(PIECE_BYTES).flat_map(|piece| stream.push(piece)).collect()
    }

    /// [`Masker::mask`] for a text. What it replaces is whole characters, so the result is text too.
    pub fn mask_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.mask(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }

    /// For a text that comes in pieces.
    pub fn stream(&self) -> MaskStream {
        MaskStream::new(Arc::clone(&self.tables), None)
    }

    /// For a text that comes in pieces and whose length must stay: each byte of a secret becomes a `*`.
    pub fn stream_of_same_length(&self) -> MaskStream {
        MaskStream::new(Arc::clone(&self.tables), Some(b'*'))
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("secrets", &self.tables.labels).finish_non_exhaustive()
    }
}

impl Table {
    fn new(mut forms: Vec<(Zeroizing<Vec<u8>>, usize)>) -> Result<Self, MaskerError> {
        // The first of two secrets with one form gives its name.
        forms.sort_by(|a, b| (a.0.as_slice(), a.1).cmp(&(b.0.as_slice(), b.1)));
        forms.dedup_by(|later, first| *later.0 == *first.0);
        let longest = forms.iter().map(|(form, _)| form.len()).max().unwrap_or(0);
        let automaton = match longest {
            0 => None,
            _ => {
                let patterns = forms.iter().map(|(form, _)| form.as_slice());
                Some(AhoCorasick::new(patterns).map_err(|_| MaskerError::Automaton)?)
            }
        };
        Ok(Self { forms, automaton, longest })
    }

    /// Whether a form begins with `start` and goes on.
    fn goes_on(&self, start: &[u8]) -> bool {
        let at = self.forms.partition_point(|(form, _)| form.as_slice() <= start);
        self.forms.get(at).is_some_and(|(form, _)| form.starts_with(start))
    }
}
