//! Sagas: work of several steps, each with a call that undoes it, as the log has them.
//!
//! A saga is a declared list of steps. Each step and each undoing is a system call of the saga's owner, with its own
//! verdict and records. When a step fails for good, what was done is undone in reverse order; what cannot be undone waits
//! for a person. Here is the fold: which states there are and which may follow which. `calls` reads what was asked for,
//! `run` makes the calls. The states are those of the reference's saga orchestrator.

mod calls;
mod run;

use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use calls::{Plan, saga_call};
pub(crate) use run::LiveSaga;

use crate::{
    event::Event,
    state::{State, name_of},
};

/// Sagas that are kept; of those that have ended, and were not given to a person, the oldest are forgotten first.
const MAX_SAGAS: usize = 256;

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It has not begun, or is tried again later.
    Pending,
    /// Its call is made.
    Executing,
    /// It is done.
    Committed,
    /// It is being undone.
    Compensating,
    /// It was undone.
    Compensated,
    /// It could not be undone.
    CompensationFailed,
    /// It failed.
    Failed,
}

impl StepState {
    /// Whether a step may come from this state into that one. A failed step is undone only if nobody knows how far it came.
    pub const fn may_become(self, next: Self, unknown: bool) -> bool {
        use StepState::{
            Committed, Compensated, Compensating, CompensationFailed, Executing, Failed, Pending,
        };
        match (self, next) {
            (Pending, Executing)
            | (Executing, Pending | Committed | Failed)
            | (Committed | CompensationFailed, Compensating)
            | (Compensating, Compensated | CompensationFailed) => true,
            (Failed, Compensating) => unknown,
            _ => false,
        }
    }
}

/// Where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SagaState {
    /// Its steps are done one after the other.
    Running,
    /// What was done is undone, last things first.
    Compensating,
    /// Every step is done.
    Completed,
    /// It came to nothing: whatever can be undone was undone.
    Failed,
    /// Something could not be undone: a person must look.
    Escalated,
}

impl SagaState {
    /// Whether a saga may come from this state into that one.
    pub const fn may_become(self, next: Self) -> bool {
        use SagaState::{Compensating, Completed, Escalated, Failed, Running};
        matches!(
            (self, next),
            (Running, Completed)
                | (Running | Completed | Escalated, Compensating)
                | (Compensating, Failed | Escalated)
        )
    }

    /// Whether something is still done about it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Compensating)
    }

    /// Whether nobody need look at it any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// The word for it, as in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Escalated => "escalated",
        }
    }
}

/// A step, as it was declared: all but the arguments of its calls, which are in the plan's blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPlan {
    /// Its name within the saga.
    pub id: String,
    /// The system call that does it.
    pub call: String,
    /// The system call that undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// How often it is tried again when it fails.
    pub retries: u64,
    /// Doing it twice is as good as doing it once, so that it may be tried again when nobody knows how far it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// As it was declared.
    #[serde(flatten)]
    pub plan: StepPlan,
    /// Where it stands.
    pub state: StepState,
    /// How often its call was made, and the call that undoes it.
    pub attempts: u64,
    /// How often the call that undoes it was made.
    pub undos: u64,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Nobody knows how far its call came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Step {
    /// Whether it is yet to be undone.
    pub(crate) fn is_to_undo(&self) -> bool {
        let done = matches!(self.state, StepState::Committed | StepState::CompensationFailed)
            || (self.state == StepState::Failed && self.unknown);
        done && self.plan.undo.is_some()
    }
}

/// A saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saga {
    /// What it is called.
    pub name: String,
    /// Whose it is: an actor.
    pub owner: String,
    /// When it began.
    pub since: Timestamp,
    /// Since when its owner knew what it knew when it began.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub knows_since: u64,
    /// Its calls with their arguments.
    pub plan_blob: Hash,
    /// Where it stands.
    pub state: SagaState,
    /// In the order in which they are done.
    pub steps: Vec<Step>,
    /// Why it does not run any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Saga {
    /// How many of its steps are done, and not undone.
    pub(crate) fn done(&self) -> usize {
        self.steps.iter().filter(|step| step.state == StepState::Committed).count()
    }
}

