//! The binary from outside: every test drives the real `ostk` in a git repository of its own, with a home and keys of
//! its own, and stops the daemon that it started.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets the unexpected must stop"
)]

mod accept;
mod approvals;
mod attach;
mod audit;
mod book;
mod contract;
mod fixture;
mod full_disk;
mod health;
mod init;
mod learn;
mod lint;
mod pin;
mod project;
mod schema;
mod secret;
mod show;
mod sign;
mod snapshots;
mod streams;
mod trust;
mod why;
mod work;
