//! The system calls on pipes: make, write, read, close, list; and who waits for whom.
//!
//! Whoever waits is served in the order of asking, at each end for itself: a small message does not overtake a large one
//! that waits for room. A wait ends with its deadline and changes nothing then. People use pipes too, but hold no end.

use ostk_log::{Hash, Timestamp};
use ostk_policy::Resource;
use serde_json::{Map, Value, json};

use super::{End, Pipe};
use crate::{
    act::{Awaited, Op, Outcome},
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Stage},
    shell::blob,
    state::LineageState,
    work::check_name,
};

/// Pipes at once.
const MAX_PIPES: usize = 256;
/// Messages that a pipe holds unless its maker says otherwise, and at most.
const MESSAGES: (u64, u64) = (100, 1_000);
/// Bytes that a pipe holds unless its maker says otherwise, and at most.
const BYTES: (u64, u64) = (10 << 20, 64 << 20);
/// The largest message: one is held in memory while it is handed over. Larger things are files.
const MAX_MESSAGE: u64 = 1 << 20;
/// How long a call waits unless it says otherwise, and at most.
const WAIT_MS: (u64, u64) = (30_000, 3_600_000);
/// How long the end of a client that a restart cut off waits for it to come back.
const LOST_MS: u64 = 60_000;

/// The actions of the tool `pipe` and their calls.
pub(crate) const ACTIONS: [(&str, &str); 5] = [
    ("make", "pipe.make"),
    ("write", "pipe.write"),
    ("read", "pipe.read"),
    ("close", "pipe.close"),
    ("list", "pipe.list"),
];

/// Where a call on a pipe stands.
#[derive(Debug)]
pub(crate) enum PipeStage {
    /// It waits for a message or for room.
    Waiting(End),
    /// Its message is recorded as delivered and is being loaded.
    Loading { message: u64, from: String, text_blob: Hash },
}

/// The system call that an action of the tool `pipe` makes.
pub(crate) fn pipe_call(args: &mut Map<String, Value>) -> Result<&'static str, CallError> {
    let action =
        args.remove("action").and_then(|action| action.as_str().map(str::to_owned)).unwrap_or_default();
    let found = ACTIONS.iter().find(|(word, _)| *word == action).map(|(_, call)| *call);
    found.ok_or_else(|| {
        CallError::new(Code::Usage, format!("pipe: no action {action:?}"))
            .hint("make, write, read, close or list")
    })
}

impl Kernel {
    pub(crate) fn start_pipe(&mut self, mut job: Job) {
        let name = job.text("pipe").unwrap_or_default().to_owned();
        let resource = if name.is_empty() { Resource::None } else { Resource::Tool(format!("pipe:{name}")) };
        let (verb, class) = (job.syscall.name, job.syscall.class);
        if let Err(turned) = self.pass(&mut job, verb, class, resource) {
            return self.turn(job, turned);
        }
        let result = match verb {
            "pipe.make" => self.make_pipe(&job, &name),
            "pipe.close" => self.close_pipe(&job, &name),
            "pipe.list" => Ok(json!({ "pipes": self.pipes() })),
            "pipe.write" => match self.check_message(&job, &name) {
                Ok(()) => return self.wait_at(job, &name, End::Write),
                Err(error) => Err(error),
            },
            _ => match self.pipe(&name) {
                Ok(_) => return self.wait_at(job, &name, End::Read),
                Err(error) => Err(error),
            },
        };
        let after = (verb != "pipe.list").then_some(self.state.next_seq);
        self.finish(job, result, after);
        self.pump(&name);
    }

    fn pipe(&self, name: &str) -> Result<&Pipe, CallError> {
        self.state.pipes.get(name).ok_or_else(|| {
            CallError::new(Code::NotFound, format!("there is no pipe {name:?}")).hint("make it: pipe.make")
        })
    }

