//! Whatever is done to a log is found, and found where it was done.

use ostk_log::{
    ChainVerifier, Checkpoint, Depth, Draft, Hash, Problem, Record, Signer, Timestamp, Tip, seal,
};
use proptest::prelude::*;

use crate::support::{TestSigner, draft, journal};

const COUNT: u64 = 12;

fn lines() -> Vec<Vec<u8>> {
    journal(COUNT).into_iter().map(|line| [line, b"\n".to_vec()].concat()).collect()
}

/// Checks a journal file as a reader would, and its tree against `checkpoint`.
fn check(bytes: &[u8], depth: Depth, checkpoint: &Checkpoint) -> Vec<Problem> {
    let mut verifier = ChainVerifier::new(depth);
    let (mut offset, mut problems) = (0, Vec::new());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        problems.extend(verifier.push(offset, line));
        offset += line.len() as u64;
    }
    problems.extend(verifier.finish(offset, checkpoint));
    problems
}

fn checkpoint(lines: &[Vec<u8>]) -> Checkpoint {
    let mut verifier = ChainVerifier::new(Depth::Chain);
    for line in lines {
        assert_eq!(verifier.push(0, line), []);
    }
    Checkpoint::new("example.org/log", verifier.tip().tree.size(), verifier.tip().tree.root()).unwrap()
}

#[test]
fn an_untouched_log_has_no_problems_and_names_its_key() {
    let lines = lines();
    let mut verifier = ChainVerifier::new(Depth::Signatures);
    for line in &lines {
        assert_eq!(verifier.push(0, line), []);
    }
    assert_eq!(verifier.finish(0, &checkpoint(&lines)), None);
    assert_eq!(verifier.tip().next_seq, COUNT);
    assert_eq!(verifier.tip().last_hash, Hash::of(lines.last().unwrap().trim_ascii_end()));
    assert_eq!(verifier.keys().iter().collect::<Vec<_>>(), [TestSigner::new(7).key_id()]);
}

#[test]
fn a_check_resumes_from_a_stored_tip() {
    let lines = lines();
    let mut first = ChainVerifier::new(Depth::Chain);
    lines.iter().take(5).for_each(|line| assert_eq!(first.push(0, line), []));
    let stored = serde_json::to_string(first.tip()).unwrap();
    let tip: Tip = serde_json::from_str(&stored).unwrap();
    let mut second = ChainVerifier::resume(tip, Depth::Signatures);
    lines.iter().skip(5).for_each(|line| assert_eq!(second.push(0, line), []));
    assert_eq!(second.finish(0, &checkpoint(&lines)), None);
}

/// Seals `drafts` into one chain, whatever they say.
fn chained(drafts: impl IntoIterator<Item = Draft>) -> Vec<u8> {
    let (mut prev, mut bytes) = (Hash::ZERO, Vec::new());
    for draft in drafts {
        let sealed = seal(&draft, &prev, &TestSigner::new(7)).unwrap();
        bytes.extend_from_slice(&sealed.line);
        bytes.push(b'\n');
        prev = sealed.hash;
    }
    bytes
}

fn whats(bytes: &[u8]) -> Vec<String> {
    let mut verifier = ChainVerifier::new(Depth::Signatures);
    bytes.split_inclusive(|b| *b == b'\n').flat_map(|line| verifier.push(0, line)).map(|p| p.what).collect()
}

#[test]
fn time_epoch_and_numbers_may_not_go_back_even_when_the_chain_holds() {
    let early = Draft { ts: Timestamp::from_micros(1_767_323_045_000_005), ..draft(1) };
    assert_eq!(
        whats(&chained([draft(0), early])),
        ["ts 2026-01-02T03:04:05.000005Z is earlier than 2026-01-02T03:04:05.000006Z before it"]
    );
    let fenced = Draft { epoch: 0, ..draft(1) };
    assert_eq!(whats(&chained([draft(0), fenced])), ["epoch 0 is less than 1 before it"]);
    assert_eq!(whats(&chained([draft(0), draft(2), draft(3)])), ["seq is 2, expected 1"]);
    assert_eq!(whats(&chained([draft(1)])), ["seq is 1, expected 0"]);
}

