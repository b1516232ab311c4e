//! What a child does to itself before it executes a program.
//!
//! The child shares the daemon's memory (`launch.rs`), and the daemon's other threads run on: a lock that one of them
//! holds may never be released as the child sees it, and whatever the child writes, the daemon reads. So everything
//! here makes system calls on data prepared by the daemon, and allocates nothing, locks nothing and cannot panic.
//! Nor does it change what belongs to the memory, such as whether it may be dumped.

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
};

use crate::{
    WindowSize,
    bisect::Program,
    handover::Handover,
    namespace::{self, View},
    notify::Watched,
    relay, terminal,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Resource, Rlimit, Signal},
    thread::{CapabilitySet, CapabilitySets},
};

/// Everything the child does to itself.
pub(crate) struct ChildPlan {
    /// `None` when it sees the machine as the daemon does.
    pub(crate) view: Option<View>,
    /// Ports; only with a view that has a network of its own.
    pub(crate) relays: Vec<u16>,
    pub(crate) terminal: Option<WindowSize>,
    /// For relays and the terminal.
    pub(crate) handover: Option<Handover>,
    /// Files of control groups that it joins.
    pub(crate) joins: Vec<CString>,
    pub(crate) cwd: CString,
    pub(crate) limits: Vec<(Resource, Rlimit)>,
    pub(crate) ruleset: Option<OwnedFd>,
    /// Among the trees that it may read is `/proc`, and what it sees there is mounted after the rules were made.
    pub(crate) reads_proc: bool,
    /// Whether the ruleset says who may make requests to devices (Landlock ABI 5).
    pub(crate) ioctls_are_ruled: bool,
    pub(crate) filter: Option<Arc<Program>>,
    /// When what it asks for is noted.
    pub(crate) watched: Option<Watched>,
}

/// A step that failed, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    pub(crate) step: Step,
    pub(crate) errno: Errno,
}

/// The steps of a start, for the error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Step {
    Pipes,
    Process,
    Session,
    Group,
    Namespace,
    Relays,
    Mounts,
    Terminal,
    WorkingDirectory,
    Limits,
    Capabilities,
    NoNewPrivileges,
    Landlock,
    ParentDeath,
    Descriptors,
    SystemCalls,
    Observe,
    Execute,
}

const STEPS: [(Step, &str); 18] = [
    (Step::Pipes, "pipes for its input and output"),
    (Step::Process, "a process"),
    (Step::Session, "a session of its own"),
    (Step::Group, "its control groups"),
    (Step::Namespace, "private namespaces"),
    (Step::Relays, "relays on the loopback interface"),
    (Step::Mounts, "mounts in a private namespace"),
    (Step::Terminal, "a terminal of its own"),
    (Step::WorkingDirectory, "the working directory"),
    (Step::Limits, "resource limits"),
    (Step::Capabilities, "giving up capabilities"),
    (Step::NoNewPrivileges, "no_new_privs"),
    (Step::Landlock, "Landlock"),
    (Step::ParentDeath, "ending with the daemon"),
    (Step::Descriptors, "closing descriptors"),
    (Step::SystemCalls, "the filter of system calls"),
    (Step::Observe, "notices of its system calls"),
    (Step::Execute, "executing the program"),
];

impl Step {
    pub(crate) fn name(self) -> &'static str {
        STEPS.iter().find(|(step, _)| *step == self).map_or("an unknown step", |(_, name)| name)
    }

    pub(crate) fn from_raw(raw: i32) -> Option<Self> {
        STEPS.iter().map(|(step, _)| *step).find(|step| *step as i32 == raw)
    }

    const fn failed(self) -> impl FnOnce(Errno) -> Failed {
        move |errno| Failed { step: self, errno }
    }
}

impl ChildPlan {
    /// Joins the groups of the command, enters its view, opens its relays and makes its mounts.
    pub(crate) fn enter(&self) -> Result<(), Failed> {
        let mut joins = self.joins.iter();
        joins.try_for_each(|file| namespace::write_file(file, b"0")).map_err(Step::Group.failed())?;
        let Some(view) = &self.view else { return Ok(()) };
        view.enter().map_err(Step::Namespace.failed())?;
        // While it still has the right to take the ports that ordinary users may not.
        let open = |port: &u16| relay::open(*port, self.handover()?);
        self.relays.iter().try_for_each(open).map_err(Step::Relays.failed())?;
        view.mounts.iter().try_for_each(|mount| mount.make()).map_err(Step::Mounts.failed())
    }

