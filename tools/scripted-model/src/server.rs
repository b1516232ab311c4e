//! The HTTP side: routes a request to its wire, plays the turn, and sends the bytes as badly as the script says.
//!
//! Runs on a thread of its own with its own runtime, so that synchronous and asynchronous tests use it alike.
//! Which turn it is and what it says is `play.rs`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::{Method, Request as HttpRequest, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::ledger::{Ledger, Request, is_secret};
use crate::play::{self, Asked, Reply};
use crate::script::{Fail, Script, Turn};
use crate::wires::Wire;

/// The largest request body; a full context window with attachments stays well below.
const MAX_REQUEST_BYTES: usize = 64 << 20;
/// Pieces of a body queued for a slow client.
const PIECES_IN_FLIGHT: usize = 16;

/// Before a cut: the connection drops what it has not yet written, and the script promises the bytes before the cut.
const FLUSH: Duration = Duration::from_millis(20);

type Body = BoxBody<Bytes, std::io::Error>;

#[derive(Debug)]
pub(crate) struct Server {
    script: Script,
    ledger: Mutex<Ledger>,
}

/// What a request is answered with.
struct Answer {
    status: StatusCode,
    retry_after_ms: Option<u64>,
    content: Content,
    of: Option<(String, usize)>,
}

enum Content {
    Json(Value),
    /// The pieces of a body and how to send them.
    Paced {
        stream: bool,
        pieces: Vec<Bytes>,
        pace: Pace,
    },
}

/// The misfortunes of one delivery.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    stall: Option<Duration>,
    cut_after_bytes: Option<usize>,
}

impl Server {
    pub(crate) fn new(script: Script, ledger: Ledger) -> Arc<Self> {
        Arc::new(Self { script, ledger: Mutex::new(ledger) })
    }

    /// The ledger; a panicking connection leaves it usable.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn script(&self) -> &Script {
        &self.script
    }

    /// Accepts until the future is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _peer)) = listener.accept().await else {
                // Out of descriptors, most likely: give the others time to close.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                let handler = hyper::service::service_fn(move |request| Arc::clone(&server).handle(request));
                // An error here is a client that went away or a body that was cut on purpose.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), handler)
                    .await;
            });
        }
    }

    async fn handle(self: Arc<Self>, request: HttpRequest<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let mut record = Request {
            method: head.method.to_string(),
            path: head.uri.to_string(),
            headers: headers_of(&head.headers),
            body: Value::Null,
            status: 0,
            conversation: None,
            turn: None,
        };
        let answer = match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
            Ok(collected) => {
                let bytes = collected.to_bytes();
                record.body = serde_json::from_slice(&bytes).unwrap_or_default();
                self.answer(&head.method, head.uri.path(), &record.body, bytes.len())
            }
            Err(error) => Answer::json(413, Wire::Anthropic.error(413, &error.to_string())),
        };
        record.status = answer.status.as_u16();
        (record.conversation, record.turn) = answer.of.clone().unzip();
        self.ledger().record(record);
        Ok(self.respond(answer))
    }

    fn answer(&self, method: &Method, path: &str, body: &Value, size_bytes: usize) -> Answer {
        match (method, path.trim_end_matches('/')) {
            (&Method::POST, "/v1/messages") => self.play(Wire::Anthropic, body, size_bytes),
            (&Method::POST, "/v1/chat/completions") => self.play(Wire::Chat, body, size_bytes),
            (&Method::POST, "/v1/responses") => self.play(Wire::Responses, body, size_bytes),
            (&Method::POST, "/v1/messages/count_tokens") => {
                Answer::json(200, json!({"input_tokens": size_bytes.div_ceil(4)}))
            }
            (&Method::GET | &Method::HEAD, "/v1/models") => Answer::json(200, models(&self.script)),
            // Clients probe that the host is there before they send anything.
            (&Method::GET | &Method::HEAD, "") => Answer::json(200, json!({"ok": true})),
            _ => Answer::json(404, Wire::Anthropic.error(404, &format!("no such endpoint: {method} {path}"))),
        }
    }

    fn play(&self, wire: Wire, body: &Value, size_bytes: usize) -> Answer {
        if !body.is_object() {
            return Answer::json(400, wire.error(400, "the body is not a JSON object"));
        }
        let asked = Asked { size_bytes, ..wire.parse(body) };
        let Some(choice) = play::choose(&self.script, &asked) else {
            return match play::default_reply(&self.script, &asked) {
                Ok(reply) => Answer::reply(wire, &asked, &reply, &Turn::default(), 0),
                Err(message) => self.complaint(wire, "default", asked.assistant_turns, &message),
            };
        };
        let name = &choice.conversation.name;
        let before = self.ledger().ask(name, choice.index);
        let turn = match play::turn_for(choice, &asked) {
            Ok(turn) => turn,
            Err(message) => return self.complaint(wire, name, choice.index, &message),
        };
        let mut answer = match turn.fail.as_ref().filter(|fail| before < fail.times) {
            Some(fail) => Answer::fail(wire, fail),
            None => match play::reply_of(choice, turn, &asked) {
                Ok(reply) => Answer::reply(wire, &asked, &reply, turn, before),
                Err(message) => return self.complaint(wire, name, choice.index, &message),
            },
        };
        answer.of = Some((name.clone(), choice.index));
        answer
    }

    fn complaint(&self, wire: Wire, conversation: &str, turn: usize, message: &str) -> Answer {
        let complaint = format!("scripted-model: conversation {conversation}, turn {turn}: {message}");
        self.ledger().complain(complaint.clone());
        Answer { of: Some((conversation.to_owned(), turn)), ..Answer::json(400, wire.error(400, &complaint)) }
    }

    fn respond(self: Arc<Self>, answer: Answer) -> Response<Body> {
        let mut response = Response::builder().status(answer.status).header("request-id", "req_scripted");
        if let Some(ms) = answer.retry_after_ms {
            response = response.header("retry-after-ms", ms).header(header::RETRY_AFTER, ms.div_ceil(1000));
        }
        let (kind, body) = match answer.content {
            Content::Json(value) => ("application/json", whole(value.to_string())),
            Content::Paced { stream, pieces, pace } => {
                let (sender, body) = Channel::new(PIECES_IN_FLIGHT);
                tokio::spawn(self.deliver(sender, pieces, pace, answer.of));
                (if stream { "text/event-stream" } else { "application/json" }, BoxBody::new(body))
            }
        };
        let response = response.header(header::CONTENT_TYPE, kind).body(body);
        response.unwrap_or_else(|error| Response::new(whole(error.to_string())))
    }

    /// Sends the pieces at their pace and notes the reply once the last one is on its way.
    async fn deliver(
        self: Arc<Self>,
        mut sender: Sender<Bytes, std::io::Error>,
        pieces: Vec<Bytes>,
        pace: Pace,
        of: Option<(String, usize)>,
    ) {
        if let Some(stall) = pace.stall {
            tokio::time::sleep(stall).await;
        }
        let mut budget = pace.cut_after_bytes;
        for mut piece in pieces {
            if let Some(left) = &mut budget {
                piece.truncate(*left);
                *left -= piece.len();
            }
            if !piece.is_empty() && sender.send_data(piece).await.is_err() {
                return;
            }
            if budget == Some(0) {
                tokio::time::sleep(FLUSH).await;
                sender.abort(std::io::Error::other("cut by the script"));
                return;
            }
        }
        if let Some((conversation, turn)) = of {
            self.ledger().replied(&conversation, turn);
        }
    }
}

