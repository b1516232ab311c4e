//! The place of one client at the daemon: its lineage and its connections.
//!
//! A connection carries one call at a time, so calls that run together take one each, all of the same lineage. A
//! connection that breaks is replaced once for each call; the idempotency key keeps a call that had its effect before
//! the break from having it twice. Everything here blocks; the server calls it on threads that may.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use libostk::{CallOptions, Client, ClientError, PROTOCOL};
use ostk_kernel::{CallError, Code};
use serde_json::{Value, json};

use super::{Connect, Options, random_hex};

/// Calls of one client that run at the same time; more wait.
pub(super) const MAX_OPEN: usize = 16;
/// Idle connections that are kept.
const MAX_IDLE: usize = 4;
/// How long attaching may take.
const ATTACH_DEADLINE: Duration = Duration::from_secs(10);
/// How long the daemon may take for a call that names no deadline.
const CALL_DEADLINE: Duration = Duration::from_secs(600);
/// Added to a deadline that a call names, for the way there and back.
const MARGIN_MS: u64 = 30_000;
/// Longest deadline.
const MAX_DEADLINE_MS: u64 = 24 * 3600 * 1000;
/// Longest part of a client's name that becomes a lineage's.
const MAX_STEM: usize = 40;

/// What an attachment says.
#[derive(Clone, Debug)]
pub struct Place {
    /// The lineage, or the stem that a number is added to.
    pub name: String,
    /// Take the name as it is.
    pub exact: bool,
    /// What the client calls itself.
    pub client: String,
    /// The pin that bounds it.
    pub pin: Option<String>,
    /// Repeated with one daemon, this takes the same session up again instead of starting another.
    pub once: bool,
    /// Which process attaches, if each is to have a session of its own and has seen nothing when it comes; otherwise what was
    /// shown under the name before is known.
    pub instance: Option<String>,
}

/// Attaches a connection as an agent; returns its lineage.
///
/// # Errors
/// As the daemon refused, or as the connection failed.
pub fn take_place(client: &mut Client, place: &Place) -> Result<String, ClientError> {
    let params = json!({ "protocol": PROTOCOL, "kind": "agent", "name": place.name, "exact": place.exact,
        "client": place.client, "pin": place.pin, "once": place.once, "instance": place.instance,
        "resume": place.once && place.instance.is_none() });
    let answer = client.request("client/attach", &params, ATTACH_DEADLINE)?;
    let lineage = answer.get("lineage").and_then(Value::as_str);
    lineage.map(str::to_owned).ok_or_else(|| ClientError::Protocol("attach gave no lineage".to_owned()))
}

/// The place of one client.
pub(super) struct Seat {
    connect: Connect,
    options: Options,
    instance: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What the client called itself.
    client: Option<String>,
    lineage: Option<String>,
    idle: Vec<Client>,
}

impl Seat {
    pub(super) fn new(connect: Connect, options: Options) -> Self {
        let instance = random_hex(16);
        Self { connect, options, instance, held: Mutex::default() }
    }

    /// Remembers what the client calls itself; the first name counts.
    pub(super) fn introduce(&self, client: &str) {
        self.held().client.get_or_insert_with(|| client.to_owned());
    }

    /// Connects ahead of the first call, so that the client shows up among the processes.
    pub(super) fn warm(&self) {
        if let Ok(client) = self.take() {
            self.give_back(client);
        }
    }

    /// Makes a system call under an idempotency key of its own.
    pub(super) fn call(&self, verb: &str, args: &Value, key: String) -> Result<Value, CallError> {
        let options = CallOptions { idempotency: Some(key), timeout: Some(deadline(args)), tied: false };
        let mut client = self.take()?;
        let first = client.call(verb, args, &options);
        if !broke(&first) {
            self.give_back(client);
            return first.map_err(error_of);
        }
        // The daemon is gone or was restarted: every connection is as broken as this one.
        self.held().idle.clear();
        let mut client = self.take()?;
        let second = client.call(verb, args, &options);
        if !broke(&second) {
            self.give_back(client);
        }
        second.map_err(error_of)
    }

