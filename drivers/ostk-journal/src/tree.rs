//! The growing Merkle tree in memory: its frontier and the rows of hashes that are not a full tile yet.
//!
//! At most 255 hashes a level. A row that becomes full is handed out as a tile; `publish` writes it. No I/O here but
//! through the closure that loads tiles at start.

use ostk_log::{Frontier, Hash, NodeId, TILE_HEIGHT, TILE_WIDTH, Tile};

const WIDTH: usize = TILE_WIDTH as usize;

/// A file below `log/` and its bytes.
pub(crate) type TileFile = (String, Vec<u8>);

/// The tree over all durable records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    frontier: Frontier,
    /// Row `n` lists the last, not yet full tile of level `n`.
    rows: Vec<Vec<Hash>>,
}

impl Tree {
    /// Number of records.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The frontier.
    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Adds a leaf; tiles that it completes are added to `full`.
    pub(crate) fn push(&mut self, leaf: Hash, full: &mut Vec<TileFile>) {
        let (size, rows) = (self.size() + 1, &mut self.rows);
        self.frontier.push_with(leaf, |node, hash| {
            if node.level % TILE_HEIGHT != 0 {
                return;
            }
            let level = usize::from(node.level / TILE_HEIGHT);
            if rows.len() <= level {
                rows.resize_with(level + 1, Vec::new);
            }
            let Some(row) = rows.get_mut(level) else { return };
            row.push(hash);
            if row.len() == WIDTH {
                full.extend(Tile::holding(node, size).map(|tile| (tile.path(), bytes(row))));
                row.clear();
            }
        });
    }

    /// The tiles that are not full, as wide as they are now.
    pub(crate) fn partial_tiles(&self) -> Vec<TileFile> {
        let mut tiles = Vec::new();
        for (level, row) in self.rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
            let level = level as u8 * TILE_HEIGHT;
            let node = NodeId { level, index: (self.size() >> level) - 1 };
            tiles.extend(Tile::holding(node, self.size()).map(|tile| (tile.path(), bytes(row))));
        }
        tiles
    }

    /// The tree of `size` records, a multiple of a tile's width, from its full tiles. `None` if one cannot be had;
    /// the hashes are believed until the root is compared with a checkpoint.
    pub(crate) fn load(size: u64, mut full_tile: impl FnMut(Tile) -> Option<Vec<u8>>) -> Option<Self> {
        let mut rows = vec![Vec::new()];
        let mut level = 1;
        while size >> (level * TILE_HEIGHT) > 0 {
            let count = size >> (level * TILE_HEIGHT);
            let mut row = Vec::with_capacity(WIDTH);
            for index in count - count % TILE_WIDTH..count {
                let below = (level - 1) * TILE_HEIGHT;
                let tile = Tile::holding(NodeId { level: below, index: index * TILE_WIDTH }, size)?;
                row.push(root_of(&full_tile(tile)?)?);
            }
            rows.push(row);
            level += 1;
        }
        let mut nodes = Vec::new();
        for row in rows.iter().rev() {
            nodes.extend(complete_parts(row));
        }
        let frontier = serde_json::json!({ "size": size, "nodes": nodes });
        Some(Self { frontier: serde_json::from_value(frontier).ok()?, rows })
    }
}

fn bytes(row: &[Hash]) -> Vec<u8> {
    row.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The root over a full tile.
fn root_of(tile: &[u8]) -> Option<Hash> {
    let (hashes, []) = tile.as_chunks::<32>() else { return None };
    let mut frontier = Frontier::new();
    hashes.iter().for_each(|hash| frontier.push(Hash::from_bytes(*hash)));
    (hashes.len() == WIDTH).then(|| frontier.root())
}

/// The roots of the complete subtrees over a row, largest first.
fn complete_parts(row: &[Hash]) -> Vec<Hash> {
    let (mut parts, mut rest) = (Vec::new(), row);
    while !rest.is_empty() {
        let (part, after) = rest.split_at(1 << rest.len().ilog2());
        let mut frontier = Frontier::new();
        part.iter().for_each(|hash| frontier.push(*hash));
        parts.push(frontier.root());
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_tree_loaded_from_its_tiles_grows_as_the_one_that_wrote_them() {
        let mut tree = Tree::default();
        let mut files = HashMap::new();
        for n in 0..70_000u64 {
            let mut full = Vec::new();
            tree.push(Hash::of(&n.to_be_bytes()), &mut full);
            files.extend(full);
            if [256, 512, 65_536, 65_792, 69_888].contains(&tree.size()) {
                let loaded = Tree::load(tree.size(), |tile| files.get(&tile.path()).cloned()).unwrap();
                assert_eq!(
                    (loaded.frontier(), &loaded.partial_tiles()),
                    (tree.frontier(), &tree.partial_tiles())
                );
            }
        }
        assert!(Tree::load(69_888, |_| None).is_none());
    }
}
