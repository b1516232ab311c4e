//! The work system's calls: hay, needles, claims, decisions.
//!
//! What there is to do is on the board ([`ostk_work::Board`]), folded from records (`fold`). This module checks arguments
//! and answers what needs no more than that; `claims` gives work out and takes it back, `close` runs acceptance commands,
//! `arguments` reads what a call says, `rows` shows it.

mod arguments;
mod claims;
mod close;
mod fold;
mod rows;
mod tool;

use ostk_policy::Resource;
use ostk_work::{Links, NeedleId, Status, closes_a_circle, compile, compounds};
use serde_json::{Value, json};

use crate::{
    act::Awaited,
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel},
    limits,
};

pub(crate) use claims::DEFAULT_LEASE_MS;
pub(crate) use close::{Closing, is_part};
pub use rows::{decision_rows, hay_rows, needle_row};
pub(crate) use tool::{ACTIONS, work_call, work_text};

/// Needles in one answer, unless the caller asks for fewer or more.
const DEFAULT_ROWS: u64 = 200;
/// Most needles in one answer.
const MAX_ROWS: u64 = 10_000;
/// The first of a ranking.
const RANKED: u64 = 10;
/// Edges in one record: a pair takes about 30 bytes of the 60 KiB that fit.
const EDGES_PER_RECORD: usize = 1_000;

/// A result, and how many records must be durable before it is told.
type Answer = (Result<Value, CallError>, Option<u64>);

/// Whether a call is about work.
pub(crate) fn is_call(name: &str) -> bool {
    name.starts_with("work.") || matches!(name, "decide" | "decision.list" | "hay" | "hay.list")
}

impl Kernel {
    pub(crate) fn start_needles(&mut self, mut job: Job) {
        let (verb, class) = (job.syscall.name, job.syscall.class);
        if let Err(turned) = self.pass(&mut job, verb, class, Resource::None) {
            return self.turn(job, turned);
        }
        let (result, after) = match verb {
            "work.close" => return self.start_close(job),
            "hay" => self.file_hay(&job),
            "hay.list" => (Ok(json!({ "hay": hay_rows(&self.state.work) })), None),
            "decide" => self.decide(&job),
            "decision.list" => (Ok(json!({ "decisions": decision_rows(&self.state.work) })), None),
            "work.add" => self.add_needle(&job),
            "work.edit" => self.edit_needle(&job),
            "work.link" => self.link_needles(&job),
            "work.list" => (self.list_needles(&job), None),
            "work.show" => (self.show_needle(&job), None),
            "work.next" => self.next_needle(&job),
            "work.claim" => self.claim_needle(&job),
            "work.release" => self.release_needle(&job),
            "work.compile" => self.compile_work(&job),
            "work.compounds" => {
                let limit = bounded(&job, RANKED);
                (Ok(json!({ "compounds": compounds(&self.state.work, limit) })), None)
            }
            other => (Err(CallError::new(Code::Usage, format!("bug: {other} has no code"))), None),
        };
        if result.is_ok() {
            self.renew_claim(&job);
        }
        self.finish(job, result, after);
    }

    /// Records an event that fits, and answers with `facts` of it.
    fn record_work(
        &mut self,
        caller: &Caller,
        event: &Event,
        facts: impl FnOnce(&Self, u64) -> Value,
    ) -> Answer {
        if let Err(error) = limits::check_record(event) {
            return (Err(error), None);
        }
        let seq = self.record_with(caller, event, Vec::new(), Awaited::Durable);
        (Ok(facts(self, seq)), Some(self.state.next_seq))
    }

    fn file_hay(&mut self, job: &Job) -> Answer {
        match arguments::hay(job) {
            Ok(event) => self.record_work(&job.caller, &event, |_, seq| json!({ "straw": seq })),
            Err(error) => (Err(error), None),
        }
    }

    fn decide(&mut self, job: &Job) -> Answer {
        match arguments::decision(job) {
            Ok((event, name)) => {
                self.record_work(&job.caller, &event, |_, seq| json!({ "key": name, "seq": seq }))
            }
            Err(error) => (Err(error), None),
        }
    }

    fn add_needle(&mut self, job: &Job) -> Answer {
        match arguments::needle(&self.state.work, job) {
            Ok((event, id)) => self.record_work(
                &job.caller,
                &event,
                |kernel, _| json!({ "id": id, "needle": needle_row(&kernel.state.work, id) }),
            ),
            Err(error) => (Err(error), None),
        }
    }

    fn edit_needle(&mut self, job: &Job) -> Answer {
        let id = match self.own_needle(job) {
            Ok(id) => id,
            Err(error) => return (Err(error), None),
        };
        match arguments::change(job) {
            Ok(change) if change.status.is_some() && self.state.work.claims.contains_key(&id) => {
                let error = CallError::new(Code::Conflict, format!("{id} is in progress"));
                (Err(error.hint(format!("ostk work release {}", id.number()))), None)
            }
            Ok(change) => {
                let event = Event::NeedleChanged { id, change, key: job.key.clone() };
                self.record_work(
                    &job.caller,
                    &event,
                    |kernel, _| json!({ "id": id, "needle": needle_row(&kernel.state.work, id) }),
                )
            }
            Err(error) => (Err(error), None),
        }
    }

