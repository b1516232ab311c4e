//! Idempotency and what a crash interrupts: no second effect, and an honest answer.

use ostk_kernel::{Code, Outcome};
use serde_json::json;

use crate::{
    host::{Host, agent, assert_code, exit},
    twenty,
};

#[test]
fn a_repeated_key_has_no_second_effect_also_after_a_restart() {
    let mut host = Host::new();
    host.put("a.txt", "1\n");
    let edit = json!({ "path": "a.txt", "old": "1", "new": "11" });
    let first = host.keyed(&agent("w"), "file.edit", edit.clone(), "k").unwrap();
    let again = host.keyed(&agent("w"), "file.edit", edit.clone(), "k").unwrap();
    assert_eq!((&again["files"], &again["repeated"]), (&first["files"], &json!(true)));
    host.crash();
    let after = host.keyed(&agent("w"), "file.edit", edit.clone(), "k").unwrap();
    assert_eq!(after["files"], first["files"]);
    assert_eq!(host.text("a.txt"), "11\n");
    host.keyed(&agent("v"), "file.edit", edit, "k").unwrap_err();
    assert_eq!(host.text("a.txt"), "11\n", "another's key is another key, and 1 stands there twice");
}

#[test]
fn a_key_repeated_while_the_call_is_open_waits_for_it() {
    let mut host = Host::new();
    host.put("a.txt", "1\n");
    let edit = json!({ "path": "a.txt", "old": "1", "new": "1 1" });
    let first = host.submit_keyed(&agent("w"), "file.edit", edit.clone(), Some("k"));
    let second = host.submit_keyed(&agent("w"), "file.edit", edit, Some("k"));
    host.run();
    assert_eq!(
        host.replies[&first].as_ref().unwrap()["files"],
        host.replies[&second].as_ref().unwrap()["files"]
    );
    assert_eq!(host.text("a.txt"), "1 1\n");
    assert_eq!(host.count("file.write.intent"), 1);
}

#[test]
fn a_key_repeated_during_recovery_waits_for_it() {
    let mut host = Host::new();
    host.put("a.txt", "1\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    let edit = json!({ "path": "a.txt", "old": "1", "new": "1 1" });
    let me = crate::host::ada();
    host.submit_keyed(&me, "file.edit", edit.clone(), Some("k"));
    host.syncs = false;
    host.run();
    host.sync_to(host.log.len());
    host.crash();
    let call = host.submit_keyed(&me, "file.edit", edit, Some("k"));
    host.syncs = true;
    host.run();
    assert_eq!(host.replies[&call].as_ref().unwrap()["repeated"], true);
    assert_eq!(host.text("a.txt"), "1 1\n");
}

#[test]
fn a_repeated_conflict_is_the_same_conflict() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "line 10\n", "new": "ten\n" }));
    let write = json!({ "path": "a.txt", "content": twenty().replace("line 12\n", "twelve\n") });
    let mut first = host.keyed(&agent("w"), "file.write", write.clone(), "k").unwrap_err();
    first.data.as_object_mut().unwrap().remove("digest");
    assert_eq!(host.keyed(&agent("w"), "file.write", write, "k").unwrap_err(), first);
    assert_eq!(host.count("file.conflict"), 1);
}

#[test]
fn a_repeated_command_gives_its_output_again_and_does_not_run() {
    let mut host = Host::new();
    host.commands.insert("hello".to_owned(), Box::new(|_| exit(3, "hello\n")));
    let run = json!({ "command": "hello" });
    let first = host.keyed(&agent("w"), "shell.run", run.clone(), "k").unwrap();
    let again = host.keyed(&agent("w"), "shell.run", run, "k").unwrap();
    for member in ["stdout", "stderr", "exit", "duration_ms", "changed"] {
        assert_eq!(again[member], first[member], "{member}");
    }
    assert_eq!(host.done["shell"], 1);
}

#[test]
fn a_command_whose_end_a_crash_hid_is_reported_in_doubt_and_never_run_again() {
    let mut host = Host::new();
    host.commands.insert("deploy".to_owned(), Box::new(|_| exit(0, "")));
    let me = crate::host::ada();
    host.submit_keyed(&me, "shell.run", json!({ "command": "deploy" }), Some("k"));
    host.sync_to(host.log.len());
    host.crash();
    host.run();
    assert!(host.last("shell.receipt").body["problem"].as_str().unwrap().contains("unknown"));
    let error = host.keyed(&me, "shell.run", json!({ "command": "deploy" }), "k").unwrap_err();
    assert!(error.message.contains("not run again"), "{error:?}");
    assert_eq!(host.done.get("shell"), None);
}

#[test]
fn notes_locks_and_processes_happen_once_for_one_key() {
    let mut host = Host::new();
    let me = crate::host::ada();
    host.ok(&me, "session.start", json!({ "name": "v", "exact": true, "client": "c" }));
    for (verb, args, event) in [
        ("note", json!({ "text": "t" }), "note.added"),
        ("nudge", json!({ "lineage": "v", "text": "t" }), "nudge.sent"),
        ("lock", json!({ "action": "create", "name": "l" }), "lock.changed"),
        ("process.start", json!({ "alias": "p", "command": "serve" }), "process.intent"),
        ("process.interact", json!({ "alias": "p", "action": "write", "input": "q" }), "call.receipt"),
        ("session.start", json!({ "name": "s" }), "session.started"),
    ] {
        let before = host.count(event);
        host.keyed(&me, verb, args.clone(), verb).unwrap();
        host.keyed(&me, verb, args, verb).unwrap();
        assert_eq!(host.count(event), before + 1, "{verb}");
    }
    host.crash();
    host.run();
    assert_eq!(host.last("process.ended").body["outcome"], "lost in a restart");
    let error =
        host.keyed(&me, "process.start", json!({ "alias": "p", "command": "serve" }), "process.start");
    assert!(error.unwrap_err().message.contains("not started again"));
}

