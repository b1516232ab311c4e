//! What holds a native agent back besides the policy: its budgets of tool calls and bytes, and going round in circles.
//!
//! Budgets of turns, tokens, dollars and time are the agent's own fold's (`ostk-agent`), which asks for no model call
//! that it cannot pay. These are charged where their effect is decided, before it happens.

use ostk_log::Hash;
use serde_json::Value;

use crate::{
    call::{CallError, Caller, Code},
    kernel::{Job, Kernel},
    signals, tools,
};

/// The same call with the same result so often in a row is a loop: its agent gets `SIGLOOP`, and again after as many more.
const LOOP: u32 = 3;
/// After so many it is stopped: it was told twice, and does not hear.
const STUCK: u32 = 9;
/// Calls that wait for something: making one again is what they are for.
const WAITS: &[&str] = &["agent.wait", "signal.wait", "process.interact", "pipe.read"];

impl Kernel {
    /// Whether a native agent may make one more tool call.
    pub(crate) fn afford_tool(&self, lineage: &str) -> Result<(), CallError> {
        let Some(agent) = self.state.agents.get(lineage) else { return Ok(()) };
        // The call itself is among those under way.
        let under_way = self.agents.get(lineage).map_or(0, |live| live.tools_under_way().saturating_sub(1));
        agent.tool_limit(under_way).map_or(Ok(()), |limit| Err(used_up(&format!("tool_calls {limit}"))))
    }

    /// Whether the caller of a write may write so many bytes.
    pub(crate) fn afford_bytes(&self, job: &Job, bytes: u64) -> Result<(), CallError> {
        let Caller::Agent(lineage) = &job.caller else { return Ok(()) };
        let limit = self.state.agents.get(lineage).and_then(|agent| agent.write_limit(bytes));
        limit.map_or(Ok(()), |limit| Err(used_up(&format!("bytes_written {limit}"))))
    }

    /// What the tool call was, so that the same one is known again; `None` for one that waits.
    pub(crate) fn digest_of_call(&self, lineage: &str, tool: &str, id: &str) -> Option<Hash> {
        let verb = tools::Tool::lookup(tool).map_or("", |tool| tool.call);
        if WAITS.contains(&verb) {
            return None;
        }
        let input = self.agents.get(lineage).and_then(|live| live.input_of(id)).unwrap_or(Value::Null);
        Some(Hash::of(format!("{tool}\n{input}").as_bytes()))
    }

    /// Tells an agent that goes round in circles, and in the end stops it.
    pub(crate) fn mind_loops(&mut self, lineage: &str) {
        let times = self.state.agents.get(lineage).map_or(0, ostk_agent::AgentState::repeats);
        let name = if times.is_multiple_of(STUCK) { "SIGSTOP" } else { "SIGLOOP" };
        let Some(signal) = signals::lookup(name) else { return };
        if times > 0 && times.is_multiple_of(LOOP) {
            let text = format!("the same call gave the same result {times} times in a row; try another way");
            // A lineage that is ending takes no signal.
            let _ = self.send(&Caller::Kernel, lineage, signal, &text, None);
        }
    }
}

fn used_up(limit: &str) -> CallError {
    CallError::new(Code::Denied, format!("LIMIT {limit} of the Agentfile is used up"))
        .hint("say what is done and what is open: whoever started you may give you more")
}