    fn make_pipe(&mut self, job: &Job, name: &str) -> Result<Value, CallError> {
        check_name(name)?;
        if let Some(pipe) = self.state.pipes.get(name) {
            let message = format!("{} has made a pipe {name:?} already", pipe.made_by);
            return Err(CallError::new(Code::Conflict, message).hint("use it, or choose another name"));
        }
        if self.state.pipes.len() >= MAX_PIPES {
            let error = CallError::new(Code::Busy, format!("{MAX_PIPES} pipes are open"));
            return Err(error.hint("close one that nobody needs: ostk pipe list"));
        }
        let messages = job.number("messages").unwrap_or(MESSAGES.0).clamp(1, MESSAGES.1);
        let bytes = job.number("bytes").unwrap_or(BYTES.0).clamp(1, BYTES.1);
        let event = Event::PipeMade { pipe: name.to_owned(), messages, bytes, key: job.key.clone() };
        self.record(&job.caller, &event);
        Ok(json!({ "pipe": name, "messages": messages, "bytes": bytes }))
    }

    fn check_message(&self, job: &Job, name: &str) -> Result<(), CallError> {
        let most = self.pipe(name)?.bytes.min(MAX_MESSAGE);
        if job.text("text").unwrap_or_default().len() as u64 > most {
            let error =
                CallError::new(Code::TooLarge, format!("a message of this pipe has {most} bytes at most"));
            return Err(error.hint("write it to a file and send its name"));
        }
        Ok(())
    }

    /// Takes its place at an end; it may be served at once.
    fn wait_at(&mut self, mut job: Job, name: &str, end: End) {
        self.open_end(&job.caller, name, end);
        let wait = job.number("timeout_ms").unwrap_or(WAIT_MS.0).min(WAIT_MS.1);
        job.deadline = job.deadline.min(self.now.plus_millis(wait));
        job.stage = Stage::Pipe(PipeStage::Waiting(end));
        let id = job.id;
        self.jobs.insert(id, job);
        self.pump(name);
        if wait == 0 {
            self.cancel(
                |job| job.id == id && job.may_expire(),
                |_| CallError::new(Code::Deadline, "neither a message nor room now").hint("wait: timeout_ms"),
            );
        }
    }

    fn open_end(&mut self, caller: &Caller, name: &str, end: End) {
        let Some(pipe) = self.state.pipes.get(name) else { return };
        // Where everybody has gone, nobody comes: what is written now would be read by nobody, and what is read is over.
        let (own, other) = match end {
            End::Read => (&pipe.readers, &pipe.writers),
            End::Write => (&pipe.writers, &pipe.readers),
        };
        let is_over = other.are_gone() && (end == End::Write || pipe.queue.is_empty());
        if caller.process().is_some() && !is_over && !own.open.contains(caller.lineage()) {
            let event = Event::PipeOpened { pipe: name.to_owned(), end };
            self.record_with(caller, &event, Vec::new(), Awaited::Nothing);
        }
    }

    /// Serves whoever waits at a pipe, as far as it goes.
    fn pump(&mut self, name: &str) {
        while self.serve(name) {}
    }

    pub(crate) fn pump_pipes(&mut self) {
        let waiting =
            self.jobs.values().filter(|job| matches!(job.stage, Stage::Pipe(PipeStage::Waiting(_))));
        let names: std::collections::BTreeSet<String> =
            waiting.filter_map(|job| job.text("pipe").map(str::to_owned)).collect();
        for name in names {
            self.pump(&name);
        }
    }

