//! A record of the log, its hash chain, its Merkle tree, checkpoints and proofs: pure functions over bytes.
//!
//! Nothing here touches a disk, a clock or a random source: the time and the signing key arrive as arguments.
//! The bytes are written by `ostk-journal`, checked by `libostk`, and described in the book's log reference.

mod canonical;
mod hash;
mod header;
mod key;
mod record;
mod timestamp;

pub use canonical::{CanonicalError, MAX_DEPTH};
pub use hash::{Hash, HashError};
pub use header::{Header, MAX_ACTOR, MAX_EVENT, MAX_LINE, ParseError};
pub use key::{BadSignature, KeyId, KeyIdError, Signer};
pub use record::{Draft, Record, SealError, Sealed, VerifyError, seal};
pub use timestamp::{Timestamp, TimestampError};