/// What becomes of a step: the body of `saga.step`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepChange {
    /// The saga, by its first record.
    pub saga: u64,
    /// The step, counted from 0.
    pub step: u64,
    /// What it becomes.
    pub state: StepState,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Nobody knows how far its call came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl State {
    /// Folds what concerns sagas.
    pub(crate) fn apply_saga(
        &mut self,
        (seq, ts): (u64, Timestamp),
        actor: &str,
        event: Event,
    ) -> Result<(), String> {
        match event {
            Event::SagaBegan { name, plan_blob, steps, key } => {
                self.remember(key, seq, "saga", true, || json!({ "saga": seq }));
                let step = |plan| Step {
                    plan,
                    state: StepState::Pending,
                    attempts: 0,
                    undos: 0,
                    due: None,
                    unknown: false,
                    problem: None,
                };
                let steps = steps.into_iter().map(step).collect();
                let (owner, state) = (actor.to_owned(), SagaState::Running);
                let knows_since = self.knows_since(name_of(&owner));
                let saga =
                    Saga { name, owner, knows_since, since: ts, plan_blob, state, steps, reason: None };
                self.sagas.insert(seq, saga);
                self.forget_sagas();
                Ok(())
            }
            Event::SagaStep { change } => self.change_step(change),
            Event::SagaTurned { saga, state, reason, key } => {
                let known = self.sagas.get_mut(&saga).ok_or("a saga that there is not")?;
                if !known.state.may_become(state) {
                    return Err(format!(
                        "saga {saga} cannot be {} after {}",
                        state.word(),
                        known.state.word()
                    ));
                }
                known.state = state;
                known.reason = reason.or_else(|| known.reason.take());
                self.remember(key, seq, "saga", true, || json!({ "saga": saga }));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn change_step(&mut self, change: StepChange) -> Result<(), String> {
        let StepChange { saga, step: number, state, due, unknown, problem } = change;
        let known = self.sagas.get_mut(&saga).ok_or("a saga that there is not")?;
        let at = usize::try_from(number).map_err(|_| "no such step")?;
        let step = known.steps.get_mut(at).ok_or("a step that there is not")?;
        if !step.state.may_become(state, step.unknown) {
            return Err(format!("step {number} of saga {saga} cannot be {state:?} after {:?}", step.state));
        }
        match state {
            StepState::Executing => step.attempts += 1,
            StepState::Compensating => step.undos += 1,
            _ => {}
        }
        step.state = state;
        step.due = due;
        step.unknown = (step.unknown && state != StepState::Committed) || unknown;
        step.problem = problem.or_else(|| step.problem.take());
        Ok(())
    }

    fn forget_sagas(&mut self) {
        while self.sagas.len() > MAX_SAGAS {
            let mut over = self.sagas.iter().filter(|(_, saga)| saga.state.is_over());
            let Some(oldest) = over.next().map(|(seq, _)| *seq) else { return };
            self.sagas.remove(&oldest);
        }
    }

    /// Sagas about which something is still done.
    pub(crate) fn open_sagas(&self) -> impl Iterator<Item = (u64, &Saga)> {
        self.sagas.iter().filter(|(_, saga)| saga.state.is_open()).map(|(seq, saga)| (*seq, saga))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_to_its_end_stays_there_unless_it_is_undone() {
        use StepState::{
            Committed, Compensated, Compensating, CompensationFailed, Executing, Failed, Pending,
        };
        let all = [Pending, Executing, Committed, Compensating, Compensated, CompensationFailed, Failed];
        let after = |state: StepState, unknown| -> Vec<StepState> {
            all.into_iter().filter(|next| state.may_become(*next, unknown)).collect()
        };
        assert_eq!(after(Pending, false), [Executing]);
        assert_eq!(after(Executing, false), [Pending, Committed, Failed]);
        assert_eq!(after(Committed, false), [Compensating]);
        assert_eq!(after(Compensated, true), []);
        assert_eq!((after(Failed, false), after(Failed, true)), (vec![], vec![Compensating]));
        let sagas = [
            SagaState::Running,
            SagaState::Compensating,
            SagaState::Completed,
            SagaState::Failed,
            SagaState::Escalated,
        ];
        assert!(sagas.into_iter().all(|next| !SagaState::Failed.may_become(next)));
        assert!(!SagaState::Compensating.may_become(SagaState::Completed));
    }
}
