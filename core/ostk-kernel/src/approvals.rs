//! Approvals: a call that needs a person's consent waits for it, and goes on, or not, when a person has answered.
//!
//! A question is a record that holds the inputs of the verdict and the digest of the whole call, so that what runs after
//! the answer is what was asked about. The answer is a record too: by whom, for once or for the rest of the session.
//! A consent for once is used up by one call. Nobody's answer by the deadline is a refusal. Questions outlive the daemon:
//! a caller that repeats its call meets the question, or the answer, again. Which calls need consent the gate says.

use ostk_log::{Hash, Timestamp};
use ostk_policy::{Request, Resource, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Stage},
    limits,
    queue::JobId,
};

/// How long a question waits for an answer.
const PATIENCE_MS: u64 = 300_000;
/// Questions and answers that the fold keeps; the oldest that are not open go first.
pub(crate) const MAX_APPROVALS: usize = 1_024;
/// Open questions at once; beyond it a call that needs consent is refused.
const MAX_OPEN: usize = 256;

/// How far a consent reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One call.
    Once,
    /// Every such call on the same resource, with no more labels, until the session ends.
    Session,
}

/// A question and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who asks.
    pub lineage: String,
    /// Its session then.
    pub session: u64,
    /// The inputs of the verdict.
    pub request: Request,
    /// SHA-256 of the whole call: lineage, name and arguments.
    pub call: Hash,
    /// Why consent is needed.
    pub reason: String,
    /// When the question was put.
    pub since: Timestamp,
    /// When it lapses.
    pub until: Timestamp,
    /// The answer.
    pub answer: Option<Answer>,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The record of the answer.
    pub seq: u64,
    /// Whether the call may go on.
    pub granted: bool,
    /// How far a consent reaches.
    pub scope: Scope,
    /// The actor who answered; the kernel, when the question lapsed.
    pub by: String,
    /// A consent for once was used.
    pub used: bool,
}

/// What a consent covers of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    /// All that it touches: it was asked about as a whole.
    Whole,
    /// Only this part: the consent is for the resource.
    Part,
}

impl Approval {
    /// Whether its consent covers a call. Data that took a label since then is other data than was consented to.
    fn covers(&self, asker: &Asker<'_>) -> Option<Cover> {
        let (asked, request) = (&self.request, asker.request);
        let answer = self.answer.as_ref().filter(|answer| answer.granted && self.lineage == asker.lineage)?;
        if !request.labels.iter().all(|label| asked.labels.contains(label)) {
            return None;
        }
        let whole = (self.call == asker.call).then_some(Cover::Whole);
        // The name of a tool does not say whom it reaches: its arguments do.
        let tool = matches!(request.resource, Resource::Tool(_));
        let part = asked.call == request.call
            && asked.resource == request.resource
            && (!tool || asked.args == request.args);
        match answer.scope {
            Scope::Once => whole.filter(|_| !answer.used),
            Scope::Session if self.session != asker.session => None,
            Scope::Session => whole.or(part.then_some(Cover::Part)),
        }
    }
}

/// A call that needs consent.
struct Asker<'a> {
    lineage: &'a str,
    session: u64,
    request: &'a Request,
    call: Hash,
}

/// What the gate's word makes of a call that may not simply go on.
#[derive(Debug)]
pub(crate) enum Turned {
    /// It is refused; so many records must be durable before its caller hears of it.
    Away(Box<CallError>, Option<u64>),
    /// It waits for the answer to this question.
    Waiting(u64),
}

