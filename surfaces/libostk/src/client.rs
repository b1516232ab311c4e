//! A connection to a daemon: attach, call, follow. One thread uses it; calls are made one at a time.
//!
//! `frames` reads the lines. Who may do what is the daemon's business; starting a daemon is the program's.

use std::{
    collections::VecDeque,
    io::{self, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::frames::{Frames, MAX_LINE, is_timeout};

/// Version of the protocol that this library speaks.
pub const PROTOCOL: u64 = 1;
/// Records that may come while a call is open: a follower that calls for longer should use a second connection.
const MAX_WAITING: usize = 16_384;
/// Added to a call's own deadline before the client gives up on the daemon.
const GRACE: Duration = Duration::from_secs(10);

/// A connection. Calls are made one at a time.
#[derive(Debug)]
pub struct Client {
    frames: Frames,
    writer: UnixStream,
    next_id: u64,
    epoch: u64,
    /// Notifications that came while an answer was awaited.
    waiting: VecDeque<Value>,
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A person at a terminal, by name.
    Operator(String),
    /// An agent; the daemon adds a number to the name.
    Agent(String),
    /// An agent that the operator starts, and for which he may name another pin than its name had last; the daemon adds a
    /// number to the name.
    Started {
        /// The agent.
        name: String,
        /// The operator.
        by: String,
    },
    /// An agent that takes up a lineage by its exact name. It has seen nothing yet, whoever had the name before, so that a
    /// process which died with an answer unread writes nothing from what it never saw.
    Lineage(String),
    /// The same agent over another connection: what was shown over the one before, it has seen.
    Resumed(String),
}

/// How a call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Repeating a call with the same key has no second effect.
    pub idempotency: Option<String>,
    /// How long the daemon may take; two minutes if absent.
    pub timeout: Option<Duration>,
    /// The call is withdrawn, and its command ended, when this connection ends first. Needs an idempotency key.
    pub tied: bool,
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
    /// The daemon ends the stream of records; subscribe again from `resume_from`.
    #[error("the stream of records ended: {reason}")]
    Gone {
        /// Why.
        reason: String,
        /// The first record that was not sent.
        resume_from: u64,
    },
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
        Self::over(stream, MAX_LINE)
    }

    fn over(stream: UnixStream, max_line: usize) -> Result<Self, ClientError> {
        let writer = stream.try_clone()?;
        // A daemon that takes nothing in must not hold its client for ever.
        writer.set_write_timeout(Some(GRACE))?;
        let (frames, waiting) = (Frames::new(stream, max_line), VecDeque::new());
        Ok(Self { frames, writer, next_id: 0, epoch: 0, waiting })
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
            Identity::Agent(name) | Identity::Started { name, .. } => ("agent", name, false),
            Identity::Lineage(name) | Identity::Resumed(name) => ("agent", name, true),
        };
        let operator = if let Identity::Started { by, .. } = identity { Some(by) } else { None };
        let resume = matches!(identity, Identity::Resumed(_));
        let params = json!({ "protocol": PROTOCOL, "kind": kind, "operator": operator, "name": name, "exact": exact,
            "resume": resume, "client": client, "pin": pin });
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
        let params = json!({ "verb": verb, "args": args, "idempotency": options.idempotency, "timeout_ms": timeout_ms,
            "tied": options.tied });
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
        let deadline = Instant::now() + timeout;
        loop {
            let mut frame = self.frame(deadline)?;
            self.note_epoch(&frame)?;
            // Also the answer to a call that was given up on; one whose id is null is about the line as a whole.
            let other = frame.get("id").and_then(Value::as_u64).is_some_and(|other| other != id);
            if other || frame.get("method").is_some() {
                if !other {
                    self.keep(frame)?;
                }
                // A stream of other frames must not put the deadline off.
                if Instant::now() >= deadline {
                    return Err(ClientError::Io(io::ErrorKind::TimedOut.into()));
                }
                continue;
            }
            if let Some(error) = frame.get("error") {
                return Err(call_error(error));
            }
            let result = frame.get_mut("result").map(Value::take);
            return result.ok_or_else(|| ClientError::Protocol("neither a result nor an error".to_owned()));
        }
    }

    fn keep(&mut self, notification: Value) -> Result<(), ClientError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(ClientError::Protocol(format!("more than {MAX_WAITING} records came during a call")));
        }
        self.waiting.push_back(notification);
        Ok(())
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
    /// When the connection broke, for example because this client was too slow and the daemon let it go; and
    /// [`ClientError::Gone`].
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        let deadline = Instant::now() + timeout;
        loop {
            let frame = match self.waiting.pop_front() {
                Some(frame) => frame,
                None => match self.frame(deadline) {
                    Err(ClientError::Io(error)) if is_timeout(&error) => return Ok(None),
                    other => other?,
                },
            };
            if let Some(event) = event_of(frame)? {
                return Ok(Some(event));
            }
        }
    }

    /// The epoch of the daemon that answered last.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    fn frame(&mut self, deadline: Instant) -> Result<Value, ClientError> {
        let line = match self.frames.next(deadline) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(ClientError::Protocol(error.to_string()));
            }
            other => other?,
        };
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

