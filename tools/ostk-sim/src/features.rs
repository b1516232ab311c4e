//! What a seed uses beyond what every run does. Each is drawn by itself, so that seeds meet them alone and together.
//!
//! The draws have a stream of their own: a seed without any feature does what it did before there were features, and one
//! that may only draw the first few does what it did when there were no others.

use ostk_kernel::Allowance;

use crate::{
    agents::{PRICE, USAGE},
    rng::Rng,
};

/// Keeps this stream apart from the one of the run.
const STREAM: u64 = 0x6665_6174_7572_6573;

/// What this run uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Features {
    /// Clients and agents talk through pipes.
    pub(crate) pipes: bool,
    /// A day costs no more than so much; the operator changes it now and then.
    pub(crate) budget: bool,
    /// Agents are started again when they end, and there are commands that are agents.
    pub(crate) supervision: bool,
    /// Daemons take snapshots, which are torn, old or of another log when the next one starts.
    pub(crate) snapshots: bool,
    /// Clients and agents begin sagas.
    pub(crate) sagas: bool,
    /// Agents are workers, who are given needles, and clients add some.
    pub(crate) workers: bool,
    /// Another model answers while the one of the agents is down.
    pub(crate) fallback: bool,
    /// Timers spawn agents and send messages.
    pub(crate) timers: bool,
    /// Fewer agents may run at once than are spawned.
    pub(crate) places: bool,
    /// Clients die at any moment and come back under their names.
    pub(crate) mortals: bool,
}

impl Features {
    /// The features of a seed, of the `learned` ones that came first.
    pub(crate) fn of(seed: u64, learned: usize) -> Self {
        let mut rng = Rng::new(seed ^ STREAM);
        let mut left = learned;
        let mut draws = || {
            let is_learned = left > 0;
            left = left.saturating_sub(1);
            rng.chance(30) && is_learned
        };
        // In the order in which they came.
        Self {
            pipes: draws(),
            budget: draws(),
            supervision: draws(),
            snapshots: draws(),
            sagas: draws(),
            workers: draws(),
            fallback: draws(),
            timers: draws(),
            places: draws(),
            mortals: draws(),
        }
    }
}

/// What may be spent in a day: a few calls, and never less than one, for which an agent would wait without end.
pub(crate) fn allowance(rng: &mut Rng) -> Allowance {
    let tokens = rng.within(1, 6) * USAGE.total_tokens() + rng.within(0, 60);
    let micro_usd = rng.within(1, 6) * PRICE;
    let which = rng.below(3);
    Allowance {
        tokens_per_day: Some(tokens).filter(|_| which != 0),
        micro_usd_per_day: Some(micro_usd).filter(|_| which != 1),
        ..Allowance::default()
    }
}
