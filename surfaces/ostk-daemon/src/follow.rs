//! A client's stream of records: from a sequence number on, for as long as it keeps up.
//!
//! Records are read from the log itself, not from the kernel, so a slow reader costs the fleet nothing. A client whose
//! queue is full is let go; it reconnects and resumes from its last sequence number.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ostk_journal::Tail;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::mpsc::{Sender, error::TrySendError};

/// How long a look at the log may wait before the follower checks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// A running stream; ends when dropped.
pub(crate) struct Follower {
    wanted: Arc<AtomicBool>,
}

impl Follower {
    /// Streams the records of the log in `dir` from `from` on as `event` notifications.
    pub(crate) fn start(dir: PathBuf, from: u64, frames: Sender<String>) -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&wanted);
        tokio::task::spawn_blocking(move || follow(Tail::new(&dir, from), &frames, &still));
        Self { wanted }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

fn follow(mut tail: Tail, frames: &Sender<String>, wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) && !frames.is_closed() {
        let frame = match tail.next(LOOK) {
            Ok(None) => continue,
            Ok(Some(entry)) => event_frame(entry.seq, &entry.line),
            Err(error) => {
                let params = json!({ "reason": error.to_string(), "resume_from": tail.next_seq() });
                let _ = frames
                    .try_send(json!({ "jsonrpc": "2.0", "method": "gone", "params": params }).to_string());
                return;
            }
        };
        match frames.try_send(frame) {
            Ok(()) => {}
            // Evicted: the connection ends when its reader notices.
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => return,
        }
    }
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
