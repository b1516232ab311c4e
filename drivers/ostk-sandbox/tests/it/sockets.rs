//! Local sockets: those of others that appear while a command runs are not reached by any way that names them, and its
//! own work as outside. And connections of other families, which are made for a command in the same way.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixDatagram, UnixListener},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use ostk_sandbox::{Exit, LocalSockets, Network, Outcome, Probe, Process, Sandbox, Spec, Waited, probe};

use crate::yard::{Yard, every_way, said, text};

const LONG: Duration = Duration::from_secs(60);

/// What the attempts share: they say that they are ready, wait for the socket outside, and end with a verdict.
const PRELUDE: &str = r"
import ctypes, os, socket, struct, sys, threading, time
def wait():
    print('ready', flush=True)
    sys.stdin.readline()
def connects(path, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind)
    s.settimeout(5)
    s.connect(path)
    s.send(b'out')
    print('ESCAPED', flush=True)
def tries(how):
    try:
        how()
    except Exception as problem:
        print('held', problem, flush=True)
libc = ctypes.CDLL(None, use_errno=True)
";

/// A race ends when it is won, and at the latest after `race` seconds.
fn python_file(yard: &Yard, race: f32, program: &str) -> PathBuf {
    let file = yard.workspace.join("program.py");
    let outside = yard.outside.to_str().unwrap();
    fs::write(&file, format!("OUTSIDE = {outside:?}\nRACE = {race}\n{PRELUDE}{program}")).unwrap();
    file
}

fn python(yard: &Yard, program: &str) -> Spec {
    let file = python_file(yard, 0.5, program);
    let mut spec = yard.shell("");
    spec.argv = vec!["/usr/bin/python3".into(), file.into()];
    spec
}

/// Ways to name a socket outside that was not there when the command began.
const WAYS: &[(&str, &str)] = &[
    ("by its path", "wait(); connects(OUTSIDE + '/late/s')"),
    ("as a sequence of packets", "wait(); connects(OUTSIDE + '/late/packets', socket.SOCK_SEQPACKET)"),
    ("by a link", "wait(); os.symlink(OUTSIDE + '/late/s', 'link'); connects('link')"),
    (
        "by a link in another directory",
        "os.mkdir('d'); os.symlink(OUTSIDE + '/late', 'd/l'); os.chdir('d'); wait(); connects('l/s')",
    ),
    ("from the directory above", "wait(); connects('../outside/late/s')"),
    ("from its own directory", "wait(); os.chdir(OUTSIDE + '/late'); connects('s')"),
    (
        "from a directory of another thread",
        "wait(); t = threading.Thread(target=lambda: (os.chdir(OUTSIDE + '/late'), tries(lambda: connects('./s')))); t.start(); t.join(); os._exit(0)",
    ),
    ("through the root of the process", "wait(); connects('/proc/self/root' + OUTSIDE + '/late/s')"),
    ("through the directory of the process", "wait(); os.chdir(OUTSIDE); connects('/proc/self/cwd/late/s')"),
    (
        "through a descriptor of its directory",
        "wait(); fd = os.open(OUTSIDE + '/late', os.O_PATH); connects(f'/proc/self/fd/{fd}/s')",
    ),
    (
        "through a descriptor of a directory above",
        "fd = os.open(OUTSIDE, os.O_RDONLY); wait(); connects(f'/dev/fd/{fd}/late/s')",
    ),
    (
        "through a descriptor of itself",
        "wait(); fd = os.open(OUTSIDE + '/late/s', os.O_PATH); connects(f'/proc/self/fd/{fd}')",
    ),
    (
        "through a descriptor and back up",
        "fd = os.open('.', os.O_PATH); wait(); connects(f'/proc/self/fd/{fd}/../outside/late/s')",
    ),
    (
        "through the number of the process",
        "wait(); fd = os.open(OUTSIDE + '/late', os.O_PATH); connects(f'/proc/{os.getpid()}/fd/{fd}/s')",
    ),
    ("after a move", "wait(); os.rename(OUTSIDE + '/late/s', 's'); connects('s')"),
    ("after a move of its directory", "wait(); os.rename(OUTSIDE + '/late', 'd'); connects('d/s')"),
    ("after a hard link", "wait(); os.link(OUTSIDE + '/late/s', 's'); connects('s')"),
    (
        "by a message",
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); wait(); s.sendto(b'out', OUTSIDE + '/late/datagrams'); print('ESCAPED')",
    ),
    (
        "by a message of parts",
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); wait(); s.sendmsg([b'out'], [], 0, OUTSIDE + '/late/datagrams'); print('ESCAPED')",
    ),
    (
        "by a message from one of a pair",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); wait(); a.sendmsg([b'out'], [], 0, OUTSIDE + '/late/datagrams'); print('ESCAPED')",
    ),
    (
        "by a message from a raw socket",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW); wait(); a.sendto(b'out', OUTSIDE + '/late/datagrams'); print('ESCAPED')",
    ),
    (
        "by a connected message",
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); wait(); s.connect(OUTSIDE + '/late/datagrams'); s.send(b'out'); print('ESCAPED')",
    ),
    ("by an address that changes while it is looked at", RACE_OF_ADDRESSES),
    ("by a socket that changes while it is looked at", RACE_OF_SOCKETS),
    ("by a link that changes while it is looked at", RACE_OF_LINKS),
];

