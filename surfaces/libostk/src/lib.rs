//! The client library: find a project, talk to its daemon, follow its log.
//!
//! Blocking and small on purpose: a program needs a thread, not a runtime. The protocol is newline-delimited JSON-RPC
//! 2.0 over a Unix socket; the book's protocol page describes it.

mod client;
mod project;

pub use client::{CallOptions, Client, ClientError, Event, Identity, PROTOCOL};
pub use project::{Project, ProjectError};
