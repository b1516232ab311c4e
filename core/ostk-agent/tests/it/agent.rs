//! The life of an agent, case by case.

use ostk_agent::{
    AgentEvent, AgentState, Agentfile, Lifecycle, Limits, Next, Outcome, ToolCall,
    model::{Block, Role, StopReason, Usage},
};
use ostk_log::{Hash, Timestamp};

use crate::world::{Reply, World, asks, says};

fn limits(text: &str) -> Limits {
    Agentfile::parse(&format!("FROM m\n{text}"), &|_| None).unwrap().limits
}

fn failed(error: &str) -> Outcome {
    Outcome::Failed { error: error.to_owned() }
}

/// Whether a text of the conversation contains `part`, and how often.
fn heard(world: &World, part: &str) -> usize {
    world.told().iter().filter(|text| text.contains(part)).count()
}

#[test]
fn an_agent_ends_when_the_model_has_nothing_more_to_say() {
    let world = World::end(&[asks(&["read"]), says(StopReason::EndTurn)]);
    assert_eq!(world.outcome(), &Outcome::Done);
    assert_eq!(world.told(), ["do it", "read-0: result of w/1/1/read-0"]);
    assert_eq!(world.next(), Next::Idle);
}

#[test]
fn nothing_happens_to_an_agent_that_was_never_spawned() {
    let mut agent = AgentState::default();
    assert_eq!(agent.next(Timestamp::default()), Next::Idle);
    assert!(
        agent
            .apply(0, Timestamp::default(), &AgentEvent::ModelIntent { call_no: 1, fallback: None })
            .is_err()
    );
    assert_eq!(agent, AgentState::default());
}

#[test]
fn all_tools_of_a_turn_are_asked_for_at_once_and_answered_in_the_order_of_the_reply() {
    let mut world = World::new(Limits::default(), &[]);
    world.step(AgentEvent::ModelIntent { call_no: 1, fallback: None });
    world.receive(1, &asks(&["c", "a", "b"]));
    for (id, open) in [("a-0", vec!["c-0", "b-0"]), ("b-0", vec!["c-0"])] {
        let result_blob = world.put(id);
        let id = id.to_owned();
        world.step(AgentEvent::ToolReceipt { call_no: 1, id, result_blob, is_error: true, call: None });
        let Next::CallTools(pending) = world.next() else { panic!("{:?}", world.next()) };
        assert_eq!(pending.iter().map(|tool| tool.id.as_str()).collect::<Vec<_>>(), open);
    }
    world.run(7);
    assert_eq!(world.told()[1..], ["c-0: result of w/1/1/c-0", "a-0: a-0", "b-0: b-0"]);
    let errors = world.conversation()[2].content.clone();
    assert!(matches!(errors[1], Block::ToolResult { is_error: true, .. }), "a failure is told as one");
}

#[test]
fn a_request_inside_a_turn_leaves_no_tool_without_a_result() {
    let mut world = World::new(Limits::default(), &[]);
    world.step(AgentEvent::ModelIntent { call_no: 1, fallback: None });
    world.receive(1, &asks(&["a"]));
    assert_eq!(heard(&world, "a-0: [kernel] This tool was not called"), 1);
}

#[test]
fn one_identifier_twice_is_one_call() {
    let world = World::end(&[asks(&["read", "read"])]);
    assert_eq!(world.tool_calls, ["w/1/1/read-0"]);
    assert_eq!(world.outcome(), &Outcome::Done);
}

#[test]
fn a_model_call_that_a_crash_interrupted_is_made_again_under_its_number() {
    let mut world = World::new(Limits::default(), &[]);
    world.step(AgentEvent::ModelIntent { call_no: 1, fallback: None });
    let request = world.conversation();
    world.nudge("meanwhile");
    let mut world = world.after_crash();
    assert_eq!(world.next(), Next::CallModel { call_no: 1 });
    assert_eq!(world.conversation(), request, "a message never changes a request under way");
    world.run(100);
    assert_eq!(world.outcome(), &Outcome::Done);
    assert_eq!(heard(&world, "meanwhile"), 1);
}

