//! One record of the log: what the kernel drafts, the signed line it becomes, and the strict way back.
//!
//! A line is compact JSON whose members stand in one order, each in one spelling, so that a record has one hash.
//! `ostk-journal` seals and appends; the kernel's fold and every reader parse. Chains of lines are in `chain`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    BadSignature, Hash, Header, KeyId, MAX_ACTOR, MAX_EVENT, MAX_LINE, ParseError, Signer, Timestamp,
    canonical::{CanonicalError, write_object},
    digits,
    header::{is_actor, is_event},
};

/// A record before it is chained and signed: what the kernel emits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Position in the log, contiguous from 0.
    pub seq: u64,
    /// Wall clock at append; never earlier than that of the record before.
    pub ts: Timestamp,
    /// The anchor's epoch; never less than that of the record before.
    pub epoch: u64,
    /// `human:<name>`, `agent:<lineage>`, `world:<name>`, `stack:<name>` or `kernel`: 1 to [`MAX_ACTOR`] bytes without quotes,
    /// backslashes and control characters.
    pub actor: String,
    /// Dotted name of what happened: 1 to [`MAX_EVENT`] of `a-z`, `0-9`, `.`, `_`, `-`.
    pub event: String,
    /// The event's own fields, nested at most [`MAX_DEPTH`](crate::MAX_DEPTH) deep.
    pub body: Map<String, Value>,
}

/// A chained and signed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The line without its newline.
    pub line: Vec<u8>,
    /// Its digest: the `prev_hash` of the record after it.
    pub hash: Hash,
}

/// Why a draft cannot become a line.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The line would be longer than [`MAX_LINE`].
    #[error(
        "{event} is a record of {len} bytes with its newline, at most {MAX_LINE} fit; keep large values as blobs and record their hash"
    )]
    TooLong {
        /// What happened.
        event: String,
        /// Bytes it would take, newline included.
        len: usize,
    },
    /// The actor breaks the rule of [`Draft::actor`].
    #[error("not an actor (1 to {MAX_ACTOR} bytes without quotes, backslashes, control characters): {0:?}")]
    Actor(String),
    /// The event breaks the rule of [`Draft::event`].
    #[error("not an event (1 to {MAX_EVENT} of a-z, 0-9, '.', '_', '-'): {0:?}")]
    Event(String),
    /// The body cannot be written.
    #[error("body: {0}")]
    Body(#[from] CanonicalError),
}

/// Chains `draft` to the line whose digest is `prev_hash` ([`Hash::ZERO`] before the first) and signs it.
///
/// The same draft, digest and key give the same bytes on every machine: Ed25519 is deterministic.
pub fn seal(draft: &Draft, prev_hash: &Hash, signer: &dyn Signer) -> Result<Sealed, SealError> {
    if !is_actor(&draft.actor) {
        return Err(SealError::Actor(draft.actor.chars().take(MAX_ACTOR).collect()));
    }
    if !is_event(&draft.event) {
        return Err(SealError::Event(draft.event.chars().take(MAX_EVENT).collect()));
    }
    let mut line = Vec::with_capacity(1024);
    write_unsigned(&mut line, draft, prev_hash, signer.key_id())?;
    let sig = signer.sign(&line);
    line.pop();
    line.extend_from_slice(b",\"sig\":\"");
    line.extend_from_slice(digits::encode(&sig).as_bytes());
    line.extend_from_slice(b"\"}");
    if line.len() >= MAX_LINE {
        return Err(SealError::TooLong { event: draft.event.clone(), len: line.len() + 1 });
    }
    let hash = Hash::of(&line);
    Ok(Sealed { line, hash })
}

/// The bytes a signature covers. `actor` and `event` need no escapes: the caller has checked them.
fn write_unsigned(out: &mut Vec<u8>, draft: &Draft, prev: &Hash, key: &KeyId) -> Result<(), CanonicalError> {
    let Draft { seq, ts, epoch, actor, event, body } = draft;
    let head =
        format!(r#"{{"seq":{seq},"ts":"{ts}","epoch":{epoch},"actor":"{actor}","event":"{event}","body":"#);
    out.extend_from_slice(head.as_bytes());
    write_object(out, body)?;
    out.extend_from_slice(format!(r#","prev_hash":"{prev}","key":"{key}"}}"#).as_bytes());
    Ok(())
}

/// A record read back from its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Position in the log.
    pub seq: u64,
    /// Wall clock at append.
    pub ts: Timestamp,
    /// The anchor's epoch.
    pub epoch: u64,
    /// Who acted.
    pub actor: String,
    /// What happened.
    pub event: String,
    /// The event's own fields.
    pub body: Map<String, Value>,
    /// Digest of the line before, [`Hash::ZERO`] for the first.
    pub prev_hash: Hash,
    /// The key that signed.
    pub key: KeyId,
    /// The signature. Parsing does not check it; [`Record::verify_signature`] does.
    pub sig: [u8; 64],
}

impl Record {
    /// Reads a line (without its newline), accepting only the bytes that [`seal`] would have written.
    ///
    /// Members in another order, unknown, missing or repeated members, spaces, other spellings of a value and
    /// trailing bytes are errors. Any input is answered in time linear in its length; none panics.
    pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
        let header = Header::scan(line)?;
        let body: Map<String, Value> =
            serde_json::from_slice(header.body).map_err(|e| ParseError::Body(e.to_string()))?;
        let mut canonical = Vec::with_capacity(header.body.len());
        write_object(&mut canonical, &body).map_err(|e| ParseError::Body(e.to_string()))?;
        if canonical != header.body {
            return Err(ParseError::NotCanonical);
        }
        let Header { seq, ts, epoch, actor, event, prev_hash, key, sig, .. } = header;
        Ok(Self { seq, ts, epoch, actor: actor.into(), event: event.into(), body, prev_hash, key, sig })
    }

    /// Checks the signature of a line (without its newline) by the key that it names.
    pub fn verify_signature(line: &[u8]) -> Result<(), VerifyError> {
        Ok(Header::scan(line)?.verify_signature()?)
    }
}

impl From<Record> for Draft {
    fn from(record: Record) -> Self {
        let Record { seq, ts, epoch, actor, event, body, .. } = record;
        Self { seq, ts, epoch, actor, event, body }
    }
}

/// Why a line does not vouch for itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a record.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A record, but not signed by the key it names.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}
