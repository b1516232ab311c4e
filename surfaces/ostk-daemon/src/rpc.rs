//! The socket: newline-delimited JSON-RPC 2.0, one task for each connection.
//!
//! Methods: `client/attach`, `client/detach`, `client/subscribe`, `call`, `call/cancel`, `process/read`, `process/write`,
//! `kernel/stop`. Each answer carries the
//! anchor's epoch. A connection holds nothing that matters: it may break at any moment.

use std::{path::PathBuf, sync::Arc};

use ostk_kernel::{CallError, Caller, Code, Syscall};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::{UnixStream, unix::OwnedReadHalf},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    follow::Follower,
    hands::Hands,
    host::{Answer, HostHandle, Message, NewCall, Reply},
    outbox::Outbox,
    peer::Peer,
    streams::Wanted,
};

/// Version of the protocol.
pub(crate) const PROTOCOL: u64 = 1;
/// Longest line a client may send: a file of the largest size, escaped.
const MAX_LINE: u64 = 140 * 1024 * 1024;
/// Requests of one connection that may be open or whose answers the client has not taken in.
const MAX_OPEN: usize = 256;
/// Text in a result from which on its answer is not written by the host's thread, which everybody waits for.
const LARGE_TEXT: usize = 64 * 1024;
/// Deadline of the end of a session.
const END_MS: u64 = 10_000;
/// Deadline of a call that names none.
const DEFAULT_TIMEOUT_MS: u64 = 120_000;

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) host: HostHandle,
    pub(crate) state_dir: PathBuf,
    /// What runs, for those who follow it; not on the socket of a contained process.
    hands: Option<Arc<Hands>>,
    /// The lineage that everybody on this socket is: the one process that can reach it.
    seat: Option<String>,
}

impl Shared {
    /// What the project's socket shares.
    pub(crate) const fn front(host: HostHandle, state_dir: PathBuf, hands: Arc<Hands>) -> Self {
        Self { host, state_dir, hands: Some(hands), seat: None }
    }

    /// What the socket of a contained process shares.
    pub(crate) const fn seat(host: HostHandle, state_dir: PathBuf, lineage: String) -> Self {
        Self { host, state_dir, hands: None, seat: Some(lineage) }
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: UnixStream) {
    let peer = Peer::of(&stream);
    let (read, write) = stream.into_split();
    let (outbox, writing) = Outbox::new(write, MAX_OPEN);
    let writer = tokio::spawn(writing);
    let mut connection =
        Connection { shared, peer, outbox: Arc::new(outbox), caller: None, follower: None, tied: Vec::new() };
    connection.read_all(read).await;
    connection.withdraw_tied();
    drop(connection);
    // The writer ends when the outbox is gone; open calls hold it until they are answered.
    let _ = writer.await;
}

struct Connection {
    shared: Arc<Shared>,
    peer: Peer,
    outbox: Arc<Outbox>,
    caller: Option<Caller>,
    follower: Option<Follower>,
    /// Keys of calls that are withdrawn when the connection ends.
    tied: Vec<(Caller, String)>,
}

impl Connection {
    async fn read_all(&mut self, read: OwnedReadHalf) {
        let mut reader = BufReader::new(read);
        let open = Arc::new(Semaphore::new(MAX_OPEN));
        loop {
            let mut line = Vec::new();
            match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
            if line.last() != Some(&b'\n') && line.len() as u64 >= MAX_LINE {
                return self.refuse(&Value::Null, -32600, "the line is longer than 140 MiB", permit);
            }
            if !self.handle(&line, permit).await {
                return;
            }
        }
    }

