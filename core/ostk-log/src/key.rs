//! The name of a signing key, the signer that holds the private half, and Ed25519 verification (RFC 8032).
//!
//! Private keys never enter this crate: `ostk-keys` implements [`Signer`], tests sign with a key of their own.
//! Called by `record` to seal and by everything that checks a signature.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

/// An Ed25519 public key, written `ed25519:` and 43 characters of unpadded base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 32]);

/// A text that is not a key id in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key id of the form ed25519:<43 characters of base64url>: {0:?}")]
pub struct KeyIdError(String);

/// A signature that the named key did not make over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by {0} over these bytes")]
pub struct BadSignature(pub KeyId);

/// Holds a private key and signs with it.
///
/// Contract: `sign` returns the Ed25519 signature (RFC 8032) that verifies under `key_id`, for any message,
/// without blocking on a person or a network. Calls may run concurrently.
pub trait Signer: Send + Sync {
    /// The public half.
    fn key_id(&self) -> &KeyId;
    /// The signature of `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

impl KeyId {
    /// What stands before the base64url digits.
    pub const PREFIX: &'static str = "ed25519:";
    /// Bytes of the written form.
    pub const TEXT_LEN: usize = 8 + 43;

    /// The id of a public key. Whether the bytes are a point on the curve is found out when a signature is checked.
    pub const fn from_public_key(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks an Ed25519 signature, refusing weak keys and malleable signatures.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature(*self))?;
        key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| BadSignature(*self))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let error = || KeyIdError(text.chars().take(80).collect());
        let digits =
            text.strip_prefix(Self::PREFIX).filter(|_| text.len() == Self::TEXT_LEN).ok_or_else(error)?;
        // The engine refuses trailing bits that are not zero, so a key has one spelling.
        let bytes = URL_SAFE_NO_PAD.decode(digits).map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: String) -> Result<Self, KeyIdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(key: KeyId) -> Self {
        key.to_string()
    }
}
