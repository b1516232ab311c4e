//! Pipes: bounded, in order, each message to one reader, over crashes and the deaths of those at the ends.

use std::collections::BTreeSet;

use ostk_kernel::{CallId, Code, LineageState};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    agents::{say, tool},
    host::{Host, ada, agent, assert_code},
};

fn with_pipe(messages: u64, bytes: u64) -> Host {
    let mut host = Host::new();
    host.ok(&ada(), "pipe.make", json!({ "pipe": "p", "messages": messages, "bytes": bytes }));
    host
}

fn write(host: &mut Host, who: &str, text: &str) -> CallId {
    let id = host.submit(&agent(who), "pipe.write", json!({ "pipe": "p", "text": text }));
    host.run();
    id
}

fn read(host: &mut Host, who: &str) -> CallId {
    let id = host.submit(&agent(who), "pipe.read", json!({ "pipe": "p" }));
    host.run();
    id
}

fn text(host: &Host, call: CallId) -> &str {
    host.replies[&call].as_ref().unwrap()["text"].as_str().unwrap()
}

fn row(host: &mut Host) -> Value {
    host.ok(&ada(), "pipe.list", json!({}))["pipes"][0].take()
}

fn ends(host: &mut Host, who: &str) {
    host.ok(&agent(who), "session.end", json!({}));
    host.run();
}

#[test]
fn messages_come_out_in_their_order_each_to_one_reader() {
    let mut host = with_pipe(10, 1_000);
    for text in ["one", "two", "three"] {
        write(&mut host, "w", text);
    }
    let calls: Vec<CallId> = ["r", "s", "r"].map(|reader| read(&mut host, reader)).to_vec();
    let texts: Vec<&str> = calls.iter().map(|call| text(&host, *call)).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(host.replies[&calls[0]].as_ref().unwrap()["from"], "agent:w");
    let to: Vec<&str> = host
        .log
        .iter()
        .filter(|(draft, _)| draft.event == "pipe.delivered")
        .map(|(draft, _)| draft.body["to"].as_str().unwrap())
        .collect();
    assert_eq!(to, ["r", "s", "r"], "the record names the reader");
    let row = row(&mut host);
    assert_eq!((&row["written"], &row["delivered"], &row["state"]), (&json!(3), &json!(3), &json!("empty")));
    assert_eq!((&row["writers"], &row["readers"]), (&json!(["w"]), &json!(["r", "s"])));
}

#[test]
fn a_reader_waits_for_a_message_and_a_writer_for_room_in_the_order_of_asking() {
    let mut host = with_pipe(1, 1_000);
    let readers = ["r", "s"].map(|reader| read(&mut host, reader));
    assert!(readers.iter().all(|call| !host.replies.contains_key(call)));
    write(&mut host, "w", "one");
    assert_eq!(text(&host, readers[0]), "one", "who asked first");
    write(&mut host, "w", "two");
    assert_eq!(text(&host, readers[1]), "two");
    let writers = ["three", "four", "five"].map(|text| write(&mut host, "w", text));
    assert_eq!(writers.map(|call| host.replies.contains_key(&call)), [true, false, false], "one fits");
    for wanted in ["three", "four", "five"] {
        let call = read(&mut host, "r");
        assert_eq!(text(&host, call), wanted);
    }
    assert!(writers.iter().all(|call| host.replies[call].is_ok()));
}

#[test]
fn a_small_message_does_not_overtake_a_large_one_that_waits_for_room() {
    let mut host = with_pipe(10, 10);
    write(&mut host, "w", "12345678");
    let large = write(&mut host, "v", "123456789");
    let small = write(&mut host, "w", "1");
    assert!(!host.replies.contains_key(&large) && !host.replies.contains_key(&small));
    for wanted in ["12345678", "123456789", "1"] {
        let call = read(&mut host, "r");
        assert_eq!(text(&host, call), wanted);
    }
    let refused = host.err(&agent("w"), "pipe.write", json!({ "pipe": "p", "text": "12345678901" }));
    assert_code(&refused, Code::TooLarge);
}

