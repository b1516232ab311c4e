//! The RFC 6962 Merkle tree over the log's lines: its hashes and the frontier that grows it.
//!
//! Tiles are in `tile`, proofs in `audit`. The crate `tlog_tiles` computes the same hashes and is the oracle of our
//! tests; it is not used here because its readers assert, it recurses over copies of each proof, it brings `url`,
//! and it has no tree that grows from a few hashes kept in memory.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Hash;

/// The hash of a leaf: SHA-256 of a zero byte and the line without its newline (RFC 6962, section 2.1).
pub fn leaf_hash(line: &[u8]) -> Hash {
    Hash::from_bytes(Sha256::new().chain_update([0]).chain_update(line).finalize().into())
}

/// The hash of an inner node: SHA-256 of a one byte and both children (RFC 6962, section 2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let sha = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Hash::from_bytes(sha.finalize().into())
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash::of(b"")
}

/// The root of a complete or incomplete subtree from the roots of its complete parts, largest first.
pub(crate) fn fold_parts(parts: &[Hash]) -> Option<Hash> {
    parts.iter().copied().rev().reduce(|right, left| node_hash(&left, &right))
}

/// A node whose subtree is complete: it spans the leaves `index << level .. (index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves, at most 63.
    pub level: u8,
    /// Position among the nodes of that level, from the left.
    pub index: u64,
}

/// The roots of the complete subtrees of a tree, largest first: what is needed to add leaves and to name the root.
///
/// Holds at most 64 hashes. Serialised as `{"size": n, "nodes": ["…"]}`; other numbers of nodes are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

#[derive(Deserialize)]
struct Parts {
    size: u64,
    nodes: Vec<Hash>,
}

/// A frontier with as many nodes as no tree of its size has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has {} complete subtrees, not {nodes}", size.count_ones())]
pub struct FrontierError {
    size: u64,
    nodes: usize,
}

impl TryFrom<Parts> for Frontier {
    type Error = FrontierError;

    fn try_from(Parts { size, nodes }: Parts) -> Result<Self, FrontierError> {
        if nodes.len() == size.count_ones() as usize {
            Ok(Self { size, nodes })
        } else {
            Err(FrontierError { size, nodes: nodes.len() })
        }
    }
}

impl Frontier {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, nodes: Vec::new() }
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _| ());
    }

    /// Adds the hash of the next leaf and reports every node that it completes, the leaf first, then upwards.
    ///
    /// Nodes of the levels 0, 8, 16, … are what tiles consist of (see [`Tile`](crate::Tile)).
    pub fn push_with(&mut self, leaf: Hash, mut completed: impl FnMut(NodeId, Hash)) {
        let mut hash = leaf;
        completed(NodeId { level: 0, index: self.size }, hash);
        // Each trailing 1 bit of the size is a subtree that the new leaf makes half of a larger one.
        for level in 1..=self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                hash = node_hash(&left, &hash);
                completed(NodeId { level: level as u8, index: self.size >> level }, hash);
            }
        }
        self.nodes.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold_parts(&self.nodes).unwrap_or_else(empty_root)
    }
}
