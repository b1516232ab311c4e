//! What leaves the machine in a process's name: connections to hosts, and requests to models through the relay.
//!
//! These calls are made by the daemon's own proxies for the process whose namespace a connection came from; no client may
//! make them ([`crate::Syscall::is_internal`]). A host is judged before its name is resolved, the address again before it is
//! dialled; the record is durable before anything is sent. What a connection brings in carries the label `network`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ostk_policy::{Argument, Class, Resource};
use serde_json::{Value, json};

use crate::{
    act::Awaited,
    budget::Charge,
    call::{CallError, Code},
    event::Event,
    kernel::{Job, Kernel},
    limits,
    shell::blob,
};

impl Kernel {
    pub(crate) fn start_network(&mut self, mut job: Job) {
        let text = |name: &str| job.text(name).unwrap_or_default().to_owned();
        let resource = match job.syscall.name {
            "net.resolve" | "net.connect" => Resource::Host(text("target")),
            "model.relay" => Resource::Model(text("model")),
            _ => return self.network_ended(job),
        };
        let (verb, class) = match job.syscall.class {
            Class::NetConnect => ("net.connect", Class::NetConnect),
            class => ("model.call", class),
        };
        let address =
            job.text("address").map(|address| ("address".to_owned(), Argument::Text(address.to_owned())));
        match self.pass_with(&mut job, verb, class, resource, address.into_iter().collect()) {
            Ok(request) => job.requests.push(request),
            Err(turned) => return self.turn(job, turned),
        }
        let (result, after) = match job.syscall.name {
            "net.resolve" => (Ok(json!({ "ok": true })), None),
            "net.connect" => self.connection(&job),
            _ => self.relayed_request(&job),
        };
        self.finish(job, result, after);
    }

    fn connection(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let Some(request) = job.requests.first().cloned() else { return (Err(no_request()), None) };
        let event = Event::NetIntent {
            target: job.text("target").unwrap_or_default().to_owned(),
            address: job.text("address").unwrap_or_default().to_owned(),
            request: Box::new(request),
        };
        self.intent(job, &event, Vec::new())
    }

    fn relayed_request(&mut self, job: &Job) -> (Result<Value, CallError>, Option<u64>) {
        let Some(request) = job.requests.first().cloned() else { return (Err(no_request()), None) };
        let text = |name: &str| job.text(name).unwrap_or_default().to_owned();
        let body = match STANDARD.decode(text("body")) {
            Ok(body) => body,
            Err(error) => return (Err(CallError::new(Code::Usage, format!("body: {error}"))), None),
        };
        let number = |name: &str| job.number(name).unwrap_or_default();
        let next = Charge::call(number("reserve_tokens"), number("reserve_micro_usd"));
        if let Err(error) = self.afford_relay(&text("model"), next, !job.flag("unpriced")) {
            return (Err(error), Some(self.state.next_seq));
        }
        let (body_blob, bytes) = blob(&body);
        let event = Event::RelayIntent {
            vendor: text("vendor"),
            model: text("model"),
            method: text("method"),
            path: text("path"),
            body_blob,
            reserved_tokens: next.tokens,
            reserved_micro_usd: next.micro_usd,
            request: Box::new(request),
        };
        self.intent(job, &event, vec![(body_blob, bytes)])
    }

    fn intent(
        &mut self,
        job: &Job,
        event: &Event,
        blobs: Vec<(ostk_log::Hash, crate::act::BlobBytes)>,
    ) -> (Result<Value, CallError>, Option<u64>) {
        if let Err(error) = limits::check_record(event) {
            return (Err(error), None);
        }
        let seq = self.record_with(&job.caller, event, blobs, Awaited::Durable);
        (Ok(json!({ "intent": seq })), Some(seq + 1))
    }

    /// A connection or a request is over. What it came to is recorded; nobody waits for the disk.
    fn network_ended(&mut self, job: Job) {
        let Some(intent) = job.number("intent") else {
            return self.finish(job, Err(CallError::new(Code::Usage, "which intent?")), None);
        };
        let number = |name: &str| job.number(name).unwrap_or_default();
        let problem = job.text("problem").map(limits::clip);
        let mut blobs = Vec::new();
        let event = match job.syscall.name {
            "net.closed" => Event::NetReceipt {
                intent,
                sent_bytes: number("sent_bytes"),
                received_bytes: number("received_bytes"),
                problem,
            },
            _ => {
                let reply = STANDARD.decode(job.text("reply").unwrap_or_default()).unwrap_or_default();
                let reply_blob = (!reply.is_empty()).then(|| {
                    let (hash, bytes) = blob(&reply);
                    blobs.push((hash, bytes));
                    hash
                });
                Event::RelayReceipt {
                    intent,
                    status: job.number("status").and_then(|status| u16::try_from(status).ok()),
                    reply_blob,
                    size_bytes: number("size_bytes"),
                    complete: job.flag("complete"),
                    input_tokens: number("input_tokens"),
                    output_tokens: number("output_tokens"),
                    cached_tokens: number("cached_tokens"),
                    cost_micro_usd: job.number("cost_micro_usd"),
                    unsent: job.flag("unsent"),
                    duration_ms: number("duration_ms"),
                    problem,
                }
            }
        };
        self.record_with(&job.caller, &event, blobs, Awaited::Nothing);
        self.finish(job, Ok(json!({ "intent": intent })), None);
        self.mind_budget();
    }
}

fn no_request() -> CallError {
    CallError::new(Code::Failed, "bug: a connection without a verdict")
}
