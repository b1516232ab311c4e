//! The forms in which a secret is looked for. Percent-encoding, escapes and splitting are not here: the text is read
//! accordingly (`reading.rs`).

use base64::{
    Engine as _,
    engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

type Form = Zeroizing<Vec<u8>>;

/// Every form, the secret itself first.
pub(super) fn of(secret: &str) -> Vec<Form> {
    let mut forms = vec![
        Zeroizing::new(secret.as_bytes().to_vec()),
        Zeroizing::new(secret.chars().rev().collect::<String>().into_bytes()),
        hexadecimal(secret, b"0123456789abcdef"),
        hexadecimal(secret, b"0123456789ABCDEF"),
    ];
    for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        forms.extend((0..3).map(|before| base64_core(secret.as_bytes(), before, &alphabet)));
    }
    forms
}

fn hexadecimal(secret: &str, digits: &[u8; 16]) -> Form {
    let digit = |value: u8| digits.get(usize::from(value)).copied().unwrap_or_default();
    Zeroizing::new(secret.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// The digits that come from the secret alone when it stands `before` bytes (modulo 3) after the start of a text that
/// is encoded: a digit has 6 bits, and those at either end that share a byte with a neighbour are left out (RFC 4648
/// section 4).
fn base64_core(secret: &[u8], before: usize, alphabet: &GeneralPurpose) -> Form {
    let mut text = Zeroizing::new(vec![0; before]);
    text.extend_from_slice(secret);
    let digits = Zeroizing::new(alphabet.encode(text.as_slice()).into_bytes());
    let (first, end) = ((8 * before).div_ceil(6), 8 * text.len() / 6);
    Zeroizing::new(digits.get(first..end).unwrap_or_default().to_vec())
}
