//! A private key in memory, and the one thing it does: sign.
//!
//! The seed is wiped when the key is dropped, and no text form of the key shows it. How a key reaches the disk is
//! in `file.rs`; where it lies is in `store.rs`.

use std::fmt;

use ed25519_dalek::Signer as _;
use ostk_log::{KeyId, Signer};
use zeroize::Zeroizing;

/// Bytes of an Ed25519 seed (RFC 8032, section 5.1.5).
pub(crate) const SEED_BYTES: usize = 32;

/// A seed that is wiped when dropped.
pub(crate) type Seed = Zeroizing<[u8; SEED_BYTES]>;

/// An Ed25519 private key. Made by [`KeyStore`](crate::KeyStore) only; wiped on drop; `Debug` shows the public half.
pub struct SigningKey {
    id: KeyId,
    inner: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// The key of a seed: the whole private key is derived from these 32 bytes.
    pub(crate) fn from_seed(seed: &Seed) -> Self {
        let inner = ed25519_dalek::SigningKey::from_bytes(seed);
        Self { id: KeyId::from_public_key(inner.verifying_key().to_bytes()), inner }
    }
}

impl Signer for SigningKey {
    fn key_id(&self) -> &KeyId {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.inner.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Seed, SigningKey) {
        let seed = Zeroizing::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let key = SigningKey::from_seed(&seed);
        (seed, key)
    }

    #[test]
    fn the_seed_00_to_1f_has_the_published_key_id() {
        assert_eq!(example().1.key_id().to_string(), "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
    }

    #[test]
    fn a_signature_verifies_under_the_key_id_and_only_over_the_same_bytes() {
        let (_, key) = example();
        let signature = key.sign(b"one line");
        assert!(key.key_id().verify(b"one line", &signature).is_ok());
        assert!(key.key_id().verify(b"one lime", &signature).is_err());
    }

    #[test]
    fn debug_text_never_shows_the_private_key() {
        let (seed, key) = example();
        let text = format!("{key:?} {key:#?}");
        assert!(text.contains("ed25519:A6EHv"), "{text}");
        for form in [crate::file::encode(&seed).lines().nth(1).unwrap(), "1, 2, 3", "010203", "0x01"] {
            assert!(!text.contains(form), "{text}");
        }
    }
}
