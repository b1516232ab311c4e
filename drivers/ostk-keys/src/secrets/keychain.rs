//! The platform's keychain: on Linux the kernel's key retention service (keyrings(7)), through the crate `keyring`.
//!
//! It needs no service, desktop or system library and keeps a secret in kernel memory, for this user, until the
//! machine restarts or the secret was not used for three days (persistent-keyring(7)). Many containers forbid its
//! system calls; [`SystemKeychain::status`] finds out and says so.

use keyring::Entry;

use super::secret::Secret;

/// Under which secrets are kept in the keychain.
pub const SERVICE: &str = "ostk";

/// Name of an entry that is looked for to see whether the keychain answers at all.
const PROBE: &str = "ostk keychain probe";

/// Why the keychain did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the kernel's keyring: {0}")]
pub struct KeychainError(pub String);

/// A place that keeps secrets by name.
///
/// Contract: a value that was set is found by the next `get` of the same user, until it is removed or the place loses
/// it. No call prompts a person or waits for a network. Calls may run concurrently.
pub trait Keychain: Send + Sync {
    /// The value, or `None` when there is none of that name.
    ///
    /// # Errors
    /// When the place cannot be asked; then nothing is known about the name.
    fn get(&self, name: &str) -> Result<Option<Secret>, KeychainError>;
    /// Keeps the value, instead of an earlier one.
    ///
    /// # Errors
    /// When it is not kept.
    fn set(&self, name: &str, value: &Secret) -> Result<(), KeychainError>;
    /// Forgets the value; false when there was none.
    ///
    /// # Errors
    /// When the place cannot be asked.
    fn remove(&self, name: &str) -> Result<bool, KeychainError>;
}

/// The keychain of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemKeychain;

impl SystemKeychain {
    /// Whether it answers: a sentence on what it is, or why it cannot be used.
    ///
    /// # Errors
    /// When it cannot be used on this machine.
    pub fn status(self) -> Result<&'static str, KeychainError> {
        self.get(PROBE).map(|_| "the kernel's keyring; it forgets when the machine restarts")
    }
}

impl Keychain for SystemKeychain {
    fn get(&self, name: &str) -> Result<Option<Secret>, KeychainError> {
        match entry(name)?.get_password() {
            Ok(text) => Secret::new(text).map(Some).map_err(|error| KeychainError(error.to_string())),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    fn set(&self, name: &str, value: &Secret) -> Result<(), KeychainError> {
        entry(name)?.set_password(value.expose()).map_err(|error| refused(&error))
    }

    fn remove(&self, name: &str) -> Result<bool, KeychainError> {
        match entry(name)?.delete_credential() {
            Ok(()) => Ok(true),
            Err(keyring::Error::NoEntry) => Ok(false),
            Err(error) => Err(refused(&error)),
        }
    }
}

fn entry(name: &str) -> Result<Entry, KeychainError> {
    Entry::new(SERVICE, name).map_err(|error| refused(&error))
}

/// The crate's errors name what failed and never the value, but one: it holds bytes that are not UTF-8.
fn refused(error: &keyring::Error) -> KeychainError {
    KeychainError(match error {
        keyring::Error::BadEncoding(_) => "the value is not text".to_owned(),
        keyring::Error::PlatformFailure(source) | keyring::Error::NoStorageAccess(source) => {
            format!("{source}; this machine, often a container, does not let processes use it")
        }
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keychain_keeps_what_it_is_given_or_says_that_it_cannot() {
        let name = format!("OSTK_TEST_{}", std::process::id());
        let value = Secret::new("a value for a test".to_owned()).unwrap();
        match SystemKeychain.status() {
            Ok(_) => {
                SystemKeychain.set(&name, &value).unwrap();
                assert_eq!(SystemKeychain.get(&name).unwrap().unwrap().expose(), value.expose());
                assert!(SystemKeychain.remove(&name).unwrap());
                assert!(SystemKeychain.get(&name).unwrap().is_none());
            }
            Err(error) => {
                eprintln!("this machine has no keychain: {error}");
                assert!(SystemKeychain.set(&name, &value).is_err());
                assert!(error.to_string().contains("keyring"), "{error}");
            }
        }
    }
}
