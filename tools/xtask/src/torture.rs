//! `cargo xtask torture [options]`: builds the binary, then tortures it; the options are those of `torture --help`.
//!
//! Without options that is 8 clients with 500 calls each on 20 files and 20 kills: minutes, not seconds.

use anyhow::Result;

use crate::{built, run as sh};

pub(crate) fn run(options: impl Iterator<Item = String>) -> Result<()> {
    sh("cargo", &["build", "--release", "--package", "ostk", "--package", "torture"])?;
    let program = |name| built("release", name).map(|path| path.to_string_lossy().into_owned());
    let ostk = program("ostk")?;
    let mut args = vec!["--ostk", ostk.as_str()];
    let options: Vec<String> = options.collect();
    args.extend(options.iter().map(String::as_str));
    sh(&program("torture")?, &args)
}
