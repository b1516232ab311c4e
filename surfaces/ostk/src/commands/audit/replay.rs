//! `ostk audit replay-verdicts`: computes every verdict of the log again from its recorded inputs and compares it with
//! what happened: what has an effect or a receipt was allowed, a refusal was refused and a question was asked by the same
//! rules. Whether a consent that a verdict names was given `consents` says.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use libostk::{Hash, Record, Timestamp};
use ostk_blobs::BlobStore;
use ostk_kernel::Event;
use ostk_policy::{Documents, Effect, Policy, Request, Verdict};
use serde_json::{Value, json};

use super::{super::Done, consents::Consents};
use crate::{
    connect,
    failure::Failure,
    output::{Output, Paint},
    record,
};

/// A call is judged when it enters and recorded when its turn comes. One that entered just before a policy was loaded
/// may be recorded just after: for this long the verdict of the policy before counts as well.
const IN_FLIGHT_MS: u64 = 120_000;
/// Disagreements that are listed; all are counted.
const MAX_LISTED: usize = 1_000;
/// How a refusal says that the documents on disk did not parse, so that no policy was asked.
const MALFORMED: &str = "a governing document is malformed";

pub(crate) fn replay_verdicts(output: &Output) -> Done {
    let state_dir = connect::project()?.state_dir();
    let mut replay = Replay::new(&state_dir)?;
    for entry in libostk::records(&state_dir)? {
        replay.record(&record::parse(&entry?)?)?;
    }
    output.show(&replay.to_json(), |output| replay.human(output));
    Ok(if replay.disagreed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A policy and when it came into force.
struct InForce {
    policy: Policy,
    since: Timestamp,
}

struct Replay {
    blobs: Option<BlobStore>,
    now: Option<InForce>,
    before: Option<Policy>,
    consents: Consents,
    policies: u64,
    allowed: u64,
    denied: u64,
    asked: u64,
    in_flight: u64,
    boundary: u64,
    secret: u64,
    malformed: u64,
    disagreed: u64,
    listed: Vec<Value>,
}

impl Replay {
    fn new(state_dir: &Path) -> Result<Self, Failure> {
        let packs = state_dir.join("packs");
        let blobs = packs.is_dir().then(|| BlobStore::open_read_only(&packs)).transpose();
        Ok(Self {
            blobs: blobs.map_err(Failure::check)?,
            now: None,
            before: None,
            consents: Consents::default(),
            policies: 0,
            allowed: 0,
            denied: 0,
            asked: 0,
            in_flight: 0,
            boundary: 0,
            secret: 0,
            malformed: 0,
            disagreed: 0,
            listed: Vec::new(),
        })
    }

    fn record(&mut self, record: &Record) -> Result<(), Failure> {
        let event = event_of(record)?;
        self.consents.note(record.seq, &record.actor, &event);
        match event {
            Event::PolicyLoaded { fingerprint, documents_blob } => {
                self.load(record, fingerprint, documents_blob)?;
            }
            Event::GateDenied { request, effect, rules, reason } => {
                self.refused(record, &request, &effect, &rules, &reason);
            }
            Event::ApprovalRequested { request, rules, .. } => {
                self.compare(record, &request, "ask", &by_rules(Effect::Ask, &rules));
            }
            event => {
                let requests = requests(&event);
                if let Some(problem) = self.consents.problem(&record.actor, &requests) {
                    self.disagree(record, requests.first().copied(), "allow", json!(problem));
                    return Ok(());
                }
                for request in requests {
                    self.admitted(record, request);
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, record: &Record, fingerprint: Hash, documents: Hash) -> Result<(), Failure> {
        let wrong = |what: String| Failure::check(format!("record {}: {what}", record.seq));
        let blob = self.blobs.as_ref().map(|blobs| blobs.get(&documents)).transpose();
        let blob = blob.map_err(|error| wrong(error.to_string()))?.flatten();
        let text = blob.ok_or_else(|| wrong(format!("no pack holds the documents {documents}")))?;
        let documents: Documents = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let policy = Policy::load(&documents).map_err(|errors| wrong(errors.to_string()))?;
        if policy.fingerprint() != fingerprint {
            let hint = "the log was written by a version of ostk with other built-in rules; replay it with that version";
            let what = format!("the policy is {}, recorded was {fingerprint}", policy.fingerprint());
            return Err(wrong(what).hint(hint));
        }
        self.policies += 1;
        let old = self.now.replace(InForce { policy, since: record.ts });
        self.before = old.map(|old| old.policy);
        Ok(())
    }

    fn admitted(&mut self, record: &Record, request: &Request) {
        self.compare(record, request, "allow", &|verdict| verdict.effect == Effect::Allow);
    }

    fn refused(&mut self, record: &Record, request: &Request, effect: &str, rules: &[String], reason: &str) {
        if effect == "boundary" {
            self.boundary += 1;
            return;
        }
        if effect == "secret" {
            self.secret += 1;
            return;
        }
        // The documents that did not parse are not in the log, so this refusal cannot be computed again.
        if reason.contains(MALFORMED) {
            self.malformed += 1;
            return;
        }
        let wanted = if effect == "ask" { Effect::Ask } else { Effect::Deny };
        self.compare(record, request, effect, &by_rules(wanted, rules));
    }

    fn compare(
        &mut self,
        record: &Record,
        request: &Request,
        happened: &str,
        agrees: &dyn Fn(&Verdict) -> bool,
    ) {
        let verdict = self.now.as_ref().map(|now| now.policy.decide(request));
        if verdict.as_ref().is_some_and(agrees) {
            *match happened {
                "allow" => &mut self.allowed,
                "ask" => &mut self.asked,
                _ => &mut self.denied,
            } += 1;
        } else if self.was_in_flight(record, request, agrees) {
            self.in_flight += 1;
        } else {
            let computed = verdict.map_or(json!("no policy is loaded"), |verdict| json!(verdict));
            self.disagree(record, Some(request), happened, computed);
        }
    }

    fn was_in_flight(&self, record: &Record, request: &Request, agrees: &dyn Fn(&Verdict) -> bool) -> bool {
        let fresh = |now: &InForce| record.ts.millis_since(now.since) <= IN_FLIGHT_MS;
        let before = self.before.as_ref().filter(|_| self.now.as_ref().is_some_and(fresh));
        before.is_some_and(|before| agrees(&before.decide(request)))
    }

    fn disagree(&mut self, record: &Record, request: Option<&Request>, happened: &str, computed: Value) {
        self.disagreed += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(json!({ "seq": record.seq, "event": record.event, "actor": record.actor,
                "recorded": happened, "computed": computed, "request": request }));
        }
    }

    fn to_json(&self) -> Value {
        json!({ "ok": self.disagreed == 0, "policies": self.policies, "allowed": self.allowed, "denied": self.denied,
            "asked": self.asked, "in_flight": self.in_flight, "skipped": { "boundary": self.boundary, "secret": self.secret, "malformed_documents": self.malformed },
            "disagreed": self.disagreed, "disagreements": self.listed })
    }

    fn human(&self, output: &Output) -> String {
        let good = self.disagreed == 0;
        let mark = if good { output.paint(Paint::Green, "✓") } else { output.paint(Paint::Red, "✗") };
        let same = self.allowed + self.denied + self.asked + self.in_flight;
        let mut lines = vec![
            format!("{mark} {same} verdicts come out the same, {} do not", self.disagreed),
            format!(
                "  {} allowed, {} denied, {} asked, under {} policies",
                self.allowed, self.denied, self.asked, self.policies
            ),
        ];
        let notes = [
            (self.in_flight, "were judged by the policy before, which was replaced while they waited"),
            (self.boundary, "not computed: the path lies outside the workspace, no rule was asked"),
            (self.secret, "not computed: a call carried a secret or a file holds one, no rule was asked"),
            (self.malformed, "not computed: the documents on disk did not parse"),
        ];
        lines.extend(
            notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("  {count} {what}")),
        );
        let row = |row: &Value| {
            let computed = row["computed"]["effect"].as_str().or(row["computed"].as_str()).unwrap_or("?");
            format!(
                "  record {} {} {}: recorded {}, computed {computed}",
                row["seq"],
                plain(&row["actor"]),
                plain(&row["event"]),
                plain(&row["recorded"])
            )
        };
        lines.extend(self.listed.iter().map(row));
        lines.join("\n")
    }
}

/// Whether a verdict is this one, by the same rules.
fn by_rules(effect: Effect, rules: &[String]) -> impl Fn(&Verdict) -> bool {
    move |verdict| {
        let found: Vec<String> = verdict.rules.iter().map(ToString::to_string).collect();
        verdict.effect == effect && found == rules
    }
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn event_of(record: &Record) -> Result<Event, Failure> {
    let tagged: BTreeMap<&str, Value> =
        [("event", json!(record.event)), ("body", Value::Object(record.body.clone()))].into();
    serde_json::from_value(json!(tagged))
        .map_err(|error| Failure::check(format!("record {}: {}: {error}", record.seq, record.event)))
}

/// The inputs of the verdicts that admitted what an event records.
fn requests(event: &Event) -> Vec<&Request> {
    match event {
        Event::WriteIntent { requests, .. } => requests.iter().collect(),
        Event::FileRead { request, .. }
        | Event::FileMissing { request, .. }
        | Event::ShellIntent { request, .. }
        | Event::ProcessIntent { request, .. }
        | Event::SearchReceipt { request, .. }
        | Event::NetIntent { request, .. }
        | Event::RelayIntent { request, .. }
        | Event::CallReceipt { request, .. } => vec![request],
        _ => Vec::new(),
    }
}
