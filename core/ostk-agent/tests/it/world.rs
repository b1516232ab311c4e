//! Plays the world around an agent, model and tools, and keeps every step as the log would. It does only what the agent
//! asks for next.

use std::collections::BTreeMap;

use ostk_agent::{
    AgentConfig, AgentEvent, AgentState, Limits, Next, Outcome, ToolCall, WorkTerm,
    model::{Block, Message, ModelReply, Role, StopReason, Usage},
};
use ostk_log::{Hash, Timestamp};
use serde_json::json;

/// Tokens of the context window.
pub(crate) const WINDOW: u64 = 1_000;
/// Longest story; one that goes on is a bug.
const MAX_STEPS: usize = 2_000;

/// One reply of the model, and what precedes it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) stop: StopReason,
    pub(crate) tools: Vec<&'static str>,
    /// How full the context is after it.
    pub(crate) percent: u64,
    pub(crate) cost: Option<u64>,
    /// Tries that fail before it.
    pub(crate) failures: u32,
    /// Somebody speaks while the model thinks.
    pub(crate) nudged: bool,
}

pub(crate) fn says(stop: StopReason) -> Reply {
    Reply { stop, tools: Vec::new(), percent: 10, cost: Some(10), failures: 0, nudged: false }
}

pub(crate) fn asks(tools: &[&'static str]) -> Reply {
    Reply { tools: tools.to_vec(), ..says(StopReason::ToolUse) }
}

impl Reply {
    pub(crate) fn at(self, percent: u64) -> Self {
        Self { percent, ..self }
    }
}

#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) agent: AgentState,
    pub(crate) steps: Vec<(u64, Timestamp, AgentEvent)>,
    pub(crate) blobs: BTreeMap<Hash, Vec<u8>>,
    pub(crate) now: Timestamp,
    script: Vec<Reply>,
    failed: u32,
    /// How long whoever hosts the agent waits after a failed call.
    pub(crate) backoff_ms: u64,
    /// Keys of the tool calls made, in order, those whose receipt a crash lost included.
    pub(crate) tool_calls: Vec<String>,
}

impl World {
    pub(crate) fn new(limits: Limits, script: &[Reply]) -> Self {
        Self::with_work(limits, script, Vec::new())
    }

