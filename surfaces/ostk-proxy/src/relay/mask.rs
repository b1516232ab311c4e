//! Takes a secret out of a stream of bytes, without changing its length.
//!
//! Vendors echo parts of a request in errors, and a gateway between may echo a header. Bytes are held back only while they
//! could be the beginning of the secret; a stream without it passes as it is.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use zeroize::Zeroizing;

/// What stands in the place of each byte of the secret.
const DOT: u8 = b'*';
/// A shorter secret stays: a server of one's own takes any word for a key, and taking that out would spoil replies. Vendors'
/// keys have 39 characters and more.
const MIN_SECRET_BYTES: usize = 16;

/// Looks for one secret in one stream.
pub(crate) struct Mask {
    secret: Zeroizing<Vec<u8>>,
    /// The end of what came, which may be the beginning of the secret.
    held: Bytes,
}

impl Mask {
    /// `None` for a secret that is too short to be told from other text.
    pub(crate) fn new(secret: &str) -> Option<Self> {
        let secret = Zeroizing::new(secret.as_bytes().to_vec());
        (secret.len() >= MIN_SECRET_BYTES).then(|| Self { secret, held: Bytes::new() })
    }

    /// Whether the secret is in `bytes`.
    pub(crate) fn finds(&self, bytes: &[u8]) -> bool {
        memmem::find(bytes, &self.secret).is_some()
    }

    /// `bytes`, all of a text, with every occurrence of the secret dotted out.
    pub(crate) fn whole(&self, bytes: &[u8]) -> Bytes {
        let mut copy = BytesMut::from(bytes);
        for at in memmem::find_iter(bytes, &self.secret) {
            if let Some(place) = copy.get_mut(at..at + self.secret.len()) {
                place.fill(DOT);
            }
        }
        copy.freeze()
    }

    /// What may pass now that `bytes` have come; all of it if they are the last.
    pub(crate) fn push(&mut self, bytes: Bytes, is_last: bool) -> Bytes {
        let mut all = if self.held.is_empty() {
            bytes
        } else {
            let mut joined = BytesMut::from(&*std::mem::take(&mut self.held));
            joined.extend_from_slice(&bytes);
            joined.freeze()
        };
        if self.finds(&all) {
            all = self.whole(&all);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "sk-1-sk-1-sk-1-2";
    const DOTS: &str = "****************";

    fn through(secret: &str, pieces: &[&[u8]]) -> Vec<u8> {
        let mut mask = Mask::new(secret).unwrap();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(mask.push(Bytes::copy_from_slice(piece), false));
        }
        out.extend(mask.push(Bytes::new(), true));
        out
    }

    #[test]
    fn a_secret_is_dotted_out_also_when_it_comes_in_pieces() {
        let text = format!("bad key {SECRET}! {SECRET}");
        let dotted = format!("bad key {DOTS}! {DOTS}");
        for size in 1..text.len() {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(through(SECRET, &pieces), dotted.as_bytes(), "in pieces of {size}");
        }
        assert_eq!(
            through(SECRET, &[b"sk-1-sk-1-", SECRET.as_bytes()]),
            format!("sk-1-sk-1-{DOTS}").as_bytes()
        );
    }

    #[test]
    fn only_what_may_be_its_beginning_is_held_back() {
        let mut mask = Mask::new(SECRET).unwrap();
        assert_eq!(mask.push(Bytes::from_static(b"data: x\n\n"), false), "data: x\n\n");
        assert_eq!(mask.push(Bytes::from_static(b"masks"), false), "mask");
        assert_eq!(mask.push(Bytes::from_static(b"!"), false), "s!");
        assert_eq!(mask.push(Bytes::from_static(b"the last s"), true), "the last s");
    }

    #[test]
    fn a_word_that_stands_for_a_key_stays_in_replies() {
        assert!(Mask::new("ollama").is_none());
    }

    proptest! {
        #[test]
        fn however_bytes_are_cut_the_same_comes_out(
            bytes in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..300),
            cuts in proptest::collection::vec(0usize..300, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            // A secret of repetitions, so that beginnings overlap and runs of the bytes hold it.
            let secret = "a".repeat(MIN_SECRET_BYTES);
            prop_assert_eq!(through(&secret, &pieces), Mask::new(&secret).unwrap().whole(&bytes).to_vec());
            prop_assert_eq!(through("it is never there", &pieces), bytes);
        }
    }
}
