//! What holds for every agent, whatever the model, the tools and the crashes do.

use std::collections::BTreeSet;

use ostk_agent::{
    AgentEvent, AgentState, Limits, Next, Outcome, ToolCall,
    model::{Block, Message, StopReason, Usage},
};
use ostk_log::{Hash, Timestamp};
use proptest::prelude::*;

use crate::world::{Reply, World, replay};

fn stop() -> impl Strategy<Value = StopReason> {
    prop::sample::select(vec![
        StopReason::EndTurn,
        StopReason::ToolUse,
        StopReason::ToolUse,
        StopReason::MaxTokens,
        StopReason::Pause,
    ])
}

fn script() -> impl Strategy<Value = Vec<Reply>> {
    let tools = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..4);
    let reply = (stop(), tools, 5..100_u64, 0..3_u32, any::<bool>()).prop_map(
        |(stop, tools, percent, failures, nudged)| Reply {
            stop,
            tools,
            percent,
            cost: Some(10),
            failures,
            nudged,
        },
    );
    prop::collection::vec(reply, 0..10)
}

/// Any step, likely or not.
fn event() -> impl Strategy<Value = AgentEvent> {
    let id = || prop::sample::select(vec!["t1", "t2", "t3"]).prop_map(str::to_owned);
    let call = || 0..6_u64;
    let blob = || (0..4_u8).prop_map(|n| Hash::of(&[n]));
    let tool = id().prop_map(|id| ToolCall { id, name: "read".to_owned() });
    let receipt = (call(), blob(), stop(), 0..1_200_u64, prop::collection::vec(tool, 0..3)).prop_map(
        |(call_no, reply_blob, stop, input, tools)| AgentEvent::ModelReceipt {
            call_no,
            reply_blob,
            stop,
            usage: Usage { input, ..Usage::default() },
            cost_micro_usd: Some(input),
            tools,
        },
    );
    prop_oneof![
        1 => Just(World::new(Limits::default(), &[]).steps[0].2.clone()),
        6 => call().prop_map(|call_no| AgentEvent::ModelIntent { call_no, fallback: None }),
        8 => receipt,
        2 => (call(), any::<bool>()).prop_map(|(call_no, retryable)| AgentEvent::ModelFailed {
            call_no,
            error: "x".to_owned(),
            retryable,
            retry_after_ms: None,
            unsettled: false,
        }),
        8 => (call(), id(), blob()).prop_map(|(call_no, id, result_blob)| AgentEvent::ToolReceipt {
            call_no,
            id,
            result_blob,
            is_error: false,
            call: None,
        }),
        1 => blob().prop_map(|text_blob| AgentEvent::Nudged { text_blob }),
        1 => blob().prop_map(|summary_blob| AgentEvent::HandedOff { summary_blob }),
        1 => Just(AgentEvent::Finished { outcome: Outcome::Done }),
    ]
}

/// Makes a call number the one that the agent waits for, so that stories get somewhere.
fn fitting(agent: &AgentState, event: AgentEvent, now: Timestamp) -> AgentEvent {
    match (event, agent.next(now)) {
        (AgentEvent::ModelIntent { .. }, Next::CallModel { call_no }) => {
            AgentEvent::ModelIntent { call_no, fallback: None }
        }
        (
            AgentEvent::ModelReceipt { reply_blob, stop, usage, cost_micro_usd, tools, .. },
            Next::CallModel { call_no },
        ) => AgentEvent::ModelReceipt { call_no, reply_blob, stop, usage, cost_micro_usd, tools },
        (AgentEvent::ToolReceipt { id, result_blob, is_error, call, .. }, Next::CallTools(pending)) => {
            AgentEvent::ToolReceipt { call_no: pending[0].call_no, id, result_blob, is_error, call }
        }
        (event, _) => event,
    }
}

/// The conversation as who said what, without the borders of messages.
fn blocks(messages: &[Message]) -> Vec<String> {
    let said = |message: &Message| {
        let role = message.role;
        message.content.iter().map(move |block| format!("{role:?} {block:?}")).collect::<Vec<_>>()
    };
    messages.iter().flat_map(said).collect()
}

