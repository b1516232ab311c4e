//! A network namespace that is made before a command needs it, with a view of the mounts that every command's begins with,
//! and with the user namespace that owns both where there is one.
//!
//! To make them takes the kernel longer than all else that contains a command. So one set is kept ready, which nothing has
//! been in, and when a command has taken it another is made while that command runs. A command that finds none makes its
//! own (`namespace.rs`), as does the first. The view is given only while the mounts of this machine are those of which it is
//! a copy; what is unmounted meanwhile is unmounted in it too, so it keeps no disk busy but those with what it hides.
//!
//! What the last two commands could not see is covered in the view already, for each cover is a mount. Only a command
//! that may see none of it gets the view, and it looks at every cover, for what was covered may have been replaced.

#![expect(unsafe_code, reason = "clone, and what the child does before it ends")]

use std::{
    collections::BTreeSet,
    ffi::{CStr, CString, c_int, c_void},
    os::fd::{AsFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    thread,
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    },
    process::{Pid, WaitOptions},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use crate::{
    Namespaces,
    launch::{self, SHARE, Stack},
    mounted::{self, Mounted},
    namespace::{self, IdMaps, Identity, Mount},
};

static READY: Mutex<Ready> = Mutex::new(Ready { spare: None, hidden: BTreeSet::new() });

struct Ready {
    spare: Option<Spare>,
    /// From the last command.
    hidden: BTreeSet<Cover>,
}

/// A path that is covered with something empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cover {
    pub(crate) target: CString,
    pub(crate) is_directory: bool,
}

/// Namespaces that nothing is in.
pub(crate) struct Spare {
    way: Namespaces,
    /// With [`Namespaces::User`].
    user: Option<OwnedFd>,
    network: OwnedFd,
    view: Option<View>,
}

/// A view of the mounts.
struct View {
    namespace: OwnedFd,
    /// Those of which it is a copy.
    copied: Arc<[Mounted]>,
    covers: BTreeSet<Cover>,
    /// What is seen in the place of a file, and of a directory.
    seen: [Identity; 2],
}

impl View {
    /// Whether it is what a command's view begins with.
    fn suits(&self, mounted: &Arc<[Mounted]>, hidden: &BTreeSet<Cover>) -> bool {
        Arc::ptr_eq(&self.copied, mounted) && self.covers.is_subset(hidden)
    }

    fn cover_of(&self, mount: &Mount) -> Option<Identity> {
        let cover = mount.cover().filter(|cover| self.covers.contains(cover))?;
        let [file, directory] = self.seen;
        Some(if cover.is_directory { directory } else { file })
    }
}

impl Spare {
    /// The one that is ready, if it was made in this way; with its view if that suits a command with these `mounts`, of
    /// which those that it has are marked.
    pub(crate) fn take(way: Namespaces, mounted: &Arc<[Mounted]>, mounts: &mut [Mount]) -> Option<Self> {
        let mut spare = ready().spare.take_if(|spare| spare.way == way)?;
        let hidden = mounts.iter().filter_map(Mount::cover).collect();
        spare.view.take_if(|view| !view.suits(mounted, &hidden));
        if let Some(view) = &spare.view {
            mounts.iter_mut().for_each(|mount| mount.covered = view.cover_of(mount));
        }
        Some(spare)
    }

    /// Whether whoever enters gets a view of the mounts as well.
    pub(crate) const fn has_view(&self) -> bool {
        self.view.is_some()
    }

