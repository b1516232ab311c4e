//! The thread behind each running command: it starts it, moves its input and output, keeps its deadline, ends its
//! process group, and reaps it.
//!
//! One thread and one `poll` per command. What others want from it (input, an end) is left in [`Shared`], and what
//! it has to tell (output, the end) is found there.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus},
};
use serde::{Deserialize, Serialize};

use crate::{
    Limits, Observed, Refused, SandboxError, Stream,
    connect::Connects,
    hold,
    launch::{self, Started},
    notify,
    observe::Observer,
    plan::After,
    shared::{Shared, Stop},
    terminal,
};

/// How long output is read after the command has ended: what it wrote is in the pipe already, and a descendant that
/// left the process group may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(250);
/// How long a held command is left alone at most, before its supervisor looks again.
const HELD_POLL: Duration = Duration::from_secs(3_600);
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

impl From<WaitStatus> for Exit {
    fn from(status: WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// How it ended, and why.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) exit: Exit,
    pub(crate) timed_out: bool,
    pub(crate) duration: Duration,
    pub(crate) refused: Vec<Refused>,
    pub(crate) observed: Option<Observed>,
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

/// A child, and a descriptor that becomes readable when it ends.
struct Watched {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Watched {
    fn new(pid: Pid) -> Result<Self, Errno> {
        Ok(Self { pid, pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())? })
    }
}

/// A running command, seen from its supervisor.
pub(crate) struct Supervisor<'a> {
    shared: &'a Shared,
    command: Watched,
    /// The first process of its process namespace, until that is gone.
    init: Option<Watched>,
    /// Holds the command's mounts until its end has been told: to take them down makes the kernel wait.
    mounts: Option<OwnedFd>,
    after: After,
    /// Where calls come that are carried out for it (`after.connects`).
    notices: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    grace: Duration,
    started: Instant,
    stage: Stage,
    timed_out: bool,
    /// Since when it is held.
    held: Option<Instant>,
}

/// What `poll` found.
#[derive(Default)]
struct Ready {
    ended: bool,
    init_ended: bool,
    notice: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl<'a> Supervisor<'a> {
    /// Takes over a command that has just been started as the leader of its process group.
    pub(crate) fn new(
        shared: &'a Shared,
        child: Started,
        limits: &Limits,
        after: After,
    ) -> Result<Self, SandboxError> {
        let Started { pid, init, stdin, stdout, stderr, notices, relays: _ } = child;
        let watched = [&stdin, &stdout]
            .into_iter()
            .chain(&stderr)
            .try_for_each(|fd| rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK))
            .and_then(|()| Ok((Watched::new(pid)?, init.map(Watched::new).transpose()?)));
        let (command, watched_init) = watched.map_err(|errno| {
            // Nobody would watch it: it must not run on.
            launch::end(Some(pid), init);
            SandboxError::io("watch the command")(errno.into())
        })?;
        let started = Instant::now();
        Ok(Self {
            shared,
            command,
            init: watched_init,
            mounts: None,
            after,
            notices,
            stdin: Some(stdin),
            stdout: Some(stdout),
            stderr,
            grace: limits.grace,
            started,
            stage: Stage::Running { until: later(started, limits.wall) },
            timed_out: false,
            held: None,
        })
    }

    /// Sees the command through to its end, and says how it ended in the shared state.
    pub(crate) fn supervise(mut self) {
        let mut buffer = vec![0; READ_BYTES];
        // An input that is empty from the start ends now: nothing would wake the loop for it.
        self.feed(false);
        let mut end = loop {
            let ready = self.poll();
            self.serve(&ready);
            self.move_bytes(&ready, &mut buffer);
            if let Some(end) = self.advance(&ready) {
                break end;
            }
        };
        // The pipes are closed, and the workspace is as it was, before anybody learns of the end.
        drop((self.stdin, self.stdout, self.stderr, self.after.placeholders, self.after.connects));
        if let Ok(end) = &mut end {
            end.observed = self.after.observer.take().map(Observer::finish);
            end.refused = self.after.sweep.run();
        }
        drop(self.after.group);
        self.shared.change(|state| state.end = Some(end));
        drop(self.mounts);
    }

