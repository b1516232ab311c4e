//! The egress proxy: one listener in a process's own network namespace, HTTP and SOCKS5 on one port.
//!
//! Reads what a client wants, has `dial.rs` ask and dial, and passes bytes both ways. One target for each connection: after
//! a plain request the connection ends, so nothing can follow it that was not judged. Plain bodies go through hyper at both
//! ends and so have one reading.

use std::future::Future;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::connection::{Counted, Opened, is_idle};
use crate::desk::{Desk, Refusal};
use crate::dial::{Dialer, Failure};
use crate::head::{self, Head, HeadError};
use crate::plain;
use crate::resolve::{Resolve, SystemResolver};
use crate::socks;

/// Clients that are told at the same time that there are too many; more are just closed.
const MAX_TURNED_AWAY: usize = 32;
/// How long to read what a refused client still sends, so that it sees the answer instead of a reset.
const LINGER: Duration = Duration::from_secs(1);
/// How long to wait at the end until the desk knows of all connections.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Rest after a failed accept: out of descriptors, most likely, and the next connection that ends frees one.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// How much and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// For a client to say where it wants to go.
    pub head: Duration,
    /// For a name to be resolved.
    pub resolve: Duration,
    /// For each address to answer.
    pub dial: Duration,
    /// Without a byte either way, after which a connection is ended (at most twice as late).
    pub idle: Duration,
}

impl Default for Limits {
    /// A build that fetches hundreds of packages opens some dozens of connections; a stream of events may be silent for
    /// minutes.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 256,
            head: seconds(15),
            resolve: seconds(10),
            dial: seconds(10),
            idle: seconds(600),
        }
    }
}

/// The proxy of one contained process.
pub struct Egress<D> {
    dialer: Arc<Dialer<D>>,
}

impl<D: Desk> Egress<D> {
    /// A proxy that asks `desk`, with the machine's resolver and default limits.
    pub fn new(desk: Arc<D>) -> Self {
        Self::with(desk, Arc::new(SystemResolver), Limits::default())
    }

    /// A proxy with a resolver and limits of one's own.
    pub fn with(desk: Arc<D>, resolver: Arc<dyn Resolve>, limits: Limits) -> Self {
        Self { dialer: Arc::new(Dialer { desk, resolver, limits }) }
    }

    /// Serves `listener` until `stop` is done, then ends every connection and returns once the desk knows of each end.
    /// The listener may belong to another network namespace; connections out are made from the caller's. If the future is
    /// dropped instead, connections end as well and the desk is told by tasks that nobody waits for.
    ///
    /// # Errors
    /// The listener cannot be used with the runtime. What goes wrong with one connection ends only that.
    pub async fn serve(
        &self,
        listener: std::net::TcpListener,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let limit = self.dialer.limits.connections;
        let (open, away) = (Arc::new(Semaphore::new(limit)), Arc::new(Semaphore::new(MAX_TURNED_AWAY)));
        let mut clients = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let stream = tokio::select! {
                () = &mut stop => break,
                Some(_) = clients.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = stream else {
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            };
            if let Ok(permit) = Arc::clone(&open).try_acquire_owned() {
                let client = Client { stream, dialer: Arc::clone(&self.dialer), permit: Arc::new(permit) };
                clients.spawn(client.serve());
            } else if let Ok(permit) = Arc::clone(&away).try_acquire_owned() {
                clients.spawn(turn_away(stream, limit, permit));
            }
        }
        clients.shutdown().await;
        let all = open.acquire_many(u32::try_from(limit).unwrap_or(u32::MAX));
        // A desk that does not answer must not keep the daemon from ending.
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
        Ok(())
    }
}

/// One accepted connection.
struct Client<D> {
    stream: TcpStream,
    dialer: Arc<Dialer<D>>,
    permit: Arc<OwnedSemaphorePermit>,
}

impl<D: Desk> Client<D> {
    async fn serve(self) {
        let _ = self.stream.set_nodelay(true);
        let mut first = [0];
        let peeked = tokio::time::timeout(self.dialer.limits.head, self.stream.peek(&mut first)).await;
        if !matches!(peeked, Ok(Ok(1))) {
            return;
        }
        // A client that breaks off has nobody left to tell; the desk learns of it when the connection is dropped.
        let _ = match first {
            [socks::VERSION] => self.socks().await,
            _ => self.http().await,
        };
    }

