//! Tiles of the Merkle tree and bundles of its entries as <https://c2sp.org/tlog-tiles> lays them out for file servers.
//!
//! A tile of level `L` lists up to 256 hashes of nodes of tree level `8 L`; inner nodes are computed from them.
//! `ostk-journal` writes the files, [`TileHashes`] reads hashes for proofs out of them, any tlog client can fetch them.

use crate::{
    Hash, HashReader,
    merkle::{NodeId, fold_parts, node_hash},
};

/// Tree levels that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;

/// Coordinates of a tile that a tree of some size has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile that holds `node` or what it is computed from, as wide as it is in a tree of `size` leaves.
    ///
    /// `None` if the node is not complete in that tree.
    pub fn holding(node: NodeId, size: u64) -> Option<Self> {
        let complete = size.checked_shr(node.level.into())?;
        let level = node.level / TILE_HEIGHT;
        let index = node.index >> (TILE_HEIGHT - node.level % TILE_HEIGHT);
        (node.index < complete).then(|| Self { level, index, width: width_of(size, level, index) })
    }

    /// The tiles to publish when a tree of `old` leaves has grown to `new`, level by level from the leaves.
    pub fn between(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let levels = (0..TILE_HEIGHT).take_while(move |level| new >> (level * TILE_HEIGHT) > 0);
        levels.flat_map(move |level| {
            let count = |size: u64| size >> (level * TILE_HEIGHT);
            let changed = count(old) / TILE_WIDTH..count(new).div_ceil(TILE_WIDTH);
            let grown = count(old) != count(new);
            changed.filter(move |_| grown).map(move |index| Self {
                level,
                index,
                width: width_of(new, level, index),
            })
        })
    }

    /// Level of tiles, 0 to 7; its hashes are nodes of tree level `8 × level`.
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Position among the tiles of that level, from the left.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Number of hashes, 1 to 256; fewer than 256 is a partial tile.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Its file below the log's folder: `tile/<level>/<index>[.p/<width>]`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, index_path(self.index, self.width))
    }

    /// The file of the bundle with the entries below this tile of level 0: `tile/entries/<index>[.p/<width>]`.
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", index_path(self.index, self.width))
    }

    /// The nodes that this tile lists, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let (level, first) = (self.level * TILE_HEIGHT, self.index * TILE_WIDTH);
        (first..first + u64::from(self.width)).map(move |index| NodeId { level, index })
    }

    /// The tile's bytes: its hashes, 32 bytes each.
    pub fn bytes<R: HashReader>(&self, reader: &R) -> Result<Vec<u8>, R::Error> {
        let mut bytes = Vec::with_capacity(usize::from(self.width) * 32);
        for node in self.nodes() {
            bytes.extend_from_slice(reader.node(node)?.as_bytes());
        }
        Ok(bytes)
    }
}

/// How wide a tile is in a tree of `size` leaves.
fn width_of(size: u64, level: u8, index: u64) -> u16 {
    let hashes = size >> (level * TILE_HEIGHT);
    // At most 256, so the cast keeps the value.
    hashes.saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH) as u16
}

/// Three digits to a path element, all but the last marked by an `x`, so that no folder grows beyond a thousand names.
fn index_path(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// A bundle of entries: each line (without its newline) behind its length in 16 bits, big-endian.
///
/// `None` if a line is longer than 65,535 bytes; no [`Sealed`](crate::Sealed) line is.
pub fn entry_bundle<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for line in lines {
        bundle.extend_from_slice(&u16::try_from(line.len()).ok()?.to_be_bytes());
        bundle.extend_from_slice(line);
    }
    Some(bundle)
}

/// Why a hash cannot be read out of tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// A tile could not be fetched.
    #[error("tile {0}: {1}")]
    Fetch(String, E),
    /// A tile has another length than its coordinates say.
    #[error("tile {path} has {len} bytes, not {}", u64::from(*width) * 32)]
    Length {
        /// The tile's file.
        path: String,
        /// Bytes found.
        len: usize,
        /// Hashes it should have.
        width: u16,
    },
    /// Asked for a node that the tree does not have.
    #[error("no node {index} of level {level} in a tree of {size} records")]
    NoSuchNode {
        /// The node's level.
        level: u8,
        /// The node's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
}

/// Reads the hashes of a tree of `size` leaves out of its tiles.
pub struct TileHashes<F> {
    /// Number of leaves of the tree whose tiles are read.
    pub size: u64,
    /// Returns a tile's bytes; a wider version of a partial tile has to be cut to its width.
    pub fetch: F,
}

impl<F, E> HashReader for TileHashes<F>
where
    F: Fn(Tile) -> Result<Vec<u8>, E>,
{
    type Error = TileError<E>;

    fn node(&self, node: NodeId) -> Result<Hash, TileError<E>> {
        let NodeId { level, index } = node;
        let missing = || TileError::NoSuchNode { level, index, size: self.size };
        let tile = Tile::holding(node, self.size).ok_or_else(missing)?;
        let bytes = (self.fetch)(tile).map_err(|error| TileError::Fetch(tile.path(), error))?;
        let (hashes, []) = bytes.as_chunks::<32>() else {
            return Err(TileError::Length { path: tile.path(), len: bytes.len(), width: tile.width });
        };
        if hashes.len() != usize::from(tile.width) {
            return Err(TileError::Length { path: tile.path(), len: bytes.len(), width: tile.width });
        }
        let height = level % TILE_HEIGHT;
        let first = ((index << height) % TILE_WIDTH) as usize;
        let below = hashes.get(first..first + (1 << height)).ok_or_else(missing)?;
        complete_root(below).ok_or_else(missing)
    }
}

/// The root over a power of two of hashes.
fn complete_root(hashes: &[[u8; 32]]) -> Option<Hash> {
    let mut row: Vec<Hash> = hashes.iter().copied().map(Hash::from_bytes).collect();
    while row.len() > 1 {
        row = row.chunks(2).filter_map(pair).collect();
    }
    fold_parts(&row)
}

fn pair(nodes: &[Hash]) -> Option<Hash> {
    match nodes {
        [left, right] => Some(node_hash(left, right)),
        [alone] => Some(*alone),
        _ => None,
    }
}
