//! The tree against published vectors and against `tlog_tiles`, which is not ours.
//!
//! The vectors are the leaves, roots and proofs that the Certificate Transparency implementations share
//! (<https://github.com/transparency-dev/merkle>, `testonly`).

use std::{cell::RefCell, collections::HashMap, convert::Infallible};

use ostk_log::{
    Frontier, Hash, HashReader, NodeId, ProveError, TILE_WIDTH, Tile, TileError, TileHashes,
    consistency_proof, empty_root, entry_bundle, inclusion_proof, leaf_hash, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;

const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Every complete node of a tree.
#[derive(Default)]
struct Nodes(HashMap<NodeId, Hash>);

impl HashReader for Nodes {
    type Error = Infallible;

    fn node(&self, node: NodeId) -> Result<Hash, Infallible> {
        Ok(self.0[&node])
    }
}

fn grow(leaves: impl IntoIterator<Item = Vec<u8>>) -> (Frontier, Nodes, Vec<Hash>) {
    let (mut tree, mut nodes, mut roots) = (Frontier::new(), Nodes::default(), vec![empty_root()]);
    for leaf in leaves {
        tree.push_with(leaf_hash(&leaf), |node, hash| {
            nodes.0.insert(node, hash);
        });
        roots.push(tree.root());
    }
    (tree, nodes, roots)
}

fn numbered(count: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|n| format!("entry {n}").into_bytes())
}

fn published() -> impl Iterator<Item = Vec<u8>> {
    LEAVES.iter().map(|leaf| hex::decode(leaf).unwrap())
}

fn hashes(digits: &[&str]) -> Vec<Hash> {
    digits.iter().map(|d| d.parse().unwrap()).collect()
}

#[test]
fn the_published_leaves_give_the_published_roots() {
    assert_eq!(grow(published()).2, hashes(&ROOTS));
}

#[test]
fn the_published_proofs_are_made_and_accepted() {
    let (_, nodes, roots) = grow(published());
    let root = |size: u64| roots[size as usize];
    let inclusion: [(u64, u64, &[&str]); 4] = [
        (0, 1, &[]),
        (2, 3, &[ROOTS[2]]),
        (
            1,
            5,
            &[
                ROOTS[1],
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                ROOTS[4],
            ],
        ),
    ];
    for (index, size, expected) in inclusion {
        let path = inclusion_proof(&nodes, index, size).unwrap();
        assert_eq!(path, hashes(expected), "leaf {index} of {size}");
        let leaf = leaf_hash(&hex::decode(LEAVES[index as usize]).unwrap());
        verify_inclusion(&leaf, index, size, &path, &root(size)).unwrap();
    }
    let consistency: [(u64, u64, &[&str]); 3] = [
        (1, 1, &[]),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                ROOTS[4],
            ],
        ),
    ];
    for (old, new, expected) in consistency {
        let proof = consistency_proof(&nodes, old, new).unwrap();
        assert_eq!(proof, hashes(expected), "{old} to {new}");
        verify_consistency(old, &root(old), new, &root(new), &proof).unwrap();
    }
}

/// The stored hashes of `tlog_tiles`.
#[derive(Default)]
struct Oracle(RefCell<Vec<tlog_tiles::Hash>>);

impl tlog_tiles::HashReader for Oracle {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|at| self.0.borrow()[*at as usize]).collect())
    }
}

impl Oracle {
    fn grow(count: u64) -> Self {
        let oracle = Self::default();
        for (n, leaf) in (0..).zip(numbered(count)) {
            let new = tlog_tiles::stored_hashes(n, &leaf, &oracle).unwrap();
            oracle.0.borrow_mut().extend(new);
        }
        oracle
    }
}

