//! What a seed uses beyond what every run does. Each is drawn by itself, so that seeds meet them alone and together.
//!
//! The draws have a stream of their own: a seed without any feature does what it did before there were features.

use crate::rng::Rng;

/// Keeps this stream apart from the one of the run.
const STREAM: u64 = 0x6665_6174_7572_6573;

/// What this run uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Features {
    /// Clients and agents talk through pipes.
    pub(crate) pipes: bool,
}

impl Features {
    /// The features of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ STREAM);
        Self { pipes: rng.chance(30) }
    }
}
