//! Whether a secret can be told from other text.
//!
//! What is masked disappears from everything that agents read. A secret that is also a word would take the word with it,
//! so such a secret is not masked, and `ostk secret`, `ostk doctor` and `ostk lint` say so. Called by the masker.

use super::secret::Secret;

/// A shorter secret is not masked: it would be found in innocent text.
pub const MIN_MASKED_BYTES: usize = 8;
/// With fewer different characters it is a line of dashes or a pattern that people draw.
const MIN_DISTINCT: usize = 5;
/// A word or a number of so many bytes is masked: by chance nobody writes it.
const MIN_PLAIN_BYTES: usize = 16;

/// Why a secret is not masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Too short.
    #[error("it has fewer than {MIN_MASKED_BYTES} bytes")]
    Short,
    /// The same characters again and again.
    #[error("it has fewer than {MIN_DISTINCT} different characters")]
    Uniform,
    /// A word or a number.
    #[error("it has fewer than {MIN_PLAIN_BYTES} bytes and is a word or a number")]
    Plain,
}

impl Secret {
    /// Why it cannot be masked; `None` for one that can.
    pub fn weakness(&self) -> Option<Weak> {
        let text = self.expose();
        let mut distinct: Vec<char> = text.chars().collect();
        distinct.sort_unstable();
        distinct.dedup();
        if text.len() < MIN_MASKED_BYTES {
            Some(Weak::Short)
        } else if distinct.len() < MIN_DISTINCT {
            Some(Weak::Uniform)
        } else {
            (text.len() < MIN_PLAIN_BYTES && is_plain(text)).then_some(Weak::Plain)
        }
    }
}

/// Digits; or letters of one case, of which the first may be a capital. Either with the signs that join words.
fn is_plain(text: &str) -> bool {
    let letters = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let rest = letters.strip_prefix(char::is_uppercase).unwrap_or(letters);
    let joins = |c: char| matches!(c, '-' | '_' | '.' | ' ');
    let all = |text: &str, kind: fn(char) -> bool| text.chars().all(|c| joins(c) || kind(c));
    all(text, char::is_numeric) || all(text, char::is_uppercase) || all(rest, char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weakness(text: &str) -> Option<Weak> {
        Secret::new(text.to_owned()).unwrap().weakness()
    }

    #[test]
    fn a_word_a_number_and_a_line_of_dashes_are_not_masked() {
        assert_eq!(weakness("hunter2"), Some(Weak::Short));
        assert_eq!(weakness(&"-".repeat(40)), Some(Weak::Uniform));
        for plain in ["password", "Password", "CHANGEME", "not-needed", "lm_studio", "12345678", "2026-11-30"]
        {
            assert_eq!(weakness(plain), Some(Weak::Plain), "{plain}");
        }
    }

    #[test]
    fn what_nobody_writes_by_chance_is_masked() {
        for text in
            ["hunter22x", "passWord", "pass:word", "correct horse battery", "sk-ant-api03-xYz", "p4ssword"]
        {
            assert_eq!(weakness(text), None, "{text}");
        }
    }
}
