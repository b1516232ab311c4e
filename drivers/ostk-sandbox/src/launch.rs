//! Makes the processes of a command: shares the daemon's memory with a child until that executes the program.
//!
//! A fork would copy the daemon's page tables, and the kernel would copy every page that the daemon touches while the
//! child lives. So each child here is made like that of `vfork(2)`: it shares the memory, and the thread that made it
//! stands still until it executes a program or ends. What it may do in that time is said in `child.rs`.
//!
//! A command with a process namespace takes three steps. The first child enters the namespaces, makes the namespace's
//! first process (`init.rs`) and then the command, both as children of the daemon, and ends.

#![expect(unsafe_code, reason = "clone, and what a child does before it executes a program")]

use std::{
    ffi::{CString, c_char, c_int, c_void},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
};

use rustix::{
    io::Errno,
    pipe::PipeFlags,
    process::{Pid, PidfdFlags, Signal, WaitOptions},
};

use crate::{
    child::{ChildPlan, Failed, Step},
    handover::Handover,
    init,
    notify::Watched,
};

/// Stack of a child: far more than its few nested calls take.
const STACK_BYTES: usize = 64 * 1024;
/// Like `vfork(2)`: shared memory, and the maker waits.
pub(crate) const SHARE: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;

/// What to execute.
pub(crate) struct Program {
    /// The places where it may be, tried in turn.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    /// `NAME=value`.
    pub(crate) env: Vec<CString>,
}

/// A command that has been started.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// The first process of its process namespace, if it has one: a child of this process as well.
    pub(crate) init: Option<Pid>,
    /// Its terminal is both.
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    /// `None` with a terminal.
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) relays: Vec<TcpListener>,
    /// Where notices of its calls come, when some are carried out for it.
    pub(crate) notices: Option<OwnedFd>,
}

/// What the daemon and the children see at the same time.
struct Launch<'a> {
    plan: &'a ChildPlan,
    program: &'a Program,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The command's ends of its three pipes; `None` with a terminal.
    stdio: Option<[RawFd; 3]>,
    /// A descriptor of the daemon, by which a child sees whether it is alive.
    daemon: RawFd,
    init_program: RawFd,
    /// One for each child that may exist at the same time.
    stacks: [Stack; 3],
    init: AtomicI32,
    command: AtomicI32,
    failed_step: AtomicI32,
    errno: AtomicI32,
}

/// Starts the command. An error names the step that failed; nothing of the command is left then.
pub(crate) fn launch(plan: &ChildPlan, program: &Program) -> Result<Started, Failed> {
    let pipes = if plan.terminal.is_none() { Some(Pipes::new()?) } else { None };
    let daemon = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let daemon = daemon.map_err(|errno| Failed { step: Step::Pipes, errno })?;
    let launch = Launch {
        plan,
        program,
        argv: pointers(&program.argv),
        env: pointers(&program.env),
        stdio: pipes.as_ref().map(|pipes| pipes.theirs.each_ref().map(OwnedFd::as_raw_fd)),
        daemon: daemon.as_raw_fd(),
        init_program: init::program().map_or(-1, |file| file.as_raw_fd()),
        stacks: [Stack::new(), Stack::new(), Stack::new()],
        init: AtomicI32::new(0),
        command: AtomicI32::new(0),
        failed_step: AtomicI32::new(-1),
        errno: AtomicI32::new(0),
    };
    let (pid, init) = launch.run()?;
    let started = receive(plan, pipes).map(|([stdin, stdout], stderr, relays, notices)| Started {
        pid,
        init,
        stdin,
        stdout,
        stderr,
        relays,
        notices,
    });
    started.inspect_err(|_| end(Some(pid), init))
}

type Received = ([OwnedFd; 2], Option<OwnedFd>, Vec<TcpListener>, Option<OwnedFd>);

