//! Writers that race: within the process, and against an editor outside.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use ostk_files::{Expected, MAX_FILE_BYTES, Observation, Replaced, Workspace, WorkspacePath};
use ostk_log::Hash;

use crate::common::Fixture;

/// A workspace whose file is written by `edit` the first time a write reaches `step`.
fn interrupted_at(f: &Fixture, step: &'static str, edit: impl Fn() + Send + Sync + 'static) -> Workspace {
    let armed = AtomicBool::new(true);
    f.ws.clone().with_failpoint(Arc::new(move |reached| {
        if reached == step && armed.swap(false, Ordering::SeqCst) {
            edit();
        }
    }))
}

const SIZE: usize = 20_000;

/// Eight writers with one expectation; no content is ever written twice, so only one of them can be right.
fn one_round(f: &Fixture, path: &WorkspacePath, round: u8) {
    let expected = Expected::Hash(f.version("file").hash);
    let winners = Mutex::new(Vec::new());
    thread::scope(|writers| {
        for byte in (0..8).map(|n| round * 8 + n) {
            let winners = &winners;
            writers.spawn(move || match f.ws.replace(path, expected, &vec![byte; SIZE], None).unwrap() {
                Replaced::Done => winners.lock().unwrap().push(byte),
                Replaced::Displaced(_) => {}
                Replaced::Missing => panic!("the file vanished"),
            });
        }
    });
    assert_eq!(winners.into_inner().unwrap(), [f.bytes("file")[0]], "round {round}");
}

#[test]
fn of_eight_writers_with_the_same_expectation_exactly_one_wins_and_no_read_is_torn() {
    let f = Fixture::new();
    f.outside("file", vec![b'-'; SIZE]);
    let path = f.path("file");
    thread::scope(|scope| {
        let rounds = scope.spawn(|| (0..30).for_each(|round| one_round(&f, &path, round)));
        let mut reads = 0;
        while !rounds.is_finished() {
            let Observation::File(version) = f.ws.observe(&path).unwrap() else {
                panic!("the file vanished")
            };
            assert_eq!(version.bytes.len(), SIZE);
            assert!(version.bytes.iter().all(|b| *b == version.bytes[0]), "a torn read");
            reads += 1;
        }
        assert!(reads > 0);
    });
    assert_eq!(f.leftovers(), [""; 0]);
}

