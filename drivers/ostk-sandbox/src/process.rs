//! A started command, as its caller sees it: run it to the end, or hold on to it while it runs.
//!
//! The work is done by the supervisor thread (`supervise.rs`); the functions here start that thread, talk to it
//! through the shared state, and turn its findings into results.

use std::{
    io,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use crate::{
    Containment, Exit, Limits, Network, Observed, Output, Probe, Refused, SandboxError, Spec, WindowSize,
    child::{Failed, Step},
    launch::{self, Started},
    plan::{self, Plan},
    shared::{Shared, State, Stop},
    spare::Spare,
    supervise::{End, Supervisor, later},
};

/// Bytes of input that may wait for a process that does not read.
const MAX_PENDING_INPUT: usize = 1 << 20;
/// Bytes of one [`Piece`].
const MAX_PIECE: usize = 64 << 10;

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// It reached its wall-clock limit and was ended.
    pub timed_out: bool,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// From its start until its end was noticed.
    pub duration: Duration,
    /// What held it.
    pub containment: Containment,
    /// What it left where it may leave nothing.
    pub refused: Vec<Refused>,
    /// What it asked for, when its spec wanted that noted.
    pub observed: Option<Observed>,
}

/// An output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Part of an output stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where in the stream `bytes` begin: later than was asked for when bytes before were not kept.
    pub start: u64,
    /// At most 64 KiB; empty when none came in time, or none will come.
    pub bytes: Vec<u8>,
    /// The process has ended, and the stream with these bytes.
    pub is_last: bool,
}

impl Piece {
    /// Where the next piece begins.
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Why a wait for output came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The text was there.
    Found,
    /// The process ended without it.
    Ended,
    /// The time was over.
    TimedOut,
}

/// A running command. Dropping it kills its process group, without waiting for it to be gone.
pub struct Process {
    pid: i32,
    shared: Arc<Shared>,
    containment: Containment,
    guarded: Vec<PathBuf>,
    relays: Mutex<Vec<TcpListener>>,
    has_terminal: bool,
}

/// What the supervisor thread is given.
struct Job {
    plan: Plan,
    limits: Limits,
    shared: Arc<Shared>,
}

/// What a caller holds of a command that has just been started.
struct Begun {
    pid: i32,
    relays: Vec<TcpListener>,
}

/// On the calling thread: it has nothing else to do.
pub(crate) fn run(probe: &Probe, spec: &Spec) -> Result<Outcome, SandboxError> {
    if spec.output_waits || matches!(spec.network, Network::Relayed { .. }) {
        let alone = "nobody would serve its relays or read its output: start it instead";
        return Err(SandboxError::InvalidSpec(alone.into()));
    }
    let plan = plan::plan(probe, spec)?;
    let containment = plan.containment.clone();
    let shared = Shared::new(spec, true)?;
    let (Begun { pid, .. }, supervisor) = begin(plan, &shared, &spec.limits)?;
    supervisor.supervise();
    let state = shared.lock();
    let end = state.end.as_ref().ok_or(SandboxError::Unkillable { pid })?;
    outcome(&state, end, &containment)
}

pub(crate) fn start(probe: &Probe, spec: &Spec) -> Result<Process, SandboxError> {
    launch(probe, spec, spec.stdin.is_some())
}

/// Starts the command on a thread of its own, which lives as long as it does.
fn launch(probe: &Probe, spec: &Spec, stdin_ends: bool) -> Result<Process, SandboxError> {
    let mut plan = plan::plan(probe, spec)?;
    let containment = plan.containment.clone();
    let guarded = std::mem::take(&mut plan.guarded);
    let shared = Arc::new(Shared::new(spec, stdin_ends)?);
    let job = Job { plan, limits: spec.limits.clone(), shared: Arc::clone(&shared) };
    let (tell, told) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("sandbox".into()).spawn(move || supervise(job, &tell));
    thread.map_err(SandboxError::io("start a thread"))?;
    let Begun { pid, relays } =
        told.recv().map_err(|_| SandboxError::io("start a thread")(io::Error::other("it ended")))??;
    Ok(Process {
        pid,
        shared,
        containment,
        guarded,
        relays: Mutex::new(relays),
        has_terminal: spec.terminal.is_some(),
    })
}

