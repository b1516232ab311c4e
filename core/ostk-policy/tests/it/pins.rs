//! What a `pin.caps` means, and what is wrong with one that is not accepted.

use ostk_policy::{
    Class, DenyToken, Execute, MAX_LINES, MAX_TEXT_BYTES, PathPattern, Pin, Policy, Resource, scaffold,
};
use proptest::prelude::*;

use crate::{allows, ask, both, command, load, path, pinned, rules, under_pin};

#[test]
fn a_denial_names_who_what_the_line_and_a_remedy() {
    let verdict = under_pin(
        "# bug 12\nwrite: src infra\ndeny-path: infra/\n",
        Class::FileWrite,
        path("infra/deploy.tf"),
    );
    assert_eq!(verdict.reason, "worker-b may not write infra/deploy.tf");
    assert_eq!(rules(&verdict), ["pins/fix-bug/pin.caps:3 deny-path infra/"]);
    assert_eq!(verdict.remedy.as_deref(), Some("ostk why worker-b file.write infra/deploy.tf"));
}

#[test]
fn writes_stay_within_the_write_lines_by_whole_components() {
    let pin = "write: src/parser ./none\nwrite: docs/*.md\n";
    for good in ["src/parser", "src/parser/a/b.rs", "none/x", "docs/a.md"] {
        assert!(allows(&under_pin(pin, Class::FileWrite, path(good))), "{good}");
    }
    for bad in ["src/parser2", "src", "a/src/parser/x", "docs/a/b.md", "docs/a.mdx", "SRC/parser/a", ""] {
        assert!(!allows(&under_pin(pin, Class::FileWrite, path(bad))), "{bad}");
    }
    assert!(allows(&under_pin(pin, Class::FileRead, path("other"))), "reading keeps the defaults");
    let verdict = under_pin(pin, Class::FileEdit, path("x"));
    assert_eq!(rules(&verdict), ["pins/fix-bug/pin.caps:1 write src/parser ./none docs/*.md"]);
}

#[test]
fn none_takes_a_capability_away() {
    let pin = "read: .\nwrite: none\nexecute: none\n";
    assert!(allows(&under_pin(pin, Class::FileRead, path("a"))));
    assert!(!allows(&under_pin(pin, Class::FileWrite, path("a"))));
    assert!(!allows(&under_pin(pin, Class::ShellRead, command("ls"))));
}

#[test]
fn what_says_where_to_read_or_write_and_not_what_to_run_runs_nothing() {
    assert!(!allows(&under_pin("read: .\n", Class::ShellExec, command("ls"))));
    assert!(allows(&under_pin("read: .\nexecute: shell\n", Class::ShellExec, command("ls"))));
    assert!(allows(&under_pin("deny: network\n", Class::ShellExec, command("ls"))));
    assert!(!allows(&under_pin("execute: shell(readonly)\n", Class::ShellWrite, command("rm a"))));
    assert!(allows(&under_pin("execute: shell(readonly)\n", Class::ShellExec, command("make"))));
}

#[test]
fn a_denied_path_beats_everything_for_reads_and_writes_in_any_case_of_letters() {
    let pin = "read: .\nwrite: .\nallow: infra secrets\ndeny-path: infra/ **/*.pem\n";
    for denied in ["infra", "infra/a/b", "Infra/A", "x/key.PEM", "key.pem", "a/dir.pem/inner"] {
        assert!(!allows(&under_pin(pin, Class::FileRead, path(denied))), "{denied}");
        assert!(!allows(&under_pin(pin, Class::FileWrite, path(denied))), "{denied}");
    }
    assert!(allows(&under_pin(pin, Class::FileWrite, path("infrared/a"))));
}

#[test]
fn each_token_denies_what_it_names() {
    let denied =
        |token: &str, class, resource| !allows(&under_pin(&format!("deny: {token}\n"), class, resource));
    assert!(denied("write-src", Class::FileWrite, path("src/a")));
    assert!(denied("write-src", Class::FileEdit, path("build.rs")));
    assert!(!denied("write-src", Class::FileWrite, path("docs/a.md")));
    for secret in [".env", "web/.env.local", "tls/server.pem", "home/id_rsa"] {
        assert!(denied("read-secrets", Class::FileRead, path(secret)), "{secret}");
    }
    assert!(!denied("read-secrets", Class::FileRead, path("src/id_map.rs")));
    assert!(denied("spawn-agent", Class::KernelSpawn, Resource::Agent("w".to_owned())));
    let verdict = under_pin("deny: write-kernel modify-governance\n", Class::FileWrite, path(".ostk/pins/x"));
    let own: Vec<String> = rules(&verdict).into_iter().filter(|rule| rule.starts_with("pins/")).collect();
    assert_eq!(
        own,
        ["pins/fix-bug/pin.caps:1 deny modify-governance", "pins/fix-bug/pin.caps:1 deny write-kernel"]
    );
}

