//! The agent loop as a deterministic state machine over receipts, and the Agentfile that configures it.
//!
//! [`AgentState`] is a fold of [`AgentEvent`]s; [`AgentState::next`] says what the agent needs now: a model call, tool
//! calls, a pause, a handoff, its end. Nothing here calls a model or a tool; whoever hosts the kernel does, and brings
//! back a receipt. After a crash the fold is the same, so `next` asks for exactly what has no receipt.

mod agentfile;
mod budget;
mod compose;
mod event;
mod facts;
pub mod model;
mod next;
mod state;

pub use agentfile::{
    Agentfile, AgentfileError, Attest, HealthCheck, Isolation, Lifetime, Limits, Restart, RestartRule,
    ToolGrant, Use, WorkOp, WorkTerm,
};
pub use budget::Spent;
pub use compose::ComposeError;
pub use event::{AgentConfig, AgentEvent, Outcome, ToolCall};
pub use next::{Next, PendingTool};
pub use state::{AgentState, ApplyError, Lifecycle};
