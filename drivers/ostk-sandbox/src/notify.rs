//! The kernel's notices of system calls (seccomp user notification, Linux 5.5): the
//! descriptor over which they come and are answered.
//!
//! A call that is noticed stands still until it is answered: that it goes on, or with what has become of it. Which calls
//! are noticed says `filter.rs`, and what they mean `asked.rs`.

#![expect(unsafe_code, reason = "seccomp and the requests to its descriptor have no safe wrapper")]

use std::{
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::Arc,
};

use crate::{
    SandboxError,
    bisect::Program,
    child::{self, checked},
    filter,
    handover::Handover,
};
use libc::{c_int, c_long, c_ulong};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
    pipe::PipeFlags,
    process::{PidfdFlags, PidfdGetfdFlags, WaitOptions},
};

/// One call that waits for its answer.
pub(crate) struct Call {
    id: u64,
    /// The thread that makes it.
    pub(crate) thread: u32,
    pub(crate) number: c_long,
    pub(crate) arguments: [u64; 6],
}

/// Who gets the descriptor over which notices come.
pub(crate) struct Watched {
    handover: Arc<Handover>,
    /// Another thread takes the descriptor.
    observed: bool,
}

impl Watched {
    /// By a thread that holds the handover too.
    pub(crate) const fn by_an_observer(handover: Arc<Handover>) -> Self {
        Self { handover, observed: true }
    }

    /// By whoever starts the command.
    pub(crate) fn here() -> Result<Self, SandboxError> {
        Ok(Self { handover: Arc::new(Handover::new()?), observed: false })
    }

    /// The descriptor, when the child has handed it out and it is not for an observer.
    pub(crate) fn taken(&self) -> Result<Option<OwnedFd>, Errno> {
        if self.observed {
            return Ok(None);
        }
        let listener = self.handover.take()?;
        wake_side_by_side(&listener);
        Ok(Some(listener))
    }

    /// Installs the filter and hands out the descriptor. Called by the child; system calls only.
    pub(crate) fn begin(&self, program: &Program) -> Result<(), Errno> {
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        // With the second flag a signal does not make a call come twice (Linux 5.19).
        let listener = match install(program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
            Err(Errno::INVAL) => install(program, flags)?,
            installed => installed?,
        };
        self.handover.give(listener.as_fd())
    }
}

/// Installs a filter and returns the descriptor of its notices.
fn install(program: &Program, flags: c_ulong) -> Result<OwnedFd, Errno> {
    let listener = child::install(program, flags)?;
    let listener = RawFd::try_from(listener).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just opened it for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// What the kernel writes: more than its structure has ever held, so that a newer one does not write beyond it.
#[repr(C, align(8))]
struct Notice {
    notice: libc::seccomp_notif,
    _room: [u8; 256],
}

#[repr(C, align(8))]
struct Answer {
    answer: libc::seccomp_notif_resp,
    _room: [u8; 256],
}

/// Takes the next call from the descriptor. `ENOENT` when its thread has ended meanwhile.
pub(crate) fn receive(listener: &OwnedFd) -> Result<Call, Errno> {
    // SAFETY: all zeros are a valid value of this structure of integers, and what the kernel wants to find there.
    let mut notice: Notice = unsafe { std::mem::zeroed() };
    request(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, (&raw mut notice).cast())?;
    let libc::seccomp_notif { id, pid, data, .. } = notice.notice;
    Ok(Call { id, thread: pid, number: data.nr.into(), arguments: data.args })
}

/// Takes the next call, if there is one, without waiting. An error when no thread is left that could make one.
pub(crate) fn next(listener: &OwnedFd) -> Result<Option<Call>, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let [found] = fds.map(|fd| fd.revents());
    if !found.contains(PollFlags::IN) {
        return if found.is_empty() { Ok(None) } else { Err(Errno::PIPE) };
    }
    match receive(listener) {
        Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => Ok(None),
        received => received.map(Some),
    }
}

/// Whether calls can be noticed here and carried out in the place of a process.
pub(crate) fn works() -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    let action = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: the kernel reads one integer.
    let noticed =
        checked(unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) });
    noticed.is_ok() && reaches_into_children().is_ok_and(|reaches| reaches)
}

/// Whether a child can be noticed (not where somebody notices this process: one listener is all there can be), a
/// descriptor be taken out of it, and a path be opened within bounds.
fn reaches_into_children() -> Result<bool, Errno> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let other_end = write.as_raw_fd();
    let nothing = filter::none();
    let waits = || {
        // The child's own copy would keep it from learning that the other is gone.
        // SAFETY: a descriptor of the child's table, which nobody uses after this.
        unsafe { libc::close(other_end) };
        let noticed = rustix::thread::set_no_new_privs(true)
            .and_then(|()| install(&nothing, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER));
        rustix::io::read(&read, &mut [0]).is_ok() && noticed.is_ok()
    };
    let child = child::fork_and(waits).ok_or(Errno::CHILD)?;
    let whole = rustix::process::pidfd_open(child, PidfdFlags::empty());
    let taken = whole
        .and_then(|whole| rustix::process::pidfd_getfd(&whole, read.as_raw_fd(), PidfdGetfdFlags::empty()));
    let root = format!("/proc/{}/root", child.as_raw_nonzero());
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened = root.and_then(|root| {
        rustix::fs::openat2(
            &root,
            c"proc",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )
    });
    drop(write);
    let ended = rustix::process::waitpid(Some(child), WaitOptions::empty())?;
    let noticed = ended.is_some_and(|(_, status)| status.exit_status() == Some(0));
    Ok(noticed && taken.is_ok() && opened.is_ok())
}

/// Whether a call still waits: what was read of its thread was read of that thread then.
pub(crate) fn is_waiting(listener: &OwnedFd, call: &Call) -> bool {
    request(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, (&raw const call.id).cast_mut().cast()).is_ok()
}

/// Lets a call go on as if nobody had looked.
pub(crate) fn let_go_on(listener: &OwnedFd, call: &Call) -> Result<(), Errno> {
    // SAFETY: all zeros are a valid value of this structure of integers.
    let mut answer: Answer = unsafe { std::mem::zeroed() };
    answer.answer.id = call.id;
    answer.answer.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
    request(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut answer).cast())
}

/// Answers a call with what has become of it, in place of carrying it out.
pub(crate) fn answer(listener: &OwnedFd, call: &Call, outcome: Result<(), Errno>) -> Result<(), Errno> {
    // SAFETY: all zeros are a valid value of this structure of integers.
    let mut answer: Answer = unsafe { std::mem::zeroed() };
    answer.answer.id = call.id;
    answer.answer.error = outcome.err().map_or(0, |errno| -errno.raw_os_error());
    request(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut answer).cast())
}

/// Asks the kernel to run the one who waits and the one who answers on the same processor: one of them always stands still.
/// A kernel before Linux 6.6 does not, and is slower.
fn wake_side_by_side(listener: &OwnedFd) {
    const SECCOMP_IOCTL_NOTIF_SET_FLAGS: libc::Ioctl = 0x4008_2104;
    const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: an open descriptor and an integer.
    unsafe {
        libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
    };
}

fn request(listener: &OwnedFd, request: libc::Ioctl, argument: *mut libc::c_void) -> Result<(), Errno> {
    // SAFETY: an open descriptor, and a pointer to a structure of the kernel's layout that outlives the call.
    let result: c_int = unsafe { libc::ioctl(listener.as_raw_fd(), request, argument) };
    checked(result.into())
}
