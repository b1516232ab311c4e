//! A git repository with an ostk project, and the binary to run in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Nothing that a test waits for takes longer on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A project. Dropped, its daemon is stopped.
pub(crate) struct Fixture {
    _dir: tempfile::TempDir,
    root: PathBuf,
    home: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Each line of output as JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

impl Fixture {
    /// A git repository without a project.
    pub(crate) fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, home) = (dir.path().join("repo"), dir.path().join("home"));
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&home).unwrap();
        let made = Command::new("git").args(["init", "-q"]).current_dir(&root).status().unwrap();
        assert!(made.success());
        Self { _dir: dir, root, home }
    }

    /// A project without a daemon, and without the pins that a project begins with.
    pub(crate) fn new() -> Self {
        let fixture = Self::bare();
        fixture.run(&["init"]).good();
        fs::remove_dir_all(fixture.state().join("pins")).unwrap();
        fixture
    }

    /// A project in which the operator wrote one file, whose daemon is stopped again.
    pub(crate) fn with_a_log() -> Self {
        let fixture = Self::new();
        fixture.call("file.write", r#"{"path":"notes.txt","content":"one\ntwo\n"}"#).good();
        fixture.call("file.read", r#"{"path":"notes.txt"}"#).good();
        fixture.run(&["shutdown"]).good();
        fixture
    }

    /// A git repository without a project, with enough source files for `ostk demo`.
    pub(crate) fn with_sources() -> Self {
        let fixture = Self::bare();
        fs::create_dir(fixture.root.join("src")).unwrap();
        for (file, lines) in [("parser", 160), ("lexer", 140), ("printer", 120), ("tree", 100), ("main", 60)]
        {
            let line = |n: usize| format!("pub const {}_{n}: usize = {n};\n", file.to_uppercase());
            fs::write(fixture.root.join(format!("src/{file}.rs")), (0..lines).map(line).collect::<String>())
                .unwrap();
        }
        for args in [&["add", "."][..], &["commit", "-q", "-m", "start"]] {
            let who = ["-c", "user.name=ada", "-c", "user.email=ada@localhost"];
            let done = Command::new("git").args(who).args(args).current_dir(&fixture.root).status().unwrap();
            assert!(done.success());
        }
        fixture
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(".ostk")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_ostk"), args)
    }

    /// Any program, in the repository and with the environment that the binary gets.
    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(args).current_dir(&self.root).env_clear().env("PATH", path).stdin(Stdio::null());
        command.env("HOME", &self.home).env("OSTK_KEYS_DIR", self.home.join("keys")).env("OSTK_USER", "ada");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// A system call by the operator.
    pub(crate) fn call(&self, verb: &str, args: &str) -> Ran {
        self.run(&["call", verb, args])
    }

    /// A system call by an agent.
    pub(crate) fn call_as(&self, agent: &str, verb: &str, args: &str) -> Ran {
        self.run(&["call", verb, args, "--as", agent])
    }

    /// Writes a governing document under `.ostk/` and signs it, as a person does after a change.
    pub(crate) fn govern(&self, name: &str, text: &str) {
        let file = self.state().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        self.run(&["sign", file.to_str().unwrap()]).good();
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn daemon_pid(&self) -> Option<i32> {
        fs::read_to_string(self.state().join("run/anchor.pid")).ok()?.trim().parse().ok()
    }

    /// Ends the daemon as a power cut would, and waits until it is gone.
    pub(crate) fn kill_daemon(&self) {
        let pid = self.daemon_pid().expect("a daemon runs");
        let done = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(done.success());
        let lock = fs::File::open(self.state().join("run/anchor.lock")).unwrap();
        eventually("the daemon is gone", || lock.try_lock_shared().is_ok());
    }

    /// Name, size and time of change of every file of the project, its keys and its home.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.root.clone(), self.home.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let (path, metadata) = {
                    let e = entry.unwrap();
                    (e.path(), e.metadata().unwrap())
                };
                if metadata.is_dir() {
                    open.push(path.clone());
                }
                found.push(format!(
                    "{} {} {:?}",
                    path.display(),
                    metadata.len(),
                    metadata.modified().unwrap()
                ));
            }
        }
        found.sort();
        found
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if self.state().is_dir() {
            let stopped = self.run(&["shutdown"]);
            if stopped.code != 0 && !thread::panicking() {
                panic!("the daemon did not stop: {stopped:?}");
            }
        }
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
