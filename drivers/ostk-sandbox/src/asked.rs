//! What a noticed system call asks for: which paths, read from the memory of the thread that makes it, and which
//! addresses.
//!
//! A path is resolved as the call would resolve it, from the working directory or descriptor that it names. Nothing is
//! decided by it, and it must not be: another thread can change the memory before the kernel reads it.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
};

use libc::c_long;
use rustix::io::Errno;

use crate::{notify::Call, observe::Observed, view::Thread};

/// Calls on paths and addresses, beside `sendto`. `openat2` is absent for a command (`filter.rs`).
pub(crate) const CALLS: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_truncate,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_connect,
    libc::SYS_bind,
];
/// Those that newer processors do not have.
#[cfg(target_arch = "x86_64")]
pub(crate) const CALLS_HERE: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_symlink,
    libc::SYS_link,
    libc::SYS_chmod,
];
#[cfg(target_arch = "aarch64")]
pub(crate) const CALLS_HERE: &[c_long] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) const CALLS_HERE: &[c_long] = &[];

/// Longest path (PATH_MAX), with its final zero.
const PATH_BYTES: usize = 4096;

/// What one call asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Open { path: PathBuf, flags: i32 },
    Execute(PathBuf),
    Create(PathBuf),
    Change(PathBuf),
    Remove(PathBuf),
    Move { from: PathBuf, to: PathBuf },
    Connect(String),
}

/// Reads what a call asks for; `None` when it names nothing. An error when the memory of its thread is closed to us.
pub(crate) fn asked(call: &Call) -> Result<Option<Asked>, Errno> {
    Ok(read(call, &Thread::of(call)?))
}

fn read(call: &Call, thread: &Thread) -> Option<Asked> {
    let [a, b, c, d, e, f] = call.arguments;
    #[cfg(target_arch = "x86_64")]
    match call.number {
        libc::SYS_open => return Some(Asked::Open { path: thread.path(HERE, a)?, flags: flags(b) }),
        libc::SYS_creat => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            return Some(Asked::Open { path: thread.path(HERE, a)?, flags });
        }
        libc::SYS_unlink | libc::SYS_rmdir => return Some(Asked::Remove(thread.path(HERE, a)?)),
        libc::SYS_rename => {
            return Some(Asked::Move { from: thread.path(HERE, a)?, to: thread.path(HERE, b)? });
        }
        libc::SYS_mkdir | libc::SYS_mknod => return Some(Asked::Create(thread.path(HERE, a)?)),
        libc::SYS_symlink | libc::SYS_link => return Some(Asked::Create(thread.path(HERE, b)?)),
        libc::SYS_chmod => return Some(Asked::Change(thread.path(HERE, a)?)),
        _ => {}
    }
    match call.number {
        libc::SYS_openat => Some(Asked::Open { path: thread.path(a, b)?, flags: flags(c) }),
        libc::SYS_execve => Some(Asked::Execute(thread.path(HERE, a)?)),
        libc::SYS_execveat => Some(Asked::Execute(thread.path(a, b)?)),
        libc::SYS_unlinkat => Some(Asked::Remove(thread.path(a, b)?)),
        libc::SYS_renameat | libc::SYS_renameat2 => {
            Some(Asked::Move { from: thread.path(a, b)?, to: thread.path(c, d)? })
        }
        libc::SYS_mkdirat | libc::SYS_mknodat => Some(Asked::Create(thread.path(a, b)?)),
        libc::SYS_symlinkat => Some(Asked::Create(thread.path(b, c)?)),
        libc::SYS_linkat => Some(Asked::Create(thread.path(c, d)?)),
        libc::SYS_truncate => Some(Asked::Change(thread.path(HERE, a)?)),
        libc::SYS_fchmodat | libc::SYS_fchownat | libc::SYS_utimensat => {
            Some(Asked::Change(thread.path(a, b)?))
        }
        libc::SYS_connect => thread.shown(b, c).map(Asked::Connect),
        libc::SYS_sendto => thread.shown(e, f).map(Asked::Connect),
        libc::SYS_bind => {
            let name = thread.shown(b, c)?;
            Some(Asked::Create(thread.absolute(HERE, Path::new(name.strip_prefix("unix:")?))?))
        }
        _ => None,
    }
}

/// In place of a descriptor: the working directory (`AT_FDCWD`).
const HERE: u64 = libc::AT_FDCWD as u64;

/// An `int` that came in a register.
const fn flags(register: u64) -> i32 {
    register as i32
}

