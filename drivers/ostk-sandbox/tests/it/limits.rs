//! Time, output, memory and the other bounds.

use std::{fs, thread, time::Duration};

use ostk_sandbox::{Exit, run};

use crate::yard::{Yard, every_way, said, text};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;

/// Whether a process with this text in its arguments runs, at the latest in a few seconds not.
fn goes_away(text: &str) -> bool {
    let named = |pid: fs::DirEntry| {
        fs::read_to_string(pid.path().join("cmdline")).is_ok_and(|line| line.contains(text))
    };
    (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        !fs::read_dir("/proc").unwrap().flatten().any(named)
    })
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let yard = Yard::new();
    let exit = |script| run(&yard.shell(script)).unwrap().exit;
    assert_eq!(exit("exit 0"), Exit::Code(0));
    assert_eq!(exit("exit 42"), Exit::Code(42));
    assert_eq!(exit("kill -TERM $$"), Exit::Signal(SIGTERM));
}

#[test]
fn at_the_deadline_the_whole_group_is_ended() {
    let yard = Yard::new();
    let mut spec = yard.shell("sleep 61.25 & sleep 61.25 & wait");
    spec.limits.wall = Duration::from_millis(300);
    let outcome = run(&spec).unwrap();
    assert!(outcome.timed_out);
    assert_eq!(outcome.exit, Exit::Signal(SIGTERM), "{}", said(&outcome));
    assert!(goes_away("61.25"));
}

#[test]
fn a_command_that_ignores_the_deadline_is_killed_after_the_grace() {
    let yard = Yard::new();
    let mut spec = yard.shell("trap '' TERM; while :; do sleep 1; done");
    spec.limits.wall = Duration::from_millis(200);
    spec.limits.grace = Duration::from_millis(200);
    let outcome = run(&spec).unwrap();
    assert_eq!((outcome.timed_out, outcome.exit), (true, Exit::Signal(SIGKILL)));
}

#[test]
fn a_command_may_tidy_up_within_the_grace() {
    let yard = Yard::new();
    let mut spec = yard.shell("trap 'echo tidy; exit 7' TERM; while :; do sleep 0.05; done");
    spec.limits.wall = Duration::from_millis(300);
    let outcome = run(&spec).unwrap();
    assert_eq!((outcome.timed_out, outcome.exit), (true, Exit::Code(7)), "{}", said(&outcome));
    // The signal reaches the group, so `sleep` may say that it was terminated as well.
    assert!(text(&outcome.stdout).contains("tidy"));
}

#[test]
fn what_a_command_leaves_in_the_background_is_killed_with_it() {
    let yard = Yard::new();
    let outcome = run(&yard.shell("sleep 62.25 & echo started")).unwrap();
    assert_eq!((outcome.exit, outcome.timed_out), (Exit::Code(0), false));
    assert!(goes_away("62.25"));
}

