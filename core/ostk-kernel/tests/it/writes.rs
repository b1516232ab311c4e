//! Writes: the order of intent, durability, placing and receipt; queues; batches.

use ostk_kernel::Code;
use serde_json::json;

use crate::{
    host::{Host, ada, agent, assert_code},
    twenty,
};

#[test]
fn nothing_is_placed_before_its_intent_is_durable_or_acknowledged_before_its_receipt_is() {
    let mut host = Host::new();
    host.put("a.txt", "one\n");
    (host.syncs, host.writes) = (false, false);
    let call = host.submit(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "one", "new": "two" }));
    host.run();
    assert_eq!(host.last("file.write.intent").actor, "agent:w");
    assert_eq!((host.text("a.txt").as_str(), host.done.get("place")), ("one\n", None));
    assert!(!host.replies.contains_key(&call), "nothing is promised either");
    host.sync_to(host.log.len());
    host.run();
    assert_eq!(host.text("a.txt"), "two\n");
    assert!(!host.replies.contains_key(&call), "an outside edit after a crash could hide the write");
    host.writes = true;
    host.sync_to(host.durable);
    let reply = host.replies[&call].clone().unwrap();
    assert_eq!(reply["files"][0]["path"], "a.txt");
    assert_eq!(reply["files"][0]["generation"], 2);
    assert_eq!(host.last("file.write.receipt").body["intent"], reply["intent"]);
    host.files_match_the_fold();
}

#[test]
fn an_outside_edit_after_the_daemons_death_does_not_hide_an_acknowledged_write() {
    let mut host = Host::new();
    host.put("a.txt", "one\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.syncs = false;
    let call = host.submit(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "one", "new": "two" }));
    host.run();
    host.sync_to(host.log.len());
    host.run();
    assert!(host.replies.contains_key(&call), "the intent is durable, the receipt is written");
    assert!(host.durable < host.log.len(), "and not durable");
    host.syncs = true;
    host.put("a.txt", "three\n");
    host.kill();
    host.run();
    assert_eq!(host.last("file.write.receipt").body["done"], true);
    let log = host.ok(&ada(), "file.log", json!({ "path": "a.txt" }));
    let writers: Vec<&str> = log["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["writer"].as_str().unwrap())
        .collect();
    assert!(writers.contains(&"agent:w"), "{writers:?}");
}

#[test]
fn a_new_file_is_created_with_its_mode_and_a_mode_may_change_alone() {
    let mut host = Host::new();
    host.ok(&agent("w"), "file.write", json!({ "path": "run.sh", "content": "echo\n", "executable": true }));
    assert_eq!(host.files["run.sh"], (b"echo\n".to_vec(), true));
    host.ok(&agent("w"), "file.write", json!({ "path": "run.sh", "content": "echo\n", "executable": false }));
    assert_eq!(host.files["run.sh"], (b"echo\n".to_vec(), false));
    let same = host.ok(&agent("w"), "file.write", json!({ "path": "run.sh", "content": "echo\n" }));
    assert_eq!(same["unchanged"], true);
    assert_eq!(host.kernel.state().generation("run.sh"), 2);
}

#[test]
fn writes_on_one_path_wait_for_each_other_and_others_do_not() {
    let mut host = Host::new();
    host.put("a.txt", "1\n2\n");
    host.put("b.txt", "1\n");
    host.submit(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "1", "new": "one" }));
    host.submit(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "2", "new": "two" }));
    host.submit(&agent("u"), "file.edit", json!({ "path": "b.txt", "old": "1", "new": "one" }));
    for _ in 0..3 {
        assert!(host.step(0), "three paths are resolved");
    }
    assert_eq!(host.parked.len(), 2, "two looks: one at each path, the other write waits");
    host.run();
    assert_eq!((host.text("a.txt").as_str(), host.text("b.txt").as_str()), ("one\ntwo\n", "one\n"));
}

#[test]
fn a_batch_is_placed_whole_or_put_back() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.put("b.txt", "b\n");
    host.read_only.push("b.txt".to_owned());
    let ops = json!({ "ops": [
        { "op": "edit", "path": "a.txt", "old": "a", "new": "A" },
        { "op": "edit", "path": "b.txt", "old": "b", "new": "B" },
        { "op": "write", "path": "c.txt", "content": "c\n" } ] });
    let error = host.err(&agent("w"), "file.batch", ops.clone());
    assert_code(&error, Code::Failed);
    assert!(error.message.contains("permission denied"), "{error:?}");
    assert_eq!(host.text("a.txt"), "a\n", "the first file went back");
    assert!(!host.files.contains_key("c.txt"));
    host.files_match_the_fold();
    host.read_only.clear();
    host.ok(&agent("w"), "file.batch", ops);
    assert_eq!(
        (host.text("a.txt"), host.text("b.txt"), host.text("c.txt")),
        ("A\n".into(), "B\n".into(), "c\n".into())
    );
    host.files_match_the_fold();
}

