//! Proofs that a record is in the log, made from the published tiles and, where there is no tile, from the records.
//!
//! A proof is checked before it is handed out: what [`prove`] returns convinces a reader who has nothing else.

use std::{cell::RefCell, collections::HashMap, fs, path::Path};

use ostk_journal::{ReadError, Reader};
use ostk_log::{
    CheckpointError, HashReader, PROOF_VERSION, Proof, ProofError, ProveError, Record, SignedCheckpoint,
    TILE_HEIGHT, TILE_WIDTH, Tile, TileError, TileHashes, VerifierKey, leaf_hash, node_hash,
};
use ostk_log::{Hash, NodeId};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofFailure {
    /// Nothing was published: the log is empty or its checkpoint is gone.
    #[error("the log has no checkpoint that can be read: {0}")]
    NoCheckpoint(String),
    /// The checkpoint is over fewer records.
    #[error("record {seq} is not in the log that the checkpoint is over: it has {size} records")]
    NotCovered {
        /// The record.
        seq: u64,
        /// Records below the checkpoint.
        size: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The tree cannot be read.
    #[error("the tree cannot be read: {0}")]
    Tree(String),
    /// The checkpoint is not one of this log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// What was made does not hold: the log was changed.
    #[error("the log does not bear the proof out: {0}")]
    Wrong(#[from] ProofError),
}

/// The proof that record `seq` is in the log, against the published checkpoint, and the key that signed that.
///
/// # Errors
/// When the record is beyond the checkpoint, or the log was changed so that no proof holds.
pub fn prove(state_dir: &Path, seq: u64) -> Result<(Proof, VerifierKey), ProofFailure> {
    let none = |error: &dyn std::fmt::Display| ProofFailure::NoCheckpoint(error.to_string());
    let text = fs::read_to_string(state_dir.join("log/checkpoint")).map_err(|error| none(&error))?;
    let signed = SignedCheckpoint::parse(text.as_bytes()).map_err(|error| none(&error))?;
    let (size, origin) = (signed.unverified().size, signed.unverified().origin.clone());
    if seq >= size {
        return Err(ProofFailure::NotCovered { seq, size });
    }
    let line = line_of(state_dir, seq)?;
    let last = line_of(state_dir, size - 1)?;
    let last = Record::parse(&last).map_err(|error| ProofFailure::Tree(error.to_string()))?;
    let key = VerifierKey::new(&origin, last.key)?;
    let hashes = Hashes { state_dir, size, tiles: RefCell::default() };
    let path = ostk_log::inclusion_proof(&hashes, seq, size).map_err(|error| match error {
        ProveError::Read(TileError::Fetch(_, error)) => ProofFailure::Read(error),
        other => ProofFailure::Tree(other.to_string()),
    })?;
    let record = String::from_utf8_lossy(&line).into_owned();
    let proof = Proof {
        version: PROOF_VERSION,
        record,
        index: seq,
        tree_size: size,
        audit_path: path,
        checkpoint: text,
    };
    proof.verify(&key)?;
    Ok((proof, key))
}

fn line_of(state_dir: &Path, seq: u64) -> Result<Vec<u8>, ProofFailure> {
    match Reader::open_at(state_dir, seq)?.next() {
        Some(entry) => Ok(entry?.line),
        None => Err(ProofFailure::Tree(format!("record {seq} is missing"))),
    }
}

/// The hashes of the tree: from full tiles on disk, the rest computed from what lies below.
struct Hashes<'a> {
    state_dir: &'a Path,
    size: u64,
    /// Tiles looked at for this proof; a proof needs a handful.
    tiles: RefCell<HashMap<Tile, Vec<u8>>>,
}

impl HashReader for Hashes<'_> {
    type Error = TileError<ReadError>;

    fn node(&self, node: NodeId) -> Result<Hash, Self::Error> {
        TileHashes { size: self.size, fetch: |tile| self.tile(tile) }.node(node)
    }
}

