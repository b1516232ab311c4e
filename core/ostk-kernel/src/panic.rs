//! The kernel's panic: everything that is not a person stands still until a person lets it go on.
//!
//! It is a record, so it holds over restarts. Nothing is lost by it: calls of agents are held, their commands stopped,
//! and model calls under way are recorded when they come and start nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    act::ProcessSignal,
    call::{CallError, Code},
    event::Event,
    kernel::{Job, Kernel},
    limits,
    state::LineageState,
};

/// Why everything stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// Its record.
    pub seq: u64,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Kernel {
    /// `kernel.panic` and `kernel.resume`.
    pub(crate) fn panic_or_resume(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        if job.caller.process().is_some() {
            let (verb, class) = (job.syscall.name, job.syscall.class);
            let rule = "only a person holds and releases the whole system";
            let (error, after) = self.refuse_by(&job.caller, verb, class, ostk_policy::Resource::None, rule);
            return (Err(error), after);
        }
        let reason = limits::clip(job.text("reason").unwrap_or_default());
        match (job.syscall.name, &self.state.panic) {
            ("kernel.panic", None) => {
                self.record(&job.caller, &Event::KernelPanicked { reason, key: job.key.clone() });
                self.everybody(|kernel, name| kernel.halt(name, ProcessSignal::Stop));
            }
            ("kernel.resume", Some(_)) => {
                self.record(&job.caller, &Event::KernelResumed { key: job.key.clone() });
                self.everybody(Self::go_on_unless_stopped);
                self.release_held();
            }
            (_, Some(panic)) => {
                let message = format!("{} has stopped everything already: {}", panic.by, panic.reason);
                return (Err(CallError::new(Code::Conflict, message).hint("ostk resume")), None);
            }
            (_, None) => return (Err(CallError::new(Code::Conflict, "nothing is held")), None),
        }
        (Ok(json!({ "panic": self.state.panic })), Some(self.state.next_seq))
    }

    fn everybody(&mut self, mut each: impl FnMut(&mut Self, &str)) {
        for name in self.state.lineages.keys().cloned().collect::<Vec<_>>() {
            each(self, &name);
        }
    }

    fn go_on_unless_stopped(&mut self, name: &str) {
        if self.state.lineages.get(name).is_some_and(|known| known.state != LineageState::Stopped) {
            self.halt(name, ProcessSignal::Continue);
            self.drive(name);
        }
    }
}