#[test]
fn a_batch_is_acknowledged_when_no_power_cut_can_take_a_part_of_it_back() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.put("b.txt", "b\n");
    host.syncs = false;
    let edits = json!({ "ops": [
        { "path": "a.txt", "old": "a", "new": "A" },
        { "path": "b.txt", "old": "b", "new": "B" },
    ] });
    let call = host.submit(&agent("w"), "file.batch", edits);
    host.run();
    host.sync_to(host.log.len());
    host.run();
    assert_eq!((host.text("a.txt"), host.text("b.txt")), ("A\n".to_owned(), "B\n".to_owned()));
    assert!(!host.replies.contains_key(&call), "an edit of one and a power cut would put the other back");
    host.sync_to(host.log.len());
    host.replies[&call].as_ref().unwrap();
}

#[test]
fn a_batch_that_cannot_be_put_back_says_which_files_were_left() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.put("b.txt", "b\n");
    host.read_only.push("b.txt".to_owned());
    // Before the files are placed nothing happens to them; before the first is put back somebody changes it.
    host.before_place.push_back(("other.txt".to_owned(), Vec::new()));
    host.before_place.push_back(("a.txt".to_owned(), b"A\nby hand\n".to_vec()));
    let edits = json!({ "ops": [
        { "path": "a.txt", "old": "a", "new": "A" },
        { "path": "b.txt", "old": "b", "new": "B" },
    ] });
    let error = host.err(&agent("w"), "file.batch", edits);
    assert!(error.message.contains("a.txt could not be put back"), "{error:?}");
    assert!(!error.message.contains("nothing was changed"), "{error:?}");
    assert_eq!(host.last("file.write.receipt").body["done"], false);
    assert_eq!(host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }))["content"], "A\nby hand\n");
    host.files_match_the_fold();
}

#[test]
fn that_nothing_was_changed_is_said_when_no_crash_can_make_it_untrue() {
    let mut host = Host::new();
    host.put("a.txt", "one\n");
    host.read_only.push("a.txt".to_owned());
    (host.syncs, host.writes) = (false, false);
    let edit = json!({ "path": "a.txt", "old": "one", "new": "two" });
    let call = host.submit(&agent("w"), "file.edit", edit);
    host.run();
    host.sync_to(host.log.len());
    host.run();
    assert_eq!(host.last("file.write.receipt").body["done"], false);
    assert!(!host.replies.contains_key(&call), "a start without the receipt would do what the intent says");
    host.writes = true;
    host.sync_to(host.durable);
    assert!(!host.replies.contains_key(&call), "a power cut can still take the receipt");
    host.sync_to(host.log.len());
    let error = host.replies[&call].clone().unwrap_err();
    assert!(error.message.contains("nothing was changed"), "{error:?}");
    host.read_only.clear();
    host.syncs = true;
    host.crash();
    host.run();
    assert_eq!(host.text("a.txt"), "one\n");
    host.files_match_the_fold();
}

#[test]
fn a_batch_lists_every_problem_and_changes_nothing() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.put("b.txt", "b\n");
    let ops = json!({ "ops": [
        { "op": "edit", "path": "a.txt", "old": "a", "new": "A" },
        { "op": "edit", "path": "a.txt", "old": "zzz", "new": "A" },
        { "op": "write", "path": "b.txt", "content": "unread\n" },
        { "op": "delete", "path": "gone.txt" } ] });
    let error = host.err(&agent("w"), "file.batch", ops);
    let numbers: Vec<&serde_json::Value> =
        error.data["problems"].as_array().unwrap().iter().map(|problem| &problem["op"]).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(host.count("file.write.intent"), 0);
    assert_eq!(host.text("a.txt"), "a\n");
}

#[test]
fn later_operations_of_a_batch_see_the_earlier_ones() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    let ops = json!({ "ops": [
        { "path": "a.txt", "old": "a", "new": "b" },
        { "path": "a.txt", "old": "b", "new": "c" },
        { "path": "n.txt", "content": "new\n" },
        { "path": "n.txt", "old": "new", "new": "newer" },
        { "path": "t.txt", "content": "passing\n" },
        { "op": "delete", "path": "t.txt" } ] });
    host.ok(&agent("w"), "file.batch", ops);
    assert_eq!((host.text("a.txt"), host.text("n.txt")), ("c\n".into(), "newer\n".into()));
    assert!(!host.files.contains_key("t.txt"));
    host.files_match_the_fold();
}

