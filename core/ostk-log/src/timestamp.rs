//! A point in time as the log writes it: RFC 3339, UTC, always six digits of fraction.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch. Written as `2026-01-02T03:04:05.000006Z` (27 bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// A text that is not a timestamp in the log's one format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 UTC timestamp with six fraction digits: {0:?}")]
pub struct TimestampError(String);

/// 9999-12-31T23:59:59.999999Z, the last instant that RFC 3339 can write.
const MAX_MICROS: u64 = 253_402_300_799_999_999;

impl Timestamp {
    /// A timestamp from microseconds since the Unix epoch; later than the year 9999 is clamped to its end.
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros > MAX_MICROS { MAX_MICROS } else { micros })
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This instant moved `millis` milliseconds later.
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::from_micros(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this instant, 0 if `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).map_err(|_| fmt::Error)?;
        let instant = jiff::Timestamp::from_microsecond(micros).map_err(|_| fmt::Error)?;
        write!(f, "{instant:.6}")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let error = || TimestampError(text.chars().take(40).collect());
        let instant: jiff::Timestamp = text.parse().map_err(|_| error())?;
        let stamp = u64::try_from(instant.as_microsecond()).map(Self::from_micros).map_err(|_| error())?;
        // One instant has one spelling, or the same record could have two hashes.
        if stamp.to_string() == text { Ok(stamp) } else { Err(error()) }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(stamp: Timestamp) -> Self {
        stamp.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_one_spelling() {
        let stamp = Timestamp::from_micros(1_767_323_045_000_006);
        assert_eq!(stamp.to_string(), "2026-01-02T03:04:05.000006Z");
        assert_eq!("2026-01-02T03:04:05.000006Z".parse(), Ok(stamp));
        for wrong in
            ["2026-01-02T03:04:05Z", "2026-01-02T04:04:05.000006+01:00", "", "1969-12-31T23:59:59.000000Z"]
        {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong:?} was accepted");
        }
    }
}
