//! The open workspace: the root's file descriptor, and the one function through which every name is opened.
//!
//! Each access goes through `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, so a directory that someone
//! swaps for a symbolic link after the check leads to an error, never outside.

use std::{fmt, os::fd::OwnedFd, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
    path::Arg,
};

use crate::{FilesError, WorkspacePath};

/// How often an interrupted system call is repeated before its error is reported.
const MAX_INTERRUPTIONS: usize = 64;

/// A hook called with the name of each step of a write.
type Failpoint = Arc<dyn Fn(&'static str) + Send + Sync>;

/// An open workspace. Cloning is cheap; all methods may be called from many threads at once.
#[derive(Clone)]
pub struct Workspace {
    shared: Arc<Shared>,
    failpoint: Option<Failpoint>,
}

struct Shared {
    root_fd: OwnedFd,
    root: Utf8PathBuf,
    alias: Utf8PathBuf,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("root", &self.shared.root).finish_non_exhaustive()
    }
}

impl Workspace {
    /// Opens the directory `root`. Fails if it is no directory, its real path is not UTF-8, or the kernel is older
    /// than Linux 5.6 and so without `openat2`.
    pub fn open(root: impl AsRef<Utf8Path>) -> Result<Self, FilesError> {
        let alias = root.as_ref().to_owned();
        let fail = |reason: String| FilesError::Root { root: alias.to_string(), reason };
        let real = alias.canonicalize_utf8().map_err(|e| fail(e.to_string()))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root_fd =
            rustix::fs::open(real.as_std_path(), flags, Mode::empty()).map_err(|e| fail(e.to_string()))?;
        match openat2_beneath(&root_fd, ".", flags, Mode::empty()) {
            Ok(_) => {}
            Err(Errno::NOSYS) => {
                return Err(fail("openat2 is missing; Linux 5.6 or newer is needed".to_owned()));
            }
            Err(errno) => return Err(fail(errno.to_string())),
        }
        Ok(Self { shared: Arc::new(Shared { root_fd, root: real, alias }), failpoint: None })
    }

    /// The same workspace, calling `hook` with the name of each step of a write. A test aborts there by a panic, or
    /// plays an outside editor. The steps are listed at [`Workspace::replace`].
    #[must_use]
    pub fn with_failpoint(mut self, hook: Failpoint) -> Self {
        self.failpoint = Some(hook);
        self
    }

    /// The root's real, absolute path.
    pub fn root(&self) -> &Utf8Path {
        &self.shared.root
    }

    /// The root as it was given to [`Workspace::open`]; absolute paths under it are inside too.
    pub(crate) fn alias(&self) -> &Utf8Path {
        &self.shared.alias
    }

    pub(crate) fn root_fd(&self) -> &OwnedFd {
        &self.shared.root_fd
    }

    pub(crate) fn reached(&self, step: &'static str) {
        if let Some(hook) = &self.failpoint {
            hook(step);
        }
    }

    /// Opens `path` without crossing a symbolic link.
    pub(crate) fn open_beneath(&self, path: &WorkspacePath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        openat2_beneath(&self.shared.root_fd, path.as_str(), flags | OFlags::CLOEXEC, Mode::empty())
    }
}

/// `openat2` that stays beneath `dir` and crosses no link.
pub(crate) fn openat2_beneath(
    dir: &OwnedFd,
    name: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..MAX_INTERRUPTIONS {
        match rustix::fs::openat2(dir, name, flags | OFlags::CLOEXEC, mode, resolve) {
            // AGAIN: a rename elsewhere raced with the walk, see openat2(2).
            Err(Errno::INTR | Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
