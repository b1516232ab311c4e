//! Signatures checked together are refused like signatures checked alone, each under its own name.

use ostk_log::{Draft, Hash, Header, KeyId, SignatureBatch, seal};
use proptest::prelude::*;

use crate::support::{TestSigner, draft, journal};

const COUNT: u64 = 24;
/// Bytes behind a signature's digits: `"}`.
const BEHIND_SIG: usize = 2;

/// The tags of the lines that are refused when all are checked together.
fn refused(lines: &[Vec<u8>]) -> Vec<usize> {
    let mut batch = SignatureBatch::new();
    for (tag, line) in lines.iter().enumerate() {
        batch.push(tag, &Header::scan(line).unwrap());
    }
    let refused = batch.check().into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(batch.check(), [], "a check leaves nothing to check");
    refused
}

/// Another hexadecimal digit at `at`.
fn change_digit(line: &mut [u8], at: usize) {
    let digit = &mut line[at];
    *digit = if *digit == b'0' { b'1' } else { b'0' };
}

#[test]
fn nothing_to_check_and_an_untouched_log_are_not_refused() {
    assert_eq!(refused(&[]), [0usize; 0]);
    assert_eq!(refused(&journal(COUNT)), [0usize; 0]);
}

#[test]
fn records_of_several_keys_are_checked_together() {
    let signers = [TestSigner::new(1), TestSigner::new(2), TestSigner::new(1)];
    let mut lines: Vec<Vec<u8>> = signers
        .iter()
        .zip(0..)
        .map(|(signer, seq)| seal(&draft(seq), &Hash::ZERO, signer).unwrap().line)
        .collect();
    assert_eq!(refused(&lines), [0usize; 0]);
    let at = lines[1].len() - BEHIND_SIG - 1;
    change_digit(&mut lines[1], at);
    assert_eq!(refused(&lines), [1]);
}

#[test]
fn a_key_under_which_anybody_could_sign_is_refused() {
    // The neutral element of the curve: with it, R and s = 0, the equation holds for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let weak = KeyId::from_public_key(neutral);
    let line = String::from_utf8(journal(1).remove(0)).unwrap();
    let (front, _) = line.split_at(line.len() - BEHIND_SIG - 128);
    let honest = Header::scan(line.as_bytes()).unwrap().key.to_string();
    let sig = format!("01{}{}", "00".repeat(31), "00".repeat(32));
    let forged = format!("{front}{sig}\"}}").replace(&honest, &weak.to_string());
    assert_eq!(refused(&[forged.into_bytes()]), [0]);
}

proptest! {
    #[test]
    fn every_changed_signature_is_refused_and_no_other(
        changed in proptest::collection::btree_map(0..COUNT as usize, 0..128usize, 1..4),
    ) {
        let mut lines = journal(COUNT);
        for (line, digit) in &changed {
            let at = lines[*line].len() - BEHIND_SIG - 128 + digit;
            change_digit(&mut lines[*line], at);
        }
        prop_assert_eq!(refused(&lines), changed.into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn a_changed_word_of_a_signed_line_is_refused(line in 0..COUNT as usize) {
        let mut lines = journal(COUNT);
        let Draft { actor, .. } = draft(line as u64);
        let text = String::from_utf8(lines[line].clone()).unwrap();
        lines[line] = text.replacen(&actor, "agent:somebody-else", 1).into_bytes();
        prop_assert_eq!(refused(&lines), [line]);
    }
}
