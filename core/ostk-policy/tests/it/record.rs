//! What a log keeps of a verdict's inputs, and that the verdict can be computed again from it.

use ostk_policy::{Class, Documents, MAX_PINS, Policy, Request, Resource};

use crate::{ask, load, path, pinned, tool};

#[test]
fn a_request_is_recorded_in_this_form_and_reads_back() {
    let mut request = ask(Class::FileWrite, path("infra/deploy.tf"));
    request.actor.pin = Some("fix-bug".to_owned());
    request.actor.tools = Some(vec![tool("file:edit", Some("src"))]);
    let text = serde_json::to_string(&request).expect("serialises");
    assert_eq!(
        text,
        r#"{"actor":{"kind":"agent","lineage":"worker-b","pin":"fix-bug","tools":[{"class":"file:edit","pattern":"src"}]},"call":"file.write","class":"file_write","resource":{"kind":"path","name":"infra/deploy.tf"}}"#
    );
    assert_eq!(serde_json::from_str::<Request>(&text).expect("reads back"), request);
    let none = serde_json::to_value(ask(Class::KernelRead, Resource::None)).expect("serialises");
    assert_eq!(none["resource"], serde_json::json!({ "kind": "none" }));
}

#[test]
fn a_request_that_is_only_half_understood_is_not_judged() {
    let text = r#"{"actor":{"kind":"agent","lineage":"w","tier":3},"call":"ps","class":"kernel_read","resource":{"kind":"none"}}"#;
    assert!(serde_json::from_str::<Request>(text).is_err());
}

#[test]
fn a_stranger_computes_the_same_verdict_from_the_recorded_inputs() {
    let documents = pinned("write: src\ndeny-path: src/secret\n");
    let mut request = ask(Class::FileWrite, path("src/secret/a"));
    request.actor.pin = Some("fix-bug".to_owned());
    let verdict = load(&documents).decide(&request);

    let documents: Documents =
        serde_json::from_str(&serde_json::to_string(&documents).expect("text")).expect("documents");
    let request: Request =
        serde_json::from_str(&serde_json::to_string(&request).expect("text")).expect("request");
    let policy = load(&documents);
    assert_eq!(policy.decide(&request), verdict);
    assert_eq!(policy.decide_by_cedar(&request), verdict);
}

#[test]
fn the_fingerprint_follows_every_text_and_nothing_else() {
    let one = load(&pinned("read: a\n")).fingerprint();
    assert_eq!(one, load(&pinned("read: a\n")).fingerprint());
    assert_ne!(one, load(&pinned("read: a\n\n")).fingerprint());
    assert_ne!(one, load(&Documents::default()).fingerprint());
    let renamed =
        Documents { pins: [("other".to_owned(), "read: a\n".to_owned())].into(), ..Documents::default() };
    assert_ne!(one, load(&renamed).fingerprint());
}

#[test]
fn a_name_that_is_no_name_and_too_many_pins_are_refused() {
    for name in ["", "../x", "a/b", ".hidden", "a b", "a\"b"] {
        let documents = Documents { pins: [(name.to_owned(), String::new())].into(), ..Documents::default() };
        assert!(Policy::load(&documents).is_err(), "{name:?}");
    }
    let pins = (0..=MAX_PINS).map(|n| (format!("p{n}"), String::new())).collect();
    assert!(Policy::load(&Documents { pins, ..Documents::default() }).is_err());
}
