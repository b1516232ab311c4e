//! Programs that try to get out: each is run as a real contained process, and says itself whether it did.
//!
//! An attempt is a Python text that ends in `verdict(...)`: true when it got what it wanted. What can be tried outside
//! the sandbox without harm is run there too and has to succeed, so that an attempt which is broken is found.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    net::{TcpListener, UdpSocket},
    os::{
        fd::AsRawFd as _,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    process::{Child, Command, Stdio},
};

use ostk_sandbox::{Exit, Network, Spec};

use crate::yard::{Yard, every_way, said, text};

/// Reads or changes files, or other processes, that are none of its business.
const REACH: &[(&str, &str)] = &[
    ("read a token in the workspace", "verdict(readable(WORKSPACE + '/.ostk/run/mcp.token'))"),
    ("read a key outside", "verdict(readable(OUTSIDE + '/keys/signing.key'))"),
    (
        "read a token through /proc/self/root",
        "verdict(readable('/proc/self/root' + WORKSPACE + '/.ostk/run/mcp.token'))",
    ),
    ("read a token through the working directory", "verdict(readable('/proc/self/cwd/.ostk/run/mcp.token'))"),
    (
        "read a token through a link",
        "os.symlink(WORKSPACE + '/.ostk/run/mcp.token', TMP + '/l'); verdict(readable(TMP + '/l'))",
    ),
    (
        "read a key through a hard link",
        "os.link(OUTSIDE + '/keys/signing.key', TMP + '/h'); verdict(readable(TMP + '/h'))",
    ),
    (
        "read a token after moving its directory",
        "os.rename(WORKSPACE + '/.ostk/run', WORKSPACE + '/src/run'); verdict(readable(WORKSPACE + '/src/run/mcp.token'))",
    ),
    (
        "list the key directory",
        "verdict(os.listdir(OUTSIDE + '/keys') and readable(OUTSIDE + '/keys/signing.key'))",
    ),
    (
        "read the environment of another process",
        "verdict(b'SECRET' in open(f'/proc/{OUTSIDER}/environ', 'rb').read())",
    ),
    ("read the memory of another process", "os.open(f'/proc/{OUTSIDER}/mem', os.O_RDONLY); verdict(True)"),
    (
        "read a key through the root of another process",
        "verdict(readable(f'/proc/{OUTSIDER}/root{OUTSIDE}/keys/signing.key'))",
    ),
    (
        "read a key through the directory of another process",
        "verdict(readable(f'/proc/{OUTSIDER}/cwd/keys/signing.key'))",
    ),
    (
        "look for the secret in every process",
        "found = [p for p in glob.glob('/proc/[0-9]*/environ') if secret_in(p)]\nverdict(found)",
    ),
    (
        "use a descriptor that was left open",
        "found = [fd for fd in range(3, 1024) if is_open(fd)]\nverdict(found)",
    ),
    ("signal another process", "os.kill(OUTSIDER, signal.SIGCONT); verdict(True)"),
    (
        "change a file outside by hard link",
        "os.link(OUTSIDE + '/file', TMP + '/f'); open(TMP + '/f', 'a').write('x'); verdict(True)",
    ),
    ("take a file from outside", "os.rename(OUTSIDE + '/file', TMP + '/taken'); verdict(True)"),
    ("create a git hook in the workspace", "open(WORKSPACE + '/.git/hooks/post-commit', 'w'); verdict(True)"),
    ("move the hooks away", "os.rename(WORKSPACE + '/.git/hooks', TMP + '/hooks'); verdict(True)"),
    (
        "exchange two directories in one step",
        "os.mkdir(TMP + '/o'); r = call('renameat2', -100, (WORKSPACE + '/.ostk').encode(), -100, (TMP + '/o').encode(), 2); verdict(r == 0)",
    ),
];

