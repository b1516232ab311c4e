//! Rows about the sockets of other programs on this machine, and the network.

use crate::row::{
    Class::{Network, Sockets},
    Need,
    Program::{Python, Shell},
    Row,
    Shows::{Heard, Held},
    row,
};

const ENGINE: &str = "GreyhavenHQ/greywall#55; eugene1g/agent-safehouse#19 (docker.sock)";
const CONTROL: &str = "navikt/cplt#240; Zouuup/landrun#43";
const LATE: &str = "Landlock before ABI 9, seccomp_unotify(2) on races";

pub(super) static ROWS: &[Row] = &[
    row("container-engine", Sockets, "talk to the socket of a container engine", ENGINE, Python("tell(O + '/engine.sock')")).shows(Heard),
    row("container-engine-by-link", Sockets, "talk to it through a link", ENGINE, Python("os.symlink(O + '/engine.sock', 's'); tell('s')")).shows(Heard),
    row("container-engine-by-root", Sockets, "talk to it through /proc/self/root", ENGINE, Python("tell('/proc/self/root' + O + '/engine.sock')")).shows(Heard),
    row("container-engine-by-hard-link", Sockets, "talk to it through a hard link in the workspace", ENGINE, Python("os.link(O + '/engine.sock', 's'); tell('s')")).shows(Heard),
    row("container-engine-by-rename", Sockets, "talk to it after moving it", ENGINE, Python("os.rename(O + '/engine.sock', 's'); tell('s')")).shows(Heard),
    row("container-engine-by-descriptor", Sockets, "talk to it through an O_PATH descriptor", ENGINE, Python("fd = os.open(O + '/engine.sock', os.O_PATH); tell(f'/proc/self/fd/{fd}')")).shows(Heard),
    row("datagram-socket", Sockets, "send to a socket without a connection", "LadybirdBrowser/ladybird#12146", Python("s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(NONCE.encode(), O + '/datagram.sock')")).shows(Heard),
    row("abstract-socket", Sockets, "talk to an abstract socket", "CVE-2020-15257 (containerd-shim)", Python("tell('\\0' + ABSTRACT)")).shows(Heard),
    row("display", Sockets, "talk to the display, an abstract socket of X11", "nolabs-ai/nono#207", Python("tell('\\0/tmp/.X11-unix/' + ABSTRACT)")).shows(Heard),
    row("ssh-agent", Sockets, "sign with the person's ssh-agent", CONTROL, Python("tell(RUNTIME + '/ssh-agent')")).shows(Heard),
    row("gpg-agent", Sockets, "sign with the person's gpg-agent", CONTROL, Python("tell(H + '/.gnupg/S.gpg-agent')")).shows(Heard),
    row("session-bus", Sockets, "start a service over D-Bus, as systemd-run does", CONTROL, Python("tell(RUNTIME + '/bus')")).shows(Heard),
    row("late-socket", Sockets, "talk to a socket that a program outside makes while the command runs", LATE, Python("late(RUNTIME + '/late.sock')")).shows(Heard),
    row("late-directory", Sockets, "talk to a socket in a directory made while the command runs", LATE, Python("late(RUNTIME + '/late/late.sock')")).shows(Heard),
    row("late-by-link", Sockets, "talk to it through a link", LATE, Python("os.symlink(RUNTIME + '/late.sock', 's'); late('s')")).shows(Heard),
    row("late-by-race-of-links", Sockets, "talk to it through a link that another thread exchanges during the call", LATE, Python("late(RUNTIME + '/late/late.sock', race_of_ways)")).shows(Heard),
    row("late-by-race-of-addresses", Sockets, "talk to it with an address that another thread changes during the call", LATE, Python("late(RUNTIME + '/late.sock', race_of_addresses)")).shows(Heard),
    row("late-by-race-of-descriptors", Sockets, "talk to it with a descriptor that another thread exchanges during the call, for a socket of another family", LATE, Python("late(RUNTIME + '/late.sock', race_of_descriptors)")).shows(Heard),
    row("late-by-rename", Sockets, "talk to it after moving its directory over one of the workspace", LATE, Python("os.mkdir('d'); late(RUNTIME + '/late/late.sock', lambda p: (os.rename(os.path.dirname(p), 'd'), tell('d/late.sock')))")).shows(Heard),
    row("late-by-root", Sockets, "talk to it through /proc/self/root", LATE, Python("late('/proc/self/root' + RUNTIME + '/late.sock')")).shows(Heard),
    row("late-by-directory", Sockets, "talk to it from its own directory", LATE, Python("late(RUNTIME + '/late.sock', lambda p: (os.chdir(RUNTIME), tell('late.sock')))")).shows(Heard),
    row("late-by-descriptor", Sockets, "talk to it through a descriptor of its directory", LATE, Python("fd = os.open(RUNTIME, os.O_PATH); late(RUNTIME + '/late.sock', lambda p: tell(f'/proc/self/fd/{fd}/late.sock'))")).shows(Heard),
    row("late-by-descriptor-of-itself", Sockets, "talk to it through a descriptor of itself", LATE, Python("late(RUNTIME + '/late.sock', lambda p: tell('/proc/self/fd/%d' % os.open(p, os.O_PATH)))")).shows(Heard),
    row("late-datagram", Sockets, "send to a late socket without a connection", LATE, Python("s = datagram(); late(RUNTIME + '/late.datagram', lambda p: s.sendto(NONCE.encode(), p))")).shows(Heard),
    row("late-datagram-connected", Sockets, "send to it after connecting", LATE, Python("s = datagram(); late(RUNTIME + '/late.datagram', lambda p: (s.connect(p), s.send(NONCE.encode())))")).shows(Heard),
    row("late-datagram-in-parts", Sockets, "send to it by sendmsg", LATE, Python("s = datagram(); late(RUNTIME + '/late.datagram', lambda p: s.sendmsg([NONCE.encode()], [], 0, p))")).shows(Heard),
    row("late-datagram-many", Sockets, "send to it by sendmmsg", LATE, Python("s = datagram(); late(RUNTIME + '/late.datagram', lambda p: send_many(s, p))")).shows(Heard),
    row("late-datagram-of-a-pair", Sockets, "send to it from one socket of a pair", LATE, Python("a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); late(RUNTIME + '/late.datagram', lambda p: a.sendmsg([NONCE.encode()], [], 0, p))")).shows(Heard),
    row("late-by-old-calls", Sockets, "talk to it by the table of 32-bit calls", LATE, Python("late(RUNTIME + '/late.sock', thirty_two_bit_connect)")).shows(Heard),
    row("tcp", Network, "connect to a server", "CVE-2025-66479 (sandbox-runtime)", Python("s = socket.create_connection(('127.0.0.1', TCP), 2); s.send(NONCE.encode())")).shows(Heard),
    row("tcp-shell", Network, "connect to a server from bash", "reverse shells", Shell("bash -c 'echo $NONCE > /dev/tcp/127.0.0.1/$TCP'")).shows(Heard).needs(&[Need::Program("bash")]),
    row("tcp-six", Network, "connect over IPv6", "filters that know IPv4 only", Python("s = socket.create_connection(('::1', TCP6), 2); s.send(NONCE.encode())")).shows(Heard).needs(&[Need::Path("/proc/sys/net/ipv6")]),
    row("tcp-mapped", Network, "connect over IPv6 to a mapped address", "filters that know IPv4 only", Python("s = socket.socket(socket.AF_INET6); s.connect(('::ffff:127.0.0.1', TCP)); s.send(NONCE.encode())")).shows(Heard).needs(&[Need::Path("/proc/sys/net/ipv6")]),
    row("tcp-any", Network, "connect to 0.0.0.0, which is this machine", "0.0.0.0 day (Oligo, 2024)", Python("s = socket.create_connection(('0.0.0.0', TCP), 2); s.send(NONCE.encode())")).shows(Heard),
    row("tcp-fast-open", Network, "send data with the first packet, without connect", "Landlock before 7.x and filters of connect", Python("s = socket.socket(); s.sendto(NONCE.encode(), 0x20000000, ('127.0.0.1', TCP))")).shows(Heard),
    row("tcp-many-paths", Network, "connect by MPTCP", "Landlock before 6.14 and rules for TCP alone", Python("s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.connect(('127.0.0.1', TCP)); s.send(NONCE.encode())")).shows(Heard).needs(&[Need::Path("/proc/sys/net/mptcp")]),
    row("metadata", Network, "reach a cloud's metadata service (a stand-in for 169.254.169.254 on loopback)", "Capital One (2019)", Python("s = socket.create_connection(('127.169.254.169', METADATA), 2); s.send(b'GET /latest/meta-data/ HTTP/1.0\\r\\n\\r\\n' + NONCE.encode())")).shows(Heard),
    row("udp", Network, "send over UDP", "Landlock has no rules for UDP", Python("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(NONCE.encode(), ('127.0.0.1', UDP))")).shows(Heard),
    row("udp-six", Network, "send over UDP and IPv6", "Landlock has no rules for UDP", Python("s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.sendto(NONCE.encode(), ('::1', UDP6))")).shows(Heard).needs(&[Need::Path("/proc/sys/net/ipv6")]),
    row("dns", Network, "carry data out in the name of a DNS query", "CVE-2025-55284 (Claude Code)", Python("q = b'\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0' + bytes([len(NONCE)]) + NONCE.encode() + b'\\x07example\\0\\0\\x01\\0\\x01'; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(q, ('127.0.0.1', UDP))")).shows(Heard),
    row("proxy-variables", Network, "find a way out in the environment", "cooperating proxies are a suggestion", Python("import urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{TCP}/{NONCE}', timeout=2)")).shows(Heard),
    row("inbound", Network, "wait for somebody outside to connect", "shells that listen", Python("s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', DOOR)); s.listen(); s.settimeout(1.5); c, _ = s.accept(); c.send(NONCE.encode())")).shows(Heard),
    row("raw-socket", Network, "make a raw socket", "CAP_NET_RAW in containers", Python("s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); time.sleep(0.4)")).shows(Held("socket:raw")).needs(&[Need::Root]),
    row("packet-socket", Network, "make a packet socket", "CVE-2017-7308; CVE-2020-14386", Python("s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); time.sleep(0.4)")).shows(Held("socket:packet")).needs(&[Need::Root]),
    row("device-events", Network, "listen to the kernel's device events", "netlink(7)", Python("s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15); s.bind((0, 1)); time.sleep(0.4)")).shows(Held("socket:netlink")),
    row("machine-host", Network, "reach the host of a virtual machine", "AF_VSOCK, vsock(7)", Python("s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); s.settimeout(1); s.connect((2, 1))"))
        .unshown("nothing on this machine can answer, and a host should not be asked"),
];
