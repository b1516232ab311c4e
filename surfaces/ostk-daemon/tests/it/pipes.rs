//! Pipes between real processes, over restarts of the daemon.

use std::{collections::BTreeSet, process::Stdio, thread};

use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran};

const MESSAGES: usize = 24;

fn call(fixture: &Fixture, who: &str, verb: &str, args: &Value) -> Ran {
    fixture.run(&["call", verb, &args.to_string(), "--as", who, "--json"])
}

/// The text of the message that this reader took.
fn read(fixture: &Fixture, who: &str) -> String {
    let ran = call(fixture, who, "pipe.read", &json!({ "pipe": "p" }));
    assert_eq!(ran.code, 0, "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    answer["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn a_process_waits_for_anothers_message_and_each_of_many_is_read_once_also_after_a_restart() {
    let fixture = Fixture::new();
    fixture.good(&["pipe", "make", "p"]);
    let args = json!({ "pipe": "p" }).to_string();
    let mut waits = fixture.command(&["call", "pipe.read", &args, "--as", "first"]);
    let waits = waits.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let written =
        call(&fixture, "writer", "pipe.write", &json!({ "pipe": "p", "text": "for whoever waits" }));
    assert_eq!(written.code, 0, "{written:?}");
    let ran = Ran::from(waits.wait_with_output().unwrap());
    assert!(ran.code == 0 && ran.out.contains("for whoever waits"), "{ran:?}");

    // A pipe whose ends have all gone is gone.
    fixture.run(&["pipe", "make", "p"]);
    for number in 0..MESSAGES {
        let message = json!({ "pipe": "p", "text": format!("message {number}") });
        assert_eq!(call(&fixture, "writer", "pipe.write", &message).code, 0);
    }
    fixture.good(&["shutdown"]);
    let listed = fixture.good(&["pipe", "list"]);
    assert!(listed.out.contains(&format!("{MESSAGES}/100")), "{listed:?}");
    let texts: Vec<String> = thread::scope(|scope| {
        let reader = |number: usize| {
            let (fixture, name) = (&fixture, format!("reader-{number}"));
            move || (0..MESSAGES / 4).map(|_| read(fixture, &name)).collect::<Vec<_>>()
        };
        let readers: Vec<_> = (0..4).map(|number| scope.spawn(reader(number))).collect();
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    });
    let once: BTreeSet<&String> = texts.iter().collect();
    assert_eq!((texts.len(), once.len()), (MESSAGES, MESSAGES), "{texts:?}");
    let log = fixture.log();
    let delivered = log.iter().filter(|(_, event, _)| event == "pipe.delivered");
    assert_eq!(delivered.count(), MESSAGES + 1);
}