#[test]
fn of_eight_creators_exactly_one_wins() {
    let f = Fixture::new();
    for round in 0..20 {
        let path = f.path(&format!("dir/new{round}"));
        let winners = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 0..8_u8 {
                let (f, path, winners) = (&f, &path, &winners);
                scope.spawn(move || {
                    if f.ws.replace(path, Expected::Absent, &[n], None).unwrap() == Replaced::Done {
                        winners.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(winners.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn an_outside_edit_at_any_step_before_the_exchange_is_kept_and_reported() {
    type Edit = fn(&std::path::Path);
    let in_place: Edit = |file| fs::write(file, "outside").unwrap();
    let by_rename: Edit = |file| {
        fs::write(file.with_extension("swp"), "outside").unwrap();
        fs::rename(file.with_extension("swp"), file).unwrap();
    };
    for step in ["replace:temporary-written", "replace:dressed"] {
        for edit in [in_place, by_rename] {
            let f = Fixture::new();
            f.outside("file", "base");
            let (path, hash, real) = (f.path("file"), f.version("file").hash, f.at("file"));
            let ws = interrupted_at(&f, step, move || edit(&real));
            let Replaced::Displaced(version) =
                ws.replace(&path, Expected::Hash(hash), b"mine", None).unwrap()
            else {
                panic!("the outside edit was not noticed at {step}");
            };
            assert_eq!(&*version.bytes, b"outside");
            assert_eq!(f.bytes("file"), b"outside");
            assert_eq!(f.leftovers(), [""; 0]);
        }
    }
}

#[test]
fn a_mode_set_outside_before_the_exchange_is_kept_and_reported() {
    let f = Fixture::new();
    f.outside("file", "base");
    f.set_mode("file", 0o644);
    let (path, hash, real) = (f.path("file"), f.version("file").hash, f.at("file"));
    let ws = interrupted_at(&f, "replace:dressed", move || {
        fs::set_permissions(&real, PermissionsExt::from_mode(0o755)).unwrap();
    });
    let Replaced::Displaced(version) = ws.replace(&path, Expected::Hash(hash), b"mine", Some(false)).unwrap()
    else {
        panic!("the new mode was not noticed");
    };
    assert!(version.executable);
    assert_eq!((f.bytes("file"), f.mode("file")), (b"base".to_vec(), 0o755));
    assert_eq!(f.leftovers(), [""; 0]);
}

#[test]
fn an_outside_edit_after_the_exchange_stays_in_place() {
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, hash, real) = (f.path("file"), f.version("file").hash, f.at("file"));
    let ws = interrupted_at(&f, "replace:exchanged", move || fs::write(&real, "outside").unwrap());
    assert_eq!(ws.replace(&path, Expected::Hash(hash), b"mine", None).unwrap(), Replaced::Done);
    assert_eq!(f.bytes("file"), b"outside");
}

#[test]
fn of_two_outside_edits_around_the_exchange_the_newer_stays_in_place_and_the_older_is_handed_back() {
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, hash, real) = (f.path("file"), f.version("file").hash, f.at("file"));
    let ws = f.ws.clone().with_failpoint(Arc::new(move |step| match step {
        "replace:dressed" => fs::write(&real, "first").unwrap(),
        "replace:exchanged" => fs::write(&real, "second").unwrap(),
        _ => {}
    }));
    let Replaced::Displaced(version) = ws.replace(&path, Expected::Hash(hash), b"mine", None).unwrap() else {
        panic!("the outside edit was not noticed");
    };
    assert_eq!(&*version.bytes, b"first");
    assert_eq!(f.bytes("file"), b"second");
    let mut kept = Vec::new();
    f.ws.sweep_temporaries(&mut |_, version| {
        kept.push(version.bytes.to_vec());
        Ok(())
    })
    .unwrap();
    assert_eq!(kept, [b"first".to_vec()]);
    assert_eq!(f.leftovers(), [""; 0]);
}

#[test]
fn an_outside_edit_too_large_to_read_stays_in_place_even_if_it_comes_while_an_older_one_is_put_back() {
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, hash, real) = (f.path("file"), f.version("file").hash, f.at("file"));
    let ws = f.ws.clone().with_failpoint(Arc::new(move |step| match step {
        "replace:dressed" => fs::write(&real, "first").unwrap(),
        "replace:restoring" => fs::File::create(&real).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap(),
        _ => {}
    }));
    let Replaced::Displaced(version) = ws.replace(&path, Expected::Hash(hash), b"mine", None).unwrap() else {
        panic!("the outside edit was not noticed");
    };
    assert_eq!(&*version.bytes, b"first");
    assert_eq!(fs::metadata(f.at("file")).unwrap().len(), MAX_FILE_BYTES + 1);
    let leftovers = f.leftovers();
    assert_eq!(leftovers.iter().map(|name| f.bytes(name)).collect::<Vec<_>>(), [b"first".to_vec()]);
}

#[test]
fn a_file_that_appears_while_it_is_created_is_kept_and_reported() {
    let f = Fixture::new();
    let (path, real) = (f.path("file"), f.at("file"));
    let ws = interrupted_at(&f, "replace:temporary-written", move || fs::write(&real, "outside").unwrap());
    let Replaced::Displaced(version) = ws.replace(&path, Expected::Absent, b"mine", None).unwrap() else {
        panic!("the outside file was not noticed");
    };
    assert_eq!((&*version.bytes, f.bytes("file")), (&b"outside"[..], b"outside".to_vec()));
    assert_eq!(f.leftovers(), [""; 0]);
}

#[test]
fn a_file_that_becomes_a_directory_or_vanishes_during_the_write_is_left_as_it_is() {
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, hash, real) = (f.path("file"), f.version("file").hash, f.at("file"));
    let ws = interrupted_at(&f, "replace:dressed", move || {
        fs::remove_file(&real).unwrap();
        fs::create_dir(&real).unwrap();
        fs::write(real.join("inside"), "kept").unwrap();
    });
    let error = ws.replace(&path, Expected::Hash(hash), b"mine", None).unwrap_err();
    assert_eq!(error.to_string(), "file is a directory");
    assert_eq!(f.bytes("file/inside"), b"kept");
    assert_eq!(f.leftovers(), [""; 0]);

    f.outside("gone", "base");
    let (path, real) = (f.path("gone"), f.at("gone"));
    let ws = interrupted_at(&f, "replace:dressed", move || fs::remove_file(&real).unwrap());
    let answer = ws.replace(&path, Expected::Hash(Hash::of(b"base")), b"mine", None).unwrap();
    assert_eq!(answer, Replaced::Missing);
    assert!(!f.at("gone").exists());
    assert_eq!(f.leftovers(), [""; 0]);
}

#[test]
fn an_edit_made_while_the_file_is_removed_stays_in_place() {
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, hash, real) = (f.path("file"), f.version("file").hash, f.at("file"));
    let ws = interrupted_at(&f, "remove:set-aside", move || fs::write(&real, "recreated").unwrap());
    assert_eq!(ws.remove(&path, hash).unwrap(), Replaced::Done);
    assert_eq!(f.bytes("file"), b"recreated");

    // Written into while it is set aside, through a descriptor that an editor kept open.
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, hash) = (f.path("file"), f.version("file").hash);
    let editor = fs::File::options().write(true).open(f.at("file")).unwrap();
    let ws = interrupted_at(&f, "remove:set-aside", move || {
        std::io::Write::write_all(&mut &editor, b"edit").unwrap();
    });
    let Replaced::Displaced(version) = ws.remove(&path, hash).unwrap() else {
        panic!("the edit was not noticed")
    };
    assert_eq!((&*version.bytes, f.bytes("file")), (&b"edit"[..], b"edit".to_vec()));
}

#[test]
fn an_edit_made_while_the_file_is_renamed_goes_back_to_its_name() {
    let f = Fixture::new();
    f.outside("file", "base");
    let (path, hash) = (f.path("file"), f.version("file").hash);
    let moved = f.at("moved");
    let ws = interrupted_at(&f, "rename:renamed", move || fs::write(&moved, "edit").unwrap());
    let Replaced::Displaced(version) = ws.rename(&path, &f.path("moved"), hash).unwrap() else {
        panic!("the edit was not noticed");
    };
    assert_eq!((&*version.bytes, f.bytes("file")), (&b"edit"[..], b"edit".to_vec()));
    assert!(!f.at("moved").exists());
}
