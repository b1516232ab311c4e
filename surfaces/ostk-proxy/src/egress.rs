//! The egress proxy: one listener in a process's own network namespace, HTTP and SOCKS5 on one port.
//!
//! Reads what a client wants, has `dial.rs` ask and dial, and passes bytes both ways. One target for each connection: after
//! a plain request the connection ends, so nothing can follow it that was not judged. Plain bodies go through hyper at both
//! ends and so have one reading.

use std::future::Future;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connection::{Counted, Opened, is_idle};
use crate::desk::{Desk, Refusal};
use crate::dial::{Dialer, Failure};
use crate::head::{self, Head, HeadError};
use crate::listen::{self, Permit, answer, linger};
use crate::plain;
use crate::resolve::{Resolve, SystemResolver};
use crate::socks;

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
        let client = |stream, permit| Client { stream, dialer: Arc::clone(&self.dialer), permit }.serve();
        listen::serve(listener, self.dialer.limits.connections, stop, client).await
    }
}

/// One accepted connection.
struct Client<D> {
    stream: TcpStream,
    dialer: Arc<Dialer<D>>,
    permit: Permit,
}

impl<D: Desk> Client<D> {
    async fn serve(self) {
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