/// The supervisor thread: tells whether the command was started, then sees it through.
fn supervise(job: Job, tell: &mpsc::SyncSender<Result<Begun, SandboxError>>) {
    // `launch` waits for the answer, so it can always be given.
    match begin(job.plan, &job.shared, &job.limits) {
        Ok((begun, supervisor)) => {
            let _ = tell.send(Ok(begun));
            supervisor.supervise();
        }
        Err(error) => drop(tell.send(Err(error))),
    }
}

fn begin<'a>(
    plan: Plan,
    shared: &'a Shared,
    limits: &Limits,
) -> Result<(Begun, Supervisor<'a>), SandboxError> {
    let mut started = start_it(&plan)?;
    if let Some(view) = plan.child.view.as_ref().filter(|view| view.network) {
        Spare::prepare(view.way, &view.mounts);
    }
    let pid = started.pid.as_raw_nonzero().get();
    let relays = std::mem::take(&mut started.relays);
    Ok((Begun { pid, relays }, Supervisor::new(shared, started, limits, plan.after)?))
}

/// Tells a failed step of containment from a program that cannot be executed.
fn start_it(plan: &Plan) -> Result<Started, SandboxError> {
    let program = || PathBuf::from(&plan.name);
    launch::launch(&plan.child, &plan.program).map_err(|failed| match failed {
        Failed { step: Step::Execute, errno: Errno::NOENT | Errno::NOTDIR } => {
            SandboxError::NoSuchProgram { program: program() }
        }
        Failed { step: Step::Execute, errno } => {
            SandboxError::CannotExecute { program: program(), source: errno.into() }
        }
        Failed { step, errno } => SandboxError::Setup { step: step.name(), source: errno.into() },
    })
}

impl Process {
    /// Its process id, which is also the id of its process group and session.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What holds it.
    pub fn containment(&self) -> &Containment {
        &self.containment
    }

    /// The real paths that were there when it started and that it cannot change, those that it cannot make, and those that
    /// it cannot see: what else stands under a protected name later came after its start.
    pub fn guarded(&self) -> &[PathBuf] {
        &self.guarded
    }

