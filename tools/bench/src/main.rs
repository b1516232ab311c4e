//! `ostk-bench [AREA...]`: measures this machine, prints a table and writes `bench/results/latest.json`.
//!
//! Each area is a module with one function from a directory to figures; `figure` holds what a figure is and whether it
//! met its target, `machine` what it was measured on. Run it by `cargo xtask bench`, which builds the daemon too.
//! A missed target is a result, not a failure: the exit code is 0.

#![expect(clippy::print_stdout, reason = "a table on standard output is what it is for")]

mod call;
mod daemon;
mod figure;
mod files;
mod gate;
mod history;
mod log;
mod machine;
mod memory;
mod merge;
mod relay;
mod sandbox;
mod signals;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use figure::Figure;
use serde_json::json;

/// Measures one area; the directory is its own and is removed afterwards.
type Area = fn(&Path) -> Result<Vec<Figure>>;

const AREAS: &[(&str, Area)] = &[
    ("log", log::measure),
    ("verify", history::verify),
    ("replay", history::replay),
    ("gate", gate::measure),
    ("call", call::measure),
    ("merge", merge::measure),
    ("sandbox", sandbox::measure),
    ("sandbox-files", files::measure),
    ("relay", relay::measure),
    ("daemon", daemon::measure),
    ("signals", signals::measure),
];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| AREAS.iter().all(|(area, _)| area != name)) {
        let areas: Vec<&str> = AREAS.iter().map(|(area, _)| *area).collect();
        bail!("no area is called {unknown}; there are {}", areas.join(", "));
    }
    let begun = machine::describe();
    let mut figures = Vec::new();
    for (area, measure) in
        AREAS.iter().filter(|(area, _)| wanted.is_empty() || wanted.iter().any(|w| w == area))
    {
        // Below the working directory: a temporary directory in memory would make every sync free.
        let place = tempfile::Builder::new().prefix(".ostk-bench-").tempdir_in(".")?;
        for figure in measure(&place.path().canonicalize()?).with_context(|| format!("area {area}"))? {
            println!("{area:<13} {figure}");
            figures.push((area, figure));
        }
    }
    let met = figures.iter().flat_map(|(_, figure)| &figure.targets).filter(|target| target.met).count();
    let targets: usize = figures.iter().map(|(_, figure)| figure.targets.len()).sum();
    println!(
        "{met} of {targets} targets met; load {} at the start, {} at the end",
        begun.load,
        machine::load()
    );
    if wanted.is_empty() {
        let figures: Vec<_> =
            figures.iter().map(|(area, figure)| json!({ "area": area, "figure": figure })).collect();
        let result = json!({ "machine": begun, "load_at_end": machine::load(), "figures": figures });
        fs::create_dir_all("bench/results")?;
        fs::write("bench/results/latest.json", serde_json::to_string_pretty(&result)? + "\n")?;
    }
    Ok(())
}
