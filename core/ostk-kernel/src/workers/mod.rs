//! Workers: native agents whose Agentfile has a `WORK` filter, as the log has them.
//!
//! Here is the fold: who is at rest since when, who was reminded of what it holds, and how often a worker was given the
//! same needle. `pull` gives needles out and takes them back, `filter` says which needle a worker takes. What a worker
//! holds is on the board, like every claim.

mod filter;
mod pull;

use std::collections::BTreeMap;

use ostk_log::Hash;
use ostk_work::{Claim, NeedleId};
use serde::{Deserialize, Serialize};

use crate::{
    apply::At,
    event::Event,
    state::{State, name_of},
};

/// The first message of a worker whose Agentfile has no `TASK`.
pub(crate) const TASK: &str =
    "You are a worker of this project. You get one work item (needle) at a time, claimed for you.";

/// How often a worker is given the same needle. A second look may help; after that somebody else has to look at it.
const MAX_GIVEN: u32 = 2;

/// A native agent that is given work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The record since which it is at rest; `None` while it does something, and when it has ended.
    pub rested: Option<u64>,
    /// It was told that its turn ended and that it still holds something.
    pub reminded: bool,
    /// How often it was given a needle that is not closed; as often as can be, if it gave it back itself.
    pub given: BTreeMap<NeedleId, u32>,
}

impl State {
    /// Folds what is given to workers and what they are told of it.
    pub(crate) fn apply_worker(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        match event {
            Event::NeedleAssigned { id, lineage, until, lease_ms, text_blob, anew } => {
                let claim = Claim { holder: lineage.clone(), since: at.ts, until, lease_ms };
                self.work.claim(at.seq, id, claim)?;
                self.give(at, &lineage, text_blob, anew)?;
                let worker = self.workers.entry(lineage).or_default();
                worker.reminded = false;
                *worker.given.entry(id).or_default() += 1;
            }
            Event::NeedleReminded { lineage, text_blob, .. } => {
                self.give(at, &lineage, text_blob, false)?;
                self.workers.entry(lineage).or_default().reminded = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn give(&mut self, at: At<'_>, lineage: &str, text_blob: Hash, anew: bool) -> Result<(), String> {
        let agent = self.agents.get_mut(lineage).ok_or("work for nobody")?;
        agent.give(at.ts, text_blob, anew).map_err(|error| error.to_string())?;
        // A fresh context has seen no file.
        if let Some(known) = self.lineages.get_mut(lineage).filter(|_| anew) {
            known.forget(at.seq);
        }
        self.mind_rest(at.seq, lineage);
        Ok(())
    }

    /// Something happened to an agent: whether it is at rest, if it takes work.
    pub(crate) fn mind_rest(&mut self, seq: u64, lineage: &str) {
        let Some(agent) = self.agents.get(lineage) else { return };
        if agent.work().is_empty() {
            self.workers.remove(lineage);
            return;
        }
        let at_rest = agent.is_at_rest();
        let worker = self.workers.entry(lineage.to_owned()).or_default();
        worker.rested = worker.rested.or(Some(seq)).filter(|_| at_rest);
    }

    /// A needle is not with its holder any more; a worker that gave it back itself is not given it again.
    pub(crate) fn let_needle_go(&mut self, actor: &str, id: NeedleId) {
        let Some(claim) = self.work.claims.get(&id) else { return };
        let Some(worker) = self.workers.get_mut(&claim.holder) else { return };
        worker.reminded = false;
        if name_of(actor) == claim.holder {
            worker.given.insert(id, MAX_GIVEN);
        }
    }

    /// A needle is closed, or a person has changed it: what workers made of it before says nothing any more.
    pub(crate) fn forget_attempts(&mut self, id: NeedleId) {
        for worker in self.workers.values_mut() {
            worker.given.remove(&id);
        }
    }
}
