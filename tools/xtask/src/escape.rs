//! `cargo xtask escape [--row ID] [--against ostk|none|codex|srt|nono] [--json]`: builds the binary and `escape`, then
//! tries the table of escapes; the options are those of `escape run --help`.
//!
//! The exit code is 1 when something escaped. `tools/escape/README.md` has the method and the results.

use anyhow::Result;

use crate::{built, run as sh};

pub(crate) fn run(options: impl Iterator<Item = String>) -> Result<()> {
    sh("cargo", &["build", "--quiet", "--package", "ostk", "--package", "escape"])?;
    let escape = built("debug", "escape")?.to_string_lossy().into_owned();
    let options: Vec<String> = options.collect();
    let mut args = vec!["run"];
    args.extend(options.iter().map(String::as_str));
    sh(&escape, &args)
}
