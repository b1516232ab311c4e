//! The operator's keys: `trust.sign`, `trust.rotate`, `trust.revoke`, `trust.list`.
//!
//! The log says which keys are in force. A key comes in by a statement that a key in force signed, goes out when its
//! successor comes, and is revoked by a person. What a key signed before it went stays valid. Private keys are not
//! here: the operator's command signs, this checks. Agents have none of these calls (`default.cedar`).

use std::collections::BTreeMap;

use ostk_log::{KeyId, decode_hex};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    call::{CallError, Code},
    event::Event,
    kernel::{Job, Kernel},
};

/// Keys that are remembered; a key for each person of a large company fits.
const MAX_KEYS: usize = 10_000;
/// Longest reason in bytes.
const MAX_REASON: usize = 1_024;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum KeyStanding {
    /// It may sign.
    InForce {
        /// The record that brought it in.
        since: u64,
    },
    /// Another took its place; what it signed before stays valid.
    Rotated {
        /// Its successor.
        to: KeyId,
        /// The record that says so.
        seq: u64,
    },
    /// Nothing that it signs from this record on is valid.
    Revoked {
        /// The record that says so.
        seq: u64,
    },
}

/// The keys that the log speaks of.
pub type TrustedKeys = BTreeMap<KeyId, KeyStanding>;

/// The text that a key in force signs to vouch for another.
pub fn vouching_statement(by: &KeyId, key: &KeyId) -> String {
    format!("ostk/trust v1 sign\n{by}\n{key}\n")
}

/// The text that a key signs to hand over to its successor.
pub fn rotation_statement(old: &KeyId, new: &KeyId) -> String {
    format!("ostk/trust v1 rotate\n{old}\n{new}\n")
}

impl Kernel {
    /// A call on keys that has passed the gate.
    pub(crate) fn trust(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let event = match job.syscall.name {
            "trust.list" => return (Ok(self.keys_of_trust()), None),
            "trust.sign" => self.trust_sign(job),
            "trust.rotate" => self.trust_rotate(job),
            _ => self.trust_revoke(job),
        };
        match event {
            Ok(Some(event)) => {
                let seq = self.record(&job.caller, &event);
                (Ok(json!({ "seq": seq })), Some(seq + 1))
            }
            Ok(None) => (Ok(json!({ "seq": null })), None),
            Err(error) => (Err(error), None),
        }
    }

    fn keys_of_trust(&self) -> Value {
        let row = |(key, standing): (&KeyId, &KeyStanding)| {
            let mut row = json!({ "key": key });
            if let (Value::Object(row), Ok(Value::Object(standing))) =
                (&mut row, serde_json::to_value(standing))
            {
                row.extend(standing);
            }
            row
        };
        json!({ "keys": self.state.trust.iter().map(row).collect::<Vec<_>>() })
    }

    fn trust_sign(&self, job: &Job) -> Result<Option<Event>, CallError> {
        let (by, key) = (key_id(job, "by")?, key_id(job, "key")?);
        self.may_sign(&by)?;
        self.is_new(&key)?;
        let signature = verified(job, &by, &vouching_statement(&by, &key))?;
        Ok(Some(Event::TrustSigned { key, by, signature }))
    }

    /// A rotation that is recorded already is no error: the command may have been cut off before it put the key in place.
    fn trust_rotate(&self, job: &Job) -> Result<Option<Event>, CallError> {
        let (old, new) = (key_id(job, "old")?, key_id(job, "new")?);
        let signature = verified(job, &old, &rotation_statement(&old, &new))?;
        if matches!(self.state.trust.get(&old), Some(KeyStanding::Rotated { to, .. }) if *to == new) {
            return Ok(None);
        }
        self.may_sign(&old)?;
        self.is_new(&new)?;
        Ok(Some(Event::TrustRotated { old, new, signature }))
    }

    fn trust_revoke(&self, job: &Job) -> Result<Option<Event>, CallError> {
        let key = key_id(job, "key")?;
        let reason = job.text("reason").unwrap_or_default().to_owned();
        if reason.len() > MAX_REASON {
            return Err(CallError::new(Code::Usage, format!("a reason has at most {MAX_REASON} bytes")));
        }
        let known = matches!(self.state.trust.get(&key), Some(KeyStanding::Revoked { .. }));
        Ok((!known).then_some(Event::TrustRevoked { key, reason }))
    }

    /// The first key of a log is taken at its word: the socket admits only the operator.
    fn may_sign(&self, key: &KeyId) -> Result<(), CallError> {
        match self.state.trust.get(key) {
            Some(KeyStanding::InForce { .. }) => Ok(()),
            None if self.state.trust.is_empty() => Ok(()),
            _ => Err(CallError::new(Code::Denied, format!("{key} is not in force in this project")).hint(
                "ostk trust list; whoever has a key in force may vouch for yours: ostk trust sign KEY",
            )),
        }
    }

    fn is_new(&self, key: &KeyId) -> Result<(), CallError> {
        if self.state.trust.contains_key(key) {
            return Err(CallError::new(Code::Conflict, format!("{key} is in the log already"))
                .hint("ostk trust list"));
        }
        if self.state.trust.len() >= MAX_KEYS {
            return Err(CallError::new(Code::Conflict, format!("the log speaks of {MAX_KEYS} keys already")));
        }
        Ok(())
    }
}

fn key_id(job: &Job, name: &str) -> Result<KeyId, CallError> {
    let text = job.text(name).unwrap_or_default();
    text.parse().map_err(|error: ostk_log::KeyIdError| {
        CallError::new(Code::Usage, error.to_string()).hint("ostk trust list")
    })
}

/// The signature, in hexadecimal, once `by` is found to have made it over `statement`.
fn verified(job: &Job, by: &KeyId, statement: &str) -> Result<String, CallError> {
    let text = job.text("signature").unwrap_or_default();
    let refused =
        |what: String| CallError::new(Code::Denied, what).hint("ostk trust signs with the operator's key");
    let bytes: [u8; 64] = decode_hex(text.as_bytes())
        .ok_or_else(|| refused("the signature is not 128 hexadecimal digits".to_owned()))?;
    by.verify(statement.as_bytes(), &bytes).map_err(|error| refused(error.to_string()))?;
    Ok(text.to_owned())
}

/// Folds an event of keys.
pub(crate) fn apply(keys: &mut TrustedKeys, seq: u64, event: Event) {
    let in_force = KeyStanding::InForce { since: seq };
    match event {
        Event::TrustSigned { key, by, .. } => {
            keys.entry(by).or_insert(in_force);
            keys.entry(key).or_insert(in_force);
        }
        Event::TrustRotated { old, new, .. } => {
            keys.insert(old, KeyStanding::Rotated { to: new, seq });
            keys.entry(new).or_insert(in_force);
        }
        Event::TrustRevoked { key, .. } => {
            keys.insert(key, KeyStanding::Revoked { seq });
        }
        _ => {}
    }
}
