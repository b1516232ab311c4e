//! What a contained process reaches of the daemon: its relays, and a socket in its scratch directory.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::net::UnixListener,
    time::Duration,
};

use ostk_sandbox::{
    Exit, Guarantee, LocalSockets, Namespaces, Network, Probe, Sandbox, SandboxError, Spec, Waited, probe,
    run, start,
};

use crate::yard::{Yard, every_way, said, text};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn python(yard: &Yard, program: &str) -> Spec {
    let mut spec = yard.shell("");
    spec.argv = ["/usr/bin/python3", "-c", program].map(Into::into).to_vec();
    spec
}

fn relayed(ports: &[u16]) -> Network {
    Network::Relayed { ports: ports.to_vec() }
}

fn has_own_networks() -> bool {
    !probe().missing().iter().any(|missing| missing.guarantee == Guarantee::Relays)
}

/// Skips with a word: the test that the guarantee is refused by name runs everywhere.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn without_relays(test: &str) -> bool {
    if !has_own_networks() {
        eprintln!("{test}: this machine has no network namespaces");
    }
    !has_own_networks()
}

#[test]
fn a_process_reaches_its_relays_and_nothing_else() {
    if without_relays("relays") {
        return;
    }
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = outside.local_addr().unwrap().port();
    let yard = Yard::new();
    // A port that ordinary users may not take, and one that is taken outside.
    let ports = [80, other];
    let mut spec = python(
        &yard,
        "
import socket
for port in (80, OTHER):
    with socket.create_connection(('127.0.0.1', port), 20) as s:
        s.sendall(b'to %d' % port)
        s.shutdown(socket.SHUT_WR)
        print(s.recv(99).decode(), flush=True)
for port in (81, OTHER + 1 if OTHER < 65535 else 1):
    try:
        socket.create_connection(('127.0.0.1', port), 20)
        print('reached', port)
    except OSError:
        pass
try:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', 80))
    s.listen()
    print('took the port')
except OSError:
    print('end')
"
        .replace("OTHER", &other.to_string())
        .as_str(),
    );
    spec.network = relayed(&ports);
    let process = start(&spec).unwrap();
    let relays = process.take_relays();
    assert_eq!(relays.iter().map(|relay| relay.local_addr().unwrap().port()).collect::<Vec<_>>(), ports);
    assert!(process.take_relays().is_empty());
    for (relay, port) in relays.iter().zip(ports) {
        let (mut connection, from) = relay.accept().unwrap();
        assert!(from.ip().is_loopback());
        let mut asked = String::new();
        connection.read_to_string(&mut asked).unwrap();
        assert_eq!(asked, format!("to {port}"));
        // In one piece: the other end reads once.
        connection.write_all(format!("from {port}").as_bytes()).unwrap();
    }
    let outcome = process.wait(LONG).unwrap().unwrap();
    assert_eq!(text(&outcome.stdout), format!("from 80\nfrom {other}\nend\n"), "{}", said(&outcome));
    outside.set_nonblocking(true).unwrap();
    assert!(outside.accept().is_err());
}

