//! Sessions: what whoever comes under a name is taken to have seen.

use ostk_kernel::Code;
use serde_json::{Value, json};

use crate::{
    host::{Host, ada, agent, assert_code},
    twenty,
};

/// Somebody comes under the name `w`.
fn comes(host: &mut Host, resume: bool) {
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "resume": resume }));
}

fn write(text: &str) -> Value {
    json!({ "path": "a.txt", "content": text })
}

/// `w` reads a file that `v` then changes, reads again, and comes again: what its write from the first view comes to.
fn write_from_the_first_view(resume: bool) -> (Host, Result<Value, Code>) {
    let (mut host, w) = (Host::new(), agent("w"));
    host.put("a.txt", &twenty());
    comes(&mut host, false);
    let first = host.ok(&w, "file.read", json!({ "path": "a.txt" }))["content"].clone();
    host.ok(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "line 3\n", "new": "of v\n" }));
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
    let (mut host, w) = (Host::new(), agent("w"));
    host.put("a.txt", &twenty());
    comes(&mut host, false);
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
    let (mut host, w) = (Host::new(), agent("w"));
    host.put("a.txt", &twenty());
    comes(&mut host, false);
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

fn comes_unheard(host: &mut Host) {
    host.submit(&ada(), "session.start", json!({ "name": "w", "exact": true }));
    host.run();
}

#[test]
fn a_write_that_comes_late_is_not_based_on_what_a_successor_saw() {
    let (mut host, w) = (Host::new(), agent("w"));
    host.put("a.txt", &twenty());
    comes(&mut host, false);
    host.ok(&w, "file.read", json!({ "path": "a.txt" }));
    host.ok(&agent("v"), "file.read", json!({ "path": "a.txt" }));
    // A write of `v` is before it in the line, and does not end yet.
    host.syncs = false;
    host.submit(&agent("v"), "file.edit", json!({ "path": "a.txt", "old": "line 3\n", "new": "of v\n" }));
    let late = host.submit(&w, "file.write", write("from the first view\n"));
    comes_unheard(&mut host);
    host.syncs = true;
    host.sync_to(host.log.len());
    host.run();
    assert_code(host.replies[&late].as_ref().unwrap_err(), Code::Unread);
    assert!(host.text("a.txt").contains("of v\n"));
}