    /// Handles one frame; false ends the connection.
    async fn handle(&mut self, line: &[u8], permit: OwnedSemaphorePermit) -> bool {
        let mut frame: Value = match serde_json::from_slice(line) {
            Ok(frame) => frame,
            Err(error) => {
                self.refuse(&Value::Null, -32700, &format!("not JSON: {error}"), permit);
                return true;
            }
        };
        let id = frame.get_mut("id").map(Value::take).unwrap_or_default();
        let params = frame.get_mut("params").map_or_else(|| json!({}), Value::take);
        let version = frame.get("jsonrpc").and_then(Value::as_str);
        let (Some("2.0"), Some(method)) = (version, frame.get("method").and_then(Value::as_str)) else {
            self.refuse(&id, -32600, "not a JSON-RPC 2.0 request", permit);
            return true;
        };
        let result = match method {
            "call" => {
                self.start_call(id, params, permit);
                return true;
            }
            "process/read" => {
                self.read_process(id, &params, permit);
                return true;
            }
            "process/write" => self.write_process(params).await,
            "call/cancel" => self.cancel(&params),
            "client/attach" => self.attach(&params).await,
            "client/subscribe" => self.subscribe(&params),
            "client/detach" => Ok(json!({})),
            "kernel/stop" => self.stop(),
            other => {
                self.refuse(&id, -32601, &format!("no such method: {other}"), permit);
                return true;
            }
        };
        let detached = method == "client/detach";
        self.outbox.answer(answer(&id, result, self.shared.host.epoch), permit);
        !detached
    }

    async fn attach(&mut self, params: &Value) -> Result<Value, CallError> {
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        if params.get("protocol").and_then(Value::as_u64) != Some(PROTOCOL) {
            return Err(CallError::new(Code::Usage, format!("this daemon speaks protocol {PROTOCOL}"))
                .hint("use the ostk binary of the same version as the daemon"));
        }
        if let Some(lineage) = &self.shared.seat {
            self.caller = Some(Caller::Agent(lineage.clone()));
            return Ok(json!({ "lineage": lineage, "protocol": PROTOCOL, "epoch": self.shared.host.epoch }));
        }
        let name = text("name").unwrap_or("operator").to_owned();
        if let Some(reason) = self.peer.contained() {
            let message = format!("a contained process may not attach, under no name: {reason}");
            return Err(CallError::new(Code::Denied, message)
                .hint("the agent that runs it makes the calls, so that it keeps its bounds"));
        }
        let operator = text("operator");
        if (text("kind") == Some("operator") || operator.is_some()) && self.peer.is_unknown() {
            return Err(CallError::new(Code::Denied, "a process that cannot be seen is not the operator")
                .hint("attach as an agent"));
        }
        if text("kind") == Some("operator") {
            self.caller = Some(Caller::Human(name.clone()));
            return Ok(json!({ "lineage": name, "protocol": PROTOCOL, "epoch": self.shared.host.epoch }));
        }
        let flag = |name: &str| params.get(name).and_then(Value::as_bool).unwrap_or(false);
        let args = json!({ "name": name, "exact": flag("exact"), "client": text("client").unwrap_or("unknown"),
            "resume": flag("resume") });
        let (epoch, pin) = (self.shared.host.epoch, text("pin").map(str::to_owned));
        let mut args = args;
        if let (Some(pin), Some(args)) = (text("pin"), args.as_object_mut()) {
            args.insert("pin".to_owned(), json!(pin));
        }
        let call = NewCall {
            // A person may name another pin than the name had last; a client by itself may not.
            caller: operator.map_or(Caller::Kernel, |name| Caller::Human(name.to_owned())),
            verb: "session.start".to_owned(),
            args,
            // All connections of one instance, or of a client that attaches for each of its calls, have one session with
            // this daemon, not one each.
            idempotency: flag("once").then(|| match text("instance") {
                Some(instance) => format!("attach/{epoch}/{instance}"),
                None => format!("attach/{epoch}/{name}/{}", pin.as_deref().unwrap_or_default()),
            }),
            timeout_ms: 10_000,
        };
        let mut answer = self.shared.host.call(call).await?;
        let lineage = answer.get("lineage").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.caller = Some(Caller::Agent(lineage));
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("protocol".to_owned(), json!(PROTOCOL));
        }
        Ok(answer)
    }