#[test]
fn a_wait_ends_with_its_deadline_and_changes_nothing() {
    let mut host = with_pipe(1, 1_000);
    let reader = host.submit(&agent("r"), "pipe.read", json!({ "pipe": "p", "timeout_ms": 500 }));
    host.run();
    assert!(host.tick(100).is_some(), "it asks to be woken");
    assert!(!host.replies.contains_key(&reader));
    host.tick(500);
    assert_code(host.replies[&reader].as_ref().unwrap_err(), Code::Deadline);
    write(&mut host, "w", "one");
    let writer =
        host.submit(&agent("w"), "pipe.write", json!({ "pipe": "p", "text": "two", "timeout_ms": 500 }));
    host.run();
    host.tick(600);
    assert_code(host.replies[&writer].as_ref().unwrap_err(), Code::Deadline);
    let now = json!({ "pipe": "p", "text": "two", "timeout_ms": 0 });
    assert_code(&host.err(&agent("w"), "pipe.write", now), Code::Deadline);
    assert_eq!((row(&mut host)["waiting"].clone(), host.count("pipe.delivered")), (json!(1), 0));
}

#[test]
fn readers_see_the_end_when_the_last_writer_has_gone_and_writers_a_broken_pipe_when_the_last_reader_has() {
    let mut host = with_pipe(1, 1_000);
    write(&mut host, "w", "one");
    let call = read(&mut host, "r");
    assert_eq!(text(&host, call), "one");
    let waits = read(&mut host, "r");
    ends(&mut host, "w");
    assert_eq!(host.replies[&waits].as_ref().unwrap()["end"], true);
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "test" }));
    write(&mut host, "w", "two");
    let waits = write(&mut host, "w", "three");
    host.ok(&agent("r"), "pipe.close", json!({ "pipe": "p", "end": "read" }));
    let broken = host.replies[&waits].as_ref().unwrap_err();
    assert!(broken.message.contains("broken pipe") && broken.data["broken"] == true, "{broken:?}");
    assert_eq!(row(&mut host)["state"], "broken");
    let call = read(&mut host, "s");
    assert_eq!(text(&host, call), "two", "another reader takes what is there");
    ends(&mut host, "s");
    ends(&mut host, "w");
    assert!(host.kernel.state().pipes.is_empty(), "nothing can go in or come out any more");
    assert_code(&host.err(&agent("x"), "pipe.read", json!({ "pipe": "p" })), Code::NotFound);
}

#[test]
fn what_a_writer_left_is_read_before_the_end_is_seen() {
    let mut host = with_pipe(10, 1_000);
    write(&mut host, "w", "one");
    ends(&mut host, "w");
    let call = read(&mut host, "r");
    assert_eq!(text(&host, call), "one");
    let call = read(&mut host, "r");
    assert_eq!(host.replies[&call].as_ref().unwrap()["end"], true);
}

#[test]
fn a_message_is_delivered_once_also_when_the_daemon_dies_in_between() {
    let mut host = with_pipe(10, 1_000);
    for text in ["one", "two"] {
        write(&mut host, "w", text);
    }
    host.submit_keyed(&agent("r"), "pipe.read", json!({ "pipe": "p" }), Some("k"));
    host.sync_to(host.log.len());
    host.kill();
    host.run();
    host.ok(&ada(), "session.start", json!({ "name": "r", "exact": true, "client": "test" }));
    let again = host.keyed(&agent("r"), "pipe.read", json!({ "pipe": "p" }), "k").unwrap();
    assert_eq!(
        (&again["text"], &again["repeated"]),
        (&json!("one"), &json!(true)),
        "who repeats gets the same"
    );
    let next = read(&mut host, "r");
    assert_eq!(text(&host, next), "two");
    assert_eq!(host.count("pipe.delivered"), 2);
}

