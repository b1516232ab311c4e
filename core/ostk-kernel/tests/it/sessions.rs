//! Sessions: what whoever comes under a name is taken to have seen.

use ostk_kernel::{Caller, Code, Op, Outcome};
use serde_json::{Value, json};

use crate::{
    host::{Host, ada, agent, assert_code, exit},
    twenty,
};

/// Somebody comes under the name `w`.
fn comes(host: &mut Host, resume: bool) {
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "resume": resume }));
}

/// The same while nothing is written to the disk, so that no answer comes.
fn comes_unheard(host: &mut Host) {
    host.submit(&ada(), "session.start", json!({ "name": "w", "exact": true }));
    host.run();
}

/// A file of twenty lines, and the client `w`.
fn with_file() -> (Host, Caller) {
    let (mut host, w) = (Host::new(), agent("w"));
    host.put("a.txt", &twenty());
    comes(&mut host, false);
    (host, w)
}

/// The change that `v` makes.
fn of_v() -> Value {
    json!({ "path": "a.txt", "old": "line 3\n", "new": "of v\n" })
}

fn write(text: &str) -> Value {
    json!({ "path": "a.txt", "content": text })
}

/// `w` reads a file that `v` then changes, reads again, and comes again: what its write from the first view comes to.
fn write_from_the_first_view(resume: bool) -> (Host, Result<Value, Code>) {
    let (mut host, w) = with_file();
    let first = host.ok(&w, "file.read", json!({ "path": "a.txt" }))["content"].clone();
    host.ok(&agent("v"), "file.edit", of_v());
    host.ok(&w, "file.read", json!({ "path": "a.txt" }));
    comes(&mut host, resume);
    let reply = host.call(&w, "file.write", write(&format!("{}mine\n", first.as_str().unwrap())));
    (host, reply.map_err(|error| error.code))
}

#[test]
fn who_died_with_an_answer_unread_takes_nobodys_change_back() {
    let (mut host, refused) = write_from_the_first_view(false);
    assert_eq!(refused, Err(Code::Unread), "its successor knows only what it was shown itself");
    assert!(host.text("a.txt").contains("of v\n"));
    let again = host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    assert!(again["content"].as_str().unwrap().contains("of v\n"), "not left out as known: {again}");
    host.ok(&agent("w"), "file.write", write("all of it\n"));
    // Whoever says that he goes on is believed, also where it is not so.
    let (host, written) = write_from_the_first_view(true);
    assert!(written.is_ok() && !host.text("a.txt").contains("of v\n"));
}

#[test]
fn what_a_call_sees_whose_caller_has_died_is_not_known_to_its_successor() {
    let (mut host, w) = with_file();
    // The read is under way, and the machine has not looked yet.
    host.submit(&w, "file.read", json!({ "path": "a.txt" }));
    comes(&mut host, false);
    host.run();
    assert_code(&host.err(&w, "file.write", write("mine\n")), Code::Unread);
    assert_eq!(host.count("file.read"), 0);
    assert_eq!(host.last("call.receipt").body["facts"]["path"], "a.txt", "it is in the log all the same");
}

#[test]
fn what_a_write_makes_whose_caller_has_died_is_not_known_to_its_successor() {
    let (mut host, w) = with_file();
    host.ok(&w, "file.read", json!({ "path": "a.txt" }));
    host.syncs = false;
    let edit = json!({ "path": "a.txt", "old": "line 3\n", "new": "mine\n" });
    host.submit_keyed(&w, "file.edit", edit.clone(), Some("k"));
    host.run();
    // Its intent is on its way to the disk.
    comes_unheard(&mut host);
    host.syncs = true;
    host.sync_to(host.log.len());
    host.run();
    assert!(host.text("a.txt").contains("mine\n"));
    host.keyed(&w, "file.edit", edit, "k").unwrap();
    assert_code(&host.err(&w, "file.write", write("all\n")), Code::Unread);
}

/// `w` has read a file and makes a call that waits behind one of `v`; it dies meanwhile, or not. The answer, and what is
/// left of the file.
fn late(first: (&str, Value), verb: &str, args: Value, dies: bool) -> (Result<Value, Code>, Option<String>) {
    let (mut host, w) = with_file();
    host.ok(&w, "file.read", json!({ "path": "a.txt" }));
    host.ok(&agent("v"), "file.read", json!({ "path": "a.txt" }));
    host.syncs = false;
    host.submit(&agent("v"), first.0, first.1);
    let late = host.submit(&agent("w"), verb, args);
    if dies {
        comes_unheard(&mut host);
    }
    host.syncs = true;
    host.sync_to(host.log.len());
    host.run();
    let text = host.files.contains_key("a.txt").then(|| host.text("a.txt"));
    (host.replies[&late].clone().map_err(|error| error.code), text)
}

#[test]
fn a_write_that_comes_late_is_not_based_on_what_a_successor_saw() {
    let (reply, text) = late(("file.edit", of_v()), "file.write", write("from the first view\n"), true);
    assert_eq!(reply, Err(Code::Unread));
    assert!(text.unwrap().contains("of v\n"));
}