#[test]
fn a_record_signed_by_another_key_shows_among_the_keys() {
    let first = seal(&draft(0), &Hash::ZERO, &TestSigner::new(7)).unwrap();
    let second = seal(&draft(1), &first.hash, &TestSigner::new(8)).unwrap();
    let mut verifier = ChainVerifier::new(Depth::Signatures);
    for line in [first.line, second.line] {
        assert_eq!(verifier.push(0, &[line, b"\n".to_vec()].concat()), []);
    }
    assert_eq!(verifier.keys().len(), 2);
    assert_eq!(verifier.last_key(), Some(TestSigner::new(8).key_id()));
}

#[test]
fn a_changed_signature_is_found_by_the_deep_check_at_its_record() {
    let mut line = lines().remove(0);
    let at = line.len() - 4;
    line[at] = if line[at] == b'0' { b'1' } else { b'0' };
    assert!(Record::verify_signature(line.trim_ascii_end()).is_err());
    let problems = ChainVerifier::new(Depth::Signatures).push(77, &line);
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].seq, problems[0].offset), (Some(0), 77));
    assert!(problems[0].what.starts_with("the signature is not by ed25519:"), "{}", problems[0].what);
}

/// What is done to a log. Places are record numbers.
#[derive(Debug, Clone)]
enum Damage {
    Flip { record: usize, at: prop::sample::Index, bit: u8 },
    Drop(usize),
    Repeat(usize),
    Swap(usize),
    Truncate(prop::sample::Index),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let record = || 0..COUNT as usize;
    prop_oneof![
        (record(), any::<prop::sample::Index>(), 0..8_u8).prop_map(|(record, at, bit)| Damage::Flip {
            record,
            at,
            bit
        }),
        record().prop_map(Damage::Drop),
        record().prop_map(Damage::Repeat),
        (0..COUNT as usize - 1).prop_map(Damage::Swap),
        any::<prop::sample::Index>().prop_map(Damage::Truncate),
    ]
}

/// Damages the log and says at which record.
fn damage(lines: &mut Vec<Vec<u8>>, what: &Damage) -> usize {
    match what {
        Damage::Flip { record, at, bit } => {
            let line = &mut lines[*record];
            let at = at.index(line.len());
            line[at] ^= 1 << bit;
            *record
        }
        Damage::Drop(record) => {
            lines.remove(*record);
            *record
        }
        Damage::Repeat(record) => {
            lines.insert(*record, lines[*record].clone());
            record + 1
        }
        Damage::Swap(record) => {
            lines.swap(*record, record + 1);
            *record
        }
        Damage::Truncate(at) => {
            let mut left = at.index(lines.concat().len());
            let record = lines.iter().position(|line| {
                let here = left < line.len();
                left -= if here { 0 } else { line.len() };
                here
            });
            let record = record.unwrap();
            lines.truncate(record + 1);
            lines[record].truncate(left);
            record
        }
    }
}

proptest! {
    #[test]
    fn any_damage_is_found_where_it_was_done(what in any_damage()) {
        let mut lines = lines();
        let checkpoint = checkpoint(&lines);
        let record = damage(&mut lines, &what);
        let start = |record: usize| lines.iter().take(record).map(Vec::len).sum::<usize>() as u64;
        let bytes = lines.concat();

        let shallow = check(&bytes, Depth::Chain, &checkpoint);
        prop_assert!(!shallow.is_empty());
        // A changed body shows in the line after it, or in the checkpoint if it was the last.
        prop_assert!((start(record)..=start(record + 1)).contains(&shallow[0].offset), "{:?}", shallow[0]);

        let deep = check(&bytes, Depth::Signatures, &checkpoint);
        prop_assert_eq!(deep[0].offset, start(record), "{:?}", &deep[0]);
    }

    #[test]
    fn a_log_checked_line_by_line_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let checkpoint = Checkpoint::new("o", 0, Hash::ZERO).unwrap();
        prop_assert!(!check(&bytes, Depth::Signatures, &checkpoint).is_empty());
    }
}
