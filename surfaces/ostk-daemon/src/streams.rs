//! Processes whose callers follow them: output piece by piece, input and window size the other way.
//!
//! A person at a terminal names a stream when a command starts (`shell.run`) and then reads and writes it over connections
//! of their own (`process/read`, `process/write`), so that neither waits for the other. A process keeps its output until its
//! reader has taken it; one that nobody reads stands still, and ends with the call that started it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ostk_kernel::{CallError, Code};
use ostk_sandbox::{Process, SandboxError, Stream, WindowSize};
use serde_json::{Value, json};

use crate::hands::lock;

/// How long a reader may wait for a process that is about to start: its intent becomes durable first, and a person may
/// have to consent.
const START: Duration = Duration::from_secs(2);
/// Longest wait for a piece of output.
const LONGEST_WAIT_MS: u64 = 2_000;

type Name = (String, String);

/// Ended processes whose last output may still be read.
const MAX_ENDED: usize = 16;

/// What runs under a stream's name.
#[derive(Clone, Default)]
pub(crate) struct Streams {
    known: Arc<(Mutex<Known>, Condvar)>,
}

#[derive(Default)]
struct Known {
    processes: BTreeMap<Name, Arc<Process>>,
    /// Names of those that have ended, oldest first.
    ended: VecDeque<Name>,
}

/// A stream that is open: it ends when this is dropped, and its last output stays for a while.
pub(crate) struct Entered {
    streams: Streams,
    name: Name,
}

/// The piece of output that a reader wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    stream: Stream,
    from: u64,
    wait: Duration,
}

impl Wanted {
    /// `fd` 2 is standard error, anything else standard output; `from` is where the piece begins.
    pub(crate) fn of(params: &Value) -> Self {
        let number = |name: &str| params.get(name).and_then(Value::as_u64);
        let stream = if number("fd") == Some(2) { Stream::Stderr } else { Stream::Stdout };
        let wait = Duration::from_millis(number("timeout_ms").unwrap_or(0).min(LONGEST_WAIT_MS));
        Self { stream, from: number("from").unwrap_or(0), wait }
    }
}

impl Streams {
    /// Opens a stream for as long as the returned handle lives.
    pub(crate) fn enter(&self, lineage: &str, stream: &str, process: &Arc<Process>) -> Entered {
        let name = (lineage.to_owned(), stream.to_owned());
        lock(&self.known.0).processes.insert(name.clone(), Arc::clone(process));
        self.known.1.notify_all();
        Entered { streams: self.clone(), name }
    }

    fn find(&self, lineage: &str, stream: &str, patience: Duration) -> Option<Arc<Process>> {
        let (name, deadline) = ((lineage.to_owned(), stream.to_owned()), Instant::now() + patience);
        let mut known = lock(&self.known.0);
        loop {
            if let Some(process) = known.processes.get(&name) {
                return Some(Arc::clone(process));
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            known = self.known.1.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next piece of output. `started` is false while the process has not begun.
    pub(crate) fn read(&self, lineage: &str, stream: &str, wanted: &Wanted) -> Result<Value, CallError> {
        let Some(process) = self.find(lineage, stream, START) else {
            return Ok(json!({ "started": false, "start": wanted.from, "data": "", "last": false }));
        };
        let piece = process.read(wanted.stream, wanted.from, wanted.wait);
        Ok(
            json!({ "started": true, "start": piece.start, "data": STANDARD.encode(&piece.bytes), "last": piece.is_last }),
        )
    }

    /// Input (`data`, in base64), its end (`close`), a new window (`rows` and `columns`).
    pub(crate) fn write(&self, lineage: &str, stream: &str, params: &Value) -> Result<Value, CallError> {
        let gone = || CallError::new(Code::NotFound, format!("nothing runs under {lineage}/{stream}"));
        let process = self.find(lineage, stream, START).ok_or_else(gone)?;
        let failed = |error: SandboxError| CallError::new(Code::Failed, error.to_string());
        if let Some(data) = params.get("data").and_then(Value::as_str) {
            let bytes = STANDARD.decode(data);
            let bytes = bytes.map_err(|error| CallError::new(Code::Usage, format!("data: {error}")))?;
            process.write_stdin(&bytes).map_err(|error| match error {
                SandboxError::InputFull { .. } => CallError::new(Code::Busy, error.to_string()),
                error => failed(error),
            })?;
        }
        if params.get("close").and_then(Value::as_bool) == Some(true) {
            process.close_stdin();
        }
        let size =
            |name: &str| params.get(name).and_then(Value::as_u64).and_then(|size| u16::try_from(size).ok());
        if let Some((rows, columns)) = size("rows").zip(size("columns")) {
            process.resize(WindowSize { rows, columns }).map_err(failed)?;
        }
        Ok(json!({}))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut known = lock(&self.streams.known.0);
        known.ended.push_back(self.name.clone());
        if known.ended.len() > MAX_ENDED
            && let Some(oldest) = known.ended.pop_front()
        {
            known.processes.remove(&oldest);
        }
    }
}
