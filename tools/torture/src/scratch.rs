//! A repository to work on: generated files that look like source, each line unique in the whole repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// A scratch repository with a home of its own.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) root: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) keys: PathBuf,
    /// The files that everybody edits, with their first lines.
    pub(crate) shared: Vec<Shared>,
}

/// A file that everybody edits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    /// Somebody outside edits it too.
    pub(crate) reserved: bool,
}

impl Scratch {
    /// A git repository of `files` committed files in `dir`.
    pub(crate) fn make(dir: &Path, files: usize, seed: u64) -> Result<Self> {
        let scratch = Self {
            root: dir.join("repository"),
            home: dir.join("home"),
            keys: dir.join("keys"),
            shared: generate(files, seed),
        };
        fs::create_dir_all(&scratch.home)?;
        for shared in &scratch.shared {
            let path = scratch.root.join(&shared.path);
            fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
            fs::write(path, format!("{}\n", shared.lines.join("\n")))?;
        }
        for folder in ["own", "outside"] {
            fs::create_dir_all(scratch.root.join(folder))?;
        }
        let name = ["-c", "user.name=torture", "-c", "user.email=torture@localhost"];
        scratch.git(&["init", "--quiet"])?;
        scratch.git(&["add", "--all"])?;
        scratch.git(&[&name[..], &["commit", "--quiet", "--message", "start"]].concat())?;
        Ok(scratch)
    }

    fn git(&self, args: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        let output =
            git.args(args).current_dir(&self.root).env("HOME", &self.home).output().context("git")?;
        if !output.status.success() {
            bail!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// `program` with the scratch home and keys, in the repository.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for name in ["OSTK_DIR", "OSTK_SOCKET", "OSTK_KERNEL_SOCKET", "OSTK_PIN"] {
            command.env_remove(name);
        }
        command.current_dir(&self.root).env("HOME", &self.home).env("OSTK_KEYS_DIR", &self.keys);
        command
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root.join(".ostk")
    }
}

fn generate(files: usize, seed: u64) -> Vec<Shared> {
    let mut rng = Rng::new(seed, 1);
    let file = |number: usize| {
        let count = 200 + rng.below(201);
        let line = |at: usize| {
            let indent = if at.is_multiple_of(10) { "" } else { "    " };
            format!(
                "{indent}let v{number:03}_{at:04}_end = step({}, {});",
                rng.below(10_000),
                rng.below(10_000)
            )
        };
        let lines = (0..count).map(line).collect();
        Shared { path: format!("src/part_{number:03}.rs"), lines, reserved: number % 10 == 9 }
    };
    (0..files).map(file).collect()
}
