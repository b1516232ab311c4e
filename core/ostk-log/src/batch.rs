//! Ed25519 signatures checked together: one equation over all of them costs about half of what one for each would.
//!
//! Called by whoever checks a whole log (`ostk-journal`); a single record is checked by
//! [`Header::verify_signature`]. The coefficients of the equation are derived from what is checked, so that the same
//! signatures give the same answer everywhere and no source of randomness is needed.

use ed25519_dalek::{Signature, VerifyingKey, verify_batch};

use crate::{BadSignature, Header, KeyId};

/// Signatures of lines that wait to be checked, each with a tag that names it to the caller.
///
/// Anything but the signature of its key is refused as by [`KeyId::verify`], with one exception that only the holder
/// of the key can bring about: a signature with a component of small order may pass here and fail there. It lets
/// nobody sign for another.
#[derive(Debug)]
pub struct SignatureBatch<T> {
    entries: Vec<Entry<T>>,
    /// The signed bytes of all entries, one after the other.
    messages: Vec<u8>,
    /// The key of the last entry, decoded: most logs have one key.
    key: Option<(KeyId, VerifyingKey)>,
    refused: Vec<(T, BadSignature)>,
}

#[derive(Debug)]
struct Entry<T> {
    tag: T,
    id: KeyId,
    key: VerifyingKey,
    signature: Signature,
    /// Where its message ends in `messages`; it begins where the one before ends.
    end: usize,
}

impl<T> SignatureBatch<T> {
    /// Nothing to check yet. About 500 entries make the most of a check; more bring little.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), messages: Vec::new(), key: None, refused: Vec::new() }
    }

    /// Adds the signature of a line.
    pub fn push(&mut self, tag: T, header: &Header<'_>) {
        let Some(key) = self.decoded(header.key) else {
            return self.refused.push((tag, BadSignature(header.key)));
        };
        header.write_signed(&mut self.messages);
        let (signature, end) = (Signature::from_bytes(&header.sig), self.messages.len());
        self.entries.push(Entry { tag, id: header.key, key, signature, end });
    }

    /// Checks what waits and returns which signatures do not hold. Nothing waits afterwards.
    pub fn check(&mut self) -> Vec<(T, BadSignature)> {
        let entries = std::mem::take(&mut self.entries);
        let starts = std::iter::once(0).chain(entries.iter().map(|entry| entry.end));
        let messages: Vec<&[u8]> = starts
            .zip(&entries)
            .map(|(start, entry)| self.messages.get(start..entry.end).unwrap_or_default())
            .collect();
        let signatures: Vec<Signature> = entries.iter().map(|entry| entry.signature).collect();
        let keys: Vec<VerifyingKey> = entries.iter().map(|entry| entry.key).collect();
        let mut refused = std::mem::take(&mut self.refused);
        if verify_batch(&messages, &signatures, &keys).is_err() {
            let one_by_one = messages.into_iter().zip(entries).filter_map(|(message, entry)| {
                let wrong = entry.id.verify(message, &entry.signature.to_bytes()).err()?;
                Some((entry.tag, wrong))
            });
            refused.extend(one_by_one);
        }
        self.messages.clear();
        refused
    }

    /// The key as a point of the curve, unless it is none or a weak one, under which anybody could sign.
    fn decoded(&mut self, id: KeyId) -> Option<VerifyingKey> {
        if let Some((known, key)) = self.key
            && known == id
        {
            return Some(key);
        }
        let key = VerifyingKey::from_bytes(id.as_bytes()).ok().filter(|key| !key.is_weak())?;
        self.key = Some((id, key));
        Some(key)
    }
}

impl<T> Default for SignatureBatch<T> {
    fn default() -> Self {
        Self::new()
    }
}