/// Calls that the filter or the missing rights refuse; each would work outside for root.
const CALLS: &[(&str, &str)] = &[
    ("be traced", "verdict(call('ptrace', 0, 0, 0, 0) == 0)"),
    (
        "read memory by process id",
        "b = ctypes.create_string_buffer(8); v = iov(b); verdict(call('process_vm_readv', os.getpid(), v, 1, v, 1, 0) > 0)",
    ),
    (
        "write memory by process id",
        "b = ctypes.create_string_buffer(8); v = iov(b); verdict(call('process_vm_writev', os.getpid(), v, 1, v, 1, 0) > 0)",
    ),
    (
        "take a descriptor from a process",
        "p = os.pidfd_open(os.getpid()); verdict(call('pidfd_getfd', p, 1, 0) >= 0)",
    ),
    ("make a user namespace", "verdict(call('unshare', 0x10000000) == 0)"),
    ("make a mount namespace", "verdict(call('unshare', 0x00020000) == 0)"),
    (
        "make a user namespace with a new process",
        "verdict(forked(lambda: call('clone', 0x10000000 | 17, 0, 0, 0, 0)))",
    ),
    (
        "make a user namespace with clone3",
        "a = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0); verdict(forked(lambda: call('clone3', a, 64)))",
    ),
    (
        "make a process a child of its own parent",
        "verdict(forked(lambda: call('clone', 0x8000 | 17, 0, 0, 0, 0)))",
    ),
    (
        "make a process a child of its own parent with clone3",
        "a = (ctypes.c_uint64 * 8)(0x8000, 0, 0, 0, 0, 0, 0, 0); verdict(forked(lambda: call('clone3', a, 64)))",
    ),
    ("enter a namespace", "f = os.open('/proc/self/ns/uts', os.O_RDONLY); verdict(call('setns', f, 0) == 0)"),
    (
        "mount a file system",
        "verdict(call('unshare', 0x20000) == 0 and call('mount', b'n', TMP.encode(), b'tmpfs', 0, 0) == 0)",
    ),
    ("open a file system", "verdict(call('fsopen', b'tmpfs', 0) >= 0)"),
    ("copy a mount", "verdict(call('open_tree', -100, b'/', 1) >= 0)"),
    ("change the root directory", "verdict(call('chroot', TMP.encode()) == 0)"),
    ("store a key in the kernel", "verdict(call('add_key', b'user', b'ostk-test', b'x', 1, -2) >= 0)"),
    ("list keys of the kernel", "verdict(call('keyctl', 0, -2, 1) >= 0)"),
    (
        "load a program into the kernel",
        "a = (ctypes.c_uint32 * 32)(2, 4, 4, 1); verdict(call('bpf', 0, a, 128) >= 0)",
    ),
    ("handle page faults", "verdict(call('userfaultfd', 1) >= 0)"),
    ("read the kernel's log", "verdict(call('syslog', 10, 0, 0) >= 0)"),
    (
        "open a file by its handle",
        "verdict(open_by_handle(OUTSIDE + '/keys/signing.key') or open_by_handle(OUTSIDE + '/file'))",
    ),
    ("make a packet socket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); verdict(True)"),
    ("make a raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); verdict(True)"),
    (
        "listen to the kernel's device events",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15); verdict(True)",
    ),
    (
        "make a program that runs as its owner",
        "open(TMP + '/p', 'w'); os.chmod(TMP + '/p', 0o4755); verdict(os.stat(TMP + '/p').st_mode & 0o4000)",
    ),
    (
        "create a program that runs as its owner",
        "os.umask(0); os.open(TMP + '/p', os.O_CREAT | os.O_WRONLY, 0o4755); verdict(os.stat(TMP + '/p').st_mode & 0o4000)",
    ),
    (
        "create one without a name that runs as its owner",
        "os.umask(0); f = os.open(TMP, os.O_TMPFILE | os.O_RDWR, 0o4755); verdict(os.fstat(f).st_mode & 0o4000)",
    ),
    ("create a disk", "os.mknod(TMP + '/disk', 0o60600, os.makedev(7, 0)); verdict(True)"),
    ("read the kernel's log device", "os.open('/dev/kmsg', os.O_RDONLY); verdict(True)"),
];

