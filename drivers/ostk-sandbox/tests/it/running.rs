//! Processes that keep running: input, output while they run, and their end.

use std::{fs, time::Duration};

use ostk_sandbox::{Exit, SandboxError, Stream, Waited, start};

use crate::yard::{Yard, text};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_process_answers_and_ends_with_its_input() {
    let yard = Yard::new();
    let process = start(&yard.shell("while read line; do echo got $line; done; echo end")).unwrap();
    process.write_stdin(b"one\n").unwrap();
    assert_eq!(process.wait_for(b"got one\n", LONG), Waited::Found);
    process.write_stdin(b"two\n").unwrap();
    assert_eq!(process.wait_for(b"got two\n", LONG), Waited::Found);
    assert_eq!(process.tail(Stream::Stdout, 1), b"got two\n");
    assert!(process.try_wait().unwrap().is_none());
    process.close_stdin();
    let outcome = process.wait(LONG).unwrap().unwrap();
    assert_eq!(outcome.exit, Exit::Code(0));
    assert_eq!(text(&outcome.stdout), "got one\ngot two\nend\n");
    assert!(matches!(process.write_stdin(b"late"), Err(SandboxError::InputClosed)));
}

#[test]
fn waiting_for_text_ends_when_the_process_does_or_the_time_is_over() {
    let yard = Yard::new();
    let process = start(&yard.shell("echo ready >&2; read line; echo bye")).unwrap();
    assert_eq!(process.wait_for(b"ready", LONG), Waited::Found);
    assert_eq!(process.wait_for(b"never", Duration::from_millis(20)), Waited::TimedOut);
    assert!(process.wait(Duration::from_millis(20)).unwrap().is_none());
    process.close_stdin();
    assert_eq!(process.wait_for(b"never", LONG), Waited::Ended);
    assert_eq!(process.wait_for(b"bye", LONG), Waited::Found);
}

#[test]
fn a_process_can_be_asked_to_end_and_made_to_end() {
    let yard = Yard::new();
    let polite = start(&yard.shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
    assert_eq!(polite.wait_for(b"up", LONG), Waited::Found);
    polite.terminate();
    assert_eq!(polite.wait(LONG).unwrap().unwrap().exit, Exit::Code(5));
    let stubborn = start(&yard.shell("trap '' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
    assert_eq!(stubborn.wait_for(b"up", LONG), Waited::Found);
    stubborn.terminate();
    stubborn.kill();
    let outcome = stubborn.wait(LONG).unwrap().unwrap();
    assert_eq!((outcome.exit, outcome.timed_out), (Exit::Signal(9), false));
}

#[test]
fn a_dropped_process_is_killed() {
    let yard = Yard::new();
    let process = start(&yard.shell("echo up; sleep 60")).unwrap();
    assert_eq!(process.wait_for(b"up", LONG), Waited::Found);
    let entry = format!("/proc/{}", process.pid());
    drop(process);
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        fs::metadata(&entry).is_err()
    });
    assert!(gone);
}

#[test]
fn input_that_nobody_reads_is_bounded() {
    let yard = Yard::new();
    let process = start(&yard.shell("sleep 60")).unwrap();
    let refused = (0..40).find_map(|_| process.write_stdin(&[b'x'; 64 * 1024]).err());
    assert!(matches!(refused, Some(SandboxError::InputFull { .. })), "{refused:?}");
}

#[test]
fn a_process_outlives_the_thread_that_started_it() {
    let yard = Yard::new();
    let spec = yard.shell("read line; echo alive");
    let process = std::thread::spawn(move || start(&spec).unwrap()).join().unwrap();
    process.write_stdin(b"go\n").unwrap();
    assert_eq!(process.wait_for(b"alive", LONG), Waited::Found);
}

#[test]
fn many_commands_at_the_same_time_all_end_as_they_should() {
    let yard = Yard::new();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let yard = &yard;
            scope.spawn(move || {
                for round in 0..8 {
                    let script = format!("echo {number}-{round}; (sleep 30 &) ; exit {number}");
                    let mut spec = yard.shell(&script);
                    spec.scratch = yard.scratch().join(format!("{number}"));
                    let outcome = ostk_sandbox::run(&spec).unwrap();
                    assert_eq!(outcome.exit, Exit::Code(number), "{}", text(&outcome.stderr));
                    assert_eq!(text(&outcome.stdout), format!("{number}-{round}\n"));
                }
            });
        }
    });
}
