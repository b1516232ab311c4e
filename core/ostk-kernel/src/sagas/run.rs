//! How a saga goes on: its next call, what its result means, and when it is over.
//!
//! Nothing here is remembered that the log does not hold but the plan, which is loaded again. Every call has a key made of
//! saga, step and attempt, so that after a restart the same question is asked again and what has an outcome is not
//! repeated. A saga moves at the end of each turn of the kernel ([`Kernel::drive_sagas`]), never in the middle of one.

use ostk_log::Timestamp;
use serde_json::Value;

use super::{Plan, Saga, SagaState, Step, StepChange, StepState};
use crate::{
    act::{Op, Outcome},
    call::{Call, CallError, Caller, Code},
    event::Event,
    files::caller_of,
    kernel::{Job, Kernel, ReplyTo, Stage, Target},
    limits,
    shell::INTERRUPTED,
    state::{LineageState, name_of},
};

/// Wait before a step is tried again; each further try waits as much longer.
const RETRY_MS: u64 = 1_000;
/// No wait is longer than so many of these.
const LONGEST_RETRY: u64 = 60;
/// An exit code from here on means that a signal ended the command.
const SIGNALLED: u64 = 128;

/// What is in flight for a saga.
#[derive(Debug, Default)]
pub(crate) struct LiveSaga {
    pub(crate) plan: Option<Plan>,
    loading: bool,
    calling: bool,
}

/// Why a call did not do its work.
struct Problem {
    what: String,
    /// Nobody knows how far it came.
    unknown: bool,
    /// For the daemon died meanwhile.
    interrupted: bool,
}

/// What is to be done next.
enum Move {
    /// This step's call is made; in the record of that, unless it was recorded before a crash.
    Call {
        step: usize,
        undo: bool,
        again: bool,
    },
    Turn(SagaState, Option<String>),
    Wait,
}

impl Saga {
    fn next(&self, ended: bool, now: Timestamp) -> Move {
        if self.state == SagaState::Running { self.next_step(ended, now) } else { self.next_undo(now) }
    }

    fn next_step(&self, ended: bool, now: Timestamp) -> Move {
        if ended {
            return Move::Turn(SagaState::Compensating, Some(format!("{} has ended", self.owner)));
        }
        let open = self.steps.iter().enumerate().find(|(_, step)| step.state != StepState::Committed);
        let Some((at, step)) = open else { return Move::Turn(SagaState::Completed, None) };
        match step.state {
            StepState::Executing => Move::Call { step: at, undo: false, again: true },
            StepState::Pending if step.due.is_some_and(|due| due > now) => Move::Wait,
            StepState::Pending => Move::Call { step: at, undo: false, again: false },
            _ => Move::Turn(SagaState::Compensating, Some(step.story())),
        }
    }

    fn next_undo(&self, now: Timestamp) -> Move {
        // What was begun comes to its end first: only then is it known whether there is anything to undo.
        if let Some(at) = self.steps.iter().position(|step| step.state == StepState::Executing) {
            return Move::Call { step: at, undo: false, again: true };
        }
        let undoing = |step: &Step| step.state == StepState::Compensating || step.is_to_undo();
        let last = if ostk_log::planted!("first things first") {
            self.steps.iter().position(undoing)
        } else {
            self.steps.iter().rposition(undoing)
        };
        let Some(at) = last else {
            return Move::Turn(SagaState::Failed, None);
        };
        match self.steps.get(at) {
            Some(step) if step.due.is_some_and(|due| due > now) => Move::Wait,
            Some(step) => Move::Call { step: at, undo: true, again: step.state == StepState::Compensating },
            None => Move::Wait,
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.steps.iter().filter_map(|step| step.due).min()
    }
}

impl Step {
    fn story(&self) -> String {
        format!("step {}: {}", self.plan.id, self.problem.as_deref().unwrap_or("it failed"))
    }
}

impl Kernel {
    /// Lets every saga go on as far as it can now.
    pub(crate) fn drive_sagas(&mut self) {
        // Nothing begins after the record that says that this daemon let the journal go.
        let is_held = self.state.panic.is_some() || self.state.stopped;
        if self.state.sagas.is_empty() || is_held || self.is_broken() {
            return;
        }
        loop {
            let open: Vec<u64> = self.state.open_sagas().map(|(id, _)| id).collect();
            let moved = open.into_iter().filter(|id| self.drive_saga(*id)).count();
            if moved == 0 || self.is_broken() {
                return;
            }
        }
    }

