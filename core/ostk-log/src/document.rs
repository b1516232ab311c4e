//! The signature of a document: a C2SP signed note that names the file, its digest, the time and the key.
//!
//! ```text
//! ostk/document
//! .ostk/pins/fix-bug/pin.caps
//! sha256:<64 hex digits>
//! 2026-01-02T03:04:05.000000Z
//! ed25519:<public key>
//!
//! — ostk/document <base64>
//! ```
//!
//! The name is part of what is signed, so that the signature of one pin is not one of another. Whether the key is to be
//! trusted is the reader's question. Called by `ostk sign` and by whoever checks documents at a start.

use signed_note::Note;

use crate::{
    CheckpointError, Hash, KeyId, Signer, Timestamp, VerifierKey,
    checkpoint::{sign_note, verify_note},
};

/// What the key signs as; the first line.
const NAME: &str = "ostk/document";
const DIGEST: &str = "sha256:";

/// What a signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentStatement {
    /// The document, from the repository's root.
    pub path: String,
    /// SHA-256 of its bytes.
    pub digest: Hash,
    /// When it was signed, by the clock of whoever did.
    pub signed_at: Timestamp,
    /// The key that signed.
    pub key: KeyId,
}

/// Why a signature cannot be made or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A path with a line break or nothing.
    #[error("not a path that can be signed: {0:?}")]
    Path(String),
    /// Not a signature of a document.
    #[error("it is no signature of a document: line {0} is missing or malformed")]
    Malformed(usize),
    /// Not a signed note, or not signed by the key that it names.
    #[error(transparent)]
    Note(#[from] CheckpointError),
    /// The signature of another document.
    #[error("it is the signature of {0}")]
    OtherDocument(String),
    /// The document is not what was signed.
    #[error("the document was changed after {key} signed it at {signed_at}")]
    Changed {
        /// The key.
        key: KeyId,
        /// When it signed.
        signed_at: Timestamp,
    },
}

impl DocumentStatement {
    /// Signs the document at `path` with these bytes.
    ///
    /// # Errors
    /// When the path has line breaks, or is empty.
    pub fn sign(
        path: &str,
        bytes: &[u8],
        signed_at: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, DocumentError> {
        if path.is_empty() || path.contains(char::is_control) {
            return Err(DocumentError::Path(path.to_owned()));
        }
        let (digest, key) = (Hash::of(bytes), signer.key_id());
        let text = format!("{NAME}\n{path}\n{DIGEST}{digest}\n{signed_at}\n{key}\n");
        Ok(sign_note(NAME, &text, signer)?)
    }

    /// What `signature` says, if the key that it names signed it, and it is about these bytes at `path`.
    ///
    /// # Errors
    /// When it is not; the variants say which.
    pub fn verify(signature: &[u8], path: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let note = Note::from_bytes(signature).map_err(CheckpointError::Note)?;
        let statement = Self::parse(&String::from_utf8_lossy(note.text()))?;
        verify_note(&note, &VerifierKey::new(NAME, statement.key)?)?;
        if statement.path != path {
            return Err(DocumentError::OtherDocument(statement.path));
        }
        if statement.digest != Hash::of(bytes) {
            return Err(DocumentError::Changed { key: statement.key, signed_at: statement.signed_at });
        }
        Ok(statement)
    }

    fn parse(text: &str) -> Result<Self, DocumentError> {
        let lines: Vec<&str> = text.split('\n').collect();
        let [NAME, path, digest, signed_at, key, ""] = lines.as_slice() else {
            return Err(DocumentError::Malformed(1));
        };
        let digest = digest.strip_prefix(DIGEST).and_then(|digits| digits.parse().ok());
        Ok(Self {
            path: (*path).to_owned(),
            digest: digest.ok_or(DocumentError::Malformed(3))?,
            signed_at: signed_at.parse().map_err(|_| DocumentError::Malformed(4))?,
            key: key.parse().map_err(|_| DocumentError::Malformed(5))?,
        })
    }
}
