//! What the proxy asks before it acts, and tells afterwards.
//!
//! The daemon's host implements [`Desk`] on top of `Kernel::submit`; tests implement it with a list. Here are only the
//! trait and the shapes that cross it. A secret never does.

use std::future::Future;
use std::net::SocketAddr;

use crate::target::Target;

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// One sentence that names the rule, as `ostk why` would.
    pub reason: String,
    /// What would help, such as a command to paste.
    pub hint: Option<String>,
}

/// How a connection ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// Bytes that went to the other machine.
    pub sent_bytes: u64,
    /// Bytes that came from it.
    pub received_bytes: u64,
    /// Why it was not made or did not end by itself, in a few words.
    pub problem: Option<String>,
}

/// What the kernel says, as the daemon's host answers it.
///
/// Every method may be called from many connections at once. The desk sets the deadlines of its own answers: a person
/// may have to be asked. An intent that was given out is closed exactly once, also when the client breaks off while
/// the desk still thinks.
pub trait Desk: Send + Sync + 'static {
    /// May this host be looked up and reached at this port? Asked before a name is resolved, so a refused name never
    /// leaves the machine. The host is either a name in lower case or an address that was written as such.
    ///
    /// # Errors
    /// A refusal, which the desk has recorded.
    fn resolve(&self, target: &Target) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// May `address`, to which `target` resolved, be dialled now? `Ok` is the number of the intent and means that it is
    /// durable. The desk refuses addresses that are not public (`ostk_policy::is_public`) unless they are granted.
    ///
    /// # Errors
    /// A refusal, which the desk has recorded. Other addresses of the same name may still be asked for.
    fn connect(
        &self,
        target: &Target,
        address: SocketAddr,
    ) -> impl Future<Output = Result<u64, Refusal>> + Send;

    /// The connection of `intent` is over, or was never made.
    fn closed(&self, intent: u64, end: ConnectionEnd) -> impl Future<Output = ()> + Send;
}
