//! Plants secrets in texts in every form and looks for what is left of them.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;

use super::{
    super::{Secret, Weak},
    Masker, quick,
};

const KEY: &str = "sk-ant-api03-Qk9_Zx+7/wE=f%Ld";

fn masker(secrets: &[(&str, &str)]) -> Masker {
    let secrets: Vec<_> =
        secrets.iter().map(|(name, text)| (*name, Secret::new((*text).to_owned()).unwrap())).collect();
    // Secrets of few letters overlap themselves and each other; only short ones are refused here.
    let short = |secret: &Secret| secret.weakness().filter(|why| *why == Weak::Short);
    Masker::of(secrets.iter().map(|(name, secret)| (*name, secret)), short).unwrap()
}

fn masked(secret: &str, text: &str) -> String {
    String::from_utf8(masker(&[("KEY", secret)]).mask(text.as_bytes()).into_owned()).unwrap()
}

fn hex(text: &[u8]) -> String {
    text.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every byte percent-encoded where `pick` says so.
fn percent(text: &str, pick: impl Fn(u8) -> bool) -> String {
    text.bytes().map(|b| if pick(b) { format!("%{b:02X}") } else { char::from(b).to_string() }).collect()
}

#[test]
fn a_secret_is_replaced_by_its_name_and_length_and_the_rest_stays() {
    assert_eq!(masked(KEY, &format!("key={KEY}; and more")), "key=[secret KEY, 29 characters]; and more");
    assert_eq!(masked(KEY, &format!("{KEY}{KEY}")), "[secret KEY, 29 characters][secret KEY, 29 characters]");
}

#[test]
fn a_secret_split_by_the_means_of_a_program_is_found() {
    let (a, b) = KEY.split_at(11);
    let json = serde_json::Value::String(
        STANDARD
            .encode(KEY.repeat(9))
            .as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8(line.to_vec()).unwrap() + "\n")
            .collect(),
    )
    .to_string();
    let letters: Vec<String> = KEY.chars().map(|letter| format!("'{letter}'")).collect();
    let hexdump: Vec<String> = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let texts = [
        format!("\"{a}\" + \"{b}\""),
        format!("'{a}'\n        '{b}'"),
        format!("{a}\\\n{b}"),
        format!("[{}]", letters.join(", ")),
        hexdump.join(":"),
        hexdump.iter().map(|byte| format!("\\x{byte}")).collect(),
        hexdump.iter().map(|byte| format!("\\u00{byte}")).collect(),
        json,
        KEY.encode_utf16().flat_map(u16::to_le_bytes).map(char::from).collect(),
    ];
    for text in texts {
        assert!(masked(KEY, &text).contains("[secret KEY, 29 characters]"), "{text}");
    }
}

#[test]
fn parts_that_stand_far_apart_are_not_taken_for_a_secret() {
    let text = format!("alphabet{}soupbowl", " ".repeat(65));
    assert_eq!(masked("alphabetsoupbowl", &text), text);
}

#[test]
fn a_short_secret_is_not_masked_and_is_named() {
    let masker = masker(&[("PIN", "1234567"), ("KEY", "12345678")]);
    assert_eq!(masker.unmasked(), [("PIN".to_owned(), Weak::Short)]);
    assert_eq!(masker.mask(b"1234567"), Cow::Borrowed(b"1234567"));
    assert_eq!(masker.mask_text("12345678"), "[secret KEY, 8 characters]");
}

#[test]
fn a_secret_of_signs_that_split_strings_is_found_as_it_is() {
    assert_eq!(masked("+ , + . + :", "x+ , + . + :x"), "x[secret KEY, 11 characters]x");
}

#[test]
fn of_secrets_that_begin_alike_the_longest_gives_the_name() {
    let masker = masker(&[("A", "abcdefgh"), ("B", "abcdefghijkl")]);
    assert_eq!(
        masker.mask_text("abcdefghijkl abcdefghijk"),
        "[secret B, 12 characters] [secret A, 8 characters]ijk"
    );
}

