//! A record's line taken apart without parsing its body: enough to check the chain at disk speed.
//!
//! Every member but `body` has one spelling and, from `prev_hash` on, a fixed length, so the line is read from both
//! ends and the body is what remains. [`Record::parse`](crate::Record::parse) builds on this and reads the body too.

use crate::{BadSignature, Hash, KeyId, Timestamp, digits};

/// Longest line with its newline. A C2SP entry bundle counts the bytes of an entry in 16 bits.
pub const MAX_LINE: usize = 65_535;
/// Longest `actor`, in bytes. A name is for reading; 256 bytes is more than any list shows.
pub const MAX_ACTOR: usize = 256;
/// Longest `event`, in bytes.
pub const MAX_EVENT: usize = 64;

const PREV: &[u8] = b",\"prev_hash\":\"";
const KEY: &[u8] = b"\",\"key\":\"";
const SIG: &[u8] = b"\",\"sig\":\"";
const END: &[u8] = b"\"}";
const TAIL_LEN: usize = PREV.len() + 64 + KEY.len() + KeyId::TEXT_LEN + SIG.len() + 128 + END.len();
/// The bytes of `,"sig":"…"}`: what the signature does not cover, but for the closing brace.
const UNSIGNED_LEN: usize = SIG.len() - 1 + 128 + END.len();

/// Why a line is not a record in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`MAX_LINE`] with its newline.
    #[error("the line has {0} bytes, at most {max} are allowed", max = MAX_LINE - 1)]
    TooLong(usize),
    /// A head member is absent, out of place, or not in its one spelling.
    #[error("byte {offset}: {member} is missing, out of place or not in its one spelling")]
    Malformed {
        /// The member that was expected.
        member: &'static str,
        /// Where in the line, counted from 0.
        offset: usize,
    },
    /// The body is not a JSON object, or nested too deep.
    #[error("body: {0}")]
    Body(String),
    /// The body is JSON, but not compact with sorted, unique names and the shortest spelling of each value.
    #[error("body: not in its one spelling")]
    NotCanonical,
}

/// The members of one line, borrowed. The body is untouched bytes that begin with `{` and end with `}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Position in the log.
    pub seq: u64,
    /// Wall clock at append.
    pub ts: Timestamp,
    /// The anchor's epoch.
    pub epoch: u64,
    /// Who acted.
    pub actor: &'a str,
    /// What happened.
    pub event: &'a str,
    /// The body's bytes, unchecked.
    pub body: &'a [u8],
    /// Digest of the line before.
    pub prev_hash: Hash,
    /// The key that signed.
    pub key: KeyId,
    /// The signature.
    pub sig: [u8; 64],
    /// What was signed, but for a closing brace.
    signed: &'a [u8],
}

impl<'a> Header<'a> {
    /// Takes `line` (without its newline) apart. Linear in the length of the head, whatever the bytes are.
    pub fn scan(line: &'a [u8]) -> Result<Self, ParseError> {
        if line.len() >= MAX_LINE {
            return Err(ParseError::TooLong(line.len()));
        }
        let malformed = |member, offset| ParseError::Malformed { member, offset };
        let tail_at = line.len().checked_sub(TAIL_LEN).ok_or(malformed("prev_hash", line.len()))?;
        let (front, tail) = line.split_at_checked(tail_at).ok_or(malformed("prev_hash", line.len()))?;

        let mut head = Cursor { rest: front, end: tail_at };
        let seq = head.number(b"{\"seq\":", "seq")?;
        let ts = head.parsed(b",\"ts\":\"", 27, "ts")?;
        let epoch = head.number(b"\",\"epoch\":", "epoch")?;
        let actor = head.text(b",\"actor\":\"", "actor", is_actor)?;
        let event = head.text(b"\",\"event\":\"", "event", is_event)?;
        head.literal(b"\",\"body\":", "body")?;
        let body = head.rest;
        if !(body.len() >= 2 && body.starts_with(b"{") && body.ends_with(b"}")) {
            return Err(malformed("body", head.offset()));
        }

        let mut tail = Cursor { rest: tail, end: line.len() };
        let prev_hash = tail.parsed(PREV, 64, "prev_hash")?;
        let key = tail.parsed(KEY, KeyId::TEXT_LEN, "key")?;
        let sig = tail.signature()?;
        let signed = line.get(..line.len() - UNSIGNED_LEN).unwrap_or_default();
        Ok(Self { seq, ts, epoch, actor, event, body, prev_hash, key, sig, signed })
    }

