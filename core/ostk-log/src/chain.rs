//! Checks a log line by line: numbering, chain, time, epochs and the Merkle tree; on request every signature.
//!
//! Reading files, and cutting them into lines, is the caller's: `ostk-journal` at start, `libostk` for `ostk audit`.
//! Nothing is repaired; every break is reported with where it is.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Checkpoint, Frontier, Hash, Header, KeyId, Record, Timestamp, merkle::leaf_hash};

/// Most keys that one log is expected to be signed with; keys beyond are reported, so that memory stays bounded.
pub const MAX_KEYS: usize = 1024;

/// Where a log ends: what the next record must continue, and the tree so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// Number of the next record.
    pub next_seq: u64,
    /// Digest of the last line; 64 zeros before the first.
    pub last_hash: Hash,
    /// Time of the last record.
    pub last_ts: Timestamp,
    /// Epoch of the last record.
    pub last_epoch: u64,
    /// The tree over all lines so far.
    pub tree: Frontier,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Number of the record, if the line has one; a broken chain is reported at the record after the change.
    pub seq: Option<u64>,
    /// First byte of the line in its file.
    pub offset: u64,
    /// What does not hold, in a sentence.
    pub what: String,
}

/// How much to check of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Numbering, chain, time, epochs, tree. Bodies are covered by the chain and not parsed.
    Chain,
    /// Also that each line is the one spelling of its record and that its signature holds.
    Signatures,
}

/// A log being checked from its first line, or from a known [`Tip`].
#[derive(Debug, Clone)]
pub struct ChainVerifier {
    tip: Tip,
    depth: Depth,
    keys: BTreeSet<KeyId>,
    last_key: Option<KeyId>,
}

impl ChainVerifier {
    /// Begins before the first record.
    pub fn new(depth: Depth) -> Self {
        Self::resume(Tip::default(), depth)
    }

    /// Begins after records that were checked before.
    pub const fn resume(tip: Tip, depth: Depth) -> Self {
        Self { tip, depth, keys: BTreeSet::new(), last_key: None }
    }

    /// Where the log ends so far.
    pub const fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The keys that the records name. Whether they are to be trusted is the caller's question.
    pub const fn keys(&self) -> &BTreeSet<KeyId> {
        &self.keys
    }

    /// The key that the last record names.
    pub const fn last_key(&self) -> Option<&KeyId> {
        self.last_key.as_ref()
    }

    /// Checks the next line (with its newline), which begins at `offset` of its file, and returns what is wrong.
    ///
    /// After a problem the check goes on from the line as it is, so that one change is reported once and the rest
    /// of the log is still checked.
    pub fn push(&mut self, offset: u64, line: &[u8]) -> Vec<Problem> {
        let mut wrong = Vec::new();
        let whole = line.strip_suffix(b"\n");
        if whole.is_none() {
            wrong.push("the line is torn: it does not end in a newline".to_owned());
        }
        let line = whole.unwrap_or(line);
        let seq = match Header::scan(line) {
            Ok(header) => {
                self.compare(&header, &mut wrong);
                if self.depth == Depth::Signatures {
                    check_deep(line, &header, &mut wrong);
                }
                self.advance(&header, &mut wrong);
                Some(header.seq)
            }
            Err(error) => {
                wrong.push(error.to_string());
                self.tip.next_seq = self.tip.next_seq.saturating_add(1);
                None
            }
        };
        self.tip.last_hash = Hash::of(line);
        self.tip.tree.push(leaf_hash(line));
        wrong.into_iter().map(|what| Problem { seq, offset, what }).collect()
    }

    /// Compares the whole log with a checkpoint over it, which ends at `offset` of its last file.
    pub fn finish(&self, offset: u64, checkpoint: &Checkpoint) -> Option<Problem> {
        let (size, root) = (self.tip.tree.size(), self.tip.tree.root());
        let what = if checkpoint.size != size {
            format!("the checkpoint is over {} records, the log has {size}", checkpoint.size)
        } else if checkpoint.root != root {
            format!("the checkpoint's root is {}, the log's is {root}", checkpoint.root)
        } else {
            return None;
        };
        Some(Problem { seq: None, offset, what })
    }

    fn compare(&self, header: &Header<'_>, wrong: &mut Vec<String>) {
        let Tip { next_seq, last_hash, last_ts, last_epoch, .. } = &self.tip;
        if header.seq != *next_seq {
            wrong.push(format!("seq is {}, expected {next_seq}", header.seq));
        }
        if header.prev_hash != *last_hash {
            wrong.push(format!(
                "prev_hash is {}, the line before has {last_hash}: one of the two was changed",
                header.prev_hash
            ));
        }
        if header.ts < *last_ts {
            wrong.push(format!("ts {} is earlier than {last_ts} before it", header.ts));
        }
        if header.epoch < *last_epoch {
            wrong.push(format!("epoch {} is less than {last_epoch} before it", header.epoch));
        }
    }

    fn advance(&mut self, header: &Header<'_>, wrong: &mut Vec<String>) {
        self.tip.next_seq = header.seq.saturating_add(1);
        self.tip.last_ts = header.ts;
        self.tip.last_epoch = header.epoch;
        if self.last_key != Some(header.key) {
            self.last_key = Some(header.key);
            if self.keys.len() < MAX_KEYS || self.keys.contains(&header.key) {
                self.keys.insert(header.key);
            } else {
                wrong.push(format!("signed by more than {MAX_KEYS} keys"));
            }
        }
    }
}

fn check_deep(line: &[u8], header: &Header<'_>, wrong: &mut Vec<String>) {
    if let Err(error) = Record::parse(line) {
        wrong.push(error.to_string());
    }
    if let Err(error) = header.verify_signature() {
        wrong.push(error.to_string());
    }
}
