//! The tests of `ostk-agent`. `agentfile` is about the text a person writes, `agent` about the life of an
//! agent, `laws` about what holds for every life; `world` plays model and tools.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

mod agent;
mod agentfile;
mod laws;
mod world;
