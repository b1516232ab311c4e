//! Changes made outside the kernel: noticed, ascribed, merged, never lost.

use ostk_kernel::Outcome;
use serde_json::json;

use crate::{
    host::{Files, Host, agent, exit},
    twenty,
};

fn write(path: &'static str, text: &'static str) -> Box<dyn FnMut(&mut Files) -> ostk_kernel::ShellEnd> {
    Box::new(move |files| {
        files.insert(path.to_owned(), (text.as_bytes().to_vec(), false));
        exit(0, "done\n")
    })
}

#[test]
fn an_outside_edit_is_noticed_at_the_next_touch_and_merged() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.put("a.txt", &twenty().replace("line 2\n", "two\n"));
    let mine = twenty().replace("line 19\n", "nineteen\n");
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    assert_eq!(host.last("file.foreign").actor, "human:external");
    assert_eq!(host.text("a.txt"), mine.replace("line 2\n", "two\n"));
    host.files_match_the_fold();
}

#[test]
fn an_outside_edit_between_look_and_placing_is_not_lost() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    for line in ["two\n", "zwei\n"] {
        host.before_place.push_back(("a.txt".to_owned(), twenty().replace("line 2\n", line).into_bytes()));
    }
    let mine = twenty().replace("line 19\n", "nineteen\n");
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    assert_eq!(host.text("a.txt"), mine.replace("line 2\n", "zwei\n"));
    assert_eq!(host.count("file.write.intent"), 3);
    assert_eq!(host.kernel.state().counts.writes, 1, "two intents came to nothing, and say so");
    host.files_match_the_fold();
}

#[test]
fn a_file_that_never_comes_to_rest_is_given_up() {
    let mut host = Host::new();
    host.put("a.txt", "0\n");
    for n in 1..20 {
        host.before_place.push_back(("a.txt".to_owned(), format!("0\n{n}\n").into_bytes()));
    }
    let error = host.err(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "0", "new": "zero" }));
    assert!(error.message.contains("changed before it was placed"), "{error:?}");
    assert!(host.count("file.write.intent") < 10, "tries are bounded");
}

#[test]
fn an_outside_edit_of_a_batch_that_is_put_back_stays_and_the_rest_goes_back() {
    let mut host = Host::new();
    for path in ["a.txt", "b.txt", "c.txt"] {
        host.put(path, "old\n");
    }
    host.read_only.push("c.txt".to_owned());
    let ops: Vec<_> =
        ["a.txt", "b.txt", "c.txt"].map(|path| json!({ "path": path, "old": "old", "new": "new" })).into();
    host.submit(&agent("w"), "file.batch", json!({ "ops": ops }));
    host.sync_to(host.log.len());
    host.step(0);
    host.step(0);
    host.sync_to(host.log.len());
    host.step(0);
    assert_eq!((host.text("a.txt"), host.text("b.txt")), ("new\n".into(), "new\n".into()));
    host.put("b.txt", "outside\n");
    host.run();
    assert_eq!((host.text("a.txt"), host.text("b.txt")), ("old\n".into(), "outside\n".into()));
}

#[test]
fn a_command_reports_what_it_changed_and_owns_it() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.commands.insert("make".to_owned(), write("a.txt", "made\n"));
    let reply = host.ok(&agent("w"), "shell.run", json!({ "command": "make", "cwd": "src" }));
    assert_eq!(
        (&reply["changed"], &reply["stdout"], &reply["exit"]),
        (&json!(["a.txt"]), &json!("done\n"), &json!(0))
    );
    assert_eq!(host.last("file.foreign").actor, "agent:w");
    assert_eq!(host.last("shell.receipt").body["changed"], json!(["a.txt"]));
}

#[test]
fn a_change_noticed_while_one_command_runs_is_that_commands() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    let call = host.submit(&agent("w"), "shell.run", json!({ "command": "make" }));
    host.sync_to(host.log.len());
    let (op, _) = host.start(0).unwrap();
    host.put("a.txt", "made\n");
    host.ok(&agent("v"), "file.read", json!({ "path": "a.txt" }));
    assert_eq!(host.last("file.foreign").actor, "agent:w");
    let end = Ok(exit(0, ""));
    host.finish(op, Outcome::Shell { end, before: Vec::new(), after: vec!["a.txt".to_owned()] });
    host.run();
    assert_eq!(host.replies[&call].as_ref().unwrap()["changed"], json!(["a.txt"]));
    assert_eq!(host.count("file.foreign"), 1);
}

#[test]
fn what_had_changed_before_a_command_began_is_not_its_own() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.put("a.txt", "edited\n");
    host.scanned_before = vec!["a.txt".to_owned()];
    host.commands.insert("make".to_owned(), write("b.txt", "made\n"));
    let reply = host.ok(&agent("w"), "shell.run", json!({ "command": "make" }));
    assert_eq!(reply["changed"], json!(["b.txt"]));
    let by = |path: &str| {
        let found =
            host.log.iter().find(|(d, _)| d.event == "file.foreign" && d.body["change"]["path"] == path);
        found.unwrap().0.actor.clone()
    };
    assert_eq!((by("a.txt"), by("b.txt")), ("human:external".to_owned(), "agent:w".to_owned()));
}

#[test]
fn the_watcher_records_what_changed_and_ignores_the_kernels_own_writes() {
    let mut host = Host::new();
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": "a\n" }));
    host.notice(&["a.txt"]);
    assert_eq!(host.count("file.foreign"), 0);
    host.put("a.txt", "b\n");
    host.notice(&["a.txt"]);
    assert_eq!(host.count("file.foreign"), 1);
    host.files.remove("a.txt");
    host.notice(&[]);
    host.notice(&["a.txt"]);
    assert_eq!(host.kernel.state().files["a.txt"].image, None);
}

#[test]
fn a_clients_own_tool_is_warned_before_and_owns_its_changes_after() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    let me = agent("claude-1");
    host.ok(&me, "hook.before", json!({ "tool": "Read", "access": "read", "path": "a.txt" }));
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "a", "new": "b" }));
    let error = host.err(&me, "hook.before", json!({ "tool": "Edit", "access": "edit", "path": "a.txt" }));
    assert!(error.message.contains("agent:v"), "{error:?}");
    host.put("a.txt", "c\n");
    let after = host.ok(&me, "hook.after", json!({ "tool": "Edit", "paths": ["a.txt"] }));
    assert_eq!(after["changed"], json!(["a.txt"]));
    assert_eq!(host.last("file.foreign").actor, "agent:claude-1");
    let nothing = host.ok(&me, "hook.after", json!({ "tool": "Edit", "paths": ["a.txt"] }));
    assert_eq!(nothing["changed"], json!([]));
    host.put("b.txt", "scanned\n");
    let scan = host.ok(&me, "hook.after", json!({ "tool": "Bash", "scan": true }));
    assert_eq!(scan["changed"], json!(["b.txt"]));
}