#[test]
fn what_serves_the_relays_is_not_inherited_and_ends_with_nobody_left_to_connect() {
    if without_relays("descriptors of relays") {
        return;
    }
    let yard = Yard::new();
    let mut spec = yard.shell("ls /proc/$$/fd; true");
    spec.network = relayed(&[3128, 3129]);
    let process = start(&spec).unwrap();
    let relays = process.take_relays();
    let outcome = process.wait(LONG).unwrap().unwrap();
    assert_eq!(text(&outcome.stdout), "0\n1\n2\n");
    for relay in relays {
        relay.set_nonblocking(true).unwrap();
        assert_eq!(relay.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn two_processes_have_the_same_port_and_each_its_own_relay() {
    if without_relays("two relays") {
        return;
    }
    let yard = Yard::new();
    let connect = |word: &str| {
        let connect =
            "import socket; s = socket.create_connection(('127.0.0.1', 3128), 20); s.sendall(b'WORD')";
        let mut spec = python(&yard, &connect.replace("WORD", word));
        spec.network = relayed(&[3128]);
        start(&spec).unwrap()
    };
    for (process, word) in [(connect("one"), "one"), (connect("two"), "two")] {
        let mut said = String::new();
        process.take_relays()[0].accept().unwrap().0.read_to_string(&mut said).unwrap();
        assert_eq!(said, word);
    }
}

#[test]
fn without_network_namespaces_relays_are_refused_by_name_or_there_is_no_network_at_all() {
    let machine = probe();
    for probe in [
        Probe { networks: false, ..machine.clone() },
        Probe { namespaces: Namespaces::Unavailable, ..machine },
    ] {
        let sandbox = Sandbox::new(probe);
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = outside.local_addr().unwrap().port();
        let yard = Yard::new();
        let program = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 20)");
        let mut spec = python(&yard, &program);
        spec.network = relayed(&[3128]);
        let refused = sandbox.start(&spec).unwrap_err();
        assert!(
            matches!(&refused, SandboxError::Missing(missing) if missing.guarantee == Guarantee::Relays),
            "{refused}"
        );
        spec.accepted = BTreeSet::from([Guarantee::Relays]);
        let process = sandbox.start(&spec).unwrap();
        assert_eq!(process.containment().missing, [Guarantee::Relays]);
        assert!(process.take_relays().is_empty());
        let outcome = process.wait(LONG).unwrap().unwrap();
        assert_eq!(outcome.exit, Exit::Code(1), "{}", said(&outcome));
        assert!(text(&outcome.stderr).contains("PermissionError"), "{}", said(&outcome));
    }
}

#[test]
fn relays_that_nobody_could_serve_or_name_are_refused() {
    let yard = Yard::new();
    let mut spec = yard.shell("true");
    spec.network = relayed(&[3128]);
    assert!(matches!(run(&spec), Err(SandboxError::InvalidSpec(_))));
    if without_relays("ports of relays") {
        return;
    }
    spec.network = relayed(&[0]);
    assert!(matches!(start(&spec), Err(SandboxError::InvalidSpec(_))));
}

#[test]
fn a_process_connects_to_the_socket_that_the_daemon_made_in_its_scratch_directory() {
    let networks =
        if has_own_networks() { vec![Network::None, relayed(&[3128])] } else { vec![Network::None] };
    for (number, (_, sandbox)) in every_way().into_iter().enumerate() {
        for network in &networks {
            let yard = Yard::new();
            fs::create_dir_all(yard.scratch()).unwrap();
            let daemon = UnixListener::bind(yard.scratch().join("daemon.sock")).unwrap();
            let mut spec = python(
                &yard,
                "
import os, socket
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ['TMPDIR'] + '/daemon.sock')
s.sendall(b'hello')
s.shutdown(socket.SHUT_WR)
print(s.recv(99).decode())
",
            );
            spec.local_sockets = LocalSockets::Own;
            spec.network = network.clone();
            spec.accepted = BTreeSet::from([Guarantee::Relays]);
            let process = sandbox.start(&spec).unwrap();
            if number == 0 && probe().landlock_abi < Some(9) {
                // Without namespaces a filter stands in, which knows no paths: there are no local sockets at all.
                let outcome = process.wait(LONG).unwrap().unwrap();
                assert!(text(&outcome.stderr).contains("PermissionError"), "{}", said(&outcome));
                continue;
            }
            let (mut connection, _) = daemon.accept().unwrap();
            let mut said = String::new();
            connection.read_to_string(&mut said).unwrap();
            assert_eq!(said, "hello");
            connection.write_all(b"welcome").unwrap();
            assert_eq!(process.wait_for(b"welcome\n", LONG), Waited::Found);
        }
    }
}
