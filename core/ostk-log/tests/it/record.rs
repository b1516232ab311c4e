//! A record has one spelling: what is sealed reads back, and nothing else does.

use ostk_log::{Draft, Hash, Header, MAX_DEPTH, MAX_LINE, ParseError, Record, SealError, seal};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{TestSigner, draft, journal, object};

fn seal_body(body: Map<String, Value>) -> Result<Vec<u8>, SealError> {
    seal(&Draft { body, ..draft(0) }, &Hash::ZERO, &TestSigner::new(7)).map(|sealed| sealed.line)
}

#[test]
fn a_sealed_record_is_one_line_whose_members_stand_in_order() {
    let line = String::from_utf8(journal(1).remove(0)).unwrap();
    let zeros = "0".repeat(64);
    let head = format!(
        r#"{{"seq":0,"ts":"2026-01-02T03:04:05.000006Z","epoch":1,"actor":"kernel","event":"file.write.receipt","body":{{"bytes":0,"clean":true,"path":"src/part 0.rs","text":"→ \"ok\"\n"}},"prev_hash":"{zeros}","key":"ed25519:6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw","sig":""#
    );
    assert!(line.starts_with(&head), "{line}");
    assert_eq!(line.len(), head.len() + 128 + 2);
    assert!(!line.contains('\n'));
}

#[test]
fn a_record_reads_back_as_it_was_drafted_and_its_signature_holds() {
    for (seq, line) in (0..).zip(journal(7)) {
        let record = Record::parse(&line).unwrap();
        Record::verify_signature(&line).unwrap();
        assert_eq!(Draft::from(record), draft(seq));
    }
}

#[test]
fn the_order_in_which_a_body_was_built_does_not_show() {
    let forwards = object(json!({"a": 1, "b": {"c": 2, "d": [{"e": 3, "f": 4}]}}));
    let backwards = object(json!({"b": {"d": [{"f": 4, "e": 3}], "c": 2}, "a": 1}));
    assert_eq!(seal_body(forwards).unwrap(), seal_body(backwards).unwrap());
}

#[test]
fn a_record_fits_an_entry_of_sixteen_bits_or_is_refused() {
    let with_text = |len| object(json!({"text": "x".repeat(len)}));
    let overhead = seal_body(with_text(0)).unwrap().len();
    let longest = seal_body(with_text(MAX_LINE - 1 - overhead)).unwrap();
    assert_eq!(longest.len() + 1, MAX_LINE);
    Record::parse(&longest).unwrap();
    let refused = seal_body(with_text(MAX_LINE - overhead));
    assert!(matches!(refused, Err(SealError::TooLong { len, .. }) if len == MAX_LINE + 1));
    let mut padded = longest;
    padded.push(b' ');
    assert_eq!(Record::parse(&padded), Err(ParseError::TooLong(MAX_LINE)));
}

