//! Bugs that a test plants, to see that the simulator finds them.
//!
//! They are compiled in with the feature `planted`, which only `tools/ostk-sim` turns on, for that test; in any other
//! build [`planted!`](crate::planted!) is `false`, and what it guards is not in the program. The bugs are listed where they
//! are looked for, in `ostk_sim::BUGS`.

#[cfg(feature = "planted")]
use std::cell::Cell;

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Plants a bug for this thread, or none.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<&'static str>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted; asked by [`planted!`](crate::planted!).
#[cfg(feature = "planted")]
pub fn is_planted(bug: &str) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether the bug of this name is planted: never, without the feature `planted`.
#[cfg(feature = "planted")]
#[macro_export]
macro_rules! planted {
    ($bug:literal) => {
        $crate::planted::is_planted($bug)
    };
}

/// Whether the bug of this name is planted: never, without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[macro_export]
macro_rules! planted {
    ($bug:literal) => {
        false
    };
}