#[test]
fn a_descendant_that_leaves_its_session_ends_with_the_command_all_the_same() {
    for (_, sandbox) in every_way() {
        let yard = Yard::new();
        // It writes while it lives; a file that still grows after the end betrays it.
        let script = "setsid sh -c 'while :; do echo x >> src/alive; sleep 0.02; done' &
            python3 -c 'import os,time
if os.fork() == 0:
    try: os.setsid()
    except PermissionError: pass
    if os.fork() == 0:
        while True: open(\"src/alive\", \"a\").write(\"y\"); time.sleep(0.02)' &
            sleep 0.5; echo done";
        let outcome = sandbox.run(&yard.shell(script)).unwrap();
        assert!(text(&outcome.stdout).contains("done") && !outcome.timed_out, "{}", said(&outcome));
        let size = || fs::metadata(yard.workspace.join("src/alive")).map_or(0, |file| file.len());
        let before = size();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(size(), before, "{:?}", outcome.containment);
    }
}

#[test]
fn long_output_keeps_its_beginning_its_end_and_its_length() {
    let yard = Yard::new();
    let mut spec = yard.shell("echo first; head -c 3000000 /dev/zero; echo; echo last; echo problem >&2");
    spec.limits.output_bytes = 10_000;
    let outcome = run(&spec).unwrap();
    assert_eq!(outcome.stdout.total, 3_000_012);
    assert_eq!(outcome.stdout.head.len() + outcome.stdout.tail.len(), 10_000);
    assert!(outcome.stdout.head.starts_with(b"first\n") && outcome.stdout.tail.ends_with(b"\nlast\n"));
    assert_eq!(text(&outcome.stderr), "problem\n");
}

#[test]
fn a_file_cannot_grow_beyond_its_limit() {
    let yard = Yard::new();
    let mut spec = yard.shell("exec head -c 100000 /dev/zero > src/big");
    spec.limits.file_bytes = Some(4096);
    let outcome = run(&spec).unwrap();
    assert_eq!(outcome.exit, Exit::Signal(SIGXFSZ), "{}", said(&outcome));
    assert_eq!(fs::metadata(yard.workspace.join("src/big")).unwrap().len(), 4096);
}

#[test]
fn processor_time_is_bounded() {
    let yard = Yard::new();
    let mut spec = yard.shell("while :; do :; done");
    spec.limits.cpu_s = Some(1);
    let outcome = run(&spec).unwrap();
    assert!(matches!(outcome.exit, Exit::Signal(SIGXCPU | SIGKILL)), "{}", said(&outcome));
}

#[test]
fn limits_reach_the_command() {
    let yard = Yard::new();
    let mut spec = yard.shell("cat /proc/self/limits");
    spec.limits.open_files = Some(77);
    spec.limits.processes = Some(55);
    spec.limits.memory_bytes = Some(1 << 30);
    let limits = text(&run(&spec).unwrap().stdout);
    let limit = |name: &str| {
        let values = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        values.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max open files"), ["77", "77"]);
    assert_eq!(limit("Max processes"), ["55", "55"]);
    assert_eq!(limit("Max address space"), ["1073741824", "1073741824"]);
    // One, because zero would still hand a crash to a program that the machine names.
    assert_eq!(limit("Max core file size"), ["1", "1"]);
}

#[test]
fn a_command_without_memory_fails_by_itself() {
    let yard = Yard::new();
    let mut spec = yard.shell("exec head -c 300m /dev/zero | tail -n 1 > /dev/null");
    spec.limits.memory_bytes = Some(64 << 20);
    let outcome = run(&spec).unwrap();
    assert_ne!(outcome.exit, Exit::Code(0), "{}", said(&outcome));
}

/// Runs a script under limits on the whole command, where this machine has control groups; elsewhere it is refused.
fn under_totals(script: &str, limit: impl Fn(&mut ostk_sandbox::Limits)) -> Option<ostk_sandbox::Outcome> {
    let yard = Yard::new();
    let mut spec = yard.shell(script);
    limit(&mut spec.limits);
    match run(&spec) {
        Ok(outcome) => Some(outcome),
        Err(error) => {
            assert!(!ostk_sandbox::probe().totals && error.to_string().contains("control groups"), "{error}");
            None
        }
    }
}

#[test]
fn the_memory_of_all_processes_together_is_bounded() {
    // One of them fits, three do not.
    let script =
        "eat() { head -c 40m /dev/zero | tail -c 40m > /dev/null && echo ate; }; eat & eat & eat & wait";
    if let Some(outcome) = under_totals(script, |limits| limits.total_memory_bytes = Some(64 << 20)) {
        assert!(text(&outcome.stdout).lines().count() < 3, "{}", said(&outcome));
    }
    if let Some(outcome) = under_totals(script, |limits| limits.total_memory_bytes = Some(512 << 20)) {
        assert_eq!(text(&outcome.stdout).lines().count(), 3, "{}", said(&outcome));
    }
}

#[test]
fn the_processes_of_a_command_are_counted_together_also_those_of_root() {
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all";
    if let Some(outcome) = under_totals(script, |limits| limits.total_processes = Some(8)) {
        assert!(!text(&outcome.stdout).contains("all"), "{}", said(&outcome));
    }
}
