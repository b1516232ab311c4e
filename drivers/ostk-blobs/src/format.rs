//! The bytes of a pack entry's header and the names of packs. No I/O.

use ostk_log::Hash;

use crate::BLOB_MAX_BYTES;

/// `blob ` + 64 digits + space + at most 20 digits + newline: no header is longer.
pub(crate) const HEADER_MAX: usize = 5 + 64 + 1 + 20 + 1;

/// An entry's header: which blob follows, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) hash: Hash,
    pub(crate) size: u64,
}

impl Header {
    /// The header's bytes, newline included.
    pub(crate) fn encode(&self) -> String {
        format!("blob {} {}\n", self.hash, self.size)
    }

    /// Reads a header from its line without the newline. There is exactly one spelling of each header.
    pub(crate) fn decode(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let (hash, size) = text.strip_prefix("blob ")?.split_once(' ')?;
        let header = Self { hash: hash.parse().ok()?, size: size.parse().ok()? };
        let plain = header.size.to_string() == size;
        (plain && header.size <= BLOB_MAX_BYTES).then_some(header)
    }

    /// Bytes of the whole entry: header, blob, closing newline.
    pub(crate) fn entry_len(&self) -> u64 {
        self.encode().len() as u64 + self.size + 1
    }
}

/// The file name of the pack whose first blob is the `first`th of the store.
pub(crate) fn pack_name(first: u64) -> String {
    format!("{first:020}.pack")
}

/// The number in a pack's name, `None` if this is not the name of a pack.
pub(crate) fn pack_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".pack")?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_one_spelling() {
        let header = Header { hash: Hash::of(b"a"), size: 10 };
        let text = header.encode();
        assert_eq!(Header::decode(text.trim_end().as_bytes()), Some(header));
        for wrong in [
            text.replace(" 10", " 010"),
            text.replace(" 10", " +10"),
            text.to_uppercase(),
            text.replace("blob", "blub"),
        ] {
            assert_eq!(Header::decode(wrong.trim_end().as_bytes()), None, "{wrong:?} was accepted");
        }
    }

    #[test]
    fn only_twenty_digits_name_a_pack() {
        assert_eq!(pack_number(&pack_name(7)), Some(7));
        for wrong in ["7.pack", "00000000000000000007.pack.tmp", "+0000000000000000007.pack", "synced"] {
            assert_eq!(pack_number(wrong), None, "{wrong}");
        }
    }
}
