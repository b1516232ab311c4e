//! A write that is cut off at any step leaves the file old or new, and a sweep leaves nothing else.

use std::{fs, panic, sync::Arc};

use ostk_files::{Expected, MAX_FILE_BYTES, Replaced, Workspace};
use ostk_log::Hash;

use crate::common::Fixture;

fn dying_at(f: &Fixture, step: &'static str) -> Workspace {
    // resume_unwind: no message on the terminal.
    f.ws.clone().with_failpoint(Arc::new(move |reached| {
        if reached == step {
            panic::resume_unwind(Box::new("crash"));
        }
    }))
}

fn crashes(act: impl FnOnce()) -> bool {
    panic::catch_unwind(panic::AssertUnwindSafe(act)).is_err()
}

fn sweep(f: &Fixture) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let swept = f.ws.sweep_temporaries(&mut |_, version| {
        found.push(version.bytes.to_vec());
        Ok(())
    });
    assert_eq!(swept.unwrap(), found.len());
    assert_eq!(f.leftovers(), [""; 0]);
    found
}

#[test]
fn an_existing_file_is_old_or_new_after_a_crash_at_any_step() {
    let cases: [(_, &[u8], &[&[u8]]); 4] = [
        ("replace:temporary-written", b"old", &[b"new"]),
        ("replace:dressed", b"old", &[b"new"]),
        ("replace:exchanged", b"new", &[b"old"]),
        ("replace:old-removed", b"new", &[]),
    ];
    for (step, content, leftovers) in cases {
        let f = Fixture::new();
        f.outside("file", "old");
        let (ws, path) = (dying_at(&f, step), f.path("file"));
        let expected = Expected::Hash(Hash::of(b"old"));
        assert!(crashes(|| drop(ws.replace(&path, expected, b"new", None))), "{step} was not reached");
        assert_eq!(f.bytes("file"), content, "{step}");
        assert_eq!(sweep(&f), leftovers, "{step}");
        assert_eq!(f.bytes("file"), content, "the sweep touched the file after {step}");
    }
}

#[test]
fn a_new_file_is_absent_or_whole_after_a_crash_at_any_step() {
    for (step, exists) in [("replace:temporary-written", false), ("replace:renamed", true)] {
        let f = Fixture::new();
        let (ws, path) = (dying_at(&f, step), f.path("deep/file"));
        assert!(crashes(|| drop(ws.replace(&path, Expected::Absent, b"new", None))));
        assert_eq!(f.at("deep/file").exists(), exists, "{step}");
        assert_eq!(sweep(&f).len(), usize::from(!exists), "{step}");
    }
}

#[test]
fn an_outside_edit_that_was_swapped_out_when_the_crash_came_is_handed_over_by_the_sweep() {
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, real) = (f.path("file"), f.at("file"));
    let ws = f.ws.clone().with_failpoint(Arc::new(move |step| match step {
        "replace:dressed" => std::fs::write(&real, "outside").unwrap(),
        "replace:exchanged" => panic::resume_unwind(Box::new("crash")),
        _ => {}
    }));
    assert!(crashes(|| drop(ws.replace(&path, Expected::Hash(Hash::of(b"base")), b"mine", None))));
    assert_eq!(sweep(&f), [b"outside".to_vec()]);
}

#[test]
fn a_leftover_that_cannot_be_handed_over_stays_and_stops_neither_the_sweep_nor_later_writes() {
    let f = Fixture::new();
    let own = |n: usize| format!(".ostk-tmp-{}-{n}", std::process::id());
    // The names that writes of this process will come to.
    (0..900).for_each(|n| fs::create_dir(f.at(&own(n))).unwrap());
    fs::File::create(f.at(".ostk-tmp-1-1")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    f.outside("z/.ostk-tmp-1-2", "an edit");
    assert_eq!(f.ws.sweep_temporaries(&mut |_, _| Ok(())).unwrap(), 1);
    assert_eq!(fs::metadata(f.at(".ostk-tmp-1-1")).unwrap().len(), MAX_FILE_BYTES + 1);
    f.outside("file", "x");
    assert_eq!(f.ws.remove(&f.path("file"), Hash::of(b"x")).unwrap(), Replaced::Done);
    assert_eq!(f.ws.replace(&f.path("file"), Expected::Absent, b"y", None).unwrap(), Replaced::Done);
}

#[test]
fn a_sweep_keeps_what_the_caller_could_not_store() {
    let f = Fixture::new();
    f.outside("ignored/dir/.ostk-tmp-1-1", "precious");
    let failing = f.ws.sweep_temporaries(&mut |_, _| Err(std::io::Error::other("the pack is full")));
    assert!(failing.unwrap_err().to_string().contains("the pack is full"));
    assert_eq!(f.bytes("ignored/dir/.ostk-tmp-1-1"), b"precious");
    assert_eq!(sweep(&f), [b"precious".to_vec()]);
}
