//! Supervision: which processes are started again when they end, as the log has it.
//!
//! Here is the fold: what an Agentfile asked for, where a supervised process stands, which restarts count. `keep` decides
//! when a process has ended and when its time has come, `health` asks whether it still works, `foreign` starts commands.
//! Strategies, lifetimes and intensity are those of Erlang/OTP supervisors
//! (<https://www.erlang.org/doc/system/sup_princ.html>).

mod foreign;
mod health;
mod keep;

use std::collections::VecDeque;

use ostk_agent::{HealthCheck, Lifetime, Restart, RestartRule};
use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Serialize};

pub use foreign::SESSION;
pub(crate) use health::Check;

use crate::{
    event::Event,
    state::{LineageKind, LineageState, State},
};

/// Wait before the first restart; each further one within the rule's time doubles it.
const FIRST_WAIT_MS: u64 = 1_000;
/// Longest wait before a restart.
const LONGEST_WAIT_MS: u64 = 60_000;

/// Where a supervised process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It runs, or has ended and asks for no restart.
    Up,
    /// It has ended and is started again at this time.
    Due(Timestamp),
    /// It is not started again.
    Over,
}

/// How a process is supervised, as its Agentfile and whoever spawned it have it: the body of `supervise.began`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// With whom it is started again, and how often at most.
    pub rule: RestartRule,
    /// After which ends.
    pub lifetime: Lifetime,
    /// How one tells that it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// The command line of a foreign agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_blob: Option<Hash>,
    /// The command line that takes up a session of its client, which stands as `{session}` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_blob: Option<Hash>,
    /// How long its command may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// A process that is started again when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervision {
    /// How it is supervised.
    #[serde(flatten)]
    pub terms: Terms,
    /// The name that its client gave the session, for its own use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Where it stands.
    pub phase: Phase,
    /// The record that began the present run.
    pub run: u64,
    /// When it was started again on its own account: as many as the rule allows, the last ones.
    pub recent: VecDeque<Timestamp>,
    /// How often it was started again in all.
    pub restarts: u64,
    /// Failures of its health check in a row.
    pub failed_checks: u32,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell: Option<Fall>,
}

/// How a supervised process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fall {
    /// In words.
    pub reason: String,
    /// The exit code of its command, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

impl Supervision {
    /// Whether it is a command, and no native agent.
    pub(crate) const fn is_foreign(&self) -> bool {
        self.terms.command_blob.is_some()
    }

    /// Restarts that count at this time.
    fn counted(&self, now: Timestamp) -> usize {
        let within_ms = self.terms.rule.within_s.saturating_mul(1_000);
        self.recent.iter().filter(|at| now.millis_since(**at) < within_ms).count()
    }

    /// When it is started again after an end of its own at `now`; `None` if that happened too often.
    fn next_start(&self, now: Timestamp) -> Option<Timestamp> {
        let counted = self.counted(now);
        let doublings = u32::try_from(counted).unwrap_or(u32::MAX).min(16);
        let wait = (FIRST_WAIT_MS << doublings).min(LONGEST_WAIT_MS);
        (counted < self.terms.rule.times as usize).then(|| now.plus_millis(wait))
    }

    /// Whether its lifetime asks for a restart after such an end.
    const fn wants(&self, failed: bool) -> bool {
        match self.terms.lifetime {
            Lifetime::Permanent => true,
            Lifetime::Transient => failed,
            Lifetime::Temporary => false,
        }
    }

    /// Whether others end with it, and whether those started before it do.
    const fn takes_along(&self) -> Option<bool> {
        match self.terms.rule.strategy {
            Restart::OneForOne | Restart::SimpleOneForOne => None,
            Restart::RestForOne => Some(false),
            Restart::OneForAll => Some(true),
        }
    }
}

