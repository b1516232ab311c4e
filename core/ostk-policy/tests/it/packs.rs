//! Rule packs: what a rule does, what is wrong with one that is not accepted, and that index and Cedar agree.

use std::collections::BTreeMap;

use ostk_policy::{Actor, ActorKind, Argument, Class, Documents, Effect, Policy, Request, Resource};
use proptest::{prelude::*, sample::select};

use crate::{allows, ask, both, command, load, path, rules};

fn packed(text: &str) -> Documents {
    Documents { packs: [("team.yaml".to_owned(), text.to_owned())].into(), ..Documents::default() }
}

/// A pack of rules, each `action field operator value`, the first with the highest priority.
fn pack(rules: &[&str]) -> String {
    let rule = |(nth, text): (usize, &&str)| {
        let mut words = text.splitn(4, ' ');
        let [action, field, operator, value] = [(); 4].map(|()| words.next().expect("four words"));
        format!(
            "  - name: r{nth}\n    condition: {{field: {field}, operator: {operator}, value: {value}}}\n    action: {action}\n"
        )
    };
    format!("rules:\n{}", rules.iter().enumerate().map(rule).collect::<String>())
}

fn under(text: &str, request: &Request) -> ostk_policy::Verdict {
    both(&load(&packed(text)), request)
}

