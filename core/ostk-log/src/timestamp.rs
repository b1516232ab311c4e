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

/// 9999-12-30T22:00:00.000000Z, the last instant that `jiff` can write.
const MAX_MICROS: u64 = 253_402_207_200_000_000;

impl Timestamp {
    /// A timestamp from microseconds since the Unix epoch; later than the last that can be written is clamped to it.
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
        micros(text.as_bytes()).map(Self).ok_or_else(|| TimestampError(text.chars().take(40).collect()))
    }
}

/// The one spelling of each instant, read by position: checking a chain reads a timestamp for every record, and a
/// general parser takes as long as hashing the line. A second spelling would give the same record a second hash.
fn micros(text: &[u8]) -> Option<u64> {
    let (date, time) = text.split_at_checked(10)?;
    let &[y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2] = date else { return None };
    let (time, fraction) = time.split_at_checked(9)?;
    let &[b'T', h1, h2, b':', m1, m2, b':', s1, s2] = time else { return None };
    let &[b'.', f1, f2, f3, f4, f5, f6, b'Z'] = fraction else { return None };
    let [year, month, day] = [number(&[y1, y2, y3, y4])?, number(&[o1, o2])?, number(&[d1, d2])?];
    let [hour, minute, second] = [number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?];
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (days(year, month, day)? * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + number(&[f1, f2, f3, f4, f5, f6])?).filter(|micros| *micros <= MAX_MICROS)
}

fn number(digits: &[u8]) -> Option<u64> {
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    digits.iter().try_fold(0, |number, b| Some(number * 10 + digit(b)?))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, `None` for an earlier or impossible date.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (before, length) = match month {
        1 => (0, 31),
        2 => (31, if leap { 29 } else { 28 }),
        3 => (59, 31),
        4 => (90, 30),
        5 => (120, 31),
        6 => (151, 30),
        7 => (181, 31),
        8 => (212, 31),
        9 => (243, 30),
        10 => (273, 31),
        11 => (304, 30),
        12 => (334, 31),
        _ => return None,
    };
    if year < 1970 || day == 0 || day > length {
        return None;
    }
    let leap_days_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let leap_days = leap_days_before(year) - leap_days_before(1970) + u64::from(leap && month > 2);
    Some((year - 1970) * 365 + leap_days + before + day - 1)
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

    #[test]
    fn every_day_until_2400_and_the_last_instant_read_back() {
        let day = 86_400_000_000;
        let days = (0..day * 365 * 430).step_by(day as usize).map(|at| at + at / day % day);
        for micros in days.chain([MAX_MICROS, u64::MAX]) {
            let stamp = Timestamp::from_micros(micros);
            assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }
        for wrong in
            ["2025-02-29", "2100-02-29", "2026-13-01", "2026-00-01", "2026-04-31", "2026-01-00", "1969-12-31"]
        {
            assert!(
                format!("{wrong}T00:00:00.000000Z").parse::<Timestamp>().is_err(),
                "{wrong} was accepted"
            );
        }
        for wrong in ["24:00:00", "00:60:00", "00:00:60", "+1:00:00", "0a:00:00"] {
            assert!(
                format!("2026-01-01T{wrong}.000000Z").parse::<Timestamp>().is_err(),
                "{wrong} was accepted"
            );
        }
    }
}
