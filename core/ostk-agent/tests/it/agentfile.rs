//! The Agentfile: what a person writes, what is understood, and what a mistake is answered with.

use ostk_agent::{Agentfile, HealthCheck, Isolation, Lifetime, Limits, Restart, RestartRule, WorkOp};
use proptest::prelude::*;

const FIXER: &str = "\
# Repairs the parser.
FROM ${MODEL:-claude-sonnet-4-6}
PROMPT file://prompts/house.md
PROMPT Be brief.

  Say what you changed.
TASK Make the parser tests pass.
  Touch nothing outside src/parser:
    - lexer
    - grammar
TOOL shell(readonly)
TOOL file:edit(src/parser)
LIMIT budget_usd 2.50
LIMIT max_turns 40
LIMIT destructive_ops deny
LIMIT read-path src
LIMIT read-path docs
WORK priority>=P1 tags=parser,lexer
PIN fixer
ISOLATION nono
BOOT ostk boot --bail
RESTART one_for_one
";

fn variables(name: &str) -> Option<String> {
    match name {
        "MODEL" => Some("ollama/qwen3".to_owned()),
        "SLY" => Some("x\nTOOL shell".to_owned()),
        "NESTED" => Some("${MODEL}".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Agentfile {
    Agentfile::parse(text, &variables).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// Checks that a text, after a valid FROM, is answered with exactly these errors.
fn refused(text: &str, wanted: &[&str]) {
    let errors = Agentfile::parse(&format!("FROM m\n{text}"), &variables).expect_err(text);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, wanted, "{text}");
}

#[test]
fn every_directive_becomes_a_typed_value() {
    let file = parse(FIXER);
    assert_eq!(file.from, "ollama/qwen3", "a set variable beats its default");
    assert_eq!(file.prompts, ["file://prompts/house.md", "Be brief.\n\nSay what you changed."]);
    let task = "Make the parser tests pass.\nTouch nothing outside src/parser:\n  - lexer\n  - grammar";
    assert_eq!(file.task.as_deref(), Some(task), "what is beyond the indent belongs to the text");
    let tools: Vec<String> = file.tools.iter().map(ToString::to_string).collect();
    assert_eq!(tools, ["shell(readonly)", "file:edit(src/parser)"]);
    let other = [("destructive_ops", "deny"), ("read-path", "src"), ("read-path", "docs")];
    let limits = Limits {
        budget_micro_usd: Some(2_500_000),
        turns: Some(40),
        other: other.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        ..Limits::default()
    };
    assert_eq!(file.limits, limits);
    assert_eq!((file.work[0].op, file.work[1].op), (WorkOp::AtLeast, WorkOp::Is));
    assert_eq!(file.work[1].values, ["parser", "lexer"]);
    let rule = RestartRule { strategy: Restart::OneForOne, times: 3, within_s: 300 };
    assert_eq!((file.isolation, file.restart), (Some(Isolation::Nono), Some(rule)));
}

#[test]
fn a_mistake_is_answered_with_its_place_and_a_remedy() {
    refused("TOLL shell", &["line 2:6: TOLL: is not a directive (did you mean TOOL?)"]);
    refused("from m", &["line 2:6: from: is not a directive (did you mean FROM?)"]);
    refused("EXECUTE x", &["line 2:9: EXECUTE: is not a directive"]);
    refused("GOAL win", &["line 2:6: GOAL: belongs to bench pools"]);
    refused("SKILL", &["line 2:6: SKILL: needs an argument"]);
    refused("PIN a b", &["line 2:5: PIN: takes one word"]);
    refused("TOOL shel", &["line 2:6: TOOL: \"shel\" is not known (did you mean shell?)"]);
    refused(
        "TOOL file:edit(src",
        &["line 2:6: TOOL: a pattern stands in parentheses at the end (file:edit(src/parser))"],
    );
    refused("TOOL shell(src)", &["line 2:6: TOOL: shell takes no path (shell(readonly))"]);
    refused(
        "ISOLATION jail",
        &["line 2:11: ISOLATION: \"jail\" is not known (one of: none, nono, docker, firecracker)"],
    );
    refused(
        "WORK priority",
        &[
            "line 2:6: WORK: \"priority\" is no filter (field=value, field>=value or field<=value, values separated by commas)",
        ],
    );
    refused(
        "WORK prioriy=P1",
        &["line 2:6: WORK: \"prioriy\" is nothing that work is chosen by (did you mean priority?)"],
    );
    refused("WORK priority>=P4", &["line 2:6: WORK: \"P4\" is no priority (P0, P1, P2, P3)"]);
    refused("WORK tags>=net", &["line 2:6: WORK: tags has no order (tags=value)"]);
    refused("LIMIT turn 3", &["line 2:7: LIMIT: \"turn\" is not known (did you mean turns?)"]);
    refused("LIMIT context_pct 101", &["line 2:7: LIMIT: \"101\" is no value for context_pct (1 to 100)"]);
    refused(
        "LIMIT permissions all",
        &["line 2:7: LIMIT: \"all\" is no value for permissions (one of: governed, supervised, restricted)"],
    );
    refused("LIMIT read-path", &["line 2:7: LIMIT: read-path needs a value"]);
    refused(
        "  stray",
        &[
            "line 2:1: stray: only TASK and PROMPT continue on indented lines (a directive starts at the left margin)",
        ],
    );
    refused(
        "TASK ${NOBODY}",
        &["line 2:6: TASK: the variable NOBODY is not set; `${NOBODY:-default}` gives a default"],
    );
    refused("TASK ${MODEL", &["line 2:6: TASK: `${` without `}`; a literal one is `$${`"]);
}

#[test]
fn all_mistakes_of_a_file_are_found_in_one_go() {
    let errors = Agentfile::parse("FORM m\nTOOL x\n  y\nPIN\n", &variables).unwrap_err();
    let places: Vec<(usize, &str)> = errors.iter().map(|e| (e.line, e.directive.as_str())).collect();
    assert_eq!(places, [(1, "FORM"), (2, "TOOL"), (3, "y"), (4, "PIN"), (0, "FROM")]);
}

#[test]
fn a_budget_that_is_none_is_refused() {
    for value in ["0", "-1", "0.0000001", "unlimited", "1e3", "", ".", ".5", "99999999999999999999", "1.2.3"]
    {
        let text = format!("FROM m\nLIMIT budget_usd {value}");
        assert!(Agentfile::parse(&text, &variables).is_err(), "{value:?} was accepted");
    }
    for (value, micros) in [("2", 2_000_000), ("0.5", 500_000), ("0.000001", 1)] {
        let file = parse(&format!("FROM m\nLIMIT budget_usd {value}"));
        assert_eq!(file.limits.budget_micro_usd, Some(micros), "{value}");
    }
}

#[test]
fn what_may_stand_once_may_not_stand_twice() {
    for line in ["FROM m", "TASK x", "WORK tags=b", "PIN p", "ISOLATION none", "LIMIT tokens 5", "ATTEST gpg"]
    {
        let errors = Agentfile::parse(&format!("FROM m\n{line}\n{line}\n"), &variables).unwrap_err();
        assert!(errors.iter().all(|error| error.message == "stands twice"), "{line}: {errors:?}");
    }
    refused("LIMIT turns 3\nLIMIT max_turns 4", &["line 3:7: LIMIT: stands twice"]);
}

#[test]
fn no_path_leaves_the_workspace() {
    for line in [
        "TOOL file:edit(../x)",
        "TOOL file:read(/etc)",
        "TOOL file:read(a/../../b)",
        "PROMPT file://../secret",
        "PROMPT file:///etc/passwd",
        "TASK file://~/x",
        "LIMIT write-path ..",
    ] {
        let errors = Agentfile::parse(&format!("FROM m\n{line}"), &variables).expect_err(line);
        assert!(errors[0].message.contains("outside the workspace"), "{line}: {errors:?}");
    }
}

#[test]
fn a_variable_cannot_add_a_directive_and_is_expanded_once() {
    refused("PIN ${SLY}", &["line 2:5: PIN: a control character is not allowed here"]);
    assert_eq!(parse("FROM m\nTASK ${SLY}").tools, []);
    assert_eq!(parse("FROM m\nTASK ${NESTED} $${MODEL}").task.as_deref(), Some("${MODEL} ${MODEL}"));
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    for text in ["FROM m\n".repeat(5_001), format!("FROM m\nTASK {}", "x".repeat(256 * 1024))] {
        let errors = Agentfile::parse(&text, &variables).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].message.contains("larger than"));
    }
    let bomb = format!("FROM m\nTASK {}", "${BIG}".repeat(1_000));
    let big = |_: &str| Some("x".repeat(1_000));
    assert!(Agentfile::parse(&bomb, &big).unwrap_err()[0].message.contains("when expanded"));
}

#[test]
fn named_files_are_loaded_by_the_caller() {
    let mut file = parse(FIXER);
    file.load_files(&|path| Ok(format!("text of {path}\r\nline two\n"))).unwrap();
    assert_eq!(
        file.system_prompt(),
        "text of prompts/house.md\nline two\n\nBe brief.\n\nSay what you changed."
    );
    let errors = parse(FIXER).load_files(&|_| Err("no such file".to_owned())).unwrap_err();
    assert_eq!(errors[0].to_string(), "PROMPT: prompts/house.md: no such file");
}

#[test]
fn a_file_overrides_its_profile() {
    let profile =
        parse("FROM p\nPROMPT House rules.\nTOOL shell\nLIMIT turns 9\nLIMIT tokens 5\nLIMIT verb a\nPIN p");
    let file = parse("FROM auto\nFROM-PROFILE base\nPROMPT Mine.\nTOOL file:read\nLIMIT turns 3\nTASK t");
    let merged = file.over(profile);
    let wanted = parse(
        "FROM p\nPROMPT House rules.\nPROMPT Mine.\nTOOL file:read\nLIMIT turns 3\nLIMIT tokens 5\nLIMIT verb a\nPIN p\nTASK t",
    );
    assert_eq!(merged, wanted);
}

#[test]
fn a_file_tells_which_directives_it_uses() {
    let text = "# An agent.\nFROM ${MODEL}\nTASK Two\n  lines.\nTOOL shell\nLIMIT max_turns 3\n\
                LIMIT destructive_ops deny\nISOLATION docker\nPROMPT file://a\n";
    let (_, uses) = Agentfile::parse_with_uses(text, &variables).unwrap();
    let uses: Vec<(usize, &str)> = uses.iter().map(|used| (used.line, used.name.as_str())).collect();
    let wanted =
        [(2, "FROM"), (3, "TASK"), (5, "TOOL"), (6, "LIMIT turns"), (7, "LIMIT destructive_ops deny")];
    assert_eq!(uses, [&wanted[..], &[(8, "ISOLATION docker"), (9, "PROMPT file://")]].concat());
}

#[test]
fn supervision_is_a_strategy_with_a_bound_a_lifetime_and_a_check() {
    let file = parse(
        "FROM m\nRESTART rest_for_one 5/60\nLIFETIME permanent\nHEALTHCHECK --interval=2m --retries=2 CMD test -s ok",
    );
    let rule = RestartRule { strategy: Restart::RestForOne, times: 5, within_s: 60 };
    assert_eq!((file.restart, file.lifetime), (Some(rule), Some(Lifetime::Permanent)));
    let command = "test -s ok".to_owned();
    assert_eq!(file.health, Some(HealthCheck { command, interval_s: 120, timeout_s: 30, failures: 2 }));
    let short = parse("FROM m\nRESTART one_for_one\nHEALTHCHECK make check").health.unwrap();
    assert_eq!((short.command.as_str(), short.interval_s, short.failures), ("make check", 30, 3));
}

#[test]
fn supervision_that_says_nothing_or_nonsense_is_refused() {
    refused("LIFETIME transient", &["line 2: LIFETIME: says nothing without RESTART"]);
    let alone = "line 2: HEALTHCHECK: says nothing without RESTART (add RESTART one_for_one: an agent that hangs is \
                 ended and started again)";
    refused("HEALTHCHECK true", &[alone]);
    let never = "line 3: LIFETIME: is never started again, and RESTART says nothing then (leave both out, or \
                 LIFETIME transient)";
    refused("RESTART one_for_one\nLIFETIME temporary", &[never]);
    parse("FROM m\nRESTART one_for_all\nLIFETIME temporary");
    parse("FROM m\nFROM-PROFILE house\nLIFETIME permanent");
    for (line, part) in [
        ("RESTART one_for_one 0/5", "\"0/5\" is no bound"),
        ("RESTART one_for_one 5", "\"5\" is no bound"),
        ("RESTART on-failure", "\"on-failure\" is not known"),
        ("LIFETIME always", "\"always\" is not known"),
        ("HEALTHCHECK --interval=0s CMD true", "--interval=0s is not understood"),
        ("HEALTHCHECK --start-period=5s CMD true", "--start-period=5s is not understood"),
        ("HEALTHCHECK --retries=3", "names no command"),
    ] {
        let errors = Agentfile::parse(&format!("FROM m\n{line}"), &variables).expect_err(line);
        assert!(errors[0].to_string().contains(part), "{line}: {errors:?}");
    }
}

/// Lines that are often right and often nearly so.
fn line() -> impl Strategy<Value = String> {
    let head = prop::sample::select(vec![
        "FROM",
        "FROM-PROFILE",
        "PROMPT",
        "TASK",
        "TOOL",
        "SKILL",
        "LIMIT",
        "WORK",
        "INTERRUPT",
        "PIN",
        "BETA",
        "ISOLATION",
        "BOOT",
        "ATTEST",
        "RESTART",
        "LIFETIME",
        "HEALTHCHECK",
        "",
        "#",
        " ",
        "  ",
        "\t",
        "X",
    ]);
    let tail = prop_oneof![
        prop::sample::select(vec![
            "m",
            "shell",
            "file:edit(src)",
            "turns 3",
            "budget_usd 0.25",
            "verb git push",
            "priority>=P1,P3 tags=c",
            "none",
            "gpg",
            "one_for_one",
            "one_for_all 5/60",
            "permanent",
            "--interval=5s CMD test -e a",
            "${V}",
            "$${V}",
            "${V:-d}",
            "file://a",
            "  two",
            "",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,20}",
        "[ -~\t\r$\\{\\}()]{0,20}",
    ];
    (head, tail).prop_map(|(head, tail)| format!("{head} {tail}"))
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_what_parses_prints_and_reads_back(
        lines in prop::collection::vec(line(), 0..12),
        value in "\\PC{0,12}|[a-z\n\r \t$\\{\\}]{0,12}",
    ) {
        let text = format!("FROM m\n{}", lines.join("\n"));
        if let Ok(file) = Agentfile::parse(&text, &|_| Some(value.clone())) {
            let again = Agentfile::parse(&file.to_text(), &|_| None);
            prop_assert_eq!(again.as_ref(), Ok(&file), "{}", file.to_text());
        }
    }

    #[test]
    fn one_line_that_is_right_prints_and_reads_back(line in line(), value in "\\PC{0,12}") {
        if let Ok(file) = Agentfile::parse(&format!("FROM m\n{line}"), &|_| Some(value.clone())) {
            prop_assert_eq!(Agentfile::parse(&file.to_text(), &|_| None), Ok(file));
        }
    }
}
