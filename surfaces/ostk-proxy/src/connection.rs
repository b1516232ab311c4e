//! A connection that the desk has allowed: its bytes are counted, and its end is always told.
//!
//! [`Opened`] is made from an intent and tells the desk when it is dropped, whatever the reason: a client that breaks
//! off, a task that is cancelled, an early return.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::desk::{ConnectionEnd, Desk};
use crate::listen::Permit;

/// Bytes that went each way.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    /// Both ways together: what does not grow is idle.
    fn total(&self) -> u64 {
        self.sent.load(Ordering::Relaxed).wrapping_add(self.received.load(Ordering::Relaxed))
    }
}

/// An intent that is to be closed.
pub(crate) struct Opened<D: Desk> {
    desk: Arc<D>,
    intent: u64,
    counts: Arc<Counts>,
    problem: Option<String>,
    /// Held until the desk knows the end, so that whoever waits for all connections waits for that too.
    permit: Option<Permit>,
    runtime: Handle,
}

impl<D: Desk> Opened<D> {
    pub(crate) fn new(desk: Arc<D>, intent: u64, permit: Permit) -> Self {
        let problem = Some("broken off by the client".to_owned());
        let (counts, runtime) = (Arc::default(), Handle::current());
        Self { desk, intent, counts, problem, permit: Some(permit), runtime }
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// It is over: by itself, or for a reason.
    pub(crate) fn end(mut self, problem: Option<String>) {
        self.problem = problem;
    }
}

impl<D: Desk> Drop for Opened<D> {
    fn drop(&mut self) {
        let end = ConnectionEnd {
            sent_bytes: self.counts.sent.load(Ordering::Relaxed),
            received_bytes: self.counts.received.load(Ordering::Relaxed),
            problem: self.problem.take(),
        };
        let (desk, intent, permit) = (Arc::clone(&self.desk), self.intent, self.permit.take());
        self.runtime.spawn(async move {
            desk.closed(intent, end).await;
            drop(permit);
        });
    }
}

/// A stream to the other machine whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    counts: Arc<Counts>,
}

impl Counted {
    pub(crate) fn new(stream: TcpStream, counts: Arc<Counts>) -> Self {
        Self { stream, counts }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        self.counts.received.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.counts.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Returns when no byte went either way for `idle` (noticed after twice that at the latest).
pub(crate) async fn is_idle(counts: &Counts, idle: Duration) {
    let mut before = counts.total();
    loop {
        tokio::time::sleep(idle).await;
        let now = counts.total();
        if now == before {
            return;
        }
        before = now;
    }
}
