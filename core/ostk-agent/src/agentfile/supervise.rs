//! Supervision: what `RESTART`, `LIFETIME` and `HEALTHCHECK` say, how they are read, and what they need of each other.
//!
//! Strategies and lifetimes are those of Erlang/OTP supervisors, the health check is written as in a Dockerfile. Who is
//! started again, and when, is decided by the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Agentfile, AgentfileError, Lifetime, Restart, Use,
    parse::{Mistake, one_of, plain},
};

/// Restarts within [`WITHIN_S`] when the file names no bound.
const TIMES: u32 = 3;
/// Seconds, when the file names no bound.
const WITHIN_S: u64 = 300;
/// Most restarts that a file may allow within its time: each is remembered.
const MAX_TIMES: u32 = 100;
/// The longest time that a file may name, in seconds: a day.
const MAX_S: u64 = 24 * 3_600;
/// Seconds between two checks, for one check, and failures in a row, when the file does not say: as in a Dockerfile.
const CHECK: (u64, u64, u32) = (30, 30, 3);
/// The longest command of a check in bytes: it is kept in a record.
const MAX_COMMAND: usize = 1_024;
/// How a check is written.
const EXAMPLE: &str = "HEALTHCHECK --interval=30s --timeout=30s --retries=3 CMD test -s report.md";

/// Who is started again with an agent that dies, and how often at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// Who.
    pub strategy: Restart,
    /// Restarts within the time below; one more ends the agent for good.
    pub times: u32,
    /// The time, in seconds.
    pub within_s: u64,
}

/// A command that tells whether an agent still works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// A command line for `sh -c`; it fails with another exit code than 0, or by its timeout.
    pub command: String,
    /// Seconds from one check to the next.
    pub interval_s: u64,
    /// Seconds that one check may take.
    pub timeout_s: u64,
    /// So many failures in a row mean that the agent hangs.
    pub failures: u32,
}

impl RestartRule {
    pub(super) fn read(text: &str) -> Result<Self, Mistake> {
        let (word, bound) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let strategy = one_of(word, Restart::ALL)?;
        if bound.trim().is_empty() {
            return Ok(Self { strategy, times: TIMES, within_s: WITHIN_S });
        }
        let read = || {
            let (times, within) = bound.trim().split_once('/')?;
            let times = times.parse().ok().filter(|times| (1..=MAX_TIMES).contains(times))?;
            Some(Self { strategy, times, within_s: seconds(within)? })
        };
        read().ok_or_else(|| {
            let message = format!("{:?} is no bound", super::lines::clip(bound.trim()));
            let hint =
                format!("restarts/seconds: RESTART {word} {TIMES}/{WITHIN_S}; at most {MAX_TIMES} in a day");
            (message, Some(hint))
        })
    }
}

impl fmt::Display for RestartRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.strategy.as_str(), self.times, self.within_s)
    }
}

impl HealthCheck {
    pub(super) fn read(text: &str) -> Result<Self, Mistake> {
        let (interval_s, timeout_s, failures) = CHECK;
        let mut check = Self { command: String::new(), interval_s, timeout_s, failures };
        let mut rest = text;
        while let Some(option) = rest.strip_prefix("--") {
            let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
            check.set(option)?;
            rest = after.trim_start();
        }
        let command = rest.strip_prefix("CMD ").unwrap_or(rest).trim();
        if command.is_empty() || command == "CMD" {
            return Err(("names no command".to_owned(), Some(EXAMPLE.to_owned())));
        }
        if command.len() > MAX_COMMAND {
            let hint = "put it into a script and name that".to_owned();
            return Err((format!("the command is longer than {MAX_COMMAND} bytes"), Some(hint)));
        }
        check.command = command.to_owned();
        Ok(check)
    }

    fn set(&mut self, option: &str) -> Result<(), Mistake> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let bad =
            || (format!("--{} is not understood", super::lines::clip(option)), Some(EXAMPLE.to_owned()));
        match name {
            "interval" => self.interval_s = seconds(value).ok_or_else(bad)?,
            "timeout" => self.timeout_s = seconds(value).filter(|s| *s <= 3_600).ok_or_else(bad)?,
            "retries" => {
                let read = value.parse().ok().filter(|times| (1..=MAX_TIMES).contains(times));
                self.failures = read.ok_or_else(bad)?;
            }
            _ => return Err(bad()),
        }
        Ok(())
    }
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, interval_s, timeout_s, failures } = self;
        write!(f, "--interval={interval_s}s --timeout={timeout_s}s --retries={failures} CMD {command}")
    }
}

/// Seconds from 1 to a day: `90`, `90s`, `5m`, `2h`.
fn seconds(text: &str) -> Option<u64> {
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let split = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = split.unwrap_or((text, 1));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let read = number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(factor)?;
    (1..=MAX_S).contains(&read).then_some(read)
}

impl Agentfile {
    /// What is written about supervision and says nothing. A file with a profile is complete only with it.
    pub(super) fn check_supervision(&self, uses: &[Use]) -> Vec<AgentfileError> {
        if self.profile.is_some() {
            return Vec::new();
        }
        let alone =
            |rule: &RestartRule| matches!(rule.strategy, Restart::OneForOne | Restart::SimpleOneForOne);
        let mistake = match (&self.restart, self.lifetime, &self.health) {
            (None, Some(_), _) => Some(("LIFETIME", plain("says nothing without RESTART"))),
            (None, _, Some(_)) => {
                let hint =
                    "add RESTART one_for_one: an agent that hangs is ended and started again".to_owned();
                Some(("HEALTHCHECK", ("says nothing without RESTART".to_owned(), Some(hint))))
            }
            (Some(rule), Some(Lifetime::Temporary), None) if alone(rule) => {
                let why = "is never started again, and RESTART says nothing then".to_owned();
                Some(("LIFETIME", (why, Some("leave both out, or LIFETIME transient".to_owned()))))
            }
            _ => None,
        };
        let place = |name: &str| uses.iter().find(|used| used.name == name).map_or(0, |used| used.line);
        let error = |(name, (message, hint)): (&str, Mistake)| AgentfileError {
            line: place(name),
            column: 0,
            directive: name.to_owned(),
            message,
            hint,
        };
        mistake.map(error).into_iter().collect()
    }
}
