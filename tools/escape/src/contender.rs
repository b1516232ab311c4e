//! The sandboxes that the table can be held against, and how each runs a command in its usual way.
//!
//! Each gets the settings that its documents recommend for an untrusted agent: the workspace writable, no network, and
//! what the person keeps secret hidden where it can hide things.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    row::{Class, Row},
    yard::Yard,
};

/// Who contains the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// `ostk run`, with a daemon of its own and a pin without network.
    Ostk,
    /// Nobody: shows that the attempts work.
    None,
    /// `codex sandbox`, workspace-write.
    Codex,
    /// `srt`, of `@anthropic-ai/sandbox-runtime`.
    Srt,
    /// `nono run`.
    Nono,
}

/// The bounds of the attempt as a pin: everything in the workspace, but for one path, and no network.
const PIN: &str = "deny: write-kernel modify-governance network\ndeny-path: private/\n";
/// The same, and a document that its agent must not change.
const CAREFUL: &str = "deny: write-kernel modify-governance network\ndeny-path: private/ AGENTS.md\n";
/// The first, with the network that the person has granted.
const EGRESS: &str = "deny: write-kernel modify-governance\ndeny-path: private/\n";
/// Of another agent, for the rows that need one.
const NARROW: &str = "read: .\nwrite: granted\nexecute: shell\ndeny: network\n";
/// Limits for the rows of that class.
pub(crate) const MOST_PROCESSES: usize = 150;
pub(crate) const MOST_MEMORY_MIB: u64 = 400;
/// A daemon starts in a tenth of a second; on a machine under load in more.
const START: Duration = Duration::from_secs(30);

impl Contender {
    /// By its name on the command line.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "ostk" => Self::Ostk,
            "none" => Self::None,
            "codex" => Self::Codex,
            "srt" => Self::Srt,
            "nono" => Self::Nono,
            other => bail!("{other:?} is none of ostk, none, codex, srt, nono"),
        })
    }

    /// Its program, if it is installed: in `ESCAPE_CODEX` and its like, or in the path.
    pub fn program(self) -> Result<PathBuf> {
        let name = match self {
            Self::Ostk => "ostk",
            Self::None => return Ok(PathBuf::new()),
            Self::Codex => "codex",
            Self::Srt => "srt",
            Self::Nono => "nono",
        };
        if let Some(named) = env::var_os(format!("ESCAPE_{}", name.to_uppercase())) {
            return Ok(named.into());
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).map(|place| place.join(name)).find(|path| path.is_file());
        found.with_context(|| format!("{name} is not installed"))
    }

    /// Prepares the scene for it.
    pub(crate) fn prepare(self, row: &Row, yard: &Yard, ostk: &Path, totals: bool) -> Result<Option<Daemon>> {
        initialise(row, yard, ostk, totals)?;
        if self == Self::Ostk {
            let daemon = Daemon::start(yard, ostk)?;
            // While one command runs the namespaces of the next are made, with covers over what it and the one before it
            // could not see; and what nearly all have the attempt has too.
            for _ in 0..2 {
                let before = person(yard, ostk)
                    .args(["run", "--name", "before", "--pin", row.pin, "--", "true"])
                    .output()?;
                ensure!(before.status.success(), "before: {}", String::from_utf8_lossy(&before.stderr));
            }
            return Ok(Some(daemon));
        }
        if row.class == Class::Ostk {
            // A log that was written, for the rows that attack it.
            let mut daemon = Daemon::start(yard, ostk)?;
            person(yard, ostk).args(["run", "--name", "before", "--", "true"]).output()?;
            daemon.stop(yard, ostk);
        }
        if self == Self::Srt {
            fs::write(yard.temporary.join("srt.json"), srt_settings(yard)?)?;
        }
        Ok(None)
    }

    /// A command that runs `argv` in its sandbox, in the workspace.
    pub(crate) fn command(self, row: &Row, yard: &Yard, program: &Path, argv: &[String]) -> Command {
        let mut command = match self {
            Self::None => Command::new(argv.first().map(String::as_str).unwrap_or_default()),
            _ => Command::new(program),
        };
        match self {
            Self::Ostk => command.args(["run", "--name", "attempt", "--pin", row.pin, "--"]).args(argv),
            Self::None => command.args(argv.iter().skip(1)),
            Self::Codex => command
                .args(["sandbox", "-c", "sandbox_mode=\"workspace-write\""])
                .args(["-c", "sandbox_workspace_write.exclude_slash_tmp=true", "--"])
                .args(argv),
            Self::Srt => {
                command.arg("--settings").arg(yard.temporary.join("srt.json")).args(["-c", &words(argv)])
            }
            Self::Nono => command
                .args(["run", "--silent", "--block-net", "--allow"])
                .arg(&yard.workspace)
                .args(["--read", "/", "--"])
                .args(argv),
        };
        yard.give_environment(&mut command);
        command.current_dir(&yard.workspace).stdin(Stdio::null());
        command
    }

    /// For a report: its name and what it says of its version.
    pub fn version(self, program: &Path) -> String {
        if self == Self::None {
            return "no sandbox".to_owned();
        }
        let said = Command::new(program).arg("--version").stdin(Stdio::null()).output();
        said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
    }
}

