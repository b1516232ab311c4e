//! The text of a key file: two lines, the first for people and for checking, the second the seed.
//!
//! ```text
//! ostk ed25519 private key v1 ed25519:<public key>
//! <32-byte seed, standard base64>
//! ```
//!
//! The public key in the first line is checked against the seed, so a changed character is noticed at load and not
//! when somebody else fails to verify a signature. No I/O here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ostk_log::Signer as _;
use zeroize::Zeroizing;

use crate::key::{SEED_BYTES, Seed, SigningKey};

const HEADER: &str = "ostk ed25519 private key v1 ";

/// No key file is longer; reading stops here. The real length is 125 bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1024;

/// Why a text is not a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the first line is not {HEADER:?} and a key id")]
    Header,
    #[error("the second line is not base64")]
    Base64,
    #[error("the seed has {0} bytes and not 32")]
    Length(usize),
    #[error("the seed does not belong to the public key in the first line")]
    Mismatch,
    #[error("there is more after the second line")]
    Trailing,
}

/// The file of a seed.
pub(crate) fn encode(seed: &Seed) -> Zeroizing<String> {
    let key = SigningKey::from_seed(seed);
    let digits = Zeroizing::new(STANDARD.encode(seed.as_slice()));
    Zeroizing::new(format!("{HEADER}{}\n{}\n", key.key_id(), *digits))
}

/// The key in a file.
pub(crate) fn decode(text: &str) -> Result<SigningKey, Malformed> {
    let mut lines = text.lines();
    let id = lines.next().and_then(|line| line.strip_prefix(HEADER)).ok_or(Malformed::Header)?;
    let seed = decode_seed(lines.next().unwrap_or_default())?;
    if lines.next().is_some() {
        return Err(Malformed::Trailing);
    }
    let key = SigningKey::from_seed(&seed);
    if key.key_id().to_string() == id { Ok(key) } else { Err(Malformed::Mismatch) }
}

fn decode_seed(digits: &str) -> Result<Seed, Malformed> {
    let bytes = Zeroizing::new(STANDARD.decode(digits).map_err(|_| Malformed::Base64)?);
    let seed: [u8; SEED_BYTES] = bytes.as_slice().try_into().map_err(|_| Malformed::Length(bytes.len()))?;
    Ok(Zeroizing::new(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(edit: impl Fn(&str) -> String) -> Result<(), Malformed> {
        let text = encode(&Zeroizing::new([7; SEED_BYTES]));
        decode(&edit(&text)).map(|_| ())
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(written(str::to_owned), Ok(()));
    }

    #[test]
    fn a_changed_digit_of_the_seed_or_of_the_public_key_is_noticed() {
        let public = SigningKey::from_seed(&Zeroizing::new([7; SEED_BYTES])).key_id().to_string();
        let other = SigningKey::from_seed(&Zeroizing::new([8; SEED_BYTES])).key_id().to_string();
        assert_eq!(written(|text| text.replace("\nBwcH", "\nBwcI")), Err(Malformed::Mismatch));
        assert_eq!(written(|text| text.replace(&public, &other)), Err(Malformed::Mismatch));
    }

    #[test]
    fn a_seed_of_another_length_is_refused() {
        assert_eq!(written(|text| text.replace("\nBwcH", "\n")), Err(Malformed::Length(29)));
        assert_eq!(written(|text| text.replace("\nBwcH", "\nBwcHBwcH")), Err(Malformed::Length(35)));
        assert_eq!(written(|text| text.lines().next().unwrap().to_owned()), Err(Malformed::Length(0)));
    }

    #[test]
    fn another_header_more_lines_and_other_digits_are_refused() {
        assert_eq!(written(|text| text.replace("v1", "v2")), Err(Malformed::Header));
        assert_eq!(written(|text| format!("{text}more\n")), Err(Malformed::Trailing));
        assert_eq!(written(|text| text.replace("\nBwcH", "\n!!!!")), Err(Malformed::Base64));
        assert_eq!(written(|_| String::new()), Err(Malformed::Header));
    }
}
