//! `cargo xtask bench [AREA...]`: a release build of the binary and of `ostk-bench`, then a measurement of this machine.
//!
//! `tools/bench` measures and writes `bench/results/latest.json`; `bench/README.md` states the method. Without an area
//! everything is measured.

use anyhow::Result;

pub(crate) fn run(areas: impl Iterator<Item = String>) -> Result<()> {
    // The daemon that is measured is the `ostk` that lies beside the measuring program.
    crate::run("cargo", &["build", "--release", "--package", "ostk", "--package", "ostk-bench"])?;
    let areas: Vec<String> = areas.collect();
    let mut args = vec!["run", "--release", "--quiet", "--package", "ostk-bench", "--"];
    args.extend(areas.iter().map(String::as_str));
    crate::run("cargo", &args)
}