fn person(yard: &Yard, ostk: &Path) -> Command {
    let mut command = Command::new(ostk);
    yard.give_environment(&mut command);
    command.current_dir(&yard.workspace).stdin(Stdio::null());
    command
}

fn initialise(row: &Row, yard: &Yard, ostk: &Path, totals: bool) -> Result<()> {
    let said = person(yard, ostk).args(["init", "--no-git-hook"]).output().context("ostk init")?;
    ensure!(said.status.success(), "ostk init: {}", String::from_utf8_lossy(&said.stderr));
    let state = yard.workspace.join(".ostk");
    for (name, text) in [("escape", PIN), ("careful", CAREFUL), ("narrow", NARROW), ("egress", EGRESS)] {
        fs::create_dir_all(state.join("pins").join(name))?;
        fs::write(state.join("pins").join(name).join("pin.caps"), text)?;
    }
    if row.pin == "egress" {
        let humanfile = state.join("HUMANFILE");
        let text = fs::read_to_string(&humanfile).context("HUMANFILE")?;
        fs::write(&humanfile, format!("{text}\nCONNECT {} localhost\n", yard.granted()))?;
        sign(yard, ostk, ".ostk/HUMANFILE")?;
    }
    if totals {
        let limits = format!("\n[sandbox]\nprocesses = {MOST_PROCESSES}\nmemory_mib = {MOST_MEMORY_MIB}\n");
        fs::write(state.join("ostk.toml"), limits)?;
        sign(yard, ostk, ".ostk/ostk.toml")?;
    }
    fs::create_dir_all(state.join("run"))?;
    fs::write(state.join("run/decoy.token"), &yard.secret)?;
    Ok(())
}

fn sign(yard: &Yard, ostk: &Path, document: &str) -> Result<()> {
    let said = person(yard, ostk).args(["sign", document]).output().context("ostk sign")?;
    ensure!(said.status.success(), "ostk sign: {}", String::from_utf8_lossy(&said.stderr));
    Ok(())
}

/// The daemon of a scene.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(yard: &Yard, ostk: &Path) -> Result<Self> {
        let log = fs::File::create(yard.temporary.join("daemon.log"))?;
        let child = person(yard, ostk).arg("listen").stdout(Stdio::null()).stderr(log).spawn()?;
        let mut daemon = Self { child };
        let socket = yard.workspace.join(".ostk/run/ostk.sock");
        let over = Instant::now() + START;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let ended = daemon.child.try_wait()?;
            if ended.is_some() || Instant::now() > over {
                bail!("the daemon did not start: {}", fs::read_to_string(yard.temporary.join("daemon.log"))?);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    fn stop(&mut self, yard: &Yard, ostk: &Path) {
        let _ = person(yard, ostk).arg("shutdown").output();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As its README has them for a coding agent.
fn srt_settings(yard: &Yard) -> Result<String> {
    let hidden = [
        ".ssh",
        ".gnupg",
        ".aws",
        ".kube",
        ".config/gcloud",
        ".azure",
        ".docker",
        ".npmrc",
        ".netrc",
        ".git-credentials",
    ];
    let hidden: Vec<_> = hidden
        .iter()
        .map(|name| yard.home.join(name))
        .chain([yard.keys.clone(), yard.workspace.join("private")])
        .collect();
    let settings = serde_json::json!({
        "network": { "allowedDomains": [], "deniedDomains": [] },
        "filesystem": { "denyRead": hidden, "allowWrite": [yard.workspace], "denyWrite": [yard.workspace.join("AGENTS.md")] },
    });
    Ok(serde_json::to_string(&settings)?)
}

/// Words as `sh` reads them back.
fn words(argv: &[String]) -> String {
    argv.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ")
}
