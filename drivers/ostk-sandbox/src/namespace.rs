//! A command's own view of the machine: its namespaces, and the mounts in them.
//!
//! Runs in a child that shares the daemon's memory (`launch.rs`): system calls on prepared data only. What the view
//! holds is worked out in `plan.rs`.

#![expect(unsafe_code, reason = "unshare, mount_setattr and the ioctl of an interface have no safe wrapper")]

use std::{
    ffi::{CStr, CString},
    os::fd::AsRawFd as _,
};

use rustix::{
    fs::{Mode, OFlags, Stat},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags},
    net::{AddressFamily, SocketFlags, SocketType},
    thread::UnshareFlags,
};

use crate::{
    Namespaces,
    child::checked,
    spare::{Cover, Spare},
};

/// The namespaces of a command.
pub(crate) struct View {
    /// Never [`Namespaces::Unavailable`].
    pub(crate) way: Namespaces,
    pub(crate) maps: IdMaps,
    /// Its own processes, their identifiers and their `/proc`, and its own System V IPC.
    pub(crate) processes: bool,
    /// A network with nothing but a loopback interface.
    pub(crate) network: bool,
    /// One that was made before, for a view with a network.
    pub(crate) spare: Option<Spare>,
    /// Outer before inner.
    pub(crate) mounts: Vec<Mount>,
}

/// One mount of the private view.
pub(crate) struct Mount {
    pub(crate) target: CString,
    pub(crate) kind: MountKind,
    /// What is seen there where the view that was made before has this mount.
    pub(crate) covered: Option<Identity>,
}

/// Device and number of a file.
pub(crate) type Identity = [u64; 2];

pub(crate) fn identity(file: &Stat) -> Identity {
    [file.st_dev, file.st_ino]
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// Itself, as it is: a mount point cannot be renamed or removed.
    Pinned,
    /// Itself, read-only with everything below.
    ReadOnly,
    /// Itself, writable inside something read-only; what is mounted below it stays as it is.
    Writable,
    /// A mount below a writable one, which is writable as well.
    WritableBelow,
    /// An empty read-only directory.
    EmptyDirectory,
    /// Nothing to read, and nothing to connect to.
    EmptyFile,
    /// The empty directory that another one is covered with.
    EmptyToo(CString),
    /// Another directory in its place, writable.
    WritableOther(CString),
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

    /// In a user namespace of which this process is the first.
    pub(crate) fn write(&self) -> Result<(), Errno> {
        // Without this the kernel refuses a group map written by an unprivileged process (user_namespaces(7)).
        write_file(c"/proc/self/setgroups", b"deny")?;
        write_file(c"/proc/self/uid_map", self.uid.as_bytes())?;
        write_file(c"/proc/self/gid_map", self.gid.as_bytes())
    }
}

impl View {
    /// Moves this process into namespaces of its own. Its later children are the first of the process namespace, if
    /// the view has one.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        let mut flags = self.flags()?;
        if let Some(spare) = &self.spare {
            spare.enter()?;
            flags.remove(UnshareFlags::NEWUSER | UnshareFlags::NEWNET);
            flags.set(UnshareFlags::NEWNS, !spare.has_view());
        }
        // SAFETY: `unshare` is unsafe for the sake of shared descriptor tables (CLONE_FILES), and those stay shared.
        unsafe { rustix::thread::unshare_unsafe(flags)? };
        if flags.contains(UnshareFlags::NEWUSER) {
            self.maps.write()?;
        }
        if flags.contains(UnshareFlags::NEWNET) {
            raise_loopback()?;
        }
        if flags.contains(UnshareFlags::NEWNS) {
            return begin_view(MountPropagationFlags::PRIVATE);
        }
        // What was mounted on this machine between the look at its mounts and here came into the view too.
        separate(MountPropagationFlags::PRIVATE)
    }

    fn flags(&self) -> Result<UnshareFlags, Errno> {
        let mut flags = match self.way {
            Namespaces::Privileged => UnshareFlags::NEWNS,
            Namespaces::User => UnshareFlags::NEWUSER | UnshareFlags::NEWNS,
            Namespaces::Unavailable => return Err(Errno::PERM),
        };
        flags.set(UnshareFlags::NEWPID | UnshareFlags::NEWIPC, self.processes);
        flags.set(UnshareFlags::NEWNET, self.network);
        Ok(flags)
    }
}

/// Makes the mounts of a namespace that was just made what every command's view begins with. With
/// [`MountPropagationFlags::DOWNSTREAM`] what is mounted and unmounted on this machine later is so here too.
pub(crate) fn begin_view(propagation: MountPropagationFlags) -> Result<(), Errno> {
    separate(propagation)?;
    restrict_devices()
}

fn separate(propagation: MountPropagationFlags) -> Result<(), Errno> {
    rustix::mount::mount_change(c"/", propagation | MountPropagationFlags::REC)?;
    // Landlock says nothing about modes, owners, times and extended attributes; a read-only mount does.
    set_read_only(c"/")
}

