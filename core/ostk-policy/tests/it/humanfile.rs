//! The HUMANFILE: what its lines mean, what is wrong with one that is not accepted, and how two layers meet.

use ostk_policy::{
    Class, Documents, Effect, Gate, HostPattern, Humanfile, HumanfileKey, MAX_LINES, MAX_TEXT_BYTES, Mode,
    Policy, Resource,
};
use proptest::{prelude::*, sample::select};

use crate::{allows, ask, both, load, path};

const WHOLE: &str = r#"# who governs here
IDENTITY ada   # myself
SIGN 0123456789abcdef0123456789ABCDEF01234567
TRUST unsigned
MODE auto
MODEL claude-sonnet-4-6
FALLBACK ollama/qwen3:8b
AVAILABLE <<MODELS
claude-sonnet-4-6
# not yet: claude-opus-4-6

gpt-4o
MODELS
PREPROCESS local/tiny
SECRET ANTHROPIC_API_KEY OPENAI_API_KEY
CONNECT crates.io *.example.org:443
DRIVER fcp fcp-rust
ENRICH fcp-rust errors
EMBED incremental
EXTENDS team/HUMANFILE
BOOT :compile # everything
VERB :tidy ":compile :refine" "" "puts things in order"
TACK morning ":ps"
mcp:
  notes: notes-mcp --stdio
  # and
  web: "web mcp" :8080
"#;

