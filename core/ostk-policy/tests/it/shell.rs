//! The survey of a command line: which commands it lists, what of their words is known, and its limits.

use ostk_policy::{Danger, MAX_COMMAND_BYTES, survey};
use proptest::prelude::*;

/// The commands of a line, `…` for what is not known.
fn commands(line: &str) -> Vec<String> {
    let shown = |word: &ostk_policy::Word| {
        let text: String = word
            .as_str()
            .chars()
            .map(|c| if "\u{fffd}\u{e001}\u{e002}\u{e003}".contains(c) { '…' } else { c })
            .collect();
        assert_eq!(word.is_known(), !text.contains('…'), "{text}");
        text
    };
    let words = |simple: &ostk_policy::Simple| simple.words().iter().map(shown).collect::<Vec<_>>().join(" ");
    survey(line).commands().iter().map(words).filter(|text| !text.is_empty()).collect()
}

#[test]
fn every_command_is_listed_with_what_it_runs() {
    assert_eq!(
        commands("A=1 sudo -u ada env B=2 timeout 5 sh -c 'git push \"$1\"' x"),
        [
            "sudo -u ada env B=2 timeout 5 sh -c git push \"$1\" x",
            "env B=2 timeout 5 sh -c git push \"$1\" x",
            "timeout 5 sh -c git push \"$1\" x",
            "sh -c git push \"$1\" x",
            "git push …",
        ]
    );
    assert_eq!(commands("a | b && (c; d) || { e & }"), ["a", "b", "c", "d", "e"]);
    assert_eq!(commands("echo $(a $(b)) `c` <(d)"), ["b", "a …", "c", "d", "echo … … /dev/fd/…"]);
    assert_eq!(commands("f() { a; }; for x in 1 2; do b $x; done"), ["a", "b 1 2"]);
    assert_eq!(commands("ls *.rs | xargs -n1 rm"), ["ls *.rs", "xargs -n1 rm", "rm"]);
}

#[test]
fn the_value_of_a_word_is_known_where_the_line_alone_decides_it() {
    assert_eq!(commands(r#"a "b c"'d'\e$'\t\x41'"f\"g""#), ["a b cde\tAf\"g"]);
    assert_eq!(commands("X=a; Y=\"$X b\"; c $Y \"$Y\" $Z"), ["c a b a b …"]);
    assert_eq!(commands("a {b,c{d,e}}.rs '{x,y}'"), ["a b.rs cd.rs ce.rs {x,y}"]);
    assert_eq!(commands("a $(echo b) $(printf '%s-%s' c d)"), ["echo b", "printf %s-%s c d", "a b c-d"]);
    assert_eq!(commands("a ~/x \"$HOME/y\" '~/z'"), ["a ~/x ~/y ./~/z"]);
}

#[test]
fn a_text_beyond_the_limits_is_unreadable_and_not_waited_for() {
    let deep = |open: &str, close: &str, n: usize| format!("{}a{}", open.repeat(n), close.repeat(n));
    let nested: Vec<String> = vec![
        "a".repeat(MAX_COMMAND_BYTES + 1),
        deep("(", ")", 2000),
        deep("( ", " )", 200),
        deep("$(", ")", 2000),
        deep("{ ", "; }", 200),
        "sudo ".repeat(2000),
        deep("eval ", "", 2000),
    ];
    for text in nested {
        let found = survey(&text);
        let start: String = text.chars().take(20).collect();
        assert!(found.unreadable().is_some(), "{start}");
        assert_eq!(found.dangers()[0].danger, Danger::Unreadable, "{start}");
    }
    let long = format!("cat > a <<'EOF'\n{}\nEOF", "text ".repeat(10_000));
    assert!(survey(&long).dangers().is_empty(), "a long document is no danger");
    let chain = vec!["true"; 900].join(" && ");
    assert_eq!(survey(&chain).commands().len(), 900);
}

/// Pieces that a shell gives a meaning, with which a random text gets somewhere.
const PIECES: [&str; 60] = [
    "$(",
    "${",
    "`",
    "\"",
    "'",
    "$'",
    "(",
    ")",
    "{ ",
    "}",
    "((",
    "))",
    "$((",
    "[[ ",
    " ]]",
    "if ",
    "then ",
    "fi",
    "for x in ",
    "do ",
    "done",
    "case ",
    "esac",
    ";",
    ";;",
    "&&",
    "||",
    "|",
    "&",
    ">",
    "<",
    "<<E\n",
    "<<<",
    "<(",
    ">(",
    "\n",
    " ",
    "rm -rf /",
    "sh -c ",
    "eval ",
    "xargs ",
    "sudo ",
    "find . -exec ",
    "a=",
    "~",
    "{a,b}",
    "*",
    "\\",
    "#",
    "E\n",
    "echo ",
    "$x",
    "$@",
    "=",
    "awk '",
    "python -c ",
    "curl x",
    "git push -f",
    ":-",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_surveyed_and_never_panics(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40),
        text in "\\PC{0,40}",
    ) {
        for line in [pieces.concat(), text.clone(), format!("{} {text}", pieces.concat())] {
            let found = survey(&line);
            prop_assert!(found.dangers().len() <= 32);
        }
    }

    #[test]
    fn what_is_dangerous_alone_is_dangerous_in_company(
        before in prop::sample::select(vec!["", "true; ", "cd a && ", "x=1 ", "( ", "if true; then ", "echo $(", "sh -c 'true; ", "while :; do "]),
        wrapper in prop::sample::select(vec!["", "env A=1 ", "nice ", "timeout 5 ", "nohup ", "command ", "time "]),
    ) {
        let after = match before.trim_end() {
            "(" | "echo $(" => " )",
            "if true; then" => "; fi",
            "while :; do" => "; done",
            text if text.starts_with("sh -c") => "'",
            _ => "",
        };
        let line = format!("{before}{wrapper}git reset --hard{after}");
        let kinds: Vec<Danger> = survey(&line).dangers().iter().map(|found| found.danger).collect();
        prop_assert!(kinds.contains(&Danger::GitHistory), "{}: {:?}", line, kinds);
    }
}
