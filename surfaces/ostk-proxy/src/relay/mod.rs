//! The relay: a loopback server on which one agent reaches the vendors of models without holding their keys.
//!
//! It passes requests and replies on byte for byte, streamed as they come, swaps the agent's local token for the real key,
//! and has every request asked for and recorded by a [`ModelDesk`]. It changes nothing and retries nothing: caches, modes and
//! budgets are later steps between `exchange.rs`, which prepares a request, and `upstream.rs`, which sends it.

mod budget;
mod desk;
mod exchange;
mod settle;
mod token;
mod upstream;
mod usage;
mod vendor;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

pub use desk::{Keys, ModelDesk, ModelReply, ModelRequest};
pub use token::Token;
pub use upstream::{Addresses, UpstreamError, Upstreams};
pub use usage::TokenCounts;
pub use vendor::{Vendor, Wire};

use crate::listen::{self, Permit};
use budget::Budget;

/// The largest body of a request, and the most of a reply that is recorded. Vendors refuse requests of half this size.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// Memory for the bodies of one relay: some requests of the largest size, or hundreds of usual ones.
const MAX_BODIES_BYTES: usize = 4 * MAX_BODY_BYTES;
/// For a client to send the head of its next request. Clients keep connections open between turns.
const HEAD_DEADLINE: Duration = Duration::from_secs(300);

/// How much and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Connections at once.
    pub connections: usize,
    /// Between two parts of a request's body.
    pub body: Duration,
    /// From the request to the head of the reply; a reply that is not streamed takes as long as the model thinks.
    pub first_byte: Duration,
    /// Between two parts of a reply. Reasoning models are silent for minutes on OpenAI's wire.
    pub idle: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connections: 128, body: seconds(30), first_byte: seconds(900), idle: seconds(300) }
    }
}

/// The relay of one agent.
pub struct Relay<D> {
    desk: Arc<D>,
    keys: Arc<dyn Keys>,
    upstreams: Arc<Upstreams>,
    token: Token,
    limits: RelayLimits,
    budget: Arc<Budget>,
}

impl<D: ModelDesk> Relay<D> {
    /// A relay for the bearer of `token`, with default limits.
    pub fn new(desk: Arc<D>, keys: Arc<dyn Keys>, upstreams: Arc<Upstreams>, token: Token) -> Self {
        let budget = Budget::new(MAX_BODIES_BYTES);
        Self { desk, keys, upstreams, token, limits: RelayLimits::default(), budget }
    }

    /// The same with limits of one's own.
    #[must_use]
    pub fn with_limits(self, limits: RelayLimits) -> Self {
        Self { limits, ..self }
    }

    /// Serves `listener` until `stop` is done, then ends every exchange and returns once the desk knows of each end. The
    /// listener may belong to another network namespace; the vendors are reached from the caller's.
    ///
    /// # Errors
    /// The listener cannot be used with the runtime. What goes wrong with one connection ends only that.
    pub async fn serve(
        self: Arc<Self>,
        listener: std::net::TcpListener,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let limit = self.limits.connections;
        let client = move |stream, permit| Arc::clone(&self).client(stream, permit);
        listen::serve(listener, limit, stop, client).await
    }

    async fn client(self: Arc<Self>, stream: TcpStream, permit: Permit) {
        let service = service_fn(move |request| {
            let answer = exchange::answer(Arc::clone(&self), request, Arc::clone(&permit));
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
        http.auto_date_header(false).preserve_header_case(true);
        // A client that breaks off has nobody left to tell; the desk learns of it when the exchange is dropped.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }
}
