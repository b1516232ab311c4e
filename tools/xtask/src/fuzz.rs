//! `cargo xtask test --fuzz`: a short run of every fuzz target, on nightly, in bounded memory and time.
//!
//! Starts from the checked-in `fuzz/seeds`, keeps what it learns in `fuzz/corpus` (not checked in), and fails at the
//! first target that crashes, hangs or grows; libFuzzer prints the input and leaves it in `fuzz/artifacts`. For a
//! longer hunt run `cargo +nightly fuzz` by hand.

use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::root;

/// How long each target runs, in seconds.
const SECONDS: u64 = 10;
/// libFuzzer ends a run that grows beyond it, in MiB.
const MEMORY_MIB: u64 = 2_048;
/// Longest that one input may take, in seconds.
const INPUT_SECONDS: u64 = 10;

#[expect(clippy::print_stdout, reason = "a script says how far it has come")]
pub(crate) fn run() -> Result<()> {
    install_missing()?;
    for target in targets()? {
        let begun = Instant::now();
        fuzz(&target).with_context(|| format!("the fuzz target {target}"))?;
        println!("fuzz {target}: nothing found in {:.0} s, build included", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The targets by name: one file each.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root()?.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    if names.is_empty() {
        bail!("fuzz/fuzz_targets holds no target");
    }
    Ok(names)
}

fn fuzz(target: &str) -> Result<()> {
    let root = root()?;
    let corpus = root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus)?;
    // Core needs no sanitizer: it is free of `unsafe`, and what is sought are panics, hangs and growth.
    let status = Command::new("cargo")
        .args(["+nightly", "fuzz", "run", "--sanitizer", "none", target])
        .args([corpus, root.join("fuzz/seeds").join(target)])
        .arg("--")
        .args([format!("-max_total_time={SECONDS}"), format!("-rss_limit_mb={MEMORY_MIB}")])
        .args([
            format!("-timeout={INPUT_SECONDS}"),
            "-verbosity=0".to_owned(),
            "-print_final_stats=1".to_owned(),
        ])
        .current_dir(&root)
        .status()
        .context("cargo +nightly cannot be started; rustup toolchain install nightly")?;
    if !status.success() {
        bail!("failed: {status}; its input is in fuzz/artifacts/{target}");
    }
    Ok(())
}

fn install_missing() -> Result<()> {
    let mut probe = Command::new("cargo");
    probe.args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    crate::run("cargo", &["install", "cargo-fuzz", "--locked"])
}
