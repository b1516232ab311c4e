//! What the watcher tells. Each test waits for an event, with a deadline that only a failure reaches.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
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

/// A watcher whose thread is known to the system by the number that comes first.
fn watch_by_thread(f: &Fixture) -> (Watcher, Receiver<WatchEvent>, String) {
    let (sender, events) = channel();
    let (tell, thread) = channel();
    let watcher = Watcher::start(f.ws.clone(), move |event| {
        let _ = tell.send(rustix::thread::gettid().as_raw_nonzero());
        drop(sender.send(event));
    })
    .unwrap();
    f.outside("hello", "");
    paths_until(&events, "hello");
    (watcher, events, thread.recv_timeout(DEADLINE).unwrap().to_string())
}

/// How often the thread went to sleep, as soon as it is asleep for good.
fn sleeps(thread: &str) -> String {
    let read = || {
        let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
        let field = |name: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        (field("State:").unwrap(), field("voluntary_ctxt_switches:").unwrap())
    };
    let began = Instant::now();
    let mut last = read();
    while began.elapsed() < DEADLINE {
        thread::sleep(Duration::from_millis(300));
        let now = read();
        if now == last && now.0.contains("sleeping") {
            return now.1;
        }
        last = now;
    }
    panic!("the watcher never comes to rest: {last:?}");
}

#[test]
fn reading_and_opening_files_makes_no_event_and_does_not_wake_the_watcher() {
    let f = Fixture::new();
    f.outside("src/lib.rs", "x");
    let (_watcher, events, thread) = watch_by_thread(&f);
    let before = sleeps(&thread);
    for _ in 0..100 {
        f.bytes("src/lib.rs");
        fs::read_dir(f.at("src")).unwrap().for_each(drop);
        f.version("src/lib.rs");
        f.ws.list(&f.path("src")).unwrap();
    }
    assert_eq!(sleeps(&thread), before);
    assert!(!events.try_iter().any(|event| event != WatchEvent::Changed(vec![f.path("hello")])));
    f.outside("src/lib.rs", "y");
    paths_until(&events, "src/lib.rs");
    assert_ne!(sleeps(&thread), before);
}

#[test]
fn an_idle_watcher_sleeps_until_it_is_dropped() {
    let f = Fixture::new();
    // Comes to rest only if nothing wakes it from time to time.
    let (watcher, _events, thread) = watch_by_thread(&f);
    sleeps(&thread);
    let (dropped, done) = channel();
    thread::spawn(move || {
        drop(watcher);
        dropped.send(()).unwrap();
    });
    done.recv_timeout(DEADLINE).expect("the watcher did not stop");
    assert!(!fs::exists(format!("/proc/self/task/{thread}")).unwrap());
}

#[test]
fn the_executable_bit_is_told() {
    let f = Fixture::new();
    f.outside("run.sh", "x");
    let (_watcher, events) = watch(&f);
    f.set_mode("run.sh", 0o755);
    assert_eq!(paths_until(&events, "run.sh"), ["run.sh"]);
}

#[test]
fn a_file_that_stays_open_is_told_at_each_write() {
    let f = Fixture::new();
    let mut file = fs::File::create(f.at("notes.txt")).unwrap();
    let (_watcher, events) = watch(&f);
    for _ in 0..2 {
        std::io::Write::write_all(&mut file, b"a line").unwrap();
        assert_eq!(paths_until(&events, "notes.txt"), ["notes.txt"]);
    }
}

#[test]
fn a_renamed_directory_is_told_under_both_names_and_later_under_the_new_one_only() {
    let f = Fixture::new();
    f.outside("old/deep/file", "x");
    let (_watcher, events) = watch(&f);
    fs::rename(f.at("old"), f.at("new")).unwrap();
    assert_eq!(paths_until(&events, "old/deep/file"), ["new/deep/file", "old", "old/deep/file"]);
    f.outside("new/deep/file", "y");
    assert!(!paths_until(&events, "new/deep/file").iter().any(|path| path.starts_with("old")));
    // Another directory by the old name is another directory.
    f.outside("old/deep/other", "z");
    assert!(!paths_until(&events, "old/deep/other").contains(&"old/deep/file".to_owned()));
}

#[test]
fn directories_that_exchange_their_names_are_told_under_their_new_ones() {
    let f = Fixture::new();
    f.outside("a/deep/of_a", "x");
    f.outside("b/deep/of_b", "x");
    let (_watcher, events) = watch(&f);
    let (flags, here) = (rustix::fs::RenameFlags::EXCHANGE, rustix::fs::CWD);
    rustix::fs::renameat_with(here, f.at("a"), here, f.at("b"), flags).unwrap();
    paths_until(&events, "b/deep/of_a");
    for name in ["a/deep/of_b", "b/deep/of_a", "a/deep/new", "b/deep/new"] {
        f.outside(name, "y");
        paths_until(&events, name);
    }
}