    async fn socks(mut self) -> io::Result<()> {
        let read = tokio::time::timeout(self.dialer.limits.head, socks::read(&mut self.stream)).await;
        let Some(target) = read.map_err(io::Error::from)?? else { return Ok(()) };
        match self.dialer.open(&target, &self.permit).await {
            Ok((opened, server)) => {
                socks::reply(&mut self.stream, socks::Reply::Succeeded).await?;
                self.tunnel(opened, server, &[]).await
            }
            Err(failure) => {
                socks::reply(&mut self.stream, socks::Reply::from(&failure)).await?;
                linger(&mut self.stream).await
            }
        }
    }

    async fn http(mut self) -> io::Result<()> {
        let mut buffer = Vec::new();
        let read = head::read(&mut self.stream, &mut buffer);
        let head = match tokio::time::timeout(self.dialer.limits.head, read).await {
            Ok(Ok(head)) => head,
            Ok(Err(HeadError::Io(error))) => return Err(error),
            Ok(Err(error @ HeadError::Bad(_))) => {
                return answer(&mut self.stream, 400, &error.to_string()).await;
            }
            Ok(Err(error)) => return answer(&mut self.stream, 431, &error.to_string()).await,
            Err(_) => return answer(&mut self.stream, 408, "the request did not arrive in time").await,
        };
        match self.dialer.open(&head.target, &self.permit).await {
            Ok((opened, server)) => self.pass(&head, buffer, opened, server).await,
            Err(failure) => {
                let (status, text) = told(&failure);
                answer(&mut self.stream, status, &text).await
            }
        }
    }

    async fn pass(
        mut self,
        head: &Head,
        buffer: Vec<u8>,
        opened: Opened<D>,
        server: Counted,
    ) -> io::Result<()> {
        if !head.is_tunnel {
            return self.plain(head, buffer, opened, server).await;
        }
        self.stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        self.tunnel(opened, server, buffer.get(head.size..).unwrap_or_default()).await
    }

    /// Bytes both ways until both sides are done. `early` came with the request.
    async fn tunnel(mut self, opened: Opened<D>, mut server: Counted, early: &[u8]) -> io::Result<()> {
        let counts = opened.counts();
        let copy = async {
            server.write_all(early).await?;
            tokio::io::copy_bidirectional(&mut self.stream, &mut server).await.map(|_| ())
        };
        let problem = tokio::select! {
            copied = copy => copied.err().map(|error| error.to_string()),
            () = is_idle(&counts, self.dialer.limits.idle) => Some(IDLE.to_owned()),
        };
        opened.end(problem);
        Ok(())
    }

    /// One plain request and its answer.
    async fn plain(
        mut self,
        head: &Head,
        buffer: Vec<u8>,
        opened: Opened<D>,
        server: Counted,
    ) -> io::Result<()> {
        let counts = opened.counts();
        let (reader, writer) = self.stream.split();
        let client = tokio::io::join(Cursor::new(buffer).chain(reader), writer);
        // `'static` is what hyper asks of a service's parts, not of its connection.
        let server = Mutex::new(Some(server));
        let take = || server.lock().unwrap_or_else(PoisonError::into_inner).take();
        let problem = tokio::select! {
            relayed = plain::relay(client, &head.target, take) => relayed.err(),
            () = is_idle(&counts, self.dialer.limits.idle) => Some(IDLE.to_owned()),
        };
        opened.end(problem);
        Ok(())
    }
}

const IDLE: &str = "ended because nothing was sent either way";

/// Status and body for a connection that is not made.
fn told(failure: &Failure) -> (u16, String) {
    match failure {
        Failure::Refused(Refusal { reason, hint }) => {
            let hint = hint.as_ref().map(|hint| format!("\nHint: {hint}")).unwrap_or_default();
            (403, format!("Error: {reason}{hint}"))
        }
        Failure::Unreachable(text) => (502, format!("Error: {text}")),
        Failure::TooSlow(text) => (504, format!("Error: {text}")),
    }
}

async fn turn_away(mut stream: TcpStream, limit: usize, _permit: OwnedSemaphorePermit) {
    let text =
        format!("Error: {limit} connections are open, which is the limit\nHint: end some, then try again");
    // It may have left already.
    let _ = answer(&mut stream, 503, &text).await;
}

async fn answer(stream: &mut TcpStream, status: u16, text: &str) -> io::Result<()> {
    let reason =
        hyper::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        text.len() + 1
    );
    stream.write_all(format!("{head}{text}\n").as_bytes()).await?;
    linger(stream).await
}

/// Ends the conversation so that the client reads the last answer: a socket closed with bytes unread is reset.
async fn linger<S: tokio::io::AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 4 << 10];
    let drain = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
    Ok(())
}
