//! What a thread that waits in a system call sees: its memory, its descriptors, and where a path leads in its own view of
//! the mounts.
//!
//! Called for calls that are noticed (`notify.rs`). A thread's memory may change at any time, so what decides is read from
//! it once; `connect.rs` and `asked.rs` say what it means.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStringExt as _, fs::FileExt as _},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
    process::{Pid, PidfdFlags, PidfdGetfdFlags},
};

use crate::notify::Call;

/// `struct sockaddr_storage`.
const ADDRESS_BYTES: usize = 128;
/// The number is that of a thread, which need not be the first of its process (Linux 6.9).
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(0o200);
/// A lookup that crosses `..` while somebody renames directories is refused, and made again.
const TRIES: usize = 16;

/// A thread that makes a call.
pub(crate) struct Thread {
    pub(crate) id: u32,
    pub(crate) memory: File,
}

impl Thread {
    pub(crate) fn of(call: &Call) -> Result<Self, Errno> {
        let memory = File::open(format!("/proc/{}/mem", call.thread));
        let memory = memory.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PERM))?;
        Ok(Self { id: call.thread, memory })
    }

    /// A copy of the address of a socket, of which a call names place and length.
    pub(crate) fn address(&self, pointer: u64, length: u64) -> Result<Vec<u8>, Errno> {
        // An `int`, of which the register may hold more.
        let length = usize::try_from(length & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        let mut address = [0; ADDRESS_BYTES];
        let wanted = address.get_mut(..length).ok_or(Errno::INVAL)?;
        self.memory.read_exact_at(wanted, pointer).map_err(|_| Errno::FAULT)?;
        Ok(wanted.to_vec())
    }

    /// A copy of a descriptor: of the open file or socket that it stands for now.
    pub(crate) fn descriptor(&self, number: u64) -> Result<OwnedFd, Errno> {
        // An `int`, of which the register may hold more.
        let number = number as i32;
        let whole = self.process()?;
        rustix::process::pidfd_getfd(&whole, number, PidfdGetfdFlags::empty())
    }

    fn process(&self) -> Result<OwnedFd, Errno> {
        let open = |id: i32, flags| rustix::process::pidfd_open(Pid::from_raw(id).ok_or(Errno::SRCH)?, flags);
        let thread = i32::try_from(self.id).map_err(|_| Errno::SRCH)?;
        open(thread, PidfdFlags::empty())
            .or_else(|_| open(thread, PIDFD_THREAD))
            .or_else(|_| open(self.first()?, PidfdFlags::empty()))
    }

    /// The first thread of its process.
    fn first(&self) -> Result<i32, Errno> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).map_err(|_| Errno::SRCH)?;
        let id = status.lines().find_map(|line| line.strip_prefix("Tgid:")).ok_or(Errno::SRCH)?;
        id.trim().parse().map_err(|_| Errno::SRCH)
    }
}

/// Opens what a path leads to for a thread, following links, without access to it.
///
/// The links in `/proc` that lead to a process's own files are not known here, but for the common way to give a short
/// name to a socket: `/proc/self/fd/N` and what is below it.
pub(crate) fn open(thread: &Thread, path: &Path) -> Result<OwnedFd, Errno> {
    if let Some((number, rest)) = by_descriptor(path) {
        let start = thread.descriptor(number)?;
        if rest.as_os_str().is_empty() {
            return Ok(start);
        }
        return open_in(&start, rest, ResolveFlags::BENEATH);
    }
    let root =
        rustix::fs::open(format!("/proc/{}/root", thread.id), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let path = if path.is_absolute() { path.to_owned() } else { directory(thread)?.join(path) };
    open_in(&root, &path, ResolveFlags::IN_ROOT)
}

/// The working directory. That it may be renamed now does not matter: what counts is where the path leads in the end.
fn directory(thread: &Thread) -> Result<PathBuf, Errno> {
    fs::read_link(format!("/proc/{}/cwd", thread.id)).map_err(|_| Errno::NOENT)
}

fn open_in(start: &OwnedFd, path: &Path, bounds: ResolveFlags) -> Result<OwnedFd, Errno> {
    let resolve = bounds | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(start, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let again = |opened: &Result<_, Errno>| !matches!(opened, Err(Errno::AGAIN));
    // `EAGAIN` would mean to a caller that a server has no room.
    (0..TRIES).map(|_| open()).find(again).unwrap_or(Err(Errno::NOENT))
}

/// The descriptor that a path begins with, and the rest.
fn by_descriptor(path: &Path) -> Option<(u64, &Path)> {
    let rest = path.strip_prefix("/proc/self/fd").or_else(|_| path.strip_prefix("/dev/fd")).ok()?;
    let mut parts = rest.components();
    let Component::Normal(number) = parts.next()? else { return None };
    Some((number.to_str()?.parse().ok()?, parts.as_path()))
}

/// Where an open file is, in the view in which it was opened.
pub(crate) fn place(file: &OwnedFd) -> Result<PathBuf, Errno> {
    let link = rustix::fs::readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?;
    Ok(OsString::from_vec(link.into_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_begins_with_a_descriptor_is_told_from_others() {
        let found = |path: &'static str| by_descriptor(Path::new(path));
        assert_eq!(found("/proc/self/fd/7/a/b"), Some((7, Path::new("a/b"))));
        assert_eq!(found("/dev/fd/7"), Some((7, Path::new(""))));
        for other in
            ["/proc/self/fd", "/proc/self/fd/x", "/proc/self/fd/../root", "/proc/1/fd/3", "proc/self/fd/3"]
        {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
