//! `ostk learn`: a pin that a task passes under, that the same task passes under again, and that nothing else does.

use std::fs;

use crate::fixture::Fixture;

const BUILD: &str =
    "set -e; . ./config.sh; mkdir -p out; cat src/*.c > out/all.tmp; mv out/all.tmp out/$NAME";

fn with_sources() -> Fixture {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.root().join("src")).unwrap();
    for (file, text) in [
        ("config.sh", "NAME=program\n"),
        ("src/a.c", "a\n"),
        ("src/b.c", "b\n"),
        ("secret.txt", "secret\n"),
        ("notes.txt", "notes\n"),
    ] {
        fs::write(fixture.root().join(file), text).unwrap();
    }
    fixture
}

#[test]
fn a_learned_pin_lets_the_task_pass_and_nothing_else() {
    let fixture = with_sources();
    let learned =
        fixture.run(&["learn", "--name", "build", "--write", "--json", "--", "sh", "-c", BUILD]).good();
    let learned = learned.json();
    assert_eq!(learned["proved"], true, "{learned}");
    let pin = fs::read_to_string(fixture.state().join("pins/build/pin.caps")).unwrap();
    assert!(pin.contains("read: config.sh src/a.c src/b.c\nwrite: out\nexecute: shell\n"), "{pin}");
    assert!(pin.contains("network"), "{pin}");
    let under =
        |script: &str| fixture.run(&["run", "--pin", "build", "--name", "builder", "--", "sh", "-c", script]);
    under(BUILD).good();
    assert_eq!(fs::read_to_string(fixture.root().join("out/program")).unwrap(), "a\nb\n");
    assert_ne!(under("echo x > notes.txt").code, 0);
    assert_ne!(under("echo x > src/a.c").code, 0);
    assert_ne!(under("cat secret.txt").code, 0);
    assert_eq!(fs::read_to_string(fixture.root().join("notes.txt")).unwrap(), "notes\n");
    // Nothing is left of the trial.
    assert_eq!(fs::read_dir(fixture.state().join("pins")).unwrap().count(), 1);
}

#[test]
fn without_write_the_pin_is_shown_and_not_kept_and_reading_takes_no_right_to_write() {
    let fixture = with_sources();
    let shown = fixture.run(&["learn", "--", "cat", "src/a.c"]).good();
    assert!(shown.out.contains("read: src/a.c\nwrite: none\nexecute: shell(readonly)\n"), "{shown:?}");
    assert!(shown.out.contains("passes under this pin") && shown.out.contains("--write"), "{shown:?}");
    assert_eq!(fs::read_dir(fixture.state().join("pins")).into_iter().flatten().count(), 0);
}

#[test]
fn what_is_learned_later_is_added_to_the_pin_of_that_name() {
    let fixture = with_sources();
    let learn = |script: &str| {
        fixture.run(&["learn", "--name", "both", "--write", "--", "sh", "-c", script]).good();
        fs::read_to_string(fixture.state().join("pins/both/pin.caps")).unwrap()
    };
    assert!(learn("cat src/a.c").contains("read: src/a.c\nwrite: none\n"));
    let both = learn("cat config.sh; echo more >> notes.txt");
    assert!(both.contains("read: config.sh src/a.c\nwrite: notes.txt\n"), "{both}");
}

#[test]
fn a_command_that_fails_or_does_not_pass_again_gives_no_pin() {
    let fixture = with_sources();
    let failed = fixture.run(&["learn", "--name", "x", "--write", "--", "sh", "-c", "cat src/a.c; exit 3"]);
    assert!(failed.code == 1 && failed.err.contains("ended with 3"), "{failed:?}");
    // Its second run reads what the first one did not.
    let twice = "if [ -e src/b.c ]; then rm src/b.c; else cat secret.txt; fi";
    let unlike = fixture.run(&["learn", "--name", "x", "--write", "--json", "--", "sh", "-c", twice]);
    assert!(unlike.code == 1 && unlike.json()["proved"] == false, "{unlike:?}");
    assert!(!fixture.state().join("pins/x").exists());
    assert_eq!(fixture.run(&["learn", "--name", "../x", "--", "true"]).code, 2);
}

#[test]
fn what_was_learned_is_on_the_record_like_any_command() {
    let fixture = with_sources();
    fixture.run(&["learn", "--", "cat", "src/a.c"]).good();
    let log = fixture.run(&["audit", "tail", "--json"]).good().out;
    assert_eq!(log.matches("shell.intent").count(), 2, "{log}");
    assert!(log.contains("agent:learn") && log.contains("agent:prove"), "{log}");
}
