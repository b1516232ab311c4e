//! From a target to a connection: ask, resolve, ask again for the address, dial that address.
//!
//! The order is the point. A refused name is never resolved, so names carry nothing out; and the address that was judged
//! is the one dialled, so a name server that answers differently the second time is never asked a second time.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::connection::{Counted, Opened};
use crate::desk::{Desk, Refusal};
use crate::egress::Limits;
use crate::listen::Permit;
use crate::resolve::Resolve;
use crate::target::{Host, Target};

/// Addresses of one name that are tried. Names with more are served by any of them.
const MAX_ADDRESSES: usize = 8;

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The desk said no.
    Refused(Refusal),
    /// The name has no address, or nobody answers there.
    Unreachable(String),
    /// It took too long.
    TooSlow(String),
}

/// What makes connections.
pub(crate) struct Dialer<D> {
    pub(crate) desk: Arc<D>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) limits: Limits,
}

impl<D: Desk> Dialer<D> {
    /// A connection to `target`, allowed and recorded.
    pub(crate) async fn open(
        &self,
        target: &Target,
        permit: &Permit,
    ) -> Result<(Opened<D>, Counted), Failure> {
        self.desk.resolve(target).await.map_err(Failure::Refused)?;
        let mut failure = Failure::Unreachable(format!("{} has no address", target.host));
        for address in self.addresses(target).await? {
            match self.reach(target, address, permit).await {
                Ok(opened) => return Ok(opened),
                // Of several reasons the refusal is the one that somebody can do something about.
                Err(_) if matches!(failure, Failure::Refused(_)) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Failure> {
        let name = match &target.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, target.port)]),
            Host::Name(name) => name,
        };
        let found = within(self.limits.resolve, self.resolver.resolve(name, target.port)).await;
        let mut addresses = found.map_err(|error| failed(&error, &format!("{name} cannot be resolved")))?;
        addresses.truncate(MAX_ADDRESSES);
        // The port is the target's, whatever a resolver says.
        addresses.iter_mut().for_each(|address| address.set_port(target.port));
        Ok(addresses)
    }

    async fn reach(
        &self,
        target: &Target,
        address: SocketAddr,
        permit: &Permit,
    ) -> Result<(Opened<D>, Counted), Failure> {
        let address = SocketAddr::new(plain(address.ip()), address.port());
        let opened = self.allowed(target, address, permit).await?;
        match within(self.limits.dial, TcpStream::connect(address)).await {
            Ok(stream) => {
                // Whoever proxies should not add to the latency; a failure to say so changes nothing else.
                let _ = stream.set_nodelay(true);
                let counts = opened.counts();
                Ok((opened, Counted::new(stream, counts)))
            }
            Err(error) => {
                let failure = failed(&error, &format!("{target} does not answer at {}", address.ip()));
                opened.end(Some(error.to_string()));
                Err(failure)
            }
        }
    }

    /// Asks in a task of its own: if this connection is given up meanwhile, the intent is closed all the same.
    async fn allowed(
        &self,
        target: &Target,
        address: SocketAddr,
        permit: &Permit,
    ) -> Result<Opened<D>, Failure> {
        let (desk, target, permit) = (Arc::clone(&self.desk), target.clone(), Arc::clone(permit));
        let asking = tokio::spawn(async move {
            let intent = desk.connect(&target, address).await?;
            Ok(Opened::new(desk, intent, permit))
        });
        let asked = asking.await.map_err(|_| Failure::Unreachable("the kernel gave no answer".into()))?;
        asked.map_err(Failure::Refused)
    }
}

/// An IPv4 address in an IPv6 one is judged and dialled as what it is.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

fn failed(error: &io::Error, what: &str) -> Failure {
    let text = format!("{what}: {error}");
    if error.kind() == io::ErrorKind::TimedOut { Failure::TooSlow(text) } else { Failure::Unreachable(text) }
}
