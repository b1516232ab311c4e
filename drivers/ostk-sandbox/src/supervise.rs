//! The thread behind each running command: it starts it, moves its input and output, keeps its deadline, ends its
//! process group, and reaps it.
//!
//! One thread and one `poll` per command. What others want from it (input, an end) is left in [`Shared`], and what
//! it has to tell (output, the end) is found there. `process.rs` is the handle that callers hold.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec},
    fs::OFlags,
    process::{Pid, PidfdFlags, Signal},
};
use serde::{Deserialize, Serialize};

use crate::{Limits, SandboxError, capture::Capture};

/// How long output is read after the command has ended: what it wrote is in the pipe already, and a descendant that
/// left the process group may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(250);
/// How long a process may take to vanish after SIGKILL.
const VANISH: Duration = Duration::from_secs(10);
/// Bytes per read; one read per stream and turn, so that a busy stream starves nothing.
const READ_BYTES: usize = 64 * 1024;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// How it ended, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) exit: Exit,
    pub(crate) timed_out: bool,
    pub(crate) duration: Duration,
}

/// How a caller wants the command to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// SIGTERM, and SIGKILL after the grace.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What the supervisor and the callers both see.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    wake: OwnedFd,
}

pub(crate) struct State {
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    /// Bytes on their way to the command.
    pub(crate) stdin: VecDeque<u8>,
    /// The input ends when `stdin` is empty.
    pub(crate) stdin_ends: bool,
    pub(crate) stop: Option<Stop>,
    /// Set once, last of all; the error is the id of a process that did not vanish.
    pub(crate) end: Option<Result<End, i32>>,
}

impl Shared {
    pub(crate) fn new(
        output_bytes: usize,
        stdin: Option<&[u8]>,
        stdin_ends: bool,
    ) -> Result<Self, SandboxError> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let state = State {
            stdout: Capture::new(output_bytes),
            stderr: Capture::new(output_bytes),
            stdin: stdin.unwrap_or_default().iter().copied().collect(),
            stdin_ends,
            stop: None,
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

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Where a command stands, and when it is moved on.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Running {
        until: Instant,
    },
    /// SIGTERM was sent.
    Terminating {
        until: Instant,
    },
    /// SIGKILL was sent.
    Killed {
        until: Instant,
    },
    /// It is reaped, and the rest of its output is read.
    Draining {
        until: Instant,
        exit: Exit,
    },
}

impl Stage {
    fn until(self) -> Instant {
        match self {
            Self::Running { until }
            | Self::Terminating { until }
            | Self::Killed { until }
            | Self::Draining { until, .. } => until,
        }
    }
}

/// A running command, seen from its supervisor.
pub(crate) struct Supervisor<'a> {
    shared: &'a Shared,
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    grace: Duration,
    started: Instant,
    stage: Stage,
    timed_out: bool,
}

/// What `poll` found.
#[derive(Default)]
struct Ready {
    ended: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl<'a> Supervisor<'a> {
    /// Takes over a command that has just been started as the leader of its process group.
    pub(crate) fn new(shared: &'a Shared, mut child: Child, limits: &Limits) -> Result<Self, SandboxError> {
        let taken = Pid::from_raw(child.id().cast_signed()).ok_or(rustix::io::Errno::SRCH).and_then(|pid| {
            let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
            let fds = [child.stdin.as_ref().map(AsFd::as_fd), child.stdout.as_ref().map(AsFd::as_fd)];
            let fds = fds.into_iter().chain([child.stderr.as_ref().map(AsFd::as_fd)]);
            fds.flatten().try_for_each(|fd| rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK))?;
            Ok((pid, pidfd))
        });
        let (pid, pidfd) = taken.map_err(|errno| {
            // Nobody would watch it: it must not run on.
            let _ = child.kill().and_then(|()| child.wait());
            SandboxError::io("watch the command")(errno.into())
        })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let started = Instant::now();
        let stage = Stage::Running { until: later(started, limits.wall) };
        let (grace, timed_out) = (limits.grace, false);
        Ok(Self { shared, child, pid, pidfd, stdin, stdout, stderr, grace, started, stage, timed_out })
    }

    /// Sees the command through to its end, and says how it ended in the shared state.
    pub(crate) fn supervise(mut self) {
        let mut buffer = vec![0; READ_BYTES];
        // An input that is empty from the start ends now: nothing would wake the loop for it.
        self.feed(false);
        let end = loop {
            let ready = self.poll();
            self.move_bytes(&ready, &mut buffer);
            if let Some(end) = self.advance(ready.ended) {
                break end;
            }
        };
        // The pipes are closed before anybody learns of the end.
        drop((self.stdin, self.stdout, self.stderr));
        self.shared.change(|state| state.end = Some(end));
    }