#[test]
fn a_body_nests_to_the_limit_and_no_deeper() {
    let nested = |depth: usize| object((1..depth).fold(json!({}), |inner, _| json!({"in": inner})));
    let line = seal_body(nested(MAX_DEPTH)).unwrap();
    Record::parse(&line).unwrap();
    assert!(matches!(seal_body(nested(MAX_DEPTH + 1)), Err(SealError::Body(_))));
    let deeper = String::from_utf8(line).unwrap().replace("{}", r#"{"in":{}}"#);
    assert!(matches!(Record::parse(deeper.as_bytes()), Err(ParseError::Body(_))));
}

#[test]
fn names_that_would_need_escapes_are_refused() {
    for actor in ["", "human:\"ada\"", "human:a\\b", "human:a\nb", &"x".repeat(257)] {
        let sealed = seal(&Draft { actor: actor.into(), ..draft(0) }, &Hash::ZERO, &TestSigner::new(7));
        assert!(matches!(sealed, Err(SealError::Actor(_))), "{actor:?} was accepted");
    }
    for event in ["", "File.Write", "a b", "é", &"x".repeat(65)] {
        let sealed = seal(&Draft { event: event.into(), ..draft(0) }, &Hash::ZERO, &TestSigner::new(7));
        assert!(matches!(sealed, Err(SealError::Event(_))), "{event:?} was accepted");
    }
    let unicode = Draft { actor: "human:Žofie".into(), ..draft(0) };
    let sealed = seal(&unicode, &Hash::ZERO, &TestSigner::new(7)).unwrap();
    assert_eq!(Record::parse(&sealed.line).unwrap().actor, "human:Žofie");
}

#[test]
fn another_spelling_of_the_same_record_is_refused() {
    let line = String::from_utf8(journal(2).remove(1)).unwrap();
    let spellings = [
        ("\"seq\":1", "\"seq\":01"),
        ("\"seq\":1", "\"seq\":1.0"),
        ("\"seq\":1", "\"seq\": 1"),
        ("\"seq\":1", "\"seq\":1,\"seq\":1"),
        ("\"seq\":1", "\"extra\":1,\"seq\":1"),
        ("000006Z", "000006+00:00"),
        ("\"epoch\":1", "\"epoch\":+1"),
        ("\"epoch\":1", "\"epoch\":18446744073709551616"),
        ("worker-a", "\\u0077orker-a"),
        ("\"bytes\":17", "\"bytes\":17,\"bytes\":17"),
        ("\"bytes\":17", "\"bytes\":1.7e1"),
        ("\"bytes\":17,\"clean\":true", "\"clean\":true,\"bytes\":17"),
        ("\"clean\":true", "\"clean\" :true"),
        ("},\"prev_hash\"", "},\"extra\":{},\"prev_hash\""),
        ("\"ed25519:6kps", "\"ED25519:6kps"),
    ];
    for (from, to) in spellings.into_iter().filter(|(from, _)| line.contains(from)) {
        let other = line.replacen(from, to, 1);
        assert!(Record::parse(other.as_bytes()).is_err(), "{to} was accepted");
    }
    let upper = line.split_once("\"sig\":\"").map(|(a, sig)| format!("{a}\"sig\":\"{}", sig.to_uppercase()));
    assert!(Record::parse(upper.unwrap().as_bytes()).is_err());
    assert!(Record::parse(format!("{line} ").as_bytes()).is_err());
    assert!(Record::parse(format!("{line}\n").as_bytes()).is_err());
}

/// Any JSON value that a body may hold, not deep.
fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_reads_back_and_seals_to_the_same_bytes(value in any_value()) {
        let mut body = Map::new();
        body.insert("value".into(), value);
        let line = seal_body(body.clone()).unwrap();
        let record = Record::parse(&line).unwrap();
        prop_assert_eq!(&record.body, &body);
        prop_assert_eq!(seal_body(record.body).unwrap(), line);
    }

    #[test]
    fn arbitrary_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Record::parse(&bytes).is_err());
    }

    /// The independent reader is `serde_json` over the whole line; the scanner may not see another record than it.
    #[test]
    fn the_fast_scanner_the_strict_parser_and_serde_agree(
        at in any::<prop::sample::Index>(),
        put in prop_oneof![any::<u8>(), prop::sample::select(&b"\"{}[],:0\\ ."[..])],
        kind in 0..3,
    ) {
        let mut line = journal(2).remove(1);
        let at = at.index(line.len());
        match kind {
            0 => line[at] = put,
            1 => line.insert(at, put),
            _ => drop(line.remove(at)),
        }
        let strict = Record::parse(&line);
        if let Ok(record) = strict {
            let header = Header::scan(&line).unwrap();
            let loose: Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(loose.as_object().unwrap().len(), 9);
            prop_assert_eq!((record.seq, record.ts, record.epoch), (header.seq, header.ts, header.epoch));
            prop_assert_eq!(loose["seq"].as_u64(), Some(header.seq));
            prop_assert_eq!(loose["epoch"].as_u64(), Some(header.epoch));
            prop_assert_eq!(&loose["ts"], &json!(header.ts.to_string()));
            prop_assert_eq!(loose["actor"].as_str(), Some(header.actor));
            prop_assert_eq!(loose["event"].as_str(), Some(header.event));
            prop_assert_eq!(&loose["body"], &Value::Object(record.body));
            prop_assert_eq!(&loose["prev_hash"], &json!(header.prev_hash.to_string()));
            prop_assert_eq!(&loose["key"], &json!(header.key.to_string()));
            prop_assert_eq!(&loose["sig"], &json!(hex::encode(header.sig)));
        }
    }
}
