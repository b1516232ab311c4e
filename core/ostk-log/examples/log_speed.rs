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

fn report(what: &str, count: usize, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{what:<14} {:>10.0} records/s {:>8.2} µs each",
        count as f64 / seconds,
        seconds * 1e6 / count as f64
    );
}

fn check(lines: &[Vec<u8>], depth: Depth) -> usize {
    let mut verifier = ChainVerifier::new(depth);
    lines.iter().map(|line| verifier.push(0, line).len()).sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let key = SigningKey::from_bytes(&[7; 32]);
    let signer = FixedKey { id: KeyId::from_public_key(key.verifying_key().to_bytes()), key };
    let drafts: Vec<Draft> = (0..count).map(draft).collect();

    let (mut prev, mut lines) = (Hash::ZERO, Vec::with_capacity(drafts.len()));
    let begun = Instant::now();
    for draft in &drafts {
        let sealed = seal(draft, &prev, &signer)?;
        prev = sealed.hash;
        lines.push(sealed.line);
    }
    report("seal", lines.len(), begun);

    let begun = Instant::now();
    let parsed = lines.iter().filter(|line| Record::parse(line).is_ok()).count();
    report("parse", parsed, begun);

    lines.iter_mut().for_each(|line| line.push(b'\n'));
    let begun = Instant::now();
    let mut problems = check(&lines, Depth::Chain);
    report("check chain", lines.len(), begun);

    let few = lines.get(..lines.len().min(20_000)).unwrap_or_default();
    let begun = Instant::now();
    problems += check(few, Depth::Signatures);
    report("check deep", few.len(), begun);

    let bytes: usize = lines.iter().map(Vec::len).sum();
    println!("{} bytes per record, {problems} problems", bytes / lines.len().max(1));
    Ok(())
}