    /// When the next step is tried again.
    pub(crate) fn next_saga(&self) -> Option<Timestamp> {
        let waits =
            self.state.open_sagas().filter(|(id, _)| !self.sagas.get(id).is_some_and(|live| live.calling));
        waits.filter_map(|(_, saga)| saga.next_due()).filter(|due| *due > self.now).min()
    }

    /// Makes the next move; returns whether there was one.
    fn drive_saga(&mut self, id: u64) -> bool {
        let Some(saga) = self.state.sagas.get(&id) else { return false };
        let (plan_blob, ended) = (saga.plan_blob, self.has_ended(&saga.owner));
        let next = saga.next(ended, self.now);
        let live = self.sagas.entry(id).or_default();
        if live.calling || live.loading {
            return false;
        }
        match next {
            Move::Wait => false,
            Move::Turn(state, reason) => {
                self.turn_saga(id, state, reason);
                true
            }
            Move::Call { .. } if live.plan.is_none() => {
                live.loading = true;
                let op = Op::Observe { paths: Vec::new(), blobs: vec![plan_blob] };
                self.run(op, Target::SagaPlan { saga: id }, None);
                false
            }
            Move::Call { step, undo, again } => {
                if !again {
                    let state = if undo { StepState::Compensating } else { StepState::Executing };
                    self.change_step(id, step, state, None, None);
                }
                self.call_step(id, step, undo);
                true
            }
        }
    }

    /// Whether whoever a saga belongs to makes no calls any more.
    fn has_ended(&self, owner: &str) -> bool {
        let known = self.state.lineages.get(name_of(owner)).map(|known| known.state);
        !owner.starts_with("human:") && matches!(known, Some(LineageState::Exited | LineageState::Exiting))
    }

    pub(crate) fn saga_plan_loaded(&mut self, id: u64, outcome: Outcome) {
        let live = self.sagas.entry(id).or_default();
        live.loading = false;
        let Outcome::Observed { blobs, .. } = outcome else { return };
        live.plan = blobs.values().next().and_then(|bytes| serde_json::from_slice(bytes).ok());
        if live.plan.is_none() {
            // Its calls are gone with their blob: nothing can be done or undone any more.
            let state = self.state.sagas.get(&id).map(|saga| saga.state);
            if state == Some(SagaState::Running) {
                self.turn_saga(id, SagaState::Compensating, None);
            }
            self.turn_saga(id, SagaState::Escalated, Some("its calls are not stored any more".to_owned()));
        }
    }

    fn call_step(&mut self, id: u64, at: usize, undo: bool) {
        let Some(saga) = self.state.sagas.get(&id) else { return };
        let Some(step) = saga.steps.get(at) else { return };
        let (what, number) = if undo { ("undo", step.undos) } else { ("do", step.attempts) };
        let (key, caller) = (format!("saga:{id}/{at}/{what}/{number}"), caller_of(&saga.owner));
        let Some(live) = self.sagas.get_mut(&id) else { return };
        let act = live.plan.as_ref().and_then(|plan| plan.acts.get(at)).cloned();
        let action =
            act.as_ref().and_then(|act| if undo { act.undo.clone() } else { Some(act.work.clone()) });
        live.calling = true;
        let reply_to = ReplyTo::Saga { saga: id, step: at, undo };
        let (Some(act), Some(action)) = (act, action) else {
            let error = CallError::new(Code::Failed, "bug: the step is not in the plan");
            return self.deliver(&caller, reply_to, Err(error), None);
        };
        let deadline = self.now.plus_millis(act.timeout_ms);
        let (verb, args, idempotency) = (action.call, action.args, Some(key));
        self.enter(Call { id: 0, caller, verb, args, idempotency, deadline }, reply_to);
    }

