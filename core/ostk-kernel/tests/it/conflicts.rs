//! Stale bases: what is merged, what is handed back, and that a belief follows its writer.

use ostk_kernel::Code;
use serde_json::json;

use crate::{
    host::{Host, ada, agent, assert_code},
    twenty,
};

/// Agents `w` and `v` have read twenty lines, and `v` has changed `line`.
fn stale(line: &str, new: &str) -> Host {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    for name in ["w", "v"] {
        host.ok(&agent(name), "file.read", json!({ "path": "a.txt" }));
    }
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": line, "new": new }));
    host
}

#[test]
fn a_stale_edit_far_from_the_change_is_applied() {
    let mut host = stale("line 2\n", "two\n");
    let reply = host.ok(
        &agent("w"),
        "file.edit",
        json!({ "path": "a.txt", "old": "line 19\n", "new": "nineteen\n" }),
    );
    assert_eq!(reply["files"][0]["merged"], true);
    let expected = twenty().replace("line 2\n", "two\n").replace("line 19\n", "nineteen\n");
    assert_eq!(host.text("a.txt"), expected);
}

#[test]
fn whole_file_writes_from_a_stale_view_merge_and_never_revert() {
    let mut host = stale("line 2\n", "two\n");
    let mine = twenty().replace("line 19\n", "nineteen\n");
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    let merged = mine.replace("line 2\n", "two\n");
    assert_eq!(host.text("a.txt"), merged);
    // The same view again, one step on: the other's line is not in it, and stays all the same.
    let mine = mine.replace("line 18\n", "eighteen\n");
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    assert_eq!(host.text("a.txt"), merged.replace("line 18\n", "eighteen\n"));
    host.files_match_the_fold();
}

#[test]
fn a_look_at_some_lines_does_not_let_a_whole_file_write_take_the_others_back() {
    let mut host = stale("line 2\n", "two\n");
    let part = json!({ "path": "a.txt", "offset": 18, "limit": 2 });
    assert_eq!(host.ok(&agent("w"), "file.read", part)["content"], "line 18\nline 19\n");
    let mine = twenty().replace("line 19\n", "nineteen\n");
    let reply = host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    assert_eq!(reply["files"][0]["merged"], true);
    assert_eq!(host.text("a.txt"), mine.replace("line 2\n", "two\n"));
    host.files_match_the_fold();
}

#[test]
fn who_has_seen_some_lines_of_a_file_may_change_them_and_not_replace_the_file() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    let (w, whole) = (agent("w"), json!({ "path": "a.txt", "content": "line 1\nnew\n" }));
    host.ok(&w, "file.read", json!({ "path": "a.txt", "limit": 2 }));
    let refused = host.err(&w, "file.write", whole.clone());
    assert_code(&refused, Code::Unread);
    assert!(refused.hint.as_deref().unwrap().contains("read the whole of a.txt"), "{refused:?}");
    assert_code(
        &host.err(&w, "hook.before", json!({ "tool": "Write", "access": "write", "path": "a.txt" })),
        Code::Unread,
    );
    host.ok(&w, "file.edit", json!({ "path": "a.txt", "old": "line 2\n", "new": "two\n" }));
    assert_eq!(host.text("a.txt"), twenty().replace("line 2\n", "two\n"));
    assert_code(&host.err(&w, "file.write", whole.clone()), Code::Unread);
    host.ok(&w, "file.rename", json!({ "from": "a.txt", "to": "b.txt" }));
    let moved = json!({ "path": "b.txt", "content": "line 1\nnew\n" });
    assert_code(&host.err(&w, "file.write", moved.clone()), Code::Unread);
    host.ok(&w, "file.read", json!({ "path": "b.txt" }));
    host.ok(&w, "file.write", moved);
    assert_eq!(host.text("b.txt"), "line 1\nnew\n");
    host.files_match_the_fold();
}

#[test]
fn after_a_look_at_some_lines_a_targeted_edit_of_what_another_wrote_there_works() {
    let mut host = stale("line 19\n", "theirs\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt", "offset": 19 }));
    let edit = json!({ "path": "a.txt", "old": "theirs\n", "new": "ours\n" });
    host.ok(&agent("w"), "file.edit", edit);
    assert_eq!(host.text("a.txt"), twenty().replace("line 19\n", "ours\n"));
    // It has still seen only its first version as a whole: a file written from that gives nothing back.
    let mine = twenty().replace("line 2\n", "two\n");
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    assert_eq!(host.text("a.txt"), mine.replace("line 19\n", "ours\n"));
}

#[test]
fn who_wrote_a_file_as_a_whole_knows_it_also_if_it_had_seen_only_some_lines() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    let part = host.ok(&agent("w"), "file.read", json!({ "path": "a.txt", "limit": 2 }));
    let named = json!({ "path": "a.txt", "content": "one\n", "base_blob": part["blob"] });
    host.ok(&agent("w"), "file.write", named);
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": "two\n" }));
    assert_eq!(host.text("a.txt"), "two\n");
}

