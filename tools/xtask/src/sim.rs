//! `cargo xtask sim [--seeds N | --hours H | --seed N] …`: builds the simulator and runs it; the options are those of
//! `ostk-sim --help`. Without options that is 1,000 seeds.

use anyhow::Result;

use crate::{built, run as sh};

pub(crate) fn run(options: impl Iterator<Item = String>) -> Result<()> {
    sh("cargo", &["build", "--release", "--package", "ostk-sim"])?;
    let program = built("release", "ostk-sim")?.to_string_lossy().into_owned();
    let options: Vec<String> = options.collect();
    sh(&program, &options.iter().map(String::as_str).collect::<Vec<_>>())
}
