//! What holds an agent back besides the policy: budgets of tool calls and bytes, and going round in circles.

use ostk_agent::Outcome as Ending;
use ostk_kernel::LineageState;
use serde_json::json;

use crate::{
    agents::{say, tool},
    host::{Host, ada},
};

fn worker(limit: &str, script: Vec<Vec<ostk_agent::model::Block>>) -> Host {
    let mut host = Host::new();
    host.script = script;
    let file = format!("FROM scripted\nTASK Work.\n{limit}\n");
    host.submit(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": file }));
    host.run();
    host
}

fn told(host: &Host) -> String {
    format!("{:?}", host.conversation(&host.kernel.state().agents["worker"]))
}

#[test]
fn tool_calls_beyond_the_limit_are_refused_before_they_have_an_effect() {
    let note = |id: &str| tool(id, "note", json!({ "text": id }));
    let script = vec![vec![note("t1"), note("t2"), note("t3")], vec![say("Done.")]];
    let host = worker("LIMIT tool_calls 2", script);
    assert_eq!(host.count("note.added"), 2);
    assert!(told(&host).contains("LIMIT tool_calls 2 of the Agentfile is used up"), "{}", told(&host));
    let agent = &host.kernel.state().agents["worker"];
    assert_eq!((agent.outcome(), agent.spent().tool_calls), (Some(&Ending::Done), 2));
}

#[test]
fn bytes_are_charged_before_they_are_written_and_given_back_when_they_are_not() {
    let write =
        |id: &str, path: &str, text: &str| tool(id, "fs_ops", json!({ "path": path, "content": text }));
    let script = vec![
        vec![write("t1", "a", "12345678"), write("t2", "b", "123"), write("t3", "c", "12")],
        vec![say("Done.")],
    ];
    let host = worker("LIMIT bytes_written 10", script);
    assert_eq!(host.files.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert!(told(&host).contains("LIMIT bytes_written 10 of the Agentfile is used up"), "{}", told(&host));
    assert_eq!(host.kernel.state().agents["worker"].spent().bytes_written, 10);

    let mut host = Host::new();
    host.read_only.push("a".to_owned());
    host.script = vec![vec![write("t1", "a", "12345678")], vec![say("Done.")]];
    let file = "FROM scripted\nTASK Work.\nLIMIT bytes_written 10\n";
    host.submit(&ada(), "agent.spawn", json!({ "name": "worker", "agentfile": file }));
    host.run();
    assert_eq!(host.kernel.state().agents["worker"].spent().bytes_written, 0);
}

#[test]
fn an_agent_that_goes_round_in_circles_is_told_and_then_stopped() {
    let look = |turn: usize| vec![tool(&format!("t{turn}"), "read", json!({ "path": "a" }))];
    let script = (0..30).map(look).collect();
    let mut host = worker("LIMIT turns 50", script);
    let state = host.kernel.state();
    assert_eq!(state.lineages["worker"].state, LineageState::Stopped);
    assert_eq!(state.agents["worker"].spent().turns, 9);
    let signals: Vec<&str> = host
        .log
        .iter()
        .filter(|(draft, _)| draft.event == "agent.signalled")
        .map(|(draft, _)| draft.body["signal"].as_str().unwrap())
        .collect();
    assert_eq!(signals, ["SIGLOOP", "SIGLOOP", "SIGSTOP"]);
    assert!(told(&host).contains("[SIGLOOP] the same call gave the same result 3 times"), "{}", told(&host));
    host.script = vec![vec![say("Done.")]; 30];
    host.ok(&ada(), "agent.signal", json!({ "lineage": "worker", "signal": "SIGCONT" }));
    host.run();
    assert_eq!(host.kernel.state().ending("worker"), Some(&Ending::Done), "a person may let it go on");
}

#[test]
fn the_same_call_with_another_result_is_no_loop() {
    let turn = |turn: usize| {
        vec![
            tool(&format!("w{turn}"), "fs_ops", json!({ "path": "a", "content": format!("{turn}") })),
            tool(&format!("r{turn}"), "read", json!({ "path": "a" })),
        ]
    };
    let mut script: Vec<_> = (0..12).map(turn).collect();
    script.push(vec![say("Done.")]);
    let host = worker("LIMIT turns 50", script);
    assert_eq!(host.kernel.state().ending("worker"), Some(&Ending::Done));
    assert_eq!(host.count("agent.signalled"), 0);
}
