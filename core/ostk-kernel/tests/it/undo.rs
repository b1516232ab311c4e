//! Undo, blame and the history of a file.

use ostk_kernel::Code;
use serde_json::json;

use crate::{
    host::{Host, ada, agent, assert_code, exit},
    twenty,
};

fn edit(host: &mut Host, who: &str, old: &str, new: &str) -> u64 {
    host.ok(&agent(who), "file.edit", json!({ "path": "a.txt", "old": old, "new": new }))["intent"]
        .as_u64()
        .unwrap()
}

#[test]
fn one_write_is_taken_back_and_later_ones_stay() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    let first = edit(&mut host, "w", "line 2\n", "two\n");
    edit(&mut host, "v", "line 19\n", "nineteen\n");
    host.ok(&ada(), "file.undo", json!({ "seq": first, "cwd": "src" }));
    assert_eq!(host.text("a.txt"), twenty().replace("line 19\n", "nineteen\n"));
    let undo = host.last("file.write.intent").seq;
    host.ok(&ada(), "file.undo", json!({ "seq": undo }));
    assert!(host.text("a.txt").contains("two\n"), "an undo can be undone");
    host.files_match_the_fold();
}

#[test]
fn a_lineage_or_a_range_is_taken_back_over_several_files() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    let first = edit(&mut host, "w", "line 2\n", "two\n");
    edit(&mut host, "v", "line 19\n", "nineteen\n");
    edit(&mut host, "w", "two\n", "zwei\n");
    host.ok(&agent("w"), "file.write", json!({ "path": "new.txt", "content": "new\n" }));
    host.ok(&agent("w"), "file.delete", json!({ "path": "new.txt" }));
    host.ok(&agent("w"), "file.write", json!({ "path": "kept.txt", "content": "kept\n" }));
    host.ok(&ada(), "file.undo", json!({ "lineage": "w", "path": "./kept.txt" }));
    assert!(!host.files.contains_key("kept.txt"), "a created file goes");
    assert!(host.text("a.txt").contains("zwei\n"), "other files stay");
    let to = host.last("file.write.intent").seq;
    host.ok(&ada(), "file.undo", json!({ "from": first, "to": to - 1 }));
    assert_eq!(host.text("a.txt"), twenty());
    host.files_match_the_fold();
}

#[test]
fn a_deleted_file_comes_back_with_its_mode() {
    let mut host = Host::new();
    host.files.insert("run.sh".to_owned(), (b"echo\n".to_vec(), true));
    host.ok(&agent("w"), "file.read", json!({ "path": "run.sh" }));
    let gone = host.ok(&agent("w"), "file.delete", json!({ "path": "run.sh" }));
    host.ok(&ada(), "file.undo", json!({ "seq": gone["intent"] }));
    assert_eq!(host.files["run.sh"], (b"echo\n".to_vec(), true));
}

#[test]
fn an_undo_too_close_to_a_later_change_is_refused() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    let first = edit(&mut host, "w", "line 10\n", "ten\n");
    edit(&mut host, "v", "ten\n", "zehn\n");
    assert_code(&host.err(&ada(), "file.undo", json!({ "seq": first })), Code::Conflict);
    assert!(host.text("a.txt").contains("zehn\n"));
    assert_code(&host.err(&ada(), "file.undo", json!({ "seq": 9_999 })), Code::NotFound);
    assert_code(&host.err(&ada(), "file.undo", json!({})), Code::Usage);
}

#[test]
fn a_file_first_seen_when_a_command_had_changed_it_is_not_deleted_by_undo() {
    let mut host = Host::new();
    host.put("a.txt", "from git\n");
    let touch = |files: &mut crate::host::Files| {
        files.insert("a.txt".to_owned(), (b"changed\n".to_vec(), false));
        exit(0, "")
    };
    host.commands.insert("touch".to_owned(), Box::new(touch));
    host.ok(&agent("w"), "shell.run", json!({ "command": "touch" }));
    let seq = host.last("file.foreign").seq;
    let error = host.err(&ada(), "file.undo", json!({ "seq": seq }));
    assert!(error.message.contains("not known"), "{error:?}");
    assert_eq!(host.text("a.txt"), "changed\n");
}

#[test]
fn undo_does_not_pretend_that_its_caller_has_read_the_file() {
    let mut host = Host::new();
    host.put("a.txt", &twenty());
    let first = edit(&mut host, "w", "line 2\n", "two\n");
    host.ok(&agent("v"), "file.undo", json!({ "seq": first }));
    assert_code(
        &host.err(&agent("v"), "file.write", json!({ "path": "a.txt", "content": "x" })),
        Code::Unread,
    );
}

#[test]
fn blame_and_log_name_who_wrote_what_and_where_it_is_recorded() {
    let mut host = Host::new();
    host.put("a.txt", "1\n2\n3\n");
    let first = edit(&mut host, "w", "2\n", "two\n");
    host.put("a.txt", "1\ntwo\nthree\n");
    let lines = host.ok(&ada(), "file.blame", json!({ "path": "a.txt" }))["lines"].clone();
    let writers: Vec<&str> =
        lines.as_array().unwrap().iter().map(|line| line["writer"].as_str().unwrap()).collect();
    assert_eq!(writers, ["initial", "agent:w", "human:external"]);
    assert_eq!(lines[1]["seq"], first);
    let versions = host.ok(&ada(), "file.log", json!({ "path": "a.txt" }))["versions"].clone();
    assert_eq!(
        versions.as_array().unwrap().iter().map(|v| v["generation"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(host.count("call.receipt"), 2, "both looks are on record");
}
