//! What the watcher tells. Each test waits for an event, with a deadline that only a failure reaches.

use std::{
    collections::BTreeSet,
    fs,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use ostk_files::{WatchEvent, Watcher};

use crate::common::Fixture;

const DEADLINE: Duration = Duration::from_secs(10);

fn watch(f: &Fixture) -> (Watcher, Receiver<WatchEvent>) {
    let (sender, events) = channel();
    let watcher = Watcher::start(f.ws.clone(), move |event| drop(sender.send(event))).unwrap();
    (watcher, events)
}

/// All paths reported up to and including `last`.
fn paths_until(events: &Receiver<WatchEvent>, last: &str) -> Vec<String> {
    let mut paths = Vec::new();
    while !paths.iter().any(|path| path == last) {
        match events.recv_timeout(DEADLINE).expect("no event came") {
            WatchEvent::Changed(changed) => paths.extend(changed.into_iter().map(String::from)),
            other => panic!("{other:?}"),
        }
    }
    paths
}

#[test]
fn a_change_a_new_directory_and_a_removal_are_told() {
    let f = Fixture::new();
    f.outside("dir/file", "old");
    f.outside("gone", "x");
    let (_watcher, events) = watch(&f);
    f.outside("dir/file", "new");
    assert_eq!(paths_until(&events, "dir/file"), ["dir/file"]);
    f.outside("new/deep/er/file", "x");
    paths_until(&events, "new/deep/er/file");
    f.outside("new/deep/er/later", "x");
    paths_until(&events, "new/deep/er/later");
    fs::remove_file(f.at("gone")).unwrap();
    paths_until(&events, "gone");
    fs::rename(f.at("new"), f.at("moved")).unwrap();
    paths_until(&events, "moved/deep/er/later");
    f.outside("moved/deep/er/file", "again");
    paths_until(&events, "moved/deep/er/file");
}

#[test]
fn ignored_paths_stores_and_temporaries_make_no_event() {
    let f = Fixture::new();
    f.outside(".gitignore", "target/\n*.log\n");
    f.outside("target/old", "x");
    f.outside(".git/HEAD", "x");
    f.outside(".ostk/journal.jsonl", "x");
    let (_watcher, events) = watch(&f);
    for name in ["target/old", "target/new", "a.log", ".git/HEAD", ".ostk/journal.jsonl", ".ostk-tmp-1-1"] {
        f.outside(name, "y");
    }
    f.outside("seen", "x");
    assert_eq!(paths_until(&events, "seen"), ["seen"]);
}

#[test]
fn a_replace_is_told_under_the_files_own_name_only() {
    let f = Fixture::new();
    f.outside("file", "old");
    let (_watcher, events) = watch(&f);
    let expected = ostk_files::Expected::Hash(f.version("file").hash);
    f.ws.replace(&f.path("file"), expected, b"new", None).unwrap();
    assert_eq!(paths_until(&events, "file"), ["file"]);
}

#[test]
fn new_rules_or_a_large_tree_moved_in_mean_scan_everything() {
    let f = Fixture::new();
    let (_watcher, events) = watch(&f);
    f.outside(".gitignore", "x\n");
    assert_eq!(events.recv_timeout(DEADLINE), Ok(WatchEvent::Overflow));
    let large = f.outer.path().join("large");
    fs::create_dir(&large).unwrap();
    for n in 0..3000 {
        fs::write(large.join(n.to_string()), "").unwrap();
    }
    fs::rename(&large, f.at("large")).unwrap();
    assert_eq!(events.recv_timeout(DEADLINE), Ok(WatchEvent::Overflow));
}

#[test]
fn when_much_happens_at_once_every_file_is_told_or_an_overflow() {
    let f = Fixture::new();
    let (_watcher, events) = watch(&f);
    let mut untold = BTreeSet::new();
    for n in 0..1500 {
        let name = format!("d{n}/file");
        f.outside(&name, "");
        untold.insert(name);
    }
    while !untold.is_empty() {
        match events.recv_timeout(DEADLINE) {
            Ok(WatchEvent::Changed(paths)) => untold.retain(|name| !paths.iter().any(|p| p.as_str() == name)),
            Ok(WatchEvent::Overflow) => return,
            other => {
                panic!("{} files were never told, such as {:?}: {other:?}", untold.len(), untold.first())
            }
        }
    }
}

#[test]
fn a_dropped_watcher_is_silent() {
    let f = Fixture::new();
    let (watcher, events) = watch(&f);
    drop(watcher);
    f.outside("file", "x");
    assert!(events.recv_timeout(DEADLINE).is_err());
}
