//! A secret in memory: wiped when dropped, and shown by nothing that prints.
//!
//! There is no `Serialize`, and `Debug` and `Display` give the length only, so that a secret reaches a record, a
//! prompt or an error message through a call of [`Secret::expose`] alone, which is easy to find.

use std::fmt;

use zeroize::Zeroizing;

/// Longest secret; a service account's JSON has 2.4 KB, a private key in PEM 3.2 KB.
pub const MAX_SECRET_BYTES: usize = 16 << 10;

/// A value that is no secret: empty, or longer than [`MAX_SECRET_BYTES`], or with a NUL or bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotASecret {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it has {0} bytes, and a secret at most {MAX_SECRET_BYTES}")]
    Long(usize),
    /// It is no text.
    #[error("it is not UTF-8 text without NUL")]
    NoText,
}

/// A secret text of 1 to [`MAX_SECRET_BYTES`] bytes.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text as it is.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a NUL.
    pub fn new(text: String) -> Result<Self, NotASecret> {
        let text = Zeroizing::new(text);
        match text.len() {
            0 => Err(NotASecret::Empty),
            length if length > MAX_SECRET_BYTES => Err(NotASecret::Long(length)),
            _ if text.contains('\0') => Err(NotASecret::NoText),
            _ => Ok(Self(text)),
        }
    }

    /// Takes bytes as a program printed them: line breaks at the end do not belong to the secret.
    ///
    /// # Errors
    /// As [`Secret::new`], and when the bytes are not UTF-8.
    pub fn from_output(bytes: Vec<u8>) -> Result<Self, NotASecret> {
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes).map_err(|_| NotASecret::NoText)?;
        Self::new(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The secret itself. For the call that needs it, at the time of the call.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// How many characters it has.
    pub fn characters(&self) -> usize {
        self.0.chars().count()
    }

    /// The first characters, at most 4 and at most a quarter of the secret: enough to tell two keys apart.
    pub fn prefix(&self) -> &str {
        let count = (self.characters() / 4).min(4);
        let end = self.0.char_indices().nth(count).map_or(0, |(at, _)| at);
        self.0.get(..end).unwrap_or_default()
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[secret, {} characters]", self.characters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_secret_shows_its_length_only() {
        let secret = Secret::new("hunter2-hunter2".to_owned()).unwrap();
        let shown = format!("{secret} {secret:?} {secret:#?} {:?}", Some(&secret));
        assert!(shown.contains("15 characters") && !shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn a_prefix_is_at_most_a_quarter_of_the_secret() {
        let prefix = |text: &str| Secret::new(text.to_owned()).unwrap().prefix().to_owned();
        assert_eq!(
            [prefix("abc"), prefix("abcdefgh"), prefix("sk-ant-0123456789abcdef")],
            ["", "ab", "sk-a"]
        );
        assert_eq!(prefix("äöüäöüäö"), "äö");
    }

    #[test]
    fn line_breaks_after_a_programs_output_are_not_part_of_the_secret() {
        assert_eq!(Secret::from_output(b"abc def\r\n\n".to_vec()).unwrap().expose(), "abc def");
        assert_eq!(Secret::from_output(b"\n".to_vec()).unwrap_err(), NotASecret::Empty);
        assert_eq!(Secret::from_output(vec![0xff]).unwrap_err(), NotASecret::NoText);
        assert_eq!(Secret::new("a\0b".to_owned()).unwrap_err(), NotASecret::NoText);
        assert_eq!(Secret::new("x".repeat(1 << 15)).unwrap_err(), NotASecret::Long(1 << 15));
    }
}