/// What a test cannot try outside: it would harm the machine, or needs what not every machine has.
const DANGEROUS: &[(&str, &str)] = &[
    ("set up an io_uring", "p = (ctypes.c_uint32 * 30)(); verdict(call('io_uring_setup', 4, p) >= 0)"),
    (
        "watch performance counters",
        "a = (ctypes.c_uint32 * 32)(1, 128); verdict(call('perf_event_open', a, 0, -1, -1, 0) >= 0)",
    ),
    (
        "make a user namespace by the x32 number",
        "verdict(call(0x40000000 | NUMBER['unshare'], 0x10000000) == 0)",
    ),
    ("make a user namespace by a 32-bit call", "verdict(thirty_two_bit_unshare())"),
    ("reach a virtual machine's host", "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); verdict(True)"),
    ("use the kernel's ciphers", "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET); verdict(True)"),
    (
        "set the program for core dumps",
        "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY); verdict(True)",
    ),
    ("reboot by a file", "os.open('/proc/sysrq-trigger', os.O_WRONLY); verdict(True)"),
    ("put the machine to sleep", "os.open('/sys/power/state', os.O_WRONLY); verdict(True)"),
    ("read a disk", "found = [d for d in disks() if opens(d)]\nverdict(found)"),
    ("read the machine's memory", "verdict(opens('/dev/mem') or opens('/proc/kcore') or opens('/dev/port'))"),
    ("get capabilities back", "verdict(capset_all() == 0)"),
    ("trace the first process", "verdict(call('ptrace', 0x4206, 1, 0, 0) == 0)"),
    (
        "read the memory of the first process",
        "verdict(opens('/proc/1/mem') or opens('/proc/1/environ') and secret_in('/proc/1/environ'))",
    ),
    (
        "end the first process",
        "os.kill(1, signal.SIGKILL); time.sleep(0.2); verdict(os.path.exists('/proc/self/stat') and not os.path.exists('/proc/1'))",
    ),
    (
        "listen at somebody's terminal",
        "found = [t for t in glob.glob('/dev/pts/[0-9]*') if opens(t)]\nverdict(found or opens('/dev/tty') or opens('/dev/console') or opens('/dev/tty1'))",
    ),
    ("type into a terminal", "verdict(typed())"),
    ("take down a mount", "verdict(call('umount2', (WORKSPACE + '/.ostk').encode(), 2) == 0)"),
    (
        "make a mount writable",
        "verdict(call('mount', 0, (WORKSPACE + '/.ostk').encode(), 0, 4096 | 32, 0) == 0)",
    ),
    (
        "leave its Landlock rules by a thread",
        "t = threading.Thread(target=lambda: out.append(readable(OUTSIDE + '/keys/signing.key'))); t.start(); t.join(); verdict(out[0])",
    ),
    (
        "talk to a container engine",
        "verdict(connects('/run/docker.sock') or connects('/var/run/docker.sock'))",
    ),
    (
        "raise its limits",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192)); verdict(True)",
    ),
];

/// Reaches a server outside, over the network or a local socket.
const NETWORK: &[(&str, &str)] = &[
    ("connect over TCP", "socket.create_connection(('127.0.0.1', TCP_PORT), 2); verdict(True)"),
    (
        "connect over TCP and IPv6",
        "socket.create_connection(('::ffff:127.0.0.1', TCP_PORT), 2); verdict(True)",
    ),
    (
        "send over UDP",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.sendto(b'x', ('127.0.0.1', UDP_PORT)); verdict(s.recv(8))",
    ),
];

