//! A client's stream of records: from a sequence number on, for as long as it keeps up.
//!
//! Records are read from the log itself, not from the kernel, so a slow reader costs the fleet nothing: its stream waits
//! for it. A client that takes nothing in for long is let go; it reconnects and resumes from its last sequence number.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ostk_journal::Tail;
use serde_json::{Value, json, value::RawValue};

use crate::outbox::{Outbox, Sent};

/// How long a look at the log may wait before the follower checks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// How long a client may take nothing in.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether a slow client has room.
const PAUSE: Duration = Duration::from_millis(10);

/// A running stream; ends when dropped.
pub(crate) struct Follower {
    wanted: Arc<AtomicBool>,
}

impl Follower {
    /// Streams the records of the log in `dir` from `from` on as `event` notifications.
    pub(crate) fn start(dir: PathBuf, from: u64, outbox: Arc<Outbox>) -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&wanted);
        tokio::task::spawn_blocking(move || follow(Tail::new(&dir, from), &outbox, &still));
        Self { wanted }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

fn follow(mut tail: Tail, outbox: &Outbox, wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        let (frame, last) = match tail.next(LOOK) {
            Ok(None) => continue,
            Ok(Some(entry)) => (event_frame(entry.seq, &entry.line), false),
            Err(error) => {
                let params = json!({ "reason": error.to_string(), "resume_from": tail.next_seq() });
                (json!({ "jsonrpc": "2.0", "method": "gone", "params": params }).to_string(), true)
            }
        };
        if !send(outbox, &frame, wanted) || last {
            return;
        }
    }
}

/// Sends a frame as soon as the client has room for it. False if it never had.
fn send(outbox: &Outbox, frame: &str, wanted: &AtomicBool) -> bool {
    let until = Instant::now() + PATIENCE;
    while wanted.load(Ordering::Relaxed) {
        match outbox.record(frame.to_owned()) {
            Sent::Yes => return true,
            Sent::Gone => return false,
            Sent::Full if Instant::now() < until => thread::sleep(PAUSE),
            Sent::Full => {
                outbox.close();
                return false;
            }
        }
    }
    false
}

/// The record's line goes out as it stands in the log, byte for byte.
fn event_frame(seq: u64, line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line).into_owned();
    match RawValue::from_string(text) {
        Ok(record) => format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{{\"seq\":{seq},\"record\":{record}}}}}"
        ),
        Err(_) => {
            json!({ "jsonrpc": "2.0", "method": "event", "params": { "seq": seq, "record": Value::Null } })
                .to_string()
        }
    }
}
