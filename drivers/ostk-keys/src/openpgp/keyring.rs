//! Public keys, read from files or from the user's own gpg, each bounded. Keys that cannot be read are left out and
//! counted: one key of an unknown kind must not hide the others.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use pgp::composed::{Deserializable as _, SignedPublicKey};

use super::certificate::Certificate;
use crate::program;

/// A keyring with a thousand well-certified keys has about 20 MB.
const MAX_BYTES: usize = 64 << 20;
const MAX_KEYS: usize = 20_000;
/// An export reads files; a keyring of that size takes a second.
const EXPORT_DEADLINE: Duration = Duration::from_secs(10);
/// A person may have to find the card and the passphrase.
const SIGN_DEADLINE: Duration = Duration::from_secs(120);

/// Why keys could not be read, or a file not signed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// gpg did not do it.
    #[error("gpg {0}\nHint: install GnuPG (gpg) and see that `gpg --list-keys` works")]
    Gpg(String),
    /// Too much.
    #[error("a keyring of more than {MAX_BYTES} bytes or {MAX_KEYS} keys is not read")]
    TooMuch,
    /// No key at all in what should be keys.
    #[error("no OpenPGP key: {0}")]
    NoKey(String),
}

/// Public keys by fingerprint.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: BTreeMap<String, Certificate>,
    skipped: usize,
}

impl Keyring {
    /// Adds the keys of a file, armoured or not.
    ///
    /// # Errors
    /// When there are too many, or there is none.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        if bytes.len() > MAX_BYTES {
            return Err(KeyringError::TooMuch);
        }
        let none = |error: pgp::errors::Error| KeyringError::NoKey(error.to_string());
        let armoured = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
        let keys: Box<dyn Iterator<Item = _>> = if armoured {
            SignedPublicKey::from_armor_many_buf(bytes).map_err(none)?.0
        } else {
            SignedPublicKey::from_bytes_many(bytes).map_err(none)?
        };
        for key in keys.take(MAX_KEYS + 1) {
            match key {
                Ok(key) => {
                    let key = Certificate::new(key);
                    self.keys.insert(key.fingerprint().to_owned(), key);
                }
                Err(_) => self.skipped += 1,
            }
        }
        if self.keys.len() > MAX_KEYS {
            return Err(KeyringError::TooMuch);
        }
        Ok(())
    }

    /// The public keys of the user's gpg; empty when gpg is not installed or has none.
    ///
    /// # Errors
    /// When gpg is there and does not answer, or has too many keys.
    pub fn of_gpg(home: Option<&Path>) -> Result<Self, KeyringError> {
        let mut export = gpg(home);
        export.arg("--export");
        let mut keyring = Self::default();
        match program::output(&mut export, EXPORT_DEADLINE, MAX_BYTES) {
            Err(program::Fault::Start(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(keyring),
            Err(program::Fault::TooMuch(_)) => Err(KeyringError::TooMuch),
            Err(fault) => Err(KeyringError::Gpg(fault.to_string())),
            Ok((_, bytes)) if bytes.is_empty() => Ok(keyring),
            Ok((_, bytes)) => keyring.add(&bytes).map(|()| keyring),
        }
    }

    /// The key whose primary key has this fingerprint, in hexadecimal of either case.
    pub fn get(&self, fingerprint: &str) -> Option<&Certificate> {
        self.keys.get(&fingerprint.to_ascii_uppercase())
    }

    /// Every key.
    pub fn iter(&self) -> impl Iterator<Item = &Certificate> {
        self.keys.values()
    }

    /// How many keys could not be read.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

fn gpg(home: Option<&Path>) -> Command {
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--no-tty", "--quiet"]);
    if let Some(home) = home {
        gpg.env("GNUPGHOME", home);
    }
    gpg
}

/// Has gpg make the armoured detached signature of `file`, by `key` or its default key. gpg's agent may ask the person
/// for the passphrase in a window or on a card.
///
/// # Errors
/// When gpg cannot be started, has no such key, or nobody answered within two minutes.
pub fn sign_with_gpg(file: &Path, key: Option<&str>, home: Option<&Path>) -> Result<Vec<u8>, KeyringError> {
    let mut sign = gpg(home);
    sign.args(["--armor", "--digest-algo", "SHA512"]);
    if let Some(key) = key {
        sign.args(["--local-user", key]);
    }
    sign.args(["--detach-sign", "--output", "-", "--"]).arg(file);
    match program::output(&mut sign, SIGN_DEADLINE, super::MAX_SIGNATURE_BYTES) {
        Ok((status, bytes)) if status.success() => Ok(bytes.to_vec()),
        Ok((status, _)) => Err(KeyringError::Gpg(format!("made no signature ({status})"))),
        Err(fault) => Err(KeyringError::Gpg(fault.to_string())),
    }
}
