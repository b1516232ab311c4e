//! A kernel whose outside world is two maps: what a call costs when no disk, socket or scheduler is in between.
//!
//! Files, blobs and records are kept in memory and every operation ends at once. `call` times reads on it, `history`
//! takes the records that it leaves behind.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Result, anyhow};
use ostk_kernel::{Act, BlobBytes, Call, Caller, Config, Kernel, Op, Outcome, Placed, Seen, State};
use ostk_log::{Draft, Hash, Timestamp};
use ostk_policy::{Documents, Gate};
use serde_json::Value;

use crate::log::EPOCH;

/// The kernel and its world.
pub(crate) struct Memory {
    pub(crate) kernel: Kernel,
    pub(crate) files: BTreeMap<String, Seen>,
    blobs: BTreeMap<Hash, BlobBytes>,
    /// The records appended so far, each with the blobs that came with it.
    pub(crate) records: Vec<(Draft, Vec<(Hash, BlobBytes)>)>,
    calls: u64,
}

impl Memory {
    pub(crate) fn new() -> Result<Self> {
        let config = Config {
            version: "bench".to_owned(),
            epoch: 1,
            recovered: None,
            model_slots: 32,
            agent_slots: usize::MAX,
            allowance: ostk_kernel::Allowance::default(),
            within: None,
        };
        let documents = Documents::default();
        let gate = Gate::new(&documents)?;
        let kernel = Kernel::new(config, State::default(), gate);
        let (files, blobs) = (BTreeMap::new(), BTreeMap::new());
        let mut memory = Self { kernel, files, blobs, records: Vec::new(), calls: 0 };
        let acts = memory.kernel.boot(memory.now(), &documents);
        memory.carry_out(acts);
        Ok(memory)
    }

    pub(crate) fn put(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), seen(text.as_bytes().into(), false));
    }

    /// Makes a call and returns its result.
    pub(crate) fn call(&mut self, lineage: &str, verb: &str, args: Value) -> Result<Value> {
        self.calls += 1;
        let now = self.now();
        let call = Call {
            id: self.calls,
            caller: Caller::Agent(lineage.to_owned()),
            verb: verb.to_owned(),
            args,
            idempotency: None,
            deadline: now.plus_millis(60_000),
        };
        let acts = self.kernel.submit(now, call);
        let reply = self.carry_out(acts).ok_or_else(|| anyhow!("{verb} was not answered"))?;
        Ok(reply?)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(EPOCH + self.calls)
    }

    fn carry_out(&mut self, acts: Vec<Act>) -> Option<Result<Value, ostk_kernel::CallError>> {
        let (mut acts, mut reply) = (VecDeque::from(acts), None);
        while let Some(act) = acts.pop_front() {
            match act {
                Act::Append { draft, blobs, .. } => {
                    self.blobs.extend(blobs.iter().cloned());
                    self.records.push((draft, blobs));
                }
                Act::Run { id, op, .. } => {
                    let outcome = self.run(op);
                    acts.extend(self.kernel.complete(self.now(), id, outcome));
                }
                Act::Reply { result, .. } => reply = Some(result),
                Act::Abort { .. } | Act::Signal { .. } => {}
            }
        }
        reply
    }

    fn run(&mut self, op: Op) -> Outcome {
        match op {
            Op::Resolve { paths, .. } => Outcome::Resolved(paths.into_iter().map(Ok).collect()),
            Op::Observe { paths, blobs } => {
                let look = |path: String| {
                    let seen = self.files.get(&path).cloned().unwrap_or(Seen::Absent);
                    (path, seen)
                };
                let files = paths.into_iter().map(look).collect();
                let load = |hash: Hash| self.blobs.get(&hash).map(|bytes| (hash, bytes.clone()));
                Outcome::Observed { files, blobs: blobs.into_iter().filter_map(load).collect() }
            }
            Op::Place { steps } => {
                for step in steps {
                    match step.wanted {
                        Some((bytes, executable)) => self.files.insert(step.path, seen(bytes, executable)),
                        None => self.files.remove(&step.path),
                    };
                }
                Outcome::Placed(Placed::All)
            }
            // The calls that are measured need nothing else; the kernel answers them with an error.
            _ => Outcome::Scanned(Err("not in this world".to_owned())),
        }
    }
}

fn seen(bytes: BlobBytes, executable: bool) -> Seen {
    Seen::File { hash: Hash::of(&bytes), bytes, executable }
}
