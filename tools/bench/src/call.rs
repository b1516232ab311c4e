//! One system call: an unchanged read in process and over the socket, and a durable edit over the socket.
//!
//! The read in process goes through the whole kernel (gate, queue, record) with a world in memory; over the socket a
//! real daemon resolves the path, reads the file from the disk's cache and answers `libostk`. The edit is answered when
//! its receipt is durable, so it waits for the disk.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use libostk::{CallOptions, Identity};
use serde_json::{Value, json};

use crate::{
    daemon::Daemon,
    figure::{Figure, micros},
    memory::Memory,
};

const READS: usize = 20_000;
const SOCKET_READS: usize = 5_000;
const EDITS: usize = 500;
const LINES: usize = 200;
const PATH: &str = "bench.txt";

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>> {
    let mut memory = Memory::new()?;
    memory.put(PATH, &text());
    memory.call("bench", "file.read", json!({ "path": PATH }))?;
    ensure!(
        elided(&memory.call("bench", "file.read", json!({ "path": PATH }))?),
        "a second read is not elided"
    );
    let in_process = micros(READS, |_| memory.call("bench", "file.read", json!({ "path": PATH })).map(drop))?;

    let root = dir.join("project");
    let daemon = Daemon::start(&root)?;
    fs::write(root.join(PATH), text())?;
    let mut client = daemon.connect()?;
    client.attach(&Identity::Agent("bench".to_owned()), "bench", None)?;
    let options = CallOptions::default();
    client.call("file.read", &json!({ "path": PATH }), &options)?;
    ensure!(
        elided(&client.call("file.read", &json!({ "path": PATH }), &options)?),
        "a second read is not elided"
    );
    let over_socket =
        micros(SOCKET_READS, |_| client.call("file.read", &json!({ "path": PATH }), &options).map(drop))?;
    let durable = micros(EDITS, |round| {
        let line = |times: usize| format!("line {} of version {times}\n", round % LINES);
        let (old, new) = (line(round / LINES), line(round / LINES + 1));
        client.call("file.edit", &json!({ "path": PATH, "old": old, "new": new }), &options).map(drop)
    })?;
    Ok(vec![
        Figure::low("an unchanged read, in process", "µs", in_process).median(15.0),
        Figure::low("an unchanged read, over the socket", "µs", over_socket).median(60.0),
        Figure::low("a durable edit, over the socket", "µs", durable),
    ])
}

fn elided(answer: &Value) -> bool {
    answer.get("elided").and_then(Value::as_bool) == Some(true)
}

fn text() -> String {
    (0..LINES).map(|line| format!("line {line} of version 0\n")).collect()
}