/// What the child handed out, in the order in which it did, and the daemon's ends of the pipes.
fn receive(plan: &ChildPlan, pipes: Option<Pipes>) -> Result<Received, Failed> {
    let take = || plan.handover.as_ref().ok_or(Errno::BADF).and_then(Handover::take);
    let relays: Result<Vec<_>, _> = plan.relays.iter().map(|_| take().map(TcpListener::from)).collect();
    let relays = relays.map_err(|errno| Failed { step: Step::Relays, errno })?;
    let notices = plan.watched.as_ref().map_or(Ok(None), Watched::taken);
    let notices = notices.map_err(|errno| Failed { step: Step::Observe, errno })?;
    if let Some(Pipes { ours: [stdin, stdout, stderr], .. }) = pipes {
        return Ok(([stdin, stdout], Some(stderr), relays, notices));
    }
    let terminal = take().and_then(|terminal| Ok([rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?, terminal]));
    Ok((terminal.map_err(|errno| Failed { step: Step::Terminal, errno })?, None, relays, notices))
}

/// The three pipes of a command.
struct Pipes {
    theirs: [OwnedFd; 3],
    ours: [OwnedFd; 3],
}

impl Pipes {
    fn new() -> Result<Self, Failed> {
        let pipe = || pipe().map_err(|errno| Failed { step: Step::Pipes, errno });
        let [(stdin_theirs, stdin), (stdout, stdout_theirs), (stderr, stderr_theirs)] =
            [pipe()?, pipe()?, pipe()?];
        Ok(Self { theirs: [stdin_theirs, stdout_theirs, stderr_theirs], ours: [stdin, stdout, stderr] })
    }
}

/// A pipe whose descriptors are none of the three that a child puts its own on.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let above =
        |fd: OwnedFd| if fd.as_raw_fd() > 2 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(&fd, 3) };
    Ok((above(read)?, above(write)?))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// The stack of a child.
pub(crate) struct Stack(Box<[MaybeUninit<u8>]>);

impl Stack {
    pub(crate) fn new() -> Self {
        Self(Box::new_uninit_slice(STACK_BYTES))
    }

    /// Its upper end, aligned as every processor here wants it.
    pub(crate) fn top(&self) -> *mut c_void {
        let end = self.0.as_ptr_range().end.cast_mut();
        end.map_addr(|address| address & !0xf).cast()
    }
}