#[test]
fn text_that_cannot_be_the_start_of_a_secret_is_not_held_back() {
    let mut stream = masker(&[("KEY", KEY)]).stream();
    assert_eq!(stream.push(b"progress 50 %... "), b"progress 50 %... ");
    assert_eq!(stream.push(b"done, sk-a"), b"done, ");
    assert_eq!(stream.push(b"nd so on"), b"sk-and so on");
    assert_eq!(stream.finish(), b"");
    assert_eq!(
        masker(&[("KEY", KEY)]).mask_so_far(format!("x {KEY} sk-a").as_bytes()),
        b"x [secret KEY, 29 characters] "
    );
}

#[test]
fn a_megabyte_without_a_secret_is_given_back_as_it_is() {
    let text: Vec<u8> =
        (0..1_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert!(matches!(masker(&[("KEY", KEY)]).mask(&text), Cow::Borrowed(same) if same == text));
}

#[test]
fn a_word_that_is_used_as_a_secret_stays_in_texts() {
    let word = Secret::new("password".to_owned()).unwrap();
    let masker = Masker::new([("WORD", &word)]).unwrap();
    assert_eq!(masker.mask_text("enter your password"), "enter your password");
    assert_eq!((masker.unmasked(), masker.reach()), (&[("WORD".to_owned(), Weak::Plain)][..], 0));
}

#[test]
fn the_names_of_the_secrets_in_a_text_are_told() {
    let masker = masker(&[("A", "abcdefgh"), ("B", KEY), ("C", "never there")]);
    let text = format!("{} and {}", hex(KEY.as_bytes()), "abcd\" + \"efgh");
    assert_eq!(masker.names_in(text.as_bytes()).into_iter().collect::<Vec<_>>(), ["A", "B"]);
    assert!(masker.names_in(b"nothing").is_empty());
}

#[test]
fn where_the_length_must_stay_each_byte_becomes_a_star() {
    let text = format!("[{KEY}] {} {KEY}", hex(KEY.as_bytes()));
    let stars = format!("[{}] {} {}", "*".repeat(29), "*".repeat(58), "*".repeat(29));
    for size in [1, 7, 64, 1000] {
        let mut stream = masker(&[("KEY", KEY)]).stream_of_same_length();
        let mut out: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| stream.push(piece)).collect();
        out.extend(stream.finish());
        assert_eq!(String::from_utf8(out).unwrap(), stars, "in pieces of {size}");
    }
}

#[test]
fn a_secret_over_the_end_of_a_piece_is_found_at_a_glance() {
    let masker = masker(&[("KEY", KEY)]);
    for before in ((super::PIECE_BYTES - 100)..(super::PIECE_BYTES + 2)).step_by(3) {
        for form in [KEY.to_owned(), percent(KEY, |_| true), format!("\\u0073{}", &KEY[1..])] {
            let text = format!("{}{form}", "%".repeat(before));
            assert!(quick::may_hold(&masker.tables, text.as_bytes()), "{before}");
        }
    }
}

#[test]
fn printing_a_masker_shows_names_only() {
    let text = format!("{:?}", masker(&[("KEY", KEY)]));
    assert!(text.contains("KEY") && !text.contains("sk-ant"), "{text}");
}