const SOCKETS: &[(&str, &str)] = &[
    ("connect to a socket of another program", "verdict(connects(OUTSIDE + '/engine.sock'))"),
    (
        "connect to it through /proc/self/root",
        "verdict(connects('/proc/self/root' + OUTSIDE + '/engine.sock'))",
    ),
    (
        "connect to it through a link",
        "os.symlink(OUTSIDE + '/engine.sock', TMP + '/s'); verdict(connects(TMP + '/s'))",
    ),
    ("connect to an abstract socket", "verdict(connects('\\0' + ABSTRACT))"),
    (
        "send to it without a connection",
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); verdict(s.sendto(b'x', OUTSIDE + '/datagram.sock'))",
    ),
];

const PRELUDE: &str = include_str!("hostile.py");

/// Processes and servers that the attempts aim at.
struct Targets {
    outsider: Child,
    tcp: TcpListener,
    udp: UdpSocket,
    _sockets: Vec<UnixListener>,
    _datagrams: std::os::unix::net::UnixDatagram,
    abstract_name: String,
    /// Open for every child that does not close it.
    leaked: fs::File,
}

impl Targets {
    fn new(yard: &Yard) -> Self {
        fs::create_dir_all(yard.workspace.join(".ostk/run")).unwrap();
        fs::create_dir(yard.outside.join("keys")).unwrap();
        fs::write(yard.workspace.join(".ostk/run/mcp.token"), "SECRET").unwrap();
        fs::write(yard.outside.join("keys/signing.key"), "SECRET").unwrap();
        let mut outsider = Command::new("sleep");
        outsider.arg("600").env("SECRET", "SECRET").current_dir(&yard.outside).stdout(Stdio::null());
        let abstract_name = format!("ostk-hostile-{}-{}", std::process::id(), yard.workspace.display());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let leaked = fs::File::open(yard.outside.join("keys/signing.key")).unwrap();
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let answering = udp.try_clone().unwrap();
        answering.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 8];
            while let Ok((_, from)) = answering.recv_from(&mut buffer) {
                let _ = answering.send_to(b"yes", from);
            }
        });
        Self {
            outsider: outsider.spawn().unwrap(),
            tcp,
            udp,
            _sockets: vec![
                UnixListener::bind(yard.outside.join("engine.sock")).unwrap(),
                UnixListener::bind_addr(&address).unwrap(),
            ],
            _datagrams: std::os::unix::net::UnixDatagram::bind(yard.outside.join("datagram.sock")).unwrap(),
            abstract_name,
            leaked,
        }
    }

    fn facts(&self, yard: &Yard) -> BTreeMap<&'static str, String> {
        let numbers: Vec<_> = NUMBERS.iter().map(|(name, number)| format!("'{name}':{number}")).collect();
        BTreeMap::from([
            ("WORKSPACE", format!("{:?}", yard.workspace.to_str().unwrap())),
            ("OUTSIDE", format!("{:?}", yard.outside.to_str().unwrap())),
            ("OUTSIDER", self.outsider.id().to_string()),
            ("TCP_PORT", self.tcp.local_addr().unwrap().port().to_string()),
            ("UDP_PORT", self.udp.local_addr().unwrap().port().to_string()),
            ("ABSTRACT", format!("{:?}", self.abstract_name)),
            ("NUMBER", format!("{{{}}}", numbers.join(","))),
        ])
    }

    fn program(&self, yard: &Yard, attempt: &str) -> String {
        let facts: String =
            self.facts(yard).iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let body: String = attempt.lines().map(|line| format!("    {line}\n")).collect();
        format!("{facts}{PRELUDE}\ntry:\n{body}except Exception as problem:\n    print('held', problem)\n")
    }

    fn contained(&self, yard: &Yard, attempt: &str) -> Spec {
        let program = yard.scratch().join("attempt.py");
        fs::create_dir_all(yard.scratch()).unwrap();
        fs::write(&program, self.program(yard, attempt)).unwrap();
        let mut spec = yard.shell("");
        spec.argv = vec!["python3".into(), program.into()];
        spec.env.insert("PATH".into(), "/usr/bin:/bin:/usr/local/bin".into());
        spec.hidden = vec![yard.workspace.join(".ostk/run/mcp.token"), yard.outside.join("keys")];
        spec
    }

    /// What an attempt says outside the sandbox.
    fn outside(&self, yard: &Yard, attempt: &str) -> String {
        let scratch = yard.outside.join("free");
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir(&scratch).unwrap();
        let mut python = Command::new("/usr/bin/python3");
        python
            .args(["-c", &self.program(yard, attempt)])
            .env("TMPDIR", &scratch)
            .current_dir(&yard.workspace);
        let mut said = String::new();
        let mut child = python.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        said
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        assert!(self.leaked.as_raw_fd() > 2);
        self.outsider.kill().unwrap();
        self.outsider.wait().unwrap();
    }
}

