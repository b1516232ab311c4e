//! A network namespace that is made before a command needs it, with a view of the mounts that every command's begins with,
//! and with the user namespace that owns both where there is one.
//!
//! To make them takes the kernel longer than all else that contains a command. So one set is kept ready, which nothing has
//! been in, and when a command has taken it another is made while that command runs. A command that finds none makes its
//! own (`namespace.rs`), as does the first. The view is given only while the mounts of this machine are those of which it is
//! a copy; what is unmounted meanwhile is unmounted in it too, so it keeps no disk busy.

#![expect(unsafe_code, reason = "clone, and what the child does before it ends")]

use std::{
    ffi::{CStr, c_int, c_void},
    os::fd::{AsFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::MountPropagationFlags,
    process::{Pid, WaitOptions},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use crate::{
    Namespaces,
    launch::{self, SHARE, Stack},
    mounted::{self, Mounted},
    namespace::{self, IdMaps},
};

static READY: Mutex<Option<Spare>> = Mutex::new(None);

/// Namespaces that nothing is in.
pub(crate) struct Spare {
    way: Namespaces,
    /// With [`Namespaces::User`].
    user: Option<OwnedFd>,
    network: OwnedFd,
    /// A view of the mounts, and those of which it is a copy.
    view: Option<(OwnedFd, Arc<[Mounted]>)>,
}

impl Spare {
    /// The one that is ready, if it was made in this way; with its view if `mounted` is what it was made of.
    pub(crate) fn take(way: Namespaces, mounted: &Arc<[Mounted]>) -> Option<Self> {
        let mut spare = ready().take_if(|spare| spare.way == way)?;
        spare.view.take_if(|(_, copied)| !Arc::ptr_eq(copied, mounted));
        Some(spare)
    }

    /// Whether whoever enters gets a view of the mounts as well.
    pub(crate) const fn has_view(&self) -> bool {
        self.view.is_some()
    }

    /// Makes one if none is ready, on a thread of its own that ends at once. Where that fails, commands make their own.
    pub(crate) fn prepare(way: Namespaces) {
        let prepare = move || {
            if ready().is_none() {
                let made = Making::new(way).make();
                *ready() = made;
            }
        };
        let _ = thread::Builder::new().name("namespaces".into()).spawn(prepare);
    }

    /// Moves this process in. Called in a child: system calls only.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        if let Some(user) = &self.user {
            move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
        }
        move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
        let Some((view, _)) = &self.view else { return Ok(()) };
        move_into_link_name_space(view.as_fd(), Some(LinkNameSpaceType::Mount))
    }
}

fn ready() -> MutexGuard<'static, Option<Spare>> {
    READY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the daemon and the child that makes the namespaces see.
struct Making {
    way: Namespaces,
    maps: IdMaps,
    /// Whether a view is wanted.
    views: bool,
    user: AtomicI32,
    network: AtomicI32,
    view: AtomicI32,
}

impl Making {
    fn new(way: Namespaces) -> Self {
        let [user, network, view] = [(); 3].map(|()| AtomicI32::new(-1));
        Self { way, maps: IdMaps::of_this_process(), views: false, user, network, view }
    }

    fn make(mut self) -> Option<Spare> {
        let mounted = mounted::all().ok();
        self.views = mounted.is_some();
        let stack = Stack::new();
        // The child opens what names its namespaces in the daemon's own table of descriptors.
        let flags = SHARE | libc::CLONE_FILES;
        // SAFETY: the stack is unused and large enough, and it and `self` outlive the child, for the kernel holds this
        // thread until the child has ended (CLONE_VFORK). The child makes system calls only.
        let made = launch::with_signals_blocked(|| unsafe {
            libc::clone(in_child, stack.top(), flags, ptr::from_ref(&self).cast_mut().cast())
        });
        let _ = rustix::process::waitpid(Some(Pid::from_raw(made.max(0))?), WaitOptions::empty());
        let (user, network) = (taken(&self.user), taken(&self.network)?);
        let view = taken(&self.view).zip(mounted);
        (user.is_some() == (self.way == Namespaces::User)).then_some(Spare {
            way: self.way,
            user,
            network,
            view,
        })
    }

    fn become_it(&self) -> Result<(), Errno> {
        let mut flags = UnshareFlags::NEWNET;
        flags.set(UnshareFlags::NEWUSER, self.way == Namespaces::User);
        flags.set(UnshareFlags::NEWNS, self.views);
        // SAFETY: `unshare` is unsafe for the sake of shared descriptor tables (CLONE_FILES), and this one stays shared.
        unsafe { rustix::thread::unshare_unsafe(flags)? };
        if self.way == Namespaces::User {
            self.maps.write()?;
            hand_over(c"/proc/self/ns/user", &self.user)?;
        }
        namespace::raise_loopback()?;
        hand_over(c"/proc/self/ns/net", &self.network)?;
        // Without a view the rest is of use as well.
        let _ = if self.views { self.begin_view() } else { Ok(()) };
        Ok(())
    }

    fn begin_view(&self) -> Result<(), Errno> {
        let before = rustix::fs::stat(c"/")?;
        namespace::begin_view(MountPropagationFlags::DOWNSTREAM)?;
        let view = rustix::fs::open(c"/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // Whoever enters stands at the root of all mounts, which must be this process's own: it may have another (chroot(2)).
        move_into_link_name_space(view.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let after = rustix::fs::stat(c"/")?;
        if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino) {
            self.view.store(view.into_raw_fd(), Ordering::Relaxed);
        }
        Ok(())
    }
}

fn hand_over(path: &CStr, place: &AtomicI32) -> Result<(), Errno> {
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    place.store(opened.into_raw_fd(), Ordering::Relaxed);
    Ok(())
}

fn taken(place: &AtomicI32) -> Option<OwnedFd> {
    let fd = place.swap(-1, Ordering::Relaxed);
    // SAFETY: the child opened it in this process's table and gave it up to whoever takes the number, which is once.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

extern "C" fn in_child(making: *mut c_void) -> c_int {
    // SAFETY: `Making::make` passes itself and outlives the child; what is changed in it is atomic.
    let making = unsafe { &*making.cast::<Making>() };
    let code = if making.become_it().is_ok() { 0 } else { 1 };
    // SAFETY: ends the process at once, without the handlers and buffers that belong to the daemon.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::probe;

    #[test]
    fn each_one_that_is_made_is_a_network_of_its_own() {
        let way = probe().namespaces;
        if way == Namespaces::Unavailable {
            eprintln!("not tried: there are no namespaces here");
            return;
        }
        let here = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        let [one, two] = [(); 2].map(|()| {
            let spare = Making::new(way).make().unwrap();
            assert_eq!(spare.user.is_some(), way == Namespaces::User);
            std::fs::File::from(spare.network).metadata().unwrap().ino()
        });
        assert!(one != here && two != here, "this process has stayed where it was");
        assert_eq!(std::fs::metadata("/proc/self/ns/net").unwrap().ino(), here);
    }

    #[test]
    fn a_view_is_given_only_of_the_mounts_that_there_are() {
        let way = probe().namespaces;
        if way == Namespaces::Unavailable {
            eprintln!("not tried: there are no namespaces here");
            return;
        }
        let now = mounted::all().unwrap();
        let others: Arc<[Mounted]> = Arc::from([]);
        for (mounted, given) in [(&now, true), (&others, false)] {
            *ready() = Making::new(way).make();
            assert!(ready().as_ref().unwrap().has_view());
            assert_eq!(Spare::take(way, mounted).unwrap().has_view(), given);
        }
    }
}