#[test]
fn a_restart_leaves_the_ends_to_their_clients_for_a_minute() {
    let mut host = with_pipe(10, 1_000);
    write(&mut host, "w", "one");
    write(&mut host, "v", "two");
    host.crash();
    host.run();
    host.ok(&ada(), "session.start", json!({ "name": "w", "exact": true, "client": "test" }));
    assert_eq!(row(&mut host)["writers"], json!(["v", "w"]));
    host.tick(61_000);
    assert_eq!(row(&mut host)["writers"], json!(["w"]), "v did not come back");
}

#[test]
fn whoever_is_stopped_waits_on_and_the_next_is_served() {
    let mut host = with_pipe(10, 1_000);
    let readers = ["r", "s"].map(|reader| read(&mut host, reader));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "r", "signal": "SIGSTOP" }));
    write(&mut host, "w", "one");
    assert_eq!(text(&host, readers[1]), "one");
    write(&mut host, "w", "two");
    assert!(!host.replies.contains_key(&readers[0]));
    host.ok(&ada(), "agent.signal", json!({ "lineage": "r", "signal": "SIGCONT" }));
    assert_eq!(text(&host, readers[0]), "two");
}

#[test]
fn a_reader_that_is_killed_while_it_waits_takes_no_message_along() {
    let mut host = with_pipe(10, 1_000);
    let reader = read(&mut host, "r");
    host.ok(&ada(), "agent.signal", json!({ "lineage": "r", "signal": "SIGKILL" }));
    assert_code(host.replies[&reader].as_ref().unwrap_err(), Code::Stopped);
    let call = read(&mut host, "s");
    write(&mut host, "w", "one");
    assert_eq!(text(&host, call), "one");
}

#[test]
fn a_message_carries_the_labels_of_what_its_writer_has_seen() {
    let mut host = with_pipe(10, 1_000);
    host.ok(&agent("w"), "label.take", json!({ "label": "web" }));
    write(&mut host, "w", "one");
    host.ok(&agent("r"), "ps", json!({}));
    assert!(host.kernel.state().lineages["r"].labels.is_empty());
    read(&mut host, "r");
    assert!(host.kernel.state().lineages["r"].labels.contains("web"));
}

#[test]
fn native_agents_talk_through_a_pipe_with_one_tool() {
    let mut host = Host::new();
    let pipe = |id: &str, input: Value| tool(id, "pipe", input);
    host.script = vec![
        vec![pipe("t1", json!({ "action": "make", "pipe": "p" }))],
        vec![pipe("t2", json!({ "action": "write", "pipe": "p", "text": "from w" }))],
        vec![pipe("t3", json!({ "action": "read", "pipe": "p" }))],
        vec![say("Done.")],
    ];
    let file = "FROM scripted\nTASK Talk.\n";
    host.submit(&ada(), "agent.spawn", json!({ "name": "w", "agentfile": file }));
    host.run();
    let told = format!("{:?}", host.conversation(&host.kernel.state().agents["w"]));
    assert!(told.contains("from w"), "{told}");
    assert!(host.kernel.state().pipes.is_empty(), "it held both ends, and both went with it");
}

#[test]
fn only_its_maker_or_a_person_closes_a_whole_pipe() {
    let mut host = Host::new();
    host.ok(&agent("m"), "pipe.make", json!({ "pipe": "p" }));
    let waits = read(&mut host, "r");
    let whole = json!({ "pipe": "p", "end": "all" });
    assert_code(&host.err(&agent("w"), "pipe.close", whole.clone()), Code::Denied);
    assert_code(&host.err(&agent("w"), "pipe.close", json!({ "pipe": "p" })), Code::NotFound);
    assert_code(&host.err(&agent("w"), "pipe.make", json!({ "pipe": "p" })), Code::Conflict);
    host.ok(&agent("m"), "pipe.close", whole);
    assert_eq!(host.replies[&waits].as_ref().unwrap()["end"], true);
}