    /// The call of a step ended.
    pub(crate) fn step_called(&mut self, id: u64, at: usize, undo: bool, result: &Result<Value, CallError>) {
        if let Some(live) = self.sagas.get_mut(&id) {
            live.calling = false;
        }
        let step = self.state.sagas.get(&id).and_then(|saga| saga.steps.get(at));
        let Some(step) = step else { return };
        let (retries, idempotent) = (step.plan.retries, step.plan.idempotent);
        let (attempts, undos) = (step.attempts, step.undos);
        match problem(result) {
            None if undo => self.change_step(id, at, StepState::Compensated, None, None),
            None => self.change_step(id, at, StepState::Committed, None, None),
            Some(problem) if undo => {
                // It is made for work of which nobody knows whether it was done, so it can be made twice.
                let again = (problem.interrupted || undos <= retries)
                    .then(|| self.now.plus_millis(RETRY_MS * undos.min(LONGEST_RETRY)));
                let what = problem.what.clone();
                self.change_step(id, at, StepState::CompensationFailed, again, Some(problem));
                if again.is_none() {
                    self.turn_saga(id, SagaState::Escalated, Some(format!("it could not be undone: {what}")));
                }
            }
            // Doing it twice is as good as once, and whether it was done is not known.
            Some(problem) if problem.unknown && idempotent && attempts <= retries.max(1) => {
                self.change_step(id, at, StepState::Pending, Some(self.now), Some(problem));
            }
            Some(problem) if !problem.unknown && attempts <= retries => {
                let due = self.now.plus_millis(RETRY_MS * attempts);
                self.change_step(id, at, StepState::Pending, Some(due), Some(problem));
            }
            Some(problem) => self.change_step(id, at, StepState::Failed, None, Some(problem)),
        }
    }

    fn change_step(
        &mut self,
        saga: u64,
        at: usize,
        state: StepState,
        due: Option<Timestamp>,
        problem: Option<Problem>,
    ) {
        let unknown = problem.as_ref().is_some_and(|problem| problem.unknown);
        let problem = problem.map(|problem| limits::clip(&problem.what));
        let change = StepChange { saga, step: at as u64, state, due, unknown, problem };
        self.record(&Caller::Kernel, &Event::SagaStep { change });
    }

    fn turn_saga(&mut self, saga: u64, state: SagaState, reason: Option<String>) {
        let reason = reason.map(|reason| limits::clip(&reason));
        self.record(&Caller::Kernel, &Event::SagaTurned { saga, state, reason, key: None });
        if state.is_open() {
            return;
        }
        self.sagas.remove(&saga);
        let waiting = |job: &&Job| matches!(job.stage, Stage::Saga(id) if id == saga);
        let ids: Vec<u64> = self.jobs.values().filter(waiting).map(|job| job.id).collect();
        for job in ids.iter().filter_map(|id| self.jobs.remove(id)).collect::<Vec<_>>() {
            let result = self.saga_result(saga, wanted_of(&job));
            let after = Some(self.state.next_seq);
            self.finish(job, result, after);
        }
    }
}

/// What whoever waits for a saga hopes for.
fn wanted_of(job: &Job) -> SagaState {
    if job.syscall.name == "saga.compensate" { SagaState::Failed } else { SagaState::Completed }
}

/// What went wrong with a call, if something did.
fn problem(result: &Result<Value, CallError>) -> Option<Problem> {
    let value = match result {
        Ok(value) => value,
        Err(error) => {
            let unknown = error.data.get("problem").and_then(Value::as_str) == Some(INTERRUPTED);
            return Some(Problem { what: error.message.clone(), unknown, interrupted: unknown });
        }
    };
    if value.get("timed_out").and_then(Value::as_bool) == Some(true) {
        let what = "it did not end by its deadline".to_owned();
        return Some(Problem { what, unknown: true, interrupted: false });
    }
    let exit = value.get("exit").and_then(Value::as_u64).filter(|exit| *exit != 0)?;
    Some(Problem { what: format!("exit {exit}"), unknown: exit >= SIGNALLED, interrupted: false })
}
