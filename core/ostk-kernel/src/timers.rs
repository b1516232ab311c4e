//! Timers: an agent is spawned, or a message is sent, at a time or again and again.
//!
//! A person sets a timer; what it does is kept as the arguments of a call, which is made in that person's name when the time
//! has come, before the gate as it is then. The timers are folded from the log. A firing is a record before it is a call, and
//! the call carries a key made of that record, so a crash in between neither loses nor repeats it. Times that passed while
//! nobody was there to fire, in a panic for example, come to one firing.

use ostk_log::{Hash, Timestamp};
use ostk_policy::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    act::{Awaited, Op, Outcome},
    apply::At,
    call::{CallError, Caller, Code, kept_arguments},
    event::Event,
    files::caller_of,
    kernel::{Job, Kernel, ReplyTo, Target},
    limits,
    shell::blob,
    state::State,
    table,
    work::check_name,
};

/// Timers at once; whoever needs more has a scheduler of his own.
const MAX_TIMERS: usize = 256;
/// Shortest time between two firings: an agent's start and end take some of it.
const MIN_EVERY_MS: u64 = 10_000;
/// Longest time, between two firings and until the first: a year.
const MAX_WAIT_MS: u64 = 366 * 24 * 3_600_000;
/// Deadline of the call that a timer makes, a person's consent included.
const CALL_MS: u64 = 600_000;
/// The rule by which an agent's timer is refused.
const PEOPLE_ONLY: &str = "timers are set and removed by people";

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Who set it: an actor.
    pub by: String,
    /// Whom it spawns, or sends a message to.
    pub lineage: String,
    /// It makes this call: `agent.spawn` or `nudge`.
    pub call: String,
    /// With these arguments.
    pub call_blob: Hash,
    /// When it fires next; `None` when it has fired for the last time.
    pub due: Option<Timestamp>,
    /// Milliseconds between two firings, if there is more than one.
    pub every_ms: Option<u64>,
    /// Firings that are left, if they are bounded.
    pub left: Option<u64>,
    /// How often it has fired.
    pub fired: u64,
    /// The record of the firing whose call has not ended.
    pub firing: Option<u64>,
    /// Why its last call came to nothing, if it did.
    pub problem: Option<String>,
}

impl Timer {
    /// Folds a firing. Times that have passed meanwhile are left out.
    fn fire(&mut self, seq: u64, now: Timestamp) {
        self.fired += 1;
        self.firing = Some(seq);
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.due = match (self.due, self.every_ms) {
            (Some(due), Some(every_ms)) if self.left != Some(0) => {
                let passed = now.millis_since(due) / every_ms.max(1);
                Some(due.plus_millis(every_ms.saturating_mul(passed + 1)))
            }
            _ => None,
        };
    }
}

