//! Lower-case hexadecimal, the only one the log writes or accepts.
//!
//! The crate `hex` accepts both cases and is several times slower, which shows at half a million records a second.
//! Called by `hash` and by everything that reads or writes a signature.

/// The digits of `bytes`, two each.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut digits = vec![0; bytes.len() * 2];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    // Digits are ASCII, so this never falls back.
    String::from_utf8(digits).unwrap_or_default()
}

/// The `N` bytes that `digits` write, `None` for any other text.
pub fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    // Values are collected without branching; one that is not a digit has a bit above the fourth.
    let mut seen = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (value(*high), value(*low));
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < 16).then_some(bytes)
}

const fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_spelling() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&all), hex::encode(&all));
        assert_eq!(
            decode::<256>(encode(&all).as_bytes()).as_ref().map(<[u8; 256]>::as_slice),
            Some(&all[..])
        );
        for wrong in ["0", "0g", "0A", "0/", "0:", "0`", "000", "", "é"] {
            assert_eq!(decode::<1>(wrong.as_bytes()), None, "{wrong:?} was accepted");
        }
    }
}