#[test]
fn a_write_whose_placing_a_crash_hid_is_finished() {
    for placed in [false, true] {
        let mut host = Host::new();
        host.put("a.txt", "1\n");
        host.submit(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "1", "new": "2" }));
        host.syncs = false;
        host.run();
        host.sync_to(host.log.len());
        if placed {
            host.step(0);
        }
        host.crash();
        host.syncs = true;
        host.run();
        assert_eq!(host.text("a.txt"), "2\n");
        assert_eq!(host.kernel.state().counts.writes, 1);
        assert!(host.kernel.state().open_writes.is_empty());
        host.files_match_the_fold();
    }
}

#[test]
fn a_batch_that_cannot_be_finished_after_a_crash_goes_back_whole() {
    let mut host = Host::new();
    for path in ["a.txt", "b.txt"] {
        host.put(path, "old\n");
    }
    let ops: Vec<_> =
        ["a.txt", "b.txt"].map(|path| json!({ "path": path, "old": "old", "new": "new" })).into();
    host.submit(&agent("w"), "file.batch", json!({ "ops": ops }));
    host.syncs = false;
    host.run();
    host.sync_to(host.log.len());
    host.put("a.txt", "new\n");
    host.put("b.txt", "outside\n");
    host.crash();
    host.syncs = true;
    host.run();
    assert_eq!((host.text("a.txt"), host.text("b.txt")), ("old\n".into(), "outside\n".into()));
    assert_eq!(host.last("file.write.receipt").body["done"], false);
}

#[test]
fn a_withdrawn_call_has_no_effect_if_it_had_none_and_only_its_caller_can_withdraw_it() {
    let mut host = Host::new();
    host.put("a.txt", "1\n");
    let edit = || json!({ "path": "a.txt", "old": "1", "new": "2" });
    let open = host.submit_keyed(&agent("w"), "file.edit", edit(), Some("k"));
    host.withdraw(&agent("v"), "k");
    host.withdraw(&agent("w"), "another");
    assert!(!host.replies.contains_key(&open));
    host.withdraw(&agent("w"), "k");
    host.run();
    assert_code(host.replies[&open].as_ref().unwrap_err(), Code::Stopped);
    assert_eq!((host.text("a.txt").as_str(), host.count("file.write.intent")), ("1\n", 0));
    host.keyed(&agent("w"), "file.edit", edit(), "later").unwrap();
    assert_eq!(host.text("a.txt"), "2\n", "nothing waits behind what was withdrawn");
}

#[test]
fn a_withdrawn_command_is_killed_and_its_end_is_in_the_log() {
    let mut host = Host::new();
    let open = host.submit_keyed(&agent("w"), "shell.run", json!({ "command": "make" }), Some("k"));
    host.sync_to(host.log.len());
    let (command, _) = host.start(0).expect("the command runs");
    host.withdraw(&agent("w"), "k");
    assert_eq!(host.aborted, [command]);
    assert!(!host.replies.contains_key(&open), "it is not over before it has ended");
    host.finish(command, Outcome::Shell { end: Ok(exit(137, "")), before: Vec::new(), after: Vec::new() });
    host.run();
    assert_eq!(host.replies[&open].as_ref().unwrap()["exit"], 137);
    assert_eq!(host.count("shell.receipt"), 1);
}

#[test]
fn a_batch_that_recovery_cannot_put_back_says_which_files_were_left() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.put("b.txt", "b\n");
    let edits = json!({ "ops": [
        { "path": "a.txt", "old": "a", "new": "A" },
        { "path": "b.txt", "old": "b", "new": "B" },
    ] });
    host.syncs = false;
    host.submit_keyed(&agent("w"), "file.batch", edits.clone(), Some("k"));
    host.run();
    host.sync_to(host.log.len());
    // The daemon dies when it has placed the first; then the second cannot be written, and somebody edits the first.
    host.put("a.txt", "A\n");
    host.read_only.push("b.txt".to_owned());
    host.before_place.clear();
    host.crash();
    host.syncs = true;
    host.before_place.push_back(("a.txt".to_owned(), b"A\nby hand\n".to_vec()));
    host.run();
    assert_eq!(host.last("file.write.receipt").body["done"], false);
    let error = host.keyed(&agent("w"), "file.batch", edits, "k").unwrap_err();
    assert!(error.message.contains("a.txt could not be put back: what it holds is unknown"), "{error:?}");
    assert!(!error.message.contains("b.txt could"), "{error:?}");
    assert_eq!(host.text("b.txt"), "b\n");
    host.ok(&agent("v"), "file.read", json!({ "path": "a.txt" }));
    host.files_match_the_fold();
}
