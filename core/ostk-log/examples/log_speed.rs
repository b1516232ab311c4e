//! Prints how many records per second this machine seals, checks by chain and checks by signature.
//!
//! `cargo run --release -p ostk-log --example log_speed [COUNT]`; signing uses a fixed key that protects nothing.
#![expect(clippy::print_stdout, reason = "printing is what an example is for")]

use std::{error::Error, time::Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use ostk_log::{ChainVerifier, Depth, Draft, Hash, KeyId, Record, Signer, Timestamp, seal};
use serde_json::json;

struct FixedKey {
    key: SigningKey,
    id: KeyId,
}

impl Signer for FixedKey {
    fn key_id(&self) -> &KeyId {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// A record as a file write leaves it.
fn draft(seq: u64) -> Draft {
    let body = json!({
        "path": "core/ostk-log/src/record.rs",
        "generation": seq,
        "base": Hash::ZERO,
        "blob": Hash::ZERO,
        "size_bytes": 4096 + seq,
        "outcome": "clean",
    });
    Draft {
        seq,
        ts: Timestamp::from_micros(1_767_323_045_000_006 + seq),
        epoch: 1,
        actor: "agent:worker-a".into(),
        event: "file.write.receipt".into(),
        body: body.as_object().cloned().unwrap_or_default(),
    }
}

/// Records per timed round: short enough that a busy machine leaves some rounds undisturbed.
const ROUND: usize = 1000;

/// Runs `work` on rounds of `items` and prints its speed in the fastest and in the median one.
fn report<T>(what: &str, items: &[T], mut work: impl FnMut(&[T])) {
    let mut micros: Vec<f64> = Vec::new();
    for round in items.chunks_exact(ROUND) {
        let begun = Instant::now();
        work(round);
        micros.push(begun.elapsed().as_secs_f64() * 1e6 / ROUND as f64);
    }
    micros.sort_by(f64::total_cmp);
    let (Some(best), Some(median)) = (micros.first(), micros.get(micros.len() / 2)) else { return };
    println!("{what:<12} {:>9.0} records/s at best ({best:.2} µs each), median {median:.2} µs", 1e6 / best);
}

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let key = SigningKey::from_bytes(&[7; 32]);
    let signer = FixedKey { id: KeyId::from_public_key(key.verifying_key().to_bytes()), key };
    let drafts: Vec<Draft> = (0..count).map(draft).collect();

    let (mut prev, mut lines) = (Hash::ZERO, Vec::with_capacity(drafts.len()));
    report("seal", &drafts, |round| {
        for draft in round {
            let Ok(sealed) = seal(draft, &prev, &signer) else { continue };
            prev = sealed.hash;
            lines.push([sealed.line.as_slice(), b"\n"].concat());
        }
    });
    let mut problems = 0;
    report("parse", &lines, |round| {
        problems += round.iter().filter(|line| Record::parse(line.trim_ascii_end()).is_err()).count();
    });
    let mut verifier = ChainVerifier::new(Depth::Chain);
    report("check chain", &lines, |round| {
        problems += round.iter().map(|line| verifier.push(0, line).len()).sum::<usize>();
    });
    let mut verifier = ChainVerifier::new(Depth::Signatures);
    report("check deep", lines.get(..lines.len().min(20_000)).unwrap_or_default(), |round| {
        problems += round.iter().map(|line| verifier.push(0, line).len()).sum::<usize>();
    });
    println!(
        "{} bytes per record, {problems} problems",
        lines.iter().map(Vec::len).sum::<usize>() / lines.len().max(1)
    );
    Ok(())
}