    fn link_needles(&mut self, job: &Job) -> Answer {
        match self.links(job) {
            Ok((id, links)) => {
                let event = Event::NeedleLinked { links, removed: job.flag("remove"), key: job.key.clone() };
                self.record_work(
                    &job.caller,
                    &event,
                    |kernel, _| json!({ "id": id, "needle": needle_row(&kernel.state.work, id) }),
                )
            }
            Err(error) => (Err(error), None),
        }
    }

    fn links(&self, job: &Job) -> Result<(NeedleId, Links), CallError> {
        let board = &self.state.work;
        let (id, other) = (arguments::id(board, job, "id")?, arguments::id(board, job, "other")?);
        if id == other {
            return Err(arguments::circle(id, other));
        }
        let (waiting, needed) = match job.text("kind").unwrap_or_default() {
            "depends_on" => (id, other),
            "blocks" => (other, id),
            "related" => {
                let related = vec![(id.min(other), id.max(other))];
                return Ok((id, Links { depends_on: Vec::new(), related }));
            }
            kind => {
                return Err(CallError::new(Code::Usage, format!("no such link: {kind:?}"))
                    .hint("depends_on, blocks or related"));
            }
        };
        if !job.flag("remove") && closes_a_circle(board, waiting, needed) {
            return Err(arguments::circle(waiting, needed));
        }
        Ok((id, Links { depends_on: vec![(waiting, needed)], related: Vec::new() }))
    }

    fn list_needles(&self, job: &Job) -> Result<Value, CallError> {
        let (board, filter) = (&self.state.work, arguments::Filter::of(job)?);
        let limit = bounded(job, DEFAULT_ROWS);
        let mut found: Vec<(NeedleId, &ostk_work::Needle)> = board
            .needles
            .iter()
            .map(|(id, needle)| (*id, needle))
            .filter(|(_, needle)| filter.fits(needle))
            .collect();
        found.sort_by_key(|(id, needle)| (needle.priority, *id));
        let more = found.len().saturating_sub(limit);
        let rows: Vec<Value> = found.into_iter().take(limit).map(|(id, _)| rows::line(board, id)).collect();
        Ok(json!({ "needles": rows, "more": more, "counts": rows::counts(board) }))
    }

    fn show_needle(&self, job: &Job) -> Result<Value, CallError> {
        let id = arguments::id(&self.state.work, job, "id")?;
        Ok(json!({ "needle": needle_row(&self.state.work, id) }))
    }

    /// The open needle that a call names, if its caller may touch it: somebody else's is his, but for people.
    fn own_needle(&self, job: &Job) -> Result<NeedleId, CallError> {
        let board = &self.state.work;
        let id = arguments::id(board, job, "id")?;
        if let Some(Status::Closed) = board.needles.get(&id).map(|needle| needle.status) {
            return Err(CallError::new(Code::Conflict, format!("{id} is closed")).hint(format!(
                "ostk work show {} says how; what is left is a needle of its own",
                id.number()
            )));
        }
        match board.claims.get(&id) {
            Some(claim)
                if claim.holder != job.caller.lineage() && !matches!(job.caller, Caller::Human(_)) =>
            {
                Err(claims::held(id, claim))
            }
            _ => Ok(id),
        }
    }

    /// `work.compile`: ties what the titles and references say, and tells what hangs together.
    fn compile_work(&mut self, job: &Job) -> Answer {
        let compiled = compile(&self.state.work);
        let result = json!({ "clusters": compiled.clusters, "edges": compiled.edges, "existing": compiled.existing,
            "circles": compiled.circles, "spheres": compiled.spheres, "candidates": compiled.candidates });
        if job.flag("dry_run") || compiled.edges.is_empty() {
            return (Ok(result), None);
        }
        for links in pieces(compiled.edges) {
            self.record(&job.caller, &Event::NeedleLinked { links, removed: false, key: None });
        }
        (Ok(result), Some(self.state.next_seq))
    }
}

/// Edges in pieces that fit into records.
fn pieces(edges: Links) -> Vec<Links> {
    let needs = edges.depends_on.chunks(EDGES_PER_RECORD);
    let needs = needs.map(|part| Links { depends_on: part.to_vec(), related: Vec::new() });
    let kin = edges.related.chunks(EDGES_PER_RECORD);
    needs.chain(kin.map(|part| Links { depends_on: Vec::new(), related: part.to_vec() })).collect()
}

fn bounded(job: &Job, default: u64) -> usize {
    let limit = job.number("limit").unwrap_or(default).min(MAX_ROWS);
    usize::try_from(limit).unwrap_or(usize::MAX)
}