#[test]
fn what_is_deleted_late_is_what_its_caller_saw() {
    let edit = || ("file.edit", of_v());
    for (verb, args) in [
        ("file.delete", json!({ "path": "a.txt" })),
        ("file.batch", json!({ "ops": [{ "op": "delete", "path": "a.txt" }] })),
    ] {
        for dies in [false, true] {
            let (reply, text) = late(edit(), verb, args.clone(), dies);
            assert!(reply.is_err() && text.unwrap().contains("of v\n"), "{verb} {dies}");
        }
    }
}

#[test]
fn a_file_that_was_deleted_is_not_made_again_by_a_write_that_comes_late() {
    for dies in [false, true] {
        let (reply, text) =
            late(("file.delete", json!({ "path": "a.txt" })), "file.write", write("old\n"), dies);
        assert!(reply.is_err() && text.is_none(), "{dies}");
    }
}

#[test]
fn a_step_of_a_saga_knows_what_its_owner_knew_when_it_began() {
    let (mut host, w) = with_file();
    host.ok(&w, "file.read", json!({ "path": "a.txt" }));
    host.commands.insert("slow".to_owned(), Box::new(|_| exit(0, "")));
    let second = json!({ "call": "file.write", "args": write(&format!("{}mine\n", twenty())) });
    let steps = json!([{ "id": "one", "do": "slow" }, { "id": "two", "do": second }]);
    host.submit(&agent("w"), "saga.run", json!({ "name": "s", "steps": steps }));
    let (command, _) = host.start_first(|op| matches!(op, Op::Shell(_)));
    host.ok(&agent("v"), "file.edit", of_v());
    comes(&mut host, false);
    host.ok(&agent("w"), "file.read", json!({ "path": "a.txt" }));
    host.finish(command, Outcome::Shell { end: Ok(exit(0, "")), before: Vec::new(), after: Vec::new() });
    host.run();
    assert!(host.text("a.txt").contains("of v\n"));
}

#[test]
fn an_edit_by_a_clients_own_tool_does_not_teach_it_the_whole_file() {
    for (comes_again, code) in [(false, Code::Conflict), (true, Code::Unread)] {
        let (mut host, w) = with_file();
        let before = |host: &mut Host, tool: &str, access: &str| {
            host.call(&w, "hook.before", json!({ "tool": tool, "access": access, "path": "a.txt" }))
        };
        before(&mut host, "Read", "read").unwrap();
        host.ok(&agent("v"), "file.edit", of_v());
        if comes_again {
            comes(&mut host, false);
            before(&mut host, "Edit", "edit").unwrap();
            let edited = host.text("a.txt").replace("line 19\n", "mine\n");
            host.put("a.txt", &edited);
            host.ok(&w, "hook.after", json!({ "tool": "Edit", "paths": ["a.txt"] }));
        }
        assert_code(&before(&mut host, "Write", "write").unwrap_err(), code);
        before(&mut host, "Read", "read").unwrap();
        before(&mut host, "Write", "write").unwrap();
        host.put("a.txt", "all of it\n");
        host.ok(&w, "hook.after", json!({ "tool": "Write", "paths": ["a.txt"] }));
        before(&mut host, "Write", "write").unwrap();
    }
}

/// `w` and `v` change the same place of a file of so many lines; whoever comes as `w` accepts the merge and then writes
/// the whole file from what `w` had before.
fn accept_and_write_from_before(lines: usize, dies: bool) -> Host {
    let (mut host, w) = (Host::new(), agent("w"));
    let text: String = (1..=lines).map(|number| format!("line {number}\n")).collect();
    host.put("a.txt", &text);
    comes(&mut host, false);
    host.ok(&w, "file.read", json!({ "path": "a.txt" }));
    host.ok(
        &agent("v"),
        "file.edit",
        json!({ "path": "a.txt", "old": "line 10\n", "new": "line 10\nof v\n" }),
    );
    let mine = text.replace("line 10\n", "mine\nline 10\n");
    let error = host.err(&w, "file.write", write(&mine));
    assert_eq!(error.data["theirs"].is_null(), lines > 20);
    if dies {
        comes(&mut host, false);
    }
    host.ok(&w, "file.accept", json!({ "token": error.data["token"] }));
    assert!(host.text("a.txt").contains("of v\n"));
    let _ = host.call(&w, "file.write", write(&format!("{mine}more\n")));
    host
}

#[test]
fn who_accepts_a_merge_that_it_was_not_shown_does_not_know_it() {
    assert!(
        accept_and_write_from_before(9_000, false).text("a.txt").contains("of v\n"),
        "too long to be shown"
    );
    assert!(
        accept_and_write_from_before(20, true).text("a.txt").contains("of v\n"),
        "shown to another process"
    );
    let shown = accept_and_write_from_before(20, false);
    assert!(!shown.text("a.txt").contains("of v\n"), "it was shown the merge, and writes something else");
}
