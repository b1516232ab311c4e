//! Keys and secrets of this machine: create, load, sign, resolve. The only crate that sees private keys.
//!
//! [`KeyStore`] is a directory outside every project that holds one file, `signing.key`; [`SigningKey`] is what the
//! journal signs with, through the trait [`ostk_log::Signer`]. Checking signatures needs no private key and lives in
//! `ostk-log`. The daemon opens the store once at start; nothing else does. [`secrets`] has the keys
//! of others that this machine was given: where they come from, and how they are kept out of outputs.

mod file;
mod key;
mod program;
mod store;

pub mod openpgp;
pub mod secrets;

pub use key::SigningKey;
pub use store::{KEYS_DIR_VARIABLE, KeyError, KeyStore, OPERATOR_KEY_FILE, SIGNING_KEY_FILE};