/// The record of a notification, if it is one.
fn event_of(mut frame: Value) -> Result<Option<Event>, ClientError> {
    let params = frame.get_mut("params").map(Value::take).unwrap_or_default();
    match frame.get("method").and_then(Value::as_str) {
        Some("event") => {
            serde_json::from_value(params).map(Some).map_err(|error| ClientError::Protocol(error.to_string()))
        }
        Some("gone") => Err(ClientError::Gone {
            reason: params.get("reason").and_then(Value::as_str).unwrap_or("no reason given").to_owned(),
            resume_from: params.get("resume_from").and_then(Value::as_u64).unwrap_or(0),
        }),
        _ => Ok(None),
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

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        thread::{self, JoinHandle},
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A daemon that does what `script` says with the lines of one connection.
    fn daemon(
        script: impl FnOnce(&mut dyn FnMut() -> Value, &mut UnixStream) + Send + 'static,
    ) -> (Client, JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let served = thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut write = theirs;
            let mut next = || serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            script(&mut next, &mut write);
        });
        (Client::over(ours, 4096).unwrap(), served)
    }

    fn say(stream: &mut UnixStream, frame: &Value) {
        stream.write_all(format!("{frame}\n").as_bytes()).unwrap();
    }

    fn answer(id: &Value, epoch: u64) -> Value {
        json!({ "jsonrpc": "2.0", "id": id["id"], "epoch": epoch, "result": { "ok": true } })
    }

    fn event(seq: u64) -> Value {
        json!({ "jsonrpc": "2.0", "method": "event", "params": { "seq": seq, "record": { "event": "note.added" } } })
    }

    fn call(client: &mut Client) -> Result<Value, ClientError> {
        client.request("call", &json!({ "verb": "ps" }), SOON)
    }

    #[test]
    fn an_attach_says_who_connects_and_a_call_what_it_wants() {
        let (mut client, served) = daemon(|next, stream| {
            let attach = next();
            assert_eq!(attach["method"], "client/attach");
            assert_eq!(attach["params"]["kind"], "agent");
            assert_eq!(
                (&attach["params"]["exact"], &attach["params"]["pin"]),
                (&json!(false), &json!("narrow"))
            );
            say(
                stream,
                &json!({ "jsonrpc": "2.0", "id": attach["id"], "epoch": 4, "result": { "lineage": "w-1" } }),
            );
            let call = next();
            assert_eq!(
                (&call["params"]["verb"], &call["params"]["idempotency"]),
                (&json!("ps"), &json!("k"))
            );
            say(stream, &answer(&call, 4));
        });
        assert_eq!(client.attach(&Identity::Agent("w".to_owned()), "test", Some("narrow")).unwrap(), "w-1");
        let options = CallOptions { idempotency: Some("k".to_owned()), timeout: Some(SOON), tied: false };
        assert_eq!(client.call("ps", &json!({}), &options).unwrap()["ok"], true);
        assert_eq!(client.epoch(), 4);
        served.join().unwrap();
    }

    #[test]
    fn a_refusal_keeps_its_code_hint_and_data() {
        let (mut client, _served) = daemon(|next, stream| {
            let id = next()["id"].clone();
            let data = json!({ "code": "denied", "hint": "ostk why w", "data": { "seq": 9 } });
            let error = json!({ "code": -32001, "message": "w may not", "data": data });
            say(stream, &json!({ "jsonrpc": "2.0", "id": id, "epoch": 1, "error": error }));
        });
        let Err(ClientError::Call { code, message, hint, data }) = call(&mut client) else {
            panic!("no refusal")
        };
        assert_eq!(
            (code.as_str(), message.as_str(), hint.as_deref()),
            ("denied", "w may not", Some("ostk why w"))
        );
        assert_eq!(data["seq"], 9);
    }

    #[test]
    fn a_frame_that_comes_in_pieces_is_put_together() {
        let (mut client, _served) = daemon(|next, stream| {
            let text = format!("{}\n", answer(&next(), 1));
            for piece in text.as_bytes().chunks(7) {
                stream.write_all(piece).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        assert_eq!(call(&mut client).unwrap()["ok"], true);
    }

    #[test]
    fn half_an_event_is_no_event_until_the_other_half_comes() {
        let (go, wait) = std::sync::mpsc::channel();
        let (mut client, _served) = daemon(move |_, stream| {
            let text = format!("{}\n", event(5));
            stream.write_all(&text.as_bytes()[..20]).unwrap();
            wait.recv().unwrap();
            stream.write_all(&text.as_bytes()[20..]).unwrap();
        });
        assert_eq!(client.next_event(Duration::from_millis(30)).unwrap(), None);
        go.send(()).unwrap();
        assert_eq!(client.next_event(SOON).unwrap().unwrap().seq, 5);
    }

    #[test]
    fn events_that_come_during_a_call_are_not_lost() {
        let (mut client, _served) = daemon(|next, stream| {
            let request = next();
            say(stream, &event(1));
            say(stream, &event(2));
            say(stream, &answer(&request, 1));
            say(stream, &event(3));
        });
        call(&mut client).unwrap();
        let seqs: Vec<u64> = (0..3).map(|_| client.next_event(SOON).unwrap().unwrap().seq).collect();
        assert_eq!(seqs, [1, 2, 3]);
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_given_up_on_even_while_it_sends_events() {
        let (mut client, _served) = daemon(|next, stream| {
            next();
            // Until the client hangs up.
            while stream.write_all(format!("{}\n", event(1)).as_bytes()).is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        let failure = client.request("call", &json!({}), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(&failure, ClientError::Io(error) if is_timeout(error)), "{failure}");
    }

    #[test]
    fn a_late_answer_is_not_taken_for_the_next_one() {
        let (mut client, _served) = daemon(|next, stream| {
            let (late, now) = (next(), next());
            say(stream, &json!({ "jsonrpc": "2.0", "id": late["id"], "epoch": 1, "result": "late" }));
            say(stream, &answer(&now, 1));
        });
        assert!(client.request("call", &json!({}), Duration::from_millis(20)).is_err());
        assert_eq!(call(&mut client).unwrap()["ok"], true);
    }

    #[test]
    fn a_daemon_of_an_older_epoch_is_not_believed() {
        let (mut client, _served) = daemon(|next, stream| {
            let first = next();
            say(stream, &answer(&first, 7));
            let second = next();
            say(stream, &answer(&second, 6));
        });
        call(&mut client).unwrap();
        let failure = call(&mut client).unwrap_err();
        assert_eq!(failure.to_string(), "the daemon broke the protocol: epoch 6 after epoch 7");
    }

    #[test]
    fn a_closed_connection_is_an_error_even_in_the_middle_of_a_frame() {
        let (mut client, _served) = daemon(|next, stream| {
            next();
            stream.write_all(b"{\"jsonrpc\":\"2.0\",").unwrap();
        });
        let failure = call(&mut client).unwrap_err();
        assert!(failure.to_string().contains("closed"), "{failure}");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let (mut client, _served) = daemon(|next, stream| {
            next();
            let _ = stream.write_all(&[b'x'; 8192]);
        });
        let failure = call(&mut client).unwrap_err();
        assert!(matches!(failure, ClientError::Protocol(_)), "{failure}");
    }

    #[test]
    fn a_stream_that_ends_says_where_to_resume() {
        let (mut client, _served) = daemon(|_, stream| {
            let params = json!({ "reason": "the log was replaced", "resume_from": 12 });
            say(stream, &json!({ "jsonrpc": "2.0", "method": "gone", "params": params }));
        });
        let failure = client.next_event(SOON).unwrap_err();
        assert!(matches!(failure, ClientError::Gone { resume_from: 12, .. }), "{failure}");
    }

    #[test]
    fn what_is_not_json_breaks_the_protocol() {
        let (mut client, _served) = daemon(|next, stream| {
            next();
            stream.write_all(b"hello\n").unwrap();
        });
        assert!(matches!(call(&mut client), Err(ClientError::Protocol(_))));
    }
}