/// The numbers of the calls on this processor.
const NUMBERS: &[(&str, libc::c_long)] = &[
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("unshare", libc::SYS_unshare),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("setns", libc::SYS_setns),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("fsopen", libc::SYS_fsopen),
    ("open_tree", libc::SYS_open_tree),
    ("chroot", libc::SYS_chroot),
    ("add_key", libc::SYS_add_key),
    ("keyctl", libc::SYS_keyctl),
    ("bpf", libc::SYS_bpf),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("syslog", libc::SYS_syslog),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("capset", libc::SYS_capset),
    ("renameat2", libc::SYS_renameat2),
];

/// Runs attempts in every way of containment; the failures are listed together.
fn none_succeeds(attempts: &[(&str, &str)], change: impl Fn(&mut Spec)) {
    let yard = Yard::new();
    let targets = Targets::new(&yard);
    let mut escaped = Vec::new();
    for (number, (_, sandbox)) in every_way().into_iter().enumerate() {
        for (name, attempt) in attempts {
            let mut spec = targets.contained(&yard, attempt);
            change(&mut spec);
            let outcome = sandbox.run(&spec).unwrap();
            let told = text(&outcome.stdout);
            if !told.starts_with("held") || outcome.exit != Exit::Code(0) {
                escaped.push(format!("way {number}: {name}: {}", said(&outcome)));
            }
            let _ = fs::remove_dir_all(yard.scratch());
        }
    }
    assert!(escaped.is_empty(), "{escaped:#?}");
}

#[test]
fn no_attempt_reaches_files_or_processes_outside_its_bounds() {
    none_succeeds(REACH, |_| {});
}

#[test]
fn no_attempt_at_a_refused_call_succeeds() {
    none_succeeds(CALLS, |_| {});
}

#[test]
fn no_attempt_succeeds_while_its_calls_are_observed() {
    none_succeeds(CALLS, |spec| spec.observe = true);
}

#[test]
fn no_dangerous_attempt_succeeds() {
    none_succeeds(DANGEROUS, |_| {});
}

#[test]
fn without_network_no_server_is_reached() {
    none_succeeds(NETWORK, |spec| spec.network = Network::None);
}

#[test]
fn no_local_socket_of_another_program_is_reached() {
    none_succeeds(SOCKETS, |_| {});
    none_succeeds(SOCKETS, |spec| spec.network = Network::None);
}

#[test]
fn the_attempts_work_without_a_sandbox() {
    if !rustix::process::geteuid().is_root() {
        return; // Several of them take root's rights.
    }
    let all = [REACH, CALLS, NETWORK, SOCKETS].concat();
    let alone = |attempt: &str| {
        let yard = Yard::new();
        Targets::new(&yard).outside(&yard, attempt)
    };
    let broken: Vec<_> = all
        .iter()
        .map(|(name, attempt)| (name, alone(attempt)))
        .filter(|(_, told)| !told.starts_with("ESCAPED"))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
