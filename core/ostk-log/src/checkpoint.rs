//! Checkpoints: a tree's size and root, signed as <https://c2sp.org/tlog-checkpoint> and <https://c2sp.org/signed-note> say.
//!
//! The note format is the crate `signed_note`; this module names what is in the note and lends it our signer.
//! `ostk-journal` signs one at each group commit; witnesses and verifiers read it. Key names are origins.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use signed_note::{Note, NoteError, StandardVerifier, VerifierList};

use crate::{Hash, KeyId, Signer};

/// Algorithm byte of Ed25519 in a signed note's key.
const ED25519: u8 = 1;

/// A tree head: the log `origin` had `size` records, whose Merkle root is `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log, without schema, such as `example.org/ostk/repo`: not empty, no spaces, no `+`.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
}

/// A checkpoint with its signatures, as it stands in `log/checkpoint`. Parsed, not yet believed.
#[derive(Debug, PartialEq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Why a checkpoint cannot be made or believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// An origin that cannot name a key.
    #[error("not an origin (not empty, no spaces, control characters or '+'): {0:?}")]
    Origin(String),
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Note(NoteError),
    /// A signed note about something else.
    #[error("not a checkpoint: line {0} is missing or not in its one spelling")]
    Malformed(usize),
    /// The log is another one than the key's.
    #[error("the checkpoint is of {found}, the key of {expected}")]
    OtherLog {
        /// Origin in the checkpoint.
        found: String,
        /// Name of the key.
        expected: String,
    },
    /// No signature by the key, or a wrong one.
    #[error("the checkpoint is not signed by {key}: {error}")]
    Unsigned {
        /// The key that should have signed.
        key: VerifierKey,
        /// What the note says.
        error: NoteError,
    },
}

impl Checkpoint {
    /// A checkpoint of the log called `origin`.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        check_origin(origin)?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The text that is signed: three lines.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }

    /// The signed note, signed as the key named after the origin.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, CheckpointError> {
        sign_note(&self.origin, &self.text(), signer)
    }
}

/// The signed note of `text`, by a key that signs as `name`.
pub(crate) fn sign_note(name: &str, text: &str, signer: &dyn Signer) -> Result<String, CheckpointError> {
    let key = VerifierKey::new(name, *signer.key_id())?;
    let mut note = Note::new(text.as_bytes(), &[]).map_err(CheckpointError::Note)?;
    note.add_sigs(&[&NoteSigner { key, signer }]).map_err(CheckpointError::Note)?;
    Ok(String::from_utf8_lossy(&note.to_bytes()).into_owned())
}

/// Whether `key` signed the note.
pub(crate) fn verify_note(note: &Note, key: &VerifierKey) -> Result<(), CheckpointError> {
    let unsigned = |error| CheckpointError::Unsigned { key: key.clone(), error };
    let verifier =
        StandardVerifier::new(&key.to_string()).map_err(|_| unsigned(NoteError::UnverifiedNote))?;
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).map(|_| ()).map_err(unsigned)
}

impl SignedCheckpoint {
    /// Reads a signed note of at most 1 MB and 100 signatures. Extension lines are allowed and ignored.
    pub fn parse(text: &[u8]) -> Result<Self, CheckpointError> {
        let note = Note::from_bytes(text).map_err(CheckpointError::Note)?;
        let body = String::from_utf8_lossy(note.text());
        let mut lines = body.split('\n');
        let origin = lines.next().unwrap_or_default();
        check_origin(origin)?;
        let size = lines.next().unwrap_or_default();
        let size =
            size.parse().ok().filter(|n: &u64| n.to_string() == size).ok_or(CheckpointError::Malformed(2))?;
        let root = STANDARD.decode(lines.next().unwrap_or_default()).ok();
        let root = root.and_then(|bytes| bytes.try_into().ok()).ok_or(CheckpointError::Malformed(3))?;
        let checkpoint = Checkpoint { origin: origin.to_owned(), size, root: Hash::from_bytes(root) };
        Ok(Self { checkpoint, note })
    }

    /// What the note says, whoever signed it.
    pub const fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What the note says, once `key` is found to have signed it.
    pub fn verify(&self, key: &VerifierKey) -> Result<&Checkpoint, CheckpointError> {
        let checkpoint = &self.checkpoint;
        if checkpoint.origin != key.name {
            let (found, expected) = (checkpoint.origin.clone(), key.name.clone());
            return Err(CheckpointError::OtherLog { found, expected });
        }
        verify_note(&self.note, key)?;
        Ok(checkpoint)
    }
}

/// The public key of a log and the name it signs as. Written `<name>+<8 hex digits>+<base64>`, a signed note's vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: KeyId,
}

/// A text that is not a vkey of an Ed25519 key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a verifier key of the form <name>+<hash>+<base64 of an Ed25519 key>: {0:?}")]
pub struct VerifierKeyError(String);

impl VerifierKey {
    /// The key that signs checkpoints of the log called `name`.
    pub fn new(name: &str, key: KeyId) -> Result<Self, CheckpointError> {
        check_origin(name)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// Name of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub const fn key(&self) -> &KeyId {
        &self.key
    }

    fn encoded(&self) -> Vec<u8> {
        [&[ED25519], self.key.as_bytes().as_slice()].concat()
    }

    fn hash(&self) -> u32 {
        signed_note::key_id(&self.name, &self.encoded())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.hash(), STANDARD.encode(self.encoded()))
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let error = || VerifierKeyError(text.chars().take(200).collect());
        let (name, rest) = text.split_once('+').ok_or_else(error)?;
        let (_, key) = rest.split_once('+').ok_or_else(error)?;
        let bytes = STANDARD.decode(key).map_err(|_| error())?;
        let [ED25519, key @ ..] = bytes.as_slice() else { return Err(error()) };
        let key = KeyId::from_public_key(key.try_into().map_err(|_| error())?);
        let parsed = Self::new(name, key).map_err(|_| error())?;
        // Covers the hash, which is computed from the name and the key.
        if parsed.to_string() == text { Ok(parsed) } else { Err(error()) }
    }
}

fn check_origin(origin: &str) -> Result<(), CheckpointError> {
    if signed_note::is_key_name_valid(origin) && !origin.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(CheckpointError::Origin(origin.chars().take(200).collect()))
    }
}

/// Our signer as a signed note wants it.
struct NoteSigner<'a> {
    key: VerifierKey,
    signer: &'a dyn Signer,
}

impl signed_note::Signer for NoteSigner<'_> {
    fn name(&self) -> &str {
        &self.key.name
    }

    fn key_id(&self) -> u32 {
        self.key.hash()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        Ok(self.signer.sign(message).to_vec())
    }
}
