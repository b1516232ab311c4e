//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Each check is named after the invariant of `ARCHITECTURE.md` that it backs, prints every violation with its place,
//! and fails the run. Formatting and clippy come last because they take longest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{documents, root};

/// Crates that core may not depend on, at any distance of one: runtimes, sockets, clocks, random sources.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "rustix",
    "libc",
    "nix",
    "reqwest",
    "hyper",
    "getrandom",
    "rand",
    "notify",
    "tempfile",
    "chrono",
    "ignore",
];

/// Words in core's sources that mean an outside thing is touched.
const NOT_IN_CORE_SOURCE: &[&str] =
    &["std::fs", "std::net", "std::process", "std::thread", "SystemTime::now", "Instant::now", "std::env"];

/// Vendor and protocol knowledge and where it may live: (crate, the only crates that may depend on it).
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rmcp", &["ostk-daemon"]),
    // The simulator signs with a key that stands in its source, so that a seed gives the same log everywhere.
    ("ed25519-dalek", &["ostk-keys", "ostk-log", "ostk-sim"]),
    ("landlock", &["ostk-sandbox"]),
    ("cedar-policy", &["ostk-policy"]),
    ("hyper-rustls", &["ostk-https"]),
];

/// What a driver would need to decide.
const DECIDERS: &[&str] = &["ostk-kernel", "ostk-policy", "cedar-policy"];

/// Drivers whose only way in is the kernel. The others read the log, or say what the machine offers.
const BEHIND_THE_KERNEL: &[&str] = &["ostk-files", "ostk-models", "ostk-search"];

pub(crate) fn run() -> Result<()> {
    let root = root()?;
    let crates = crates(&root)?;
    let mut problems = Vec::new();
    core_cannot_do(&crates, &mut problems)?;
    drivers_do_not_decide(&crates, &mut problems);
    one_way_in(&crates, &mut problems);
    dependencies_point_down(&crates, &mut problems);
    knowledge_has_one_home(&crates, &mut problems);
    unsafe_lives_in_the_sandbox_only(&crates, &mut problems)?;
    every_file_says_what_it_is_for(&crates, &mut problems)?;
    every_crate_takes_the_lints(&crates, &mut problems);
    invariants_are_written_down(&root, &mut problems)?;
    let places: Vec<_> = crates.iter().map(|found| (found.floor.clone(), found.name.clone())).collect();
    problems.extend(documents::check(&root, &places)?);
    if !problems.is_empty() {
        bail!("tidy found {} problems:\n{}", problems.len(), problems.join("\n"));
    }
    dependencies_fit()?;
    crate::run("cargo", &["fmt", "--all", "--check"])?;
    // Shipped code only: the lints against panics are not for tests, which fail by panicking.
    crate::run("cargo", &["clippy", "--workspace", "--quiet", "--", "--deny", "warnings"])
}

/// Licences, bans and sources as `deny.toml` has them, and no dependency that nothing uses: where the programs for it
/// are installed. Neither asks the network for more than a build does.
#[expect(clippy::print_stderr, reason = "a check that is left out is said to be")]
fn dependencies_fit() -> Result<()> {
    const DENY: &[&str] =
        &["deny", "--locked", "--log-level", "error", "check", "licenses", "bans", "sources"];
    // `cargo machete` takes its own name for a folder when a cargo runs this.
    for (program, run, args) in [("cargo-deny", "cargo", DENY), ("cargo-machete", "cargo-machete", &[])] {
        if crate::present(program) {
            crate::run(run, args)?;
        } else {
            eprintln!(
                "{program} is not installed, so its check is left out: cargo install {program} --locked"
            );
        }
    }
    Ok(())
}

/// A crate of the workspace.
struct Crate {
    floor: String,
    name: String,
    manifest: String,
    sources: Vec<PathBuf>,
}

impl Crate {
    /// Names under `[dependencies]`, without those for tests.
    fn dependencies(&self) -> impl Iterator<Item = &str> {
        let lines = self.manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        lines
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| !name.is_empty() && !name.starts_with('#'))
    }
}

fn crates(root: &Path) -> Result<Vec<Crate>> {
    let mut crates = Vec::new();
    for floor in ["core", "drivers", "surfaces", "tools"] {
        for entry in fs::read_dir(root.join(floor))? {
            let dir = entry?.path();
            let manifest = dir.join("Cargo.toml");
            if !manifest.is_file() {
                continue;
            }
            let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let mut sources = Vec::new();
            collect(&dir.join("src"), &mut sources)?;
            crates.push(Crate {
                floor: floor.to_owned(),
                name,
                manifest: fs::read_to_string(manifest)?,
                sources,
            });
        }
    }
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(crates)
}

