//! Native agents and the model that speaks to them: replies that depend on the agent's name and turn alone, so that a
//! call which is repeated after a crash gets the same reply, and the failures that models have.
//!
//! The vendors' wires are not here: a reply that cannot be parsed is the failure that `ostk-models` makes of it.

use ostk_agent::{
    AgentState,
    model::{Block, ModelReply, StopReason, Usage},
};
use ostk_blobs::BlobStore;
use ostk_kernel::{ModelFailure, Outcome};
use ostk_log::Hash;
use serde_json::{Value, json};

use crate::{
    clients::{SHARED, first_line},
    features::Features,
    pipes,
    rng::Rng,
    sagas, timers,
    workers::{self, Filter},
};

/// Tokens of one call.
pub(crate) const USAGE: Usage = Usage { input: 90, output: 10, cache_read: 0, cache_write: 0 };

/// What it costs, in millionths of a dollar.
pub(crate) const PRICE: u64 = 5;
/// Turns that an agent may take beyond those of others where it takes some to see what becomes of it.
const MORE_TURNS: u64 = 8;
/// Commands that are agents.
pub(crate) const WARDS: &[&str] = &["w0", "w1"];

/// The Agentfile of an agent, how many turns it may take, and for how many calls its tokens are enough. A call takes as many
/// tokens as any other, so that the limit of tokens can be kept to the last one.
pub(crate) fn agentfile(name: &str, seed: u64, features: &Features) -> (String, [u64; 2]) {
    let mut rng = script(name, seed);
    let (mut turns, mut calls) = (rng.within(2, 6), rng.within(2, 8));
    if features.workers || features.fallback {
        (turns, calls) = (turns + MORE_TURNS, calls + MORE_TURNS);
    }
    let tokens = calls * USAGE.total_tokens() + 50;
    let mut text =
        format!("FROM scripted\nTASK Change the files.\nLIMIT turns {turns}\nLIMIT tokens {tokens}\n");
    if features.supervision {
        text.push_str(&supervised(name, &mut rng));
    }
    if features.workers {
        text.push_str(&Filter::of(name, seed).line());
    }
    (text, [turns, calls])
}

/// The Agentfile of a command that is an agent.
pub(crate) fn ward_file(name: &str, seed: u64) -> String {
    format!("FROM auto\n{}", supervised(name, &mut script(name, seed)))
}

/// With whom it is started again, how often, after which ends, and how one tells that it works.
fn supervised(name: &str, rng: &mut Rng) -> String {
    let strategy = rng.pick(&["one_for_one", "rest_for_one", "one_for_all"]).copied().unwrap_or_default();
    let lifetime = rng.pick(&["permanent", "transient"]).copied().unwrap_or_default();
    let (times, within) = (rng.within(1, 4), rng.within(5, 120));
    let mut text = format!("RESTART {strategy} {times}/{within}\nLIFETIME {lifetime}\n");
    if rng.chance(50) {
        let (interval, failures) = (rng.within(2, 20), rng.within(1, 3));
        text.push_str(&format!(
            "HEALTHCHECK --interval={interval}s --timeout=5s --retries={failures} CMD check {name}\n"
        ));
    }
    text
}

pub(crate) fn script(name: &str, seed: u64) -> Rng {
    let name = name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Rng::new(name)
}

/// Whose conversation this is.
pub(crate) fn name_of(agent: &AgentState) -> String {
    let state = serde_json::to_value(agent).unwrap_or_default();
    let name = state.pointer("/config/lineage").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// The model answers, or fails.
pub(crate) fn call(
    agent: &AgentState,
    name: &str,
    seed: u64,
    blobs: &BlobStore,
    features: &Features,
    trouble: Option<usize>,
) -> Outcome {
    let load = |hash: &Hash| blobs.get(hash).ok().flatten();
    let given = match agent.compose(&load, &[]) {
        Ok(request) => workers::given(&request).filter(|_| features.workers),
        // Nothing retries it: a part of the conversation is missing.
        Err(error) => return Outcome::Model(Err(failure(&format!("bug: {error}"), false, None))),
    };
    Outcome::Model(match trouble {
        Some(0) => Err(failure("429: rate limited", true, Some(7_000))),
        Some(1) => Err(failure("529: overloaded", true, None)),
        // Nobody knows what it cost.
        Some(2) => Err(ModelFailure { unsettled: true, ..failure("the stream was cut", true, None) }),
        Some(3) => Err(failure("the reply is not what the vendor documents", true, None)),
        Some(_) => Err(failure("400: the request is malformed", false, None)),
        None => Ok((reply(name, seed, features, agent, given.as_deref()), Some(PRICE))),
    })
}

fn failure(message: &str, retryable: bool, retry_after_ms: Option<u64>) -> ModelFailure {
    ModelFailure { message: message.to_owned(), retryable, retry_after_ms, unsettled: false }
}

/// What the model says in a turn, counted from 0, to an agent that was given this needle last.
fn reply(name: &str, seed: u64, features: &Features, agent: &AgentState, given: Option<&str>) -> ModelReply {
    let (turn, model) = (agent.spent().turns, agent.called().to_owned());
    let content = said(name, seed, features, turn, given);
    let asks = content.iter().any(|block| matches!(block, Block::ToolUse { .. }));
    let stop = if asks { StopReason::ToolUse } else { StopReason::EndTurn };
    ModelReply { model, message_id: format!("{name}-{turn}"), content, stop, usage: USAGE }
}

fn said(name: &str, seed: u64, features: &Features, turn: u64, given: Option<&str>) -> Vec<Block> {
    let mut rng = script(name, seed.wrapping_add(turn + 1));
    if timers::started(name) {
        return vec![Block::Text { text: "Said.".to_owned() }];
    }
    if turn > 0 && rng.chance(if features.workers { 45 } else { 25 }) {
        return vec![Block::Text { text: "Done.".to_owned() }];
    }
    let mut content = vec![Block::Text { text: format!("Turn {turn}.") }];
    for at in 0..1 + rng.below(3) {
        let (tool, input) = if features.pipes && rng.chance(25) {
            ("pipe", pipes::tool(name, turn, at, &mut rng))
        } else if features.sagas && rng.chance(25) {
            ("saga", sagas::tool(name, turn, at, &mut rng))
        } else if let Some(id) = given.filter(|_| rng.chance(60)) {
            ("work", workers::tool(id, &mut rng))
        } else {
            tool(name, turn, at, &mut rng)
        };
        content.push(Block::ToolUse { id: format!("t{at}"), name: tool.to_owned(), input });
    }
    content
}

fn tool(name: &str, turn: u64, at: usize, rng: &mut Rng) -> (&'static str, Value) {
    let path = rng.pick(SHARED).copied().unwrap_or_default();
    match rng.below(10) {
        0..=1 => ("read", json!({ "path": path })),
        // Only the first change of a file finds its line: what an edit that fails leaves behind is seen as well.
        2..=5 => {
            let (old, new) = (first_line(name, path), agent_line(name, path));
            ("fs_ops", json!({ "path": path, "old_str": old, "new_str": new }))
        }
        6..=7 => ("bash", json!({ "cmd": format!("count\t{name} {turn} {at}") })),
        8 => ("note", json!({ "text": format!("note {name} {turn} {at}") })),
        _ => ("no_such_tool", json!({ "x": 1 })),
    }
}

/// The line that an agent puts in the place of its first one.
pub(crate) fn agent_line(name: &str, path: &str) -> String {
    format!("{name} in {path}: 1;")
}
