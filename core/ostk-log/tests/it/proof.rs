//! A proof stands alone, and stands for exactly one record of one log.

use std::convert::Infallible;

use ostk_log::{
    Checkpoint, Frontier, Hash, Proof, ProofError, Record, Signer, Tile, TileHashes, VerifierKey,
    inclusion_proof, leaf_hash,
};

use crate::support::{TestSigner, journal};

const ORIGIN: &str = "example.org/ostk/repo";

fn log_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, *TestSigner::new(7).key_id()).unwrap()
}

fn prove(seq: u64, size: u64) -> Proof {
    let lines = journal(size);
    let leaves: Vec<Hash> = lines.iter().map(|line| leaf_hash(line)).collect();
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    let fetch = |tile: Tile| {
        assert_eq!(tile.level(), 0, "the test's log has one tile");
        Ok::<_, Infallible>(leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect())
    };
    Proof {
        version: 1,
        record: String::from_utf8(lines[seq as usize].clone()).unwrap(),
        index: seq,
        tree_size: size,
        audit_path: inclusion_proof(&TileHashes { size, fetch }, seq, size).unwrap(),
        checkpoint: Checkpoint::new(ORIGIN, size, tree.root()).unwrap().sign(&TestSigner::new(7)).unwrap(),
    }
}

#[test]
fn a_proof_survives_as_json_and_convinces_whoever_has_the_key() {
    for seq in 0..11 {
        let text = serde_json::to_string(&prove(seq, 11)).unwrap();
        let proof: Proof = serde_json::from_str(&text).unwrap();
        assert_eq!(proof.verify(&log_key()).unwrap(), Record::parse(proof.record.as_bytes()).unwrap());
    }
    prove(0, 1).verify(&log_key()).unwrap();
}

#[test]
fn a_proof_with_a_part_replaced_says_which() {
    let good = prove(4, 11);
    let other = prove(5, 11);
    let verify = |proof: Proof| proof.verify(&log_key());
    let version = verify(Proof { version: 2, ..good.clone() });
    assert!(matches!(version, Err(ProofError::Version(2))));
    let record = verify(Proof { record: good.record.replace("part 4", "part 5"), ..good.clone() });
    assert!(matches!(record, Err(ProofError::Record(_))));
    let index = verify(Proof { index: 5, ..good.clone() });
    assert!(matches!(index, Err(ProofError::Mismatch { what: "index", .. })));
    let size = verify(Proof { tree_size: 12, ..good.clone() });
    assert!(matches!(size, Err(ProofError::Mismatch { what: "tree size", .. })));
    let path = verify(Proof { audit_path: other.audit_path, ..good.clone() });
    assert!(matches!(path, Err(ProofError::Path(_))));
    let shorter = verify(Proof { checkpoint: prove(4, 10).checkpoint, tree_size: 10, ..good.clone() });
    assert!(matches!(shorter, Err(ProofError::Path(_))));
    let checkpoint = verify(Proof { checkpoint: good.checkpoint.replace("\n11\n", "\n12\n"), ..good });
    assert!(matches!(checkpoint, Err(ProofError::Checkpoint(_))));
}