impl Launch<'_> {
    fn run(&self) -> Result<(Pid, Option<Pid>), Failed> {
        let divided = self.plan.view.as_ref().is_some_and(|view| view.processes);
        let [first, ..] = &self.stacks;
        let made = with_signals_blocked(|| {
            let child = if divided { enter_and_divide } else { become_command };
            let first = self.clone_child(child, first, SHARE)?;
            if divided {
                let _ = rustix::process::waitpid(Some(first), WaitOptions::empty());
            } else {
                self.command.store(first.as_raw_nonzero().get(), Ordering::Relaxed);
            }
            Ok(())
        });
        made.map_err(|errno| Failed { step: Step::Process, errno })?;
        let pid_in = |place: &AtomicI32| Pid::from_raw(place.load(Ordering::Relaxed));
        let (command, init) = (pid_in(&self.command), pid_in(&self.init));
        match (self.failure(), command) {
            (None, Some(command)) => Ok((command, init)),
            (failed, command) => {
                end(command, init);
                // A first child that says nothing was killed: by whom, only the system knows.
                Err(failed.unwrap_or(Failed { step: Step::Process, errno: Errno::CHILD }))
            }
        }
    }

    /// Makes a child that shares the memory. It returns when the child has executed a program or ended.
    fn clone_child(
        &self,
        child: extern "C" fn(*mut c_void) -> c_int,
        stack: &Stack,
        flags: c_int,
    ) -> Result<Pid, Errno> {
        // SAFETY: the stack is unused, large enough, and lives as long as `self`, which outlives the child's use of
        // this memory because the kernel holds this thread until then (CLONE_VFORK). `child` takes a `Launch`.
        let pid = unsafe { libc::clone(child, stack.top(), flags, ptr::from_ref(self).cast_mut().cast()) };
        Pid::from_raw(pid.max(0)).ok_or_else(last_errno)
    }

    fn fail(&self, failed: Failed) {
        self.errno.store(failed.errno.raw_os_error(), Ordering::Relaxed);
        self.failed_step.store(failed.step as i32, Ordering::Relaxed);
    }

    fn failure(&self) -> Option<Failed> {
        let step = Step::from_raw(self.failed_step.load(Ordering::Relaxed))?;
        Some(Failed { step, errno: Errno::from_raw_os_error(self.errno.load(Ordering::Relaxed)) })
    }

    /// The first child of a command with a process namespace.
    fn divide(&self) -> Result<(), Failed> {
        self.plan.enter()?;
        self.plan.bound_capabilities()?;
        let [_, second, third] = &self.stacks;
        let flags = SHARE | libc::CLONE_PARENT;
        let at = |errno| Failed { step: Step::Process, errno };
        let init = self.clone_child(become_init, second, flags).map_err(at)?;
        self.init.store(init.as_raw_nonzero().get(), Ordering::Relaxed);
        if self.failure().is_some() {
            return Ok(());
        }
        let command = self.clone_child(become_command, third, flags).map_err(at)?;
        self.command.store(command.as_raw_nonzero().get(), Ordering::Relaxed);
        Ok(())
    }

    /// Only returns when something fails.
    fn command(&self) -> Failed {
        if let Err(failed) = self.plan.apply(self.stdio, self.daemon) {
            return failed;
        }
        let mut errno = Errno::NOENT;
        for candidate in &self.program.candidates {
            // SAFETY: three pointers to memory that the daemon prepared and keeps: a string and two arrays of strings
            // that end with a null pointer.
            unsafe { libc::execve(candidate.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
            // As `execvp(3)`: a file that may not be executed does not end the search, but is remembered.
            match last_errno() {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => errno = Errno::ACCESS,
                other => return Failed { step: Step::Execute, errno: other },
            }
        }
        Failed { step: Step::Execute, errno }
    }

    /// Only returns when something fails.
    fn init(&self) -> Failed {
        if let Err(failed) = self.plan.become_init(self.daemon) {
            return failed;
        }
        let none = [ptr::null::<c_char>()];
        // SAFETY: an open descriptor, an empty path, and two empty arrays that end with a null pointer.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                self.init_program,
                c"".as_ptr(),
                none.as_ptr(),
                none.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        Failed { step: Step::Process, errno: last_errno() }
    }
}

pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

extern "C" fn enter_and_divide(launch: *mut c_void) -> c_int {
    in_child(launch, |launch| launch.divide().err())
}

extern "C" fn become_command(launch: *mut c_void) -> c_int {
    in_child(launch, |launch| Some(launch.command()))
}

extern "C" fn become_init(launch: *mut c_void) -> c_int {
    in_child(launch, |launch| Some(launch.init()))
}

fn in_child(launch: *mut c_void, work: impl FnOnce(&Launch<'_>) -> Option<Failed>) -> c_int {
    // SAFETY: `clone_child` passes a `Launch` that outlives the child; what children change in it is atomic.
    let launch = unsafe { &*launch.cast::<Launch<'_>>() };
    let failed = work(launch);
    let code = failed.as_ref().map_or(0, |_| 127);
    if let Some(failed) = failed {
        launch.fail(failed);
    }
    // SAFETY: ends the process at once, without the handlers and buffers that belong to the daemon.
    unsafe { libc::_exit(code) }
}

/// A handler of the daemon must not run in a child that shares its memory.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are initialised before they are read, and the old mask of this thread is put back.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let done = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        done
    }
}

/// First processes of namespaces that were killed when nothing else was left in them: nobody waits for their end, which
/// takes the kernel longer than everything else. Each is reaped when a later command ends.
static ENDING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Reaps a killed child some time, and now those whose time has come.
pub(crate) fn reap_later(pid: Pid) {
    let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    ending.retain(|pid| matches!(rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
    ending.push(pid);
}

/// Ends and reaps the children of a start that failed. In this order: the first process of a namespace ends when the
/// others have been reaped.
pub(crate) fn end(command: Option<Pid>, init: Option<Pid>) {
    for pid in [init, command].into_iter().flatten() {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    for pid in [command, init].into_iter().flatten() {
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    }
}
