//! Processes with a terminal of their own, driven as a person's terminal program would drive them.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use ostk_sandbox::{Exit, Process, SandboxError, Spec, Stream, WindowSize, probe, start};

use crate::yard::{Yard, every_way, said, text};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(30);
const SIZE: WindowSize = WindowSize { rows: 30, columns: 100 };

fn in_terminal(yard: &Yard, argv: &[&str]) -> Spec {
    let mut spec = yard.shell("");
    spec.argv = argv.iter().map(Into::into).collect();
    spec.env.insert("TERM".into(), "dumb".into());
    spec.env.insert("PS1".into(), "ready> ".into());
    spec.terminal = Some(SIZE);
    spec
}

/// Somebody who types and reads.
struct Person {
    process: Process,
    /// Up to where the screen has been read.
    at: u64,
}

impl Person {
    fn before(spec: &Spec) -> Self {
        Self { process: start(spec).unwrap(), at: 0 }
    }

    fn types(&self, keys: &str) {
        self.process.write_stdin(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` appears after what was seen before.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + LONG;
        let mut screen = String::new();
        while !screen.contains(text) {
            let piece = self.process.read(Stream::Stdout, self.at, Duration::from_millis(100));
            self.at = piece.end();
            screen += &String::from_utf8_lossy(&piece.bytes);
            let more = Instant::now() < deadline && !piece.is_last;
            assert!(more || screen.contains(text), "no {text:?} in {screen:?}");
        }
    }

    #[track_caller]
    fn sees_the_end(&self) -> Exit {
        self.process.wait(LONG).unwrap().unwrap().exit
    }
}

#[test]
fn a_terminal_has_a_name_a_size_and_a_device_in_every_way_of_containment() {
    let script = "tty; stty size; test -t 0 -a -t 1 -a -t 2 && echo three; echo through > /dev/tty
        read answer < /dev/tty; echo got $answer; ls -1 /proc/$$/fd; true";
    for (number, (_, sandbox)) in every_way().into_iter().enumerate() {
        let yard = Yard::new();
        let process = sandbox.start(&in_terminal(&yard, &["/bin/sh", "-c", script])).unwrap();
        process.write_stdin(b"yes\n").unwrap();
        let outcome = process.wait(LONG).unwrap().unwrap();
        let screen = text(&outcome.stdout).replacen("yes\r\n", "", 1);
        let (name, rest) = screen.split_once("\r\n").unwrap();
        assert!(name.starts_with("/dev/pts/"), "way {number}: {}", said(&outcome));
        assert_eq!(rest.trim_end(), "30 100\r\nthree\r\nthrough\r\ngot yes\r\n0\r\n1\r\n2", "way {number}");
        assert_eq!(outcome.stderr.total, 0);
    }
}

#[test]
fn a_shell_controls_its_jobs() {
    if !probe().processes {
        return; // `a_terminal_has_a_name…` covers what is there without a process namespace.
    }
    let yard = Yard::new();
    let mut person = Person::before(&in_terminal(&yard, &["bash", "--norc", "-i"]));
    person.sees("ready> ");
    // What is typed is shown as well, so what is looked for is typed in another way.
    person.types("sh -c 'trap \"echo res\\umed\" CONT; echo be\\gun; while :; do read line; done'\n");
    person.sees("begun");
    person.types("\x1a");
    person.sees("Stopped");
    person.types("jobs; echo fore''ground\n");
    person.sees("foreground");
    person.types("fg\n");
    person.sees("resumed");
    person.types("\x03");
    person.sees("ready> ");
    person.types("echo code=$?\n");
    person.sees("code=130");
    person.types("exit 7\n");
    assert_eq!(person.sees_the_end(), Exit::Code(7));
}

#[test]
fn the_interrupt_key_ends_a_program_and_the_end_of_input_is_a_key_as_well() {
    let yard = Yard::new();
    let mut person = Person::before(&in_terminal(&yard, &["/bin/sh", "-c", "echo up; exec sleep 600"]));
    person.sees("up");
    person.types("\x03");
    assert_eq!(person.sees_the_end(), Exit::Signal(2));
    let mut person = Person::before(&in_terminal(&yard, &["cat"]));
    person.types("line\n\x04");
    person.sees("line\r\nline\r\n");
    assert_eq!(person.sees_the_end(), Exit::Code(0));
}

#[test]
fn a_program_is_told_that_the_window_has_changed() {
    let yard = Yard::new();
    let script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done";
    let mut person = Person::before(&in_terminal(&yard, &["/bin/sh", "-c", script]));
    person.sees("up");
    person.process.resize(WindowSize { rows: 50, columns: 132 }).unwrap();
    person.sees("50 132");
}

#[test]
fn a_hangup_ends_what_runs_in_the_terminal_also_what_does_not_want_to() {
    let yard = Yard::new();
    let mut person = Person::before(&in_terminal(&yard, &["bash", "--norc", "-i"]));
    person.sees("ready> ");
    person.process.hang_up().unwrap();
    assert!(matches!(person.sees_the_end(), Exit::Signal(1) | Exit::Code(129)));
    let mut spec = in_terminal(&yard, &["/bin/sh", "-c", "trap '' HUP; echo up; while :; do sleep 1; done"]);
    spec.limits.grace = Duration::from_millis(200);
    let mut person = Person::before(&spec);
    person.sees("up");
    person.process.hang_up().unwrap();
    assert_eq!(person.sees_the_end(), Exit::Signal(9));
}

#[test]
fn a_process_without_a_terminal_has_none_to_change() {
    let yard = Yard::new();
    let process = start(&yard.shell("sleep 600")).unwrap();
    assert!(matches!(process.resize(SIZE), Err(SandboxError::NoTerminal)));
    assert!(matches!(process.hang_up(), Err(SandboxError::NoTerminal)));
}

#[test]
fn the_transcript_is_bounded() {
    let yard = Yard::new();
    let mut spec = in_terminal(&yard, &["seq", "10000"]);
    spec.limits.output_bytes = 1000;
    let outcome = start(&spec).unwrap().wait(LONG).unwrap().unwrap();
    assert!(outcome.stdout.head.starts_with(b"1\r\n2\r\n") && outcome.stdout.tail.ends_with(b"10000\r\n"));
    assert_eq!((outcome.stdout.head.len(), outcome.stdout.tail.len()), (500, 500));
}

/// A terminal of this machine, as the daemon's or the operator's is one.
fn terminal_outside() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = openpt(flags).unwrap();
    unlockpt(&outer).unwrap();
    let inner = ioctl_tiocgptpeer(&outer, flags).unwrap();
    (outer, inner)
}

const REACH: &str = "
import fcntl, glob, os, struct
own = os.ttyname(0)
reached = []
for name in sorted(set(glob.glob('/dev/pts/[0-9]*') + glob.glob('/proc/[0-9]*/fd/*') + ['/dev/console', '/dev/tty0', '/dev/tty1', 'OUTSIDE'])):
    try:
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        if os.isatty(fd) and os.ttyname(fd) != own:
            os.write(fd, b'reached')
            reached.append(name)
    except OSError:
        pass
for request, argument in ((0x5412, b'x'), (0x541c, bytes([3]))):
    for fd in (0, os.open('/dev/tty', os.O_RDWR)):
        try:
            fcntl.ioctl(fd, request, argument)
            reached.append(hex(request))
        except PermissionError:
            pass
print('reached', reached, 'end')
";

#[test]
fn no_other_terminal_is_reached_and_nothing_is_typed_into_its_own() {
    for (number, (_, sandbox)) in every_way().into_iter().enumerate() {
        let yard = Yard::new();
        let (outer, inner) = terminal_outside();
        let name = rustix::termios::ttyname(&inner, Vec::new()).unwrap();
        let program = REACH.replace("OUTSIDE", name.to_str().unwrap());
        let process = sandbox.start(&in_terminal(&yard, &["/usr/bin/python3", "-c", &program])).unwrap();
        let outcome = process.wait(LONG).unwrap().unwrap();
        assert!(text(&outcome.stdout).contains("reached [] end"), "way {number}: {}", said(&outcome));
        rustix::fs::fcntl_setfl(&outer, rustix::fs::OFlags::NONBLOCK).unwrap();
        assert_eq!(rustix::io::read(&outer, &mut [0; 64]), Err(rustix::io::Errno::AGAIN), "way {number}");
    }
}