#[test]
fn a_step_out_of_place_changes_nothing() {
    let mut world = World::new(Limits::default(), &[]);
    world.step(AgentEvent::ModelIntent { call_no: 1, fallback: None });
    world.receive(1, &asks(&["a", "b"]));
    let blob = Hash::ZERO;
    let receipt = |call_no, id: &str| AgentEvent::ToolReceipt {
        call_no,
        id: id.to_owned(),
        result_blob: blob,
        is_error: false,
        call: None,
    };
    world.step(receipt(1, "a-0"));
    let before = world.agent.clone();
    for wrong in [
        receipt(1, "a-0"),
        receipt(1, "z"),
        receipt(2, "b-0"),
        AgentEvent::ModelIntent { call_no: 2, fallback: None },
        AgentEvent::ModelFailed {
            call_no: 2,
            error: String::new(),
            retryable: true,
            retry_after_ms: None,
            unsettled: false,
        },
        AgentEvent::HandedOff { summary_blob: blob },
        AgentEvent::ModelReceipt {
            call_no: 1,
            reply_blob: blob,
            stop: StopReason::EndTurn,
            usage: Usage::default(),
            cost_micro_usd: None,
            tools: vec![ToolCall { id: "x".to_owned(), name: "y".to_owned() }],
        },
    ] {
        assert!(world.agent.apply(9, world.now, &wrong).is_err(), "{wrong:?} was taken");
        assert_eq!(world.agent, before);
    }
}

#[test]
fn a_message_is_heard_after_the_tools_and_keeps_an_agent_going_that_was_done() {
    let nudged = |reply: Reply| Reply { nudged: true, ..reply };
    let world = World::end(&[nudged(asks(&["a"])), nudged(says(StopReason::EndTurn))]);
    assert_eq!(world.told(), ["do it", "a-0: result of w/1/1/a-0", "heard in turn 0", "heard in turn 1"]);
    assert_eq!(world.agent.spent().turns, 3);

    let mut world = World::new(Limits::default(), &[]);
    world.run(3);
    assert_eq!(world.next(), Next::Finish(Outcome::Done));
    world.nudge("one thing more");
    assert_eq!(world.next(), Next::CallModel { call_no: 2 });
}

#[test]
fn a_reply_that_was_cut_is_continued_three_times_and_its_tools_are_not_called() {
    let cut = Reply { tools: vec!["rm"], ..says(StopReason::MaxTokens) };
    let world = World::end(std::slice::from_ref(&cut));
    assert_eq!(world.outcome(), &Outcome::Done);
    assert_eq!(world.tool_calls, Vec::<String>::new());
    assert!(world.told()[1].starts_with("rm-0: [kernel] This tool was not called"), "{:?}", world.told());
    assert_eq!(heard(&world, "Go on where you stopped"), 1);

    let thrice = [cut.clone(), cut.clone(), cut.clone(), asks(&["a"])];
    assert_eq!(World::end(&[thrice.clone(), thrice].concat()).outcome(), &Outcome::Done, "in a row, that is");

    let world = World::end(&vec![cut; 9]);
    assert_eq!(world.outcome(), &failed("the reply was cut by its length limit too often"));
    assert_eq!(world.agent.spent().turns, 4);
}

#[test]
fn a_paused_reply_is_taken_up_again_as_one_message() {
    let world = World::end(&[says(StopReason::Pause), says(StopReason::Pause)]);
    assert_eq!(world.outcome(), &Outcome::Done);
    let roles: Vec<Role> = world.conversation().iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant]);
    let world = World::end(&vec![says(StopReason::Pause); 99]);
    assert_eq!(world.outcome(), &failed("the vendor paused the reply too often"));
}

#[test]
fn a_refusal_ends_the_agent() {
    assert_eq!(World::end(&[says(StopReason::Refusal)]).outcome(), &failed("the model refused to answer"));
}

#[test]
fn an_agent_gives_up_when_its_model_has_failed_for_a_day() {
    let mut world = World::new(Limits::default(), &[Reply { failures: 99, ..says(StopReason::EndTurn) }]);
    world.backoff_ms = 3_600_000;
    world.run(1_000);
    assert_eq!(world.outcome(), &failed("the model has failed for a day: overloaded"));
    assert_eq!(world.count(|event| matches!(event, AgentEvent::ModelFailed { .. })), 25);

    let flaky = Reply { failures: 23, ..asks(&["a"]) };
    let mut world = World::new(Limits::default(), &[flaky.clone(), flaky]);
    world.backoff_ms = 3_600_000;
    world.run(1_000);
    assert_eq!(world.outcome(), &Outcome::Done, "an answer in between and the day begins anew");
}

#[test]
fn a_failure_that_will_not_pass_ends_the_agent_at_once() {
    let mut world = World::new(Limits::default(), &[]);
    // The gate may refuse a call before it begins.
    world.model_fails(1, "denied", false);
    assert_eq!(world.next(), Next::Finish(failed("denied")));
}

