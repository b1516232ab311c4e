//! The `.primefile` and the ENTITYFILE: what is read, and what is wrong with one that is not accepted.

use ostk_policy::{Entityfile, LoadErrors, Primefile};
use proptest::prelude::*;

const PRIME: &str = "-----BEGIN DEMO KERNEL DECLARATION-----
KERNEL: @demo.prime
VERSION: 0.1.0
AUTHORITY
  Primary: ada
KEYS
  T1 Kernel
    Fingerprint: 89ABCDEF0123456789ABCDEF0123456789ABCDEF
    Cross-signed by: T0 Human Root
LINEAGE
  Chain since: 2026-01-02
-----END DEMO KERNEL DECLARATION-----
";

const ENTITY: &str = "ENTITYFILE v1 chain=root-to-ci
---
entity:
  name: demo
  keys:
    ci: {fingerprint: 89ABCDEF0123456789ABCDEF0123456789ABCDEF, certified_by: root, expires: 2028-01-01}
  laws: [invisible-write, ephemeral, filesystem, OCC, invisible-infra]
  trust: {model: web, tiers: [T0, T1, T2, T3], enforcement: kernel}
  governance: {model: negotiate, mutation_requires: [human, kernel]}
";

fn said<T>(result: Result<T, LoadErrors>) -> Vec<String> {
    result.err().map(|errors| errors.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn a_declaration_is_read_by_the_paths_of_its_names() {
    let file = Primefile::parse(PRIME).expect("a good declaration");
    assert_eq!(file.kernel(), Some("@demo.prime"));
    assert_eq!(file.get(&["AUTHORITY", "Primary"]), Some("ada"));
    assert_eq!(file.get(&["KEYS", "T1 Kernel", "Cross-signed by"]), Some("T0 Human Root"));
    let prints: Vec<_> = file.fingerprints().collect();
    assert_eq!(prints, [("T1 Kernel", "89ABCDEF0123456789ABCDEF0123456789ABCDEF")]);
    let generic = "-----BEGIN NEW KERNEL DECLARATION-----\nKERNEL: @new.prime\n-----END-----\n";
    assert!(Primefile::parse(generic).is_ok());
}

#[test]
fn a_mistake_in_a_declaration_is_named_by_its_place() {
    let text = "-----BEGIN X KERNEL DECLARATION-----\nVERSOIN: 1\nKEYS\n  T1 Kernel\n    Fingerprint: 12\n      Name: x\nKEYS: y\nCREATED:\n-----END-----\n";
    assert_eq!(
        said(Primefile::parse(text)),
        [
            ".primefile:2:1: unknown name \"VERSOIN\" (did you mean `VERSION`?)",
            ".primefile:5:5: a fingerprint is 40 or 64 hexadecimal digits",
            ".primefile:6:7: the indentation fits no section above (two spaces for each level)",
            ".primefile:7:1: KEYS is a section and has no value",
            ".primefile:8:1: CREATED needs a value (CREATED: …)",
            ".primefile:9:1: KERNEL is missing (KERNEL: @demo.prime)",
        ]
    );
    assert!(said(Primefile::parse("KERNEL: x\n"))[0].contains("no BEGIN"));
    assert!(
        said(Primefile::parse("-----BEGIN X KERNEL DECLARATION-----\nKERNEL: x\n"))[0].contains("no END")
    );
}

#[test]
fn an_entity_is_read_by_the_paths_of_its_members() {
    let file = Entityfile::parse(ENTITY).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((file.name(), file.chain()), ("demo", Some("root-to-ci")));
    assert_eq!(file.text(&["keys", "ci", "certified_by"]), Some("root"));
    assert_eq!(file.list(&["governance", "mutation_requires"]).collect::<Vec<_>>(), ["human", "kernel"]);
}

#[test]
fn a_mistake_in_an_entity_is_named_by_its_place() {
    let text = "ENTITYFILE v1\n---\nentity:\n  nmae: demo\n  laws: x\n  keys:\n    cii: {fingerprint: 12}\nmore: 1\n";
    assert_eq!(
        said(Entityfile::parse(text)),
        [
            "ENTITYFILE:8:1: unknown key \"more\" (known: entity)",
            "ENTITYFILE:4:3: `name` is missing",
            "ENTITYFILE:4:3: unknown key \"nmae\" (did you mean `name`?)",
            "ENTITYFILE:5:9: `laws` is a list",
            "ENTITYFILE:7:5: unknown key \"cii\" (did you mean `ci`?)",
            "ENTITYFILE:7:24: a fingerprint is 40 or 64 hexadecimal digits",
        ]
    );
    assert!(said(Entityfile::parse("entity:\n"))[0].contains("the first line is"));
    assert!(said(Entityfile::parse("ENTITYFILE v1\n---\n"))[0].contains("no `entity:`"));
}

#[test]
fn yaml_that_does_not_read_the_same_to_everyone_is_refused() {
    let body = |yaml: &str| said(Entityfile::parse(&format!("ENTITYFILE v1\n---\n{yaml}"))).join("\n");
    for (yaml, place, why) in [
        ("entity: &a {name: x}\n", ":3:", "anchors"),
        ("entity: {name: x, domain: *a}\n", ":3:", "YAML"),
        ("entity: !x {name: y}\n", ":3:", "tags"),
        ("entity: {name: x}\n---\nentity: {name: y}\n", ":5:", "second document"),
        ("entity:\n  name: x\n  name: y\n", ":5:3:", "already given on line 4"),
        ("entity: [\n", ":4:", "not YAML"),
        ("entity:\n  ? [a]\n  : b\n", ":4:", "a key is a word"),
    ] {
        let said = body(yaml);
        assert!(said.contains(place) && said.contains(why), "{yaml}: {said}");
    }
    assert!(body(&format!("entity: {}{}", "[".repeat(100), "]".repeat(100))).contains("nested deeper"));
    assert!(!body(&format!("entity: {}", "[".repeat(100_000))).is_empty(), "no depth exhausts the stack");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in "(\\PC|[\n\r\t :\"'#*&!?>|{}\\[\\],-]|  |- |: |entity|name|KEYS){0,120}") {
        drop(Entityfile::parse(&text));
        drop(Entityfile::parse(&format!("ENTITYFILE v1\n---\n{text}")));
        drop(Primefile::parse(&format!("-----BEGIN X KERNEL DECLARATION-----\n{text}\n-----END-----\n")));
    }
}
