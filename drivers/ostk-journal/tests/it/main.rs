//! The journal as its users see it: what was acknowledged is there after any crash, what is damaged is found and located.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

mod append;
mod crash;
mod fixture;
mod recovery;
mod tail;
mod verify;