/// The address leads inside and outside in turn, from another thread.
const RACE_OF_ADDRESSES: &str = r"
inner = socket.socket(socket.AF_UNIX); inner.bind('own.sock'); inner.listen(1000)
wait()
names = [struct.pack('H', 1) + path.encode().ljust(110, b'\0')[:108] for path in ('own.sock', OUTSIDE + '/late/s')]
address = ctypes.create_string_buffer(110)
over = time.time() + RACE
def swap():
    while time.time() < over:
        for name in names:
            ctypes.memmove(address, name, 110)
threading.Thread(target=swap).start()
while time.time() < over:
    s = socket.socket(socket.AF_UNIX)
    if libc.connect(s.fileno(), address, 110) == 0 and s.getpeername() != 'own.sock':
        s.send(b'out'); print('ESCAPED'); over = 0
    s.close()
    inner.setblocking(False)
    try: inner.accept()[0].close()
    except OSError: pass
print('held')
";

/// The descriptor is an internet socket and a local one in turn, and so is the address.
const RACE_OF_SOCKETS: &str = r"
wait()
tcp, local = socket.socket(), socket.socket(socket.AF_UNIX)
place = os.dup(tcp.fileno())
names = [struct.pack('=H', 2) + struct.pack('!H', 9) + b'\x7f\0\0\x01' + bytes(102), struct.pack('H', 1) + (OUTSIDE + '/late/s').encode().ljust(108, b'\0')]
address = ctypes.create_string_buffer(110)
over = time.time() + RACE
def swap():
    while time.time() < over:
        for fd, name in zip((tcp.fileno(), local.fileno()), names):
            os.dup2(fd, place); ctypes.memmove(address, name, 110)
threading.Thread(target=swap).start()
while time.time() < over:
    libc.connect(place, address, 110)
    try: local.send(b'out'); print('ESCAPED'); over = 0
    except OSError: pass
print('held')
";

const RACE_OF_LINKS: &str = r"
inner = socket.socket(socket.AF_UNIX); inner.bind('own.sock'); inner.listen(1000); inner.setblocking(False)
os.mkdir('in'); os.rename('own.sock', 'in/s')
wait()
over = time.time() + RACE
def swap():
    while time.time() < over:
        for target in ('in', OUTSIDE + '/late'):
            os.symlink(target, 'next'); os.rename('next', 'way')
threading.Thread(target=swap).start()
while time.time() < over:
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect('way/s'); s.send(b'out')
        if s.getpeername() != 'own.sock': print('ESCAPED'); over = 0
    except OSError: pass
    s.close()
    try: inner.accept()[0].close()
    except OSError: pass
print('held')
";

/// The sockets outside, made while the command runs.
struct Late {
    stream: UnixListener,
    packets: rustix::fd::OwnedFd,
    datagrams: UnixDatagram,
}

impl Late {
    fn new(yard: &Yard) -> Self {
        use rustix::net::{
            AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
        };
        let place = yard.outside.join("late");
        fs::create_dir(&place).unwrap();
        let packets =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
        bind(&packets, &SocketAddrUnix::new(place.join("packets")).unwrap()).unwrap();
        listen(&packets, 9).unwrap();
        let late = Self {
            stream: UnixListener::bind(place.join("s")).unwrap(),
            packets,
            datagrams: UnixDatagram::bind(place.join("datagrams")).unwrap(),
        };
        late.stream.set_nonblocking(true).unwrap();
        late.datagrams.set_nonblocking(true).unwrap();
        late
    }

