//! Directories that vouch for keys: another way to the tier T1 than certifications.
//!
//! [`GithubKeys`] reads what GitHub's `GET /users/NAME/gpg_keys` answers. Fetching it is the caller's; a saved answer
//! works offline.

use serde_json::Value;

use super::{Seconds, keyring::Keyring};

/// An answer has some kilobytes for each key.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Says whether a key belongs to somebody it knows.
///
/// Contract: the answer depends on the arguments and on what the directory was made of, so that a tier can be decided
/// again. No call waits for a network.
pub trait KeyDirectory {
    /// A sentence on who is vouched for, or `None`.
    fn vouches(&self, fingerprint: &str, now: Seconds) -> Option<String>;
}

/// The keys that an account of GitHub has uploaded. GitHub verifies the e-mail addresses and shows each key whole.
#[derive(Debug, Clone)]
pub struct GithubKeys {
    account: String,
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    fingerprint: String,
    expires_at: Option<String>,
}

impl GithubKeys {
    /// Reads an answer about `account`. Keys that are revoked, have no verified address, or are not shown whole are left
    /// out: a key id of 64 bits proves nothing.
    ///
    /// # Errors
    /// When it is no list of keys.
    pub fn parse(account: &str, answer: &[u8]) -> Result<Self, String> {
        if answer.len() > MAX_ANSWER_BYTES {
            return Err(format!("an answer of more than {MAX_ANSWER_BYTES} bytes"));
        }
        let answer: Value = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let list = answer.as_array().ok_or("the answer is no list of keys")?;
        Ok(Self { account: account.to_owned(), keys: list.iter().filter_map(Key::read).collect() })
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let verified = |email: &Value| email.get("verified").and_then(Value::as_bool) == Some(true);
        let emails = value.get("emails")?.as_array()?;
        if value.get("revoked")?.as_bool()? || !emails.iter().any(verified) {
            return None;
        }
        let mut keyring = Keyring::default();
        keyring.add(value.get("raw_key")?.as_str()?.as_bytes()).ok()?;
        let fingerprint = keyring.iter().next()?.fingerprint().to_owned();
        let expires_at = value.get("expires_at").and_then(Value::as_str).map(str::to_owned);
        Some(Self { fingerprint, expires_at })
    }

    fn lives(&self, now: Seconds) -> bool {
        let Some(end) = &self.expires_at else { return true };
        let end: Option<jiff::Timestamp> = end.parse().ok();
        end.is_some_and(|end| Seconds::try_from(end.as_second()).is_ok_and(|end| end > now))
    }
}

impl KeyDirectory for GithubKeys {
    fn vouches(&self, fingerprint: &str, now: Seconds) -> Option<String> {
        let known = self.keys.iter().find(|key| key.fingerprint.eq_ignore_ascii_case(fingerprint))?;
        known.lives(now).then(|| format!("GitHub shows it as a key of the account {}", self.account))
    }
}
