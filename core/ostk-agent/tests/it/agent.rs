//! The agent loop from outside: a driver plays model and tools, and the agent is only ever asked what it needs next.

use std::collections::{BTreeMap, BTreeSet};

use ostk_agent::{
    AgentConfig, AgentEvent, AgentState, Lifecycle, Limits, Next, Outcome, ToolCall,
    model::{Block, ModelReply, Role, StopReason, Usage},
};
use ostk_log::{Hash, Timestamp};
use proptest::prelude::*;
use serde_json::json;

/// One reply of the model: the tools it asks for, and how full the context is after it, in percent.
#[derive(Clone, Debug)]
struct Reply {
    tools: usize,
    percent: u64,
    fails_first: bool,
}

const WINDOW: u64 = 1_000;

/// Plays the world around an agent and keeps every step, as the log would.
#[derive(Default)]
struct World {
    agent: AgentState,
    steps: Vec<(u64, Timestamp, AgentEvent)>,
    blobs: BTreeMap<Hash, Vec<u8>>,
    now: u64,
    failed: BTreeSet<u64>,
    model_calls: Vec<u64>,
    tool_calls: Vec<String>,
}

impl World {
    fn spawn(limits: Limits) -> Self {
        let mut world = Self { now: 1_000_000, ..Self::default() };
        let (system_blob, task_blob) = (world.put(b"be brief"), world.put(b"do it"));
        let config = AgentConfig {
            lineage: "w".to_owned(),
            session: 1,
            model: "m".to_owned(),
            system_blob,
            task_blob,
            tools: None,
            limits,
            context_window: WINDOW,
            max_tokens: 100,
        };
        world.step(AgentEvent::Spawned { config: Box::new(config) });
        world
    }

    fn put(&mut self, bytes: &[u8]) -> Hash {
        let hash = Hash::of(bytes);
        self.blobs.insert(hash, bytes.to_vec());
        hash
    }

    fn step(&mut self, event: AgentEvent) {
        self.now += 1_000;
        let (seq, ts) = (self.steps.len() as u64, Timestamp::from_micros(self.now));
        self.agent.apply(seq, ts, &event).unwrap();
        self.steps.push((seq, ts, event));
    }

    /// Lets the agent go on until it ends, or until `stop` steps are recorded.
    fn run(&mut self, script: &[Reply], stop: usize) {
        while self.steps.len() < stop {
            match self.agent.next(Timestamp::from_micros(self.now)) {
                Next::CallModel { call_no } => self.call_model(script, call_no),
                Next::CallTools(pending) => {
                    let tool = pending.into_iter().next().expect("an open turn has an open tool");
                    assert!(!self.tool_calls.contains(&tool.key), "{} was called twice", tool.key);
                    self.tool_calls.push(tool.key.clone());
                    let result_blob = self.put(format!("result of {}", tool.key).as_bytes());
                    self.step(AgentEvent::ToolReceipt {
                        call_no: tool.call_no,
                        id: tool.id,
                        result_blob,
                        is_error: false,
                    });
                }
                Next::Wait { until } => self.now = until.as_micros(),
                Next::Handoff => {
                    let text = self.agent.handoff_text(&["a.rs".to_owned()]);
                    let summary_blob = self.put(text.as_bytes());
                    self.step(AgentEvent::HandedOff { summary_blob });
                }
                Next::Finish(outcome) => self.step(AgentEvent::Finished { outcome }),
                Next::Idle => return,
            }
        }
    }

    fn call_model(&mut self, script: &[Reply], call_no: u64) {
        let turn = self.agent.spent().turns;
        let reply =
            script.get(turn as usize).cloned().unwrap_or(Reply { tools: 0, percent: 10, fails_first: false });
        self.step(AgentEvent::ModelIntent { call_no });
        if reply.fails_first && self.failed.insert(turn) {
            return self.step(AgentEvent::ModelFailed {
                call_no,
                error: "overloaded".to_owned(),
                retryable: true,
            });
        }
        self.model_calls.push(turn);
        let names: Vec<ToolCall> = (0..reply.tools)
            .map(|tool| ToolCall { id: format!("t{turn}-{tool}"), name: "read".to_owned() })
            .collect();
        let mut content = vec![Block::Text { text: format!("turn {turn}") }];
        content.extend(names.iter().map(|tool| Block::ToolUse {
            id: tool.id.clone(),
            name: tool.name.clone(),
            input: json!({}),
        }));
        let stop = if reply.tools > 0 { StopReason::ToolUse } else { StopReason::EndTurn };
        let usage = Usage { input: WINDOW * reply.percent / 100, output: 0, ..Usage::default() };
        let message =
            ModelReply { model: "m".to_owned(), message_id: format!("m{turn}"), content, stop, usage };
        let reply_blob = self.put(&serde_json::to_vec(&message).unwrap());
        self.step(AgentEvent::ModelReceipt {
            call_no,
            reply_blob,
            stop,
            usage,
            cost_micro_usd: Some(10),
            tools: names,
        });
    }

    fn compose(&self) -> Vec<ostk_agent::model::Message> {
        self.agent.compose(&|hash| self.blobs.get(hash).cloned(), &[]).unwrap().messages
    }
}

