//! What happens between fork and exec, and the other places where Rust cannot check what the kernel does.
//!
//! The daemon has many threads, and after fork only one of them is left: a lock that another one held is never
//! released. So everything here that runs in the child makes system calls on data prepared by the parent, and
//! allocates nothing, locks nothing and cannot panic. `plan.rs` prepares; `supervise.rs` forks.

#![expect(unsafe_code, reason = "fork, exec hooks and system calls without a safe wrapper")]

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags},
    process::{Pid, Resource, Rlimit, Signal},
    thread::{CapabilitySet, CapabilitySets, UnshareFlags},
};

use crate::Namespaces;

/// Everything the child does to itself.
pub(crate) struct ChildPlan {
    /// [`Namespaces::Unavailable`] when no mount is needed.
    pub(crate) namespaces: Namespaces,
    pub(crate) maps: IdMaps,
    /// Outer before inner.
    pub(crate) mounts: Vec<Mount>,
    pub(crate) cwd: CString,
    pub(crate) limits: Vec<(Resource, Rlimit)>,
    pub(crate) ruleset: Option<OwnedFd>,
}

/// One mount of the private namespace.
pub(crate) struct Mount {
    pub(crate) target: CString,
    pub(crate) kind: MountKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// Itself, as it is: a mount point cannot be renamed or removed.
    Pinned,
    /// Itself, read-only with everything below.
    ReadOnly,
    /// Itself, writable inside something read-only.
    Writable,
    /// An empty read-only directory.
    EmptyDirectory,
    /// Nothing to read.
    EmptyFile,
}

/// The lines that map this user and group to themselves in a user namespace, so that files keep their owners.
pub(crate) struct IdMaps {
    uid: String,
    gid: String,
}

impl IdMaps {
    pub(crate) fn of_this_process() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Self { uid: format!("{uid} {uid} 1"), gid: format!("{gid} {gid} 1") }
    }
}

/// The steps of [`ChildPlan::apply`], for the error message.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Session,
    Namespace,
    Mounts,
    WorkingDirectory,
    Limits,
    Capabilities,
    NoNewPrivileges,
    Landlock,
    ParentDeath,
    Descriptors,
}

const STEP_NAMES: [&str; 10] = [
    "a session of its own",
    "a private namespace",
    "read-only mounts of protected paths",
    "the working directory",
    "resource limits",
    "giving up capabilities",
    "no_new_privs",
    "Landlock",
    "ending with the daemon",
    "closing descriptors",
];

/// The name of the step that a child reported.
pub(crate) fn step_name(step: u8) -> &'static str {
    STEP_NAMES.get(usize::from(step)).copied().unwrap_or("an unknown step")
}

/// Lets `command` do all of `plan` to itself before it executes its program. A step that fails is written to `report`
/// as one byte, and the spawn fails with the error of that step.
pub(crate) fn contain(command: &mut Command, plan: ChildPlan, report: OwnedFd) {
    let parent = rustix::process::getpid();
    let hook = move || match plan.apply(parent) {
        Ok(()) => Ok(()),
        Err((step, errno)) => {
            // If the report is lost, the caller still gets the error, without the name of the step.
            let _ = rustix::io::write(&report, &[step as u8]);
            Err(io::Error::from_raw_os_error(errno.raw_os_error()))
        }
    };
    // SAFETY: the hook runs in a forked child of a process with many threads. `apply` makes system calls (rustix and
    // `libc::syscall`) on memory that the parent prepared; it neither allocates, locks nor panics, and
    // `from_raw_os_error` stores an integer.
    unsafe { command.pre_exec(hook) };
}

type StepResult = Result<(), (Step, Errno)>;

fn at(step: Step) -> impl FnOnce(Errno) -> (Step, Errno) {
    move |errno| (step, errno)
}

impl ChildPlan {
    fn apply(&self, parent: Pid) -> StepResult {
        rustix::process::setsid().map_err(at(Step::Session))?;
        if self.namespaces != Namespaces::Unavailable {
            enter_namespace(self.namespaces, &self.maps).map_err(at(Step::Namespace))?;
        }
        self.mounts.iter().try_for_each(Mount::make).map_err(at(Step::Mounts))?;
        // After the mounts: a directory entered before would be the one underneath.
        rustix::process::chdir(self.cwd.as_c_str()).map_err(at(Step::WorkingDirectory))?;
        let mut limits = self.limits.iter();
        limits
            .try_for_each(|(resource, limit)| rustix::process::setrlimit(*resource, *limit))
            .map_err(at(Step::Limits))?;
        drop_capabilities().map_err(at(Step::Capabilities))?;
        rustix::thread::set_no_new_privs(true).map_err(at(Step::NoNewPrivileges))?;
        if let Some(ruleset) = &self.ruleset {
            landlock_restrict_self(ruleset).map_err(at(Step::Landlock))?;
        }
        // Last of the credentials' changes, because some of them clear it.
        die_with(parent).map_err(at(Step::ParentDeath))?;
        close_descriptors_at_exec().map_err(at(Step::Descriptors))
    }
}

