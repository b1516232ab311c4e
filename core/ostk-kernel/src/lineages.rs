//! Lineages over restarts: who goes on by itself, who waits for a word, who is let go.
//!
//! When a daemon takes the journal, every native agent that had not ended is an orphan of the one before. Its policy
//! says what happens next, and what happens is a record. Clients come back by themselves; until then they have ended.

use ostk_agent::Outcome as Ending;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    act::Awaited,
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel},
    state::LineageState,
    work::no_lineage,
};

/// What becomes of an orphan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revival {
    /// It goes on where it was.
    #[default]
    Revive,
    /// It is ended.
    Reap,
    /// It waits until somebody says.
    Ask,
}

impl Revival {
    /// The policy of that name.
    ///
    /// # Errors
    /// [`Code::Usage`] naming the words there are.
    pub fn parse(word: &str) -> Result<Self, CallError> {
        match word {
            "revive" => Ok(Self::Revive),
            "reap" => Ok(Self::Reap),
            "ask" => Ok(Self::Ask),
            other => Err(CallError::new(Code::Usage, format!("no such policy of revival: {other:?}"))
                .hint("revive, reap or ask")),
        }
    }
}

/// What became of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It goes on where it was.
    Revived,
    /// It was ended.
    Reaped,
}

impl Kernel {
    /// Carries out the policies of everybody whom the end of the last daemon orphaned.
    pub(crate) fn revive_orphans(&mut self) {
        let orphans = self.state.lineages.iter().filter(|(_, known)| known.state == LineageState::Orphaned);
        let orphans: Vec<(String, Revival)> =
            orphans.map(|(name, known)| (name.clone(), known.revival.unwrap_or_default())).collect();
        for (lineage, revival) in orphans {
            match revival {
                Revival::Revive => self.resolve_orphan(&Caller::Kernel, &lineage, Resolution::Revived, None),
                Revival::Reap => self.resolve_orphan(&Caller::Kernel, &lineage, Resolution::Reaped, None),
                Revival::Ask => {}
            }
        }
        let ending = self.state.lineages.iter().filter(|(_, known)| known.state == LineageState::Exiting);
        for lineage in ending.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.end_if_idle(&lineage);
        }
    }

    /// `lineage.resolve`: says what becomes of an orphan.
    pub(crate) fn resolve_lineage(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let lineage = job.text("lineage").unwrap_or_default().to_owned();
        let resolution = match job.text("resolution").unwrap_or_default() {
            "revive" => Resolution::Revived,
            "reap" => Resolution::Reaped,
            other => {
                let error = CallError::new(Code::Usage, format!("no such resolution: {other:?}"));
                return (Err(error.hint("revive or reap")), None);
            }
        };
        match self.state.lineages.get(&lineage).map(|known| known.state) {
            None => (Err(no_lineage(&lineage)), None),
            Some(LineageState::Orphaned) => {
                self.resolve_orphan(&job.caller, &lineage, resolution, job.key.clone());
                let state = self.state.lineages.get(&lineage).map(|known| known.state);
                (Ok(json!({ "lineage": lineage, "state": state })), Some(self.state.next_seq))
            }
            Some(state) => {
                let message = format!("{lineage} is {}, not orphaned", state.word());
                (Err(CallError::new(Code::Conflict, message).hint("ostk ps")), None)
            }
        }
    }

    fn resolve_orphan(&mut self, by: &Caller, lineage: &str, resolution: Resolution, key: Option<String>) {
        let awaited = if key.is_some() { Awaited::Durable } else { Awaited::Nothing };
        let event = Event::LineageResolved { lineage: lineage.to_owned(), resolution, key };
        self.record_with(by, &event, Vec::new(), awaited);
        match resolution {
            Resolution::Revived => {
                self.deliver_queued(lineage);
                self.release_held();
                self.drive(lineage);
            }
            Resolution::Reaped => {
                let reason = "its daemon ended, and its policy is to be reaped then".to_owned();
                self.end_agent(lineage, Ending::Cancelled { reason });
            }
        }
    }
}
