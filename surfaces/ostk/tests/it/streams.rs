//! The streams of processes that people follow and type into.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use libostk::{CallOptions, Client, Identity};
use serde_json::json;

use crate::fixture::{Fixture, PATIENCE};

/// More than a daemon has threads for frames on any machine that runs this.
const WRITERS: usize = 64;

fn attached(fixture: &Fixture) -> Client {
    let mut client = Client::connect(&fixture.state().join("run/ostk.sock")).unwrap();
    client.attach(&Identity::Operator("ada".to_owned()), "test", None).unwrap();
    client
}

#[test]
fn input_that_waits_for_its_process_keeps_nobody_else_waiting() {
    let fixture = Fixture::new();
    fixture.call("ps", "{}").good();
    let (over, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(WRITERS + 1)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (mut client, over, begun) = (attached(&fixture), Arc::clone(&over), Arc::clone(&begun));
            thread::spawn(move || {
                let input = json!({ "lineage": "nobody", "stream": "none", "close": true });
                begun.wait();
                while !over.load(Ordering::Relaxed) {
                    let refused = client.request("process/write", &input, PATIENCE).unwrap_err();
                    assert!(refused.to_string().contains("nothing runs under nobody/none"), "{refused}");
                }
            })
        })
        .collect();
    begun.wait();
    for _ in 0..3 {
        // Each of them within the deadline of an attachment, again and again.
        attached(&fixture).call("ps", &json!({}), &CallOptions::default()).unwrap();
    }
    over.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}
