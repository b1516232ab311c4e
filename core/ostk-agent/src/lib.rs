//! The agent loop as a deterministic state machine over receipts, and the Agentfile that configures it.

pub mod model;