/// A form of `secret` amid other text, and what must not be left of it.
fn planted(secret: &str, before: &str, after: &str, form: usize) -> (String, String) {
    let whole = format!("{before}{secret}{after}");
    let core = |encoded: &str| {
        let (first, end) = ((8 * before.len()).div_ceil(6), 8 * (before.len() + secret.len()) / 6);
        encoded[first..end].to_owned()
    };
    match form {
        0 => (whole, secret.to_owned()),
        1 => (hex(whole.as_bytes()), hex(secret.as_bytes())),
        2 => (hex(whole.as_bytes()).to_uppercase(), hex(secret.as_bytes()).to_uppercase()),
        3 => (STANDARD.encode(&whole), core(&STANDARD.encode(&whole))),
        4 => (URL_SAFE_NO_PAD.encode(&whole), core(&URL_SAFE_NO_PAD.encode(&whole))),
        5 => (format!("{before} {} {after}", percent(secret, |_| true)), percent(secret, |_| true)),
        6 => {
            let encoded = percent(secret, |byte| !byte.is_ascii_alphanumeric());
            (format!("{before} {encoded} {after}"), encoded)
        }
        7 => {
            let reversed: String = secret.chars().rev().collect();
            (format!("{before} {reversed} {after}"), reversed)
        }
        _ => {
            let (a, b) = secret.split_at(secret.len() / 2);
            let split = format!("{a}\" +\n    \"{b}");
            (format!("{before} {split} {after}"), split)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_form_of_a_planted_secret_survives(
        secret in "[!-~]{8,60}", before in "[ -~]{0,12}", after in "[ -~]{0,12}", form in 0usize..9,
    ) {
        // Split, a secret is found by what splits nothing.
        let plain = secret.bytes().filter(|byte| !b"\"'`+\\,:.|&".contains(byte)).count();
        prop_assume!(form < 8 || plain >= 8);
        let (text, trace) = planted(&secret, &before, &after, form);
        prop_assert!(text.contains(&trace));
        let left = masked(&secret, &text);
        prop_assert!(left.contains("[secret KEY, "), "{}", left);
        prop_assert!(!left.contains(&trace), "{}", left);
    }

    #[test]
    fn text_without_a_secret_is_unchanged(secret in "[A-Z0-9_-]{20,60}", text in "[ -@\\[-~\n]{0,400}") {
        // Nothing but letters in base64 could hold capitals, and there are none in the text.
        prop_assert!(secret.chars().all(|c| c.is_ascii_digit()) || masked(&secret, &text) == text);
    }

    #[test]
    fn a_stream_gives_out_the_same_wherever_its_pieces_end(
        parts in prop::collection::vec(part(), 0..25), cuts in prop::collection::vec(1usize..9, 1..12),
    ) {
        let secrets = [("AA", "aaaaaaaa"), ("AB", "abababab"), ("PC", "%41%41%41ab"), ("KEY", KEY), ("EX", "++a+b++,")];
        let masker = masker(&secrets);
        let text = parts.concat();
        let mut stream = masker.stream();
        let (mut out, mut rest) = (Vec::new(), text.as_slice());
        for cut in cuts.iter().cycle() {
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            out.extend(stream.push(piece));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let end = stream.end();
        out.extend(&end.rest);
        prop_assert!(end.found.is_empty() || quick::may_hold(&masker.tables, &text));
        let (out, whole) = (String::from_utf8_lossy(&out), masker.mask(&text));
        prop_assert_eq!(out, String::from_utf8_lossy(&whole));
    }
}

/// Pieces that nearly make the secrets of the test above, with the escapes and gaps that readings differ in.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        "a",
        "b",
        "ab",
        "aaaa",
        "abab",
        "%61",
        "%62",
        "%4",
        "%",
        "41",
        "%41",
        "\\",
        "\\n",
        "\\x61",
        "\\u0061",
        "\\u00",
        "n",
        "x61",
        "\" + \"",
        "\n",
        " ",
        "++a+",
        "b++,",
        "sk-ant-api03-Qk9_Zx",
        "+7/wE=f%Ld",
        "%2525",
        "YWFhYWFh",
        "YWI",
        "6161",
        "6162",
    ]);
    let gap = (60usize..68).prop_map(|length| " ".repeat(length));
    let key = (0..KEY.len(), 0..KEY.len()).prop_map(|(a, b)| KEY[a.min(b)..a.max(b)].to_owned());
    prop_oneof![8 => fixed.prop_map(str::to_owned), 1 => gap, 2 => key].prop_map(String::into_bytes)
}
