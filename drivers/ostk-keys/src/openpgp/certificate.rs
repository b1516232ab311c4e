//! One OpenPGP key with what it says of itself: is it valid now, which of its keys sign, who certified it.
//!
//! Only what verifies counts, and only with a hash that is still sound: a certification over MD5, SHA-1 or RIPEMD-160
//! is as none. Sections of RFC 9580 are named where they decide.

use pgp::{
    composed::SignedPublicKey,
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType},
    types::{KeyDetails, SignedUser, Tag, VerifyingKey},
};

use super::Seconds;

/// A clock may be this far behind the one that made a signature.
const CLOCK_SLACK_S: Seconds = 600;

/// A public key with its user ids, subkeys and certifications.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: SignedPublicKey,
    fingerprint: String,
}

/// Whether a key may be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// It is valid.
    Valid,
    /// It expired at this moment.
    Expired(Seconds),
    /// Its owner revoked it.
    Revoked,
    /// No user id is bound to it by a signature that verifies.
    Unbound,
}

impl Certificate {
    pub(super) fn new(key: SignedPublicKey) -> Self {
        let fingerprint = format!("{:X}", key.primary_key.fingerprint());
        Self { key, fingerprint }
    }

    /// 40 (version 4) or 64 (version 6) capital hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The first user id, as text.
    pub fn user(&self) -> String {
        let user = self.key.details.users.first();
        user.map(|user| String::from_utf8_lossy(user.id.id()).into_owned()).unwrap_or_default()
    }

    /// Whether it may be relied on at this moment.
    pub fn state(&self, now: Seconds) -> KeyState {
        let primary = &self.key.primary_key;
        let revoked = |signature: &Signature| {
            signature.typ() == Some(SignatureType::KeyRevocation) && signature.verify_key(primary).is_ok()
        };
        if self.key.details.revocation_signatures.iter().any(revoked) {
            return KeyState::Revoked;
        }
        let Some(newest) = self.self_signatures(now).max_by_key(|signature| made(signature)) else {
            return KeyState::Unbound;
        };
        match expiry(newest, primary) {
            Some(end) if end <= now => KeyState::Expired(end),
            _ => KeyState::Valid,
        }
    }

    /// The newest signature that binds each user id, of those that are not revoked.
    fn self_signatures(&self, now: Seconds) -> impl Iterator<Item = &Signature> {
        self.key.details.users.iter().filter_map(move |user| certified(user, &self.key, &self.key, now))
    }

    /// The signature, if any, by which `signer` certifies a user id of this key now. Whether `signer` is valid is not
    /// asked here.
    pub(super) fn certified_by(&self, signer: &Self, now: Seconds) -> bool {
        let users = self.key.details.users.iter();
        let bound = users.filter(|user| certified(user, &self.key, &self.key, now).is_some());
        bound.into_iter().any(|user| certified(user, &self.key, &signer.key, now).is_some())
    }

    /// Whether a signature over `data` was made by this key or one of its subkeys that may sign. `None` when it names
    /// another key.
    pub(super) fn signed(&self, signature: &Signature, data: &[u8], now: Seconds) -> Option<bool> {
        let primary = &self.key.primary_key;
        if names(signature, primary) {
            let may = self.self_signatures(now).any(|binding| binding.key_flags().sign());
            return Some(may && signature.verify(primary, data).is_ok());
        }
        let subkey = self.key.public_subkeys.iter().find(|subkey| names(signature, &subkey.key))?;
        let key = &subkey.key;
        let verified = |signature: &&Signature| {
            sound(signature)
                && current(signature, now)
                && signature.verify_subkey_binding(primary, key).is_ok()
        };
        let of_type = |wanted: SignatureType| {
            subkey.signatures.iter().filter(move |signature| signature.typ() == Some(wanted)).filter(verified)
        };
        // A signing subkey must consent to be bound (section 5.2.1.9), or anyone could claim another's signatures.
        let consents = |binding: &Signature| {
            binding
                .embedded_signature()
                .is_some_and(|back| sound(back) && back.verify_primary_key_binding(key, primary).is_ok())
        };
        let binding = of_type(SignatureType::SubkeyBinding).max_by_key(|binding| made(binding));
        let may = binding.is_some_and(|binding| {
            binding.key_flags().sign()
                && consents(binding)
                && expiry(binding, key).is_none_or(|end| end > now)
        });
        let revoked = of_type(SignatureType::SubkeyRevocation).next().is_some();
        Some(may && !revoked && signature.verify(key, data).is_ok())
    }
}

/// The newest certification of `user` by `signer` that verifies and is in force; none when `signer` revoked it.
fn certified<'a>(
    user: &'a SignedUser,
    signee: &SignedPublicKey,
    signer: &SignedPublicKey,
    now: Seconds,
) -> Option<&'a Signature> {
    let (signee, signer) = (&signee.primary_key, &signer.primary_key);
    let verifies = |signature: &&Signature| {
        sound(signature)
            && names(signature, signer)
            && signature.verify_third_party_certification(signee, signer, Tag::UserId, &user.id).is_ok()
    };
    let newest = user
        .signatures
        .iter()
        .filter(|signature| signature.is_certification() && current(signature, now))
        .filter(verifies)
        .max_by_key(|signature| made(signature))?;
    let revoked = |signature: &Signature| {
        signature.typ() == Some(SignatureType::CertRevocation) && made(signature) >= made(newest)
    };
    let mut revocations = user.signatures.iter().filter(|signature| revoked(signature)).filter(verifies);
    revocations.next().is_none().then_some(newest)
}

/// Whether the signature says that this key made it: a hint that verification then proves or disproves.
fn names(signature: &Signature, key: &impl VerifyingKey) -> bool {
    let fingerprint = key.fingerprint();
    match signature.issuer_fingerprint().as_slice() {
        [] => signature.issuer_key_id().contains(&&key.legacy_key_id()),
        named => named.contains(&&fingerprint),
    }
}

/// Whether a signature was made with a hash in which nobody finds collisions.
pub(super) fn sound(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha224, Sha256, Sha384, Sha512};
    matches!(signature.hash_alg(), Some(Sha224 | Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

fn made(signature: &Signature) -> Seconds {
    signature.created().map_or(0, |time| time.as_secs().into())
}

/// Made before now, and not expired (sections 5.2.3.11 and 5.2.3.18).
pub(super) fn current(signature: &Signature, now: Seconds) -> bool {
    let made = made(signature);
    let life = signature.signature_expiration_time().map_or(0, |life| life.as_secs().into());
    made > 0 && made <= now + CLOCK_SLACK_S && (life == 0 || made + life > now)
}

/// When the key expires by what `binding` says (section 5.2.3.13).
fn expiry(binding: &Signature, key: &impl KeyDetails) -> Option<Seconds> {
    let life: Seconds = binding.key_expiration_time()?.as_secs().into();
    (life > 0).then(|| Seconds::from(key.created_at().as_secs()) + life)
}
