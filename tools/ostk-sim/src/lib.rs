//! The simulator: the kernel and the drivers over a machine that fails on command.
//!
//! The code that runs is the code that ships: `ostk-kernel` with its agents and its gate, `ostk-journal` and `ostk-blobs`
//! over a disk in memory (`disk`), and `ostk-files` over a real directory, dying at each of its steps (`yard`). What is
//! modelled, and so not covered by what a run shows: the daemon's own thread, whose rules for when an act may start are
//! repeated in `daemon`; processes, whose effects and ends are made up (`hands`); and the wires of model vendors, of which
//! only the outcomes are here (`agents`). Workspace files lie on a real file system: for them a power cut brings back
//! older versions whole, not torn ones.
//!
//! Everything is drawn from one seed (`rng`), including which parts of the system a run uses (`features`) and when the
//! machine dies (`doom`). Clients (`clients`) and a person
//! (`steps`) work, and at the end (`finish`) the log is walked (`walk`) and compared with the files and with what everyone
//! was promised (`ledger`). A run stops at the first thing that is wrong; the same seed does the same again.

mod agents;
mod clients;
mod counts;
mod daemon;
mod deaths;
mod disk;
mod doom;
mod features;
mod finish;
mod hands;
mod ledger;
mod lives;
mod needles;
mod outage;
mod pipes;
mod places;
#[cfg(feature = "planted")]
mod planted;
mod plumbing;
mod rng;
mod sagas;
mod snapshots;
mod spending;
mod standins;
mod steps;
mod supervision;
mod timers;
mod trace;
mod undoing;
mod walk;
mod workers;
mod world;
mod yard;

use anyhow::{Result, anyhow};
use camino::Utf8Path;

pub use counts::Counts;
#[cfg(feature = "planted")]
pub use planted::BUGS;

/// What a run may do beyond what every machine does.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Steps before everything calms down; drawn from the seed if absent.
    pub steps: Option<usize>,
    /// Prints what happens.
    pub trace: bool,
    /// Native agents.
    pub agents: usize,
    /// The disk may say that it synced, and not have done it.
    pub lies: bool,
    /// A bit of the journal turns when the work is done.
    pub rot: bool,
    /// A power cut may bring back older versions of workspace files that were not written back.
    pub files_lose: bool,
    /// Clients share needles most of the time.
    pub work: bool,
    /// How many of the features that the simulator has learned a seed may draw, the oldest first: what a seed did when
    /// there were so many it does still. With 0 it draws none.
    pub features: usize,
    /// Farthest jump of the wall clock into the past, in microseconds.
    pub back_jump_us: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let back_jump_us = 7_200_000_000;
        Self {
            steps: None,
            trace: false,
            agents: 2,
            lies: false,
            rot: false,
            files_lose: false,
            work: false,
            features: usize::MAX,
            back_jump_us,
        }
    }
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Steps until the end, or until something was wrong.
    pub steps: usize,
    /// What was wrong; empty if nothing was.
    pub wrong: Vec<String>,
    /// Digest of everything that happened.
    pub trace: u64,
    /// What was done.
    pub counts: Counts,
}

/// A directory for [`run`]: in memory where the machine has a file system there.
///
/// # Errors
/// When none can be made.
pub fn scratch() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?)
}

/// Runs a seed in an empty directory that is on a real file system, best in memory.
///
/// # Errors
/// When the directory cannot be used. What is wrong with the system is in [`Run::wrong`].
pub fn run(seed: u64, settings: &Settings, dir: &std::path::Path) -> Result<Run> {
    let mut world = world(seed, settings.clone(), dir)?;
    // Drawn in any case: a run with fewer steps is the beginning of the same run.
    let drawn = 60 + world.rng.below(400);
    let planned = settings.steps.unwrap_or(drawn);
    let mut steps = 0;
    while steps < planned && world.wrong.is_empty() {
        world.step();
        steps += 1;
    }
    if world.wrong.is_empty() {
        world.finish();
    }
    Ok(result(world, steps))
}

/// Runs a fleet of this size through an hour in which its model answers nobody and the daemon is killed every few minutes.
///
/// # Errors
/// As of [`run`].
pub fn run_outage(seed: u64, agents: usize, dir: &std::path::Path) -> Result<Run> {
    let settings = Settings { agents, features: 0, ..Settings::default() };
    let mut world = world(seed, settings, dir)?;
    world.live_through_an_outage();
    Ok(result(world, 0))
}

fn world(seed: u64, settings: Settings, dir: &std::path::Path) -> Result<world::World> {
    let root = Utf8Path::from_path(dir).ok_or_else(|| anyhow!("{} is not UTF-8", dir.display()))?;
    world::World::new(seed, settings, root.to_owned())
}

fn result(world: world::World, steps: usize) -> Run {
    let trace = world.trace.digest();
    Run { seed: world.seed, steps, wrong: world.wrong, trace, counts: world.counts }
}