fn collect(dir: &Path, sources: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
    Ok(())
}

/// Invariant 1.
fn core_cannot_do(crates: &[Crate], problems: &mut Vec<String>) -> Result<()> {
    for found in crates.iter().filter(|found| found.floor == "core") {
        for dependency in found.dependencies().filter(|name| NOT_IN_CORE.contains(name)) {
            problems.push(format!("core/{} depends on {dependency}: core cannot do", found.name));
        }
        for source in &found.sources {
            let text = fs::read_to_string(source)?;
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in NOT_IN_CORE_SOURCE.iter().filter(|word| shipped.contains(**word)) {
                problems.push(format!("{}: {word} in core: core cannot do", source.display()));
            }
        }
    }
    Ok(())
}

/// Invariant 2.
fn drivers_do_not_decide(crates: &[Crate], problems: &mut Vec<String>) {
    for driver in crates.iter().filter(|found| found.floor == "drivers") {
        for name in driver.dependencies().filter(|name| DECIDERS.contains(name)) {
            problems.push(format!("drivers/{} depends on {name}: drivers do not decide", driver.name));
        }
    }
}

/// Invariant 4.
fn one_way_in(crates: &[Crate], problems: &mut Vec<String>) {
    let others = crates.iter().filter(|found| found.floor == "surfaces" && found.name != "ostk-daemon");
    for surface in others {
        for name in surface.dependencies().filter(|name| BEHIND_THE_KERNEL.contains(name)) {
            problems.push(format!("surfaces/{} depends on {name}: one way in", surface.name));
        }
    }
}

/// Dependencies point down: a crate depends on its own floor or on lower ones.
fn dependencies_point_down(crates: &[Crate], problems: &mut Vec<String>) {
    let height =
        |floor: &str| ["core", "drivers", "surfaces", "tools"].iter().position(|name| *name == floor);
    for upper in crates {
        for name in upper.dependencies() {
            let Some(lower) = crates.iter().find(|lower| lower.name == name) else { continue };
            let scripted = upper.name == "ostk" && lower.name == "scripted-model";
            if height(&lower.floor) > height(&upper.floor) && !scripted {
                problems.push(format!(
                    "{}/{} depends on {}/{name}: dependencies point down",
                    upper.floor, upper.name, lower.floor
                ));
            }
        }
    }
}

/// Invariant 8.
fn knowledge_has_one_home(crates: &[Crate], problems: &mut Vec<String>) {
    for found in crates {
        for (dependency, homes) in ONLY_IN {
            if found.dependencies().any(|name| name == *dependency) && !homes.contains(&found.name.as_str()) {
                problems.push(format!(
                    "{} depends on {dependency}: only {} may",
                    found.name,
                    homes.join(", ")
                ));
            }
        }
    }
}

/// Invariant 8.
fn unsafe_lives_in_the_sandbox_only(crates: &[Crate], problems: &mut Vec<String>) -> Result<()> {
    for found in crates.iter().filter(|found| found.name != "ostk-sandbox" && found.name != "xtask") {
        for source in &found.sources {
            if fs::read_to_string(source)?.contains("allow(unsafe_code)") {
                problems.push(format!("{}: unsafe code outside ostk-sandbox", source.display()));
            }
        }
    }
    Ok(())
}

fn every_file_says_what_it_is_for(crates: &[Crate], problems: &mut Vec<String>) -> Result<()> {
    for source in crates.iter().flat_map(|found| &found.sources) {
        if !fs::read_to_string(source)?.starts_with("//!") {
            problems.push(format!("{}: no module comment at the top", source.display()));
        }
    }
    Ok(())
}

fn every_crate_takes_the_lints(crates: &[Crate], problems: &mut Vec<String>) {
    for found in crates {
        if !found.manifest.contains("[lints]\nworkspace = true") {
            problems.push(format!("{}/{}: does not take the workspace's lints", found.floor, found.name));
        }
    }
}

fn invariants_are_written_down(root: &Path, problems: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    let count = text.matches("Architecture Invariant:").count();
    if count < 10 {
        problems.push(format!("ARCHITECTURE.md names {count} invariants, the house has 10"));
    }
    Ok(())
}
