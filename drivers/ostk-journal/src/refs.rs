//! Which blobs a record refers to: string members of its body called `blob` or ending in `_blob`.
//!
//! Works on the body's bytes. A body has one spelling, in which the bytes `blob":"` stand only at the end of a member's
//! name before a string: inside a string the quotes would be escaped.

use memchr::memmem;
use ostk_log::Hash;

const MEMBER: &[u8] = b"blob\":\"";

/// The blobs that a record's body (or its whole line) names, in order. Values that are no digest are not references.
pub fn blob_refs(body: &[u8]) -> impl Iterator<Item = Hash> {
    memmem::find_iter(body, MEMBER).filter_map(|at| {
        let before = body.get(..at)?;
        let named = before.ends_with(b"_") || before.ends_with(b"{\"") || before.ends_with(b",\"");
        let digits = body.get(at + MEMBER.len()..at + MEMBER.len() + 64).filter(|_| named)?;
        let closed = body.get(at + MEMBER.len() + 64) == Some(&b'"');
        std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| closed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_named_blob_are_references_and_nothing_else_is() {
        let hash = Hash::of(b"x");
        let refs = |body: serde_json::Value| blob_refs(body.to_string().as_bytes()).collect::<Vec<_>>();
        assert_eq!(refs(serde_json::json!({"blob": hash, "a": {"old_blob": hash}})), [hash, hash]);
        assert_eq!(refs(serde_json::json!({"a": 1, "blob": hash})), [hash]);
        for none in [
            serde_json::json!({"blob": "short"}),
            serde_json::json!({"blobs": hash}),
            serde_json::json!({"myblob": hash}),
            serde_json::json!({"x\"blob": hash}),
            serde_json::json!({"text": format!("{{\"blob\":\"{hash}\"}}")}),
            serde_json::json!({"blob": format!("{hash}0")}),
        ] {
            assert_eq!(refs(none.clone()), [], "{none}");
        }
    }
}
