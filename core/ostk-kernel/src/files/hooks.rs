//! Hooks: clients that use their own tools ask before and report afterwards.
//!
//! Before: is it allowed, and has the client seen what it is about to change? After: what changed is its own. The
//! tools themselves run outside the kernel, so this is the kernel's word, not its grip.

use serde_json::{Value, json};

use super::{Looked, decide};
use crate::{
    act::{Awaited, Seen},
    call::{CallError, Code},
    event::Event,
    kernel::{Job, Kernel},
};

impl Kernel {
    pub(super) fn finish_hook_before(&mut self, job: Job, looked: &Looked) {
        let result = self.hook_before(&job, looked);
        self.record_tool(&job);
        if result.is_ok() && job.text("access") == Some("read") {
            // The client shows the file to its model: remember which version that was.
            self.remember_seen(&job, looked, None);
        }
        self.finish(job, result, None);
    }

    /// A client's tool that touches no file of the project leaves a record of its own, with its arguments.
    fn record_tool(&mut self, job: &Job) {
        let other = matches!(job.text("access"), Some("fetch" | "tool"));
        if let Some(request) = job.requests.first().filter(|_| other).cloned() {
            let facts = [("tool".to_owned(), json!(job.text("tool").unwrap_or_default()))];
            let (verb, key) = (request.call.clone(), job.key.clone());
            let event = Event::CallReceipt { verb, facts: facts.into(), key, request: Box::new(request) };
            self.record_with(&job.caller, &event, Vec::new(), Awaited::Written);
        }
    }

    /// The client's own tool has written: the change was noted as its own; now it knows what is there.
    pub(super) fn finish_hook_after(&mut self, job: Job, looked: &Looked, changed: &[String]) {
        self.remember_seen(&job, looked, Some(changed));
        let after = Some(self.state.next_seq);
        self.finish(job, Ok(json!({ "changed": changed })), after);
    }

    /// The caller was shown these files, or its tool `changed` some of them: then it knows as much of each as before.
    fn remember_seen(&mut self, job: &Job, looked: &Looked, changed: Option<&[String]>) {
        for (path, seen) in &looked.files {
            if let Ok(Some(content)) = decide::content_of(path, seen) {
                let partial =
                    changed.is_some_and(|changed| !self.knew_before(job, path, changed.contains(path)));
                self.note_read(job, path, &content, changed.is_some(), partial);
            }
        }
    }

    /// Whether the caller had seen the whole of the file before its tool changed it, or made it.
    fn knew_before(&self, job: &Job, path: &str, changed: bool) -> bool {
        let history = self.state.files.get(path).map(|entry| entry.history.as_slice()).unwrap_or_default();
        let before = history.iter().rev().nth(usize::from(changed)).and_then(|version| version.image);
        before.is_none_or(|image| {
            self.last_read(job, path).is_some_and(|read| read.whole && read.blob == image.blob)
        })
    }

    fn hook_before(&self, job: &Job, looked: &Looked) -> Result<Value, CallError> {
        let access = job.text("access").unwrap_or_default();
        for (path, seen) in &looked.files {
            let Seen::File { hash, .. } = seen else { continue };
            match (access, self.last_read(job, path)) {
                ("edit" | "write", Some(read)) if read.blob != *hash => {
                    let entry = self.state.files.get(path);
                    let writer =
                        entry.and_then(|entry| entry.history.last()).map_or("?", |last| &last.writer);
                    let message = format!("{path} was changed by {writer} since you read it");
                    return Err(CallError::new(Code::Conflict, message)
                        .hint(format!("read {path} again, then repeat the change")));
                }
                ("write", None) => {
                    let message = format!("{path} exists and you have not read it");
                    return Err(CallError::new(Code::Unread, message).hint(format!("read {path} first")));
                }
                ("write", Some(read)) if !read.whole => {
                    let message = format!("{path} exists and you have read only some lines of it");
                    return Err(
                        CallError::new(Code::Unread, message).hint(format!("read the whole of {path} first"))
                    );
                }
                _ => {}
            }
        }
        Ok(json!({ "ok": true }))
    }
}
