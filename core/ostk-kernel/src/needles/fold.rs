//! How the records of work change the board. Both the kernel, when it writes one, and a start, when it reads it back,
//! come through here.

use std::collections::BTreeSet;

use ostk_work::{Claim, Closed, Decision, Needle, NeedleId, Status, Straw};
use serde_json::json;

use super::needle_row;
use crate::{
    apply::At,
    event::Event,
    state::{State, name_of},
};

impl State {
    /// Events of needles, hay and decisions.
    pub(crate) fn apply_needles(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        match event {
            Event::HayFiled { text, source, key } => {
                self.work.file(at.seq, Straw { text, source, at: at.ts, by: at.actor.to_owned() });
                self.remember(key, at.seq, "call", true, || json!({ "straw": at.seq }));
            }
            Event::DecisionMade { name, value, reason, key } => {
                let by = at.actor.to_owned();
                self.work.decide(name.clone(), Decision { value, reason, seq: at.seq, at: at.ts, by });
                self.remember(key, at.seq, "call", true, || json!({ "key": name, "seq": at.seq }));
            }
            Event::NeedleAdded { .. } => self.apply_added(at, event)?,
            Event::NeedleChanged { id, change, key } => {
                if at.actor.starts_with("human:") {
                    self.forget_attempts(id);
                }
                self.work.change(at.seq, at.actor, id, change)?;
                self.remember_needle(key, at.seq, id);
            }
            Event::NeedleLinked { links, removed, key } => {
                self.work.link(at.seq, &links, !removed);
                let first = links.depends_on.iter().chain(&links.related).next();
                if let Some((id, _)) = first.copied() {
                    self.remember_needle(key, at.seq, id);
                }
            }
            Event::NeedleClaimed { id, until, lease_ms, key } => {
                let holder = name_of(at.actor).to_owned();
                self.work.claim(at.seq, id, Claim { holder, since: at.ts, until, lease_ms })?;
                self.remember_needle(key, at.seq, id);
            }
            Event::NeedleAssigned { .. } | Event::NeedleReminded { .. } => self.apply_worker(at, event)?,
            Event::NeedleReleased { id, key, .. } => {
                self.let_needle_go(at.actor, id);
                self.work.release(at.seq, id)?;
                self.remember_needle(key, at.seq, id);
            }
            Event::NeedleChecked { id, ac_result, .. } => self.work.check(at.seq, id, ac_result)?,
            Event::NeedleClosed { id, ac_result, runs, forced, reason, commit_ref, key } => {
                let by = at.actor.to_owned();
                let facts = json!({ "id": id, "status": Status::Closed, "ac_result": ac_result, "forced": forced,
                    "runs": runs, "seq": at.seq, "commit_ref": commit_ref });
                self.let_needle_go(at.actor, id);
                self.forget_attempts(id);
                self.work.close(
                    id,
                    Closed { at: at.ts, seq: at.seq, by, reason, commit_ref, forced },
                    ac_result,
                )?;
                self.remember(key, at.seq, "call", true, || facts);
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_added(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        let Event::NeedleAdded {
            id,
            title,
            priority,
            description,
            ac,
            tags,
            milestone,
            depends_on,
            blocks,
            hay,
            key,
        } = event
        else {
            return Ok(());
        };
        let needle = Needle {
            title,
            status: Status::Open,
            priority,
            ac,
            ac_by: at.actor.to_owned(),
            description,
            tags: tags.into_iter().collect(),
            milestone,
            depends_on: depends_on.into_iter().collect(),
            blocks: blocks.into_iter().collect(),
            related: BTreeSet::new(),
            seq: at.seq,
            created_at: at.ts,
            created_by: at.actor.to_owned(),
            ac_result: None,
            closed: None,
        };
        self.work.add(id, needle, &hay)?;
        self.remember_needle(key, at.seq, id);
        Ok(())
    }

    /// A repetition of a call about a needle is told how the needle stood then.
    fn remember_needle(&mut self, key: Option<String>, seq: u64, id: NeedleId) {
        if key.is_some() {
            let facts = json!({ "id": id, "needle": needle_row(&self.work, id) });
            self.remember(key, seq, "call", true, || facts);
        }
    }
}
