//! Language model providers behind one call.
//!
//! [`Models::call`] takes the vendor-neutral [`ModelRequest`](ostk_agent::model::ModelRequest), finds the provider by
//! the model's name, speaks its wire (Anthropic Messages, OpenAI Responses or Chat Completions), streams and
//! returns a [`ModelReply`](ostk_agent::model::ModelReply). [`price`] and [`context_window`] say what a call costs and
//! holds. A driver: it never decides whether a call may be made or made again, and keeps no conversation.
//! [`Exchange`] reads back what other clients said to a vendor.
//!
//! For tests and demonstrations point the base URLs at `scripted-model`; there is no test provider in here.

mod catalog;
mod config;
mod error;
mod exchange;
mod http;
mod models;
mod route;
mod sse;
mod wires;

pub use catalog::{DEFAULT_CONTEXT_WINDOW, MicroUsd, SMALL_CONTEXT_WINDOW, context_window, price};
pub use config::{ApiKey, Config, Endpoint, Timeouts};
pub use error::{ModelError, Phase};
pub use exchange::Exchange;
pub use models::{Delta, Models};
pub use route::{Provider, Route, route};
pub use wires::Wire;
