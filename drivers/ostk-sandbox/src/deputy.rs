//! Makes a connection from an address of our own, and in a command's name where the server can ask who connected.
//!
//! A server on a local socket is told which process connected and as whom (`SO_PEERCRED`). Were that the daemon, every
//! such server, another daemon of ostk too, would take the command for it. So a child connects that is what the command
//! is: without rights, and never to get any. It shares this process's memory like those in `launch.rs`, makes a few
//! system calls and ends. Its number stays taken for a while, so that a server that looks finds what it was.

#![expect(unsafe_code, reason = "clone, and connect with an address as bytes")]

use std::{
    collections::VecDeque,
    ffi::{c_int, c_void},
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions},
};

use crate::{
    child,
    launch::{self, SHARE, Stack},
};

/// How many numbers stay taken. A server looks when it accepts, some microseconds after the connection.
const REMEMBERED: usize = 32;

/// The children that connected last: ended, and not reaped yet.
#[derive(Default)]
pub(crate) struct Deputies(VecDeque<Pid>);

struct Errand<'a> {
    socket: BorrowedFd<'a>,
    address: &'a [u8],
    /// Of `connect`; -1 before it.
    errno: AtomicI32,
}

impl Deputies {
    /// Connects a socket that does not wait.
    pub(crate) fn connect(&mut self, socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
        let errand = Errand { socket, address, errno: AtomicI32::new(-1) };
        let stack = Stack::new();
        // SAFETY: the stack is unused and large enough, and it and the errand outlive the child, for the kernel holds this
        // thread until the child has ended (CLONE_VFORK). The child makes system calls only.
        let made = launch::with_signals_blocked(|| unsafe {
            libc::clone(run, stack.top(), SHARE, ptr::from_ref(&errand).cast_mut().cast())
        });
        let pid = Pid::from_raw(made.max(0)).ok_or_else(launch::last_errno)?;
        self.0.push_back(pid);
        if self.0.len() > REMEMBERED {
            self.0.pop_front().into_iter().for_each(reap);
        }
        match errand.errno.load(Ordering::Relaxed) {
            0 => Ok(()),
            -1 => Err(Errno::CHILD),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    }
}

impl Drop for Deputies {
    fn drop(&mut self) {
        self.0.drain(..).for_each(reap);
    }
}

/// It has ended already.
fn reap(pid: Pid) {
    let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
}

extern "C" fn run(errand: *mut c_void) -> c_int {
    // SAFETY: `Deputies::connect` passes an errand that outlives the child; what is changed in it is atomic.
    let errand = unsafe { &*errand.cast::<Errand<'_>>() };
    let done = child::give_up_rights().and_then(|()| connect(errand.socket, errand.address));
    errand.errno.store(done.map_or_else(Errno::raw_os_error, |()| 0), Ordering::Relaxed);
    // SAFETY: ends the process at once, without the handlers and buffers that belong to the daemon.
    unsafe { libc::_exit(0) }
}

/// `connect(2)` with an address as bytes.
pub(crate) fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel reads `length` bytes of the address, which are there, and keeps no pointer.
    child::checked(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length) }.into())
}
