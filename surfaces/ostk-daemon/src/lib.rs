//! The anchor: runs the kernel's decisions, serves JSON-RPC and MCP.
//!
//! `broker` knows the operator's secrets and `masking` keeps them out of the kernel.
//! `anchor` starts and stops, `host` owns the kernel, `hands` carries its operations out with the drivers, `rpc` serves
//! the socket, `follow` streams the log, `setup` creates a project. The only surface that reaches drivers. `mcp` and
//! `hooks` run in processes of their own, between a coding agent and the daemon's socket.

mod allowance;
mod anchor;
mod broker;
mod documents;
mod follow;
mod handles;
mod hands;
pub mod hooks;
mod host;
mod learned;
mod lookup;
mod masking;
pub mod mcp;
mod outbox;
mod peer;
mod processes;
mod projections;
mod quarantine;
mod replay;
mod rpc;
mod secrets;
mod served;
mod settings;
mod setup;
mod signed;
mod slots;
mod snapshot;
mod stacks;
mod streams;
mod tracked;
mod ways;

pub use anchor::{AnchorError, Options, anchored, listen};
pub use ostk_models::Exchange;
pub use replay::{ReplayError, replay};
pub use secrets::{listed_secrets, secret_store};
pub use served::key_of_model;
pub use settings::accepted_missing;
pub use setup::{InitError, Made, init, repository};
pub use signed::{
    Signature, SignedDocument, Trust, acceptance_file, look as look_at_trust, read_documents, signing_time,
};
