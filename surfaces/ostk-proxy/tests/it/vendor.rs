//! A vendor made by hand, which a test drives byte by byte; a relay to it; a client of the relay; and the desk between.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ostk_keys::secrets::{Masker, Secret};
use ostk_proxy::{
    Addresses, Keys, ModelDesk, ModelReply, ModelRequest, Refusal, Relay, RelayLimits, Token, Upstreams,
    Vendor,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::desk::{eventually, read_head};

/// The token of the agent, and the key that it never sees.
pub(crate) const TOKEN: &str = "ostk_local-token";
pub(crate) const KEY: &str = "sk-real-key-of-the-operator";

/// Refuses the model `forbidden`; writes everything down.
#[derive(Default)]
pub(crate) struct ModelBook {
    pub(crate) asked: Mutex<Vec<ModelRequest>>,
    pub(crate) ended: Mutex<Vec<(u64, ModelReply)>>,
}

impl ModelDesk for ModelBook {
    async fn model(&self, request: &ModelRequest) -> Result<u64, Refusal> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(request.clone());
        if request.model.as_deref() == Some("forbidden") {
            let reason = "worker-a may not use forbidden".to_owned();
            return Err(Refusal { reason, hint: Some("ostk why worker-a model.call forbidden".into()) });
        }
        Ok(asked.len() as u64)
    }

    async fn model_ended(&self, intent: u64, reply: ModelReply) {
        self.ended.lock().unwrap().push((intent, reply));
    }
}

impl ModelBook {
    /// How the only request ended, as soon as it is told.
    pub(crate) async fn end(&self) -> ModelReply {
        eventually(|| self.ended.lock().unwrap().first().map(|(_, reply)| reply.clone())).await
    }

    pub(crate) fn request(&self) -> ModelRequest {
        self.asked.lock().unwrap()[0].clone()
    }
}

/// One key for all vendors, or none.
struct OneKey(Option<&'static str>);

impl Keys for OneKey {
    fn key(&self, _vendor: Vendor) -> Option<Secret> {
        self.0.map(|key| Secret::new(key.to_owned()).unwrap())
    }

    fn masker(&self) -> Masker {
        let key = self.key(Vendor::OpenAi);
        Masker::new(key.iter().map(|key| ("KEY", key))).unwrap()
    }
}

/// A running relay.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    pub(crate) book: Arc<ModelBook>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Rig {
    pub(crate) fn to(vendor: SocketAddr) -> Self {
        Self::with(&format!("http://{vendor}"), Some(KEY), RelayLimits::default())
    }

    /// `base` is the address without the version.
    pub(crate) fn with(base: &str, key: Option<&'static str>, limits: RelayLimits) -> Self {
        let addresses = Addresses {
            anthropic: base.into(),
            openai: format!("{base}/v1"),
            gemini: base.into(),
            ..Addresses::default()
        };
        let upstreams = Arc::new(Upstreams::new(&addresses).unwrap());
        let book = Arc::new(ModelBook::default());
        let relay = Relay::new(Arc::clone(&book), Arc::new(OneKey(key)), upstreams, Token::new(TOKEN));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Arc::new(relay.with_limits(limits));
        let serving = tokio::spawn(relay.serve(listener, std::future::pending()));
        Self { address, book, serving }
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        connect(self.address).await.send_request(request).await.unwrap()
    }

    /// Posts JSON with the token as Claude Code does, and reads the whole reply.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Whole {
        self.whole(post(path).body(Full::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn whole(&self, request: Request<Full<Bytes>>) -> Whole {
        let (head, body) = self.send(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Whole { status: head.status, headers: head.headers, body }
    }
}

/// A connection of a client.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request as Claude Code makes it.
pub(crate) fn post(path: &str) -> hyper::http::request::Builder {
    Request::post(path)
        .header("host", "127.0.0.1:1")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {TOKEN}"))
}

/// A reply with its whole body.
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Whole {
    /// The message of an error, in the shape that all three vendors share.
    pub(crate) fn error(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        value["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// A vendor that a test plays.
pub(crate) struct ByHand(tokio::net::TcpListener);

impl ByHand {
    pub(crate) async fn new() -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self(listener), address)
    }

    /// The next request: its connection, head (lower-case names as sent) and body.
    pub(crate) async fn accept(&self) -> (TcpStream, String, Vec<u8>) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        (stream, head, body)
    }
}

/// A vendor that answers every request with its own body, in pieces of the given size.
pub(crate) async fn echoes(piece: usize) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Pieces { body, piece }))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

struct Pieces {
    body: Bytes,
    piece: usize,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        let size = self.piece.min(self.body.len());
        let piece = self.body.split_to(size);
        std::task::Poll::Ready((!piece.is_empty()).then(|| Ok(hyper::body::Frame::data(piece))))
    }
}