/// Checks that a limit ends an agent that would go on, after `turns` answered calls, of the last of which it was told.
fn limited(text: &str, which: &str, turns: u64) {
    let mut world = World::new(limits(text), &vec![asks(&["a"]); 50]);
    world.run(1_000);
    assert_eq!(world.outcome(), &Outcome::BudgetExhausted { which: which.to_owned() }, "{text}");
    assert_eq!(world.agent.spent().turns, turns, "{text}");
    assert_eq!(heard(&world, "Your budget ends with this turn"), 1, "{text}");
    let asked = world.tool_calls.len() as u64;
    assert_eq!(asked, turns - 1, "{text}: the tools of the last turn are not called");
}

#[test]
fn a_budget_ends_the_agent_before_the_call_that_would_pass_it() {
    limited("LIMIT turns 3", "turns", 3);
    limited("LIMIT turns 20", "turns", 20);
    limited("LIMIT tokens 600", "tokens", 6);
    limited("LIMIT tokens 699", "tokens", 6);
    limited("LIMIT budget_usd 0.000100", "budget_usd", 10);
    limited("LIMIT budget_usd 0.000109", "budget_usd", 10);
    limited("LIMIT tool_calls 5", "tool_calls", 6);
}

#[test]
fn an_agent_is_warned_when_85_percent_of_a_budget_are_spent() {
    let mut world = World::new(limits("LIMIT turns 20"), &vec![asks(&["a"]); 50]);
    while world.agent.spent().turns < 17 {
        assert_eq!(heard(&world, "Wrap up"), 0);
        world.advance();
    }
    world.run(1_000);
    assert_eq!(heard(&world, "Wrap up"), 1);
}

#[test]
fn a_last_turn_that_asks_for_nothing_is_a_good_end() {
    let script = [asks(&["a"]), asks(&["a"]), says(StopReason::EndTurn)];
    let mut world = World::new(limits("LIMIT turns 3"), &script);
    world.run(1_000);
    assert_eq!(world.outcome(), &Outcome::Done);
    assert_eq!(heard(&world, "Your budget ends with this turn"), 1);
}

#[test]
fn tool_calls_beyond_the_limit_cost_nothing() {
    let mut world =
        World::new(limits("LIMIT tool_calls 2"), &[asks(&["a", "b", "c"]), says(StopReason::EndTurn)]);
    while world.agent.tool_limit(0).is_none() {
        world.advance();
    }
    assert_eq!(world.tool_calls.len(), 2, "whoever hosts it refuses the third");
    world.run(1_000);
    assert_eq!(world.agent.spent().tool_calls, 2);
}

#[test]
fn wall_clock_time_runs_out_while_waiting_too() {
    let mut world = World::new(limits("LIMIT wall_clock 20"), &[Reply { failures: 7, ..asks(&["a"]) }]);
    world.run(1_000);
    assert_eq!(world.outcome(), &Outcome::BudgetExhausted { which: "wall_clock".to_owned() });
    assert_eq!(world.count(|event| matches!(event, AgentEvent::ModelFailed { .. })), 2, "after 0 and 10 s");
}

#[test]
fn a_budget_in_dollars_is_not_kept_by_guessing_a_price() {
    let unpriced = Reply { cost: None, ..asks(&["a"]) };
    let mut world = World::new(limits("LIMIT budget_usd 5"), std::slice::from_ref(&unpriced));
    world.run(1_000);
    assert!(matches!(world.outcome(), Outcome::Failed { error } if error.contains("price")));
    assert_eq!(World::end(&[unpriced]).outcome(), &Outcome::Done, "without that limit no price is needed");
}

#[test]
fn a_full_context_is_handed_to_a_successor_that_starts_fresh() {
    let mut world = World::new(
        Limits::default(),
        &[
            asks(&["a"]).at(20),
            asks(&["a"]).at(75),
            asks(&["a"]).at(80),
            asks(&["a"]).at(92),
            asks(&["a"]).at(50),
        ],
    );
    while !matches!(world.next(), Next::Handoff) {
        world.advance();
    }
    assert_eq!(world.agent.lifecycle(), Lifecycle::Dying, "a shorter prompt does not make it young again");
    assert_eq!(heard(&world, "Prepare for a successor"), 1);
    assert_eq!(heard(&world, "This is your last turn"), 1);
    assert_eq!(world.agent.spent().turns, 5, "one last turn after 90 %");

    world.advance();
    assert_eq!(world.agent.lifecycle(), Lifecycle::Healthy);
    let told = world.told();
    assert_eq!(told[..2], ["do it", "Its last words:\nturn 4"]);
    assert!(told[2].contains("after 5 turns in all") && told[2].contains("- a.rs"), "{}", told[2]);
    world.run(1_000);
    assert_eq!(world.outcome(), &Outcome::Done);
    assert_eq!(world.agent.spent().turns, 6, "what was spent stays spent");
}

