//! The time as a host tells it to the kernel: the wall clock, but never running back.
//!
//! Pure: both clocks arrive as arguments. The daemon and the simulator call it.

use ostk_log::Timestamp;

/// Goes on at the pace of the steady clock while the wall clock, set back by somebody, is behind. Otherwise every deadline,
/// lease and wait would come later by as much as the wall clock was set back.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock {
    last: Timestamp,
    steady_us: u64,
}

impl SteadyClock {
    /// A clock that shows at least `last` (the time of the log's last record) when the steady clock shows `steady_us`.
    pub const fn from(last: Timestamp, steady_us: u64) -> Self {
        Self { last, steady_us }
    }

    /// The time, given what the two clocks show; `steady_us` counts microseconds from any moment and never runs back.
    pub fn now(&mut self, wall: Timestamp, steady_us: u64) -> Timestamp {
        let passed = steady_us.saturating_sub(self.steady_us);
        self.last = wall.max(Timestamp::from_micros(self.last.as_micros().saturating_add(passed)));
        self.steady_us = steady_us;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_while_the_wall_clock_is_set_back_and_follows_it_forward() {
        let (at, mut clock) = (Timestamp::from_micros, SteadyClock::default());
        assert_eq!(clock.now(at(1_000), 10), at(1_000));
        assert_eq!(clock.now(at(200), 15), at(1_005), "set back by 800");
        assert_eq!(clock.now(at(300), 25), at(1_015));
        assert_eq!(clock.now(at(9_000), 26), at(9_000), "set forward");
    }
}