    /// Serves one call; returns whether there was one to serve.
    fn serve(&mut self, name: &str) -> bool {
        let reader = self.first_at(name, End::Read);
        let writer = self.first_at(name, End::Write);
        let size = |id: u64| self.jobs.get(&id).and_then(|job| job.text("text")).map_or(0, str::len) as u64;
        let pipe = self.state.pipes.get(name);
        let chosen = match (pipe, reader, writer) {
            (Some(pipe), Some(id), _) if !pipe.queue.is_empty() => Some((id, End::Read, false)),
            (Some(pipe), _, Some(id)) if pipe.readers.are_gone() => Some((id, End::Write, true)),
            (Some(pipe), _, Some(id)) if pipe.fits(size(id)) => Some((id, End::Write, false)),
            (Some(pipe), Some(id), _) if pipe.writers.are_gone() => Some((id, End::Read, true)),
            (None, Some(id), _) => Some((id, End::Read, true)),
            (None, None, Some(id)) => Some((id, End::Write, true)),
            _ => None,
        };
        let Some((id, end, over)) = chosen else { return false };
        let Some(job) = self.jobs.remove(&id) else { return false };
        match (end, over) {
            (End::Read, false) => self.hand_message(job, name),
            (End::Write, false) => self.take_message(job, name),
            (End::Read, true) => {
                let result = json!({ "pipe": name, "end": true });
                self.finish(job, Ok(result), Some(self.state.next_seq));
            }
            (End::Write, true) => {
                let error =
                    CallError::new(Code::Failed, format!("broken pipe: nobody reads {name} any more"));
                let error =
                    error.data(json!({ "broken": true })).hint("ostk pipe list says who holds which end");
                self.finish(job, Err(error), Some(self.state.next_seq));
            }
        }
        true
    }

    /// Who waits longest at an end, of those that may go on.
    fn first_at(&self, name: &str, end: End) -> Option<u64> {
        let waits = |job: &&Job| matches!(job.stage, Stage::Pipe(PipeStage::Waiting(at)) if at == end);
        let mut waiting = self.jobs.values().filter(waits).filter(|job| job.text("pipe") == Some(name));
        waiting.find(|job| self.goes_on(&job.caller)).map(|job| job.id)
    }

    fn goes_on(&self, caller: &Caller) -> bool {
        caller.process().is_none_or(|name| {
            let state = self.state.lineages.get(name).map(|known| known.state);
            self.state.panic.is_none() && state == Some(LineageState::Running)
        })
    }

    fn take_message(&mut self, job: Job, name: &str) {
        let text = job.text("text").unwrap_or_default().to_owned();
        let (text_blob, bytes) = blob(text.as_bytes());
        let (size, key) = (text.len() as u64, job.key.clone());
        let event = Event::PipeWritten { pipe: name.to_owned(), text_blob, bytes: size, key };
        let seq = self.record_with(&job.caller, &event, vec![(text_blob, bytes)], Awaited::Durable);
        self.finish(job, Ok(json!({ "pipe": name, "message": seq })), Some(seq + 1));
    }

    fn hand_message(&mut self, mut job: Job, name: &str) {
        let Some(first) = self.state.pipes.get(name).and_then(|pipe| pipe.queue.front()).cloned() else {
            return;
        };
        let (to, key) = (job.caller.lineage().to_owned(), job.key.clone());
        let event = Event::PipeDelivered { pipe: name.to_owned(), message: first.seq, to, key };
        let seq = self.record(&job.caller, &event);
        let text_blob = first.text_blob;
        job.stage = Stage::Pipe(PipeStage::Loading { message: first.seq, from: first.from, text_blob });
        self.run_for(job, Op::Observe { paths: Vec::new(), blobs: vec![text_blob] }, Some(seq + 1));
    }

    pub(crate) fn resume_pipe(&mut self, mut job: Job, outcome: Outcome) {
        let stage = std::mem::replace(&mut job.stage, Stage::New);
        let result = match (stage, outcome) {
            (
                Stage::Pipe(PipeStage::Loading { message, from, text_blob }),
                Outcome::Observed { blobs, .. },
            ) => {
                let text = blobs.get(&text_blob).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                text.map(|text| json!({ "pipe": job.text("pipe"), "message": message, "from": from, "text": text }))
                    .ok_or_else(|| CallError::new(Code::Failed, "the text of the message is not in the packs"))
            }
            _ => Err(CallError::new(Code::Failed, "bug: unexpected outcome of a pipe")),
        };
        let after = Some(self.state.next_seq);
        self.finish(job, result, after);
    }

