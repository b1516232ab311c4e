//! The judge of sagas: follows each step of each saga through the records, by the rules of the documents
//! (`docs/src/sagas.md`), and shares no code with the kernel.
//!
//! A step is called once for each time that its record says so, in order, and never after the saga has turned; it counts as
//! done if, and only if, its call had its effect. What was done is undone once, last first, and a saga is over when nothing
//! is left to undo. Called by `walk` with every record, as JSON.

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::Draft;
use serde_json::Value;

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pending,
    Executing,
    Committed,
    Compensating,
    Compensated,
    CompensationFailed,
    Failed,
}

#[derive(Debug)]
struct Step {
    id: String,
    call: String,
    has_undo: bool,
    retries: u64,
    idempotent: bool,
    stage: Stage,
    unknown: bool,
    attempts: u64,
    undos: u64,
}

#[derive(Debug)]
struct Saga {
    name: String,
    owner: String,
    state: String,
    steps: Vec<Step>,
}

/// A call of a saga, as its key names it.
struct Called {
    saga: u64,
    step: usize,
    undo: bool,
    number: u64,
}

/// Every saga so far.
#[derive(Debug, Default)]
pub(crate) struct Undoing {
    sagas: BTreeMap<u64, Saga>,
    /// Keys of calls that had their effect.
    done: BTreeSet<String>,
    /// Keys of intents whose receipt is missing, by record.
    open: BTreeMap<u64, String>,
}