impl Thread {
    fn path(&self, directory: u64, pointer: u64) -> Option<PathBuf> {
        let mut buffer = [0; PATH_BYTES];
        let length = self.memory.read_at(&mut buffer, pointer).ok()?;
        let path = buffer.get(..length)?.split(|byte| *byte == 0).next()?;
        // A text without an end is no path.
        (path.len() < length)
            .then(|| self.absolute(directory, Path::new(std::ffi::OsStr::from_bytes(path))))?
    }

    /// `directory` is a descriptor; only its lower half counts.
    fn absolute(&self, directory: u64, path: &Path) -> Option<PathBuf> {
        if path.is_absolute() {
            return Some(path.to_owned());
        }
        let start = match flags(directory) {
            libc::AT_FDCWD => format!("/proc/{}/cwd", self.id),
            descriptor => format!("/proc/{}/fd/{descriptor}", self.id),
        };
        let start = fs::read_link(start).ok()?;
        Some(if path.as_os_str().is_empty() { start } else { start.join(path) })
    }

    /// `HOST:PORT`, or `unix:` and a path, or a name after `unix:@`.
    fn shown(&self, pointer: u64, length: u64) -> Option<String> {
        shown_address(&self.address(pointer, length).ok()?)
    }
}

/// A `struct sockaddr` as text (ip(7), ipv6(7), unix(7)).
fn shown_address(bytes: &[u8]) -> Option<String> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = || Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    match i32::from(family) {
        libc::AF_INET => {
            let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv4Addr::from(address), port()?)).to_string())
        }
        libc::AF_INET6 => {
            let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv6Addr::from(address), port()?)).to_string())
        }
        libc::AF_UNIX => {
            let name = bytes.get(2..)?;
            let (mark, name) = if name.first() == Some(&0) { ("@", name.get(1..)?) } else { ("", name) };
            let name = name.split(|byte| *byte == 0).next()?;
            Some(format!("unix:{mark}{}", String::from_utf8_lossy(name)))
        }
        _ => None,
    }
}

/// Adds what a call asked for. Called while the call stands still, so that what is there now was there before it.
pub(crate) fn note(asked: Asked, observed: &mut Observed) {
    match asked {
        Asked::Open { path, flags } => note_open(&path, flags, observed),
        Asked::Execute(path) => {
            if let Some(path) = real_file(&path) {
                observed.add(|o| &mut o.executed, path);
            }
        }
        Asked::Create(path) => note_new(&path, observed),
        Asked::Change(path) => {
            if let Ok(path) = fs::canonicalize(path) {
                observed.add(|o| &mut o.written, path);
            }
        }
        Asked::Remove(path) => note_gone(&path, observed),
        Asked::Move { from, to } => {
            note_gone(&from, observed);
            note_new(&to, observed);
            // What was there is replaced.
            note_gone(&to, observed);
        }
        Asked::Connect(address) => observed.add_address(address),
    }
}

fn note_open(path: &Path, flags: i32, observed: &mut Observed) {
    if flags & libc::O_PATH != 0 {
        return;
    }
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        // A file without a name, in this directory.
        return note_new(&path.join("nameless"), observed);
    }
    let access = flags & libc::O_ACCMODE;
    match real_file(path) {
        Some(file) => {
            if access != libc::O_WRONLY {
                observed.add(|o| &mut o.read, file.clone());
            }
            if access != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
                observed.add(|o| &mut o.written, file);
            }
        }
        None if flags & libc::O_CREAT != 0 => note_new(path, observed),
        None => {}
    }
}

/// What is not there yet.
fn note_new(path: &Path, observed: &mut Observed) {
    if let Some(path) = real_name(path).filter(|path| fs::symlink_metadata(path).is_err()) {
        observed.add(|o| &mut o.created, path);
    }
}

fn note_gone(path: &Path, observed: &mut Observed) {
    if let Some(path) = real_name(path).filter(|path| fs::symlink_metadata(path).is_ok()) {
        observed.add(|o| &mut o.removed, path);
    }
}

/// A file that is there, by its real path. The names of directories may always be listed.
fn real_file(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|path| !path.is_dir())
}

/// The name in its real directory; the last part of a path is not followed by the calls that make and remove names.
fn real_name(path: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_people_write_them() {
        let inet = [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(shown_address(&inet).unwrap(), "127.0.0.1:8080");
        let mut inet6 = vec![10, 0, 0, 53, 0, 0, 0, 0];
        inet6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(shown_address(&inet6).unwrap(), "[::1]:53");
        assert_eq!(shown_address(b"\x01\0/run/x\0rest").unwrap(), "unix:/run/x");
        assert_eq!(shown_address(b"\x01\0\0name").unwrap(), "unix:@name");
        assert_eq!(shown_address(b"\x10\0"), None);
        assert_eq!(shown_address(&inet[..3]), None);
    }
}
