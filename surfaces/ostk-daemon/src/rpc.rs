//! The socket: newline-delimited JSON-RPC 2.0, one task for each connection.
//!
//! Methods: `client/attach`, `client/detach`, `client/subscribe`, `call`, `kernel/stop`. Each answer carries the
//! anchor's epoch. A connection holds nothing that matters: it may break at any moment.

use std::{path::PathBuf, sync::Arc};

use ostk_kernel::{CallError, Caller, Code};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::mpsc,
};

use crate::{
    follow::Follower,
    host::{HostHandle, Message, NewCall},
    peer::Peer,
};

/// Version of the protocol.
pub(crate) const PROTOCOL: u64 = 1;
/// Longest line a client may send: a file of the largest size, escaped.
const MAX_LINE: u64 = 140 * 1024 * 1024;
/// Frames that may wait for a slow client; then it is let go and may resume from its last sequence number.
const MAX_FRAMES: usize = 1_024;
/// Calls that one connection may have open.
const MAX_OPEN: usize = 256;
/// Deadline of a call that names none.
const DEFAULT_TIMEOUT_MS: u64 = 120_000;

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) host: HostHandle,
    pub(crate) state_dir: PathBuf,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: UnixStream) {
    let peer = Peer::of(&stream);
    let (read, mut write) = stream.into_split();
    let (frames, mut outbox) = mpsc::channel::<String>(MAX_FRAMES);
    let writer = tokio::spawn(async move {
        while let Some(mut frame) = outbox.recv().await {
            frame.push('\n');
            if write.write_all(frame.as_bytes()).await.is_err() {
                break;
            }
        }
    });
    let mut connection = Connection { shared, peer, frames, caller: None, follower: None };
    connection.read_all(read).await;
    connection.detach();
    drop(connection);
    // The writer ends when the last sender is gone; open calls hold one until they are answered.
    let _ = writer.await;
}

struct Connection {
    shared: Arc<Shared>,
    peer: Peer,
    frames: mpsc::Sender<String>,
    caller: Option<Caller>,
    follower: Option<Follower>,
}

impl Connection {
    async fn read_all(&mut self, read: OwnedReadHalf) {
        let mut reader = BufReader::new(read);
        let open = Arc::new(tokio::sync::Semaphore::new(MAX_OPEN));
        loop {
            let mut line = Vec::new();
            match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if line.last() != Some(&b'\n') && line.len() as u64 >= MAX_LINE => {
                    self.send_error(&Value::Null, -32600, "the line is longer than 140 MiB", Value::Null)
                        .await;
                    return;
                }
                Ok(_) => {}
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
            if !self.handle(&line, permit).await {
                return;
            }
        }
    }

    /// Handles one frame; false ends the connection.
    async fn handle(&mut self, line: &[u8], permit: tokio::sync::OwnedSemaphorePermit) -> bool {
        let frame: Value = match serde_json::from_slice(line) {
            Ok(frame) => frame,
            Err(error) => {
                self.send_error(&Value::Null, -32700, &format!("not JSON: {error}"), Value::Null).await;
                return true;
            }
        };
        let id = frame.get("id").cloned().unwrap_or(Value::Null);
        let params = frame.get("params").cloned().unwrap_or_else(|| json!({}));
        let version = frame.get("jsonrpc").and_then(Value::as_str);
        let (Some("2.0"), Some(method)) = (version, frame.get("method").and_then(Value::as_str)) else {
            self.send_error(&id, -32600, "not a JSON-RPC 2.0 request", Value::Null).await;
            return true;
        };
        match method {
            "call" => {
                self.spawn_call(id, params, permit);
                return true;
            }
            "client/detach" => {
                self.send_result(&id, json!({})).await;
                return false;
            }
            _ => {}
        }
        let result = match method {
            "client/attach" => self.attach(&params).await,
            "client/subscribe" => self.subscribe(&params),
            "kernel/stop" => self.stop(),
            other => {
                self.send_error(&id, -32601, &format!("no such method: {other}"), Value::Null).await;
                return true;
            }
        };
        self.send(&id, result).await;
        true
    }