impl State {
    /// Folds what becomes of timers.
    pub(crate) fn apply_timer(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        match event {
            Event::TimerSet { name, lineage, call, call_blob, due, every_ms, times, key } => {
                let facts = || json!({ "name": name, "due": due });
                self.remember(key, at.seq, "call", true, facts);
                let (by, due) = (at.actor.to_owned(), Some(due));
                let (fired, firing, problem) = (0, None, None);
                let timer = Timer {
                    by,
                    lineage,
                    call,
                    call_blob,
                    due,
                    every_ms,
                    left: times,
                    fired,
                    firing,
                    problem,
                };
                self.timers.insert(name, timer);
            }
            Event::TimerFired { name } => {
                let timer = self.timers.get_mut(&name).ok_or("a firing of no timer")?;
                timer.fire(at.seq, at.ts);
            }
            Event::TimerEnded { name, problem } => {
                let timer = self.timers.get_mut(&name).ok_or("an end of no timer's call")?;
                (timer.firing, timer.problem) = (None, problem);
                if timer.due.is_none() {
                    self.timers.remove(&name);
                }
            }
            Event::TimerRemoved { name, key } => {
                self.remember(key, at.seq, "call", true, || json!({ "name": name }));
                self.timers.remove(&name).ok_or("a removal of no timer")?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Kernel {
    /// `timer.set`, `timer.list` and `timer.remove`.
    pub(crate) fn start_timers(&mut self, mut job: Job) {
        let (verb, class) = (job.syscall.name, job.syscall.class);
        if verb != "timer.list" && !matches!(job.caller, Caller::Human(_)) {
            let (error, after) = self.refuse_by(&job.caller, verb, class, Resource::None, PEOPLE_ONLY);
            return self.finish(job, Err(error), after);
        }
        if let Err(turned) = self.pass(&mut job, verb, class, Resource::None) {
            return self.turn(job, turned);
        }
        let result = match verb {
            "timer.set" => self.set_timer(&job),
            "timer.remove" => self.remove_timer(&job),
            _ => Ok(json!({ "timers": self.timer_rows() })),
        };
        let after = (verb != "timer.list").then_some(self.state.next_seq);
        self.finish(job, result, after);
    }

    fn set_timer(&mut self, job: &Job) -> Result<Value, CallError> {
        let name = job.text("name").unwrap_or_default().to_owned();
        check_name(&name)?;
        if self.state.timers.contains_key(&name) {
            return Err(CallError::new(Code::Conflict, format!("there is a timer {name} already"))
                .hint(format!("ostk timer remove {name}")));
        }
        if self.state.timers.len() >= MAX_TIMERS {
            return Err(CallError::new(Code::Busy, format!("{MAX_TIMERS} timers are set"))
                .hint("remove some: ostk timer list"));
        }
        let (every_ms, times) = (job.number("every_ms"), job.number("times"));
        let due = first(job, self.now)?;
        let (call, args) = call_of(job)?;
        let (call_blob, bytes) = blob(args.to_string().as_bytes());
        let lineage = job.text("lineage").unwrap_or_default().to_owned();
        let (call, key) = (call.to_owned(), job.key.clone());
        let event =
            Event::TimerSet { name: name.clone(), lineage, call, call_blob, due, every_ms, times, key };
        self.record_with(&job.caller, &event, vec![(call_blob, bytes)], Awaited::Durable);
        Ok(json!({ "name": name, "due": due }))
    }

    fn remove_timer(&mut self, job: &Job) -> Result<Value, CallError> {
        let name = job.text("name").unwrap_or_default().to_owned();
        if !self.state.timers.contains_key(&name) {
            return Err(
                CallError::new(Code::NotFound, format!("there is no timer {name:?}")).hint("ostk timer list")
            );
        }
        self.record(&job.caller, &Event::TimerRemoved { name: name.clone(), key: job.key.clone() });
        Ok(json!({ "name": name }))
    }

    fn timer_rows(&self) -> Vec<Value> {
        let row = |(name, timer): (&String, &Timer)| {
            json!({ "name": name, "lineage": timer.lineage, "call": timer.call, "by": timer.by, "due": timer.due,
                "every_ms": timer.every_ms, "left": timer.left, "fired": timer.fired, "problem": timer.problem })
        };
        self.state.timers.iter().map(row).collect()
    }

    /// Fires what is due.
    pub(crate) fn fire_timers(&mut self) {
        if self.next_timer().is_none_or(|due| due > self.now) {
            return;
        }
        let now = self.now;
        let is_due = |timer: &Timer| timer.firing.is_none() && timer.due.is_some_and(|due| due <= now);
        let due = self.state.timers.iter().filter(|(_, timer)| is_due(timer));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let seq = self.record(&Caller::Kernel, &Event::TimerFired { name: name.clone() });
            self.load_timer(name, seq);
        }
    }

    /// Calls that a restart came between are made again, under the same key.
    pub(crate) fn fire_again(&mut self) {
        let open = self.state.timers.iter().filter_map(|(name, timer)| Some((name.clone(), timer.firing?)));
        for (name, seq) in open.collect::<Vec<_>>() {
            self.load_timer(name, seq);
        }
    }

    fn load_timer(&mut self, name: String, seq: u64) {
        let Some(timer) = self.state.timers.get(&name) else { return };
        let op = Op::Observe { paths: Vec::new(), blobs: vec![timer.call_blob] };
        self.run(op, Target::Timer { name, seq }, Some(seq + 1));
    }

    /// What a timer does is loaded: the call is made.
    pub(crate) fn timer_loaded(&mut self, name: String, seq: u64, outcome: &Outcome) {
        let Some(timer) = self.state.timers.get(&name).filter(|timer| timer.firing == Some(seq)).cloned()
        else {
            return;
        };
        let args = kept_arguments(outcome, &timer.call_blob);
        let (Some(args), Some(syscall)) = (args, table::lookup(&timer.call)) else {
            let lost = CallError::new(Code::Failed, "what it was set with is lost");
            return self.timer_ended(&name, seq, &Err(lost));
        };
        let key = Some(format!("timer/{name}/{seq}")).filter(|_| !ostk_log::planted!("timer made again"));
        let (id, caller, deadline) = (self.fresh_id(), caller_of(&timer.by), self.now.plus_millis(CALL_MS));
        let reply_to = ReplyTo::Timer { name, seq };
        let job = Job { key, ..Job::new(id, caller, syscall, args, deadline, reply_to) };
        if let Some(job) = self.first_of_its_key(job) {
            self.admit(job);
        }
    }

    /// The call of a timer ended.
    pub(crate) fn timer_ended(&mut self, name: &str, seq: u64, result: &Result<Value, CallError>) {
        if self.state.timers.get(name).is_some_and(|timer| timer.firing == Some(seq)) {
            let problem = result.as_ref().err().map(|error| limits::clip(&error.message));
            self.record(&Caller::Kernel, &Event::TimerEnded { name: name.to_owned(), problem });
        }
    }

    /// When the next timer fires.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        if self.is_held() {
            return None;
        }
        self.state.timers.values().filter(|timer| timer.firing.is_none()).filter_map(|timer| timer.due).min()
    }
}

/// When a new timer fires first, if the times that a call gives make sense.
fn first(job: &Job, now: Timestamp) -> Result<Timestamp, CallError> {
    let usage = |message: &str, hint: &str| Err(CallError::new(Code::Usage, message).hint(hint.to_owned()));
    let (every, times) = (job.number("every_ms"), job.number("times"));
    if every.is_some_and(|every| !(MIN_EVERY_MS..=MAX_WAIT_MS).contains(&every)) {
        return usage("between two firings are 10 seconds to a year", "--every 1h");
    }
    if times == Some(0) || (times.is_some() && every.is_none()) {
        return usage("times says how often a timer fires that fires again", "--every 1h --times 3");
    }
    let due = match (job.text("at"), job.number("after_ms").or(every)) {
        (Some(at), _) => moment(at)?,
        (None, Some(wait)) => now.plus_millis(wait.min(MAX_WAIT_MS)),
        (None, None) => {
            return usage("when does it fire?", "--every 1h, --after 10m or --at 2030-01-02T03:04:05Z");
        }
    };
    if due < now || due.millis_since(now) > MAX_WAIT_MS {
        return usage("that moment has passed, or is more than a year away", "--after 10m");
    }
    Ok(due)
}

/// A moment as RFC 3339 has it, in UTC, to the second or the microsecond.
fn moment(text: &str) -> Result<Timestamp, CallError> {
    let whole = || -> Option<Timestamp> { format!("{}.000000Z", text.strip_suffix('Z')?).parse().ok() };
    text.parse().ok().or_else(whole).ok_or_else(|| {
        CallError::new(Code::Usage, format!("not a moment: {text:?}")).hint("in UTC: 2030-01-02T03:04:05Z")
    })
}

/// The call that a timer makes, and its arguments.
fn call_of(job: &Job) -> Result<(&'static str, Value), CallError> {
    let lineage = job.text("lineage").unwrap_or_default();
    match (job.text("agentfile"), job.text("text")) {
        (Some(agentfile), None) => {
            let mut args = Map::from_iter([
                ("name".to_owned(), json!(lineage)),
                ("agentfile".to_owned(), json!(agentfile)),
            ]);
            args.extend(job.text("task").map(|task| ("task".to_owned(), json!(task))));
            crate::spawn::check_agentfile(lineage, agentfile)?;
            Ok(("agent.spawn", Value::Object(args)))
        }
        (None, Some(text)) => {
            crate::work::short_text(job)?;
            Ok(("nudge", json!({ "lineage": lineage, "text": text })))
        }
        _ => Err(CallError::new(Code::Usage, "a timer spawns an agent or sends a message")
            .hint("give `agentfile`, or `text`")),
    }
}