#[test]
fn a_denied_verb_is_found_in_a_compound_command_and_not_in_a_longer_word() {
    let pin = "deny-verb: \"git push\" rm file.delete\n";
    for line in [
        "git push",
        "cd a && git push -f",
        "true; /usr/bin/git push",
        "GIT_DIR=x git  push",
        "(git push)",
        "echo $(git push)",
        "sudo -n git push",
        "sh -c 'git push'",
        "timeout 5 rm a",
        "g'i't push",
        "find | xargs rm",
        "if git push; then ls; fi",
        "git \\\n push",
    ] {
        assert!(!allows(&under_pin(pin, Class::ShellExec, command(line))), "{line}");
    }
    for line in ["git pushy", "git status", "rmdir a", "echo git push", "git commit -m 'rm a'"] {
        assert!(allows(&under_pin(pin, Class::ShellExec, command(line))), "{line}");
    }
    assert!(!allows(&under_pin("deny-verb: sudo\n", Class::ShellExec, command("A=1 sudo -u x ls"))));
    let policy = load(&pinned(pin));
    let mut request = ask(Class::FileWrite, path("a"));
    request.actor.pin = Some("fix-bug".to_owned());
    assert!(allows(&both(&policy, &request)));
    request.call = "file.delete".to_owned();
    assert_eq!(rules(&both(&policy, &request)), ["pins/fix-bug/pin.caps:1 deny-verb file.delete"]);
}

#[test]
fn a_pin_that_does_not_exist_leaves_a_look_at_the_kernel_and_no_more() {
    let policy = load(&pinned("read: .\n"));
    for class in Class::ALL {
        let mut request = ask(class, path("a"));
        request.actor.pin = Some("gone".to_owned());
        let verdict = both(&policy, &request);
        assert_eq!(allows(&verdict), class == Class::KernelRead, "{class:?}");
        assert!(
            class == Class::KernelRead || verdict.reason.contains("no pin \"gone\""),
            "{}",
            verdict.reason
        );
    }
}

