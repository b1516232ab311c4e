//! What containment costs work that is heavy on files: the same script in the sandbox and outside, in turn.
//!
//! Two scripts on a clone of this repository: copying it about with git and tar, and `cargo check` of the workspace after
//! a change at its bottom. The figure is the ratio of the two medians, so that both saw the same machine. Every layer
//! that this machine offers is on, with the bounds that the daemon sets; there is no daemon in between.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ostk_sandbox::{Exit, Sandbox, Spec, probe};

use crate::figure::{Figure, seconds};

/// Pairs of runs of the short script; one takes about a second.
const COPIES: usize = 21;
/// Pairs of runs of the long one.
const CHECKS: usize = 7;
/// The first check compiles every dependency.
const FIRST_CHECK: Duration = Duration::from_secs(3600);

/// Clones, looks, packs, unpacks and removes: some thousand files each.
const COPY: &str = "set -e; git clone -q --no-hardlinks . ../copy/c; git -C ../copy/c status -s; git -C ../copy/c log --oneline > /dev/null
    mkdir ../copy/u; tar -C ../copy/c -cf - . | tar -C ../copy/u -xf -; grep -r --include=*.rs -c unsafe ../copy/u > /dev/null || true
    rm -rf ../copy/c ../copy/u";
/// A crate that nearly all others depend on is checked again, and so are they.
const CHECK: &str = "set -e; touch core/ostk-log/src/lib.rs; cargo check --quiet --workspace --offline";

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>> {
    let bench = Bench::new(dir)?;
    let [outside, inside] = bench.pairs(COPY, COPIES)?;
    let copy = ratio(&outside, &inside);
    bench.outside(CHECK)?;
    let [check_outside, check_inside] = bench.pairs(CHECK, CHECKS)?;
    let check = ratio(&check_outside, &check_inside);
    Ok(vec![
        Figure::low("git and tar, outside the sandbox", "ms", outside),
        Figure::low("git and tar, in the sandbox", "ms", inside),
        Figure::low("git and tar, in over outside", "ratio", vec![copy]).median(1.05),
        Figure::low("cargo check of the workspace, outside the sandbox", "ms", check_outside),
        Figure::low("cargo check of the workspace, in the sandbox", "ms", check_inside),
        Figure::low("cargo check of the workspace, in over outside", "ratio", vec![check]).median(1.05),
    ])
}

fn ratio(outside: &[f64], inside: &[f64]) -> f64 {
    let median = |samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    };
    median(inside) / median(outside)
}

struct Bench {
    root: PathBuf,
    sandbox: Sandbox,
    spec: Spec,
}

impl Bench {
    fn new(dir: &Path) -> Result<Self> {
        let root = dir.join("w");
        let clone = Command::new("git").args(["clone", "-q", "--no-hardlinks", "."]).arg(&root).status();
        ensure!(clone.context("git")?.success(), "this is no repository");
        let [target, copy] = ["target", "copy"].map(|name| dir.join(name));
        for directory in [&root.join(".ostk"), &target, &copy, &dir.join("scratch/home")] {
            std::fs::create_dir_all(directory)?;
        }
        let mut spec = Spec::new(["/bin/sh", "-c", ""], &root, dir.join("scratch"));
        spec.env = environment(&target);
        spec.writable = vec![root.clone(), target, copy];
        spec.protected = [".ostk", ".git/hooks", ".git/config"].map(|path| root.join(path)).to_vec();
        let names = [".git/hooks", ".git/config", ".ostk", ".mcp.json", ".claude", ".codex", ".vscode"];
        spec.protected_names = names.map(PathBuf::from).to_vec();
        spec.limits.wall = FIRST_CHECK;
        Ok(Self { root, sandbox: Sandbox::new(probe()), spec })
    }

    /// Milliseconds of each run outside and inside.
    fn pairs(&self, script: &str, rounds: usize) -> Result<[Vec<f64>; 2]> {
        let (mut outside, mut inside) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // Who comes first alternates, for the first may find colder caches.
            if round % 2 == 0 {
                outside.push(self.outside(script)?);
                inside.push(self.inside(script)?);
            } else {
                inside.push(self.inside(script)?);
                outside.push(self.outside(script)?);
            }
        }
        Ok([outside, inside])
    }

    fn outside(&self, script: &str) -> Result<f64> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).current_dir(&self.root).env_clear().envs(&self.spec.env);
        shell.env("HOME", self.spec.scratch.join("home")).env("TMPDIR", &self.spec.scratch);
        let (time, output) = seconds(|| shell.stdin(Stdio::null()).output());
        let output = output?;
        ensure!(output.status.success(), "outside: {}", String::from_utf8_lossy(&output.stderr));
        Ok(time * 1e3)
    }

    fn inside(&self, script: &str) -> Result<f64> {
        let mut spec = self.spec.clone();
        spec.argv = ["/bin/sh", "-c", script].map(OsString::from).to_vec();
        let (time, outcome) = seconds(|| self.sandbox.run(&spec));
        let outcome = outcome?;
        let said = outcome.stderr.to_bytes();
        ensure!(outcome.exit == Exit::Code(0), "inside: {}", String::from_utf8_lossy(&said));
        Ok(time * 1e3)
    }
}

/// What cargo and git need, and nothing else.
fn environment(target: &Path) -> std::collections::BTreeMap<OsString, OsString> {
    let home = env::home_dir().unwrap_or_default();
    let known = |name: &str, place: &str| env::var_os(name).unwrap_or_else(|| home.join(place).into());
    [
        ("PATH", env::var_os("PATH").unwrap_or_default()),
        ("CARGO_HOME", known("CARGO_HOME", ".cargo")),
        ("RUSTUP_HOME", known("RUSTUP_HOME", ".rustup")),
        ("CARGO_TARGET_DIR", target.into()),
    ]
    .map(|(name, value)| (OsString::from(name), value))
    .into()
}
