//! Model calls of the whole fleet: which agent may call its model now.
//!
//! The agents of one model share a lane. It admits so many calls at once, in the order in which they were asked for; the
//! next call of an agent is behind those of all who wait. When the vendor fails or refuses, the whole lane waits, then a
//! single call tries it, and with each answer the lane admits twice as many: a vendor that comes back from an outage is
//! not met by everybody at once. What a lane that is down has no room for goes to the lane of its `fallback`. How a lane
//! fares is folded from the log, so a restart does not forget an outage; who is in line is not, for each agent asks again.

use std::collections::BTreeSet;

use ostk_agent::{AgentEvent, AgentState, Next};
use ostk_log::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{agents::Live, fallback::Fallback, kernel::Kernel, state::LineageState};

/// Calls that a lane admits at once when nothing is known against it.
const WIDEST: u32 = 1_024;
/// Wait after the first failure; each further one doubles it.
const FIRST_WAIT_MS: u64 = 1_000;
/// Longest wait, unless the vendor asks for more: how late an agent may notice that an outage is over.
const LONGEST_WAIT_MS: u64 = 60_000;
/// A wait is longer by up to one in so many parts, so that fleets that failed together do not come back together.
const JITTER: u64 = 4;
/// Failures in a row after which an agent gives up while its model answers others: what fails is its own request.
const MAX_ALONE: u32 = 8;

/// Failures in a row after which a model counts as down: what a moment mends is over by then.
const DOWN_AFTER: u32 = 3;
/// A vendor that asks for a wait of this long is down at once.
const LONG_WAIT_MS: u64 = 30_000;
/// A model that was down is up again when its lane admits so many calls: the slots of a project that sets none.
const UP_AGAIN: u32 = 32;

/// How the calls of one model have fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Failures since the last answer; calls that were under way together fail as one.
    pub failures: u32,
    /// No call begins before.
    pub resume_at: Timestamp,
    /// Calls that it admits at once.
    pub width: u32,
    /// When it last answered.
    pub answered_at: Timestamp,
    /// It failed again and again, or for long, and has not recovered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
    /// What its agents call meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

impl Default for Lane {
    fn default() -> Self {
        let never = Timestamp::default();
        Self { failures: 0, resume_at: never, width: WIDEST, answered_at: never, down: false, fallback: None }
    }
}

impl Lane {
    /// Folds a step of one of its agents, recorded as `seq` at `ts`.
    pub(crate) fn heard(&mut self, seq: u64, ts: Timestamp, step: &AgentEvent) {
        match step {
            AgentEvent::ModelReceipt { .. } => {
                let width = self.width.saturating_mul(2).min(WIDEST);
                let down = self.down && width < UP_AGAIN;
                let fallback = self.fallback.take().filter(|_| down);
                let resume_at = Timestamp::default();
                *self = Self { failures: 0, resume_at, width, answered_at: ts, down, fallback };
            }
            AgentEvent::ModelFailed { retryable: true, retry_after_ms, .. } => {
                if ts >= self.resume_at {
                    self.failures = self.failures.saturating_add(1);
                }
                let wait = retry_after_ms.unwrap_or(0).max(self.wait_ms());
                let jitter = spread(seq) % (wait / JITTER + 1);
                self.resume_at = self.resume_at.max(ts.plus_millis(wait + jitter));
                self.width = 1;
                self.down |= self.failures >= DOWN_AFTER || wait >= LONG_WAIT_MS;
            }
            _ => {}
        }
    }

    fn wait_ms(&self) -> u64 {
        let doublings = self.failures.saturating_sub(1).min(16);
        (FIRST_WAIT_MS << doublings).min(LONGEST_WAIT_MS)
    }
}