    fn subscribe(&mut self, params: &Value) -> Result<Value, CallError> {
        self.attached()?;
        let from = params.get("from").and_then(Value::as_u64).unwrap_or(0);
        self.follower = Some(Follower::start(self.shared.state_dir.clone(), from, Arc::clone(&self.outbox)));
        Ok(json!({ "from": from }))
    }

    /// Withdraws a call of the same caller, made on whatever connection.
    fn cancel(&self, params: &Value) -> Result<Value, CallError> {
        let caller = self.attached()?.clone();
        let key = params.get("idempotency").and_then(Value::as_str).map(str::to_owned);
        let key = key.ok_or_else(|| CallError::new(Code::Usage, "call/cancel: `idempotency` is missing"))?;
        if !self.shared.host.offer(Message::Withdraw { caller, key }) {
            return Err(CallError::new(Code::Busy, "the daemon has too many calls waiting"));
        }
        Ok(json!({ "withdrawn": true }))
    }

    fn stop(&self) -> Result<Value, CallError> {
        match self.attached()? {
            Caller::Human(name) => {
                let reason = format!("stopped by {name}");
                if !self.shared.host.offer(Message::Stop { reason }) {
                    return Err(CallError::new(Code::Busy, "the daemon has too many calls waiting"));
                }
                Ok(json!({ "stopping": true }))
            }
            other => {
                Err(CallError::new(Code::Denied, format!("{} may not stop the daemon", other.lineage())))
            }
        }
    }

    /// The process that a person follows.
    fn followed(&self, params: &Value) -> Result<(Arc<Hands>, String, String), CallError> {
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (self.attached()?, &self.shared.hands) {
            (Caller::Human(_), Some(hands)) => Ok((Arc::clone(hands), text("lineage"), text("stream"))),
            _ => Err(CallError::new(Code::Denied, "only a person follows a process and types into it")),
        }
    }

    /// Answers with the next piece of a process's output, as soon as there is one.
    fn read_process(&self, id: Value, params: &Value, permit: OwnedSemaphorePermit) {
        let (outbox, epoch) = (Arc::clone(&self.outbox), self.shared.host.epoch);
        let followed = self.followed(params);
        let wanted = Wanted::of(params);
        tokio::task::spawn_blocking(move || {
            let read = |(hands, lineage, stream): (Arc<Hands>, String, String)| {
                hands.processes.streams().read(&lineage, &stream, &wanted)
            };
            outbox.answer(answer(&id, followed.and_then(read), epoch), permit);
        });
    }

    /// Passes input on; it may wait for the process, whose own call must be able to come meanwhile.
    async fn write_process(&self, params: Value) -> Result<Value, CallError> {
        let (hands, lineage, stream) = self.followed(&params)?;
        let write = move || hands.processes.streams().write(&lineage, &stream, &params);
        let written = tokio::task::spawn_blocking(write).await;
        written.unwrap_or_else(|error| Err(CallError::new(Code::Failed, error.to_string())))
    }

    fn attached(&self) -> Result<&Caller, CallError> {
        self.caller
            .as_ref()
            .ok_or_else(|| CallError::new(Code::Usage, "say who you are first: client/attach"))
    }

    /// Makes a call; its answer is sent when it comes, and other frames are read meanwhile.
    fn start_call(&mut self, id: Value, params: Value, permit: OwnedSemaphorePermit) {
        self.tie(&params);
        let (outbox, runtime) = (Arc::clone(&self.outbox), Handle::current());
        let (host, epoch) = (&self.shared.host, self.shared.host.epoch);
        let send = move |result: Answer| {
            let large = result.as_ref().is_ok_and(is_large);
            let send = move || outbox.answer(answer(&id, result, epoch), permit);
            if large {
                runtime.spawn_blocking(send);
            } else {
                send();
            }
        };
        match self.attached().and_then(|caller| new_call(caller.clone(), params)) {
            Ok(call) => host.submit(call, Reply::new(send)),
            Err(error) => send(Err(error)),
        }
    }

