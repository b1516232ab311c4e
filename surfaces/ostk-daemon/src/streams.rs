//! Processes whose callers follow them: output piece by piece, input and window size the other way.
//!
//! A person at a terminal names a stream when a command starts (`shell.run`) and then reads and writes it over connections
//! of their own (`process/read`, `process/write`), so that neither waits for the other. A process keeps its output until its
//! reader has taken it; one that nobody reads stands still, and ends with the call that started it. What is read is masked:
//! offsets count masked bytes. At a terminal a secret becomes as many stars, so that the screen stays as it is.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ostk_kernel::{CallError, Code};
use ostk_keys::secrets::{MaskStream, Masker};
use ostk_sandbox::{Piece, Process, SandboxError, Stream, WindowSize};
use serde_json::{Value, json};

use crate::hands::lock;

/// How long a reader may wait for a process that is about to start: its intent becomes durable first, and a person may
/// have to consent.
const START: Duration = Duration::from_secs(2);
/// Longest wait for a piece of output.
const LONGEST_WAIT_MS: u64 = 2_000;

/// At a terminal, what may be the beginning of a secret is shown when nothing has followed for so long: somebody types.
const QUIET: Duration = Duration::from_millis(100);

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
    processes: BTreeMap<Name, Followed>,
    /// Names of those that have ended, oldest first.
    ended: VecDeque<Name>,
}

/// A stream that is open: it ends when this is dropped, and its last output stays for a while.
pub(crate) struct Entered {
    streams: Streams,
    name: Name,
}

/// A process, and its output as its reader gets it.
#[derive(Clone)]
struct Followed {
    process: Arc<Process>,
    stdout: Arc<Mutex<Masked>>,
    stderr: Arc<Mutex<Masked>>,
}

/// An output stream behind the masker.
struct Masked {
    masking: MaskStream,
    /// Somebody types at the other end.
    terminal: bool,
    /// How much of the process's output was taken.
    taken: u64,
    /// Where in the masked stream `bytes` begin.
    start: u64,
    /// What the reader may not have yet.
    bytes: Vec<u8>,
    ended: bool,
}

impl Masked {
    fn new(masker: &Masker, terminal: bool) -> Arc<Mutex<Self>> {
        let masking = if terminal { masker.stream_of_same_length() } else { masker.stream() };
        Arc::new(Mutex::new(Self { masking, terminal, taken: 0, start: 0, bytes: Vec::new(), ended: false }))
    }

    /// The reader has everything before `from`.
    fn forget(&mut self, from: u64) {
        let had = usize::try_from(from.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let had = had.min(self.bytes.len());
        self.bytes.drain(..had);
        self.start += had as u64;
    }

    /// Takes output until there is something for the reader, for as long as it waits.
    fn fill(&mut self, process: &Process, stream: Stream, wait: Duration) {
        let deadline = Instant::now() + wait;
        while self.bytes.is_empty() && !self.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            let held = self.terminal && self.masking.is_waiting();
            let piece = process.read(stream, self.taken, if held { left.min(QUIET) } else { left });
            self.take(&piece, held);
            if left.is_zero() {
                return;
            }
        }
    }

    fn take(&mut self, piece: &Piece, held: bool) {
        self.taken = piece.end();
        self.bytes.extend(self.masking.push(&piece.bytes));
        self.ended = piece.is_last;
        if self.ended || (held && piece.bytes.is_empty()) {
            self.bytes.extend(self.masking.flush());
        }
    }
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
    /// Opens a stream for as long as the returned handle lives. `masker` knows the secrets; `terminal` says that somebody
    /// types.
    pub(crate) fn enter(
        &self,
        (lineage, stream): (&str, &str),
        process: &Arc<Process>,
        (masker, terminal): (Masker, bool),
    ) -> Entered {
        let name = (lineage.to_owned(), stream.to_owned());
        let (stdout, stderr) = (Masked::new(&masker, terminal), Masked::new(&masker, terminal));
        let followed = Followed { process: Arc::clone(process), stdout, stderr };
        lock(&self.known.0).processes.insert(name.clone(), followed);
        self.known.1.notify_all();
        Entered { streams: self.clone(), name }
    }

    fn find(&self, lineage: &str, stream: &str, patience: Duration) -> Option<Followed> {
        let (name, deadline) = ((lineage.to_owned(), stream.to_owned()), Instant::now() + patience);
        let mut known = lock(&self.known.0);
        loop {
            if let Some(process) = known.processes.get(&name) {
                return Some(process.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            known = self.known.1.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next piece of output. `started` is false while the process has not begun.
    pub(crate) fn read(&self, lineage: &str, stream: &str, wanted: &Wanted) -> Result<Value, CallError> {
        let Some(followed) = self.find(lineage, stream, START) else {
            return Ok(json!({ "started": false, "start": wanted.from, "data": "", "last": false }));
        };
        let output = if wanted.stream == Stream::Stderr { &followed.stderr } else { &followed.stdout };
        let mut output = lock(output);
        output.forget(wanted.from);
        output.fill(&followed.process, wanted.stream, wanted.wait);
        let (start, data, last) = (output.start, STANDARD.encode(&output.bytes), output.ended);
        Ok(json!({ "started": true, "start": start, "data": data, "last": last }))
    }

    /// Input (`data`, in base64), its end (`close`), a new window (`rows` and `columns`).
    pub(crate) fn write(&self, lineage: &str, stream: &str, params: &Value) -> Result<Value, CallError> {
        let gone = || CallError::new(Code::NotFound, format!("nothing runs under {lineage}/{stream}"));
        let process = self.find(lineage, stream, START).ok_or_else(gone)?.process;
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
