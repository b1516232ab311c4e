//! Governance documents in, verdicts out.
//!
//! [`Policy::load`] compiles the built-in rules and the pins; [`Policy::decide`] is a pure function of the compiled
//! rules and a [`Request`]. [`Gate`] holds the active policy and keeps the old one when new documents do not parse.
//! What is not here: the sandbox (`ostk-sandbox` gets its bounds from [`Policy::bounds`]) and who may change documents.

mod decide;
mod gate;
mod load;
mod path;
mod pin;
mod request;
mod verdict;

pub use gate::Gate;
pub use load::{Documents, LoadError, Policy};
pub use pin::{Pin, Token, scaffold};
pub use request::{Actor, ActorKind, Class, Request, Resource, ToolGrant};
pub use verdict::{Effect, RuleRef, Verdict};
