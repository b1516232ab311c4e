//! The project's own scripts: `cargo xtask test [--fuzz] | tidy | ci | bench [AREA...] | torture [OPTION...] |
//! escape [OPTION...] | sim [OPTION...]`.
//!
//! `test` installs what the tests need and runs every test; `tidy` checks the rules that no compiler checks; `ci` is
//! what runs before a change lands; `bench` measures this machine; `torture` kills the daemon while clients edit, for
//! minutes; `escape` tries every known way out of the sandbox; `sim` runs the kernel and its drivers on a simulated
//! machine. Each is a function in a module of its own.

mod bench;
mod documents;
mod escape;
mod fuzz;
mod sim;
mod test;
mod tidy;
mod torture;

use anyhow::{Context, Result, bail};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

const USAGE: &str = "usage: cargo xtask test [--fuzz] | tidy | ci | bench [AREA...] | torture [OPTION...] | escape [OPTION...] | sim [OPTION...]";

/// The first words of [`USAGE`]'s alternatives; `tidy` looks for them in the documents.
const VERBS: &[&str] = &["test", "tidy", "ci", "bench", "torture", "escape", "sim"];

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("test") if args.next().as_deref() == Some("--fuzz") => fuzz::run(),
        Some("test" | "ci") => test::run(),
        Some("bench") => bench::run(args),
        Some("escape") => escape::run(args),
        Some("tidy") => tidy::run(),
        Some("sim") => sim::run(args),
        Some("torture") => torture::run(args),
        _ => bail!(USAGE),
    }
}

/// The root of the repository.
fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("xtask lives two levels below the root")?;
    Ok(root.to_owned())
}

/// What cargo built: a program of this profile (`debug`, `release`).
fn built(profile: &str, program: &str) -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => root()?.join("target"),
    };
    Ok(target.join(profile).join(program))
}

/// Runs a command in the root and shows what it prints.
fn run(program: &str, args: &[&str]) -> Result<()> {
    let status = Command::new(program)
        .args(args)
        .current_dir(root()?)
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    if !status.success() {
        bail!("{program} {} failed: {status}", args.join(" "));
    }
    Ok(())
}

/// Whether a program can be started.
fn present(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
