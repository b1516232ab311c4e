//! Work that a developer does every day goes on in the sandbox.

use std::fs;

use ostk_sandbox::{Exit, Network, Outcome, Protection, Readable, Sandbox};

use crate::yard::{Yard, every_way, said, text};

/// Runs a shell text with the programs and the tool chain of this user.
fn run(sandbox: &Sandbox, yard: &Yard, script: &str, network: Network) -> Outcome {
    let mut spec = yard.shell(script);
    let home = std::env::var("HOME").unwrap();
    for (variable, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let value = std::env::var(variable).unwrap_or_else(|_| format!("{home}/{default}"));
        spec.env.insert(variable.into(), value.into());
    }
    spec.network = network;
    sandbox.run(&spec).unwrap()
}

fn succeeds(script: &str) {
    for (protection, sandbox) in every_way() {
        for network in [Network::Host, Network::None] {
            let yard = Yard::new();
            let outcome = run(&sandbox, &yard, script, network.clone());
            assert_eq!(outcome.exit, Exit::Code(0), "{protection:?} {network:?}: {}", said(&outcome));
        }
    }
}

#[test]
fn pipelines_redirections_and_here_documents_work() {
    succeeds(
        "set -e; printf 'b\\na\\n' | sort | tee src/sorted | wc -l; cat <<END > src/text\nhello\nEND\n
         test $(head -1 src/sorted) = a; (sleep 0.1; echo late) & wait; mktemp; echo x | xargs -n1 echo > /dev/null",
    );
}

#[test]
fn python_runs_with_processes_threads_and_locks_of_its_own() {
    let program = "import subprocess, threading, tempfile, multiprocessing, socket, json, os\n\
                   def double(x): return 2 * x\n\
                   if __name__ == '__main__':\n\
                   \x20   t = threading.Thread(target=double, args=(1,)); t.start(); t.join()\n\
                   \x20   a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n\
                   \x20   assert subprocess.check_output(['echo', 'x']) == b'x\\n'\n\
                   \x20   with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n\
                   \x20   assert os.cpu_count() and open('/proc/meminfo').read() and open('/proc/self/status').read()\n";
    succeeds(&format!("cat > src/p.py <<'END'\n{program}END\n/usr/bin/python3 src/p.py"));
}

#[test]
fn python_shares_memory_between_its_processes_where_there_are_namespaces() {
    for (_, sandbox) in every_way().into_iter().filter(|way| way.0 == Protection::Namespace) {
        let yard = Yard::new();
        let script =
            "/usr/bin/python3 -c 'from multiprocessing import Pool; print(Pool(2).map(abs, [-1, -2]))'";
        let outcome = run(&sandbox, &yard, script, Network::None);
        assert_eq!(text(&outcome.stdout), "[1, 2]\n", "{}", said(&outcome));
    }
}

#[test]
fn a_program_gets_a_terminal_of_its_own_where_there_are_namespaces() {
    for (_, sandbox) in every_way().into_iter().filter(|way| way.0 == Protection::Namespace) {
        let yard = Yard::new();
        let program = "import os, pty, termios
pid, fd = pty.fork()
if pid == 0:
    termios.tcgetattr(0)
    os.execv(\"/usr/bin/tty\", [\"tty\"])
print(os.read(fd, 99).decode().strip())";
        let script = format!("/usr/bin/python3 -c '{program}'; ls /dev/pts");
        let outcome = run(&sandbox, &yard, &script, Network::Host);
        // A terminal takes a session, and a command that shares its processes with others makes none.
        if outcome.containment.own_processes {
            assert_eq!(text(&outcome.stdout), "/dev/pts/0\nptmx\n", "{}", said(&outcome));
        }
    }
}

#[test]
fn a_server_and_its_client_meet_on_the_loopback_of_a_command_without_network() {
    let machine = ostk_sandbox::probe();
    if !machine.networks {
        return; // Then a command without network has no loopback either.
    }
    let yard = Yard::new();
    let script = "/usr/bin/python3 -c '
import socket
s = socket.create_server((\"127.0.0.1\", 0)); c = socket.create_connection(s.getsockname()); print(\"met\")'";
    let outcome = run(&Sandbox::new(machine), &yard, script, Network::None);
    assert_eq!(text(&outcome.stdout), "met\n", "{}", said(&outcome));
}

#[test]
fn a_crate_is_checked_without_network() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(yard.workspace.join("Cargo.toml"), manifest).unwrap();
        fs::create_dir(yard.workspace.join("target")).unwrap();
        // Where nothing can be created beside protected files, the lock file has to be there.
        fs::write(
            yard.workspace.join("Cargo.lock"),
            "version = 4\n\n[[package]]\nname = \"tiny\"\nversion = \"0.1.0\"\n",
        )
        .unwrap();
        let outcome = run(&sandbox, &yard, "cargo check --offline --quiet 2>&1", Network::None);
        assert_eq!(outcome.exit, Exit::Code(0), "{protection:?}: {}", said(&outcome));
    }
}

#[test]
fn git_stages_commits_branches_and_merges_where_there_are_namespaces() {
    for (_, sandbox) in every_way().into_iter().filter(|way| way.0 == Protection::Namespace) {
        let yard = Yard::new();
        let script = "set -e; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
            git add src; git commit -qm one; git checkout -qb side; echo x > src/x; git add src; git commit -qm two
            git checkout -q -; git merge -q side; git stash list; git gc -q; git log --oneline | wc -l";
        let outcome = run(&sandbox, &yard, script, Network::None);
        assert_eq!((outcome.exit, text(&outcome.stdout).trim()), (Exit::Code(0), "2"), "{}", said(&outcome));
    }
}

#[test]
fn a_build_by_make_runs_its_recipes_side_by_side() {
    let found = std::process::Command::new("make").arg("--version").output();
    if found.is_err() {
        return;
    }
    succeeds(
        "printf 'all: a b\\na b:\\n\\techo $@ > src/$@\\n' > src/Makefile; make -s -j2 -f src/Makefile && cat src/a src/b",
    );
}

#[test]
fn only_what_is_readable_and_the_devices_of_every_program_are_needed() {
    for (_, sandbox) in every_way() {
        let yard = Yard::new();
        let mut spec = yard.shell("cat src/main.rs /proc/self/status > /dev/null");
        spec.readable =
            Readable::Only(["/usr", "/bin", "/lib", "/lib64", "/etc", "/proc"].map(Into::into).to_vec());
        let outcome = sandbox.run(&spec).unwrap();
        assert_eq!(outcome.exit, Exit::Code(0), "{}", said(&outcome));
    }
}