#[test]
fn a_batch_too_large_for_one_record_is_refused_and_the_log_goes_on() {
    let mut host = Host::new();
    let ops: Vec<_> =
        (0..900).map(|n| json!({ "path": format!("f{n}"), "content": format!("{n}") })).collect();
    assert_code(&host.err(&agent("w"), "file.batch", json!({ "ops": ops })), Code::TooLarge);
    assert!(host.files.is_empty());
    host.ok(&agent("w"), "file.write", json!({ "path": "a", "content": "a" }));
}

#[test]
fn a_rename_moves_content_mode_and_belief() {
    let mut host = Host::new();
    host.files.insert("a.sh".to_owned(), (b"echo\n".to_vec(), true));
    host.put("taken", "x");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.sh" }));
    assert_code(
        &host.err(&agent("w"), "file.rename", json!({ "from": "a.sh", "to": "taken" })),
        Code::Conflict,
    );
    host.ok(&agent("w"), "file.rename", json!({ "from": "a.sh", "to": "b.sh" }));
    assert_eq!(host.files.get("a.sh"), None);
    assert_eq!(host.files["b.sh"], (b"echo\n".to_vec(), true));
    host.ok(&agent("w"), "file.write", json!({ "path": "b.sh", "content": "echo 2\n" }));
    host.files_match_the_fold();
}

#[test]
fn who_renames_a_file_without_having_read_it_has_not_read_it_afterwards() {
    let mut host = Host::new();
    host.put("a.txt", "theirs\n");
    host.ok(&agent("w"), "file.rename", json!({ "from": "a.txt", "to": "b.txt" }));
    let write = json!({ "path": "b.txt", "content": "mine\n" });
    assert_code(&host.err(&agent("w"), "file.write", write), Code::Unread);
}

#[test]
fn a_file_that_changed_since_it_was_read_is_not_deleted() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "a", "new": "b" }));
    assert_code(&host.err(&agent("w"), "file.delete", json!({ "path": "a.txt" })), Code::Conflict);
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.ok(&agent("w"), "file.delete", json!({ "path": "a.txt" }));
    assert!(host.files.is_empty());
    assert_code(&host.err(&agent("w"), "file.delete", json!({ "path": "a.txt" })), Code::NotFound);
}

#[test]
fn a_write_that_waits_too_long_ends_without_effect_and_frees_its_place() {
    let mut host = Host::new();
    host.put("a.txt", "1\n");
    host.syncs = false;
    let first = host.submit(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "1", "new": "2" }));
    let second = host.submit(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "2", "new": "3" }));
    host.run();
    let next = host.tick(1).expect("the waiting write has a deadline");
    assert!(next.as_micros() > host.now);
    host.tick(61_000);
    assert_code(host.replies[&second].as_ref().unwrap_err(), Code::Deadline);
    assert!(!host.replies.contains_key(&first), "what is recorded ends by itself");
    host.syncs = true;
    host.run();
    assert!(host.replies[&first].is_ok());
    assert_eq!(host.text("a.txt"), "2\n");
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "2", "new": "3" }));
}

#[test]
fn a_re_read_of_known_bytes_costs_one_line_until_they_change_or_the_session_does() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    let (me, read) = (agent("w"), json!({ "path": "a.txt" }));
    host.ok(&me, "file.read", json!({ "path": "a.txt", "limit": 2 }));
    let whole = host.ok(&me, "file.read", read.clone());
    assert_eq!(whole["content"], twenty(), "two lines are not the file");
    let again = host.ok(&me, "file.read", read.clone());
    assert_eq!((again.get("content"), &again["elided"]), (None, &json!(true)));
    assert_eq!(host.ok(&me, "file.read", json!({ "path": "a.txt", "fresh": true }))["content"], twenty());
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "line 3\n", "new": "" }));
    assert!(host.ok(&me, "file.read", read.clone()).get("content").is_some());
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "test" }));
    assert!(host.ok(&me, "file.read", read).get("content").is_some(), "a new session has seen nothing");
}

#[test]
fn an_edit_of_a_file_that_was_never_read_does_not_count_as_having_seen_it() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    host.ok(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "line 3\n", "new": "three\n" }));
    assert!(host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" })).get("content").is_some());
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "line 4\n", "new": "four\n" }));
    let error = host.err(&agent("v"), "file.write", json!({ "path": "a.txt", "content": "short\n" }));
    assert_code(&error, Code::Unread);
}
