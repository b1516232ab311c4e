//! What a command asks for, as it is noted while the command runs contained.

use std::{
    collections::BTreeSet,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use ostk_sandbox::{Exit, Observed, Spec, run, start};

use crate::yard::{Yard, every_way, said, text};

fn observed(yard: &Yard, script: &str) -> Observed {
    let mut spec = yard.shell(script);
    spec.observe = true;
    let outcome = run(&spec).unwrap();
    assert_eq!(outcome.exit, Exit::Code(0), "{}", said(&outcome));
    outcome.observed.unwrap()
}

/// What lies in the workspace and not in its scratch directory, from there.
fn inside(yard: &Yard, paths: &BTreeSet<PathBuf>) -> Vec<String> {
    let inner = paths.iter().filter_map(|path| path.strip_prefix(&yard.workspace).ok());
    inner.filter(|path| !path.starts_with(".ostk")).map(|path| path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_script_does_with_files_is_noted_by_its_kind() {
    let yard = Yard::new();
    let found = observed(
        &yard,
        "cd src; cat ./main.rs > ../copy; cat ../src/main.rs ../copy > /dev/null; mkdir ../d; echo x > ../d/f
         cd ..; mv d/f d/g; rm copy; echo more >> src/main.rs; ln -s main.rs src/link; cat src/link
         chmod 700 src/main.rs; cat none 2> /dev/null; mkdir d 2> /dev/null; test -e HUMANFILE",
    );
    assert_eq!(inside(&yard, &found.read), ["copy", "src/main.rs"]);
    assert_eq!(inside(&yard, &found.written), ["src/main.rs"]);
    assert_eq!(inside(&yard, &found.created), ["copy", "d", "d/f", "d/g", "src/link"]);
    assert_eq!(inside(&yard, &found.removed), ["copy", "d/f"]);
    let ran = |name: &str| found.executed.iter().any(|path| path.ends_with(name));
    assert!(ran("cat") && ran("mkdir") && !ran("ls"), "{:?}", found.executed);
    assert!(!found.truncated && found.connected.is_empty());
}

#[test]
fn programs_that_use_descriptors_and_old_calls_are_noted_as_well() {
    let yard = Yard::new();
    let program = "
import os, tempfile
here = os.open('src', os.O_RDONLY)
os.close(os.open('main.rs', os.O_RDONLY, dir_fd=here))
os.close(os.open('new', os.O_CREAT | os.O_WRONLY, dir_fd=here))
os.rename('new', 'newer', src_dir_fd=here, dst_dir_fd=here)
os.symlink('x', 'l', dir_fd=here)
os.link('newer', 'hard', src_dir_fd=here, dst_dir_fd=here)
os.truncate('src/main.rs', 3)
os.unlink('l', dir_fd=here)
os.close(os.open('docs', os.O_TMPFILE | os.O_WRONLY))
os.replace('src/newer', 'src/main.rs')
";
    std::fs::create_dir(yard.workspace.join("docs")).unwrap();
    std::fs::write(yard.workspace.join("run.py"), program).unwrap();
    let found = observed(&yard, "python3 run.py");
    assert_eq!(inside(&yard, &found.read), ["run.py", "src/main.rs"]);
    assert_eq!(inside(&yard, &found.written), ["src/main.rs"]);
    let created = ["docs/nameless", "src/hard", "src/l", "src/new", "src/newer"];
    assert_eq!(inside(&yard, &found.created), created);
    assert_eq!(inside(&yard, &found.removed), ["src/l", "src/main.rs", "src/new", "src/newer"]);
}

#[test]
fn addresses_are_noted_also_those_of_messages_without_a_connection() {
    let yard = Yard::new();
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let [tcp_at, udp_at] = [tcp.local_addr().unwrap(), udp.local_addr().unwrap()];
    let program = format!(
        "
import os, socket
socket.create_connection(('127.0.0.1', {}), 20).send(b'x')
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {}))
own = os.environ['TMPDIR'] + '/own.sock'
s = socket.socket(socket.AF_UNIX); s.bind(own); s.listen()
socket.socket(socket.AF_UNIX).connect(own)
",
        tcp_at.port(),
        udp_at.port()
    );
    std::fs::write(yard.workspace.join("run.py"), program).unwrap();
    let found = observed(&yard, "python3 run.py");
    let own = yard.scratch().join("own.sock");
    let expected = [tcp_at.to_string(), udp_at.to_string(), format!("unix:{}", own.display())];
    // Beside these, the C library asks its name service daemon.
    assert!(found.connected.is_superset(&expected.into()), "{:?}", found.connected);
    assert!(found.created.contains(&own));
}

#[test]
fn what_is_observed_is_contained_as_ever_in_every_way() {
    for (number, (_, sandbox)) in every_way().into_iter().enumerate() {
        let yard = Yard::new();
        let outside = yard.outside.join("file");
        let script =
            format!("echo x >> src/main.rs; echo x >> {0}; echo x >> HUMANFILE; cat {0}", outside.display());
        let mut spec = yard.shell(&script);
        spec.observe = true;
        let before = yard.guarded();
        let outcome = sandbox.run(&spec).unwrap();
        assert_eq!(text(&outcome.stdout), "outside\n", "way {number}: {}", said(&outcome));
        assert_eq!(yard.guarded(), before, "way {number}");
        // An attempt is noted, whether it succeeds or not: it is what the command asked for.
        let found = outcome.observed.unwrap();
        assert!(found.written.contains(&outside) && found.read.contains(&outside), "way {number}");
    }
}

#[test]
fn many_processes_and_threads_are_observed_to_the_last_file() {
    let yard = Yard::new();
    let program = "
import sys, threading
def work(n):
    for i in range(10):
        open(f'src/{sys.argv[1]}-{n}-{i}', 'w').close()
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
";
    std::fs::write(yard.workspace.join("run.py"), program).unwrap();
    let found = observed(&yard, "for i in 1 2 3 4; do python3 run.py $i & done; wait");
    let made = |path: &&PathBuf| path.parent() == Some(Path::new(&yard.workspace.join("src")));
    assert_eq!(found.created.iter().filter(made).count(), 160);
}

#[test]
fn an_observed_command_can_be_stopped_and_one_that_cannot_start_says_why() {
    let yard = Yard::new();
    let mut spec = yard.shell("while :; do cat src/main.rs; done");
    spec.observe = true;
    spec.limits.wall = Duration::from_millis(300);
    spec.limits.grace = Duration::from_millis(100);
    let outcome = start(&spec).unwrap().wait(Duration::from_secs(30)).unwrap().unwrap();
    assert!(outcome.timed_out);
    assert_eq!(inside(&yard, &outcome.observed.unwrap().read), ["src/main.rs"]);
    let mut missing = Spec::new(["/no/such/program"], &yard.workspace, yard.scratch());
    missing.observe = true;
    assert!(run(&missing).is_err());
    assert!(run(&yard.shell("true")).unwrap().observed.is_none());
}