    fn was_reached(&self) -> bool {
        self.stream.accept().is_ok()
            || rustix::net::accept(&self.packets).is_ok()
            || self.datagrams.recv(&mut [0; 9]).is_ok()
    }
}

/// Starts a program and, when it says that it is ready, does `meanwhile`; then lets it go on to its end.
fn run_with<T>(sandbox: &Sandbox, spec: &Spec, meanwhile: impl FnOnce() -> T) -> (Outcome, T) {
    let process = sandbox.start(spec).unwrap();
    assert_eq!(process.wait_for(b"ready", LONG), Waited::Found, "{}", outcome_said(&process));
    let done = meanwhile();
    // Fails when it has ended already.
    let _ = process.write_stdin(b"\n");
    (process.wait(LONG).unwrap().unwrap(), done)
}

fn outcome_said(process: &Process) -> String {
    process.wait(LONG).unwrap().as_ref().map_or_else(|| "it hangs".to_owned(), said)
}

/// In every way of containment but those without namespaces, where a command has no local sockets at all.
fn views() -> Vec<Sandbox> {
    every_way().into_iter().skip(1).map(|(_, sandbox)| sandbox).collect()
}

#[test]
fn no_socket_is_reached_that_another_program_makes_while_the_command_runs() {
    let mut escaped = Vec::new();
    for (number, sandbox) in views().into_iter().enumerate() {
        for network in [Network::None, Network::Host] {
            for (name, program) in WAYS {
                let yard = Yard::new();
                let body: String = program.lines().map(|line| format!("    {line}\n")).collect();
                // One that is refused at once is ready as well.
                let caught = "except Exception as problem:\n    print('ready held', problem)\n";
                let mut spec = python(&yard, &format!("try:\n{body}{caught}"));
                spec.network = network.clone();
                let (outcome, late) = run_with(&sandbox, &spec, || Late::new(&yard));
                let told = text(&outcome.stdout);
                if late.was_reached() || told.contains("ESCAPED") || !told.contains("held") {
                    escaped.push(format!("way {number}: {name}: {}", said(&outcome)));
                }
            }
        }
    }
    assert!(escaped.is_empty(), "{escaped:#?}");
}