    /// The listeners of its relays, in the order of the ports; none the second time, or without relays.
    ///
    /// Connections that were made before wait there. The listeners block and outlive the process: whoever serves them
    /// stops when it has ended, for nobody will connect then.
    pub fn take_relays(&self) -> Vec<TcpListener> {
        std::mem::take(&mut *self.relays.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Queues input. Returns at once; at most 1 MiB may wait to be read.
    pub fn write_stdin(&self, bytes: &[u8]) -> Result<(), SandboxError> {
        let mut state = self.shared.lock();
        if state.stdin_ends || state.end.is_some() {
            return Err(SandboxError::InputClosed);
        }
        if state.stdin.len() + bytes.len() > MAX_PENDING_INPUT {
            return Err(SandboxError::InputFull { pending: state.stdin.len() });
        }
        state.stdin.extend(bytes);
        drop(state);
        self.shared.wake();
        Ok(())
    }

    /// Ends the input once what is queued has been read.
    pub fn close_stdin(&self) {
        self.shared.lock().stdin_ends = true;
        self.shared.wake();
    }

    /// Tells its terminal that the window has changed. Returns at once.
    pub fn resize(&self, size: WindowSize) -> Result<(), SandboxError> {
        self.require_terminal()?;
        self.shared.lock().resize = Some(size);
        self.shared.wake();
        Ok(())
    }

    /// Takes its terminal away: those in it get SIGHUP, and SIGKILL after the grace of its limits. Returns at once.
    pub fn hang_up(&self) -> Result<(), SandboxError> {
        self.require_terminal()?;
        self.stop(Stop::HangUp);
        Ok(())
    }

    fn require_terminal(&self) -> Result<(), SandboxError> {
        if self.has_terminal { Ok(()) } else { Err(SandboxError::NoTerminal) }
    }

    /// Follows an output stream: its bytes from `from` on, as soon as there are any, waiting at most `timeout`.
    ///
    /// Offsets count from the start of the process. With `output_waits` this also says that all before `from` has been
    /// taken; without it, a reader that is slower than the command misses what [`Output`] leaves out.
    pub fn read(&self, stream: Stream, from: u64, timeout: Duration) -> Piece {
        let deadline = later(Instant::now(), timeout);
        let mut state = self.shared.lock();
        self.release(&mut state, stream, from);
        loop {
            let capture = state.capture(stream);
            let (start, bytes) = capture.piece(from, MAX_PIECE);
            let left = deadline.saturating_duration_since(Instant::now());
            let is_last = state.end.is_some() && start + bytes.len() as u64 >= capture.total();
            if !bytes.is_empty() || is_last || left.is_zero() {
                return Piece { start, bytes, is_last };
            }
            state = self.shared.wait(state, left);
        }
    }

    /// Lets the command go on when it waited for its reader.
    fn release(&self, state: &mut State, stream: Stream, from: u64) {
        let was_held = state.is_held(stream);
        if let Some([stdout, stderr]) = &mut state.read {
            let read = if stream == Stream::Stdout { stdout } else { stderr };
            *read = from.max(*read);
        }
        if was_held {
            self.shared.wake();
        }
    }

    /// What is kept of an output stream so far.
    pub fn output(&self, stream: Stream) -> Output {
        let state = self.shared.lock();
        state.capture(stream).output()
    }

    /// The last lines of an output stream, as far as they are kept.
    pub fn tail(&self, stream: Stream, lines: usize) -> Vec<u8> {
        let state = self.shared.lock();
        state.capture(stream).last_lines(lines)
    }

    /// Waits until `text` occurs in either output stream, from the start of the process on, at most `timeout`.
    pub fn wait_for(&self, text: &[u8], timeout: Duration) -> Waited {
        let deadline = later(Instant::now(), timeout);
        let overlap = (text.len() as u64).saturating_sub(1);
        let mut searched = [0, 0];
        let mut state = self.shared.lock();
        loop {
            for (capture, searched) in [&state.stdout, &state.stderr].into_iter().zip(&mut searched) {
                if capture.contains(text, *searched) {
                    return Waited::Found;
                }
                *searched = capture.total().saturating_sub(overlap);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match state.end {
                Some(_) => return Waited::Ended,
                None if left.is_zero() => return Waited::TimedOut,
                None => state = self.shared.wait(state, left),
            }
        }
    }

    /// How it ended, or `None` while it runs.
    pub fn try_wait(&self) -> Result<Option<Outcome>, SandboxError> {
        let state = self.shared.lock();
        state.end.as_ref().map(|end| self.outcome(&state, end)).transpose()
    }

    /// Waits for its end, at most `timeout`; `None` when it still runs then.
    pub fn wait(&self, timeout: Duration) -> Result<Option<Outcome>, SandboxError> {
        let deadline = later(Instant::now(), timeout);
        let mut state = self.shared.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match &state.end {
                Some(end) => return self.outcome(&state, end).map(Some),
                None if left.is_zero() => return Ok(None),
                None => state = self.shared.wait(state, left),
            }
        }
    }

    /// SIGTERM to its process group, and SIGKILL after the grace of its limits. Returns at once.
    pub fn terminate(&self) {
        self.stop(Stop::Terminate);
    }

    /// Stops every process of the command, also those in groups and sessions of their own; its wall-clock limit waits.
    /// Returns at once. A command that is to end meanwhile ends.
    pub fn hold(&self) {
        self.set_hold(true);
    }

    /// Lets it go on after [`Process::hold`].
    pub fn resume(&self) {
        self.set_hold(false);
    }

    fn set_hold(&self, hold: bool) {
        let mut state = self.shared.lock();
        state.hold = hold;
        state.was_held |= hold;
        drop(state);
        self.shared.wake();
    }

    /// Whether it has been held at some time: its limits count from later then.
    pub fn was_held(&self) -> bool {
        self.shared.lock().was_held
    }

    /// SIGKILL to its process group. Returns at once; see [`Process::wait`].
    pub fn kill(&self) {
        self.stop(Stop::Kill);
    }

    fn stop(&self, stop: Stop) {
        let mut state = self.shared.lock();
        state.stop = state.stop.max(Some(stop));
        drop(state);
        self.shared.wake();
    }

    fn outcome(&self, state: &State, end: &Result<End, i32>) -> Result<Outcome, SandboxError> {
        outcome(state, end, &self.containment)
    }
}

fn outcome(
    state: &State,
    end: &Result<End, i32>,
    containment: &Containment,
) -> Result<Outcome, SandboxError> {
    let end = end.as_ref().map_err(|pid| SandboxError::Unkillable { pid: *pid })?;
    Ok(Outcome {
        exit: end.exit,
        timed_out: end.timed_out,
        stdout: state.stdout.output(),
        stderr: state.stderr.output(),
        duration: end.duration,
        containment: containment.clone(),
        refused: end.refused.clone(),
        observed: end.observed.clone(),
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid)
            .field("containment", &self.containment)
            .finish_non_exhaustive()
    }
}