    /// Waits until something can be done, or the stage is over.
    fn poll(&self) -> Ready {
        let reaped = matches!(self.stage, Stage::Draining { .. });
        let [stdin, stdout, stderr] = self.wanted(reaped);
        let slots = [
            (!reaped).then_some((self.command.pidfd.as_fd(), PollFlags::IN)),
            self.init.as_ref().map(|init| (init.pidfd.as_fd(), PollFlags::IN)),
            self.notices.as_ref().map(|notices| (notices.as_fd(), PollFlags::IN)),
            stdin.map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
            stdout.map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            stderr.map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            Some((self.shared.wake.as_fd(), PollFlags::IN)),
        ];
        let mut fds: Vec<_> =
            slots.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let left = self.stage.until().saturating_duration_since(Instant::now());
        // The clock of a held command stands still: only a caller or its end moves it on.
        let left = if self.held.is_some() { HELD_POLL } else { left };
        let patience = self.after.connects.as_ref().and_then(Connects::patience);
        let left = patience.map_or(left, |patience| left.min(patience));
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        if rustix::event::poll(&mut fds, Some(&timeout)).is_err() {
            return Ready::default(); // Interrupted: the caller comes back.
        }
        let mut found = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut is_ready = |watched: bool| watched && found.next().unwrap_or(false);
        let [ended, init_ended, notice, stdin, stdout, stderr, _] =
            slots.map(|slot| is_ready(slot.is_some()));
        Ready { ended, init_ended, notice, stdin, stdout, stderr }
    }

    /// Carries out what the command asks for.
    fn serve(&mut self, ready: &Ready) {
        let (Some(notices), Some(connects)) = (&self.notices, &mut self.after.connects) else { return };
        connects.look_again(notices);
        if !ready.notice {
            return;
        }
        match notify::next(notices) {
            Ok(Some(call)) => connects.take(notices, call),
            Ok(None) => {}
            // Nobody is left who could ask.
            Err(_) => self.notices = None,
        }
    }

    /// The descriptors that bytes are moved through now. When the command has ended, what it wrote is in the pipes, and
    /// there is room for as much as a pipe holds.
    fn wanted(&self, reaped: bool) -> [Option<&OwnedFd>; 3] {
        let state = self.shared.lock();
        let flows = |stream| reaped || !state.is_held(stream);
        [
            self.stdin.as_ref().filter(|_| !state.stdin.is_empty()),
            self.stdout.as_ref().filter(|_| flows(Stream::Stdout)),
            self.stderr.as_ref().filter(|_| flows(Stream::Stderr)),
        ]
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
        self.resize();
        self.feed(ready.stdin);
    }

    fn resize(&self) {
        let size = self.shared.lock().resize.take();
        if let (Some(size), Some(terminal)) = (size, &self.stdout) {
            // Fails only when it is no terminal, and then nobody asks.
            let _ = terminal::resize(terminal.as_fd(), size);
        }
    }

