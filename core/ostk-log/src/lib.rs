//! A record of the log, its hash chain, its Merkle tree, checkpoints and proofs: pure functions over bytes.
//!
//! Nothing here touches a disk, a clock or a random source: the time and the signing key arrive as arguments.
//! The bytes are written by `ostk-journal`, checked by `libostk`, and described in the book's log reference.

mod hash;
mod timestamp;

pub use hash::{Hash, HashError};
pub use timestamp::{Timestamp, TimestampError};
