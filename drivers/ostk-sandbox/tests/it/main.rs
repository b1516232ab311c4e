//! Real processes in the sandbox of this machine, in every way of protection that it offers.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected must stop")]

mod files;
mod hostile;
mod limits;
mod observe;
mod ordinary_user;
mod relays;
mod running;
mod sockets;
mod start;
mod terminal;
mod workday;
mod yard;