    fn handover(&self) -> Result<&Handover, Errno> {
        self.handover.as_ref().ok_or(Errno::BADF)
    }

    /// Takes from this process and from all that it makes the rights that come back with a new program.
    pub(crate) fn bound_capabilities(&self) -> Result<(), Failed> {
        bound_capabilities().map_err(Step::Capabilities.failed())
    }

    /// Everything up to the execution of the program. With a process namespace, this runs inside it.
    /// Without `stdio` it gets its terminal in place of it.
    pub(crate) fn apply(&self, stdio: Option<[RawFd; 3]>, daemon: RawFd) -> Result<(), Failed> {
        rustix::process::setsid().map_err(Step::Session.failed())?;
        if self.view.as_ref().is_some_and(|view| view.processes) {
            namespace::mount_proc().map_err(Step::Mounts.failed())?;
            if let Some(ruleset) = self.ruleset.as_ref().filter(|_| self.reads_proc) {
                allow(ruleset, c"/proc", READ_FILE | READ_DIR).map_err(Step::Landlock.failed())?;
            }
        } else {
            self.enter()?;
            self.bound_capabilities()?;
        }
        // In its view, where it has its name, and before Landlock, which knows no terminal made later.
        let terminal = self.terminal.map(|size| terminal::open(size, self.handover()?)).transpose();
        let terminal = terminal.map_err(Step::Terminal.failed())?;
        if let (Some(_), Some(ruleset)) = (&self.view, &self.ruleset) {
            self.allow_terminals(ruleset).map_err(Step::Landlock.failed())?;
        }
        // After the mounts: a directory entered before would be the one underneath.
        rustix::process::chdir(self.cwd.as_c_str()).map_err(Step::WorkingDirectory.failed())?;
        drop_capabilities().map_err(Step::Capabilities.failed())?;
        rustix::thread::set_no_new_privs(true).map_err(Step::NoNewPrivileges.failed())?;
        if let Some(ruleset) = &self.ruleset {
            landlock_restrict_self(ruleset).map_err(Step::Landlock.failed())?;
        }
        // After the last change of credentials, because some of them clear it.
        end_with(daemon).map_err(Step::ParentDeath.failed())?;
        reset_signals();
        let stdio = stdio.or_else(|| terminal.as_ref().map(|terminal| [terminal.as_raw_fd(); 3]));
        set_descriptors(stdio.unwrap_or([-1; 3])).map_err(Step::Descriptors.failed())?;
        // Late, because it refuses some of the calls above.
        self.filter_calls()?;
        // Last: the daemon has more descriptors open than a command may have, and this table is a copy of its.
        let mut limits = self.limits.iter();
        let set = limits.try_for_each(|(resource, limit)| rustix::process::setrlimit(*resource, *limit));
        set.map_err(Step::Limits.failed())
    }

    fn filter_calls(&self) -> Result<(), Failed> {
        let Some(filter) = &self.filter else { return Ok(()) };
        match &self.watched {
            Some(watched) => watched.begin(filter).map_err(Step::Observe.failed()),
            None => install(filter, 0).map(|_| ()).map_err(Step::SystemCalls.failed()),
        }
    }