impl Kernel {
    /// A call that needs consent: it was given, or the call waits.
    pub(crate) fn ask(
        &mut self,
        job: &mut Job,
        request: Request,
        verdict: &Verdict,
    ) -> Result<Request, Turned> {
        if let Some(seq) = job.approved {
            return Ok(Request { approved: Some(seq), ..request });
        }
        let lineage = job.caller.lineage().to_owned();
        let session = self.state.lineages.get(&lineage).map_or(0, |known| known.generation);
        let call = digest(&lineage, job.syscall.name, &job.args);
        let asker = Asker { lineage: &lineage, session, request: &request, call };
        let covering = |(id, approval): (&u64, &Approval)| {
            Some((*id, approval.answer.clone()?, approval.covers(&asker)?))
        };
        if let Some((id, answer, cover)) = self.state.approvals.iter().rev().find_map(covering) {
            if answer.scope == Scope::Once {
                self.record(&job.caller, &Event::ApprovalUsed { approval: id });
            }
            job.approved = (cover == Cover::Whole).then_some(answer.seq);
            return Ok(Request { approved: Some(answer.seq), ..request });
        }
        let open = |approval: &Approval| approval.answer.is_none();
        let same =
            |approval: &Approval| open(approval) && approval.call == call && approval.lineage == lineage;
        if let Some((id, _)) = self.state.approvals.iter().find(|(_, approval)| same(approval)) {
            return Err(Turned::Waiting(*id));
        }
        if self.state.approvals.values().filter(|approval| open(approval)).count() >= MAX_OPEN {
            let error =
                CallError::new(Code::Busy, format!("{MAX_OPEN} questions wait for an answer already"));
            return Err(Turned::Away(Box::new(error.hint("ostk approvals list")), None));
        }
        let event = Event::ApprovalRequested {
            request: Box::new(request),
            call,
            until: self.now.plus_millis(PATIENCE_MS),
            rules: verdict.rules.iter().map(ToString::to_string).collect(),
            reason: format!("{}{}", verdict.reason, all_of(&job.args)),
        };
        if let Err(error) = limits::check_record(&event) {
            return Err(Turned::Away(Box::new(error), None));
        }
        Err(Turned::Waiting(self.record(&job.caller, &event)))
    }

    /// Ends a call, or lets it wait for a person.
    pub(crate) fn turn(&mut self, mut job: Job, turned: Turned) {
        match turned {
            Turned::Away(error, after) => self.finish(job, Err(*error), after),
            Turned::Waiting(approval) => {
                job.stage = Stage::Asking(approval);
                self.jobs.insert(job.id, job);
            }
        }
    }

    /// The calls `approval.grant` and `approval.deny`.
    pub(crate) fn answer_approval(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let Some(id) = job.number("id") else {
            return (Err(CallError::new(Code::Usage, "which question?").hint("ostk approvals list")), None);
        };
        let granted = job.syscall.name == "approval.grant";
        let scope = if job.text("scope") == Some("session") { Scope::Session } else { Scope::Once };
        let problem = match self.state.approvals.get(&id) {
            None => Some(CallError::new(Code::NotFound, format!("there is no question {id}"))),
            Some(Approval { answer: Some(answer), .. }) => {
                let word = if answer.granted { "granted" } else { "denied" };
                Some(CallError::new(
                    Code::Conflict,
                    format!("question {id} was {word} by {} already", answer.by),
                ))
            }
            Some(_) => None,
        };
        if let Some(error) = problem {
            return (Err(error.hint("ostk approvals list")), None);
        }
        let reason = job.text("reason").map(str::to_owned);
        let event = Event::ApprovalAnswered { approval: id, granted, scope, reason, key: job.key.clone() };
        let seq = self.record(&job.caller, &event);
        self.go_on(id);
        (Ok(json!({ "id": id, "granted": granted, "scope": scope, "seq": seq })), Some(seq + 1))
    }

    /// Lets the calls that waited for an answer go on or ends them.
    fn go_on(&mut self, id: u64) {
        let waits = |job: &Job| matches!(job.stage, Stage::Asking(asked) if asked == id);
        let waiting: Vec<JobId> = self.jobs.values().filter(|job| waits(job)).map(|job| job.id).collect();
        for job in waiting {
            let Some(mut job) = self.jobs.remove(&job) else { continue };
            let answer = self.state.approvals.get(&id).and_then(|approval| approval.answer.clone());
            if answer.as_ref().is_some_and(|answer| answer.granted) {
                // The gate is asked again: a rule that came meanwhile holds, and the consent is found.
                job.stage = Stage::New;
                job.requests.clear();
                self.admit(job);
            } else {
                let error = refused(id, answer.as_ref().map_or("nobody", |answer| &answer.by));
                let after = Some(self.state.next_seq);
                self.finish(job, Err(error), after);
            }
        }
    }