/// What is wrong with a record.
type Judged = Result<(), String>;

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn is_true(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// Whether a record is about the undoing of a step, which also those make who have ended.
pub(crate) fn undoes(body: &Value) -> bool {
    Called::by(text(body, "key")).is_some_and(|called| called.undo)
}

impl Undoing {
    pub(crate) fn record(&mut self, draft: &Draft, body: &Value) -> Judged {
        match draft.event.as_str() {
            "saga.began" => {
                let steps = body.get("steps").and_then(Value::as_array).into_iter().flatten();
                let saga = Saga {
                    name: text(body, "name").to_owned(),
                    owner: draft.actor.clone(),
                    state: "running".to_owned(),
                    steps: steps.map(Step::new).collect(),
                };
                self.sagas.insert(draft.seq, saga);
                Ok(())
            }
            "saga.step" => self.step(body),
            "saga.turned" => self.turned(number(body, "saga"), text(body, "state")),
            "file.write.intent" | "shell.intent" => {
                let key = text(body, "key");
                self.open.insert(draft.seq, key.to_owned());
                self.is_asked_for(key)
            }
            "file.write.receipt" => {
                self.receipt(body, is_true(body, "done"));
                Ok(())
            }
            "shell.receipt" => {
                let went_well = body.get("exit").and_then(Value::as_i64) == Some(0);
                self.receipt(body, went_well && !is_true(body, "timed_out"));
                Ok(())
            }
            "nudge.sent" | "note.added" | "lock.changed" => {
                let key = text(body, "key");
                self.done.insert(key.to_owned());
                self.is_asked_for(key)
            }
            _ => Ok(()),
        }
    }

    /// What is wrong at the end, when everything has come to rest. `ran` says how often each command line ran, `exists`
    /// whether there is a file.
    pub(crate) fn left(&self, ran: &BTreeMap<String, u64>, exists: impl Fn(&str) -> bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (id, saga) in &self.sagas {
            if matches!(saga.state.as_str(), "running" | "compensating") {
                wrong.push(format!("saga {id} of {} is {} at the end", saga.owner, saga.state));
            }
            for step in &saga.steps {
                wrong.extend(saga.made(step, ran));
                let path = format!("g-{}-{}", saga.name, step.id);
                let is_there = step.stage == Stage::Committed;
                let is_known = !step.unknown && step.stage != Stage::CompensationFailed;
                if step.call == "file.write" && is_known && exists(&path) != is_there {
                    wrong.push(format!("saga {id}: {path} and its step is {:?}", step.stage));
                }
            }
        }
        wrong
    }

    fn receipt(&mut self, body: &Value, went_well: bool) {
        if let Some(key) = self.open.remove(&number(body, "intent")).filter(|_| went_well) {
            self.done.insert(key);
        }
    }

    /// A call with the key of a saga is made while its step says so.
    fn is_asked_for(&self, key: &str) -> Judged {
        let Some(called) = Called::by(key) else { return Ok(()) };
        let step = self.sagas.get(&called.saga).and_then(|saga| saga.steps.get(called.step));
        let step = step.ok_or_else(|| format!("a call of a step that there is not: {key}"))?;
        let (stage, count) =
            if called.undo { (Stage::Compensating, step.undos) } else { (Stage::Executing, step.attempts) };
        if step.stage != stage || count != called.number {
            return Err(format!("{key} is called, and its step is {:?} for the {count}. time", step.stage));
        }
        Ok(())
    }

    fn step(&mut self, body: &Value) -> Judged {
        let (id, at) = (number(body, "saga"), usize::try_from(number(body, "step")).unwrap_or(usize::MAX));
        let stage = Stage::named(text(body, "state"))?;
        let saga = self.sagas.get_mut(&id).ok_or("a step of no saga")?;
        saga.may(at, stage).map_err(|what| format!("saga {id}, step {at}: {what}"))?;
        let (is_running, owner) = (saga.state == "running", saga.owner.clone());
        let step = saga.steps.get_mut(at).ok_or("a step that there is not")?;
        let (undo, count) = match stage {
            Stage::Compensated | Stage::CompensationFailed => ("undo", step.undos),
            _ => ("do", step.attempts),
        };
        let was_done = self.done.contains(&format!("{owner}/saga:{id}/{at}/{undo}/{count}"));
        let unknown = is_true(body, "unknown");
        let retries = step.retries.max(u64::from(step.idempotent && unknown));
        match stage {
            Stage::Executing if !is_running => {
                return Err(format!("saga {id} begins step {at} and has turned"));
            }
            Stage::Executing => step.attempts += 1,
            Stage::Compensating => step.undos += 1,
            Stage::Committed | Stage::Compensated if !was_done => {
                return Err(format!("saga {id}, step {at} is {stage:?}, and its call had no effect"));
            }
            Stage::Failed | Stage::Pending | Stage::CompensationFailed if was_done => {
                return Err(format!("saga {id}, step {at} is {stage:?}, and its call had its effect"));
            }
            Stage::Pending if step.attempts > retries => {
                return Err(format!("saga {id}, step {at} is to be tried {} times", step.attempts + 1));
            }
            _ => {}
        }
        step.stage = stage;
        step.unknown = (step.unknown && stage != Stage::Committed) || unknown;
        Ok(())
    }

    fn turned(&mut self, id: u64, state: &str) -> Judged {
        let saga = self.sagas.get_mut(&id).ok_or("a turn of no saga")?;
        let is = |stage: Stage| saga.steps.iter().any(|step| step.stage == stage);
        let may = match (saga.state.as_str(), state) {
            ("running", "completed") => saga.steps.iter().all(|step| step.stage == Stage::Committed),
            ("running" | "completed" | "escalated", "compensating") => true,
            ("compensating", "failed") => {
                !is(Stage::Executing) && !is(Stage::Compensating) && !saga.steps.iter().any(Step::is_to_undo)
            }
            ("compensating", "escalated") => is(Stage::CompensationFailed),
            _ => false,
        };
        if !may {
            return Err(format!("saga {id} is {state} after {}: {:?}", saga.state, saga.steps));
        }
        saga.state = state.to_owned();
        Ok(())
    }
}

impl Saga {
    /// Whether a step may come to this stage now, in its place among the others.
    fn may(&self, at: usize, next: Stage) -> Judged {
        use Stage::{Committed, Compensated, Compensating, CompensationFailed, Executing, Failed, Pending};
        let step = self.steps.get(at).ok_or("there is no such step")?;
        let in_hand = |other: &Step| matches!(other.stage, Executing | Compensating);
        let fits = match next {
            Executing => {
                let before = self.steps.iter().take(at).all(|other| other.stage == Committed);
                step.stage == Pending && before && !self.steps.iter().any(in_hand)
            }
            Compensating => {
                let later = self.steps.iter().skip(at + 1).any(Step::is_to_undo);
                let is_turned = self.state == "compensating";
                step.is_to_undo() && is_turned && !later && !self.steps.iter().any(in_hand)
            }
            Pending | Committed | Failed => step.stage == Executing,
            Compensated | CompensationFailed => step.stage == Compensating,
        };
        if fits { Ok(()) } else { Err(format!("{next:?} now, when the saga is {self:?}")) }
    }

    /// The commands of a step ran no oftener than they were called.
    fn made(&self, step: &Step, ran: &BTreeMap<String, u64>) -> Vec<String> {
        let calls = [("step", step.attempts), ("undo", step.undos)];
        let ran = |what: &str| {
            let begin = format!("{what} {} {} ", self.name, step.id);
            ran.iter().filter(|(line, _)| line.starts_with(&begin)).map(|(_, times)| *times).sum::<u64>()
        };
        let too_often = calls.into_iter().filter(|(what, calls)| ran(what) > *calls);
        too_often
            .map(|(what, calls)| {
                format!("{what} {} of {} ran {} times, called {calls} times", step.id, self.name, ran(what))
            })
            .collect()
    }
}

impl Step {
    fn new(value: &Value) -> Self {
        Self {
            id: text(value, "id").to_owned(),
            call: text(value, "call").to_owned(),
            has_undo: value.get("undo").is_some_and(|undo| !undo.is_null()),
            retries: number(value, "retries"),
            idempotent: is_true(value, "idempotent"),
            stage: Stage::Pending,
            unknown: false,
            attempts: 0,
            undos: 0,
        }
    }

    /// It did something that is not undone, or may have.
    fn is_to_undo(&self) -> bool {
        let did = matches!(self.stage, Stage::Committed | Stage::CompensationFailed);
        self.has_undo && (did || (self.stage == Stage::Failed && self.unknown))
    }
}

impl Stage {
    fn named(word: &str) -> Result<Self, String> {
        Ok(match word {
            "pending" => Self::Pending,
            "executing" => Self::Executing,
            "committed" => Self::Committed,
            "compensating" => Self::Compensating,
            "compensated" => Self::Compensated,
            "compensation_failed" => Self::CompensationFailed,
            "failed" => Self::Failed,
            _ => return Err(format!("no such stage: {word:?}")),
        })
    }
}

impl Called {
    /// `agent:c0/saga:12/0/do/1`: the first try of the first step of saga 12.
    fn by(key: &str) -> Option<Self> {
        let (_, of) = key.split_once("/saga:")?;
        let mut parts = of.split('/');
        let (saga, step) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let undo = parts.next()? == "undo";
        Some(Self { saga, step, undo, number: parts.next()?.parse().ok()? })
    }
}
