//! What the relay to model vendors adds to a request: the same request to a vendor on loopback, directly and through the
//! relay, in turn.
//!
//! The vendor is a thread that answers each request with the same short reply; the desk permits at once and forgets, so what
//! the kernel adds by recording is not in the figure. Each sample is a difference of two neighbours; it can be negative.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use ostk_keys::secrets::{Masker, Secret};
use ostk_proxy::{
    Addresses, Keys, ModelDesk, ModelReply, ModelRequest, Refusal, Relay, Token, Upstreams, Vendor,
};

use crate::figure::{Figure, seconds};

const ROUNDS: usize = 3_000;
const LARGE_ROUNDS: usize = 20;
/// A first turn with a few tools, and the most that vendors take.
const SIZES: (usize, usize) = (8 << 10, 30 << 20);
const TOKEN: &str = "ostk_bench";
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 46\r\n\r\n\
                       {\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}";

pub(crate) fn measure(_dir: &Path) -> Result<Vec<Figure>> {
    let vendor = vendor()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let relay = {
        let _inside = runtime.enter();
        relay(vendor)?
    };
    let (mut direct, mut through) = (Client::to(vendor)?, Client::to(relay)?);
    let (plain, added) = compare(&mut direct, &mut through, &request(SIZES.0), ROUNDS)?;
    let (plain_large, added_large) = compare(&mut direct, &mut through, &request(SIZES.1), LARGE_ROUNDS)?;
    Ok(vec![
        Figure::low("8 KiB to a vendor on loopback and a short reply, directly", "ms", plain),
        Figure::low("added by the relay", "ms", added).median(0.44),
        Figure::low("30 MiB to a vendor on loopback and a short reply, directly", "ms", plain_large),
        Figure::low("added by the relay to 30 MiB", "ms", added_large).median(100.0),
    ])
}

/// Times of the direct requests, and how much longer those through the relay took.
fn compare(
    direct: &mut Client,
    through: &mut Client,
    request: &[u8],
    rounds: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut plain, mut added) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (alone, answered) = seconds(|| direct.ask(request));
        answered?;
        let (relayed, answered) = seconds(|| through.ask(request));
        answered?;
        plain.push(alone * 1e3);
        added.push((relayed - alone) * 1e3);
    }
    Ok((plain, added))
}

fn request(size_bytes: usize) -> Vec<u8> {
    let body = format!(
        r#"{{"model":"claude-bench","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(size_bytes)
    );
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    format!("{head}{body}").into_bytes()
}

/// One connection that is kept open, as agents' clients do.
struct Client(BufReader<TcpStream>);

impl Client {
    fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.0.get_mut().write_all(request)?;
        let length = content_length(&mut self.0)?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        ensure!(REPLY.ends_with(&body) && !body.is_empty(), "the reply is another one");
        Ok(())
    }
}

/// Reads a head; the length of the body behind it.
fn content_length(reader: &mut impl BufRead) -> Result<usize> {
    let mut length = None;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the connection ended");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return length.context("no length");
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
    }
}

/// A server that answers every request alike, a thread for each connection, until the process ends.
fn vendor() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut body = vec![0; content_length(&mut reader)?];
        reader.read_exact(&mut body)?;
        reader.get_mut().write_all(REPLY)?;
    }
}

fn relay(vendor: SocketAddr) -> Result<SocketAddr> {
    let addresses = Addresses {
        anthropic: format!("http://{vendor}"),
        openai: format!("http://{vendor}/v1"),
        gemini: format!("http://{vendor}"),
        ..Addresses::default()
    };
    let upstreams = Arc::new(Upstreams::new(&addresses)?);
    let relay = Arc::new(Relay::new(Arc::new(Permits), Arc::new(OneKey), upstreams, Token::new(TOKEN)));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    tokio::spawn(relay.serve(listener, std::future::pending()));
    Ok(address)
}

/// A desk that permits everything.
struct Permits;

impl ModelDesk for Permits {
    async fn model(&self, _request: &ModelRequest) -> Result<u64, Refusal> {
        Ok(1)
    }

    async fn model_ended(&self, _intent: u64, _reply: ModelReply) {}
}

struct OneKey;

impl Keys for OneKey {
    fn key(&self, _vendor: Vendor) -> Option<Secret> {
        Secret::new("sk-bench-0123456789-0123456789".to_owned()).ok()
    }

    fn masker(&self) -> Masker {
        let key = self.key(Vendor::OpenAi);
        Masker::new(key.iter().map(|key| ("KEY", key)))
            .unwrap_or_else(|_| unreachable!("one key is not too many"))
    }
}
