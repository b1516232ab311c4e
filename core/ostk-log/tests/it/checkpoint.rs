//! Checkpoints against `signed_note` and `tlog_tiles`: they read ours, we read theirs, and a changed one is refused.

use ostk_log::{Checkpoint, CheckpointError, Hash, KeyId, SignedCheckpoint, Signer, VerifierKey};
use proptest::prelude::*;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};

use crate::support::TestSigner;

const ORIGIN: &str = "example.org/ostk/repo";

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN, 123, Hash::of(b"root")).unwrap()
}

fn key_of(signer: &TestSigner) -> VerifierKey {
    VerifierKey::new(ORIGIN, *signer.key_id()).unwrap()
}

#[test]
fn a_checkpoint_is_three_lines_and_a_signature() {
    let note = checkpoint().sign(&TestSigner::new(7)).unwrap();
    let lines: Vec<&str> = note.split('\n').collect();
    assert_eq!(lines[..4], [ORIGIN, "123", "SBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=", ""]);
    assert!(lines[4].starts_with("— example.org/ostk/repo "), "{}", lines[4]);
    assert_eq!(lines[5..], [""]);
}

#[test]
fn signed_note_and_tlog_tiles_read_our_checkpoint() {
    let signer = TestSigner::new(7);
    let text = checkpoint().sign(&signer).unwrap();
    let note = Note::from_bytes(text.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key_of(&signer).to_string()).unwrap();
    let (verified, others) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), others.len()), (1, 0));
    let head = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((head.origin(), head.size(), head.hash().0), (ORIGIN, 123, *Hash::of(b"root").as_bytes()));
}

#[test]
fn we_read_a_checkpoint_that_signed_note_signed_with_a_witness_beside_it() {
    // The example key of the signed note specification.
    let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let key: VerifierKey =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
    let head =
        tlog_tiles::Checkpoint::new("PeterNeumann", 7, tlog_tiles::record_hash(b"x"), "more\n").unwrap();
    let mut note = Note::new(&head.to_bytes(), &[]).unwrap();
    note.add_sigs(&[&StandardSigner::new(secret).unwrap()]).unwrap();
    let mut text = note.to_bytes();
    text.extend_from_slice("— witness.example.org AAAAAAECAwQF\n".as_bytes());

    let signed = SignedCheckpoint::parse(&text).unwrap();
    let checkpoint = signed.verify(&key).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("PeterNeumann", 7));
    assert_eq!(checkpoint.root.as_bytes(), &tlog_tiles::record_hash(b"x").0);
    assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
}

#[test]
fn another_key_or_another_log_is_told_apart() {
    let text = checkpoint().sign(&TestSigner::new(7)).unwrap();
    let signed = SignedCheckpoint::parse(text.as_bytes()).unwrap();
    assert_eq!(signed.unverified(), &checkpoint());
    signed.verify(&key_of(&TestSigner::new(7))).unwrap();
    assert!(matches!(signed.verify(&key_of(&TestSigner::new(8))), Err(CheckpointError::Unsigned { .. })));
    let elsewhere = VerifierKey::new("example.org/other", *TestSigner::new(7).key_id()).unwrap();
    assert!(matches!(signed.verify(&elsewhere), Err(CheckpointError::OtherLog { .. })));
}

#[test]
fn names_and_keys_that_no_note_can_carry_are_refused() {
    for origin in ["", "with space", "with+plus", "new\nline", "tab\t", "\u{7f}"] {
        assert!(
            matches!(Checkpoint::new(origin, 0, Hash::ZERO), Err(CheckpointError::Origin(_))),
            "{origin:?}"
        );
    }
    let vkey = key_of(&TestSigner::new(7)).to_string();
    let (short, _) = vkey.split_at(vkey.len() - 4);
    for wrong in ["", "a+b", short, &vkey.replace("example", "exampla"), &format!("{vkey}A")] {
        assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong} was accepted");
    }
    assert_eq!(vkey.parse(), Ok(key_of(&TestSigner::new(7))));
    let key = TestSigner::new(7).key_id().to_string();
    assert_eq!(key.parse::<KeyId>().unwrap(), *TestSigner::new(7).key_id());
    for wrong in [key.replace(':', ""), format!("{key}="), key.replacen("0iw", "0ix", 1)] {
        assert!(wrong.parse::<KeyId>().is_err(), "{wrong} was accepted");
    }
}

proptest! {
    #[test]
    fn a_checkpoint_with_any_bit_changed_or_cut_short_is_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<bool>()) {
        let signer = TestSigner::new(7);
        let mut text = checkpoint().sign(&signer).unwrap().into_bytes();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] ^= 1 << bit }
        let believed = SignedCheckpoint::parse(&text).and_then(|s| s.verify(&key_of(&signer)).cloned());
        prop_assert!(believed.is_err(), "{:?}", believed);
    }

    #[test]
    fn arbitrary_bytes_are_no_checkpoint(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SignedCheckpoint::parse(&bytes).is_err());
    }
}
