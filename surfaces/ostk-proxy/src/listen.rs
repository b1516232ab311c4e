//! Accepting connections, a limited number at once, until told to stop.
//!
//! Shared by the egress proxy and the relay. What a connection is about is their business; here is only that each has a
//! permit, that one too many is told so, and that at the end everybody has been heard.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Clients that are told at the same time that there are too many; more are just closed.
const MAX_TURNED_AWAY: usize = 32;
/// How long to read what a refused client still sends, so that it sees the answer instead of a reset.
const LINGER: Duration = Duration::from_secs(1);
/// How long to wait at the end until the desk knows of everything.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Rest after a failed accept: out of descriptors, most likely, and the next connection that ends frees one.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Held for as long as a connection, or what it has to report, is not over.
pub(crate) type Permit = Arc<OwnedSemaphorePermit>;

/// Runs `client` for each connection, at most `limit` at once, until `stop`; then drops them and waits for their permits.
pub(crate) async fn serve<F, C>(
    listener: std::net::TcpListener,
    limit: usize,
    stop: impl Future<Output = ()>,
    client: F,
) -> io::Result<()>
where
    F: Fn(TcpStream, Permit) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (open, away) = (Arc::new(Semaphore::new(limit)), Arc::new(Semaphore::new(MAX_TURNED_AWAY)));
    let mut clients = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = clients.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        // Whoever relays should not add to the latency; a failure to say so changes nothing else.
        let _ = stream.set_nodelay(true);
        if let Ok(permit) = Arc::clone(&open).try_acquire_owned() {
            clients.spawn(client(stream, Arc::new(permit)));
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

async fn turn_away(mut stream: TcpStream, limit: usize, _permit: OwnedSemaphorePermit) {
    let text =
        format!("Error: {limit} connections are open, which is the limit\nHint: end some, then try again");
    // It may have left already.
    let _ = answer(&mut stream, 503, &text).await;
}

/// A whole HTTP response in plain text, and the end of the connection.
pub(crate) async fn answer(stream: &mut TcpStream, status: u16, text: &str) -> io::Result<()> {
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
pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 4 << 10];
    let drain = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
    Ok(())
}
