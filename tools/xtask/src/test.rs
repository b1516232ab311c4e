//! `cargo xtask test`: install what the tests need, check the rules, run every test, and look for planted bugs.

use anyhow::Result;

use crate::{built, present, run as sh, tidy};

/// Programs that the tests start, and the Debian package of each.
const PROGRAMS: &[(&str, &str)] = &[("git", "git"), ("python3", "python3"), ("cc", "gcc"), ("gpg", "gnupg")];

pub(crate) fn run() -> Result<()> {
    install_missing()?;
    tidy::run()?;
    // Tests of other packages start this binary too; each would ask cargo to build it otherwise.
    sh("cargo", &["build", "--workspace", "--bins"])?;
    let binary = format!("OSTK_BIN={}", built("debug", "ostk")?.display());
    let test: &[&str] = if present("cargo-nextest") {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--quiet"]
    };
    sh("env", &[&[binary.as_str(), "cargo"], test].concat())?;
    // The bugs that the simulator must find are compiled in for this test alone.
    sh("cargo", &["test", "--package", "ostk-sim", "--features", "planted", "--test", "it", "planted::"])
}

fn install_missing() -> Result<()> {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !present(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    sh("apt-get", &["update", "--quiet"])?;
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    args.extend(missing);
    sh("apt-get", &args)
}
