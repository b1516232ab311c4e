//! One system call: an unchanged read in process and over the socket, and a durable edit over the socket.
//!
//! The read in process goes through the whole kernel (gate, queue, record) with a world in memory; over the socket a
//! real daemon resolves the path, reads the file from the disk's cache and answers `libostk`. The edit is answered when
//! its intent is durable, so it waits for the disk. What the machine itself takes for a question and an answer between
//! two processes is measured beside them: no call over a socket can be faster.

use std::{
    fs,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Stdio},
};

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

    let bare = bare_round_trips()?;
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
        Figure::low("one byte to another process and back, over a socket", "µs", bare),
        Figure::low("an unchanged read, over the socket", "µs", over_socket).median(60.0),
        Figure::low("a durable edit, over the socket", "µs", durable),
    ])
}

/// One byte to `cat` and back.
fn bare_round_trips() -> Result<Vec<f64>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let stdin: OwnedFd = theirs.try_clone()?.into();
    let stdout: OwnedFd = theirs.into();
    let mut other = Command::new("cat").stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).spawn()?;
    let samples = micros(SOCKET_READS, |_| {
        ours.write_all(b"x")?;
        Ok(ours.read_exact(&mut [0])?)
    });
    drop(ours);
    other.wait()?;
    samples
}

fn elided(answer: &Value) -> bool {
    answer.get("elided").and_then(Value::as_bool) == Some(true)
}

fn text() -> String {
    (0..LINES).map(|line| format!("line {line} of version 0\n")).collect()
}