#[test]
fn close_changes_are_handed_back_with_a_token_that_works_once() {
    let mut host = stale("line 10\n", "ten\n");
    let mine = twenty().replace("line 12\n", "twelve\n");
    let error = host.err(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    assert_code(&error, Code::Conflict);
    let both = twenty().replace("line 10\n", "ten\n").replace("line 12\n", "twelve\n");
    assert_eq!(error.data["candidate"], both);
    assert_eq!(host.text("a.txt"), twenty().replace("line 10\n", "ten\n"), "nothing was written");
    let token = error.data["token"].as_str().unwrap().to_owned();
    assert_code(&host.err(&agent("v"), "file.accept", json!({ "token": token })), Code::NotFound);
    host.ok(&agent("w"), "file.accept", json!({ "token": token }));
    assert_eq!(host.text("a.txt"), both);
    assert_code(&host.err(&agent("w"), "file.accept", json!({ "token": token })), Code::NotFound);
    assert_eq!(host.kernel.state().counts.conflicts, 1);
    assert!(host.kernel.state().conflicts.is_empty());
}

#[test]
fn a_candidate_is_merged_into_what_changed_since_it_was_made() {
    let mut host = stale("line 10\n", "ten\n");
    let mine = twenty().replace("line 12\n", "twelve\n");
    let error = host.err(&agent("w"), "file.write", json!({ "path": "a.txt", "content": mine }));
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "line 20\n", "new": "twenty\n" }));
    host.ok(&ada(), "file.accept", json!({ "token": error.data["token"] }));
    let text = host.text("a.txt");
    assert!(["ten\n", "twelve\n", "twenty\n"].iter().all(|line| text.contains(line)), "{text}");
}

#[test]
fn an_existing_file_that_was_not_read_is_not_replaced() {
    let mut host = Host::new();
    host.put("a.txt", "theirs\n");
    let error = host.err(&agent("w"), "file.write", json!({ "path": "a.txt", "content": "mine\n" }));
    assert_code(&error, Code::Unread);
    assert!(error.hint.unwrap().contains("read a.txt"));
    assert_eq!(host.text("a.txt"), "theirs\n");
    let seen = ostk_log::Hash::of(b"theirs\n").to_string();
    host.ok(&agent("w"), "file.write", json!({ "path": "a.txt", "content": "mine\n", "base_blob": seen }));
    let junk =
        host.err(&agent("w"), "file.write", json!({ "path": "a.txt", "content": "x", "base_blob": "x" }));
    assert_code(&junk, Code::Usage);
}

#[test]
fn a_deleted_file_is_created_again_only_by_who_knows_that_it_is_gone() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.ok(&agent("v"), "file.delete", json!({ "path": "a.txt" }));
    let write = json!({ "path": "a.txt", "content": "b\n" });
    assert_code(&host.err(&agent("w"), "file.write", write.clone()), Code::Conflict);
    assert_code(
        &host.err(&agent("w"), "file.edit", json!({ "path": "a.txt", "old": "a", "new": "b" })),
        Code::NotFound,
    );
    assert!(host.files.is_empty());
    assert_code(&host.err(&agent("w"), "file.read", json!({ "path": "a.txt" })), Code::NotFound);
    host.ok(&agent("w"), "file.write", write);
    assert_eq!(host.text("a.txt"), "b\n");
}

#[test]
fn a_binary_file_is_read_as_its_digest_and_never_merged() {
    let mut host = Host::new();
    host.files.insert("a.bin".to_owned(), (vec![0, 159, 1], false));
    let read = host.ok(&agent("w"), "file.read", json!({ "path": "a.bin" }));
    assert_eq!((&read["binary"], read.get("content")), (&json!(true), None));
    host.files.insert("a.bin".to_owned(), (vec![0, 159, 2], false));
    let error = host.err(&agent("w"), "file.write", json!({ "path": "a.bin", "content": "text" }));
    assert_code(&error, Code::Conflict);
    assert!(error.message.contains("binary") && error.data["token"].is_null(), "{error:?}");
    assert_eq!(host.files["a.bin"].0, vec![0, 159, 2]);
}

#[test]
fn a_person_reads_and_writes_like_anybody_else() {
    let mut host = Host::new();
    host.put("a.txt", "a\n");
    host.ok(&ada(), "file.read", json!({ "path": "a.txt" }));
    host.ok(&ada(), "file.write", json!({ "path": "a.txt", "content": "b\n" }));
    assert_eq!(host.text("a.txt"), "b\n");
    assert_eq!(host.last("file.write.receipt").actor, "human:ada");
}