    /// Writes waiting input, and closes the input when it has ended.
    fn feed(&mut self, ready: bool) {
        let Some(pipe) = &mut self.stdin else { return };
        let mut state = self.shared.lock();
        if ready {
            match rustix::io::write(&*pipe, state.stdin.as_slices().0) {
                Ok(written) => drop(state.stdin.drain(..written)),
                Err(errno) if is_temporary(errno) => {}
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
    fn advance(&mut self, ready: &Ready) -> Option<Result<End, i32>> {
        let now = Instant::now();
        if ready.init_ended {
            self.reap_init(now);
        }
        if ready.ended && !matches!(self.stage, Stage::Draining { .. }) {
            self.stage = match self.reap() {
                Some(exit) => {
                    let until = now + if self.init.is_some() { VANISH } else { DRAIN };
                    Stage::Draining { until, exit }
                }
                None => return Some(Err(raw(self.command.pid))),
            };
        }
        self.hold_or_resume(now);
        let over = now >= self.stage.until() && self.held.is_none();
        match (self.stage, &self.init) {
            (Stage::Draining { .. }, Some(init)) => return over.then_some(Err(raw(init.pid))),
            (Stage::Draining { exit, .. }, None) if over || self.is_drained() => {
                let duration = self.started.elapsed();
                let timed_out = self.timed_out;
                let (refused, observed) = (Vec::new(), None);
                return Some(Ok(End { exit, timed_out, duration, refused, observed }));
            }
            (Stage::Draining { .. }, None) => {}
            (Stage::Killed { .. }, _) if over => return Some(Err(raw(self.command.pid))),
            (Stage::Killed { .. }, _) => {}
            (Stage::Terminating { .. }, _) if over => self.kill(now),
            (Stage::Running { .. }, _) if over => {
                self.timed_out = true;
                self.terminate(now);
            }
            (Stage::Running { .. } | Stage::Terminating { .. }, _) => self.obey(now),
        }
        None
    }

    fn is_drained(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Does what a caller asked for.
    fn obey(&mut self, now: Instant) {
        let stop = self.shared.lock().stop;
        match (stop, self.stage) {
            (Some(Stop::Kill), _) => self.kill(now),
            (Some(Stop::Terminate), Stage::Running { .. }) => self.terminate(now),
            (Some(Stop::HangUp), Stage::Running { .. }) => self.hang_up(now),
            _ => {}
        }
    }

    /// Stops or continues the command, if that was asked for. Whoever is to end is held no more.
    fn hold_or_resume(&mut self, now: Instant) {
        let (hold, stop) = {
            let state = self.shared.lock();
            (state.hold, state.stop)
        };
        let init = self.init.as_ref().map(|init| init.pid);
        match (&mut self.stage, self.held) {
            (Stage::Running { .. }, None) if hold && stop.is_none() => {
                hold::stop(self.command.pid, init);
                self.held = Some(now);
            }
            (stage, Some(since)) if !hold || stop.is_some() || !matches!(stage, Stage::Running { .. }) => {
                if let Stage::Running { until } = stage {
                    *until += now - since;
                }
                self.held = None;
                hold::resume(self.command.pid, init);
            }
            _ => {}
        }
    }

    fn terminate(&mut self, now: Instant) {
        self.signal_group(Signal::TERM);
        // A stopped process acts on SIGTERM only when it goes on.
        self.signal_group(Signal::CONT);
        self.stage = Stage::Terminating { until: later(now, self.grace) };
    }

    /// With the last descriptor of its other end closed, the kernel sends SIGHUP to those in the terminal.
    fn hang_up(&mut self, now: Instant) {
        (self.stdin, self.stdout) = (None, None);
        self.stage = Stage::Terminating { until: later(now, self.grace) };
    }

    fn kill(&mut self, now: Instant) {
        self.signal_group(Signal::KILL);
        self.stage = Stage::Killed { until: now + VANISH };
    }

    /// Kills what the leader left behind, then reaps it. In this order: once it is reaped, its id, which is also the
    /// id of the group, may belong to somebody else.
    fn reap(&mut self) -> Option<Exit> {
        self.signal_group(Signal::KILL);
        if let Some(init) = &self.init {
            // A control group can go when its last process is gone.
            let alone = self.after.group.is_empty() && is_childless(init.pid);
            if !alone {
                let path = format!("/proc/{}/ns/mnt", raw(init.pid));
                self.mounts = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
            }
            let _ = rustix::process::kill_process(init.pid, Signal::KILL);
            if alone {
                launch::reap_later(init.pid);
                self.init = None;
            }
        }
        let ended = rustix::process::waitpid(Some(self.command.pid), WaitOptions::empty());
        ended.ok().flatten().map(|(_, status)| Exit::from(status))
    }

    /// Its end is the end of every process in the namespace. Should it end first, the command has been killed.
    fn reap_init(&mut self, now: Instant) {
        if let Some(init) = self.init.take() {
            let _ = rustix::process::waitpid(Some(init.pid), WaitOptions::empty());
        }
        if let Stage::Draining { until, .. } = &mut self.stage {
            *until = now + DRAIN;
        }
    }

    fn signal_group(&self, signal: Signal) {
        // Fails only when the group is gone, and then there is nothing to do.
        let _ = rustix::process::kill_process_group(self.command.pid, signal);
    }
}

/// A point in time at most a year away: `Instant` overflows on what some callers call "no limit".
pub(crate) fn later(from: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from + wait.min(YEAR)
}

/// Reads once from a pipe; drops the pipe at its end.
fn forward(pipe: &mut Option<OwnedFd>, buffer: &mut [u8], take: impl FnOnce(&[u8])) {
    let Some(open) = pipe else { return };
    match rustix::io::read(&*open, &mut *buffer) {
        Err(errno) if is_temporary(errno) => {}
        Ok(0) | Err(_) => *pipe = None,
        Ok(length) => take(buffer.get(..length).unwrap_or_default()),
    }
}

fn is_temporary(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::INTR)
}

/// Whether the first process of a namespace has no children, so that there is no process in the namespace but it: the
/// children of a process that ends become its own. Where the kernel does not tell, the answer is no.
fn is_childless(init: Pid) -> bool {
    let pid = raw(init);
    std::fs::read(format!("/proc/{pid}/task/{pid}/children")).is_ok_and(|children| children.is_empty())
}

fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}
