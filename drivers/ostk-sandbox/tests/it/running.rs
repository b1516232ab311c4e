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

/// Everything that comes, and how many bytes were missed.
fn follow(process: &ostk_sandbox::Process, stream: Stream) -> (Vec<u8>, u64) {
    let (mut at, mut all, mut missed) = (0, Vec::new(), 0);
    loop {
        let piece = process.read(stream, at, LONG);
        missed += piece.start - at;
        at = piece.end();
        all.extend(&piece.bytes);
        if piece.is_last {
            return (all, missed);
        }
    }
}

#[test]
fn output_is_followed_as_it_comes() {
    let yard = Yard::new();
    let process = start(&yard.shell("echo one; read line; echo two; echo three >&2")).unwrap();
    let first = process.read(Stream::Stdout, 0, LONG);
    assert_eq!((first.bytes.as_slice(), first.is_last), (&b"one\n"[..], false));
    let none = process.read(Stream::Stdout, first.end(), Duration::from_millis(20));
    assert_eq!((none.bytes.as_slice(), none.start, none.is_last), (&b""[..], 4, false));
    process.write_stdin(b"\n").unwrap();
    assert_eq!(process.read(Stream::Stdout, 4, LONG).bytes, b"two\n");
    assert_eq!(follow(&process, Stream::Stdout), (b"one\ntwo\n".to_vec(), 0));
    assert_eq!(follow(&process, Stream::Stderr), (b"three\n".to_vec(), 0));
}

#[test]
fn a_command_waits_for_the_reader_of_its_output_who_gets_all_of_it() {
    let yard = Yard::new();
    let mut spec = yard.shell("seq 500000; seq 300000 >&2");
    spec.limits.output_bytes = 512 << 10;
    spec.output_waits = true;
    let process = start(&spec).unwrap();
    let numbers = |last: u32| (1..=last).map(|n| format!("{n}\n")).collect::<String>().into_bytes();
    assert!(process.wait(Duration::from_millis(200)).unwrap().is_none());
    assert!(follow_both(&process) == [(numbers(500_000), 0), (numbers(300_000), 0)]);
    assert_eq!(process.wait(LONG).unwrap().unwrap().exit, Exit::Code(0));
}

fn follow_both(process: &ostk_sandbox::Process) -> [(Vec<u8>, u64); 2] {
    std::thread::scope(|scope| {
        let stderr = scope.spawn(|| follow(process, Stream::Stderr));
        [follow(process, Stream::Stdout), stderr.join().unwrap()]
    })
}

#[test]
fn without_waiting_a_late_reader_learns_how_much_it_missed() {
    let yard = Yard::new();
    let mut spec = yard.shell("seq 100000");
    spec.limits.output_bytes = 1000;
    let process = start(&spec).unwrap();
    process.wait(LONG).unwrap().unwrap();
    let (kept, missed) = follow(&process, Stream::Stdout);
    assert_eq!((kept.len() as u64 + missed, kept.len()), (588_895, 1000));
}

#[test]
fn output_that_would_wait_for_nobody_or_has_no_room_is_refused() {
    let yard = Yard::new();
    let mut spec = yard.shell("true");
    spec.output_waits = true;
    assert!(matches!(ostk_sandbox::run(&spec), Err(SandboxError::InvalidSpec(_))));
    spec.limits.output_bytes = 1000;
    assert!(matches!(start(&spec), Err(SandboxError::InvalidSpec(_))));
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

#[test]
fn a_held_command_and_all_that_it_started_stand_still_and_its_time_does_not_run_out() {
    let yard = Yard::new();
    // One child in its own session, one in the background of the shell: each adds a byte to its file, again and again.
    let script = "tick() { while :; do printf x >> $1; sleep 0.01; done; }
        setsid sh -c 'while :; do printf x >> far; sleep 0.01; done' & tick near & tick here";
    let mut spec = yard.shell(script);
    spec.limits.wall = Duration::from_secs(2);
    let process = start(&spec).unwrap();
    let size = |name: &str| fs::metadata(yard.workspace.join(name)).map_or(0, |meta| meta.len());
    let sizes = || ["far", "near", "here"].map(size);
    eventually(|| sizes().iter().all(|size| *size > 0));
    process.hold();
    eventually(|| {
        let before = sizes();
        std::thread::sleep(Duration::from_millis(60));
        before == sizes()
    });
    let before = sizes();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sizes(), before, "nothing runs");
    assert!(process.try_wait().unwrap().is_none(), "and its limit of two seconds waits");
    process.resume();
    eventually(|| sizes().iter().zip(&before).all(|(now, before)| now > before));
    process.hold();
    process.kill();
    let end = process.wait(Duration::from_secs(30)).unwrap().expect("who is held can be killed");
    assert_eq!(end.exit, Exit::Signal(9));
}

/// Waits until this holds, at most as long as anything takes here.
fn eventually(holds: impl Fn() -> bool) {
    let until = std::time::Instant::now() + LONG;
    while !holds() {
        assert!(std::time::Instant::now() < until, "it never came to hold");
        std::thread::sleep(Duration::from_millis(10));
    }
}
