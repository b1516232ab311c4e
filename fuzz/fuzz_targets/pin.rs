//! A `pin.caps`, and the operator's Cedar rules beside it.
//!
//! The text before the first NUL is the pin, the rest the rules. Neither may panic; a pin that parses alone also loads
//! alone, and a loaded policy answers a request on any path, the same by its index and by Cedar.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use ostk_policy::{Actor, ActorKind, Class, Documents, Pin, Policy, Request, Resource};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pin, custom) = match text.split_once('\0') {
        Some((pin, custom)) => (pin, Some(custom.to_owned())),
        None => (text, None),
    };
    let parsed = Pin::parse("fuzzed", pin);
    let alone = custom.is_none();
    let documents = Documents { pins: BTreeMap::from([("fuzzed".to_owned(), pin.to_owned())]), custom, ..Documents::default() };
    match Policy::load(&documents) {
        Ok(policy) => {
            for (class, resource) in resources(pin) {
                let request = request(class, resource);
                let (indexed, by_cedar) = (policy.decide(&request), policy.decide_by_cedar(&request));
                assert_eq!(indexed.effect, by_cedar.effect, "{request:?}");
            }
        }
        Err(errors) => assert!(!alone || parsed.is_err(), "parses, does not load: {errors}"),
    }
});

/// Requests made of the pin's own words, which come closest to its rules.
fn resources(pin: &str) -> Vec<(Class, Resource)> {
    let words: Vec<&str> = pin.split_whitespace().filter(|word| word.len() < 200).take(8).collect();
    let path = |word: &&str| (Class::FileWrite, Resource::Path((*word).to_owned()));
    let mut resources: Vec<_> = words.iter().map(path).collect();
    resources.push((Class::ShellExec, Resource::Command(words.join(" "))));
    resources
}

fn request(class: Class, resource: Resource) -> Request {
    let actor = Actor { pin: Some("fuzzed".to_owned()), ..Actor::new(ActorKind::Agent, "worker") };
    Request::new(actor, "fuzz", class, resource)
}
