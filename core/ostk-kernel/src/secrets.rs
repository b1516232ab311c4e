//! Refusals because of a secret: a call that carries one, a file that holds one.
//!
//! Which texts are secrets is known to the host alone. It keeps back the bytes of a file that holds one
//! ([`Seen::Withheld`]) and hands a call that carries one in as `secret.refused`, a call that no client may make. Here the
//! refusal is recorded, by the names of the secrets, and worded.

use std::collections::BTreeMap;

use ostk_policy::{Class, Resource};
use serde_json::{Value, json};

use crate::{
    act::Seen,
    call::{CallError, Code},
    event::Event,
    kernel::{Job, Kernel},
    table,
};

/// What refuses, where a rule of a document would be named.
const RULE: &str = "no secret enters a call or leaves a file";
/// Names of secrets that one refusal tells.
const MAX_NAMES: usize = 16;

impl Kernel {
    /// The daemon met a call that carries a secret; the call itself stayed outside.
    pub(crate) fn refuse_secret_call(&mut self, job: Job) {
        let known = job.text("call").and_then(table::lookup);
        let (verb, class) = known.map_or(("unknown", Class::KernelWrite), |known| (known.name, known.class));
        let secrets = job.args.get("secrets").and_then(Value::as_array).into_iter().flatten();
        let names = named(secrets.filter_map(Value::as_str));
        let reason = format!("{} may not pass {names} in a call ({verb})", job.caller.lineage());
        let hint = "leave the secret out: the daemon uses it where it is needed, in requests to models; if it reached you \
                    in some other way, tell the operator, who should replace it";
        self.refuse_for_secret(job, (verb, class), Resource::None, &reason, hint);
    }

    /// Refuses a call on files if one of them holds a secret: it could not be shown, and no version of it can be stored.
    /// Gives the job back otherwise.
    pub(crate) fn without_secrets(&mut self, job: Job, files: &BTreeMap<String, Seen>) -> Option<Job> {
        let held = files.iter().find_map(|(path, seen)| match seen {
            Seen::Withheld { secrets } => Some((path, named(secrets.iter().map(String::as_str)))),
            _ => None,
        });
        // A history names versions and shows none; a client's own tool has done already what it is about.
        let Some((path, names)) = held.filter(|_| !matches!(job.syscall.name, "file.log" | "hook.after"))
        else {
            return Some(job);
        };
        let (who, verb) = (job.caller.lineage(), crate::files::verb_of(job.syscall.class));
        let reason = format!("{who} may not {verb} {path}: it holds {names}");
        let hint = format!(
            "a person takes the secret out of {path} (a program can read it from its environment instead), or changes the \
             file outside of ostk"
        );
        let call = (job.syscall.name, job.syscall.class);
        self.refuse_for_secret(job, call, Resource::Path(path.clone()), &reason, &hint);
        None
    }

    fn refuse_for_secret(
        &mut self,
        job: Job,
        (verb, class): (&str, Class),
        resource: Resource,
        reason: &str,
        hint: &str,
    ) {
        let event = Event::GateDenied {
            request: Box::new(self.request(&job.caller, verb, class, resource)),
            effect: "secret".to_owned(),
            rules: vec![RULE.to_owned()],
            reason: reason.to_owned(),
        };
        let seq = self.record(&job.caller, &event);
        let error = CallError::new(Code::Denied, format!("{reason}\n  rule: {RULE}"))
            .data(json!({ "rules": [RULE], "seq": seq }))
            .hint(hint);
        self.finish(job, Err(error), Some(seq + 1));
    }
}

/// The secrets as a sentence names them.
fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.take(MAX_NAMES).collect();
    let what = if names.len() > 1 { "the secrets" } else { "the secret" };
    format!("{what} {}", names.join(", "))
}
