//! What contained commands made and others would obey: it is in quarantine, the log says so, and its maker is told.
//!
//! The daemon looks after each command and, while one runs for long, from time to time (`quarantine.took`, a call that no
//! client may make). `quarantine.list` and `quarantine.restore` are operations of the host (`ops.rs`); agents have the
//! first only (`default.cedar`).

use serde_json::json;

use crate::{
    act::Awaited,
    event::Event,
    kernel::{Job, Kernel},
    limits,
};

impl Kernel {
    /// Records what was taken; whoever cannot see it in a command's output gets a message.
    pub(crate) fn quarantined(&mut self, job: Job) {
        let text = |name: &str| limits::clip(job.text(name).unwrap_or_default());
        let event = Event::QuarantineTaken {
            item: text("item"),
            path: job.text("path").unwrap_or_default().to_owned(),
            what: text("what"),
            kept: job.flag("kept"),
            problem: job.text("problem").map(limits::clip),
        };
        let seq = self.record_with(&job.caller, &event, Vec::new(), Awaited::Written);
        if let Some(message) = job.text("message").map(limits::clip) {
            self.tell(job.caller.lineage(), &message);
        }
        self.finish(job, Ok(json!({ "seq": seq })), None);
    }
}
