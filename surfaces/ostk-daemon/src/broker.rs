//! The credential broker: gives out a secret at the call that needs it, and knows every one that must not get out.
//!
//! It knows the values of what HUMANFILE lists and of the vendors' usual names, from the keychain and the environment, when
//! the daemon starts, when documents are loaded and before a process starts; one from the operator's own command from its
//! first use on, for that command may ask a person. What it knew once is masked until the daemon ends (`masking.rs`).

use std::{
    collections::BTreeSet,
    fmt,
    sync::{PoisonError, RwLock},
};

use ostk_keys::secrets::{KNOWN_NAMES, Masker, MaskerError, Secret, SecretStore};
use ostk_log::Hash;

/// Contents that were looked through and are remembered as harmless: the files of a large project.
const MAX_HARMLESS: usize = 16_384;

/// The secrets of one daemon.
pub(crate) struct Broker {
    store: SecretStore,
    known: RwLock<Known>,
}

struct Known {
    /// Names that HUMANFILE lists.
    listed: BTreeSet<String>,
    /// Every value so far; a name has several when one replaced another.
    values: Vec<(String, Secret)>,
    masker: Masker,
    /// Digests of contents in which the masker finds nothing.
    harmless: BTreeSet<Hash>,
}

impl Broker {
    /// `listed` are the names under SECRET in the HUMANFILE.
    ///
    /// # Errors
    /// When the secrets are more than can be masked.
    pub(crate) fn new(store: SecretStore, listed: BTreeSet<String>) -> Result<Self, MaskerError> {
        let (values, masker) = (Vec::new(), Masker::new([])?);
        let known = Known { listed, values, masker, harmless: BTreeSet::new() };
        let broker = Self { store, known: RwLock::new(known) };
        broker.renew()?;
        Ok(broker)
    }

    /// The value of `name`, if `listed` names it. May ask the operator's own command, for up to 10 seconds.
    ///
    /// # Errors
    /// Why there is none, or why it may not be used.
    pub(crate) fn resolve(&self, name: &str, listed: &BTreeSet<String>) -> Result<Secret, String> {
        let found = self.store.resolve(name, listed).map_err(|error| error.to_string())?;
        // What cannot be masked is not used.
        self.learn(vec![(name.to_owned(), found.secret.clone())])
            .map_err(|error| format!("the value of {name} is not used: {error}"))?;
        Ok(found.secret)
    }

    /// Takes over which names are listed now.
    ///
    /// # Errors
    /// When their values are more than can be masked; then those from before are.
    pub(crate) fn list(&self, listed: BTreeSet<String>) -> Result<(), MaskerError> {
        self.known.write().unwrap_or_else(PoisonError::into_inner).listed = listed;
        self.renew()
    }

    /// Looks again in the keychain and the environment.
    ///
    /// # Errors
    /// When the values are more than can be masked; then those from before are.
    pub(crate) fn renew(&self) -> Result<(), MaskerError> {
        let listed = self.known.read().unwrap_or_else(PoisonError::into_inner).listed.clone();
        let names = listed.iter().map(String::as_str).chain(KNOWN_NAMES).collect::<BTreeSet<_>>();
        let values = |name: &str| {
            self.store.to_mask(name).into_iter().map(|value| (name.to_owned(), value)).collect::<Vec<_>>()
        };
        self.learn(names.into_iter().flat_map(values).collect())
    }

    fn learn(&self, found: Vec<(String, Secret)>) -> Result<(), MaskerError> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut values = known.values.clone();
        for (name, value) in found {
            if !values.iter().any(|(known, old)| *known == name && old.expose() == value.expose()) {
                values.push((name, value));
            }
        }
        if values.len() > known.values.len() {
            known.masker = Masker::new(values.iter().map(|(name, value)| (name.as_str(), value)))?;
            known.values = values;
            known.harmless.clear();
        }
        Ok(())
    }

    /// What looks for everything that is known now.
    pub(crate) fn masker(&self) -> Masker {
        self.known.read().unwrap_or_else(PoisonError::into_inner).masker.clone()
    }

    /// Names of the secrets in `bytes`, whose digest is `hash`. Looks through the same content once.
    pub(crate) fn names_in(&self, hash: Hash, bytes: &[u8]) -> Vec<String> {
        let masker = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.harmless.contains(&hash) {
                return Vec::new();
            }
            known.masker.clone()
        };
        let names: Vec<String> = masker.names_in(bytes).into_iter().map(str::to_owned).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Not if a secret became known meanwhile.
        if names.is_empty() && known.masker.is(&masker) {
            if known.harmless.len() >= MAX_HARMLESS {
                known.harmless.clear();
            }
            known.harmless.insert(hash);
        }
        names
    }

    /// A broker of nobody's secrets.
    #[cfg(test)]
    pub(crate) fn of(values: &[(&str, &str)]) -> std::sync::Arc<Self> {
        let kept: std::collections::BTreeMap<String, String> =
            values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let listed = kept.keys().cloned().collect();
        let variable = move |name: &str| kept.get(name).map(std::ffi::OsString::from);
        let store = SecretStore::new(None, Box::new(ostk_keys::secrets::SystemKeychain), Box::new(variable));
        std::sync::Arc::new(Self::new(store, listed).unwrap())
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("masker", &self.masker()).finish_non_exhaustive()
    }
}