/// A world that has forgotten everything but the log and the blobs, as after a crash.
fn after_crash(old: &World) -> World {
    let mut agent = AgentState::default();
    for (seq, ts, event) in &old.steps {
        let event: AgentEvent = serde_json::from_value(serde_json::to_value(event).unwrap()).unwrap();
        agent.apply(*seq, *ts, &event).unwrap();
    }
    assert_eq!(agent, old.agent, "the fold of the log is the state");
    World {
        agent,
        steps: old.steps.clone(),
        blobs: old.blobs.clone(),
        now: old.now,
        failed: old.failed.clone(),
        model_calls: old.model_calls.clone(),
        tool_calls: old.tool_calls.clone(),
    }
}

fn replies() -> impl Strategy<Value = Vec<Reply>> {
    let reply = (0..4_usize, 5..60_u64, any::<bool>()).prop_map(|(tools, percent, fails_first)| Reply {
        tools: tools.max(1),
        percent,
        fails_first,
    });
    prop::collection::vec(reply, 0..8)
}

proptest! {
    #[test]
    fn a_crash_after_any_step_changes_nothing(script in replies(), at in 0..60_usize) {
        let mut whole = World::spawn(Limits::default());
        whole.run(&script, 1_000);
        let mut broken = World::spawn(Limits::default());
        broken.run(&script, at);
        let mut broken = after_crash(&broken);
        broken.run(&script, 1_000);
        prop_assert_eq!(&broken.tool_calls, &whole.tool_calls);
        prop_assert_eq!(broken.model_calls, whole.model_calls);
        prop_assert_eq!(broken.agent.outcome(), Some(&Outcome::Done));
        prop_assert_eq!(broken.agent.spent(), whole.agent.spent());
    }

    #[test]
    fn a_longer_conversation_begins_with_the_shorter_one(script in replies()) {
        let mut world = World::spawn(Limits::default());
        let mut before = Vec::new();
        while !world.agent.is_finished() {
            let stop = world.steps.len() + 1;
            world.run(&script, stop);
            if matches!(world.agent.next(Timestamp::from_micros(world.now)), Next::CallModel { .. }) {
                let now = world.compose();
                prop_assert_eq!(&now[..before.len()], &before[..]);
                before = now;
            }
        }
    }
}

#[test]
fn every_tool_that_was_asked_for_is_answered_before_the_model_is_called_again() {
    let mut world = World::spawn(Limits::default());
    world.run(&[Reply { tools: 3, percent: 10, fails_first: false }], 1_000);
    let messages = world.compose();
    let results =
        messages[2].content.iter().filter(|block| matches!(block, Block::ToolResult { .. })).count();
    assert_eq!((messages[2].role, results), (Role::User, 3));
    assert_eq!(world.tool_calls, ["w/1/1/t0-0", "w/1/1/t0-1", "w/1/1/t0-2"]);
}

#[test]
fn a_budget_ends_the_agent_before_the_call_that_would_pass_it() {
    let script = vec![Reply { tools: 1, percent: 10, fails_first: false }; 50];
    for (limits, which, turns) in [
        (Limits { turns: Some(3), ..Limits::default() }, "turns", 3),
        (Limits { tokens: Some(350), ..Limits::default() }, "tokens", 3),
        (Limits { budget_micro_usd: Some(30), ..Limits::default() }, "budget_usd", 3),
    ] {
        let mut world = World::spawn(limits);
        world.run(&script, 1_000);
        assert_eq!(world.agent.outcome(), Some(&Outcome::BudgetExhausted { which: which.to_owned() }));
        assert_eq!(world.agent.spent().turns, turns, "{which}");
    }
}

#[test]
fn a_full_context_is_handed_to_a_successor_that_starts_fresh() {
    let mut world = World::spawn(Limits::default());
    let reply = |percent| Reply { tools: 1, percent, fails_first: false };
    world.run(&[reply(20), reply(75), reply(92), reply(93), reply(10)], 1_000);
    let handed =
        world.steps.iter().position(|(.., step)| matches!(step, AgentEvent::HandedOff { .. })).unwrap();
    assert_eq!(world.agent.lifecycle(), Lifecycle::Healthy, "the successor's context is empty again");
    let receipts = world.steps[..handed]
        .iter()
        .filter(|(.., step)| matches!(step, AgentEvent::ModelReceipt { .. }))
        .count();
    assert_eq!(receipts, 4, "one last turn after 90 %");
    assert_eq!(world.agent.outcome(), Some(&Outcome::Done));
    assert_eq!(world.agent.spent().turns, 6, "what was spent stays spent");
}

#[test]
fn a_model_that_keeps_failing_ends_the_agent_with_its_error() {
    let mut world = World::spawn(Limits::default());
    for _ in 0..8 {
        let Next::CallModel { call_no } = world.agent.next(Timestamp::from_micros(world.now + 100_000_000))
        else {
            panic!("{:?}", world.agent.next(Timestamp::from_micros(world.now)))
        };
        world.now += 100_000_000;
        world.step(AgentEvent::ModelIntent { call_no });
        world.step(AgentEvent::ModelFailed { call_no, error: "down".to_owned(), retryable: true });
    }
    let ending = world.agent.next(Timestamp::from_micros(world.now));
    assert_eq!(ending, Next::Finish(Outcome::Failed { error: "down".to_owned() }));
}
