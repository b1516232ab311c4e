//! What the supervisor of a command and its callers both see: the output so far, the input to come, and requests.
//!
//! `supervise.rs` moves the bytes and does what is asked; `process.rs` is the handle that callers hold. No decision is
//! made here.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::event::EventfdFlags;

use crate::{SandboxError, Spec, Stream, WindowSize, capture::Capture, supervise::End};

/// How a caller wants the command to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Its terminal is taken away; SIGKILL after the grace.
    HangUp,
    /// SIGTERM, and SIGKILL after the grace.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What the supervisor and the callers both see.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) wake: OwnedFd,
}

pub(crate) struct State {
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    /// Bytes on their way to the command.
    pub(crate) stdin: VecDeque<u8>,
    /// The input ends when `stdin` is empty.
    pub(crate) stdin_ends: bool,
    /// How far each output stream has been read; `None` when it does not wait for that.
    pub(crate) read: Option<[u64; 2]>,
    /// The size that the terminal is to have.
    pub(crate) resize: Option<WindowSize>,
    pub(crate) stop: Option<Stop>,
    /// It shall not run for now.
    pub(crate) hold: bool,
    /// It has been held, so that its end can come later than its limits say.
    pub(crate) was_held: bool,
    /// Set once, last of all; the error is the id of a process that did not vanish.
    pub(crate) end: Option<Result<End, i32>>,
}

impl Shared {
    /// Without an end, the input stays open.
    pub(crate) fn new(spec: &Spec, stdin_ends: bool) -> Result<Self, SandboxError> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let state = State {
            stdout: Capture::new(spec.limits.output_bytes),
            stderr: Capture::new(spec.limits.output_bytes),
            stdin: spec.stdin.iter().flatten().copied().collect(),
            stdin_ends,
            read: spec.output_waits.then_some([0, 0]),
            resize: None,
            stop: None,
            hold: false,
            was_held: false,
            end: None,
        };
        let wake = wake.map_err(|errno| SandboxError::io("create an eventfd")(errno.into()))?;
        Ok(Self { state: Mutex::new(state), changed: Condvar::new(), wake })
    }

    /// The state stays meaningful when a thread panicked while it held the lock: every change to it is one step.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changed, at most `timeout`.
    pub(crate) fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Tells the supervisor that there is something for it.
    pub(crate) fn wake(&self) {
        // Fails only when the counter is full, and then the supervisor is awake already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl State {
    pub(crate) fn capture(&self, stream: Stream) -> &Capture {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// Whether output of the command has to stay where it is until its reader has read more.
    pub(crate) fn is_held(&self, stream: Stream) -> bool {
        let Some([stdout, stderr]) = self.read else { return false };
        let read = if stream == Stream::Stdout { stdout } else { stderr };
        self.capture(stream).is_full_after(read)
    }
}
