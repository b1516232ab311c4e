//! A signer with a known key and a journal to test on: shared by the modules of this binary.

use ed25519_dalek::{Signer as _, SigningKey};
use ostk_log::{Draft, Hash, KeyId, Sealed, Signer, Timestamp, seal};
use serde_json::{Map, Value, json};

/// Signs with a key made of one repeated byte.
pub(crate) struct TestSigner {
    key: SigningKey,
    id: KeyId,
}

impl TestSigner {
    pub(crate) fn new(byte: u8) -> Self {
        let key = SigningKey::from_bytes(&[byte; 32]);
        let id = KeyId::from_public_key(key.verifying_key().to_bytes());
        Self { key, id }
    }
}

impl Signer for TestSigner {
    fn key_id(&self) -> &KeyId {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// The draft at `seq` of the test journal: one second apart, a new epoch every five records.
pub(crate) fn draft(seq: u64) -> Draft {
    Draft {
        seq,
        ts: Timestamp::from_micros(1_767_323_045_000_006 + seq * 1_000_000),
        epoch: 1 + seq / 5,
        actor: if seq.is_multiple_of(3) { "kernel".into() } else { "agent:worker-a".into() },
        event: "file.write.receipt".into(),
        body: object(
            json!({"path": format!("src/part {seq}.rs"), "bytes": seq * 17, "clean": true, "text": "→ \"ok\"\n"}),
        ),
    }
}

/// The first `count` lines of the test journal, without newlines.
pub(crate) fn journal(count: u64) -> Vec<Vec<u8>> {
    let signer = TestSigner::new(7);
    let mut prev = Hash::ZERO;
    let mut lines = Vec::new();
    for seq in 0..count {
        let Sealed { line, hash } = seal(&draft(seq), &prev, &signer).expect("the test journal seals");
        lines.push(line);
        prev = hash;
    }
    lines
}