/// What happens at a pipe.
#[derive(Clone, Debug)]
enum Step {
    Write(u8),
    Read(u8),
    Ends(u8),
    /// Everything is carried out.
    Run,
    /// One operation is.
    Some,
    /// What is appended becomes durable.
    Sync,
    Crash,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8).prop_map(Step::Write),
        4 => (0..3_u8).prop_map(Step::Read),
        1 => (0..3_u8).prop_map(Step::Ends),
        2 => Just(Step::Run),
        3 => Just(Step::Some),
        2 => Just(Step::Sync),
        1 => Just(Step::Crash),
        1 => Just(Step::Kill),
    ]
}

/// Submits a call of a client, which starts a session first if it has none, on a pipe that is made if it is gone.
fn ask(host: &mut Host, who: u8, verb: &str, more: &Value) -> CallId {
    let name = format!("c{who}");
    let state = host.kernel.state().lineages.get(&name).map(|known| known.state);
    if state == Some(LineageState::Exited) {
        host.submit(&ada(), "session.start", json!({ "name": name, "exact": true, "client": "test" }));
    }
    if host.kernel.state().pipes.is_empty() {
        host.submit(&ada(), "pipe.make", json!({ "pipe": "p", "messages": 3 }));
    }
    let mut args = json!({ "pipe": "p" });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.submit(&agent(&name), verb, args)
}

fn live(steps: &[Step]) -> (Host, Vec<CallId>, Vec<CallId>) {
    let (mut host, mut writes, mut reads) = (Host::new(), Vec::new(), Vec::new());
    host.syncs = false;
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Write(who) => {
                writes.push(ask(
                    &mut host,
                    *who,
                    "pipe.write",
                    &json!({ "text": format!("message {number}") }),
                ));
            }
            Step::Read(who) => reads.push(ask(&mut host, *who, "pipe.read", &json!({}))),
            Step::Ends(who) => {
                host.submit(&agent(&format!("c{who}")), "session.end", json!({}));
            }
            Step::Run => host.run(),
            Step::Some => {
                host.step(number);
            }
            Step::Sync => host.sync_to(host.log.len()),
            Step::Crash => host.crash(),
            Step::Kill => host.kill(),
        }
    }
    (host, writes, reads)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever dies and whenever: what was acknowledged is in the log, what came out came out in the order in which it
    /// went in, and no two answers brought the same message.
    #[test]
    fn no_message_is_lost_after_its_acknowledgement_or_delivered_twice(steps in prop::collection::vec(step(), 1..60)) {
        let (mut host, writes, reads) = live(&steps);
        host.crash();
        host.syncs = true;
        host.run();
        let of = |event: &str, member: &str| -> Vec<Value> {
            let records = host.log.iter().filter(|(draft, _)| draft.event == event);
            records.map(|(draft, _)| draft.body.get(member).cloned().unwrap_or_else(|| json!(draft.seq))).collect()
        };
        let (written, delivered) = (of("pipe.written", "seq"), of("pipe.delivered", "message"));
        prop_assert_eq!(&delivered[..], &written[..delivered.len()]);
        let waiting = host.kernel.state().pipes.get("p").map_or(0, |pipe| pipe.queue.len());
        prop_assert_eq!(delivered.len() + waiting, written.len());
        let good = |call: &CallId| host.replies.get(call).and_then(|reply| reply.as_ref().ok());
        for answer in writes.iter().filter_map(good) {
            prop_assert!(written.contains(&answer["message"]), "{} was acknowledged", answer);
        }
        let mut told = BTreeSet::new();
        for answer in reads.iter().filter_map(good).filter(|answer| answer.get("message").is_some()) {
            prop_assert!(delivered.contains(&answer["message"]), "{}", answer);
            prop_assert!(told.insert(answer["message"].as_u64().unwrap()), "twice: {}", answer);
        }
    }
}
