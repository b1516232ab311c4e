//! The ways out of a contained process: to granted hosts, and to the vendors of models.
//!
//! [`Egress`] is a proxy (HTTP `CONNECT`, plain HTTP, SOCKS5) and [`Relay`] speaks the vendors' wires; both listen in a
//! process's own network namespace. They decide nothing and reach no driver: they ask a [`Desk`] or [`ModelDesk`], which the
//! daemon puts in front of the kernel, and tell it how everything ended. They hold no state and no policy.

pub mod environment;

mod connection;
mod desk;
mod dial;
mod egress;
mod head;
mod listen;
mod plain;
mod relay;
mod resolve;
mod socks;
mod target;

pub use desk::{ConnectionEnd, Desk, Refusal};
pub use egress::{Egress, Limits};
pub use relay::{
    Addresses, Keys, MAX_BODY_BYTES, ModelDesk, ModelReply, ModelRequest, Relay, RelayLimits, Token,
    TokenCounts, UpstreamError, Upstreams, Vendor, Wire,
};
pub use resolve::{Resolve, Resolving, SystemResolver};
pub use target::{Host, Target, TargetError};
