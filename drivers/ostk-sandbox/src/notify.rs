//! The kernel's notices of system calls (seccomp user notification, Linux 5.5): the filter that asks for them, and the
//! descriptor over which they come and are answered.
//!
//! A call that is noticed stands still until it is answered, and the answer here is always that it goes on. Where
//! several filters speak, a refusal wins over a notice and a notice over leave, in whatever order they were installed:
//! so what `filter.rs` refuses is neither noticed nor let through. What the calls mean is said in `asked.rs`.

#![expect(unsafe_code, reason = "seccomp and the requests to its descriptor have no safe wrapper")]

use std::{
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::Arc,
};

use libc::{c_int, c_long, c_ulong};
use rustix::io::Errno;
use seccompiler::BpfProgram;

use crate::{bisect, child::checked, handover::Handover};

/// One call that waits for its answer.
pub(crate) struct Call {
    id: u64,
    /// The thread that makes it.
    pub(crate) thread: u32,
    pub(crate) number: c_long,
    pub(crate) arguments: [u64; 6],
}

/// What a child does to be noticed.
pub(crate) struct Watched {
    program: BpfProgram,
    handover: Arc<Handover>,
}

impl Watched {
    /// Notices each of `calls`, and `sendto` when it names an address: without one it is the common `send`.
    pub(crate) fn new(calls: impl IntoIterator<Item = c_long>, handover: Arc<Handover>) -> Self {
        let answers = calls.into_iter().map(|call| (call, libc::SECCOMP_RET_USER_NOTIF)).collect();
        Self {
            program: bisect::with_address(libc::SYS_sendto, libc::SECCOMP_RET_USER_NOTIF, answers),
            handover,
        }
    }

    /// Installs the filter and hands out the descriptor. Called by the child; system calls only.
    pub(crate) fn begin(&self) -> Result<(), Errno> {
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        // With the second flag a signal does not make a call come twice (Linux 5.19).
        let listener = match self.install(flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
            Err(Errno::INVAL) => self.install(flags)?,
            installed => installed?,
        };
        self.handover.give(listener.as_fd())
    }

    fn install(&self, flags: c_ulong) -> Result<OwnedFd, Errno> {
        let len = u16::try_from(self.program.len()).map_err(|_| Errno::INVAL)?;
        let program =
            libc::sock_fprog { len, filter: self.program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
        // SAFETY: the kernel copies the program that the structure describes, and keeps no pointer.
        let listener = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        };
        checked(listener)?;
        let listener = RawFd::try_from(listener).map_err(|_| Errno::BADF)?;
        // SAFETY: the kernel has just opened it for this process, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(listener) })
    }
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

fn request(listener: &OwnedFd, request: libc::Ioctl, argument: *mut libc::c_void) -> Result<(), Errno> {
    // SAFETY: an open descriptor, and a pointer to a structure of the kernel's layout that outlives the call.
    let result: c_int = unsafe { libc::ioctl(listener.as_raw_fd(), request, argument) };
    checked(result.into())
}