    async fn attach(&mut self, params: &Value) -> Result<Value, CallError> {
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        if params.get("protocol").and_then(Value::as_u64) != Some(PROTOCOL) {
            return Err(CallError::new(Code::Usage, format!("this daemon speaks protocol {PROTOCOL}"))
                .hint("use the ostk binary of the same version as the daemon"));
        }
        let name = text("name").unwrap_or("operator").to_owned();
        if text("kind") == Some("operator") {
            if let Some(reason) = self.peer.not_operator() {
                return Err(CallError::new(
                    Code::Denied,
                    format!("a contained process is not the operator: {reason}"),
                )
                .hint("attach as an agent"));
            }
            self.caller = Some(Caller::Human(name.clone()));
            return Ok(json!({ "lineage": name, "protocol": PROTOCOL, "epoch": self.shared.host.epoch }));
        }
        let args = json!({ "name": name, "exact": params.get("exact").and_then(Value::as_bool).unwrap_or(false),
            "client": text("client").unwrap_or("unknown") });
        let once = params.get("once").and_then(Value::as_bool).unwrap_or(false);
        let (epoch, pin) = (self.shared.host.epoch, text("pin").map(str::to_owned));
        let mut args = args;
        if let (Some(pin), Some(args)) = (text("pin"), args.as_object_mut()) {
            args.insert("pin".to_owned(), json!(pin));
        }
        let call = NewCall {
            caller: Caller::Kernel,
            verb: "session.start".to_owned(),
            args,
            // A client that attaches for each of its calls has one session with this daemon, not one for each call.
            idempotency: once
                .then(|| format!("attach/{epoch}/{name}/{}", pin.as_deref().unwrap_or_default())),
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
        self.follower = Some(Follower::start(self.shared.state_dir.clone(), from, self.frames.clone()));
        Ok(json!({ "from": from }))
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

    fn attached(&self) -> Result<&Caller, CallError> {
        self.caller
            .as_ref()
            .ok_or_else(|| CallError::new(Code::Usage, "say who you are first: client/attach"))
    }

    fn spawn_call(&self, id: Value, params: Value, permit: tokio::sync::OwnedSemaphorePermit) {
        let (host, frames, caller) =
            (self.shared.host.clone(), self.frames.clone(), self.attached().cloned());
        tokio::spawn(async move {
            let result = match caller {
                Ok(caller) => call(&host, caller, params).await,
                Err(error) => Err(error),
            };
            // The client may be gone; its call is in the log all the same.
            let _ = frames.send(answer(&id, result, host.epoch)).await;
            drop(permit);
        });
    }

    fn detach(&mut self) {
        self.follower = None;
    }

    async fn send(&self, id: &Value, result: Result<Value, CallError>) {
        let _ = self.frames.send(answer(id, result, self.shared.host.epoch)).await;
    }

    async fn send_result(&self, id: &Value, result: Value) {
        self.send(id, Ok(result)).await;
    }

    async fn send_error(&self, id: &Value, code: i64, message: &str, data: Value) {
        let error = json!({ "code": code, "message": message, "data": data });
        let frame = json!({ "jsonrpc": "2.0", "id": id, "epoch": self.shared.host.epoch, "error": error });
        let _ = self.frames.send(frame.to_string()).await;
    }
}

async fn call(host: &HostHandle, caller: Caller, mut params: Value) -> Result<Value, CallError> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).map(str::to_owned);
    let verb = text("verb").ok_or_else(|| CallError::new(Code::Usage, "call: `verb` is missing"))?;
    let idempotency = text("idempotency");
    let timeout_ms = params.get("timeout_ms").and_then(Value::as_u64).unwrap_or(DEFAULT_TIMEOUT_MS);
    let args =
        params.get_mut("args").map(Value::take).filter(|args| !args.is_null()).unwrap_or_else(|| json!({}));
    host.call(NewCall { caller, verb, args, idempotency, timeout_ms }).await
}

fn answer(id: &Value, result: Result<Value, CallError>, epoch: u64) -> String {
    let frame = match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "epoch": epoch, "result": result }),
        Err(error) => {
            let data = json!({ "code": error.code, "hint": error.hint, "data": error.data });
            let body = json!({ "code": number(error.code), "message": error.message, "data": data });
            json!({ "jsonrpc": "2.0", "id": id, "epoch": epoch, "error": body })
        }
    };
    frame.to_string()
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
