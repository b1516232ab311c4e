//! The index says what Cedar says, and a pin only narrows: on thousands of random documents and requests.

use ostk_policy::{
    Actor, ActorKind, Argument, Class, DestructiveOps, Documents, Effect, Mode, Policy, Request, Resource,
};
use proptest::{prelude::*, sample::select, test_runner::Config};

use crate::tool;

const NAMES: [&str; 22] = [
    "src",
    "docs",
    "tests",
    "infra",
    "deploy.tf",
    "main.rs",
    "a",
    "b",
    "SRC",
    "Infra",
    ".ostk",
    ".OSTK",
    "keys",
    ".git",
    "hooks",
    "HUMANFILE",
    "agentfile",
    ".env",
    "key.pem",
    "id_rsa",
    "pins",
    "é",
];
const PATTERNS: [&str; 18] = [
    ".",
    "src",
    "src/",
    "docs",
    "infra/",
    "infra/a",
    "SRC/a",
    "a/b",
    ".ostk",
    "**/*.pem",
    "src/**/*.rs",
    "*",
    "*/a",
    "**",
    "infra/**",
    "*.tf",
    "src/*",
    "./tests",
];
const COMMANDS: [&str; 10] = [
    "git push",
    "cd a && git push -f",
    "ls",
    "FOO=1 /usr/bin/git  push",
    "sh -c 'git push'",
    "git status; rm -rf a",
    "echo hi",
    "sudo -n rm x",
    "GIT PUSH",
    "",
];
const VERBS: [&str; 6] = ["git push", "rm", "git", "file", "file.write", "ls"];
const TOKENS: [&str; 6] =
    ["write-kernel", "modify-governance", "write-src", "read-secrets", "spawn-agent", "network"];

fn a_path() -> impl Strategy<Value = String> {
    let odd = select(vec!["", "../x", "/etc/passwd", "a//b", "./a", "a/.."]).prop_map(str::to_owned);
    prop_oneof![9 => prop::collection::vec(select(&NAMES[..]), 1..4).prop_map(|names| names.join("/")), 1 => odd]
}

fn a_line() -> impl Strategy<Value = String> {
    let paths = || prop::collection::vec(select(&PATTERNS[..]), 1..4).prop_map(|all| all.join(" "));
    prop_oneof![
        1 => paths().prop_map(|paths| format!("read: {paths}")),
        1 => paths().prop_map(|paths| format!("write: {paths}")),
        3 => paths().prop_map(|paths| format!("deny-path: {paths}")),
        1 => select(&TOKENS[..]).prop_map(|token| format!("deny: {token}")),
        1 => select(&VERBS[..]).prop_map(|verb| format!("deny-verb: \"{verb}\"")),
        1 => Just("allow: .".to_owned()),
        1 => Just("connect: example.org".to_owned()),
    ]
}

fn a_pin() -> impl Strategy<Value = String> {
    let execute = select(vec!["", "", "execute: shell", "execute: shell(readonly)", "execute: none"]);
    (prop::collection::vec(a_line(), 0..7), execute).prop_map(|(mut lines, execute)| {
        lines.push(execute.to_owned());
        lines.join("\n")
    })
}

fn a_resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        6 => a_path().prop_map(Resource::Path),
        3 => select(&COMMANDS[..]).prop_map(|line| Resource::Command(line.to_owned())),
        1 => Just(Resource::None),
        1 => Just(Resource::Model("opus".to_owned())),
        1 => Just(Resource::Agent("worker-a".to_owned())),
        1 => Just(Resource::Tool("server".to_owned())),
        1 => select(vec!["example.org:443", "10.0.0.5:80", "a b"]).prop_map(|host| Resource::Host(host.to_owned())),
    ]
}

