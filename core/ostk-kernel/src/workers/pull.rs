//! Gives ready needles to workers at rest, reminds those who end their turn with one in hand, and takes it back.
//!
//! Called at the end of every step of the kernel; it looks only when the board or somebody's rest has changed, so a fleet
//! of workers without work costs nothing. Needles go by priority, by what they free, by number; of the workers that take
//! one, it goes to whoever was given it least often, then to whoever has rested longest.

use std::collections::{BTreeMap, BTreeSet};

use ostk_agent::AgentState;
use ostk_log::Timestamp;
use ostk_policy::{Class, Effect, Resource};
use ostk_work::{Needle, NeedleId, ready};

use super::{MAX_GIVEN, filter::fits};
use crate::{
    act::Awaited, call::Caller, event::Event, kernel::Kernel, needles::DEFAULT_LEASE_MS, shell::blob,
    state::LineageState,
};

/// Why a needle is taken back.
const RETURNED: &str = "its worker's turn ended twice without closing it";
/// What a worker is told with a needle.
const HOW: &str = "Work on it. When its acceptance passes, close it: tool `work`, action `close`, with its id. If you \
                   cannot do it, give it back: action `release`, with its id and the reason. When your turn ends, you \
                   get the next one.";

impl Kernel {
    /// A worker has nothing to do: it is given work when acts are handed out, and ended when its time is over.
    pub(crate) fn rest(&mut self, lineage: &str) {
        self.work_seen = None;
        let ends_at = self.state.agents.get(lineage).and_then(AgentState::ends_at);
        self.agents.entry(lineage.to_owned()).or_default().wake_at = ends_at;
    }

    /// Takes back what those held who have ended, and gives out what is ready. Whoever is given something may come to its
    /// end by it, so both go on until nothing moves.
    pub(crate) fn settle_work(&mut self) {
        self.release_left();
        while self.hand_out() {
            self.release_left();
        }
    }

    /// Returns whether anybody was given anything.
    fn hand_out(&mut self) -> bool {
        let is_seen = self.work_seen == Some(self.state.work.changed);
        if self.state.workers.is_empty() || self.is_held() || is_seen {
            return false;
        }
        self.mind_holders();
        let mut gave = false;
        let mut barred = BTreeSet::new();
        loop {
            let idle = self.idle(&barred);
            let takes =
                |id, needle: &Needle| idle.iter().any(|name| self.attempt(name, id, needle).is_some());
            let (best, _) = ready(&self.state.work, idle.len(), takes);
            let moved = self.deal(idle, best, &mut barred);
            gave |= moved == Some(true);
            if moved.is_none() {
                break;
            }
        }
        self.work_seen = Some(self.state.work.changed);
        gave
    }

    /// Deals needles out, the best first. Returns whether one was given; `None` if nothing has changed by it.
    fn deal(
        &mut self,
        mut idle: Vec<String>,
        best: Vec<NeedleId>,
        barred: &mut BTreeSet<String>,
    ) -> Option<bool> {
        let mut moved = None;
        for id in best {
            let Some(needle) = self.state.work.needles.get(&id).cloned() else { continue };
            let takers = idle.iter().enumerate();
            let takers = takers.filter_map(|(at, name)| Some((self.attempt(name, id, &needle)?, at)));
            let Some((_, at)) = takers.min() else { continue };
            let name = idle.remove(at);
            if !self.may_pull(&name) {
                barred.insert(name);
                moved = moved.or(Some(false));
            } else if self.assign(&name, id, &needle) {
                moved = Some(true);
            }
        }
        moved
    }

    /// Workers that hold nothing and have nothing to do, the longest rested first.
    fn idle(&self, barred: &BTreeSet<String>) -> Vec<String> {
        let busy: BTreeSet<&str> =
            self.state.work.claims.values().map(|claim| claim.holder.as_str()).collect();
        let resting =
            self.resting().filter(|(_, name)| !busy.contains(name.as_str()) && !barred.contains(*name));
        let mut resting: Vec<(u64, &String)> = resting.collect();
        resting.sort_unstable();
        resting.into_iter().map(|(_, name)| name.clone()).collect()
    }

    fn resting(&self) -> impl Iterator<Item = (u64, &String)> {
        self.state.workers.keys().filter_map(|name| Some((self.rests_since(name)?, name)))
    }

    /// Since which record a worker that runs has had nothing to do.
    fn rests_since(&self, name: &str) -> Option<u64> {
        let state = self.state.lineages.get(name)?.state;
        self.state.workers.get(name)?.rested.filter(|_| state == LineageState::Running)
    }