impl Answer {
    fn json(status: u16, value: Value) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, retry_after_ms: None, content: Content::Json(value), of: None }
    }

    fn fail(wire: Wire, fail: &Fail) -> Self {
        let body = wire.error(fail.status, "failed as the script says");
        Self { retry_after_ms: fail.retry_after_ms, ..Self::json(fail.status, body) }
    }

    fn reply(wire: Wire, asked: &Asked, reply: &Reply, turn: &Turn, before: u64) -> Self {
        let pieces = if asked.stream { wire.events(reply) } else { vec![wire.body(reply).to_string()] };
        let pace = Pace {
            stall: turn
                .stall_ms
                .filter(|_| turn.stall_times.is_none_or(|n| before < n))
                .map(Duration::from_millis),
            cut_after_bytes: turn.cut_after_bytes.filter(|_| before < turn.cut_times.unwrap_or(1)),
        };
        let pieces = match turn.split_at {
            None => pieces.into_iter().map(Bytes::from).collect(),
            Some(split) => cut_up(&Bytes::from(pieces.concat()), split.bytes()),
        };
        Self {
            status: StatusCode::OK,
            retry_after_ms: None,
            content: Content::Paced { stream: asked.stream, pieces, pace },
            of: None,
        }
    }
}

fn cut_up(body: &Bytes, size: usize) -> Vec<Bytes> {
    body.chunks(size).map(|piece| body.slice_ref(piece)).collect()
}

fn whole(text: String) -> Body {
    BoxBody::new(Full::new(Bytes::from(text)).map_err(|never| match never {}))
}

fn headers_of(headers: &hyper::HeaderMap) -> std::collections::BTreeMap<String, String> {
    let open = headers.iter().filter(|(name, _)| !is_secret(name.as_str()));
    open.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

/// A list of models in a shape that both vendors' clients read.
fn models(script: &Script) -> Value {
    let entry = |name: &str| {
        json!({"id": name, "type": "model", "object": "model", "display_name": name, "created": 0,
            "created_at": "1970-01-01T00:00:00Z", "owned_by": "script"})
    };
    let named = script.conversations.iter().map(|c| entry(&c.name));
    let data: Vec<Value> = std::iter::once(entry("scripted")).chain(named).collect();
    json!({"object": "list", "data": data, "has_more": false})
}

/// Where a server listens by default: a free port that only this machine reaches.
pub(crate) fn any_loopback_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
