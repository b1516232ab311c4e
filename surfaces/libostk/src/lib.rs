//! The client library: find a project, talk to its daemon, read, follow, check and prove its log.
//!
//! Blocking and small on purpose: a program needs a thread, not a runtime. The protocol is newline-delimited JSON-RPC
//! 2.0 over a Unix socket; the book's protocol page describes it. What reads the log needs no daemon and changes
//! nothing.

mod client;
mod frames;
mod log;
mod project;
mod prove;

pub use client::{CallOptions, Client, ClientError, Event, Identity, PROTOCOL};
pub use log::{published, records, records_from, tail, verify};
pub use ostk_journal::{Entry, Problem, ReadError, Reader, Report, Tail, verify_watched};
pub use ostk_log::{Checkpoint, Hash, Header, KeyId, Proof, Record, Timestamp, VerifierKey};
pub use project::{Project, ProjectError};
pub use prove::{ProofFailure, prove};
