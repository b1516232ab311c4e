//! Ed25519 keys of this machine: create, load, sign. The only crate that sees private keys.
//!
//! [`KeyStore`] is a directory outside every project that holds one file, `signing.key`; [`SigningKey`] is what the
//! journal signs with, through the trait [`ostk_log::Signer`]. Checking signatures needs no private key and lives in
//! `ostk-log`. The daemon opens the store once at start; nothing else does.

mod file;
mod key;
mod store;

pub use key::SigningKey;
pub use store::{KEYS_DIR_VARIABLE, KeyError, KeyStore, SIGNING_KEY_FILE};