    /// A world of an agent that takes such work.
    pub(crate) fn with_work(limits: Limits, script: &[Reply], work: Vec<WorkTerm>) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let mut world = Self { now, script: script.to_vec(), backoff_ms: 10_000, ..Self::default() };
        let (system_blob, task_blob) = (world.put("be brief"), world.put("do it"));
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
            work,
        };
        world.step(AgentEvent::Spawned { config: Box::new(config) });
        world
    }

    /// A world without limits that has come to its end.
    pub(crate) fn end(script: &[Reply]) -> Self {
        let mut world = Self::new(Limits::default(), script);
        world.run(MAX_STEPS);
        world
    }

    pub(crate) fn put(&mut self, text: &str) -> Hash {
        let hash = Hash::of(text.as_bytes());
        self.blobs.insert(hash, text.as_bytes().to_vec());
        hash
    }

    pub(crate) fn step(&mut self, event: AgentEvent) {
        self.now = self.now.plus_millis(1);
        let seq = self.steps.len() as u64;
        self.agent.apply(seq, self.now, &event).unwrap();
        self.steps.push((seq, self.now, event));
    }

    pub(crate) fn next(&self) -> Next {
        self.agent.next(self.now)
    }

    /// Gives an agent at rest something to do.
    pub(crate) fn give(&mut self, text: &str, anew: bool) {
        let text_blob = self.put(text);
        self.agent.give(self.now, text_blob, anew).unwrap();
    }

    pub(crate) fn nudge(&mut self, text: &str) {
        let text_blob = self.put(text);
        self.step(AgentEvent::Nudged { text_blob });
    }

    /// Does what the agent asks for until it ends, or until `stop` steps are recorded.
    pub(crate) fn run(&mut self, stop: usize) {
        while self.steps.len() < stop && !self.agent.is_finished() {
            assert!(self.steps.len() < MAX_STEPS, "no end in sight");
            self.take(stop);
        }
    }

    /// Does one thing that the agent asks for.
    pub(crate) fn advance(&mut self) {
        self.take(MAX_STEPS);
    }

    fn take(&mut self, stop: usize) {
        match self.next() {
            Next::CallModel { call_no } => {
                self.step(AgentEvent::ModelIntent { call_no, fallback: None });
                // A crash may come between the intent and the reply.
                if self.steps.len() < stop {
                    self.answer(call_no);
                }
            }
            Next::CallTools(pending) => {
                let tool = pending.into_iter().next().expect("an open turn has an open tool");
                self.tool_calls.push(tool.key.clone());
                let result_blob = self.put(&format!("result of {}", tool.key));
                let (call_no, id) = (tool.call_no, tool.id);
                self.step(AgentEvent::ToolReceipt { call_no, id, result_blob, is_error: false, call: None });
            }
            Next::Handoff => {
                let summary_blob = self.put(&self.agent.handoff_text(&["a.rs".to_owned()]));
                self.step(AgentEvent::HandedOff { summary_blob });
            }
            Next::Finish(outcome) => self.step(AgentEvent::Finished { outcome }),
            Next::Rest | Next::Idle => panic!("an agent that has not ended needs something"),
        }
    }

    fn answer(&mut self, call_no: u64) {
        let turn = self.agent.spent().turns;
        let reply = self.script.get(turn as usize).cloned().unwrap_or(says(StopReason::EndTurn));
        if self.failed < reply.failures {
            self.failed += 1;
            self.model_fails(call_no, "overloaded", true);
            self.now = self.now.plus_millis(self.backoff_ms);
            return;
        }
        self.failed = 0;
        if reply.nudged {
            self.nudge(&format!("heard in turn {turn}"));
        }
        self.receive(call_no, &reply);
    }

    pub(crate) fn model_fails(&mut self, call_no: u64, error: &str, retryable: bool) {
        let error = error.to_owned();
        self.step(AgentEvent::ModelFailed {
            call_no,
            error,
            retryable,
            retry_after_ms: None,
            unsettled: false,
        });
    }

    /// The model's reply to call `call_no` arrives. Tools are called `<tool>-<n>`, where `n` counts replies of the session,
    /// so a successor's model uses the same identifiers again.
    pub(crate) fn receive(&mut self, call_no: u64, reply: &Reply) {
        let turn = self.agent.spent().turns;
        let session = self.steps.rsplit(|(.., event)| matches!(event, AgentEvent::HandedOff { .. })).next();
        let is_reply = |(.., event): &&(_, _, AgentEvent)| matches!(event, AgentEvent::ModelReceipt { .. });
        let n = session.unwrap_or_default().iter().filter(is_reply).count();
        let tools: Vec<ToolCall> = reply
            .tools
            .iter()
            .map(|name| ToolCall { id: format!("{name}-{n}"), name: (*name).to_owned() })
            .collect();
        let mut content = vec![Block::Text { text: format!("turn {turn}") }];
        content.extend(tools.iter().map(|tool| Block::ToolUse {
            id: tool.id.clone(),
            name: tool.name.clone(),
            input: json!({}),
        }));
        let usage = Usage { input: WINDOW * reply.percent / 100, ..Usage::default() };
        let (stop, model, message_id) = (reply.stop, "m".to_owned(), format!("m{turn}"));
        let message = ModelReply { model, message_id, content, stop, usage };
        let reply_blob = self.put(&serde_json::to_string(&message).unwrap());
        let cost_micro_usd = reply.cost;
        self.step(AgentEvent::ModelReceipt { call_no, reply_blob, stop, usage, cost_micro_usd, tools });
    }

    pub(crate) fn conversation(&self) -> Vec<Message> {
        self.agent.compose(&|hash| self.blobs.get(hash).cloned(), &[]).unwrap().messages
    }

    /// Every text of the conversation that is not the model's, in order; a tool's result begins with its identifier.
    pub(crate) fn told(&self) -> Vec<String> {
        let messages = self.conversation();
        let users = messages.iter().filter(|message| message.role == Role::User);
        let text = |block: &Block| match block {
            Block::Text { text } => text.clone(),
            Block::ToolResult { id, text, .. } => format!("{id}: {text}"),
            other => panic!("{other:?} from the user"),
        };
        users.flat_map(|message| message.content.iter().map(text)).collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&AgentEvent) -> bool) -> usize {
        self.steps.iter().filter(|(.., event)| wanted(event)).count()
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        self.agent.outcome().expect("it has ended")
    }

    /// The same world after a crash: it has forgotten everything but the log and the blobs.
    pub(crate) fn after_crash(&self) -> Self {
        Self { agent: replay(&self.steps), ..self.clone() }
    }
}

/// The fold of a log that was written and read back.
pub(crate) fn replay(steps: &[(u64, Timestamp, AgentEvent)]) -> AgentState {
    let mut agent = AgentState::default();
    for (seq, ts, event) in steps {
        let event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
        agent.apply(*seq, *ts, &event).unwrap();
    }
    agent
}