    /// Remembers a call that shall not outlive the connection.
    fn tie(&mut self, params: &Value) {
        let key = params.get("idempotency").and_then(Value::as_str);
        if let (Some(true), Some(key), Some(caller)) =
            (params.get("tied").and_then(Value::as_bool), key, &self.caller)
            && self.tied.len() < MAX_OPEN
        {
            self.tied.push((caller.clone(), key.to_owned()));
        }
    }

    /// Whoever tied a call to the connection is gone with it, and so is the session that made the call. What has ended
    /// already has nothing to withdraw and no session to end.
    fn withdraw_tied(&mut self) {
        let caller = self.tied.last().map(|(caller, _)| caller.clone());
        for (caller, key) in self.tied.drain(..) {
            self.shared.host.offer(Message::Withdraw { caller, key });
        }
        if let Some(caller) = caller.filter(|caller| matches!(caller, Caller::Agent(_))) {
            let (verb, args) = ("session.end".to_owned(), json!({}));
            let call = NewCall { caller, verb, args, idempotency: None, timeout_ms: END_MS };
            self.shared.host.submit(call, Reply::new(|_| ()));
        }
    }

    fn refuse(&self, id: &Value, code: i64, message: &str, permit: OwnedSemaphorePermit) {
        let error = json!({ "code": code, "message": message, "data": null });
        let frame =
            Frame { jsonrpc: "2.0", id, epoch: self.shared.host.epoch, result: None, error: Some(error) };
        self.outbox.answer(frame.text(), permit);
    }
}

fn new_call(caller: Caller, mut params: Value) -> Result<NewCall, CallError> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).map(str::to_owned);
    let verb = text("verb").ok_or_else(|| CallError::new(Code::Usage, "call: `verb` is missing"))?;
    if ostk_kernel::lookup(&verb).is_some_and(Syscall::is_internal) {
        return Err(CallError::new(Code::Denied, format!("{verb} is made by the daemon only"))
            .hint("connect from a contained process, and the daemon makes it: ostk run -- COMMAND"));
    }
    let idempotency = text("idempotency");
    let timeout_ms = params.get("timeout_ms").and_then(Value::as_u64).unwrap_or(DEFAULT_TIMEOUT_MS);
    let args =
        params.get_mut("args").map(Value::take).filter(|args| !args.is_null()).unwrap_or_else(|| json!({}));
    Ok(NewCall { caller, verb, args, idempotency, timeout_ms })
}

/// Whether a result holds so much text that writing it as JSON takes long.
fn is_large(result: &Value) -> bool {
    fn text(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(text).sum(),
            Value::Object(members) => members.values().map(text).sum(),
            _ => 0,
        }
    }
    text(result) >= LARGE_TEXT
}

/// A frame to a client. One of `result` and `error` is there.
#[derive(Serialize)]
struct Frame<'a> {
    jsonrpc: &'static str,
    id: &'a Value,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl Frame<'_> {
    fn text(&self) -> String {
        // A tree of JSON values can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn answer(id: &Value, result: Answer, epoch: u64) -> String {
    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => {
            let data = json!({ "code": error.code, "hint": error.hint, "data": error.data });
            (None, Some(json!({ "code": number(error.code), "message": error.message, "data": data })))
        }
    };
    Frame { jsonrpc: "2.0", id, epoch, result, error }.text()
}

/// The JSON-RPC number of a failure; the names in `data.code` are what programs should look at.
const fn number(code: Code) -> i64 {
    match code {
        Code::Usage => -32602,
        Code::Denied => -32001,
        Code::Conflict => -32002,
        Code::Unread => -32003,
        Code::NotFound => -32004,
        Code::TooLarge => -32005,
        Code::Deadline => -32006,
        Code::Failed => -32007,
        Code::Poisoned => -32008,
        Code::Stopped => -32009,
        Code::Busy => -32010,
    }
}