#[test]
fn the_ways_lead_there_without_a_sandbox() {
    let mut broken = Vec::new();
    for (name, program) in WAYS {
        let yard = Yard::new();
        let mut python = std::process::Command::new("/usr/bin/python3");
        python.arg(python_file(&yard, 30.0, program)).current_dir(&yard.workspace);
        let (stdin, stdout) = (Stdio::piped(), Stdio::piped());
        let mut child = python.stdin(stdin).stdout(stdout).stderr(Stdio::inherit()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        let late = Late::new(&yard);
        drop(child.stdin.take());
        let mut told = String::new();
        said.read_to_string(&mut told).unwrap();
        child.wait().unwrap();
        if !late.was_reached() {
            broken.push(format!("{name}: {told}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_command_that_is_observed_reaches_no_late_socket_either_and_its_own_all_the_same() {
    let yard = Yard::new();
    let mut spec = python(
        &yard,
        "
own = socket.socket(socket.AF_UNIX); own.bind('own.sock'); own.listen()
socket.socket(socket.AF_UNIX).connect('own.sock')
wait()
tries(lambda: connects(OUTSIDE + '/late/s'))
",
    );
    spec.observe = true;
    let (outcome, late) = run_with(&Sandbox::new(probe()), &spec, || Late::new(&yard));
    assert!(!late.was_reached() && text(&outcome.stdout).ends_with("denied\n"), "{}", said(&outcome));
    let observed = outcome.observed.unwrap().connected;
    assert!(observed.contains(&format!("unix:{}", yard.outside.join("late/s").display())), "{observed:?}");
}

#[test]
fn its_own_sockets_work_as_outside() {
    let program = "
import multiprocessing.connection, tempfile
def serve(s):
    c, _ = s.accept(); c.sendall(c.recv(9)); c.close()
def meets(s, path, kind=socket.SOCK_STREAM):
    t = threading.Thread(target=serve, args=(s,)); t.start()
    c = socket.socket(socket.AF_UNIX, kind); c.connect(path); c.send(b'x'); assert c.recv(9) == b'x', path; t.join()
def server(path, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind); s.bind(path); s.listen(); return s
meets(server('a.sock'), 'a.sock')
meets(server('p.sock', socket.SOCK_SEQPACKET), 'p.sock', socket.SOCK_SEQPACKET)
tmp = os.environ['TMPDIR']
meets(server(tmp + '/t.sock'), tmp + '/t.sock')
meets(server('/dev/shm/m.sock'), '/dev/shm/m.sock')
os.mkdir('deep'); os.symlink('deep', 'l'); s = server('deep/s')
meets(s, 'l/s'); meets(s, './deep/../l/s'); meets(s, os.getcwd() + '/l/s')
os.chdir('deep'); meets(s, 's'); os.chdir('..')
d = os.open('deep', os.O_PATH); meets(s, f'/proc/self/fd/{d}/s')
f = os.open('deep/s', os.O_PATH); meets(s, f'/proc/self/fd/{f}')
os.rename('deep', 'moved'); meets(s, 'moved/s')
os.rename('a.sock', 'moved/b.sock')
for path, wanted in (('none.sock', FileNotFoundError), ('program.py', ConnectionRefusedError), ('moved/s/x', NotADirectoryError)):
    try: socket.socket(socket.AF_UNIX).connect(path)
    except wanted: pass
    else: raise AssertionError(path)
address = struct.pack('H', 1) + b'moved/s' + bytes(101)
def errno_of(fd, address, length):
    ctypes.set_errno(0); libc.connect(fd, address, length); return ctypes.get_errno()
c = socket.socket(socket.AF_UNIX).detach()
assert errno_of(999, address, 110) == 9 and errno_of(0, address, 110) == 88
assert errno_of(c, 0, 110) == 14 and errno_of(c, address, 999) == 22 and errno_of(c, address, 1) == 22
print('works')
";
    for (number, sandbox) in views().into_iter().enumerate() {
        for network in [Network::None, Network::Host] {
            let yard = Yard::new();
            let mut spec = python(&yard, program);
            spec.network = network;
            let outcome = sandbox.run(&spec).unwrap();
            assert_eq!(text(&outcome.stdout), "works\n", "way {number}: {}", said(&outcome));
        }
    }
}

#[test]
fn a_socket_without_a_path_is_its_own_in_a_network_of_its_own() {
    let machine = probe();
    if !machine.networks {
        return; // Then there are none.
    }
    let yard = Yard::new();
    let mut spec = python(
        &yard,
        "
s = socket.socket(socket.AF_UNIX); s.bind('\\0own'); s.listen()
c = socket.socket(socket.AF_UNIX); c.connect('\\0own'); print('works')
",
    );
    spec.network = Network::None;
    let outcome = Sandbox::new(machine).run(&spec).unwrap();
    assert_eq!(text(&outcome.stdout), "works\n", "{}", said(&outcome));
}

#[test]
fn a_call_waits_for_a_server_without_room_while_others_go_on_and_gives_up_when_its_time_is_over() {
    let yard = Yard::new();
    let spec = python(
        &yard,
        "
s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(0)
full = socket.socket(socket.AF_UNIX); full.connect('s')
def errno_of(how):
    try: how(); return 0
    except OSError as problem: return problem.errno
c = socket.socket(socket.AF_UNIX); c.setblocking(False)
assert errno_of(lambda: c.connect('s')) == 11 and not c.getblocking()
c = socket.socket(socket.AF_UNIX); c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', 0, 50000))
assert errno_of(lambda: c.connect('s')) == 11 and c.getblocking()
c = socket.socket(socket.AF_UNIX); done = []
t = threading.Thread(target=lambda: done.append(c.connect('s'))); t.start()
time.sleep(0.1)
other = socket.socket(socket.AF_UNIX); other.bind('other'); other.listen()
socket.socket(socket.AF_UNIX).connect('other')
assert not done
s.accept(); t.join(); assert done == [None] and c.getblocking()
print('works')
",
    );
    let outcome = Sandbox::new(probe()).run(&spec).unwrap();
    assert_eq!(text(&outcome.stdout), "works\n", "{}", said(&outcome));
}

#[test]
fn a_command_ends_at_its_deadline_also_while_a_connection_waits() {
    let yard = Yard::new();
    let mut spec = python(
        &yard,
        "
s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(0)
for _ in range(2): socket.socket(socket.AF_UNIX).connect('s')
",
    );
    spec.limits.wall = Duration::from_secs(2);
    spec.limits.grace = Duration::from_millis(100);
    let outcome = Sandbox::new(probe()).run(&spec).unwrap();
    assert!(outcome.timed_out, "{}", said(&outcome));
}

#[test]
fn internet_connections_are_made_and_refused_as_outside() {
    let program = "
s = socket.create_server(('127.0.0.1', 0))
c = socket.create_connection(s.getsockname()); a, _ = s.accept(); c.send(b'x'); assert a.recv(1) == b'x'
n = socket.socket(); n.setblocking(False)
try: n.connect(s.getsockname())
except BlockingIOError: pass
import select; assert select.select([], [n], [], 5)[1] and n.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
port = s.getsockname()[1]; s.close()
try: socket.create_connection(('127.0.0.1', port)); raise AssertionError
except ConnectionRefusedError: pass
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.connect(u.getsockname()); v.send(b'x'); assert u.recv(1) == b'x'
local = struct.pack('H', 1) + b'a' + bytes(107)
t = socket.socket()
assert libc.connect(t.fileno(), local, 110) == -1 and ctypes.get_errno() == 97
assert libc.connect(v.fileno(), bytes(16), 16) == 0
try: v.send(b'x'); raise AssertionError
except OSError: pass
print('works')
";
    for (number, sandbox) in views().into_iter().enumerate() {
        let yard = Yard::new();
        let outcome = sandbox.run(&python(&yard, program)).unwrap();
        assert_eq!(text(&outcome.stdout), "works\n", "way {number}: {}", said(&outcome));
    }
}

#[test]
fn a_server_is_not_told_that_the_daemon_connects() {
    let yard = Yard::new();
    let server = UnixListener::bind(yard.workspace.join("server")).unwrap();
    let spec =
        python(&yard, "s = socket.socket(socket.AF_UNIX); s.connect('server'); print(s.recv(9).decode())");
    let process = Sandbox::new(probe()).start(&spec).unwrap();
    let (mut connection, _) = server.accept().unwrap();
    let peer = rustix::net::sockopt::socket_peercred(&connection).unwrap();
    assert_ne!(peer.pid, rustix::process::getpid());
    assert_eq!(peer.uid, rustix::process::geteuid());
    // Whoever asks what it may do learns that it is contained.
    if probe().landlock_abi < Some(9) {
        let status = fs::read_to_string(format!("/proc/{}/status", peer.pid.as_raw_nonzero())).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    connection.write_all(b"hello").unwrap();
    drop(connection);
    let outcome = process.wait(LONG).unwrap().unwrap();
    assert_eq!(text(&outcome.stdout), "hello\n", "{}", said(&outcome));
}

#[test]
fn without_the_means_there_are_no_local_sockets_but_pairs() {
    let machine = probe();
    let abi = machine.landlock_abi.map(|abi| abi.min(7));
    let without = Sandbox::new(Probe { notices: false, landlock_abi: abi, ..machine });
    let yard = Yard::new();
    let spec = python(&yard, "a, b = socket.socketpair(); print('pair'); socket.socket(socket.AF_UNIX)");
    let outcome = without.run(&spec).unwrap();
    assert_eq!(
        (outcome.exit, text(&outcome.stdout).as_str()),
        (Exit::Code(1), "pair\n"),
        "{}",
        said(&outcome)
    );
    let all = Spec { local_sockets: LocalSockets::All, ..python(&yard, "socket.socket(socket.AF_UNIX)") };
    assert_eq!(without.run(&all).unwrap().exit, Exit::Code(0));
}

#[test]
fn where_all_sockets_may_be_reached_late_ones_are_as_well() {
    let yard = Yard::new();
    let mut spec = python(&yard, "wait(); connects(OUTSIDE + '/late/s')");
    spec.local_sockets = LocalSockets::All;
    let (outcome, late) = run_with(&Sandbox::new(probe()), &spec, || Late::new(&yard));
    assert!(late.was_reached(), "{}", said(&outcome));
}