    /// The terminals of the view are not older than the view, so no rule made before can name them.
    fn allow_terminals(&self, ruleset: &OwnedFd) -> Result<(), Errno> {
        let access = READ_FILE | WRITE_FILE | if self.ioctls_are_ruled { IOCTL_DEV } else { 0 };
        for (path, access) in [(namespace::TERMINALS, access | READ_DIR), (namespace::NEW_TERMINAL, access)] {
            match allow(ruleset, path, access) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Prepares the first process of a process namespace.
    pub(crate) fn become_init(&self, daemon: RawFd) -> Result<(), Failed> {
        rustix::process::setsid().map_err(Step::Session.failed())?;
        drop_capabilities().map_err(Step::Capabilities.failed())?;
        rustix::thread::set_no_new_privs(true).map_err(Step::NoNewPrivileges.failed())?;
        end_with(daemon).map_err(Step::ParentDeath.failed())?;
        ignore_ended_children();
        close_at_exec(0).map_err(Step::Descriptors.failed())
    }
}

/// What a process has that acts in a command's name: no rights beyond those, and none to come.
pub(crate) fn give_up_rights() -> Result<(), Errno> {
    drop_capabilities()?;
    rustix::thread::set_no_new_privs(true)
}

/// What root may keep: what it takes to work with files that belong to others. Not `CAP_DAC_READ_SEARCH`, which opens
/// files by handle and so around a mount.
const KEPT_BY_ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);

/// Gives up every capability that is not kept, so that mounts stay as they are and no other process can be entered.
fn drop_capabilities() -> Result<(), Errno> {
    let held = rustix::thread::capabilities(None)?;
    let kept = if is_root() { KEPT_BY_ROOT } else { CapabilitySet::empty() };
    let left = held.permitted.intersection(kept);
    if held.permitted == left && held.inheritable.is_empty() {
        return Ok(());
    }
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Takes capabilities from the bounding set, from which root would get them back with a new program. What is held now
/// stays held.
fn bound_capabilities() -> Result<(), Errno> {
    if !is_root() {
        return Ok(()); // `no_new_privs` keeps a program from giving any to others.
    }
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if KEPT_BY_ROOT.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            // A root without this right, in a container: its bounding set is what `no_new_privs` leaves of it.
            Err(Errno::PERM) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The child is killed when the thread that started it ends. That thread is the supervisor, which ends after the
/// child; so this means: when the daemon dies.
fn end_with(daemon: RawFd) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // SAFETY: the daemon holds the descriptor open, and this process has a copy of it.
    let daemon = unsafe { BorrowedFd::borrow_raw(daemon) };
    let mut watched = [PollFd::from_borrowed_fd(daemon, PollFlags::IN)];
    // It may have died before the first line; its descriptor becomes readable then.
    match rustix::event::poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Ok(()),
        _ => Err(Errno::SRCH),
    }
}

/// Lets a process ignore the end of its children, so that the kernel reaps them. Stays so after exec.
fn ignore_ended_children() {
    // SAFETY: the call sets the answer to a valid signal and has no other effect.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Signals as a program expects them: every one has its usual effect and none is blocked. The child's table of
/// handlers is its own, but the code of the daemon's handlers is in the memory that it shares.
fn reset_signals() {
    // SAFETY: sets of signals are initialised before they are read; a number that is no signal is refused.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// The three standard descriptors, and none beside them.
fn set_descriptors(stdio: [RawFd; 3]) -> Result<(), Errno> {
    for (target, source) in (0..).zip(stdio) {
        // SAFETY: two integers. The descriptors are a copy of the daemon's table, so none of its own is affected.
        checked(unsafe { libc::dup2(source, target) }.into())?;
    }
    close_at_exec(3)
}

fn close_at_exec(first: libc::c_uint) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: three integers; no descriptor is closed before exec, and the table is a copy.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) })
}

/// Installs a filter, and returns what the call returns: with some flags, a descriptor.
pub(crate) fn install(program: &Program, flags: libc::c_ulong) -> Result<libc::c_long, Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program that the structure describes, and keeps no pointer.
    let installed =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    checked(installed).map(|()| installed)
}

fn landlock_restrict_self(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: an open descriptor and flags; the kernel touches no memory of ours.
    checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
}

// Rights of Landlock (landlock(7)).
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const IOCTL_DEV: u64 = 1 << 15;

/// Adds a rule to a ruleset, for a file or everything below a directory.
fn allow(ruleset: &OwnedFd, path: &CStr, access: u64) -> Result<(), Errno> {
    /// `struct landlock_path_beneath_attr` (landlock(7)).
    #[repr(C, packed)]
    struct Rule {
        allowed_access: u64,
        parent_fd: i32,
    }
    const LANDLOCK_RULE_PATH_BENEATH: libc::c_int = 1;
    let parent = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let rule = Rule { allowed_access: access, parent_fd: parent.as_raw_fd() };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: two open descriptors, and a structure of the kernel's layout that it only reads.
    checked(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0)
    })
}

/// The version of the kernel's Landlock, or `None` when it is not there or off.
pub(crate) fn landlock_abi() -> Option<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel takes no structure and returns a number (landlock(7)).
    let version = unsafe {
        let none = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, LANDLOCK_CREATE_RULESET_VERSION)
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Whether the kernel has filters of system calls that can answer with an error.
pub(crate) fn filters_work() -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one integer.
    checked(unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) }).is_ok()
}

/// Forks a child that does `work`, tells by its exit code whether that succeeded, and never returns.
/// `work` may only make system calls: a lock that another thread holds is never released in the child.
pub(crate) fn fork_and(work: impl FnOnce() -> bool) -> Option<Pid> {
    // SAFETY: the child calls `work`, which makes system calls only, and then `_exit`, which runs no handlers.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = if work() { 0 } else { 1 };
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(code) }
    }
    Pid::from_raw(pid).filter(|_| pid > 0)
}

/// The error of the last system call, if it failed.
pub(crate) fn checked(result: libc::c_long) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