impl State {
    /// Folds what concerns supervised processes.
    pub(crate) fn apply_supervision(&mut self, seq: u64, ts: Timestamp, event: Event) -> Result<(), String> {
        match event {
            Event::SuperviseBegan { lineage, terms } => {
                let supervision = Supervision {
                    terms: *terms,
                    session: None,
                    phase: Phase::Up,
                    run: seq,
                    recent: VecDeque::new(),
                    restarts: 0,
                    failed_checks: 0,
                    fell: None,
                };
                self.supervised.insert(lineage, supervision);
            }
            Event::SuperviseFell { lineage, reason, exit, until, counts } => {
                let known = self.supervised.get_mut(&lineage).ok_or("an end of nobody supervised")?;
                known.phase = until.map_or(Phase::Over, Phase::Due);
                known.fell = Some(Fall { reason, exit });
                known.failed_checks = 0;
                if counts {
                    known.recent.push_back(ts);
                    let over = known.recent.len().saturating_sub(known.terms.rule.times as usize);
                    known.recent.drain(..over);
                }
                if self.lineages.get(&lineage).is_some_and(|known| !known.state.is_held()) {
                    self.set_state(&lineage, LineageState::Exited)?;
                }
            }
            Event::SuperviseRestarted { lineage, text_blob } => {
                self.started_again(seq, ts, &lineage, text_blob)?
            }
            Event::SuperviseChecked { lineage, failures } => {
                if let Some(known) = self.supervised.get_mut(&lineage) {
                    known.failed_checks = failures;
                }
            }
            Event::SessionIdentified { lineage, session } => {
                if let Some(known) = self.supervised.get_mut(&lineage) {
                    known.session = Some(session);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn started_again(
        &mut self,
        seq: u64,
        ts: Timestamp,
        lineage: &str,
        text_blob: Hash,
    ) -> Result<(), String> {
        let known = self.supervised.get_mut(lineage).ok_or("a restart of nobody supervised")?;
        (known.phase, known.run, known.failed_checks) = (Phase::Up, seq, 0);
        known.restarts += 1;
        let known = self.lineages.get_mut(lineage).ok_or("a restart of nobody")?;
        known.generation += 1;
        known.started = ts;
        if known.state == LineageState::Exited {
            known.state = LineageState::Running;
            known.signals = crate::signals::Signals::default();
        }
        known.forget(seq);
        if known.kind == LineageKind::Native {
            let session = known.generation;
            self.agents.get_mut(lineage).ok_or("a restart of no agent")?.restart(session, text_blob);
            self.mind_rest(seq, lineage);
        }
        Ok(())
    }

    /// Somebody wants it to end, so it is not started again.
    pub(crate) fn let_go(&mut self, lineage: &str) {
        if let Some(known) = self.supervised.get_mut(lineage) {
            known.phase = Phase::Over;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervision(times: u32, within_s: u64, recent: &[u64]) -> Supervision {
        let at = |seconds: &u64| Timestamp::from_micros(seconds * 1_000_000);
        Supervision {
            terms: Terms {
                rule: RestartRule { strategy: Restart::OneForOne, times, within_s },
                lifetime: Lifetime::Transient,
                health: None,
                command_blob: None,
                resume_blob: None,
                timeout_ms: None,
            },
            session: None,
            phase: Phase::Up,
            run: 0,
            recent: recent.iter().map(at).collect(),
            restarts: 0,
            failed_checks: 0,
            fell: None,
        }
    }

    #[test]
    fn each_restart_within_the_rules_time_waits_twice_as_long_and_one_too_many_is_none() {
        let now = Timestamp::from_micros(1_000_000_000);
        let wait = |recent: &[u64]| supervision(3, 60, recent).next_start(now).map(|at| at.millis_since(now));
        assert_eq!(wait(&[]), Some(1_000));
        assert_eq!(wait(&[990]), Some(2_000));
        assert_eq!(wait(&[980, 990]), Some(4_000));
        assert_eq!(wait(&[970, 980, 990]), None);
        assert_eq!(wait(&[900, 980, 990]), Some(4_000), "one is too long ago to count");
        let many: Vec<u64> = (900..920).collect();
        let wait = supervision(100, 300, &many).next_start(now).map(|at| at.millis_since(now));
        assert_eq!(wait, Some(LONGEST_WAIT_MS), "no wait is longer");
    }
}