/// The problems of a pin's text, as printed.
fn problems(text: &str) -> Vec<String> {
    Pin::parse("p", text).err().map(|e| e.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn a_mistake_is_named_by_line_and_column_with_what_to_write_instead() {
    let text =
        "read: src\n  wirte: a\ndeny: network write-kernle\nread docs\ndeny-path: ../x\nwrite: \"a b\n";
    assert_eq!(
        problems(text),
        [
            "pins/p/pin.caps:2:3: unknown key \"wirte\" (did you mean `write`?)",
            "pins/p/pin.caps:3:15: unknown token \"write-kernle\" (did you mean `write-kernel`?)",
            "pins/p/pin.caps:4:1: a line needs a key and a colon (write `key: value`, for example `read: src docs`)",
            "pins/p/pin.caps:5:12: a path may not contain `..`",
            "pins/p/pin.caps:6:8: the quotation mark is not closed",
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for text in [
        "read:",
        "write: # nothing",
        "read: none src",
        "write: a\nwrite: none",
        "execute: shell none",
        "execute: shell\nexecute: none",
        "execute: bash",
        "deny-verb: \"\"",
        "deny-verb: \"a b c d e f g h i\"",
        "read: /etc",
        "read: ~/x",
        "read: a//b",
        "read: \"\"",
        "read: a/./b",
        "deny-path: *.{rs,toml}",
        "deny-path: a?",
        "read: a**",
        "read: \"a\"b",
        "Read: a",
    ] {
        assert!(!problems(text).is_empty(), "{text:?}");
    }
}

#[test]
fn quotes_comments_and_line_ends_are_understood() {
    let text = "\u{20}\r\n# all\r\nread: \"my docs\" a#b # the rest\r\n\tdeny-verb: \"git  PUSH\"\r\n";
    let pin = Pin::parse("p", text).expect("a good pin");
    let readable: Vec<&str> = pin.readable().expect("a list").iter().map(PathPattern::as_str).collect();
    assert_eq!(readable, ["my docs", "a#b"]);
    assert!(!allows(&under_pin(text.trim_start(), Class::ShellExec, command("git push"))));
}

#[test]
fn an_allow_line_is_accepted_and_said_to_do_nothing() {
    let pin = Pin::parse("p", "allow: infra\nwrite: src/**/*.rs\n").expect("a good pin");
    let lints: Vec<String> = pin.lints().iter().map(ToString::to_string).collect();
    assert!(lints[0].starts_with("pins/p/pin.caps:1: `allow:` gives nothing"), "{lints:?}");
    assert!(lints[1].starts_with("pins/p/pin.caps:2: a glob in `write:`"), "{lints:?}");
}

#[test]
fn a_text_beyond_the_limits_is_refused_and_one_at_the_limit_is_read() {
    assert_eq!(problems(&"\n".repeat(MAX_LINES)), [] as [&str; 0]);
    assert_eq!(problems(&"\n".repeat(MAX_LINES + 1)).len(), 1);
    assert_eq!(problems(&" ".repeat(MAX_TEXT_BYTES + 1)).len(), 1);
    assert_eq!(problems(&"?\n".repeat(MAX_LINES)).len(), 20, "problems are bounded");
}

#[test]
fn a_new_pin_holds_what_was_asked_and_nothing_else() {
    for (caps, read, write, run) in [
        ("read write execute", true, true, true),
        ("read", true, false, false),
        ("read,execute", true, false, true),
    ] {
        let text = scaffold("fix-bug", caps);
        assert_eq!(allows(&under_pin(&text, Class::FileRead, path("a"))), read, "{caps}");
        assert_eq!(allows(&under_pin(&text, Class::FileWrite, path("a"))), write, "{caps}");
        assert_eq!(allows(&under_pin(&text, Class::ShellExec, command("ls"))), run, "{caps}");
    }
    assert!(scaffold("p", "read wirte\u{7}").ends_with("# not a capability: \"wirte\\u{7}\"\n"));
}

#[test]
fn a_sandbox_gets_its_limits_from_the_same_pin() {
    let pin = "read: src\nwrite: src/a docs/** b\nexecute: shell\ndeny: network\ndeny-path: src/a/x infra/**/*.tf *.pem\n";
    let policy = load(&pinned(pin));
    let mut actor = ask(Class::ShellExec, Resource::None).actor;
    assert_eq!(policy.bounds(&actor).writable, [""]);
    actor.pin = Some("fix-bug".to_owned());
    let bounds = policy.bounds(&actor);
    assert_eq!(bounds.writable, ["b", "src/a"], "a glob gives a command nothing");
    assert_eq!(bounds.denied, ["src/a/x", "infra"]);
    assert!(
        ["src/a/x", "infra", ".ostk", ".git/hooks"]
            .iter()
            .all(|path| bounds.protected.iter().any(|p| p == path))
    );
    assert_eq!(bounds.readable.as_deref(), Some(&["src".to_owned()][..]));
    assert!(!bounds.network);
    actor.tools = Some(vec![crate::tool("shell", None), crate::tool("limit:write", Some("src"))]);
    assert_eq!(policy.bounds(&actor).writable, ["src/a"]);
    actor.pin = Some("gone".to_owned());
    assert_eq!(policy.bounds(&actor).writable, [] as [&str; 0]);
    let readonly = Pin::parse("p", "execute: shell(readonly)\ndeny: network\n").expect("a good pin");
    assert!(readonly.execute() == Some(Execute::ReadonlyShell) && readonly.denies(DenyToken::Network));
    actor.pin = Some("fix-bug".to_owned());
    assert_eq!(load(&pinned("execute: shell(readonly)\n")).bounds(&actor).writable, [] as [&str; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in "(\\PC|[\n\r\t :\"#*/.\\\\]|read|write|deny|-path|none){0,200}") {
        drop(Pin::parse("p", &text));
    }

    #[test]
    fn a_text_that_is_accepted_also_compiles(words in prop::collection::vec("[^\\s\\pC]{1,8}", 1..5), key in "read|write|deny-path|deny-verb") {
        let text = format!("{key}: {}", words.join(" "));
        if Pin::parse("fix-bug", &text).is_ok() {
            prop_assert!(Policy::load(&pinned(&text)).is_ok(), "{}", text);
        }
    }
}
