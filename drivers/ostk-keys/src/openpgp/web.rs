//! The tier of a key: how it hangs on the anchors that are compiled in.
//!
//! T0 is an anchor; T1 is certified by a valid key of T0 or T1, or vouched for by a directory that the caller names; T2
//! is a valid key with neither; T3 is everything else. The answer holds the path that proves it. Only arguments count:
//! no variable, file or agent changes a tier.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use super::{
    Seconds,
    certificate::{Certificate, KeyState},
    directory::KeyDirectory,
    keyring::Keyring,
};

/// Fingerprints of the keys that are trusted without a certification. A distribution that has human roots compiles
/// them in here; there is none in this source, so its tiers are T1 by directory, T2 and T3.
pub const ANCHORS: &[&str] = &[];

/// Certifications between an anchor and a key; a chain of institutions has three or four.
const MAX_STEPS: usize = 8;

/// How far an identity is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Compiled in.
    T0,
    /// Certified by T0 or T1, or vouched for.
    T1,
    /// A valid key that nobody certified.
    T2,
    /// No key that may be relied on.
    T3,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}", *self as u8)
    }
}

/// A tier, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The tier.
    pub tier: Tier,
    /// A sentence that proves it, or says what is missing.
    pub reason: String,
    /// Fingerprints from the anchor to the key, for T0 and a certified T1.
    pub path: Vec<String>,
}

/// The tier of the key with this fingerprint at this moment.
pub fn tier(
    fingerprint: &str,
    keyring: &Keyring,
    anchors: &[&str],
    directories: &[&dyn KeyDirectory],
    now: Seconds,
) -> Standing {
    let none = |reason: String| Standing { tier: Tier::T3, reason, path: Vec::new() };
    let Some(key) = keyring.get(fingerprint) else {
        return none(format!("the key {fingerprint} is not in the keyring"));
    };
    match key.state(now) {
        KeyState::Valid => {}
        KeyState::Expired(_) => return none(format!("the key {} is expired", key.fingerprint())),
        KeyState::Revoked => return none(format!("the key {} is revoked by its owner", key.fingerprint())),
        KeyState::Unbound => return none(format!("the key {} has no valid user id", key.fingerprint())),
    }
    if let Some(path) = path_to(key, keyring, anchors, now) {
        let tier = if path.len() == 1 { Tier::T0 } else { Tier::T1 };
        let reason = match path.len() {
            1 => "the key is an anchor that is compiled in".to_owned(),
            steps => {
                format!("certified by {} in {} steps", path.first().map_or("", String::as_str), steps - 1)
            }
        };
        return Standing { tier, reason, path };
    }
    for directory in directories {
        if let Some(reason) = directory.vouches(key.fingerprint(), now) {
            return Standing { tier: Tier::T1, reason, path: Vec::new() };
        }
    }
    let reason = "the key is valid, and no trusted key certifies it".to_owned();
    Standing { tier: Tier::T2, reason, path: Vec::new() }
}

/// The shortest path of certifications from an anchor to `key`, searched from `key`. Every key on it is valid.
fn path_to(key: &Certificate, keyring: &Keyring, anchors: &[&str], now: Seconds) -> Option<Vec<String>> {
    let is_anchor = |key: &Certificate| anchors.iter().any(|one| one.eq_ignore_ascii_case(key.fingerprint()));
    let valid: Vec<&Certificate> =
        keyring.iter().filter(|other| other.state(now) == KeyState::Valid).collect();
    let mut leads_to: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([(key, 0)]);
    while let Some((current, steps)) = waiting.pop_front() {
        if is_anchor(current) {
            return Some(walk(current.fingerprint(), key.fingerprint(), &leads_to));
        }
        if steps == MAX_STEPS {
            continue;
        }
        for signer in &valid {
            let name = signer.fingerprint();
            let seen = name == key.fingerprint() || leads_to.contains_key(name);
            if !seen && current.certified_by(signer, now) {
                leads_to.insert(name, current.fingerprint());
                waiting.push_back((signer, steps + 1));
            }
        }
    }
    None
}

fn walk(from: &str, to: &str, leads_to: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut path = vec![from.to_owned()];
    let mut at = from;
    while at != to {
        let Some(next) = leads_to.get(at) else { break };
        at = next;
        path.push(at.to_owned());
    }
    path
}