#[test]
fn a_successor_is_not_refused_its_first_call_for_the_context_of_another() {
    let full = asks(&["a"]).at(99);
    let mut world = World::new(limits("LIMIT tokens 2100"), &[full.clone(), full]);
    world.run(1_000);
    assert_eq!(world.outcome(), &Outcome::Done);
    assert_eq!(world.agent.spent().tokens, 2 * 990 + 100);
}

#[test]
fn aging_may_be_skipped_and_only_the_usable_part_of_the_window_counts() {
    let world = World::end(&[asks(&["a"]).at(95), says(StopReason::EndTurn)]);
    assert_eq!((heard(&world, "Prepare"), heard(&world, "last turn")), (0, 1));
    assert_eq!(world.outcome(), &Outcome::Done, "a last turn that needs nothing more is the end");

    let mut world = World::new(limits("LIMIT context_pct 50"), &[asks(&["a"]).at(46)]);
    world.run(4);
    assert_eq!(world.agent.lifecycle(), Lifecycle::Dying);
}

#[test]
fn an_agent_whose_task_fills_its_context_ends_too() {
    let mut world = World::new(limits("LIMIT turns 31"), &vec![asks(&["a"]).at(99); 50]);
    world.run(1_000);
    assert_eq!(world.outcome(), &Outcome::BudgetExhausted { which: "turns".to_owned() });
    assert_eq!(world.count(|event| matches!(event, AgentEvent::HandedOff { .. })), 15);
    assert_eq!(heard(&world, "Your budget ends with this turn"), 1, "the last successor was told too");
}

#[test]
fn a_conversation_that_lost_a_blob_says_which() {
    let mut world = World::end(&[]);
    let task = Hash::of(b"do it");
    world.blobs.remove(&task);
    let error = world.agent.compose(&|hash| world.blobs.get(hash).cloned(), &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("blob {task} of the conversation is not stored"));
}

/// An agent that takes work.
fn worker(text: &str, script: &[Reply]) -> World {
    let file = Agentfile::parse(&format!("FROM m\nWORK tags=net\n{text}"), &|_| None).unwrap();
    World::with_work(file.limits, script, file.work)
}

#[test]
fn an_agent_that_takes_work_rests_until_it_is_given_some_and_again_when_its_turn_is_over() {
    let mut world = worker("", &[asks(&["read"]), says(StopReason::EndTurn), says(StopReason::EndTurn)]);
    assert_eq!(world.next(), Next::Rest, "its task alone is nothing to do");
    world.give("the first", false);
    assert!(!world.agent.is_at_rest());
    while world.next() != Next::Rest {
        world.advance();
    }
    assert_eq!(world.told(), ["do it", "the first", "read-0: result of w/1/1/read-0"]);
    let busy = world.put("x");
    assert!(world.agent.give(world.now, busy, false).is_ok());
    assert!(world.agent.give(world.now, busy, false).is_err(), "one at a time");
    world.advance();
    assert_eq!((world.next(), world.agent.spent().turns), (Next::Rest, 3));
}

#[test]
fn work_that_is_given_anew_stands_in_a_context_of_its_own() {
    let mut world = worker("", &[Reply { percent: 95, ..says(StopReason::EndTurn) }]);
    world.give("the first", false);
    world.advance();
    assert_eq!((world.next(), world.agent.lifecycle()), (Next::Rest, Lifecycle::Dying));
    world.give("the second", true);
    assert_eq!(
        (world.told(), world.agent.lifecycle()),
        (vec!["do it".into(), "the second".into()], Lifecycle::Healthy)
    );
}

#[test]
fn an_agent_at_rest_hears_who_speaks_to_it_and_ends_when_a_budget_leaves_no_room_for_more() {
    let mut world = worker("LIMIT turns 2\n", &[]);
    world.nudge("are you there?");
    world.advance();
    assert_eq!((world.next(), world.agent.spent().turns), (Next::Rest, 1));
    world.give("the first", false);
    world.advance();
    let which = "turns".to_owned();
    assert_eq!(world.next(), Next::Finish(Outcome::BudgetExhausted { which }));
    let mut world = worker("LIMIT wall_clock 60\n", &[]);
    let end = world.agent.ends_at().unwrap();
    assert_eq!(world.next(), Next::Rest);
    world.now = end;
    let which = "wall_clock".to_owned();
    assert_eq!(world.next(), Next::Finish(Outcome::BudgetExhausted { which }));
}
