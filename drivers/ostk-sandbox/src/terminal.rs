//! A terminal for one command: made by the child in its own view of the machine, so that it has a name there, and driven
//! from outside through its other end.
//!
//! Its name, `/dev/pts/0`, belongs to the command's own directory of terminals (`namespace.rs`): no other terminal of the
//! machine can be named there. Nothing can be typed into it but from outside: the filter refuses the requests for that.

use std::{
    ffi::CStr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    pty::OpenptFlags,
    termios::Winsize,
};

use crate::handover::Handover;

/// How many characters a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// Where new terminals come from. The first is the same file in a command's view, but under the directory in which the
/// terminal gets its name; on a machine without views an ordinary user may only open the second.
const MAKERS: [&CStr; 2] = [c"/dev/pts/ptmx", c"/dev/ptmx"];

/// Makes a terminal, takes it as the controlling one of this session, and hands out its other end. Called by the child,
/// which leads a session without a terminal; system calls only.
pub(crate) fn open(size: WindowSize, handover: &Handover) -> Result<OwnedFd, Errno> {
    let outer = make()?;
    rustix::pty::unlockpt(&outer)?;
    let inner = rustix::pty::ioctl_tiocgptpeer(
        &outer,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    // None of the three on which the child puts it: a copy onto itself would stay closed at exec.
    let inner = rustix::io::fcntl_dupfd_cloexec(&inner, 3)?;
    resize(outer.as_fd(), size)?;
    rustix::process::ioctl_tiocsctty(&inner)?;
    handover.give(outer.as_fd())?;
    Ok(inner)
}

fn make() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let [first, second] = MAKERS;
    rustix::fs::open(first, flags, Mode::empty()).or_else(|_| rustix::fs::open(second, flags, Mode::empty()))
}

/// Tells the terminal, and those who run in it, that its window has changed.
pub(crate) fn resize(terminal: BorrowedFd<'_>, size: WindowSize) -> Result<(), Errno> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}
