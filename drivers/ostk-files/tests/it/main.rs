//! What the workspace promises, checked on a real directory. One binary; each module is one promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must stop"
)]

mod common;
mod crash;
mod names;
mod quarantine;
mod race;
mod scan;
mod watch;
mod write;
