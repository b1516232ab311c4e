//! Who works on what: claims with leases, given out one at a time and taken back.
//!
//! The kernel takes one call after the other, so two that ask for the next needle never get the same one. A claim ends
//! when it is given back, when its lease runs out, and when its holder ends; each end is a record. Whoever goes on about
//! a needle that he holds keeps it.

use ostk_log::Timestamp;
use ostk_work::{Claim, NeedleId, Status, ready};
use serde_json::{Value, json};

use super::{Answer, arguments, needle_row};
use crate::{
    act::Awaited,
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel},
    state::LineageKind,
};

/// How long a claim holds without a word of its holder: half an hour.
pub(crate) const DEFAULT_LEASE_MS: u64 = 30 * 60_000;
/// Shortest lease: a second.
const MIN_LEASE_MS: u64 = 1_000;
/// Longest lease: a day.
const MAX_LEASE_MS: u64 = 24 * 3_600_000;
/// Needles that one lineage may hold; whoever holds more keeps them from others.
const MAX_HELD: usize = 32;
/// A lease is renewed when this part of it has gone, so that a busy holder does not fill the log.
const RENEWED_AFTER: u64 = 4;

impl Kernel {
    /// `work.next`: the best needle that can be begun now, claimed in the same step.
    pub(super) fn next_needle(&mut self, job: &Job) -> Answer {
        let filter = match arguments::Filter::of(job) {
            Ok(filter) => filter,
            Err(error) => return (Err(error), None),
        };
        let (best, count) = ready(&self.state.work, 1, |_, needle| filter.fits(needle));
        match best.first() {
            None => (
                Ok(json!({ "needle": null, "ready": 0, "counts": super::rows::counts(&self.state.work) })),
                None,
            ),
            Some(id) if job.flag("peek") => {
                (Ok(json!({ "id": id, "needle": needle_row(&self.state.work, *id), "ready": count })), None)
            }
            Some(id) => self.claim(job, *id),
        }
    }

    /// `work.claim`: this needle; again by its holder, the lease begins anew.
    pub(super) fn claim_needle(&mut self, job: &Job) -> Answer {
        let claimed = self.own_needle(job).and_then(|id| match self.state.work.claims.get(&id) {
            // A person may close and edit what another holds, but not take it from him.
            Some(claim) if claim.holder != job.caller.lineage() => Err(held(id, claim)),
            _ if self.state.work.needles.get(&id).map(|needle| needle.status) == Some(Status::Shelved) => {
                Err(CallError::new(Code::Conflict, format!("{id} is shelved"))
                    .hint(format!("ostk work edit {} --status open", id.number())))
            }
            _ => Ok(id),
        });
        match claimed {
            Ok(id) => self.claim(job, id),
            Err(error) => (Err(error), None),
        }
    }

    fn claim(&mut self, job: &Job, id: NeedleId) -> Answer {
        let me = job.caller.lineage();
        let held = self.state.work.claims.iter().filter(|(other, claim)| **other != id && claim.holder == me);
        let held: Vec<NeedleId> = held.map(|(id, _)| *id).collect();
        if held.len() >= MAX_HELD {
            let error = CallError::new(Code::Busy, format!("you hold {MAX_HELD} needles already"));
            return (Err(error.hint("close them or give them back: ostk work release ID")), None);
        }
        let lease_ms = job.number("lease_ms").unwrap_or(DEFAULT_LEASE_MS).clamp(MIN_LEASE_MS, MAX_LEASE_MS);
        let until = self.now.plus_millis(lease_ms);
        let event = Event::NeedleClaimed { id, until, lease_ms, key: job.key.clone() };
        self.record_work(&job.caller, &event, |kernel, _| {
            json!({ "id": id, "needle": needle_row(&kernel.state.work, id), "until": until, "also_held": held })
        })
    }

