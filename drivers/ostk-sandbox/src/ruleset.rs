//! Landlock rules from lists of paths: built in the parent, carried into the child as one descriptor.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};

use crate::SandboxError;

/// The rules are written for this version; a newer kernel enforces the same, an older one what it knows of it.
const WRITTEN_FOR: ABI = ABI::V9;

/// Devices that any program may write to. `/dev/tty` is the terminal of the process's own session, and that of a
/// command has none that it did not make itself.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// What a command may do with files.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Trees that it may read and execute.
    pub(crate) readable: Vec<PathBuf>,
    /// Trees in which it may list directories, but read no file.
    pub(crate) listable: Vec<PathBuf>,
    /// Trees that it may change.
    pub(crate) writable: Vec<PathBuf>,
    /// Whether it may connect to every local socket.
    pub(crate) all_sockets: bool,
}

/// Rules that allow what is granted, and no signal or abstract socket to a process outside.
pub(crate) fn build(grants: &Grants) -> Result<OwnedFd, SandboxError> {
    let mut handled = AccessFs::from_all(WRITTEN_FOR);
    let mut scopes = BitFlags::from(Scope::Signal);
    if grants.all_sockets {
        handled.remove(AccessFs::ResolveUnix);
    } else {
        scopes |= Scope::AbstractUnixSocket;
    }
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled);
    let ruleset = ruleset.and_then(|ruleset| ruleset.scope(scopes));
    let mut ruleset = ruleset.and_then(Ruleset::create).map_err(refused)?;
    for path in &grants.readable {
        ruleset = allow(ruleset, path, AccessFs::from_read(WRITTEN_FOR), Links::Follow)?;
    }
    for path in &grants.listable {
        ruleset = allow(ruleset, path, AccessFs::ReadDir.into(), Links::Follow)?;
    }
    for path in DEVICES {
        ruleset = allow(ruleset, Path::new(path), device_access(), Links::Follow)?;
    }
    for path in &grants.writable {
        ruleset = allow(ruleset, path, handled & writable_access(), Links::Refuse)?;
    }
    Option::<OwnedFd>::from(ruleset).ok_or_else(|| SandboxError::Ruleset("the kernel gave no ruleset".into()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    /// The path was resolved before: if it leads elsewhere now, somebody is exchanging directories for links.
    Refuse,
}

fn device_access() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev
}

/// Everything but making device files.
fn writable_access() -> BitFlags<AccessFs> {
    AccessFs::from_all(WRITTEN_FOR) & !(AccessFs::MakeChar | AccessFs::MakeBlock)
}

/// Adds a rule. A path that may follow links and does not exist is left out: that allows less, not more.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
    links: Links,
) -> Result<RulesetCreated, SandboxError> {
    let nofollow = if links == Links::Refuse { OFlags::NOFOLLOW } else { OFlags::empty() };
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | nofollow, Mode::empty());
    let file = match opened {
        Err(rustix::io::Errno::NOENT) if links == Links::Follow => return Ok(ruleset),
        opened => opened.map_err(|errno| SandboxError::bad_path("path", path)(errno.into()))?,
    };
    if links == Links::Refuse {
        require_same(&file, path)?;
    }
    let stat =
        rustix::fs::fstat(&file).map_err(|errno| SandboxError::bad_path("path", path)(errno.into()))?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let access = if is_directory { access } else { access & AccessFs::from_file(WRITTEN_FOR) };
    if access.is_empty() {
        return Ok(ruleset);
    }
    ruleset.add_rule(PathBeneath::new(file, access)).map_err(refused)
}

fn require_same(file: &OwnedFd, path: &Path) -> Result<(), SandboxError> {
    let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    match opened.map_err(SandboxError::bad_path("writable path", path))? {
        opened if opened == path => Ok(()),
        opened => {
            let now = std::io::Error::other(format!("it leads to {} now", opened.display()));
            Err(SandboxError::bad_path("writable path", path)(now))
        }
    }
}

fn refused(error: landlock::RulesetError) -> SandboxError {
    SandboxError::Ruleset(error.to_string())
}
