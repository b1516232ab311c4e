//! Who is started again, when, and with whom.
//!
//! An end is judged when it happens, and again at boot if a crash came before the verdict was recorded. The restart itself
//! waits for its time in the log, so a daemon that starts in between keeps it. A restart gives a native agent a fresh
//! context and none of its budget back.

use ostk_agent::{Lifetime, Outcome as Ending, RestartRule};
use ostk_log::Timestamp;

use super::Phase;
use crate::{
    act::Awaited, call::Caller, event::Event, kernel::Kernel, limits, lineages::Revival, shell::blob,
    state::LineageState,
};

/// What the text of a restarted agent's first message ends with.
const ADVICE: &str = "What was done before is in the files and in the log; what you said before is gone. Look before \
                      you repeat anything.";

/// An end, as its supervisor sees it.
pub(super) struct End {
    pub(super) reason: String,
    pub(super) exit: Option<i32>,
    pub(super) failed: bool,
}

impl Kernel {
    /// A native agent has ended.
    pub(crate) fn agent_fell(&mut self, lineage: &str, ending: &Ending) {
        let end = match ending {
            Ending::Done => End { reason: "done".to_owned(), exit: None, failed: false },
            Ending::Failed { error } => End { reason: limits::clip(error), exit: None, failed: true },
            // Whoever ended it meant it, and a restart gives no budget back.
            Ending::BudgetExhausted { .. } | Ending::Cancelled { .. } => return,
        };
        self.judge(lineage, end);
    }

    /// Decides what follows from the end of a supervised process.
    pub(super) fn judge(&mut self, lineage: &str, end: End) {
        let Some(known) = self.state.supervised.get(lineage) else { return };
        if known.phase != Phase::Up {
            return;
        }
        let End { reason, exit, failed } = end;
        if !known.wants(failed) {
            if known.is_foreign() {
                self.fell(lineage, reason, exit, None, false);
            }
            return;
        }
        let (rule, until) = (known.terms.rule, known.next_start(self.now));
        let group = self.group_of(lineage);
        match until {
            Some(_) => self.fell(lineage, reason, exit, until, !ostk_log::planted!("restart not counted")),
            None => self.give_up(lineage, &reason, exit, rule),
        }
        for sibling in group {
            self.take_along(&sibling, lineage, until);
        }
    }

    pub(super) fn fell(
        &mut self,
        lineage: &str,
        reason: String,
        exit: Option<i32>,
        until: Option<Timestamp>,
        counts: bool,
    ) {
        let event = Event::SuperviseFell { lineage: lineage.to_owned(), reason, exit, until, counts };
        self.record_with(&Caller::Kernel, &event, Vec::new(), Awaited::Written);
    }

    /// It ends too often: it stays ended, and whoever started it learns why.
    fn give_up(&mut self, lineage: &str, reason: &str, exit: Option<i32>, rule: RestartRule) {
        let why = format!(
            "started again {} times within {} s, and ended again: {reason}",
            rule.times, rule.within_s
        );
        self.fell(lineage, limits::clip(&why), exit, None, false);
        let text = format!("{lineage} is not started again: {why}");
        if let Some(parent) = self.state.lineages.get(lineage).and_then(|known| known.parent.clone()) {
            self.tell(&parent, &text);
        }
        self.note(&text);
    }

    /// Who ends with it: those of the same parent and strategy that run, the last started first.
    fn group_of(&self, lineage: &str) -> Vec<String> {
        let Some(all) = self.state.supervised.get(lineage).and_then(super::Supervision::takes_along) else {
            return Vec::new();
        };
        let place =
            |name: &str| self.state.lineages.get(name).map(|known| (known.since, known.parent.clone()));
        let strategy = |name: &str| self.state.supervised.get(name).map(|known| known.terms.rule.strategy);
        let Some((since, parent)) = place(lineage) else { return Vec::new() };
        let mut group: Vec<(u64, String)> = Vec::new();
        for (name, known) in &self.state.supervised {
            let Some((began, started_by)) = place(name) else { continue };
            let same = started_by == parent && strategy(name) == strategy(lineage) && (all || began > since);
            if same && name != lineage && known.phase == Phase::Up && self.is_alive(name) {
                group.push((began, name.clone()));
            }
        }
        group.sort_by(|a, b| b.cmp(a));
        group.into_iter().map(|(_, name)| name).collect()
    }

    fn is_alive(&self, lineage: &str) -> bool {
        let state = self.state.lineages.get(lineage).map(|known| known.state);
        state == Some(LineageState::Running) || self.command_runs(lineage)
    }

    /// Ends a process because of another's end. Its verdict is recorded first, so that its end is no surprise.
    fn take_along(&mut self, sibling: &str, because: &str, until: Option<Timestamp>) {
        let Some(known) = self.state.supervised.get(sibling) else { return };
        let until = until.filter(|_| known.terms.lifetime != Lifetime::Temporary);
        let reason = format!("{because} ended, and {} takes it along", known.terms.rule.strategy.as_str());
        self.fell(sibling, reason.clone(), None, until, false);
        self.put_down(sibling, "its supervision", Ending::Cancelled { reason });
    }