    fn close_pipe(&mut self, job: &Job, name: &str) -> Result<Value, CallError> {
        let pipe = self.pipe(name)?;
        let own = job.caller.lineage().to_owned();
        let holds = |end: End| match end {
            End::Read => pipe.readers.open.contains(&own),
            End::Write => pipe.writers.open.contains(&own),
        };
        let (may, dropped) = (self.may_close(&job.caller, pipe), pipe.queue.len());
        let ends: Vec<End> = match job.text("end") {
            Some("read") => vec![End::Read],
            Some("write") => vec![End::Write],
            None => vec![End::Read, End::Write],
            Some("all") if may => {
                let event = Event::PipeClosed {
                    pipe: name.to_owned(),
                    end: None,
                    lineage: None,
                    key: job.key.clone(),
                };
                self.record(&job.caller, &event);
                return Ok(json!({ "pipe": name, "dropped": dropped }));
            }
            Some("all") => {
                let message =
                    format!("{} made the pipe {name}: its maker or a person closes it", pipe.made_by);
                return Err(CallError::new(Code::Denied, message).hint("close your own end: read or write"));
            }
            Some(other) => {
                let error = CallError::new(Code::Usage, format!("a pipe has no end {other:?}"));
                return Err(error.hint("read, write or all"));
            }
        };
        let held: Vec<End> = ends.into_iter().filter(|end| holds(*end)).collect();
        if held.is_empty() {
            let error = CallError::new(Code::NotFound, format!("you hold no such end of the pipe {name}"));
            return Err(error.hint("ostk pipe list; end `all` closes the whole pipe"));
        }
        let mut key = job.key.clone();
        for end in held {
            // The first record may have been the last that the pipe needed.
            if self.state.pipes.contains_key(name) {
                let (lineage, key) = (Some(own.clone()), key.take());
                let event = Event::PipeClosed { pipe: name.to_owned(), end: Some(end), lineage, key };
                self.record(&job.caller, &event);
            }
        }
        Ok(json!({ "pipe": name, "dropped": 0 }))
    }

    fn may_close(&self, caller: &Caller, pipe: &Pipe) -> bool {
        matches!(caller, Caller::Human(_) | Caller::Kernel) || caller.actor() == pipe.made_by
    }

    fn pipes(&self) -> Vec<Value> {
        let row = |(name, pipe): (&String, &Pipe)| {
            let (gone, deaf) = (pipe.writers.are_gone(), pipe.readers.are_gone());
            let state = match (gone, deaf) {
                (_, true) => "broken",
                (true, false) => "ending",
                _ if pipe.queue.is_empty() => "empty",
                _ if pipe.fits(0) => "flowing",
                _ => "full",
            };
            json!({ "pipe": name, "state": state, "waiting": pipe.queue.len(), "waiting_bytes": pipe.held(),
                "messages": pipe.messages, "bytes": pipe.bytes, "writers": pipe.writers.open,
                "readers": pipe.readers.open, "written": pipe.written, "delivered": pipe.delivered,
                "made_by": pipe.made_by })
        };
        self.state.pipes.iter().map(row).collect()
    }

    /// When the ends of clients that did not come back after a restart are let go.
    pub(crate) fn mind_lost_ends(&mut self) {
        let lost = !self.lost_ends().is_empty();
        self.lost_ends_at = lost.then(|| self.now.plus_millis(LOST_MS));
    }

    fn lost_ends(&self) -> Vec<(String, End, String)> {
        let ended = |name: &str| {
            self.state.lineages.get(name).is_none_or(|known| known.state == LineageState::Exited)
        };
        let mut lost = Vec::new();
        for (name, pipe) in &self.state.pipes {
            for (end, ends) in [(End::Read, &pipe.readers), (End::Write, &pipe.writers)] {
                let gone = ends.open.iter().filter(|holder| ended(holder));
                lost.extend(gone.map(|holder| (name.clone(), end, holder.clone())));
            }
        }
        lost
    }

    pub(crate) fn let_lost_ends_go(&mut self) {
        if self.lost_ends_at.is_none_or(|at: Timestamp| at > self.now) {
            return;
        }
        self.lost_ends_at = None;
        for (pipe, end, holder) in self.lost_ends() {
            if self.state.pipes.contains_key(&pipe) {
                let event = Event::PipeClosed { pipe, end: Some(end), lineage: Some(holder), key: None };
                self.record_with(&Caller::Kernel, &event, Vec::new(), Awaited::Written);
            }
        }
        self.pump_pipes();
    }
}
