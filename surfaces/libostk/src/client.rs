//! A connection to a daemon: attach, call, follow.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Version of the protocol that this library speaks.
pub const PROTOCOL: u64 = 1;
/// Longest line a daemon may send; a file of the largest size, escaped, fits.
const MAX_LINE: u64 = 140 * 1024 * 1024;
/// Added to a call's own deadline before the client gives up on the daemon.
const GRACE: Duration = Duration::from_secs(10);

/// A connection. Calls are made one at a time.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    next_id: u64,
    epoch: u64,
    /// A frame whose end has not come yet.
    partial: Vec<u8>,
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A person at a terminal, by name.
    Operator(String),
    /// An agent; the daemon adds a number to the name.
    Agent(String),
    /// An agent that takes up a lineage by its exact name.
    Lineage(String),
}

/// How a call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Repeating a call with the same key has no second effect.
    pub idempotency: Option<String>,
    /// How long the daemon may take; two minutes if absent.
    pub timeout: Option<Duration>,
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its sequence number.
    pub seq: u64,
    /// Its line.
    pub record: Value,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens, or the connection broke.
    #[error("no answer from the daemon: {0}")]
    Io(#[from] io::Error),
    /// The daemon sent something that is not its protocol.
    #[error("the daemon broke the protocol: {0}")]
    Protocol(String),
    /// The daemon refused or failed the call.
    #[error("{message}")]
    Call {
        /// The kind of failure: `denied`, `conflict`, `deadline`, …
        code: String,
        /// What happened.
        message: String,
        /// What to do next.
        hint: Option<String>,
        /// Fields of this kind of failure.
        data: Value,
    },
}

impl Client {
    /// Connects to the socket.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket)?;
        let writer = stream.try_clone()?;
        Ok(Self { reader: BufReader::new(stream), writer, next_id: 0, epoch: 0, partial: Vec::new() })
    }

    /// Says who this is; returns the lineage.
    ///
    /// # Errors
    /// When the daemon speaks another protocol or refuses the name.
    pub fn attach(
        &mut self,
        identity: &Identity,
        client: &str,
        pin: Option<&str>,
    ) -> Result<String, ClientError> {
        let (kind, name, exact) = match identity {
            Identity::Operator(name) => ("operator", name, true),
            Identity::Agent(name) => ("agent", name, false),
            Identity::Lineage(name) => ("agent", name, true),
        };
        let params = json!({ "protocol": PROTOCOL, "kind": kind, "name": name, "exact": exact, "client": client, "pin": pin });
        let answer = self.request("client/attach", &params, Duration::from_secs(10))?;
        let lineage = answer.get("lineage").and_then(Value::as_str);
        lineage.map(str::to_owned).ok_or_else(|| ClientError::Protocol("attach gave no lineage".to_owned()))
    }

    /// Makes a system call.
    ///
    /// # Errors
    /// [`ClientError::Call`] as the kernel answered, else the connection's failure.
    pub fn call(&mut self, verb: &str, args: &Value, options: &CallOptions) -> Result<Value, ClientError> {
        let timeout = options.timeout.unwrap_or(Duration::from_secs(120));
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let params = json!({ "verb": verb, "args": args, "idempotency": options.idempotency, "timeout_ms": timeout_ms });
        self.request("call", &params, timeout + GRACE)
    }

    /// Any request of the protocol.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn request(&mut self, method: &str, params: &Value, timeout: Duration) -> Result<Value, ClientError> {
        self.next_id += 1;
        let id = self.next_id;
        let mut line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        line.push('\n');
        self.writer.write_all(line.as_bytes())?;
        loop {
            let mut frame = self.frame(timeout)?;
            if frame.get("id").and_then(Value::as_u64) != Some(id) {
                continue;
            }
            self.note_epoch(&frame)?;
            if let Some(error) = frame.get("error") {
                return Err(call_error(error));
            }
            let result = frame.get_mut("result").map(Value::take);
            return result.ok_or_else(|| ClientError::Protocol("neither a result nor an error".to_owned()));
        }
    }

    /// Starts the stream of records from `from`; take them with [`Client::next_event`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn subscribe(&mut self, from: u64) -> Result<(), ClientError> {
        self.request("client/subscribe", &json!({ "from": from }), Duration::from_secs(10)).map(|_| ())
    }

    /// The next record, or `None` if none came within `timeout`.
    ///
    /// # Errors
    /// When the connection broke, for example because this client was too slow and the daemon let it go.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        let mut frame = match self.frame(timeout) {
            Err(ClientError::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                return Ok(None);
            }
            other => other?,
        };
        if frame.get("method").and_then(Value::as_str) != Some("event") {
            return Ok(None);
        }
        let params = frame.get_mut("params").map(Value::take).unwrap_or_default();
        serde_json::from_value(params).map(Some).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// The epoch of the daemon that answered last.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    fn frame(&mut self, timeout: Duration) -> Result<Value, ClientError> {
        self.reader.get_ref().set_read_timeout(Some(timeout))?;
        let room = MAX_LINE.saturating_sub(self.partial.len() as u64);
        io::Read::take(&mut self.reader, room).read_until(b'\n', &mut self.partial)?;
        let line = std::mem::take(&mut self.partial);
        if line.is_empty() {
            let gone = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed");
            return Err(ClientError::Io(gone));
        }
        serde_json::from_slice(&line).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// A daemon of an older epoch than one already seen is a zombie: nothing it says counts.
    fn note_epoch(&mut self, frame: &Value) -> Result<(), ClientError> {
        let epoch = frame.get("epoch").and_then(Value::as_u64).unwrap_or(self.epoch);
        if epoch < self.epoch {
            return Err(ClientError::Protocol(format!("epoch {epoch} after epoch {}", self.epoch)));
        }
        self.epoch = epoch;
        Ok(())
    }
}

fn call_error(error: &Value) -> ClientError {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let detail = error.get("data");
    ClientError::Call {
        code: text(detail.and_then(|detail| detail.get("code"))).unwrap_or_else(|| "failed".to_owned()),
        message: text(error.get("message")).unwrap_or_default(),
        hint: text(detail.and_then(|detail| detail.get("hint"))),
        data: detail.and_then(|detail| detail.get("data")).cloned().unwrap_or_default(),
    }
}