/// Moves this process into a mount namespace whose changes nobody else sees.
pub(crate) fn enter_namespace(kind: Namespaces, maps: &IdMaps) -> Result<(), Errno> {
    let flags = match kind {
        Namespaces::Privileged => UnshareFlags::NEWNS,
        Namespaces::User => UnshareFlags::NEWUSER | UnshareFlags::NEWNS,
        Namespaces::Unavailable => return Err(Errno::PERM),
    };
    // SAFETY: `unshare` is unsafe for the sake of shared descriptor tables (CLONE_FILES), and those stay shared.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    if kind == Namespaces::User {
        // Without this the kernel refuses a group map written by an unprivileged process (user_namespaces(7)).
        write_file(c"/proc/self/setgroups", b"deny")?;
        write_file(c"/proc/self/uid_map", maps.uid.as_bytes())?;
        write_file(c"/proc/self/gid_map", maps.gid.as_bytes())?;
    }
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

fn write_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes).map(|_| ())
}

impl Mount {
    fn make(&self) -> Result<(), Errno> {
        let target = self.target.as_c_str();
        match self.kind {
            MountKind::Pinned => rustix::mount::mount_bind_recursive(target, target),
            MountKind::ReadOnly => {
                rustix::mount::mount_bind_recursive(target, target)?;
                set_read_only(target, true)
            }
            MountKind::Writable => {
                rustix::mount::mount_bind_recursive(target, target)?;
                set_read_only(target, false)
            }
            MountKind::EmptyDirectory => {
                let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                rustix::mount::mount(c"none", target, c"tmpfs", flags, c"size=4k,mode=0555")
            }
            MountKind::EmptyFile => rustix::mount::mount_bind(c"/dev/null", target),
        }
    }
}

/// Makes a mount and all below it read-only or writable. `mount_setattr(2)` and not a remount: a remount in a user
/// namespace would have to repeat every other flag of the mount.
fn set_read_only(target: &CStr, read_only: bool) -> Result<(), Errno> {
    let flag = libc::MOUNT_ATTR_RDONLY;
    let (attr_set, attr_clr) = if read_only { (flag, 0) } else { (0, flag) };
    let attributes = libc::mount_attr { attr_set, attr_clr, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is terminated by a zero byte and the structure has the size that is passed; the kernel reads
    // both and writes neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result)
}

/// What root may keep: what it takes to work with files that belong to others. Not `CAP_DAC_READ_SEARCH`, which opens
/// files by handle and so around a mount.
const KEPT_BY_ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);

/// Gives up every capability that is not kept, so that mounts stay as they are and no other process can be entered.
fn drop_capabilities() -> Result<(), Errno> {
    let root = rustix::process::geteuid().is_root();
    let held = rustix::thread::capabilities(None)?;
    if !root && held.permitted.is_empty() {
        return Ok(());
    }
    let kept = if root { KEPT_BY_ROOT } else { CapabilitySet::empty() };
    bound_capabilities(kept)?;
    rustix::thread::clear_ambient_capability_set()?;
    let left = held.permitted.intersection(kept);
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

/// Takes capabilities from the bounding set, from which root would get them back at exec.
fn bound_capabilities(kept: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) if !kept.contains(capability) => {
                rustix::thread::remove_capability_from_bounding_set(capability)?;
            }
            Ok(_) => {}
            // Beyond the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The child is killed when the thread that started it ends. That thread is the supervisor, which ends after the
/// child; so this means: when the daemon dies.
fn die_with(parent: Pid) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The daemon may have died before the line above.
    if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH) }
}

/// Marks and does not close: the standard library's own pipe, which reports a failed exec, is among them.
fn close_descriptors_at_exec() -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: three integers; no descriptor is closed before exec, so no owner in this process is affected.
    checked(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) })
}

fn landlock_restrict_self(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: an open descriptor and flags; the kernel touches no memory of ours.
    checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
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

/// Forks a child that does `work`, tells by its exit code whether that succeeded, and never returns.
/// `work` may only make system calls: see the head of this file.
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
fn checked(result: libc::c_long) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
