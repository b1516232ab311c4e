//! Takes a secret out of a stream of bytes, without changing its length.
//!
//! Vendors echo parts of a request in errors, and a gateway between may echo a header. Bytes are held back only while they
//! could be the beginning of the secret; a stream without it passes as it is.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use zeroize::Zeroizing;

/// What stands in the place of each byte of the secret.
const DOT: u8 = b'*';

/// Looks for one secret in one stream.
pub(crate) struct Mask {
    secret: Zeroizing<Vec<u8>>,
    /// The end of what came, which may be the beginning of the secret.
    held: Bytes,
}

impl Mask {
    pub(crate) fn new(secret: &str) -> Self {
        Self { secret: Zeroizing::new(secret.as_bytes().to_vec()), held: Bytes::new() }
    }

    /// What may pass now that `bytes` have come; all of it if they are the last.
    pub(crate) fn push(&mut self, bytes: Bytes, is_last: bool) -> Bytes {
        if self.secret.is_empty() {
            return bytes;
        }
        let mut all = if self.held.is_empty() {
            bytes
        } else {
            let mut joined = BytesMut::from(&*std::mem::take(&mut self.held));
            joined.extend_from_slice(&bytes);
            joined.freeze()
        };
        if memmem::find(&all, &self.secret).is_some() {
            all = masked(&all, &self.secret);
        }
        if !is_last {
            self.held = all.split_off(all.len().saturating_sub(self.overlap(&all)));
        }
        all
    }

    /// Length of the longest end of `bytes` with which the secret begins.
    fn overlap(&self, bytes: &[u8]) -> usize {
        let longest = self.secret.len().saturating_sub(1).min(bytes.len());
        let begins = |length: &usize| bytes.ends_with(self.secret.get(..*length).unwrap_or_default());
        (1..=longest).rev().find(begins).unwrap_or(0)
    }
}

/// `bytes` with every occurrence of `secret` dotted out.
pub(crate) fn masked(bytes: &[u8], secret: &[u8]) -> Bytes {
    let mut copy = BytesMut::from(bytes);
    if secret.is_empty() {
        return copy.freeze();
    }
    for at in memmem::find_iter(bytes, secret) {
        if let Some(place) = copy.get_mut(at..at + secret.len()) {
            place.fill(DOT);
        }
    }
    copy.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(secret: &str, pieces: &[&[u8]]) -> Vec<u8> {
        let mut mask = Mask::new(secret);
        let mut out: Vec<u8> =
            pieces.iter().flat_map(|piece| mask.push(Bytes::copy_from_slice(piece), false)).collect();
        out.extend(mask.push(Bytes::new(), true));
        out
    }

    #[test]
    fn a_secret_is_dotted_out_also_when_it_comes_in_pieces() {
        assert_eq!(through("sk-1", &[b"bad key sk-1!"]), b"bad key ****!");
        assert_eq!(through("sk-1", &[b"bad key s", b"k", b"-", b"1! sk-", b"1"]), b"bad key ****! ****");
        assert_eq!(through("aab", &[b"aa", b"aab"]), b"aa***");
    }

    #[test]
    fn only_what_may_be_its_beginning_is_held_back() {
        let mut mask = Mask::new("sk-1");
        assert_eq!(mask.push(Bytes::from_static(b"data: x\n\n"), false), "data: x\n\n");
        assert_eq!(mask.push(Bytes::from_static(b"masks"), false), "mask");
        assert_eq!(mask.push(Bytes::from_static(b"!"), false), "s!");
    }

    proptest! {
        #[test]
        fn bytes_without_the_secret_pass_unchanged_however_they_are_cut(
            bytes in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            // A secret with a repetition, so that beginnings overlap.
            let out = through("ababac", &pieces);
            prop_assert_eq!(out.as_slice(), &*masked(&bytes, b"ababac"));
            prop_assert_eq!(through("never there", &pieces), bytes);
        }
    }
}