    /// `work.release`: by its holder, or by a person.
    pub(super) fn release_needle(&mut self, job: &Job) -> Answer {
        let id = match arguments::id(&self.state.work, job, "id") {
            Ok(id) => id,
            Err(error) => return (Err(error), None),
        };
        let holder = self.state.work.claims.get(&id).map(|claim| claim.holder.clone());
        match holder {
            Some(holder) if holder == job.caller.lineage() || matches!(job.caller, Caller::Human(_)) => {
                let reason = job.text("reason").unwrap_or("given back").to_owned();
                let event = Event::NeedleReleased { id, holder, reason, key: job.key.clone() };
                self.record_work(
                    &job.caller,
                    &event,
                    |kernel, _| json!({ "id": id, "needle": needle_row(&kernel.state.work, id) }),
                )
            }
            Some(_) => (Err(CallError::new(Code::Conflict, format!("you do not hold {id}"))), None),
            None => (Err(CallError::new(Code::Conflict, format!("nobody holds {id}"))), None),
        }
    }

    /// A call of its holder about a needle keeps it for another lease.
    pub(super) fn renew_claim(&mut self, job: &Job) {
        let id = job.text("id").and_then(|text| text.parse::<NeedleId>().ok());
        let claim = id.and_then(|id| Some((id, self.state.work.claims.get(&id)?.clone())));
        let Some((id, claim)) = claim.filter(|(_, claim)| claim.holder == job.caller.lineage()) else {
            return;
        };
        self.renew(&job.caller, id, &claim);
    }

    /// Renews a claim of which a good part has gone.
    pub(crate) fn renew(&mut self, caller: &Caller, id: NeedleId, claim: &Claim) {
        let left = claim.until.millis_since(self.now);
        if claim.lease_ms.saturating_sub(left) >= claim.lease_ms / RENEWED_AFTER {
            self.prolong(caller, id, claim, claim.lease_ms);
        }
    }

    /// Keeps a needle for its holder while something runs that may take so long.
    pub(super) fn keep_claim(&mut self, caller: &Caller, id: NeedleId, millis: u64) {
        let Some(claim) = self.state.work.claims.get(&id).cloned() else { return };
        if claim.holder == caller.lineage() && claim.until.millis_since(self.now) <= millis {
            self.prolong(caller, id, &claim, millis.saturating_add(claim.lease_ms));
        }
    }

    fn prolong(&mut self, caller: &Caller, id: NeedleId, claim: &Claim, millis: u64) {
        let until = self.now.plus_millis(millis);
        let event = Event::NeedleClaimed { id, until, lease_ms: claim.lease_ms, key: None };
        self.record_with(caller, &event, Vec::new(), Awaited::Written);
    }

    /// Takes back what was not renewed in time, and tells whoever held it.
    pub(crate) fn expire_claims(&mut self) {
        // Whoever has ended in the same moment has not let his lease run out.
        self.release_left();
        let now = self.now;
        let lapsed = self.state.work.claims.iter().filter(|(_, claim)| claim.until <= now);
        for (id, claim) in lapsed.map(|(id, claim)| (*id, claim.clone())).collect::<Vec<_>>() {
            let Claim { holder, until, .. } = claim;
            self.take_back(id, holder.clone(), "its lease ran out");
            let is_person = |known: &crate::state::Lineage| known.kind == LineageKind::Human;
            if !self.state.lineages.get(&holder).is_some_and(is_person) {
                let text = format!(
                    "your claim on {id} ran out at {until} and others may take it; claim it again if you work on it"
                );
                self.tell(&holder, &text);
            }
        }
    }

    /// Takes back what those held who have ended.
    pub(crate) fn release_left(&mut self) {
        for id in self.state.work.left.iter().copied().collect::<Vec<_>>() {
            let Some(holder) = self.state.work.claims.get(&id).map(|claim| claim.holder.clone()) else {
                continue;
            };
            self.take_back(id, holder, "its holder ended");
        }
    }

    pub(crate) fn take_back(&mut self, id: NeedleId, holder: String, reason: &str) {
        let event = Event::NeedleReleased { id, holder, reason: reason.to_owned(), key: None };
        self.record_with(&Caller::Kernel, &event, Vec::new(), Awaited::Written);
    }

    /// When the next claim runs out.
    pub(crate) fn next_release(&self) -> Option<Timestamp> {
        self.state.work.claims.values().map(|claim| claim.until).min()
    }
}

/// Somebody else works on it.
pub(super) fn held(id: NeedleId, claim: &Claim) -> CallError {
    let data: Value = json!({ "id": id, "holder": claim.holder, "until": claim.until });
    CallError::new(Code::Conflict, format!("{} works on {id} until {}", claim.holder, claim.until))
        .hint("ostk work next gives another one")
        .data(data)
}