/// A number that looks random and is the same for the same record: the finalizer of `SplitMix64`.
const fn spread(seq: u64) -> u64 {
    let mut mixed = seq.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Kernel {
    /// An agent needs its model: it gets in line, unless it is there, and whoever may call calls.
    pub(crate) fn line_up(&mut self, lineage: &str) {
        let ticket = self.fresh_id();
        self.agents.entry(lineage.to_owned()).or_default().ticket.get_or_insert(ticket);
        self.open_lane_of(lineage);
    }

    /// Begins the calls that the lane of an agent's model has room for, and that of the model it has called.
    pub(crate) fn open_lane_of(&mut self, lineage: &str) {
        let Some(agent) = self.state.agents.get(lineage) else { return };
        let (own, called) = (agent.model().to_owned(), agent.called().to_owned());
        self.open_lane(&own);
        if called != own {
            self.open_lane(&called);
        }
    }

    pub(crate) fn open_lane(&mut self, model: &str) {
        if self.state.panic.is_some() {
            return;
        }
        self.look_for_fallback(model);
        if self.fallback_of(model).is_none() || !ostk_log::planted!("no way back") {
            self.admit_to(model);
        }
        if let Some(fallback) = self.fallback_of(model).map(|fallback| fallback.model.clone()) {
            self.admit_to(&fallback);
        }
    }

    fn admit_to(&mut self, model: &str) {
        let lane = self.state.lanes.get(model).cloned().unwrap_or_default();
        if lane.resume_at > self.now {
            return self.wake_line(model, lane.resume_at);
        }
        while self.calling(model) < self.slots(&lane) {
            let Some(lineage) = self.first_in_line(model) else { return };
            if let Some(until) = self.wait_for_budget(&lineage, model) {
                return self.wake_line(model, until);
            }
            if let Some(live) = self.agents.get_mut(&lineage) {
                live.ticket = None;
            }
            // It may have come to its end in line.
            match self.state.agents.get(&lineage).map(|agent| agent.next(self.now)) {
                Some(Next::CallModel { call_no }) => self.call_model(&lineage, call_no, model),
                _ => self.drive(&lineage),
            }
        }
    }

    /// Begins the calls of every lane that has room for them.
    pub(crate) fn open_every_lane(&mut self) {
        let waiting = self.agents.iter().filter(|(_, live)| live.ticket.is_some());
        let models = waiting.filter_map(|(name, _)| Some(self.state.agents.get(name)?.model().to_owned()));
        for model in models.collect::<BTreeSet<_>>() {
            self.open_lane(&model);
        }
    }

    fn slots(&self, lane: &Lane) -> usize {
        usize::try_from(lane.width).unwrap_or(usize::MAX).min(self.config.model_slots).max(1)
    }

    fn calling(&self, model: &str) -> usize {
        let calls = |(name, live): &(&String, &Live)| {
            live.is_calling() && self.state.agents.get(*name).is_some_and(|agent| agent.called() == model)
        };
        self.agents.iter().filter(calls).count()
    }

    /// Who has waited longest of those that this model may answer.
    fn first_in_line(&self, model: &str) -> Option<String> {
        let runs = |name: &str| {
            self.state.lineages.get(name).is_some_and(|known| known.state == LineageState::Running)
        };
        let waiting = self.agents.iter().filter_map(|(name, live)| Some((live.ticket?, name.as_str())));
        let mut waiting: Vec<(u64, &str)> = waiting.filter(|(_, name)| runs(name)).collect();
        waiting.sort_unstable();
        let may = |name: &str| {
            self.state
                .agents
                .get(name)
                .is_some_and(|agent| agent.model() == model || self.fallback_for(name, agent) == Some(model))
        };
        waiting.into_iter().find(|(_, name)| may(name)).map(|(_, name)| name.to_owned())
    }

    /// Whoever waits for this model looks again at that time, if nothing wakes it before.
    fn wake_line(&mut self, model: &str, at: Timestamp) {
        let now = self.now;
        let waits = |name: &str| {
            self.state.agents.get(name).is_some_and(|agent| {
                let fallback = self.fallback_of(agent.model());
                agent.model() == model || fallback.is_some_and(|fallback| fallback.model == model)
            })
        };
        let waiting = self.agents.iter().filter(|(name, live)| live.ticket.is_some() && waits(name));
        let names: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(live) = self.agents.get_mut(&name) {
                let before = live.wake_at.filter(|before| *before > now && *before < at);
                live.wake_at = Some(before.unwrap_or(at));
            }
        }
    }

    /// Whether a model that fails this agent once more answers others.
    pub(crate) fn fails_alone(&self, agent: &AgentState) -> bool {
        let answered = self.state.lanes.get(agent.called()).map(|lane| lane.answered_at);
        agent.failing().is_some_and(|(failures, since)| {
            failures + 1 >= MAX_ALONE && answered.is_some_and(|at| at > since)
        })
    }

    /// What an agent in line waits for, for `ps`.
    pub(crate) fn in_line(&self, lineage: &str, agent: &AgentState) -> String {
        let fallback = self.fallback_for(lineage, agent);
        let resumes =
            |model: &str| self.state.lanes.get(model).map(|lane| lane.resume_at).unwrap_or_default();
        let own = resumes(agent.model());
        let at = fallback.map_or(own, |fallback| own.min(resumes(fallback)));
        if at > self.now {
            let seconds = at.millis_since(self.now).div_ceil(1_000);
            let who = if fallback.is_some() { "model and fallback fail" } else { "model fails" };
            return format!("{who}, next try in {seconds}s");
        }
        self.budget_in_words(agent).unwrap_or_else(|| "in line for its model".to_owned())
    }
}