fn wrong(text: &str) -> Vec<String> {
    let errors = Policy::load(&packed(text)).err();
    errors.map(|errors| errors.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn with(name: &str, argument: Argument) -> Request {
    let mut request = ask(Class::FileRead, path("a"));
    request.args.insert(name.to_owned(), argument);
    request
}

const TEAM: &str = r#"version: "1.0"
name: team
description: what the team agreed on
rules:
  - name: docs-are-free
    condition: {field: path, operator: matches, value: "^docs/"}
    action: allow
    priority: 20
  - name: no-force-push
    conditions:
      - {field: class, operator: in, value: [shell_exec, shell_write]}
      - {field: command, operator: matches, value: 'git\s+push\s.*--force'}
    action: deny
    message: history is shared
  - name: a-person-looks-at-writes
    condition: {field: call, operator: eq, value: file.write}
    action: require_approval
    priority: 10
    message: a person looks at every write
defaults:
  action: allow
"#;

#[test]
fn of_a_pack_the_first_rule_by_priority_decides() {
    let free = under(TEAM, &ask(Class::FileWrite, path("docs/a.md")));
    assert!(allows(&free), "{free:?}");
    let asked = under(TEAM, &ask(Class::FileWrite, path("src/a.rs")));
    assert_eq!(asked.effect, Effect::Ask);
    assert_eq!(rules(&asked), ["rules/team.yaml:15 a-person-looks-at-writes"]);
    assert_eq!(
        asked.reason,
        "worker-b needs a person's consent to write src/a.rs: a person looks at every write"
    );
    let denied = under(TEAM, &ask(Class::ShellExec, command("git push origin --force")));
    assert_eq!(rules(&denied), ["rules/team.yaml:9 no-force-push"]);
    assert!(denied.reason.ends_with(": history is shared"), "{}", denied.reason);
    assert!(allows(&under(TEAM, &ask(Class::ShellExec, command("git push")))));
}

#[test]
fn a_consent_that_was_given_answers_what_a_pack_asks_and_not_what_it_denies() {
    let mut request = ask(Class::FileWrite, path("src/a.rs"));
    request.approved = Some(7);
    assert!(allows(&under(TEAM, &request)));
    assert!(!allows(&under(&pack(&["deny path contains src"]), &request)));
}

#[test]
fn an_allow_of_a_pack_permits_nothing_that_something_else_forbids() {
    let all = pack(&["allow actor.lineage ne nobody"]);
    for request in [ask(Class::FileWrite, path(".ostk/x")), ask(Class::KernelSecret, Resource::None)] {
        assert!(!allows(&under(&all, &request)), "{request:?}");
    }
    let documents = Documents {
        packs: [("a.yaml".to_owned(), all), ("b.yaml".to_owned(), pack(&["deny path eq x"]))].into(),
        ..Documents::default()
    };
    assert!(!allows(&both(&load(&documents), &ask(Class::FileRead, path("x")))), "each pack for itself");
}

#[test]
fn an_ask_of_a_pack_does_not_become_a_permission() {
    let mut request = ask(Class::FileRead, path("a"));
    request.actor.kind = ActorKind::World;
    assert_eq!(
        under(&pack(&["ask class eq file_read"]), &request).effect,
        Effect::Deny,
        "nothing permits a world"
    );
}

#[test]
fn packs_bind_agents_and_worlds_only() {
    let nothing = "rules: []\ndefaults: {action: deny}\n";
    let mut request = ask(Class::FileRead, path("a"));
    assert_eq!(rules(&under(nothing, &request)), ["rules/team.yaml:2 defaults"]);
    for kind in [ActorKind::Human, ActorKind::Kernel] {
        request.actor.kind = kind;
        assert!(allows(&under(nothing, &request)), "{kind:?}");
    }
}

#[test]
fn each_operator_says_what_it_says() {
    let denied = |rule: &str, argument: Argument| !allows(&under(&pack(&[rule]), &with("x", argument)));
    let text = |text: &str| Argument::Text(text.to_owned());
    let texts = |texts: &[&str]| Argument::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
    let number = Argument::Number;
    for (rule, argument, expected) in [
        ("deny args.x eq a", text("a"), true),
        ("deny args.x eq a", text("A"), false),
        ("deny args.x eq 5", number(5), true),
        ("deny args.x eq \"5\"", number(5), false),
        ("deny args.x eq true", Argument::Flag(true), true),
        ("deny args.x ne a", text("b"), true),
        ("deny args.y ne a", text("b"), false),
        ("deny args.x in [a, b]", text("b"), true),
        ("deny args.x not_in [a, b]", text("c"), true),
        ("deny args.x not_in [a, b]", text("a"), false),
        ("deny args.x gt 5", number(6), true),
        ("deny args.x gt 5", number(5), false),
        ("deny args.x gte 5", number(5), true),
        ("deny args.x lt -1", number(-2), true),
        ("deny args.x lte 5", number(6), false),
        ("deny args.x matches '^a+$'", text("aaa"), true),
        ("deny args.x matches '^1'", number(12), true),
        ("deny args.x contains '*'", text("a*b"), true),
        ("deny args.x contains '*'", text("ab"), false),
        ("deny args.x contains b", texts(&["a", "b"]), true),
        ("deny args.x contains b", texts(&["a", "bb"]), false),
        ("deny args.x in [a]", texts(&["a", "a"]), true),
        ("deny args.x in [a]", texts(&[]), false),
    ] {
        assert_eq!(denied(rule, argument.clone()), expected, "{rule} {argument:?}");
    }
}

#[test]
fn what_cannot_be_judged_denies_whatever_the_rule_would_do() {
    let withheld = Argument::Withheld { withheld_bytes: 5_000 };
    let some = Argument::Texts(vec!["ada@here".to_owned(), "evil@there".to_owned()]);
    for action in ["allow", "deny", "ask", "audit"] {
        for (rule, argument) in [
            ("args.x eq a", &withheld),
            ("args.x gt 5", &Argument::Text("6".to_owned())),
            ("args.x contains a", &Argument::Number(1)),
            ("args.x in ['ada@here']", &some),
            ("args.x ne 'ada@here'", &some),
            ("args.x matches '@here$'", &some),
        ] {
            let verdict = under(&pack(&[&format!("{action} {rule}")]), &with("x", argument.clone()));
            assert_eq!(verdict.effect, Effect::Deny, "{action} {rule}");
            assert_eq!(rules(&verdict), ["rules/team.yaml:2 r0"]);
        }
    }
    let recipients = pack(&["allow args.x in ['ada@here']", "deny args.x matches '@'"]);
    assert!(allows(&under(&recipients, &with("x", Argument::Text("ada@here".to_owned())))));
    assert!(!allows(&under(&recipients, &with("x", some))));
}

#[test]
fn every_field_can_be_asked() {
    let mut request = ask(Class::FileRead, path("src/a"));
    request.actor.pin = Some("p".to_owned());
    request.labels = vec!["web".to_owned(), "untrusted".to_owned()];
    request.task = Some("fix".to_owned());
    request.stack = Some("inner".to_owned());
    let pin = [("p".to_owned(), "read: .\n".to_owned())];
    let denied = |rule: &str, request: &Request| {
        let policy = load(&Documents { pins: pin.clone().into(), ..packed(&pack(&[rule])) });
        !allows(&both(&policy, request))
    };
    for rule in [
        "deny actor.lineage eq worker-b",
        "deny actor.kind eq agent",
        "deny actor.pin in [p]",
        "deny call eq file.read",
        "deny class eq file_read",
        "deny path matches ^src/",
        "deny labels contains web",
        "deny task eq fix",
        "deny stack eq inner",
    ] {
        assert!(denied(rule, &request), "{rule}");
    }
    for (rule, class, resource) in [
        ("deny command contains rm", Class::ShellExec, command("rm a")),
        ("deny model eq opus", Class::ModelCall, Resource::Model("opus".to_owned())),
        ("deny tool eq server", Class::KernelRead, Resource::Tool("server".to_owned())),
        ("deny agent ne boss", Class::KernelSpawn, Resource::Agent("w".to_owned())),
    ] {
        assert!(denied(rule, &ask(class, resource)), "{rule}");
    }
    let hosts = Documents {
        humanfile: Some("IDENTITY a\nMODEL m\nCONNECT crates.io".to_owned()),
        ..Documents::default()
    };
    let connect = ask(Class::NetConnect, Resource::Host("crates.io:443".to_owned()));
    assert!(allows(&both(&load(&hosts), &connect)));
    for rule in ["deny host eq crates.io", "deny port lt 1024"] {
        assert!(
            !allows(&both(
                &load(&Documents { packs: packed(&pack(&[rule])).packs, ..hosts.clone() }),
                &connect
            )),
            "{rule}"
        );
    }
}

#[test]
fn a_mistake_is_named_by_line_and_column_with_what_to_write_instead() {
    let text = "version: 2\nrulse: []\nrules:\n  - name: a\n    condition: {field: pth, operator: eq, value: x}\n    action: dney\n  - condition: {field: path, operator: equals, value: x}\n    action: deny\n    name: b\n  - name: c\n    conditions: [{field: path, operator: gt, value: 1}, {field: path, operator: matches, value: '('}, {field: port, operator: eq, value: x}, {field: path, operator: in, value: x}]\n    action: deny\n    priority: high\n  - name: d\n    action: deny\n    when: x\n";
    assert_eq!(
        wrong(text),
        [
            "rules/team.yaml:1:10: the version is \"1.0\" (version: \"1.0\")",
            "rules/team.yaml:2:1: unknown key \"rulse\" (did you mean `rules`?)",
            "rules/team.yaml:5:24: unknown field \"pth\" (did you mean `path`?)",
            "rules/team.yaml:6:13: unknown action \"dney\" (did you mean `deny`?)",
            "rules/team.yaml:7:40: unknown operator \"equals\" (known: eq, ne, gt, lt, gte, lte, in, not_in, matches, contains)",
            "rules/team.yaml:11:53: path is no number and cannot be compared so (eq, ne, in, not_in, matches and contains compare texts)",
            "rules/team.yaml:11:97: not a regular expression: unclosed group",
            "rules/team.yaml:11:138: a port is a number (value: 443)",
            "rules/team.yaml:11:177: `in` takes a list of 1 to 1000 values (value: [a, b])",
            "rules/team.yaml:13:15: a priority is a whole number (priority: 10)",
            "rules/team.yaml:14:5: a rule needs between 1 and 16 conditions (condition: {field: call, operator: eq, value: file.write})",
            "rules/team.yaml:16:5: unknown key \"when\" (known: name, condition, conditions, action, priority, message)",
        ]
    );
    assert!(wrong(&pack(&["deny path eq a"]).replace("r0", "x\u{7}"))[0].contains("one line"));
    let twice = pack(&["deny path eq a", "deny path eq b"]).replace("r1", "r0");
    assert!(wrong(&twice)[0].contains("two rules are called"));
    assert_eq!(wrong("rules: []\n"), [] as [&str; 0]);
}

#[test]
fn a_pack_of_a_thousand_rules_loads_and_one_beyond_the_limits_does_not() {
    let rule = |nth: usize| format!("deny call eq call.{nth}");
    let many = |count: usize| (0..count).map(rule).collect::<Vec<_>>();
    let text = |rules: &[String]| pack(&rules.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!allows(&under(
        &text(&many(1_000)),
        &Request { call: "call.999".to_owned(), ..ask(Class::FileRead, path("a")) }
    )));
    assert!(wrong(&text(&many(1_001)))[0].contains("at most 1000 rules"));
    let ends: Vec<String> = many(1_000).iter().map(|rule| rule.replace("deny", "allow")).collect();
    assert!(wrong(&text(&ends))[0].contains("too many rules stand below"));
    assert!(wrong(&pack(&["deny path matches '(\\w{100}){100}'"]))[0].contains("not a regular expression"));
}

fn a_rule() -> impl Strategy<Value = String> {
    let action = select(vec!["allow", "audit", "deny", "block", "ask", "escalate"]);
    let condition = || {
        select(vec![
            "{field: call, operator: eq, value: file.write}",
            "{field: call, operator: in, value: [file.write, note]}",
            "{field: call, operator: not_in, value: [file.read]}",
            "{field: class, operator: eq, value: file_write}",
            "{field: class, operator: ne, value: file_read}",
            "{field: path, operator: matches, value: '^(src|docs)'}",
            "{field: path, operator: contains, value: a}",
            "{field: path, operator: eq, value: src/a}",
            "{field: actor.kind, operator: eq, value: agent}",
            "{field: actor.pin, operator: eq, value: p}",
            "{field: actor.lineage, operator: in, value: [w, x]}",
            "{field: command, operator: contains, value: rm}",
            "{field: command, operator: matches, value: git}",
            "{field: labels, operator: contains, value: web}",
            "{field: labels, operator: in, value: [web, repo]}",
            "{field: labels, operator: ne, value: web}",
            "{field: labels, operator: matches, value: '^w'}",
            "{field: args.to, operator: in, value: [a, 5, true]}",
            "{field: args.to, operator: not_in, value: [a, b]}",
            "{field: args.to, operator: gt, value: 4}",
            "{field: args.to, operator: contains, value: a}",
            "{field: args.to, operator: matches, value: '[ab5]'}",
            "{field: args.amount, operator: lte, value: 5}",
            "{field: args.amount, operator: eq, value: 5}",
            "{field: task, operator: eq, value: fix}",
            "{field: model, operator: ne, value: x}",
        ])
    };
    (action, prop::collection::vec(condition(), 1..4), -2..3_i64).prop_map(
        |(action, conditions, priority)| {
            format!(
                "    conditions: [{}]\n    action: {action}\n    priority: {priority}\n",
                conditions.join(", ")
            )
        },
    )
}

fn a_pack() -> impl Strategy<Value = String> {
    let default = select(vec!["allow", "allow", "deny", "ask", "audit"]);
    (prop::collection::vec(a_rule(), 0..6), default).prop_map(|(rules, default)| {
        let named = |(nth, rule): (usize, &String)| format!("  - name: r{nth}\n{rule}");
        let rules: String = rules.iter().enumerate().map(named).collect();
        let rules = if rules.is_empty() { "rules: []\n".to_owned() } else { format!("rules:\n{rules}") };
        format!("{rules}defaults: {{action: {default}}}\n")
    })
}

fn a_request() -> impl Strategy<Value = Request> {
    let argument = || {
        select(vec![
            None,
            Some(Argument::Text("a".to_owned())),
            Some(Argument::Text("cab".to_owned())),
            Some(Argument::Number(5)),
            Some(Argument::Flag(true)),
            Some(Argument::Texts(Vec::new())),
            Some(Argument::Texts(vec!["a".to_owned()])),
            Some(Argument::Texts(vec!["a".to_owned(), "x".to_owned()])),
            Some(Argument::Withheld { withheld_bytes: 9 }),
        ])
    };
    let kind =
        prop_oneof![6 => Just(ActorKind::Agent), 1 => Just(ActorKind::Human), 1 => Just(ActorKind::World)];
    let resource = select(vec![
        path("src/a"),
        path("docs"),
        path("b"),
        command("git push; rm a"),
        command("ls"),
        Resource::None,
        Resource::Model("m".to_owned()),
    ]);
    let call = select(vec!["file.write", "file.read", "note", "shell.run"]);
    let labels = select(vec![vec![], vec!["web"], vec!["repo"], vec!["web", "repo"], vec!["web", "tool"]]);
    let pin = select(vec![None, None, Some("p".to_owned())]);
    (
        kind,
        call,
        select(&Class::ALL[..]),
        resource,
        labels,
        argument(),
        argument(),
        pin,
        prop::option::of(Just(7)),
    )
        .prop_map(|(kind, call, class, resource, labels, to, amount, pin, approved)| {
            let actor = Actor { kind, pin, ..ask(class, Resource::None).actor };
            let actor = Actor { lineage: "w".to_owned(), ..actor };
            let args = [("to", to), ("amount", amount)];
            let args: BTreeMap<String, Argument> =
                args.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            let labels = labels.into_iter().map(str::to_owned).collect();
            Request {
                labels,
                args,
                approved,
                task: Some("fix".to_owned()),
                ..Request::new(actor, call, class, resource)
            }
        })
}

/// How much an effect lets happen.
fn rank(effect: Effect) -> u8 {
    match effect {
        Effect::Deny => 0,
        Effect::Ask => 1,
        Effect::Allow => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_says_what_cedar_says_and_a_pack_only_narrows(
        packs in prop::collection::vec(a_pack(), 1..3),
        requests in prop::collection::vec(a_request(), 25),
    ) {
        let named = |count: usize| packs.iter().take(count).enumerate().map(|(nth, text)| (format!("{nth}.yaml"), text.clone())).collect();
        let load = |count: usize| {
            let pins = [("p".to_owned(), "read: .\nwrite: src\nexecute: shell\n".to_owned())].into();
            Policy::load(&Documents { pins, packs: named(count), ..Documents::default() })
                .map_err(|errors| TestCaseError::fail(errors.to_string()))
        };
        let (without, with) = (load(packs.len() - 1)?, load(packs.len())?);
        for request in &requests {
            let verdict = with.decide(request);
            prop_assert_eq!(&verdict, &with.decide_by_cedar(request), "{:?}", request);
            prop_assert!(rank(verdict.effect) <= rank(without.decide(request).effect), "{:?}", request);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in "(\\PC|[\n :\"'{}\\[\\],-]|  - |rules:|name: |condition: |field: path|operator: |value: ){0,120}") {
        drop(Policy::load(&packed(&text)));
    }
}
