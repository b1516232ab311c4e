//! An hour without the model, met by a fleet in the middle of its work: nobody loses any of it, also when the daemon is
//! killed meanwhile, and neither the failing vendor nor the one that comes back is met by everybody at once.

use ostk_agent::Outcome as Ending;

use crate::{
    daemon::MODEL_SLOTS,
    world::{Death, World},
};

const SECOND: u64 = 1_000_000;
/// The agents work for so long before the outage, in microseconds.
const BEFORE: u64 = 20 * SECOND;
/// The outage, in microseconds.
const OUTAGE: u64 = 3_600 * SECOND;
/// The daemon is killed this often in it, in microseconds.
const BETWEEN_KILLS: u64 = 500 * SECOND;
/// Calls that were under way when the outage began have failed after so many seconds.
const LAST_REPLIES: u64 = 30;
/// Tries that may reach the vendor within one second while it is down.
const MAX_TRIES_A_SECOND: u64 = 1;
/// Tries of the whole fleet in the hour: one a minute, and more right after the beginning.
const MAX_TRIES: u64 = 120;

impl World {
    pub(crate) fn live_through_an_outage(&mut self) {
        self.calm = true;
        for agent in 0..self.settings.agents {
            self.spawn(&format!("a{agent}"), "revive");
        }
        self.live_until(BEFORE);
        let begun = self.clock;
        self.outage = begun + OUTAGE;
        while self.clock < self.outage && self.wrong.is_empty() {
            self.live_until((self.clock + BETWEEN_KILLS).min(self.outage));
            self.death = Death::Kill;
            self.die();
        }
        self.finish();
        self.look_at_tries(begun / SECOND + LAST_REPLIES, (begun + OUTAGE) / SECOND);
        self.look_at_endings();
    }

    fn look_at_tries(&mut self, from: u64, until: u64) {
        let down: Vec<u64> = self.tries.range(from..until).map(|(_, tries)| *tries).collect();
        let (most, all) = (down.iter().max().copied().unwrap_or_default(), down.iter().sum::<u64>());
        self.counts.add("model calls in an outage of an hour", all);
        if most > MAX_TRIES_A_SECOND || all > MAX_TRIES {
            self.fail(format!("{all} tries reached a vendor that was down, up to {most} in a second"));
        }
        let back = self.tries.range(until..).map(|(_, tries)| *tries).max().unwrap_or_default();
        if back > MODEL_SLOTS as u64 {
            self.fail(format!("{back} calls in one second met the vendor that came back"));
        }
    }

    /// Whoever had work to do has done it.
    fn look_at_endings(&mut self) {
        let state = self.daemon.as_ref().map(|daemon| daemon.kernel.state());
        let endings = state.into_iter().flat_map(|state| &state.agents);
        let died: Vec<String> = endings
            .filter(|(_, agent)| {
                !matches!(agent.outcome(), Some(Ending::Done | Ending::BudgetExhausted { .. }))
            })
            .map(|(name, agent)| format!("{name}: {:?}", agent.outcome()))
            .collect();
        if !died.is_empty() {
            self.fail(format!("an outage cost agents their work: {died:?}"));
        }
    }
}
