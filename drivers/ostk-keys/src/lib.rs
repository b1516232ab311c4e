//! Ed25519 keys: create, load, sign. The only crate that sees private keys.