fn an_actor() -> impl Strategy<Value = Actor> {
    let kind = prop_oneof![
        6 => Just(ActorKind::Agent), 1 => Just(ActorKind::Human), 1 => Just(ActorKind::World), 1 => Just(ActorKind::Kernel)
    ];
    let grant = (
        select(vec![
            "shell",
            "file:read",
            "file:edit",
            "file:write",
            "limit:read",
            "limit:write",
            "kernel:secret",
            "limit:connect",
            "limit:arg.to",
            "limit:arg.amount",
            "frob",
        ]),
        select(vec![
            None,
            None,
            Some("readonly"),
            Some("src"),
            Some("src/**/*.rs"),
            Some("../x"),
            Some("."),
            Some("*@example.org"),
            Some("100"),
        ]),
    );
    let tools = prop::option::weighted(
        0.3,
        prop::collection::vec(grant.prop_map(|(class, pattern)| tool(class, pattern)), 0..3),
    );
    let pin =
        prop_oneof![3 => Just(None), 6 => Just(Some("p".to_owned())), 1 => Just(Some("gone".to_owned()))];
    let mode = prop::option::weighted(0.4, select(Mode::ALL.to_vec()));
    let destructive = prop::option::weighted(0.4, select(DestructiveOps::ALL.to_vec()));
    (kind, pin, tools, mode, destructive).prop_map(|(kind, pin, tools, mode, destructive_ops)| Actor {
        pin,
        tools,
        mode,
        destructive_ops,
        ..Actor::new(kind, "w")
    })
}

fn an_argument() -> impl Strategy<Value = Argument> {
    prop_oneof![
        select(vec!["ada@example.org", "eve@evil.net", ""]).prop_map(|text| Argument::Text(text.to_owned())),
        (0_i64..300).prop_map(Argument::Number),
        any::<bool>().prop_map(Argument::Flag),
        Just(Argument::Texts(vec!["ada@example.org".to_owned(), "eve@evil.net".to_owned()])),
        Just(Argument::Withheld { withheld_bytes: 5_000 }),
    ]
}

fn a_request() -> impl Strategy<Value = Request> {
    let call = select(vec!["file.write", "file.read", "policy.reload", "pin.issue", "note", "files"]);
    let request = (an_actor(), call, select(&Class::ALL[..]), a_resource())
        .prop_map(|(actor, call, class, resource)| Request::new(actor, call, class, resource));
    let args =
        prop::collection::btree_map(select(vec!["to".to_owned(), "amount".to_owned()]), an_argument(), 0..3);
    let labels = select(vec![vec![], vec!["web".to_owned()]]);
    (request, args, labels, prop::option::weighted(0.2, Just(7)))
        .prop_map(|(request, args, labels, approved)| Request { args, labels, approved, ..request })
}

const CUSTOM: &str = r#"
@id("no-tf-in-a") forbid (principal is Agent, action, resource) when { context has path && context.path like "a/*.tf" };
@effect("ask") permit (principal, action == Action::"shell_exec", resource) when { context.verbs.contains("rm") };
permit (principal is World, action == Action::"kernel_read", resource);
"#;

proptest! {
    #![proptest_config(Config { cases: 80, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_index_says_what_cedar_says(
        pin in a_pin(),
        custom in prop::bool::weighted(0.3),
        requests in prop::collection::vec(a_request(), 30),
    ) {
        let pins = [("p".to_owned(), pin), ("q".to_owned(), "deny-path: .".to_owned())].into();
        let documents = Documents { pins, custom: custom.then(|| CUSTOM.to_owned()), ..Documents::default() };
        let policy = Policy::load(&documents).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        for request in &requests {
            prop_assert_eq!(policy.decide(request), policy.decide_by_cedar(request), "{:?}", request);
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 80, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_pin_only_narrows(pin in a_pin(), requests in prop::collection::vec(a_request(), 30)) {
        let documents = Documents { pins: [("p".to_owned(), pin)].into(), ..Documents::default() };
        let policy = Policy::load(&documents).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        for mut request in requests {
            if policy.decide(&request).effect == Effect::Allow {
                request.actor.pin = None;
                prop_assert_eq!(policy.decide(&request).effect, Effect::Allow, "{:?}", request);
            }
        }
    }
}
