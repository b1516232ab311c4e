//! A command in the sandbox as if it ran here: its output as it comes, this program's input to it, and a terminal when both
//! ends are one. The call that runs it waits on one connection; each direction has a connection of its own.

use std::{
    io::{self, IsTerminal, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libostk::{Client, ClientError, Project};
use rustix::termios::{self, OptionalActions, Termios};
use serde_json::{Value, json};

use crate::{connect, failure::Failure};

/// How long a look at the output waits for it.
const LOOK_MS: u64 = 1_000;
/// How often the size of the window is compared.
const WINDOW: Duration = Duration::from_millis(200);
/// Longest wait for an answer about a stream.
const ANSWER: Duration = Duration::from_secs(30);
/// Between two tries to send input.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of input sent at once.
const PIECE: usize = 16 * 1024;

/// The command's stream, followed by threads of this program.
pub(super) struct Following {
    outputs: Vec<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
    _raw: Option<Raw>,
}

/// Lines and columns of the terminal, when input and output are one.
pub(super) fn window() -> Option<(u16, u16)> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return None;
    }
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    Some((size.ws_row, size.ws_col))
}

impl Following {
    /// Follows the stream of that name. With a window, the terminal passes every key on.
    pub(super) fn start(
        project: &Project,
        lineage: &str,
        stream: &str,
        window: Option<(u16, u16)>,
    ) -> Result<Self, Failure> {
        let ended = Arc::new(AtomicBool::new(false));
        let named = json!({ "lineage": lineage, "stream": stream });
        let mut outputs = Vec::new();
        for fd in if window.is_some() { vec![1] } else { vec![1, 2] } {
            let (client, named, ended) = (connect::operator(project)?, named.clone(), Arc::clone(&ended));
            outputs.push(thread::spawn(move || output(client, &named, fd, &ended)));
        }
        let raw = window.map(|_| Raw::enter()).transpose()?;
        let (client, input_of) = (connect::operator(project)?, named.clone());
        // It may wait for a key for ever; it ends with the program.
        thread::spawn(move || input(client, &input_of));
        if let Some(size) = window {
            let (client, ended) = (connect::operator(project)?, Arc::clone(&ended));
            thread::spawn(move || resize(client, &named, size, &ended));
        }
        Ok(Self { outputs, ended, _raw: raw })
    }

    /// The command has ended: what it said last is still shown.
    pub(super) fn finish(self) {
        self.ended.store(true, Ordering::Relaxed);
        for output in self.outputs {
            // A thread that panicked has said so.
            let _ = output.join();
        }
    }
}

/// Copies an output stream to this program's own.
fn output(mut client: Client, named: &Value, fd: u64, ended: &AtomicBool) {
    let mut from = 0;
    loop {
        let had_ended = ended.load(Ordering::Relaxed);
        let wanted = with(named, &json!({ "fd": fd, "from": from, "timeout_ms": LOOK_MS }));
        let Ok(piece) = client.request("process/read", &wanted, ANSWER) else { return };
        let bytes = STANDARD.decode(piece["data"].as_str().unwrap_or_default()).unwrap_or_default();
        from = piece["start"].as_u64().unwrap_or(from) + bytes.len() as u64;
        let written = match fd {
            2 => io::stderr().write_all(&bytes),
            _ => io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()),
        };
        // One that never started has said nothing.
        let never = had_ended && piece["started"] == json!(false);
        if written.is_err() || piece["last"] == json!(true) || never {
            return;
        }
    }
}

/// Copies this program's input to the command.
fn input(mut client: Client, named: &Value) {
    let mut bytes = [0; PIECE];
    loop {
        let read = io::stdin().read(&mut bytes).unwrap_or(0);
        let data = STANDARD.encode(bytes.get(..read).unwrap_or_default());
        let said = if read == 0 { json!({ "close": true }) } else { json!({ "data": data }) };
        let sent = send(&mut client, &with(named, &said));
        if read == 0 || !sent {
            return;
        }
    }
}

/// Sends input: again while the command has not begun, or has much to read. Ends with the command's last connection.
fn send(client: &mut Client, said: &Value) -> bool {
    loop {
        match client.request("process/write", said, ANSWER) {
            Ok(_) => return true,
            Err(ClientError::Call { code, .. }) if code == "not_found" || code == "busy" => {
                thread::sleep(PAUSE)
            }
            Err(_) => return false,
        }
    }
}

/// Tells the command's terminal when the window changes.
fn resize(mut client: Client, named: &Value, mut known: (u16, u16), ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(WINDOW);
        if let Some(size) = window().filter(|size| *size != known) {
            known = size;
            let said = with(named, &json!({ "rows": size.0, "columns": size.1 }));
            if client.request("process/write", &said, ANSWER).is_err() {
                return;
            }
        }
    }
}

fn with(named: &Value, more: &Value) -> Value {
    let mut all = named.clone();
    if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    all
}

/// The terminal passes keys on as they are; as before when this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Self, Failure> {
        let before = termios::tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Drain, &raw).map_err(io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
