//! A detached signature, as `gpg --detach-sign` makes it, over the bytes of a file.

use pgp::composed::{Deserializable as _, DetachedSignature};

use super::{
    Seconds,
    certificate::{KeyState, current, sound},
    keyring::Keyring,
};

/// A signature has less than a kilobyte; a file of several has some.
pub const MAX_SIGNATURE_BYTES: usize = 64 << 10;

/// Signatures of one file that are looked at.
const MAX_SIGNATURES: usize = 16;

/// What a signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Made over exactly these bytes by the key of this fingerprint, which is valid.
    Good(String),
    /// The key made it over exactly these bytes, and may no longer be relied on.
    Lapsed(String, KeyState),
    /// The key that it names did not make it over these bytes: they or the signature were changed.
    Bad(String),
    /// No key of the keyring is the one that it names.
    UnknownKey,
    /// It is no signature that can be read, is over a broken hash, or is expired.
    Unusable(String),
}

/// Verifies the first signature in `signature`, armoured or not, whose key is known.
pub fn verify_detached(data: &[u8], signature: &[u8], keyring: &Keyring, now: Seconds) -> Verified {
    if signature.len() > MAX_SIGNATURE_BYTES {
        return Verified::Unusable(format!("it has more than {MAX_SIGNATURE_BYTES} bytes"));
    }
    let armoured = signature.trim_ascii_start().starts_with(b"-----BEGIN");
    let read: pgp::errors::Result<Box<dyn Iterator<Item = _>>> = if armoured {
        DetachedSignature::from_armor_many_buf(signature).map(|(signatures, _)| signatures)
    } else {
        DetachedSignature::from_bytes_many(signature)
    };
    let signatures = match read {
        Ok(signatures) => signatures,
        Err(error) => return Verified::Unusable(error.to_string()),
    };
    let mut outcome = Verified::Unusable("there is no signature in it".to_owned());
    for signature in signatures.take(MAX_SIGNATURES) {
        outcome = match signature {
            Ok(signature) => one(data, &signature, keyring, now),
            Err(error) => Verified::Unusable(error.to_string()),
        };
        if !matches!(outcome, Verified::UnknownKey | Verified::Unusable(_)) {
            return outcome;
        }
    }
    outcome
}

fn one(data: &[u8], signature: &DetachedSignature, keyring: &Keyring, now: Seconds) -> Verified {
    let signature = &signature.signature;
    if !sound(signature) {
        return Verified::Unusable("it was made with a broken hash".to_owned());
    }
    if !current(signature, now) {
        return Verified::Unusable("it is expired, or from the future".to_owned());
    }
    let mut answers =
        keyring.iter().filter_map(|key| key.signed(signature, data, now).map(|good| (key, good)));
    match answers.next() {
        None => Verified::UnknownKey,
        Some((key, false)) => match key.state(now) {
            // Without a binding that holds, nothing is known of the signature.
            KeyState::Unbound => Verified::Lapsed(key.fingerprint().to_owned(), KeyState::Unbound),
            _ => Verified::Bad(key.fingerprint().to_owned()),
        },
        Some((key, true)) => match key.state(now) {
            KeyState::Valid => Verified::Good(key.fingerprint().to_owned()),
            state => Verified::Lapsed(key.fingerprint().to_owned(), state),
        },
    }
}