    /// Withdraws an open call by its key. It may have ended meanwhile, and a daemon that is gone runs nothing.
    pub(super) fn cancel(&self, key: &str) {
        let Ok(mut client) = self.take() else { return };
        if client.request("call/cancel", &json!({ "idempotency": key }), ATTACH_DEADLINE).is_ok() {
            self.give_back(client);
        }
    }

    /// Ends the session; a lineage that was named by hand goes on.
    pub(super) fn leave(&self) {
        let idle = std::mem::take(&mut self.held().idle);
        if self.options.name.is_none()
            && let Some(mut client) = idle.into_iter().next()
        {
            let options =
                CallOptions { idempotency: None, timeout: Some(Duration::from_secs(1)), tied: false };
            // The daemon may have gone first; then the session ended with it.
            let _ = client.call("session.end", &json!({}), &options);
        }
    }

    fn take(&self) -> Result<Client, CallError> {
        let mut held = self.held();
        if let Some(client) = held.idle.pop() {
            return Ok(client);
        }
        let label = held.client.clone().unwrap_or_else(|| "mcp".to_owned());
        let known = held.lineage.clone().or_else(|| self.options.name.clone());
        let place = Place {
            name: known.clone().unwrap_or_else(|| stem(&label)),
            exact: known.is_some(),
            client: label,
            pin: self.options.pin.clone(),
            once: true,
            // A new server has seen nothing, whoever had the name before.
            instance: Some(self.instance.clone()),
        };
        // The lock is held meanwhile on purpose: calls that start together must not become two lineages.
        let mut client = (self.connect)()?;
        held.lineage = Some(take_place(&mut client, &place).map_err(error_of)?);
        Ok(client)
    }

    fn give_back(&self, client: Client) {
        let mut held = self.held();
        if held.idle.len() < MAX_IDLE {
            held.idle.push(client);
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the connection failed, rather than the call.
const fn broke(result: &Result<Value, ClientError>) -> bool {
    matches!(result, Err(ClientError::Io(_) | ClientError::Protocol(_)))
}

fn deadline(args: &Value) -> Duration {
    let named = args.get("timeout_ms").and_then(Value::as_u64);
    named.map_or(CALL_DEADLINE, |ms| Duration::from_millis(ms.min(MAX_DEADLINE_MS) + MARGIN_MS))
}

/// A failure of the client library as the kernel would have said it.
pub fn error_of(error: ClientError) -> CallError {
    match error {
        ClientError::Call { code, message, hint, data } => {
            let code = serde_json::from_value(Value::String(code)).unwrap_or(Code::Failed);
            CallError { code, message, hint, data }
        }
        other => CallError::new(Code::Failed, other.to_string())
            .hint("the daemon is started again with the next call; ostk doctor looks for what is wrong"),
    }
}

/// What a client calls itself, made fit for a lineage's name.
fn stem(client: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    let name: String = client.chars().map(plain).take(MAX_STEM).collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() { "mcp".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_name_becomes_a_lineage_s_name() {
        assert_eq!(stem("claude-code"), "claude-code");
        assert_eq!(stem("Visual Studio Code (insiders)"), "Visual-Studio-Code--insiders");
        assert_eq!(stem("../../etc"), "etc");
        assert_eq!(stem("日本"), "mcp");
    }

    #[test]
    fn a_call_may_take_as_long_as_it_says() {
        assert_eq!(deadline(&json!({})), CALL_DEADLINE);
        assert_eq!(deadline(&json!({ "timeout_ms": 1_000 })), Duration::from_secs(31));
        assert!(deadline(&json!({ "timeout_ms": u64::MAX })) < Duration::from_secs(25 * 3600));
    }
}
