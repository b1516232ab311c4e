//! Signatures of documents: bound to the bytes, the name and the key.

use ostk_log::{DocumentError, DocumentStatement, Signer, Timestamp};

use crate::support::TestSigner;

fn signer() -> TestSigner {
    TestSigner::new(7)
}

const PATH: &str = ".ostk/pins/fix-bug/pin.caps";

fn signed() -> String {
    DocumentStatement::sign(PATH, b"write: src\n", Timestamp::from_micros(1_767_323_045_000_000), &signer())
        .unwrap()
}

#[test]
fn a_signature_says_who_signed_what_and_when() {
    let statement = DocumentStatement::verify(signed().as_bytes(), PATH, b"write: src\n").unwrap();
    assert_eq!((statement.path.as_str(), &statement.key), (PATH, signer().key_id()));
    assert!(signed().contains("\n2026-01-02T03:04:05"), "{}", signed());
}

#[test]
fn another_text_another_name_and_another_key_are_not_signed() {
    let verify = |signature: &str, path: &str, bytes: &[u8]| {
        DocumentStatement::verify(signature.as_bytes(), path, bytes).unwrap_err()
    };
    assert!(matches!(verify(&signed(), PATH, b"write: .\n"), DocumentError::Changed { .. }));
    let other = verify(&signed(), ".ostk/pins/other/pin.caps", b"write: src\n");
    assert!(matches!(other, DocumentError::OtherDocument(path) if path == PATH));
    let moved = signed().replace("fix-bug", "other");
    assert!(matches!(verify(&moved, ".ostk/pins/other/pin.caps", b"write: src\n"), DocumentError::Note(_)));
    let key = signer().key_id().to_string();
    let claimed = signed().replace(&key, "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
    assert!(matches!(verify(&claimed, PATH, b"write: src\n"), DocumentError::Note(_)));
    assert!(matches!(verify("no note", PATH, b""), DocumentError::Note(_)));
}
