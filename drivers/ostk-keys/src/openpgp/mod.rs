//! OpenPGP (RFC 9580) for the identity of people: detached signatures made by gpg, and the tier of a key in the web of
//! trust. Nothing here has a private key: gpg signs, this verifies.
//!
//! `certificate.rs` says what holds of one key, `keyring.rs` reads keys, `detached.rs` verifies a file's signature,
//! `web.rs` decides the tier, `directory.rs` is another way to the tier T1. gpg's own trust database is not asked.

mod certificate;
mod detached;
mod directory;
mod keyring;
#[cfg(test)]
mod tests;
mod web;

pub use certificate::{Certificate, KeyState};
pub use detached::{MAX_SIGNATURE_BYTES, Verified, verify_detached};
pub use directory::{GithubKeys, KeyDirectory};
pub use keyring::{Keyring, KeyringError, sign_with_gpg};
pub use web::{ANCHORS, Standing, Tier, tier};

/// A moment in seconds since 1970-01-01 UTC, handed in by the caller.
pub type Seconds = u64;
