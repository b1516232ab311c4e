//! Files that hold a secret and calls that carry one: refused, recorded by the secret's name, and nothing is lost.

use ostk_kernel::Code;
use serde_json::json;

use crate::{
    host::{Host, agent, assert_code, exit},
    twenty,
};

const KEY: &str = "sk-the-operators-key";

/// A file that `w` has read, and into which a person then wrote the key.
fn with_a_key_in_it() -> Host {
    let mut host = Host::new();
    host.secret = Some(KEY);
    host.put("env", &twenty());
    host.ok(&agent("w"), "file.read", json!({ "path": "env" }));
    host.put("env", &format!("{}{KEY}\n", twenty()));
    host
}

#[test]
fn a_file_with_a_secret_is_neither_shown_nor_changed_by_any_call() {
    let mut host = with_a_key_in_it();
    host.put("other", "x");
    let there = host.text("env");
    for (verb, args) in [
        ("file.read", json!({ "path": "env" })),
        ("file.read", json!({ "path": "env", "offset": 1, "limit": 1 })),
        ("file.blame", json!({ "path": "env" })),
        ("file.write", json!({ "path": "env", "content": "mine" })),
        ("file.edit", json!({ "path": "env", "old": "line 3\n", "new": "" })),
        ("file.delete", json!({ "path": "env" })),
        ("file.rename", json!({ "from": "env", "to": "there" })),
        ("file.rename", json!({ "from": "other", "to": "env" })),
        (
            "file.batch",
            json!({ "ops": [{ "path": "new", "content": "x" }, { "path": "env", "content": "x" }] }),
        ),
        ("hook.before", json!({ "tool": "Read", "access": "read", "path": "env" })),
        ("hook.before", json!({ "tool": "Write", "access": "write", "path": "env" })),
    ] {
        let before = host.count("gate.denied");
        let Err(error) = host.call(&agent("w"), verb, args.clone()) else { panic!("{verb} {args}") };
        if error.code == Code::Usage {
            panic!("{verb}: {error:?}");
        }
        assert_code(&error, Code::Denied);
        assert!(error.message.contains("A_KEY") && error.hint.is_some(), "{error:?}");
        assert_eq!(host.count("gate.denied"), before + 1, "{verb}");
        assert_eq!(host.last("gate.denied").body["effect"], "secret");
        assert_eq!(host.text("env"), there, "{verb}");
    }
    assert!(!host.files.contains_key("new") && host.files.contains_key("other"), "all or nothing");
}

#[test]
fn when_the_secret_is_gone_the_work_from_before_is_merged() {
    let mut host = with_a_key_in_it();
    host.put("env", &twenty().replace("line 20", "line twenty"));
    host.ok(
        &agent("w"),
        "file.write",
        json!({ "path": "env", "content": twenty().replace("line 1\n", "line one\n") }),
    );
    assert!(host.text("env").contains("line one\n") && host.text("env").contains("line twenty"));
}

#[test]
fn a_command_that_writes_a_secret_into_a_file_leaves_no_version_of_it() {
    let mut host = with_a_key_in_it();
    let leak = |files: &mut crate::host::Files| {
        files.insert("leak".to_owned(), (KEY.as_bytes().to_vec(), false));
        exit(0, "")
    };
    host.commands.insert("leak".to_owned(), Box::new(leak));
    host.ok(&agent("w"), "shell.run", json!({ "command": "leak" }));
    host.notice(&["leak", "env"]);
    host.ok(&agent("w"), "hook.after", json!({ "tool": "Write", "paths": ["leak"] }));
    assert!(host.log.iter().all(|(_, blobs)| {
        blobs.iter().all(|(_, bytes)| !bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()))
    }));
    assert!(host.text("leak").contains(KEY), "the file itself stays");
}

#[test]
fn a_call_that_carried_a_secret_is_refused_by_the_secrets_name() {
    let mut host = Host::new();
    let error = host.err(
        &agent("w"),
        "secret.refused",
        json!({ "call": "file.write", "secrets": ["A_KEY", "B_KEY"] }),
    );
    assert_code(&error, Code::Denied);
    assert!(error.message.contains("the secrets A_KEY, B_KEY") && error.hint.is_some(), "{error:?}");
    let denied = &host.last("gate.denied").body;
    assert_eq!((&denied["request"]["call"], &denied["effect"]), (&json!("file.write"), &json!("secret")));
}