fn theirs(hash: &Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

fn ours(hashes: &[tlog_tiles::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

#[test]
fn every_root_and_proof_of_a_small_tree_is_that_of_tlog_tiles() {
    const COUNT: u64 = 40;
    let (_, nodes, roots) = grow(numbered(COUNT));
    let oracle = Oracle::grow(COUNT);
    for new in 1..=COUNT {
        let root = roots[new as usize];
        assert_eq!(theirs(&root), tlog_tiles::tree_hash(new, &oracle).unwrap());
        for at in 0..new {
            let path = inclusion_proof(&nodes, at, new).unwrap();
            assert_eq!(
                path,
                ours(&tlog_tiles::prove_record(new, at, &oracle).unwrap()),
                "leaf {at} of {new}"
            );
            let leaf = nodes.node(NodeId { level: 0, index: at }).unwrap();
            verify_inclusion(&leaf, at, new, &path, &root).unwrap();

            let old = at + 1;
            let proof = consistency_proof(&nodes, old, new).unwrap();
            assert_eq!(proof, ours(&tlog_tiles::prove_tree(new, old, &oracle).unwrap()), "{old} to {new}");
            verify_consistency(old, &roots[old as usize], new, &root, &proof).unwrap();
        }
    }
}

#[test]
fn tiles_are_those_of_tlog_tiles_and_proofs_can_be_read_out_of_them() {
    const COUNT: u64 = 70_000;
    let (tree, nodes, _) = grow(numbered(COUNT));
    let oracle = Oracle::grow(COUNT);
    let mut files = HashMap::new();
    let mut expected = tlog_tiles::Tile::new_tiles(8, 0, COUNT).into_iter();
    for tile in Tile::between(0, COUNT) {
        let their = expected.next().unwrap();
        // Go's checksum database puts the height into the path, C2SP does not.
        assert_eq!(tile.path(), their.path().replacen("tile/8/", "tile/", 1));
        let bytes = tile.bytes(&nodes).unwrap();
        assert_eq!(bytes, their.read_data(&oracle).unwrap(), "{}", tile.path());
        files.insert(tile.path(), bytes);
    }
    assert_eq!(expected.next(), None);

    let reader =
        TileHashes { size: COUNT, fetch: |tile: Tile| files.get(&tile.path()).cloned().ok_or("gone") };
    for index in [0, 255, 256, 65_535, 65_536, 69_888, COUNT - 1] {
        let path = inclusion_proof(&reader, index, COUNT).unwrap();
        assert_eq!(path, inclusion_proof(&nodes, index, COUNT).unwrap());
        let leaf = reader.node(NodeId { level: 0, index }).unwrap();
        verify_inclusion(&leaf, index, COUNT, &path, &tree.root()).unwrap();
    }
}

#[test]
fn the_tiles_of_seventy_thousand_records_are_those_of_the_specification() {
    let tiles: Vec<Tile> = Tile::between(0, 70_000).collect();
    let of = |level| tiles.iter().filter(move |t| t.level() == level).map(|t| u64::from(t.width()));
    assert_eq!(of(0).filter(|w| *w == TILE_WIDTH).count(), 273);
    assert_eq!(of(0).next_back(), Some(112));
    assert_eq!(of(1).collect::<Vec<_>>(), [256, 17]);
    assert_eq!(of(2).collect::<Vec<_>>(), [1]);
    let paths = |old, new| Tile::between(old, new).map(|t| t.path()).collect::<Vec<_>>();
    assert_eq!(paths(255, 256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(256, 257), ["tile/0/001.p/1"]);
    assert_eq!(paths(7, 7), [] as [&str; 0]);
    let far = Tile::holding(NodeId { level: 0, index: 1_234_067 * 256 }, u64::MAX).unwrap();
    assert_eq!(far.path(), "tile/0/x001/x234/067");
    assert_eq!(far.entries_path(), "tile/entries/x001/x234/067");
}

#[test]
fn a_bundle_counts_each_entry_in_sixteen_bits() {
    assert_eq!(entry_bundle([&b"ab"[..], b""]), Some(b"\x00\x02ab\x00\x00".to_vec()));
    assert_eq!(entry_bundle([vec![b'x'; 65_536].as_slice()]), None);
}

#[test]
fn a_missing_short_or_absent_tile_is_an_error_that_names_it() {
    let gone = TileHashes { size: 300, fetch: |_| Err("not found") };
    let error = inclusion_proof(&gone, 0, 300).unwrap_err();
    assert_eq!(error.to_string(), "cannot read a hash of the tree: tile tile/0/000: not found");
    let short = TileHashes { size: 300, fetch: |_| Ok::<_, Infallible>(vec![0; 33]) };
    let error = short.node(NodeId { level: 0, index: 299 }).unwrap_err();
    assert_eq!(error.to_string(), "tile tile/0/001.p/44 has 33 bytes, not 1408");
    for node in
        [NodeId { level: 0, index: 300 }, NodeId { level: 9, index: 0 }, NodeId { level: 200, index: 0 }]
    {
        assert!(matches!(short.node(node), Err(TileError::NoSuchNode { .. })), "{node:?}");
    }
    let nodes = Nodes::default();
    assert_eq!(inclusion_proof(&nodes, 3, 3), Err(ProveError::OutOfRange(3, 3)));
    assert_eq!(consistency_proof(&nodes, 4, 3), Err(ProveError::OutOfRange(4, 3)));
}

#[test]
fn a_frontier_survives_serialisation_and_refuses_impossible_ones() {
    let (tree, ..) = grow(numbered(13));
    let text = serde_json::to_string(&tree).unwrap();
    let mut back: Frontier = serde_json::from_str(&text).unwrap();
    assert_eq!(back, tree);
    back.push(leaf_hash(b"entry 13"));
    assert_eq!(back.root(), grow(numbered(14)).0.root());
    let impossible = text.replace("\"size\":13", "\"size\":12");
    assert!(serde_json::from_str::<Frontier>(&impossible).is_err());
}

proptest! {
    #[test]
    fn a_proof_with_anything_changed_is_refused(
        new in 2_u64..200,
        at in any::<prop::sample::Index>(),
        part in any::<prop::sample::Index>(),
        byte in 0_usize..32,
        kind in 0..4,
    ) {
        let (_, nodes, roots) = grow(numbered(new));
        let index = at.index(new as usize) as u64;
        let root = roots[new as usize];
        let leaf = nodes.node(NodeId { level: 0, index }).unwrap();
        let change = |mut proof: Vec<Hash>| {
            match kind {
                0 if !proof.is_empty() => {
                    let which = part.index(proof.len());
                    let mut bytes = *proof[which].as_bytes();
                    bytes[byte] ^= 1;
                    proof[which] = Hash::from_bytes(bytes);
                }
                1 if !proof.is_empty() => drop(proof.remove(part.index(proof.len()))),
                2 => proof.insert(part.index(proof.len() + 1), leaf),
                _ => proof.push(root),
            }
            proof
        };
        let path = inclusion_proof(&nodes, index, new).unwrap();
        verify_inclusion(&leaf, index, new, &path, &root).unwrap();
        prop_assert!(verify_inclusion(&leaf, index, new, &change(path.clone()), &root).is_err());
        prop_assert!(verify_inclusion(&leaf, new, new, &path, &root).is_err());
        prop_assert!(verify_inclusion(&root, index, new, &path, &root).is_err());

        let old = index + 1;
        let proof = consistency_proof(&nodes, old, new).unwrap();
        let old_root = roots[old as usize];
        verify_consistency(old, &old_root, new, &root, &proof).unwrap();
        prop_assert!(verify_consistency(old, &old_root, new, &root, &change(proof.clone())).is_err());
        if old < new {
            prop_assert!(verify_consistency(old, &root, new, &root, &proof).is_err());
            prop_assert!(verify_consistency(new, &root, old, &old_root, &proof).is_err());
        }
    }
}
