//! The ways out of a contained process: to granted hosts, and to model vendors.
//!
//! [`Egress`] is a proxy (HTTP `CONNECT`, plain HTTP, SOCKS5) in a process's own network namespace. It decides nothing:
//! it asks a [`Desk`], which the daemon puts in front of the kernel, before it resolves a name and before it dials an
//! address, and tells it how each connection ended. It holds no state and no policy; the daemon hands in listeners.

mod connection;
mod desk;
mod dial;
mod egress;
mod head;
mod plain;
mod resolve;
mod socks;
mod target;

pub use desk::{ConnectionEnd, Desk, Refusal};
pub use egress::{Egress, Limits};
pub use resolve::{Resolve, Resolving, SystemResolver};
pub use target::{Host, Target, TargetError};
