//! What `ostk audit prove SEQ` hands out: one record, and why it is in the log that a checkpoint is about.
//!
//! A proof stands alone: with it and the log's public key, nothing of the log itself is needed. Proofs over the tree
//! as such are in `audit`; this module is their file format.

use serde::{Deserialize, Serialize};

use crate::{
    BadProof, CheckpointError, Hash, Record, SignedCheckpoint, VerifierKey, VerifyError, merkle::leaf_hash,
    verify_inclusion,
};

/// The version of [`Proof`] that this code writes and reads.
pub const PROOF_VERSION: u32 = 1;

/// A record and its way to a signed root. Written as one JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// [`PROOF_VERSION`].
    pub version: u32,
    /// The record's line, without its newline.
    pub record: String,
    /// Position of the leaf, which is the record's `seq`.
    pub index: u64,
    /// Number of leaves of the tree.
    pub tree_size: u64,
    /// Audit path from the leaf upwards, in hexadecimal.
    pub audit_path: Vec<Hash>,
    /// The signed note over that tree.
    pub checkpoint: String,
}

/// Why a proof does not convince.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Written by another version.
    #[error("a proof of version {0}, this is a reader of version {PROOF_VERSION}")]
    Version(u32),
    /// The record's line or its signature is wrong.
    #[error("record: {0}")]
    Record(#[from] VerifyError),
    /// The checkpoint is malformed or not signed by the key.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Record, proof and checkpoint name different positions or sizes.
    #[error("{what} is {found} here and {expected} there")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What the proof says.
        found: u64,
        /// What the record or the checkpoint says.
        expected: u64,
    },
    /// The audit path leads elsewhere.
    #[error("audit path: {0}")]
    Path(#[from] BadProof),
}

impl Proof {
    /// Checks the checkpoint against the log's key, the record's own signature, and the path between them.
    ///
    /// Returns the proven record. That its `key` may sign for its actor is not shown here.
    pub fn verify(&self, log: &VerifierKey) -> Result<Record, ProofError> {
        if self.version != PROOF_VERSION {
            return Err(ProofError::Version(self.version));
        }
        let line = self.record.as_bytes();
        let record = Record::parse(line).map_err(VerifyError::from)?;
        Record::verify_signature(line)?;
        let signed = SignedCheckpoint::parse(self.checkpoint.as_bytes())?;
        let checkpoint = signed.verify(log)?;
        same("index", self.index, record.seq)?;
        same("tree size", self.tree_size, checkpoint.size)?;
        verify_inclusion(&leaf_hash(line), self.index, self.tree_size, &self.audit_path, &checkpoint.root)?;
        Ok(record)
    }
}

fn same(what: &'static str, found: u64, expected: u64) -> Result<(), ProofError> {
    if found == expected { Ok(()) } else { Err(ProofError::Mismatch { what, found, expected }) }
}