    /// Makes one if none is ready, on a thread of its own that ends at once, after the start of a command with these
    /// mounts. Where that fails, commands make their own.
    pub(crate) fn prepare(way: Namespaces, mounts: &[Mount]) {
        let hidden: BTreeSet<_> = mounts.iter().filter_map(Mount::cover).collect();
        let before = std::mem::replace(&mut ready().hidden, hidden.clone());
        let prepare = move || {
            if ready().spare.is_none() {
                let made = Making::new(way, hidden.intersection(&before).cloned().collect()).make();
                ready().spare = made;
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
        let Some(view) = &self.view else { return Ok(()) };
        move_into_link_name_space(view.namespace.as_fd(), Some(LinkNameSpaceType::Mount))
    }
}

fn ready() -> MutexGuard<'static, Ready> {
    READY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the daemon and the child that makes the namespaces see.
struct Making {
    way: Namespaces,
    maps: IdMaps,
    /// Whether a view is wanted.
    views: bool,
    /// What is covered in it.
    covers: BTreeSet<Cover>,
    user: AtomicI32,
    network: AtomicI32,
    view: AtomicI32,
    /// As in [`View`].
    seen: [[AtomicU64; 2]; 2],
}

impl Making {
    fn new(way: Namespaces, covers: BTreeSet<Cover>) -> Self {
        let [user, network, view] = [(); 3].map(|()| AtomicI32::new(-1));
        let seen = [(); 2].map(|()| [(); 2].map(|()| AtomicU64::new(0)));
        Self { way, maps: IdMaps::of_this_process(), views: false, covers, user, network, view, seen }
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
        let view = taken(&self.view).zip(mounted).map(|(namespace, copied)| View {
            namespace,
            copied,
            covers: std::mem::take(&mut self.covers),
            seen: self.seen.each_ref().map(|seen| seen.each_ref().map(|half| half.load(Ordering::Relaxed))),
        });
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
        if namespace::identity(&before) == namespace::identity(&after) {
            self.cover_all()?;
            self.view.store(view.into_raw_fd(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// What is seen in the place of what is covered is found out before it is there: a name may be given to another file
    /// at any time.
    fn cover_all(&self) -> Result<(), Errno> {
        let [file, directory] = &self.seen;
        remember(&rustix::fs::stat(c"/dev/null")?, file);
        let mut files = self.covers.iter().filter(|cover| !cover.is_directory);
        files.try_for_each(|file| rustix::mount::mount_bind(c"/dev/null", file.target.as_c_str()))?;
        let mut directories = self.covers.iter().filter(|cover| cover.is_directory);
        let Some(first) = directories.next() else { return Ok(()) };
        let empty = empty_directory()?;
        remember(&rustix::fs::fstat(&empty)?, directory);
        attach(&empty, &first.target)?;
        directories.try_for_each(|other| {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            attach(&rustix::mount::open_tree(&empty, c"", flags)?, &other.target)
        })
    }
}

/// A file system with nothing in it, which is mounted nowhere.
fn empty_directory() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"size", c"4k")?;
    rustix::mount::fsconfig_set_string(&context, c"mode", c"0555")?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn attach(mount: &OwnedFd, target: &CStr) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn remember(file: &rustix::fs::Stat, place: &[AtomicU64; 2]) {
    for (half, place) in namespace::identity(file).into_iter().zip(place) {
        place.store(half, Ordering::Relaxed);
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
    use crate::{namespace::MountKind, probe};

    #[test]
    fn each_one_that_is_made_is_a_network_of_its_own() {
        let way = probe().namespaces;
        if way == Namespaces::Unavailable {
            eprintln!("not tried: there are no namespaces here");
            return;
        }
        let here = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        let [one, two] = [(); 2].map(|()| {
            let spare = Making::new(way, BTreeSet::new()).make().unwrap();
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
            ready().spare = Making::new(way, BTreeSet::new()).make();
            assert!(ready().spare.as_ref().unwrap().has_view());
            assert_eq!(Spare::take(way, mounted, &mut []).unwrap().has_view(), given);
        }
    }

    #[test]
    fn a_view_is_given_to_who_may_see_nothing_that_it_covers_and_its_covers_are_marked() {
        let way = probe().namespaces;
        if way == Namespaces::Unavailable {
            eprintln!("not tried: there are no namespaces here");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let mount = |name: &str, kind| {
            let target = CString::new(place.path().join(name).to_str().unwrap()).unwrap();
            Mount { target, kind, covered: None }
        };
        std::fs::write(place.path().join("file"), "").unwrap();
        std::fs::create_dir(place.path().join("directory")).unwrap();
        let hidden = || [mount("file", MountKind::EmptyFile), mount("directory", MountKind::EmptyDirectory)];
        let made = || Making::new(way, hidden().iter().filter_map(Mount::cover).collect()).make();
        let now = mounted::all().unwrap();
        ready().spare = made();
        let mut more = hidden().into_iter().chain([mount("other", MountKind::Pinned)]).collect::<Vec<_>>();
        assert!(Spare::take(way, &now, &mut more).unwrap().has_view());
        let marked: Vec<_> = more.iter().map(|mount| mount.covered.is_some()).collect();
        assert_eq!(marked, [true, true, false]);
        assert_ne!(more[0].covered, more[1].covered);
        ready().spare = made();
        let [file, _] = hidden();
        assert!(!Spare::take(way, &now, &mut [file]).unwrap().has_view());
    }
}
