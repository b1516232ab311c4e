//! Coding agents from outside: clients of the real binary over MCP and hooks, each in a git repository of its own, and
//! the real Claude Code and Codex where the package registry can be reached.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test that meets the unexpected must stop, and one that is skipped says so"
)]

mod agentfiles;
mod broker;
mod claude;
mod clients;
mod codex;
mod contained;
mod fallback;
mod fixture;
mod home;
mod hooks;
mod http;
mod mcp;
mod pipes;
mod places;
mod real;
mod sagas;
mod secrets;
mod stacks;
mod supervise;
mod timers;
mod wire;
mod workers;