/// Every tool use is answered in the message that follows it, once, and nothing else is answered.
fn check_answered(messages: &[Message]) {
    for (n, message) in messages.iter().enumerate() {
        let asked: BTreeSet<&String> = message.content.iter().filter_map(asked).collect();
        let after = messages.get(n + 1).map(|message| message.content.as_slice()).unwrap_or_default();
        let answers: Vec<&String> = after.iter().filter_map(answered).collect();
        assert_eq!(answers.len(), asked.len(), "{messages:#?}");
        assert_eq!(answers.into_iter().collect::<BTreeSet<_>>(), asked);
        assert!(n == 0 || messages[n - 1].role != message.role, "speakers alternate");
    }
}

fn asked(block: &Block) -> Option<&String> {
    if let Block::ToolUse { id, .. } = block { Some(id) } else { None }
}

fn answered(block: &Block) -> Option<&String> {
    if let Block::ToolResult { id, .. } = block { Some(id) } else { None }
}

proptest! {
    #[test]
    fn any_step_is_folded_or_refused_unchanged(events in prop::collection::vec(event(), 0..60), nth in 0..60_usize) {
        let mut agent = AgentState::default();
        let (mut log, mut answered) = (Vec::new(), BTreeSet::new());
        for (seq, event) in (0..).zip(events) {
            let now = Timestamp::from_micros(1_000_000 * (seq + 1));
            let event = fitting(&agent, event, now);
            let before = agent.clone();
            match agent.apply(seq, now, &event) {
                Err(_) => prop_assert_eq!(&agent, &before),
                Ok(()) => log.push((seq, now, event.clone())),
            }
            match (&event, agent != before) {
                (AgentEvent::Spawned { .. }, _) => answered.clear(),
                (AgentEvent::ToolReceipt { call_no, id, .. }, true) => {
                    prop_assert!(answered.insert((*call_no, id.clone())), "answered twice");
                }
                _ => {}
            }
            if let Next::CallTools(pending) = agent.next(now) {
                prop_assert!(!pending.is_empty());
                for tool in pending {
                    prop_assert!(!answered.contains(&(tool.call_no, tool.id.clone())), "{} has a receipt", tool.key);
                }
            }
            if log.len() == nth {
                prop_assert_eq!(&replay(&log), &agent);
            }
        }
        let again = replay(&log);
        prop_assert_eq!(&again, &agent);
        let bytes = serde_json::to_string(&agent).unwrap();
        prop_assert_eq!(&serde_json::to_string(&again).unwrap(), &bytes, "one state has one form");
        prop_assert_eq!(serde_json::from_str::<AgentState>(&bytes).unwrap(), agent);
    }

    #[test]
    fn a_crash_after_any_step_changes_nothing(script in script(), at in 1..60_usize) {
        let mut whole = World::new(Limits::default(), &script);
        whole.run(usize::MAX);
        let mut broken = World::new(Limits::default(), &script);
        broken.run(at);
        let mut broken = broken.after_crash();
        broken.run(usize::MAX);
        prop_assert_eq!(&broken.tool_calls, &whole.tool_calls);
        prop_assert_eq!(broken.conversation(), whole.conversation());
        prop_assert_eq!(broken.agent.outcome(), whole.agent.outcome());
        prop_assert_eq!(broken.agent.spent(), whole.agent.spent());
    }

    #[test]
    fn a_tool_call_has_a_key_of_its_own_across_handoffs(script in script()) {
        let world = World::end(&script);
        let keys: BTreeSet<&String> = world.tool_calls.iter().collect();
        prop_assert_eq!(keys.len(), world.tool_calls.len());
    }

    #[test]
    fn a_longer_conversation_begins_with_the_shorter_one_and_all_its_tools_are_answered(script in script()) {
        let mut world = World::new(Limits::default(), &script);
        let (mut before, mut handoffs) = (Vec::new(), 0);
        while !world.agent.is_finished() {
            world.advance();
            let handed = world.count(|event| matches!(event, AgentEvent::HandedOff { .. }));
            if handed > std::mem::replace(&mut handoffs, handed) {
                before.clear();
            }
            if matches!(world.next(), Next::CallModel { .. }) {
                let now = world.conversation();
                check_answered(&now);
                let now = blocks(&now);
                prop_assert!(now.starts_with(&before), "{before:#?} is no beginning of {now:#?}");
                before = now;
            }
        }
    }
}
