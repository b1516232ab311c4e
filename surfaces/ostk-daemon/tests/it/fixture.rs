//! A git repository with an ostk project, the binary to run in it, and its log.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// A project. Dropped, its daemon is stopped.
pub(crate) struct Fixture {
    dir: tempfile::TempDir,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// The binary. It belongs to another package, so cargo is asked for it, once.
pub(crate) fn ostk() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = env::var_os("OSTK_BIN") {
            return PathBuf::from(named);
        }
        // This test runs from TARGET/PROFILE/deps.
        let test = env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let target = profile.parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "ostk", "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        profile.join("ostk")
    })
}

impl Fixture {
    /// A git repository without a project.
    pub(crate) fn bare() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(fixture.root()).unwrap();
        fs::create_dir_all(fixture.home()).unwrap();
        assert!(
            Command::new("git").args(["init", "-q"]).current_dir(fixture.root()).status().unwrap().success()
        );
        fixture
    }

    /// A project without a daemon.
    pub(crate) fn new() -> Self {
        let fixture = Self::bare();
        fixture.good(&["init"]);
        fixture
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a governing document and signs it, as a person does after a change.
    pub(crate) fn govern(&self, path: &str, text: &str) {
        self.write(path, text);
        self.good(&["sign", path]);
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The binary with this fixture's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(ostk());
        self.dress(command.args(args));
        command
    }

    /// Gives any command this fixture's directory and environment, with the binary on its path.
    pub(crate) fn dress<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", ostk().parent().unwrap().display());
        command.current_dir(self.root()).env_clear().env("PATH", path).env("HOME", self.home());
        command.env("OSTK_KEYS_DIR", self.home().join("keys")).env("OSTK_USER", "ada").stdin(Stdio::null())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    #[track_caller]
    pub(crate) fn good(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran
    }

    /// A hook with this input.
    pub(crate) fn hook(&self, event: &str, input: &Value) -> Ran {
        let mut command = self.command(&["hook", event]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Every record of the log: actor, event, body. The daemon is stopped first, so nothing is still on its way.
    pub(crate) fn log(&self) -> Vec<(String, String, Value)> {
        self.good(&["shutdown"]);
        let reader = ostk_journal::Reader::open(&self.root().join(".ostk")).unwrap();
        let record = |entry: Result<ostk_journal::Entry, _>| {
            let record = entry.unwrap().record().unwrap();
            (record.actor.clone(), record.event.clone(), Value::Object(record.body))
        };
        reader.map(record).collect()
    }

    pub(crate) fn socket_is_there(&self) -> bool {
        self.root().join(".ostk/run/ostk.sock").exists()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.run(&["shutdown"]);
    }
}