    /// Nobody answered in time: that is a refusal.
    pub(crate) fn expire_approvals(&mut self) {
        let lapsed = |approval: &Approval| approval.answer.is_none() && approval.until <= self.now;
        let lapsed = self.state.approvals.iter().filter(|(_, approval)| lapsed(approval));
        for id in lapsed.map(|(id, _)| *id).collect::<Vec<_>>() {
            let reason = Some("nobody answered in time".to_owned());
            let event = Event::ApprovalAnswered {
                approval: id,
                granted: false,
                scope: Scope::Once,
                reason,
                key: None,
            };
            self.record(&Caller::Kernel, &event);
            self.go_on(id);
        }
    }

    /// The oldest question of a lineage that waits for an answer.
    pub(crate) fn open_question(&self, lineage: &str) -> Option<u64> {
        let asks = |approval: &Approval| approval.answer.is_none() && approval.lineage == lineage;
        self.state.approvals.iter().find(|(_, approval)| asks(approval)).map(|(id, _)| *id)
    }

    /// When the next question lapses.
    pub(crate) fn next_lapse(&self) -> impl Iterator<Item = Timestamp> {
        let open = self.state.approvals.values().filter(|approval| approval.answer.is_none());
        open.map(|approval| approval.until)
    }

    /// The call `approval.list`: open questions, or all that are kept.
    pub(crate) fn approvals(&self, all: bool) -> Value {
        let shown = self.state.approvals.iter().filter(|(_, approval)| all || approval.answer.is_none());
        let row = |(id, approval): (&u64, &Approval)| {
            json!({ "id": id, "lineage": approval.lineage, "call": approval.request.call,
                "resource": approval.request.resource, "reason": approval.reason, "digest": approval.call,
                "since": approval.since, "until": approval.until, "answer": approval.answer })
        };
        json!({ "approvals": shown.map(row).collect::<Vec<_>>() })
    }
}

/// The paths of a call that touches several: consent to it is consent to all of them.
fn all_of(args: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let ops = args.get("ops").and_then(Value::as_array).into_iter().flatten();
    let mut paths: Vec<String> = ops.filter_map(|op| text(op, "path")).collect();
    paths.extend(text(args, "from").into_iter().chain(text(args, "to")));
    match paths.len() {
        0 | 1 => String::new(),
        _ => limits::clip(&format!("; the call touches {}", paths.join(", "))),
    }
}

fn refused(id: u64, by: &str) -> CallError {
    let message = match by {
        "kernel" => format!("no person answered question {id} in time, so the call is refused"),
        by => format!("{by} refused the call (question {id})"),
    };
    CallError::new(Code::Denied, message)
        .data(json!({ "approval": id }))
        .hint("do it another way, or ask why: nudge")
}

/// What a caller is told whose own deadline comes before the answer.
pub(crate) fn still_waiting(id: u64) -> CallError {
    CallError::new(
        Code::Denied,
        format!("the call waits for a person's consent (question {id}); nothing was done"),
    )
    .data(json!({ "approval": id }))
    .hint(format!("repeat the call when it was granted: ostk approvals grant {id}"))
}

/// SHA-256 over lineage, name and arguments in one order of members.
fn digest(lineage: &str, call: &str, args: &Value) -> Hash {
    let text = json!([lineage, call, ordered(args)]).to_string();
    Hash::of(text.as_bytes())
}

/// The value with the members of every object as a list of pairs, in the order of their names.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut pairs: Vec<(&String, Value)> =
                members.iter().map(|(name, value)| (name, ordered(value))).collect();
            pairs.sort_by_key(|(name, _)| *name);
            json!(pairs)
        }
        Value::Array(values) => values.iter().map(ordered).collect(),
        other => other.clone(),
    }
}