#[test]
fn a_directory_moved_out_is_scanned_for_and_forgotten_and_one_moved_in_is_watched_with_all_below() {
    let f = Fixture::new();
    f.outside("dir/deep/file", "x");
    let (_watcher, events) = watch(&f);
    let elsewhere = f.outer.path().join("elsewhere");
    fs::rename(f.at("dir"), &elsewhere).unwrap();
    // What was in it is gone from the workspace; only a scan can say what that was.
    assert_eq!(events.recv_timeout(DEADLINE), Ok(WatchEvent::Overflow));
    f.outside("dir/deep/other", "x");
    paths_until(&events, "dir/deep/other");
    fs::write(elsewhere.join("deep/file"), "nobody's business").unwrap();
    f.outside("seen", "x");
    assert!(!paths_until(&events, "seen").contains(&"dir/deep/file".to_owned()));
    fs::rename(&elsewhere, f.at("dir/back")).unwrap();
    paths_until(&events, "dir/back/deep/file");
    f.outside("dir/back/deep/new", "x");
    paths_until(&events, "dir/back/deep/new");
}

/// A watcher that stands still in its first hand-over until told to go on.
fn watch_held(f: &Fixture) -> (Watcher, Receiver<WatchEvent>, Receiver<()>, Sender<()>) {
    let ((sender, events), (tell, entered), (go, wait)) = (channel(), channel(), channel());
    let watcher = Watcher::start(f.ws.clone(), move |event| {
        let _ = tell.send(());
        let _ = wait.recv();
        drop(sender.send(event));
    })
    .unwrap();
    (watcher, events, entered, go)
}

#[test]
fn when_the_kernel_lost_events_everything_is_scanned_and_watched_again() {
    let f = Fixture::new();
    f.outside("a", "");
    let (_watcher, events, entered, go) = watch_held(&f);
    f.outside("first", "");
    entered.recv_timeout(DEADLINE).unwrap();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    // Two in turn, as the kernel joins equal events.
    for n in 0..limit + 2 {
        fs::set_permissions(f.at(["a", "first"][n % 2]), fs::Permissions::from_mode(0o644)).unwrap();
    }
    f.outside("unheard/of", "x");
    drop(go);
    assert_eq!(paths_until(&events, "first"), ["first"]);
    assert_eq!(events.recv_timeout(DEADLINE), Ok(WatchEvent::Overflow));
    f.outside("unheard/of", "y");
    paths_until(&events, "unheard/of");
}

/// All directories below `top`, and `top`.
fn directories(top: PathBuf) -> Vec<PathBuf> {
    let below = fs::read_dir(&top).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let below: Vec<PathBuf> = below.flat_map(directories).collect();
    std::iter::once(top).chain(below).collect()
}

/// Makes, renames, exchanges, removes and moves out and in directories, as `seed` has it.
fn shuffle_directories(f: &Fixture, mut seed: u64) {
    let mut pick = |n: usize| {
        // Knuth's MMIX generator.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % n
    };
    for _ in 0..100 {
        let all = directories(f.at(""));
        let (from, into, kind) = (&all[pick(all.len())], &all[pick(all.len())], pick(10));
        let (to, out) = (into.join(["a", "b", "c"][pick(3)]), f.outer.path().join("out"));
        // What does not fit, such as a directory moved into itself, the system refuses, and nothing happens.
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        let root = f.at("");
        let _ = match kind {
            0..4 => fs::create_dir_all(to.join("deep")),
            _ if *from == root => Ok(()),
            4..6 => fs::rename(from, &to),
            6..8 => rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, &to, exchange)
                .map_err(Into::into),
            8 => fs::remove_dir_all(from),
            _ => fs::rename(&out, &to).or_else(|_| fs::rename(from, &out)),
        };
    }
}

/// Writes these files until each was told; no other path by the name of the last one may be.
fn probe(f: &Fixture, events: &Receiver<WatchEvent>, probes: &BTreeSet<PathBuf>) {
    let write = |probes: &BTreeSet<PathBuf>| probes.iter().for_each(|probe| fs::write(probe, "x").unwrap());
    write(probes);
    let name = probes.last().and_then(|last| last.file_name()).and_then(|name| name.to_str());
    let mut unheard = probes.clone();
    while !unheard.is_empty() {
        match events.recv_timeout(DEADLINE) {
            Ok(WatchEvent::Changed(paths)) => {
                for path in paths.iter().filter(|path| path.name() == name) {
                    assert!(probes.contains(&f.at(path.as_str())), "{path} is the name of nothing");
                    unheard.remove(&f.at(path.as_str()));
                }
            }
            // What was told with it is not known.
            Ok(WatchEvent::Overflow) => write(&unheard),
            other => panic!("nothing was heard of {unheard:?}: {other:?}"),
        }
    }
}

#[test]
fn whatever_was_renamed_each_directory_is_heard_of_under_the_name_it_has() {
    for seed in 0..3 {
        let f = Fixture::new();
        let (_watcher, events) = watch(&f);
        for (round, name) in ["first", "second"].into_iter().enumerate() {
            shuffle_directories(&f, seed + 100 * round as u64);
            // All that was heard so far is told before this, so no rename can give the probes another name.
            probe(&f, &events, &BTreeSet::from([f.at(&format!("settled-{round}"))]));
            probe(&f, &events, &directories(f.at("")).iter().map(|dir| dir.join(name)).collect());
        }
    }
}