    /// Checks the signature of the line this header was taken from.
    pub fn verify_signature(&self) -> Result<(), BadSignature> {
        let mut message = Vec::with_capacity(self.signed.len() + 1);
        self.write_signed(&mut message);
        self.key.verify(&message, &self.sig)
    }

    /// Appends the bytes that were signed.
    pub(crate) fn write_signed(&self, message: &mut Vec<u8>) {
        message.extend_from_slice(self.signed);
        message.push(b'}');
    }
}

/// An actor is written without escapes, so its text in the line is its value.
pub(crate) fn is_actor(text: &str) -> bool {
    (1..=MAX_ACTOR).contains(&text.len()) && !text.chars().any(|c| matches!(c, '"' | '\\') || c.is_control())
}

/// Lower-case words joined by dots, such as `file.write.intent`.
pub(crate) fn is_event(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_EVENT).contains(&text.len()) && text.bytes().all(plain)
}

/// What is left to read; `end` is where `rest` ends in the line.
struct Cursor<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> Cursor<'a> {
    fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    fn malformed(&self, member: &'static str) -> ParseError {
        ParseError::Malformed { member, offset: self.offset() }
    }

    fn literal(&mut self, literal: &[u8], member: &'static str) -> Result<(), ParseError> {
        self.rest = self.rest.strip_prefix(literal).ok_or_else(|| self.malformed(member))?;
        Ok(())
    }

    fn take(&mut self, len: usize, member: &'static str) -> Result<&'a str, ParseError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.malformed(member))?;
        let text = std::str::from_utf8(taken).map_err(|_| self.malformed(member))?;
        self.rest = rest;
        Ok(text)
    }

    fn parsed<T: std::str::FromStr>(
        &mut self,
        before: &[u8],
        len: usize,
        member: &'static str,
    ) -> Result<T, ParseError> {
        self.literal(before, member)?;
        let error = self.malformed(member);
        self.take(len, member)?.parse().map_err(|_| error)
    }

    fn number(&mut self, before: &[u8], member: &'static str) -> Result<u64, ParseError> {
        self.literal(before, member)?;
        let error = self.malformed(member);
        // 20 digits write every u64; a 21st would be refused anyway.
        let digits = self.rest.iter().take(21).take_while(|b| b.is_ascii_digit()).count();
        let text = self.take(digits, member)?;
        if text.len() > 1 && text.starts_with('0') {
            return Err(error);
        }
        text.parse().map_err(|_| error)
    }

    fn text(
        &mut self,
        before: &[u8],
        member: &'static str,
        valid: fn(&str) -> bool,
    ) -> Result<&'a str, ParseError> {
        self.literal(before, member)?;
        let error = self.malformed(member);
        let longest = MAX_ACTOR.max(MAX_EVENT) + 1;
        let len = self.rest.iter().take(longest).position(|b| *b == b'"').ok_or_else(|| error.clone())?;
        Some(self.take(len, member)?).filter(|text| valid(text)).ok_or(error)
    }

    fn signature(&mut self) -> Result<[u8; 64], ParseError> {
        self.literal(SIG, "sig")?;
        let error = self.malformed("sig");
        let sig = digits::decode(self.take(128, "sig")?.as_bytes()).ok_or(error)?;
        self.literal(END, "sig")?;
        Ok(sig)
    }
}
