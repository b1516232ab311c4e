//! Inclusion and consistency proofs over the Merkle tree: made from stored hashes, checked from nothing but hashes.
//!
//! Making follows RFC 6962, sections 2.1.1 and 2.1.2; checking follows RFC 9162, sections 2.1.3.2 and 2.1.4.2, which
//! give the same proofs an iterative check. Called by `ostk audit prove` and by everyone who was handed a proof.

use std::ops::Range;

use crate::{
    Hash,
    merkle::{NodeId, empty_root, fold_parts, node_hash},
};

/// Where the hashes of complete subtrees are kept.
pub trait HashReader {
    /// Why a hash cannot be read.
    type Error;
    /// The hash of a complete node of the tree. The caller asks only for nodes within the tree's size.
    fn node(&self, node: NodeId) -> Result<Hash, Self::Error>;
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// Asked about a leaf or a tree that lies beyond the tree.
    #[error("{0} lies beyond the tree of {1} records")]
    OutOfRange(u64, u64),
    /// A hash could not be read.
    #[error("cannot read a hash of the tree: {0}")]
    Read(#[from] E),
}

/// A proof that does not show what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to the root")]
pub struct BadProof;

/// The audit path of leaf `index` in the tree of the first `size` leaves, from the leaf upwards.
///
/// At most 64 hashes, made from at most about 64² / 2 reads.
pub fn inclusion_proof<R: HashReader>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if index >= size {
        return Err(ProveError::OutOfRange(index, size));
    }
    let mut siblings = Vec::new();
    let mut within = 0..size;
    while within.end - within.start > 1 {
        let (left, right) = split(&within);
        let (next, sibling) = if left.contains(&index) { (left, right) } else { (right, left) };
        siblings.push(sibling);
        within = next;
    }
    siblings.iter().rev().map(|leaves| range_root(reader, leaves)).collect()
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves. Empty for `old` 0 and `old` = `new`.
pub fn consistency_proof<R: HashReader>(
    reader: &R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if old > new {
        return Err(ProveError::OutOfRange(old, new));
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let mut within = 0..new;
    while within.end != old {
        let (left, right) = split(&within);
        let (next, sibling) = if old <= left.end { (left, right) } else { (right, left) };
        parts.push(sibling);
        within = next;
    }
    // A left part from 0 is the old tree itself, whose root the verifier has.
    if within.start != 0 {
        parts.push(within);
    }
    parts.iter().rev().map(|leaves| range_root(reader, leaves)).collect()
}

/// Checks that `leaf` is the hash of leaf `index` in the tree of `size` leaves with this `root`.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), BadProof> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last).ok_or(BadProof)?;
    let mut at = index;
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(BadProof);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            (at, last) = skip_missing_levels(at, last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(BadProof) }
}

/// Checks that the tree of `new` leaves with root `new_root` begins with the tree of `old` leaves with root `old_root`.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), BadProof> {
    if old == 0 || old == new {
        let expected = if old == new { *new_root } else { empty_root() };
        return if old <= new && proof.is_empty() && expected == *old_root { Ok(()) } else { Err(BadProof) };
    }
    let (mut at, mut last) = (old - 1, new.checked_sub(1).filter(|_| old < new).ok_or(BadProof)?);
    let whole = at.trailing_ones();
    (at, last) = (at >> whole, last >> whole);
    let mut rest = proof.iter();
    // An old tree of a power of two is a node of the new one, and is left out of the proof.
    let first = if old.is_power_of_two() { old_root } else { rest.next().ok_or(BadProof)? };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for part in rest {
        if last == 0 {
            return Err(BadProof);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(part, &old_hash);
            new_hash = node_hash(part, &new_hash);
            (at, last) = skip_missing_levels(at, last);
        } else {
            new_hash = node_hash(&new_hash, part);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last == 0 && old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(BadProof) }
}

/// At the right edge a node without a sibling stands for its ancestors, up to the first that is a right child.
fn skip_missing_levels(at: u64, last: u64) -> (u64, u64) {
    let levels = if at == 0 { 0 } else { at.trailing_zeros() };
    (at >> levels, last >> levels)
}

/// Splits a range of two or more leaves as RFC 6962 does: the left part is the largest power of two below its length.
fn split(leaves: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let length = leaves.end - leaves.start;
    let middle = leaves.start + (1 << (length - 1).ilog2());
    (leaves.start..middle, middle..leaves.end)
}

/// The root over `leaves`, a range that [`split`] made: its start is a multiple of every part's length.
fn range_root<R: HashReader>(reader: &R, leaves: &Range<u64>) -> Result<Hash, ProveError<R::Error>> {
    let mut parts = Vec::new();
    let mut start = leaves.start;
    while start < leaves.end {
        let level = (leaves.end - start).ilog2();
        parts.push(reader.node(NodeId { level: level as u8, index: start >> level })?);
        start += 1 << level;
    }
    Ok(fold_parts(&parts).unwrap_or_else(empty_root))
}
