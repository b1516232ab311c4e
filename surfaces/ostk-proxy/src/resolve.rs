//! From a name to addresses.
//!
//! A trait, so that a test can play a name server that changes its mind. The answer is used once: what was judged is what
//! is dialled.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// The addresses of a name, later.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Looks names up.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `name`, each with `port`, best first. Whoever calls sets the deadline.
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> Resolving<'a>;
}

/// The machine's own resolver: `/etc/hosts`, then DNS, as `getaddrinfo` has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
    }
}
