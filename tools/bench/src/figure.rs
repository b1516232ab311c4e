//! One measured figure: its samples in brief, and its targets with whether each was met.
//!
//! Percentiles are taken by nearest rank. Times are in the stated unit, lower is better; rates are per second, higher
//! is better, and their `p99` is the rate that 99 of 100 rounds exceeded.

use std::{fmt, time::Instant};

use serde::Serialize;

/// What was measured and how it went.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    what: &'static str,
    unit: &'static str,
    higher_is_better: bool,
    samples: usize,
    best: f64,
    p50: f64,
    p99: f64,
    worst: f64,
    pub(crate) targets: Vec<Target>,
}

/// A bound on one of a figure's numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    of: &'static str,
    bound: f64,
    pub(crate) met: bool,
}

impl Figure {
    /// A time or a size: lower is better.
    pub(crate) fn low(what: &'static str, unit: &'static str, samples: Vec<f64>) -> Self {
        Self::new(what, unit, samples, false)
    }

    /// A rate: higher is better.
    pub(crate) fn high(what: &'static str, unit: &'static str, samples: Vec<f64>) -> Self {
        Self::new(what, unit, samples, true)
    }

    fn new(what: &'static str, unit: &'static str, mut samples: Vec<f64>, higher_is_better: bool) -> Self {
        samples.sort_by(f64::total_cmp);
        if higher_is_better {
            samples.reverse();
        }
        let at = |index: usize| {
            samples.get(index.min(samples.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
        };
        let rank = |percent: usize| at((samples.len() * percent).div_ceil(100).saturating_sub(1));
        Self {
            what,
            unit,
            higher_is_better,
            samples: samples.len(),
            best: at(0),
            p50: rank(50),
            p99: rank(99),
            worst: at(usize::MAX),
            targets: Vec::new(),
        }
    }

    /// Sets a bound on the median.
    #[must_use]
    pub(crate) fn median(self, bound: f64) -> Self {
        let value = self.p50;
        self.target("p50", value, bound)
    }

    /// Sets a bound on the 99th percentile.
    #[must_use]
    pub(crate) fn tail(self, bound: f64) -> Self {
        let value = self.p99;
        self.target("p99", value, bound)
    }

    fn target(mut self, of: &'static str, value: f64, bound: f64) -> Self {
        let met = if self.higher_is_better { value >= bound } else { value <= bound };
        self.targets.push(Target { of, bound, met });
        self
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.p50 >= 1_000.0 { 0 } else { 2 };
        let (p50, p99, unit) = (self.p50, self.p99, self.unit);
        write!(f, "{:<52} p50 {p50:>10.digits$} p99 {p99:>10.digits$} {unit:<12}", self.what)?;
        for Target { of, bound, met } in &self.targets {
            let sign = if self.higher_is_better { "≥" } else { "≤" };
            write!(f, " {of} {sign} {bound}: {}", if *met { "met" } else { "MISSED" })?;
        }
        Ok(())
    }
}

/// Microseconds of each of `rounds` runs; the run's number is its argument.
pub(crate) fn micros<E>(rounds: usize, mut run: impl FnMut(usize) -> Result<(), E>) -> Result<Vec<f64>, E> {
    let mut samples = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let begun = Instant::now();
        run(round)?;
        samples.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(samples)
}

/// Seconds that `run` takes, and what it returns.
pub(crate) fn seconds<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let result = run();
    (begun.elapsed().as_secs_f64(), result)
}