    /// Waits until something can be done, or the stage is over.
    fn poll(&self) -> Ready {
        let reaped = matches!(self.stage, Stage::Draining { .. });
        let watched_stdin = self.stdin.as_ref().filter(|_| !self.shared.lock().stdin.is_empty());
        let slots = [
            (!reaped).then_some((self.pidfd.as_fd(), PollFlags::IN)),
            watched_stdin.map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
            self.stdout.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            self.stderr.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            Some((self.shared.wake.as_fd(), PollFlags::IN)),
        ];
        let mut fds: Vec<_> =
            slots.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let left = self.stage.until().saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        if rustix::event::poll(&mut fds, Some(&timeout)).is_err() {
            return Ready::default(); // Interrupted: the caller comes back.
        }
        let mut found = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut is_ready = |watched: bool| watched && found.next().unwrap_or(false);
        let [ended, stdin, stdout, stderr, _] = slots.map(|slot| is_ready(slot.is_some()));
        Ready { ended, stdin, stdout, stderr }
    }

    fn move_bytes(&mut self, ready: &Ready, buffer: &mut [u8]) {
        // Emptied, so that the next poll waits; what it announced is looked at in this turn.
        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        if ready.stdout {
            forward(&mut self.stdout, buffer, |bytes| self.shared.change(|state| state.stdout.push(bytes)));
        }
        if ready.stderr {
            forward(&mut self.stderr, buffer, |bytes| self.shared.change(|state| state.stderr.push(bytes)));
        }
        self.feed(ready.stdin);
    }

    /// Writes waiting input, and closes the input when it has ended.
    fn feed(&mut self, ready: bool) {
        let Some(pipe) = &mut self.stdin else { return };
        let mut state = self.shared.lock();
        if ready {
            match pipe.write(state.stdin.as_slices().0) {
                Ok(written) => drop(state.stdin.drain(..written)),
                Err(error) if is_temporary(&error) => {}
                // The command closed its input.
                Err(_) => {
                    state.stdin.clear();
                    state.stdin_ends = true;
                }
            }
        }
        if state.stdin_ends && state.stdin.is_empty() {
            self.stdin = None;
        }
    }

    /// Moves the command to its next stage when it is time; the result is its end.
    fn advance(&mut self, ended: bool) -> Option<Result<End, i32>> {
        let now = Instant::now();
        if ended && !matches!(self.stage, Stage::Draining { .. }) {
            self.stage = match self.reap() {
                Ok(exit) => Stage::Draining { until: now + DRAIN, exit },
                Err(_) => return Some(Err(self.pid.as_raw_nonzero().get())),
            };
        }
        let over = now >= self.stage.until();
        match self.stage {
            Stage::Draining { exit, .. } if over || (self.stdout.is_none() && self.stderr.is_none()) => {
                let duration = self.started.elapsed();
                return Some(Ok(End { exit, timed_out: self.timed_out, duration }));
            }
            Stage::Draining { .. } => {}
            Stage::Killed { .. } if over => return Some(Err(self.pid.as_raw_nonzero().get())),
            Stage::Killed { .. } => {}
            Stage::Terminating { .. } if over => self.kill(now),
            Stage::Running { .. } if over => {
                self.timed_out = true;
                self.terminate(now);
            }
            Stage::Running { .. } | Stage::Terminating { .. } => self.obey(now),
        }
        None
    }

    /// Does what a caller asked for.
    fn obey(&mut self, now: Instant) {
        let stop = self.shared.lock().stop;
        match (stop, self.stage) {
            (Some(Stop::Kill), _) => self.kill(now),
            (Some(Stop::Terminate), Stage::Running { .. }) => self.terminate(now),
            _ => {}
        }
    }

    fn terminate(&mut self, now: Instant) {
        self.signal_group(Signal::TERM);
        // A stopped process acts on SIGTERM only when it goes on.
        self.signal_group(Signal::CONT);
        self.stage = Stage::Terminating { until: later(now, self.grace) };
    }

    fn kill(&mut self, now: Instant) {
        self.signal_group(Signal::KILL);
        self.stage = Stage::Killed { until: now + VANISH };
    }

    /// Kills what the leader left behind, then reaps it. In this order: once it is reaped, its id, which is also the
    /// id of the group, may belong to somebody else.
    fn reap(&mut self) -> io::Result<Exit> {
        self.signal_group(Signal::KILL);
        self.child.wait().map(Exit::from)
    }

    fn signal_group(&self, signal: Signal) {
        // Fails only when the group is gone, and then there is nothing to do.
        let _ = rustix::process::kill_process_group(self.pid, signal);
    }
}

/// A point in time at most a year away: `Instant` overflows on what some callers call "no limit".
pub(crate) fn later(from: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from + wait.min(YEAR)
}

/// Reads once from a pipe; drops the pipe at its end.
fn forward<P: Read>(pipe: &mut Option<P>, buffer: &mut [u8], take: impl FnOnce(&[u8])) {
    let Some(open) = pipe else { return };
    match open.read(buffer) {
        Err(error) if is_temporary(&error) => {}
        Ok(0) | Err(_) => *pipe = None,
        Ok(length) => take(buffer.get(..length).unwrap_or_default()),
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