impl Hashes<'_> {
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, ReadError> {
        if let Some(known) = self.tiles.borrow().get(&tile) {
            return Ok(known.clone());
        }
        let bytes = match self.published(tile) {
            Some(bytes) => bytes,
            None if tile.level() == 0 => self.leaves(tile)?,
            None => self.computed(tile)?,
        };
        self.tiles.borrow_mut().insert(tile, bytes.clone());
        Ok(bytes)
    }

    fn published(&self, tile: Tile) -> Option<Vec<u8>> {
        let full = u64::from(tile.width()) == TILE_WIDTH;
        full.then(|| fs::read(self.state_dir.join("log").join(tile.path())).ok()).flatten()
    }

    fn leaves(&self, tile: Tile) -> Result<Vec<u8>, ReadError> {
        let reader = Reader::open_at(self.state_dir, tile.index() * TILE_WIDTH)?;
        let mut bytes = Vec::new();
        for entry in reader.take(usize::from(tile.width())) {
            bytes.extend_from_slice(leaf_hash(&entry?.line).as_bytes());
        }
        Ok(bytes)
    }

    /// Each hash of a higher tile is the root over a full tile of the level below.
    fn computed(&self, tile: Tile) -> Result<Vec<u8>, ReadError> {
        let level = tile.level() * TILE_HEIGHT - 1;
        let below = |index| {
            self.node(NodeId { level, index }).map_err(|error| match error {
                TileError::Fetch(_, error) => error,
                other => ReadError::Io {
                    doing: "compute",
                    path: tile.path().into(),
                    source: std::io::Error::other(other.to_string()),
                },
            })
        };
        let mut bytes = Vec::new();
        for node in tile.nodes() {
            let (left, right) = (below(2 * node.index)?, below(2 * node.index + 1)?);
            bytes.extend_from_slice(node_hash(&left, &right).as_bytes());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ed25519_dalek::Signer as _;
    use ostk_journal::{Journal, Options};
    use ostk_log::{Draft, KeyId, Signer, Timestamp};

    use super::*;

    struct Key(ed25519_dalek::SigningKey, KeyId);

    impl Signer for Key {
        fn key_id(&self) -> &KeyId {
            &self.1
        }

        fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.0.sign(message).to_bytes()
        }
    }

    /// A log of `count` records.
    fn log(count: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let id = KeyId::from_public_key(key.verifying_key().to_bytes());
        let options = Options::new(Arc::new(Key(key, id)), "ostk/test", Box::new(|_| {}));
        let (journal, _) = Journal::open(dir.path(), options).unwrap();
        for seq in 0..count {
            let draft = Draft {
                seq,
                ts: Timestamp::from_micros(1_000_000 + seq),
                epoch: 1,
                actor: "kernel".to_owned(),
                event: "note.added".to_owned(),
                body: serde_json::Map::new(),
            };
            journal.append(draft, Vec::new()).unwrap();
        }
        journal.close().unwrap();
        dir
    }

    #[test]
    fn every_record_below_the_checkpoint_can_be_proven() {
        for count in [1, 2, 255, 256, 257, 700] {
            let dir = log(count);
            for seq in [0, count / 2, count - 1] {
                let (proof, key) = prove(dir.path(), seq).unwrap();
                assert_eq!((proof.index, proof.tree_size), (seq, count));
                assert_eq!(proof.verify(&key).unwrap().seq, seq);
            }
        }
    }

    #[test]
    fn a_proof_needs_no_tiles() {
        let dir = log(700);
        let (with, _) = prove(dir.path(), 300).unwrap();
        fs::remove_dir_all(dir.path().join("log/tile")).unwrap();
        let (without, _) = prove(dir.path(), 300).unwrap();
        assert_eq!(with, without);
    }

    #[test]
    fn a_record_beyond_the_checkpoint_has_no_proof() {
        let dir = log(3);
        let failure = prove(dir.path(), 3).unwrap_err();
        assert!(matches!(failure, ProofFailure::NotCovered { seq: 3, size: 3 }), "{failure}");
        assert!(matches!(prove(&dir.path().join("none"), 0), Err(ProofFailure::NoCheckpoint(_))));
    }

    #[test]
    fn a_changed_record_cannot_be_proven() {
        let dir = log(10);
        let path = dir.path().join("journal.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("note.added", "note.eaten", 1)).unwrap();
        let failure = prove(dir.path(), 0).unwrap_err();
        assert!(matches!(failure, ProofFailure::Read(ReadError::Corrupt { .. })), "{failure}");
        let failure = prove(dir.path(), 9).unwrap_err();
        assert!(matches!(failure, ProofFailure::Read(ReadError::Corrupt { .. })), "{failure}");
    }

    #[test]
    fn the_log_is_read_followed_and_checked_by_this_library_alone() {
        let dir = log(20);
        let all: Vec<u64> = crate::records(dir.path()).unwrap().map(|entry| entry.unwrap().seq).collect();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert_eq!(crate::records_from(dir.path(), 18).unwrap().count(), 2);
        let mut tail = crate::tail(dir.path(), 19);
        let wait = std::time::Duration::from_secs(5);
        assert_eq!(tail.next(wait).unwrap().unwrap().record().unwrap().event, "note.added");
        assert_eq!(crate::published(dir.path()).unwrap().size, 20);
        assert!(crate::verify(dir.path(), true).unwrap().ok);
    }
}