/// Shows the processes of this namespace in `/proc`, and no others. Called by a process inside it.
pub(crate) fn mount_proc() -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"proc", c"/proc", c"proc", flags, None)
}

/// The devices that a program may open; every other device file under `/dev` is as if it were none. A root user's
/// command could otherwise read the disk itself, with all that is hidden from it.
const DEVICES: [&CStr; 6] =
    [c"/dev/null", c"/dev/zero", c"/dev/full", c"/dev/random", c"/dev/urandom", c"/dev/tty"];
/// Where terminals are: a command gets new ones and sees none of anybody else, from which it could read what is typed.
pub(crate) const TERMINALS: &CStr = c"/dev/pts";
/// What makes a new terminal.
pub(crate) const NEW_TERMINAL: &CStr = c"/dev/ptmx";

/// Called before the mounts of the view, which use `/dev/null`.
fn restrict_devices() -> Result<(), Errno> {
    let dev = c"/dev";
    rustix::mount::mount_bind_recursive(dev, dev)?;
    for device in DEVICES {
        match rustix::mount::mount_bind_recursive(device, device) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    // Not recursive: the devices just mounted stay what they are.
    set_attributes(dev, libc::MOUNT_ATTR_NODEV, 0, 0)?;
    own_terminals()
}

fn own_terminals() -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    match rustix::mount::mount(c"devpts", TERMINALS, c"devpts", flags, options) {
        Ok(()) => rustix::mount::mount_bind(c"/dev/pts/ptmx", NEW_TERMINAL),
        // There are none here.
        Err(Errno::NOENT) => Ok(()),
        // Where the machine gives no new ones, those that are there are as if they were none.
        Err(_) => match set_attributes(TERMINALS, libc::MOUNT_ATTR_NODEV, 0, 0) {
            // No mount of its own: part of what was restricted above.
            Err(Errno::INVAL) => Ok(()),
            done => done,
        },
    }
}

pub(crate) fn write_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes).map(|_| ())
}

/// The interface of a new network namespace is down, and then even a server's own tests cannot reach it.
pub(crate) fn raise_loopback() -> Result<(), Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all zeros are a valid value of this structure of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads the structure that this request takes and keeps no pointer to it.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}

impl Mount {
    /// The path that it covers with something empty.
    pub(crate) fn cover(&self) -> Option<Cover> {
        let is_directory = match self.kind {
            MountKind::EmptyDirectory | MountKind::EmptyToo(_) => true,
            MountKind::EmptyFile => false,
            _ => return None,
        };
        Some(Cover { target: self.target.clone(), is_directory })
    }

    /// Whether it was made before, and what it covers has not been replaced since.
    fn is_made(&self) -> bool {
        let Some(covered) = self.covered else { return false };
        rustix::fs::stat(self.target.as_c_str()).is_ok_and(|seen| identity(&seen) == covered)
    }

    pub(crate) fn make(&self) -> Result<(), Errno> {
        if self.is_made() {
            return Ok(());
        }
        let target = self.target.as_c_str();
        match &self.kind {
            MountKind::Pinned => rustix::mount::mount_bind_recursive(target, target),
            MountKind::ReadOnly => {
                rustix::mount::mount_bind_recursive(target, target)?;
                set_read_only(target)
            }
            MountKind::Writable => {
                rustix::mount::mount_bind_recursive(target, target)?;
                set_writable(target)
            }
            MountKind::WritableBelow => set_writable(target),
            MountKind::EmptyDirectory => {
                let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                rustix::mount::mount(c"none", target, c"tmpfs", flags, c"size=4k,mode=0555")
            }
            MountKind::EmptyFile => match rustix::mount::mount_bind(c"/dev/null", target) {
                // It has gone meanwhile, and so there is nothing to cover.
                Err(Errno::NOENT) => Ok(()),
                made => made,
            },
            MountKind::EmptyToo(source) => rustix::mount::mount_bind(source.as_c_str(), target),
            MountKind::WritableOther(source) => {
                rustix::mount::mount_bind(source.as_c_str(), target)?;
                set_writable(target)
            }
        }
    }
}

/// Makes a mount and all below it read-only.
fn set_read_only(target: &CStr) -> Result<(), Errno> {
    set_attributes(target, libc::MOUNT_ATTR_RDONLY, 0, libc::AT_RECURSIVE)
}

/// Makes a mount writable, and none below it: one of those may have been read-only before.
fn set_writable(target: &CStr) -> Result<(), Errno> {
    set_attributes(target, 0, libc::MOUNT_ATTR_RDONLY, 0)
}

/// `mount_setattr(2)` and not a remount: a remount in a user namespace would have to repeat every other flag.
fn set_attributes(target: &CStr, attr_set: u64, attr_clr: u64, depth: libc::c_int) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set, attr_clr, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is terminated by a zero byte and the structure has the size that is passed; the kernel reads
    // both and writes neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            target.as_ptr(),
            depth,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result)
}
