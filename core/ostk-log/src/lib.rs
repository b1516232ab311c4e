//! A record of the log, its hash chain, its Merkle tree, checkpoints and proofs: pure functions over bytes.
//!
//! Nothing here touches a disk, a clock or a random source: the time and the signing key arrive as arguments.
//! The bytes are written by `ostk-journal`, checked by `libostk`, and described in the book's log reference.

mod audit;
mod batch;
mod canonical;
mod chain;
mod checkpoint;
mod digits;
mod document;
mod hash;
mod header;
mod key;
mod merkle;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
mod proof;
mod record;
mod tile;
mod timestamp;

pub use audit::{
    BadProof, HashReader, ProveError, consistency_proof, inclusion_proof, verify_consistency,
    verify_inclusion,
};
pub use batch::SignatureBatch;
pub use canonical::{CanonicalError, MAX_DEPTH};
pub use chain::{ChainVerifier, Depth, MAX_KEYS, Problem, Tip};
pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, VerifierKey, VerifierKeyError};
pub use digits::{decode as decode_hex, encode as encode_hex};
pub use document::{DocumentError, DocumentStatement};
pub use hash::{Hash, HashError};
pub use header::{Header, MAX_ACTOR, MAX_EVENT, MAX_LINE, ParseError};
pub use key::{BadSignature, KeyId, KeyIdError, Signer};
pub use merkle::{Frontier, FrontierError, NodeId, empty_root, leaf_hash, node_hash};
pub use proof::{PROOF_VERSION, Proof, ProofError};
pub use record::{Draft, Record, SealError, Sealed, VerifyError, seal};
pub use tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileError, TileHashes, entry_bundle};
pub use timestamp::{Timestamp, TimestampError};