    /// How often a worker was given a needle; `None` if it does not take it.
    fn attempt(&self, name: &str, id: NeedleId, needle: &Needle) -> Option<u32> {
        let given = self.state.workers.get(name)?.given.get(&id).copied().unwrap_or(0);
        let terms = self.state.agents.get(name)?.work();
        let takes = fits(terms, needle) || ostk_log::planted!("work for anybody");
        (given < MAX_GIVEN && takes).then_some(given)
    }

    /// Whether the gate lets it take work, as it would be asked for `work.next`.
    fn may_pull(&self, name: &str) -> bool {
        let caller = Caller::Agent(name.to_owned());
        self.foresee(&caller, "work.next", Class::KernelWrite, Resource::None).effect == Effect::Allow
    }

    fn assign(&mut self, lineage: &str, id: NeedleId, needle: &Needle) -> bool {
        let until = self.now.plus_millis(DEFAULT_LEASE_MS);
        let (text_blob, bytes) = blob(told(id, needle, until).as_bytes());
        let is_full = |agent: &AgentState| agent.lifecycle() != ostk_agent::Lifecycle::Healthy;
        let anew = self.state.agents.get(lineage).is_some_and(is_full);
        let (lineage, lease_ms) = (lineage.to_owned(), DEFAULT_LEASE_MS);
        let event = Event::NeedleAssigned { id, lineage: lineage.clone(), until, lease_ms, text_blob, anew };
        self.record_with(&Caller::Kernel, &event, vec![(text_blob, bytes)], Awaited::Durable);
        self.drive(&lineage);
        self.state.work.claims.get(&id).is_some_and(|claim| claim.holder == lineage)
    }

    /// Workers whose turn ended with something in hand are reminded once; then it is taken back.
    fn mind_holders(&mut self) {
        let mut held: BTreeMap<String, Vec<NeedleId>> = BTreeMap::new();
        for (id, claim) in &self.state.work.claims {
            held.entry(claim.holder.clone()).or_default().push(*id);
        }
        held.retain(|name, _| self.rests_since(name).is_some());
        for (lineage, needles) in held {
            if self.state.workers.get(&lineage).is_some_and(|worker| worker.reminded) {
                needles.into_iter().for_each(|id| self.return_needle(&lineage, id));
            } else {
                self.remind(&lineage, needles);
            }
        }
    }

    fn remind(&mut self, lineage: &str, needles: Vec<NeedleId>) {
        let names: Vec<String> = needles.iter().map(ToString::to_string).collect();
        let text = format!(
            "[kernel] Your turn ended and you still hold {}. Close it when its acceptance passes, or give it back with the \
             reason: tool `work`, action `close` or `release`. If you end your turn once more, it is taken back.",
            names.join(", ")
        );
        let (text_blob, bytes) = blob(text.as_bytes());
        let event = Event::NeedleReminded { lineage: lineage.to_owned(), needles, text_blob };
        self.record_with(&Caller::Kernel, &event, vec![(text_blob, bytes)], Awaited::Durable);
        self.drive(lineage);
    }

    fn return_needle(&mut self, lineage: &str, id: NeedleId) {
        let given = self.state.workers.get(lineage).and_then(|worker| worker.given.get(&id)).copied();
        self.take_back(id, lineage.to_owned(), RETURNED);
        let more = if given.unwrap_or(0) < MAX_GIVEN { "once more at most" } else { "not again" };
        let text = format!("{id} is taken back from {lineage}, which is given it {more}: {RETURNED}");
        self.note(&text);
    }

    /// A worker got an answer from its model: what it holds stays its own while it works.
    pub(crate) fn keep_claims_of(&mut self, lineage: &str) {
        if !self.state.workers.contains_key(lineage) {
            return;
        }
        let held = self.state.work.claims.iter().filter(|(_, claim)| claim.holder == lineage);
        for (id, claim) in held.map(|(id, claim)| (*id, claim.clone())).collect::<Vec<_>>() {
            self.renew(&Caller::Agent(lineage.to_owned()), id, &claim);
        }
    }

    /// What a worker's successor is told of the needles that it holds.
    pub(crate) fn work_at_hand(&self, lineage: &str) -> String {
        if !self.state.workers.contains_key(lineage) {
            return String::new();
        }
        let held = self.state.work.claims.iter().filter(|(_, claim)| claim.holder == lineage);
        let told = held.filter_map(|(id, claim)| {
            Some(format!("\n\n{}", told(*id, self.state.work.needles.get(id)?, claim.until)))
        });
        told.collect()
    }
}

/// A needle as its worker is told of it.
fn told(id: NeedleId, needle: &Needle, until: Timestamp) -> String {
    let mut text = format!(
        "[kernel] You have this work item until {until}, and longer while you work on it:\n\n{id} [{}] {}\n{}",
        needle.priority.word(),
        needle.title,
        needle.description
    );
    for command in &needle.ac {
        text.push_str(&format!("\nacceptance: {command}"));
    }
    format!("{text}\n\n{HOW}")
}