fn read(text: &str) -> Humanfile {
    Humanfile::parse("HUMANFILE", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn problems(result: Result<Humanfile, ostk_policy::LoadErrors>) -> Vec<String> {
    result.err().map(|errors| errors.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn wrong(text: &str) -> Vec<String> {
    problems(Humanfile::parse("HUMANFILE", text))
}

#[test]
fn every_directive_is_read() {
    let file = read(WHOLE);
    assert_eq!(file.identity(), Some("ada"));
    assert_eq!(file.sign().as_deref(), Some("0123456789ABCDEF0123456789ABCDEF01234567"));
    assert_eq!((file.trusts_unsigned(), file.mode()), (Some(true), Some(Mode::Auto)));
    assert_eq!((file.model(), file.fallback()), (Some("claude-sonnet-4-6"), Some("ollama/qwen3:8b")));
    assert_eq!(file.available().collect::<Vec<_>>(), ["claude-sonnet-4-6", "gpt-4o"]);
    assert_eq!(file.secrets().collect::<Vec<_>>(), ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]);
    let hosts: Vec<String> = file.connect().map(|host| host.to_string()).collect();
    assert_eq!(hosts, ["crates.io", "*.example.org:443"]);
    let servers: Vec<_> = file.mcp().collect();
    assert_eq!(servers, [("notes", "notes-mcp --stdio"), ("web", "\"web mcp\" :8080")]);
    let verbs: Vec<_> = file.entries(HumanfileKey::Verb).collect();
    assert_eq!(verbs, [[":tidy", ":compile :refine", "", "puts things in order"]]);
    assert_eq!(file.entries(HumanfileKey::Boot).collect::<Vec<_>>(), [[":compile # everything"]]);
    assert_eq!(file.entries(HumanfileKey::Driver).collect::<Vec<_>>(), [["fcp", "fcp-rust"]]);
}

#[test]
fn what_nothing_acts_on_yet_is_said_to_do_nothing() {
    let lints: Vec<String> = read(WHOLE).lints().iter().map(ToString::to_string).collect();
    assert!(
        lints.contains(&"HUMANFILE:19: EMBED is read and checked; nothing acts on it yet".to_owned()),
        "{lints:?}"
    );
    assert!(read("IDENTITY ada\nSECRET A\nMODEL m\n").lints().is_empty());
}

#[test]
fn a_mistake_is_named_by_line_and_column_with_what_to_write_instead() {
    let text = "IDENTITY ada\nMODDEL x\nmodel x\n  FALLBACK y\nSIGN 0123\nENRICH fcp-rust erors\nMODE  gouverned\nMODEL a b\nEMBED\nVERB :x \"y\nAVAILABLE << M\nTRUST unsigned\nTRUST unsigned\nmcp: x\n  notes\n  a:\n  b: c\n  b: d\nSECRET <<END\n";
    assert_eq!(
        wrong(text),
        [
            "HUMANFILE:2:1: unknown directive \"MODDEL\" (did you mean `MODEL`?)",
            "HUMANFILE:3:1: unknown directive \"model\" (did you mean `MODEL`?)",
            "HUMANFILE:4:1: this line is indented and continues nothing (a directive starts at the left margin; only `mcp:` has indented lines)",
            "HUMANFILE:5:6: a fingerprint is 40 or 64 hexadecimal digits without spaces (gpg --fingerprint --with-colons lists yours)",
            "HUMANFILE:6:17: unknown value \"erors\" (did you mean `errors`?)",
            "HUMANFILE:7:7: unknown value \"gouverned\" (did you mean `governed`?)",
            "HUMANFILE:8:7: 2 words follow MODEL (MODEL id; a word with spaces stands in double quotes)",
            "HUMANFILE:9:6: nothing follows EMBED (EMBED codebase)",
            "HUMANFILE:10:9: the quotation mark is not closed",
            "HUMANFILE:11:11: a word must follow `<<` (AVAILABLE <<END, the lines, and END on a line of its own)",
            "HUMANFILE:13:1: TRUST is already given on line 12 (remove one of the two)",
            "HUMANFILE:14:6: nothing stands after `mcp:` on its line (the servers follow on indented lines: `notes: notes-mcp --stdio`)",
            "HUMANFILE:15:3: a server is `name: command` (for example `notes: notes-mcp --stdio`)",
            "HUMANFILE:16:3: the server \"a\" has no command",
            "HUMANFILE:18:3: the server \"b\" stands twice",
            "HUMANFILE:19:1: the lines of SECRET are not closed (write END on a line of its own after the last one)",
        ]
    );
}

#[test]
fn a_secret_written_in_place_of_its_name_is_not_repeated() {
    for text in ["SECRET KEY=sk-ant-0123", "SECRET <<K\nsk-ant-0123\nK", "SECRET \"sk-ant-0123\""] {
        let said = wrong(text).join("\n");
        assert!(said.contains("never the value") && !said.contains("sk-ant"), "{said}");
    }
}

#[test]
fn a_text_beyond_the_limits_is_refused_and_one_at_the_limit_is_read() {
    assert_eq!(wrong(&"\n".repeat(MAX_LINES)), [] as [&str; 0]);
    assert_eq!(wrong(&"\n".repeat(MAX_LINES + 1)).len(), 1);
    assert_eq!(wrong(&" ".repeat(MAX_TEXT_BYTES + 1)).len(), 1);
    assert_eq!(wrong(&"?\n".repeat(MAX_LINES)).len(), 20, "problems are bounded");
    assert_eq!(wrong("IDENTITY a\u{1b}[2J").len(), 1, "nothing that a terminal obeys");
}

#[test]
fn a_project_adds_to_lists_and_fills_in_what_the_operator_left_open() {
    let global = "IDENTITY ada\nMODEL opus\nSECRET A\nmcp:\n  notes: mine\nVERB :x y\n";
    let project = "IDENTITY ada-here\nFALLBACK haiku\nSECRET B A\nmcp:\n  notes: theirs\n  web: w\nMODEL opus\nMODE plan\n";
    let both = Humanfile::layered(Some(global), Some(project)).expect("both are good");
    assert_eq!(
        (both.identity(), both.model(), both.fallback()),
        (Some("ada-here"), Some("opus"), Some("haiku"))
    );
    assert_eq!(both.secrets().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(both.mcp().collect::<Vec<_>>(), [("notes", "mine"), ("web", "w")]);
    let said = both.lints().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(said.contains("HUMANFILE:5: \"notes\" has no effect: ~/.HUMANFILE:5 defines it"), "{said}");
}

#[test]
fn a_project_cannot_change_what_the_operator_decides() {
    let global = "IDENTITY ada\nMODEL opus\nSIGN 0123456789ABCDEF0123456789ABCDEF01234567\nTRUST signed\nMODE governed\n";
    let project =
        "MODEL other\nSIGN FFFF456789ABCDEF0123456789ABCDEF01234567\nTRUST unsigned\nMODE autonomous\n";
    let said = problems(Humanfile::layered(Some(global), Some(project)));
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(
        said[0].starts_with("HUMANFILE:1:1: MODEL is set by ~/.HUMANFILE:2 and a project cannot change it"),
        "{said:?}"
    );
    assert!(
        said[3].starts_with("HUMANFILE:4:1: MODE autonomous is less strict than governed of ~/.HUMANFILE:5"),
        "{said:?}"
    );
    assert!(
        Humanfile::layered(Some(global), Some("MODE plan\nSIGN 0123456789abcdef0123456789abcdef01234567"))
            .is_ok()
    );
}

#[test]
fn identity_and_model_are_needed_once_there_is_a_file() {
    assert!(Humanfile::layered(None, None).is_ok_and(|file| file.secrets().next().is_none()));
    assert!(Humanfile::layered(Some("MODEL m"), Some("IDENTITY a")).is_ok());
    let said = problems(Humanfile::layered(None, Some("SECRET A")));
    assert_eq!(
        said,
        [
            "HUMANFILE:1:1: IDENTITY is missing (IDENTITY ada)",
            "HUMANFILE:1:1: MODEL is missing (MODEL claude-sonnet-4-6)"
        ]
    );
    let said = problems(Humanfile::layered(Some("MODLE m"), Some("TRSUT x")));
    assert!(said[0].starts_with("~/.HUMANFILE:1") && said[1].starts_with("HUMANFILE:1"), "{said:?}");
}

#[test]
fn a_new_file_holds_what_was_asked_and_reads_back() {
    let sign = "0123456789ABCDEF0123456789ABCDEF01234567";
    let text = Humanfile::new("ada", "opus", Some(sign)).expect("good names").to_string();
    assert_eq!(text, format!("IDENTITY ada\nSIGN {sign}\nMODEL opus\n"));
    assert!(Humanfile::new("ada\nSECRET X", "opus", None).is_err());
    let file = Humanfile::new("ada", "opus", None).expect("good names");
    let listed = file.with_secrets(["A_KEY", "B_KEY"]).expect("names of secrets");
    assert_eq!(listed.secrets().collect::<Vec<_>>(), ["A_KEY", "B_KEY"]);
    let refused = file.with_secrets(["sk-ant-0123"]).expect_err("a value is no name");
    assert!(!refused.to_string().contains("0123"));
}

#[test]
fn a_host_covers_what_it_says_and_no_more() {
    let host = |text: &str| HostPattern::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    for (pattern, name, port, covered) in [
        ("crates.io", "crates.io", 443, true),
        ("crates.io", "CRATES.io.", 80, true),
        ("crates.io", "static.crates.io", 443, false),
        ("crates.io:443", "crates.io", 80, false),
        ("*.example.org", "a.b.example.org", 1, true),
        ("*.example.org", "example.org", 1, false),
        ("*.example.org", ".example.org", 1, false),
        ("*.example.org", "badexample.org", 1, false),
        ("192.0.2.7", "192.0.2.7", 1, true),
        ("192.0.2.7", "192.0.2.70", 1, false),
        ("[2001:DB8::1]:8443", "2001:db8:0::1", 8443, true),
        ("localhost:3000", "localhost", 3000, true),
    ] {
        assert_eq!(host(pattern).covers(name, port), covered, "{pattern} {name}:{port}");
    }
    for text in [
        "*",
        "*.org",
        "*.*.org",
        "a.*",
        "https://a.b",
        "a.b/c",
        "u@a.b",
        "a b",
        "",
        "a..b",
        "-a.b",
        "a.b:0",
        "a.b:x",
        "a.b:+1",
        "2001:db8::1",
        "*.192.0.2.7",
        "192.0.2",
        "0x7f.1",
        "ü.example",
        "[::1",
        "10.0.0.0/8",
    ] {
        assert!(HostPattern::parse(text).is_err(), "{text:?}");
    }
}

fn a_line() -> impl Strategy<Value = String> {
    let word = || {
        prop_oneof![
            4 => select(vec!["ada", "unsigned", "plan", "errors", "codebase", "a.b:443", "*.c.org", "KEY", "<<END", "#x", "\"\"", "\"a \\\" # b\"", "\\", "END"]).prop_map(str::to_owned),
            1 => "\\PC{1,6}",
        ]
    };
    let key = select(vec![
        "IDENTITY",
        "SIGN",
        "TRUST",
        "MODE",
        "MODEL",
        "FALLBACK",
        "AVAILABLE",
        "PREPROCESS",
        "SECRET",
        "CONNECT",
        "DRIVER",
        "ENRICH",
        "EMBED",
        "EXTENDS",
        "BOOT",
        "VERB",
        "TACK",
        "mcp:",
        "  notes:",
        "\t",
        "#",
        "END",
        "AVAILABLE <<END",
        "BOOT <<END",
        "VERB <<END",
    ]);
    (key, prop::collection::vec(word(), 0..4))
        .prop_map(|(key, words)| format!("{key} {}", words.join(" ")).trim_end().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in "(\\PC|[\n\r\t :\"#*/.\\\\<]|MODEL|SECRET|mcp:|IDENTITY|<<END){0,200}") {
        drop(Humanfile::layered(Some(&text), None));
    }

    #[test]
    fn what_is_printed_is_read_back_as_the_same(lines in prop::collection::vec(a_line(), 0..4)) {
        // Every directive but the bad ones: a line that is refused is left out, so that most texts are read.
        let mut text = String::new();
        for line in lines {
            let longer = format!("{text}{line}\n");
            if Humanfile::parse("HUMANFILE", &format!("{longer}\nEND\n")).is_ok() || Humanfile::parse("HUMANFILE", &longer).is_ok() {
                text = longer;
            }
        }
        if let Ok(file) = Humanfile::parse("HUMANFILE", &text) {
            let printed = file.to_string();
            let again = Humanfile::parse("HUMANFILE", &printed).map_err(|errors| TestCaseError::fail(format!("{errors}\n{printed}")))?;
            prop_assert_eq!(again.to_string(), printed);
            for key in [HumanfileKey::Boot, HumanfileKey::Verb, HumanfileKey::Mcp, HumanfileKey::Secret, HumanfileKey::Connect] {
                prop_assert!(again.entries(key).eq(file.entries(key)));
            }
        }
    }

    #[test]
    fn a_project_never_changes_model_signature_or_trust_and_never_loosens_the_mode(lines in prop::collection::vec(a_line(), 0..4)) {
        let global = "IDENTITY ada\nMODEL opus\nSIGN 0123456789ABCDEF0123456789ABCDEF01234567\nTRUST signed\nMODE governed\n";
        if let Ok(both) = Humanfile::layered(Some(global), Some(&lines.join("\n"))) {
            let alone = read(global);
            prop_assert_eq!((both.model(), both.sign(), both.trusts_unsigned()), (alone.model(), alone.sign(), alone.trusts_unsigned()));
            prop_assert!(both.mode() <= alone.mode());
        }
    }
}

#[test]
fn the_gate_takes_hosts_and_mode_from_both_layers_and_refuses_effects_while_one_is_malformed() {
    let layers = |global: Option<&str>, project: &str| Documents {
        global_humanfile: global.map(str::to_owned),
        humanfile: Some(project.to_owned()),
        ..Documents::default()
    };
    let connect = ask(Class::NetConnect, Resource::Host("crates.io:443".to_owned()));
    let write = ask(Class::FileWrite, path("a"));
    let policy = load(&layers(Some("IDENTITY ada\nMODEL m\n"), "CONNECT crates.io\n"));
    assert!(allows(&both(&policy, &connect)) && allows(&both(&policy, &write)));
    assert!(!allows(&both(&load(&Documents::default()), &connect)));
    let governed = load(&layers(Some("IDENTITY ada\nMODEL m\nMODE governed"), ""));
    assert_eq!(both(&governed, &write).effect, Effect::Ask);
    assert_ne!(policy.fingerprint(), governed.fingerprint());

    let gate = Gate::open(&layers(None, "IDENTITY ada\nMODLE m\n")).expect("opens");
    assert!(allows(&gate.decide(&ask(Class::FileRead, path("a")))));
    let refused = gate.decide(&write);
    assert!(refused.reason.contains("HUMANFILE:2:1: unknown directive"), "{}", refused.reason);
    for (prime, entity) in [(Some("x"), None), (None, Some("x"))] {
        let [primefile, entityfile] = [prime, entity].map(|text: Option<&str>| text.map(str::to_owned));
        assert!(Policy::load(&Documents { primefile, entityfile, ..Documents::default() }).is_err());
    }
}

#[test]
fn a_file_of_the_project_that_is_not_accepted_only_narrows() {
    let text =
        "IDENTITY ada\nMODEL m\nMODE governed\nSECRET A_KEY\nCONNECT crates.io\nLABEL untrusted vendor/\n";
    let mut documents = ostk_policy::Documents { humanfile: Some(text.to_owned()), ..Default::default() };
    let of = |documents: &ostk_policy::Documents| {
        Humanfile::of(documents).unwrap_or_else(|errors| panic!("{errors}"))
    };
    assert_eq!((of(&documents).secrets().count(), of(&documents).connect().count()), (1, 1));
    documents.unaccepted.insert("HUMANFILE".to_owned());
    let narrow = of(&documents);
    assert_eq!((narrow.secrets().count(), narrow.connect().count()), (0, 0));
    assert_eq!((narrow.mode(), narrow.labels().count()), (Some(Mode::Governed), 1));
    let lines: Vec<usize> = narrow.lints().iter().map(|lint| lint.line).collect();
    assert_eq!(lines, [4, 5]);
    // The operator's own file is not part of the project.
    documents.global_humanfile = Some("IDENTITY ada\nMODEL m\nSECRET A_KEY\n".to_owned());
    assert_eq!(of(&documents).secrets().collect::<Vec<_>>(), ["A_KEY"]);
}
