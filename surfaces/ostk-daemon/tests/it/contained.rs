//! A contained process at the daemon's socket.

use std::{process::Command, thread};

use crate::fixture::{Fixture, Ran};

/// Runs a command line under `no_new_privs`, as the sandbox does.
fn contained(fixture: &Fixture, line: &str) -> Ran {
    let mut command = Command::new("sh");
    fixture.dress(command.args(["-c", line]));
    let run = move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        Ran::from(command.output().unwrap())
    };
    thread::spawn(run).join().unwrap()
}

#[test]
fn neither_a_contained_process_nor_its_child_attaches_as_the_operator_or_as_an_agent() {
    let fixture = Fixture::new();
    fixture.good(&["ps"]);
    for line in ["exec ostk ps", "ostk call ps --as w; exit $?", "ostk call ps '{}' --as free; exit $?"] {
        let ran = contained(&fixture, line);
        assert!(ran.code != 0 && ran.err.contains("a contained process may not attach"), "{line}: {ran:?}");
    }
    fixture.good(&["call", "ps", "--as", "w"]);
}