    /// Whether nobody will start it again by itself.
    pub(crate) fn is_over(&self, lineage: &str) -> bool {
        self.state.supervised.get(lineage).is_none_or(|known| match known.phase {
            Phase::Up => !known.is_foreign(),
            Phase::Due(_) => false,
            Phase::Over => true,
        })
    }

    /// Starts whatever is due.
    pub(crate) fn restart_due(&mut self) {
        if self.state.panic.is_some() {
            return;
        }
        let since = |name: &str| self.state.lineages.get(name).map_or(0, |known| known.since);
        let due = self.state.supervised.iter().filter(|(name, known)| {
            matches!(known.phase, Phase::Due(at) if at <= self.now) && self.may_start(name)
        });
        let mut due: Vec<(u64, String)> = due.map(|(name, _)| (since(name), name.clone())).collect();
        due.sort();
        for (_, lineage) in due {
            self.start_again(&lineage);
        }
    }

    fn start_again(&mut self, lineage: &str) {
        let Some(known) = self.state.supervised.get(lineage) else { return };
        let (reason, number, foreign) = (
            known.fell.as_ref().map_or("", |fell| fell.reason.as_str()).to_owned(),
            known.restarts + 1,
            known.is_foreign(),
        );
        let text = format!(
            "You are started again (restart {number}), because the run before ended: {reason}. {ADVICE}"
        );
        let (text_blob, bytes) = blob(text.as_bytes());
        let event = Event::SuperviseRestarted { lineage: lineage.to_owned(), text_blob };
        self.record_with(&Caller::Kernel, &event, vec![(text_blob, bytes)], Awaited::Durable);
        if foreign { self.start_command(lineage) } else { self.drive(lineage) }
    }

    /// Judges the ends that a crash came between, and what ended with the last daemon.
    pub(crate) fn judge_after_boot(&mut self) {
        let up = self.state.supervised.iter().filter(|(_, known)| known.phase == Phase::Up);
        let up: Vec<(String, bool)> = up.map(|(name, known)| (name.clone(), known.is_foreign())).collect();
        for (lineage, foreign) in up {
            if foreign {
                let revival = self.state.lineages.get(&lineage).and_then(|known| known.revival);
                let until = (revival != Some(Revival::Reap)).then_some(self.now);
                self.fell(&lineage, "its daemon ended".to_owned(), None, until, false);
            } else if let Some(ending) = self.state.ending(&lineage).cloned() {
                self.agent_fell(&lineage, &ending);
            }
        }
    }

    /// When the next restart is due.
    pub(crate) fn next_restart(&self) -> Option<Timestamp> {
        if self.state.panic.is_some() {
            return None;
        }
        let due = self.state.supervised.iter().filter_map(|(name, known)| match known.phase {
            Phase::Due(at) if self.may_start(name) => Some(at),
            _ => None,
        });
        due.min()
    }

    /// Somebody ends a process whose session is over: it waits for its restart, or its command goes on although it has
    /// ended its session. Returns whether there was something to end.
    pub(crate) fn call_off(&mut self, by: &Caller, lineage: &str, signal: &str) -> bool {
        let (reason, runs) = match self.state.supervised.get(lineage).map(|known| known.phase) {
            Some(Phase::Due(_)) => (format!("{signal} before its restart"), false),
            Some(Phase::Up) if self.command_runs(lineage) => (signal.to_owned(), true),
            _ => return false,
        };
        let lineage = lineage.to_owned();
        let cancelled = Ending::Cancelled { reason: reason.clone() };
        let event =
            Event::SuperviseFell { lineage: lineage.clone(), reason, exit: None, until: None, counts: false };
        self.record(by, &event);
        if runs {
            self.put_down(&lineage, signal, cancelled);
        }
        self.answer_waiters(&lineage);
        true
    }

    /// What a supervised process waits for, for `ps`.
    pub(crate) fn waits_for_restart(&self, lineage: &str) -> Option<String> {
        let known = self.state.supervised.get(lineage)?;
        match (known.phase, &known.fell) {
            (Phase::Due(at), Some(fell)) => {
                let seconds = at.millis_since(self.now).div_ceil(1_000);
                Some(format!("starts again in {seconds}s: {}", fell.reason))
            }
            (Phase::Over, Some(fell)) => Some(format!("ended: {}", fell.reason)),
            _ => None,
        }
    }

    /// Whether something goes on without a caller: an agent that has not ended, a command that is supervised, a restart
    /// that is due.
    pub fn works(&self) -> bool {
        let agents = self.state.agents.values().any(|agent| !agent.is_finished());
        let kept = |known: &super::Supervision| match known.phase {
            Phase::Up => known.is_foreign(),
            Phase::Due(_) => true,
            Phase::Over => false,
        };
        let stacks = self.state.stacks.values().any(crate::Stack::is_active);
        agents
            || stacks
            || !self.state.queue.is_empty()
            || !self.state.timers.is_empty()
            || self.state.supervised.values().any(kept)
    }
}
