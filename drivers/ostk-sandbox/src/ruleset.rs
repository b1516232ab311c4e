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

use crate::{SandboxError, spec::Readable};

/// The rules are written for this version; a newer kernel enforces the same, an older one what it knows of it.
const WRITTEN_FOR: ABI = ABI::V5;

/// Devices that any program may write to.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Rules that allow reading `readable`, changing `writable`, and no signal to a process outside.
pub(crate) fn build(readable: &Readable, writable: &[PathBuf]) -> Result<OwnedFd, SandboxError> {
    let handled = AccessFs::from_all(WRITTEN_FOR);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled);
    let ruleset = ruleset.and_then(|ruleset| ruleset.scope(Scope::Signal));
    let mut ruleset = ruleset.and_then(Ruleset::create).map_err(refused)?;
    for path in readable_paths(readable) {
        ruleset = allow(ruleset, path, AccessFs::from_read(WRITTEN_FOR), Links::Follow)?;
    }
    for path in DEVICES {
        ruleset = allow(ruleset, Path::new(path), device_access(), Links::Follow)?;
    }
    for path in writable {
        ruleset = allow(ruleset, path, writable_access(), Links::Refuse)?;
    }
    Option::<OwnedFd>::from(ruleset).ok_or_else(|| SandboxError::Ruleset("the kernel gave no ruleset".into()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    /// The path was resolved before: if it leads elsewhere now, somebody is exchanging directories for links.
    Refuse,
}

fn readable_paths(readable: &Readable) -> Vec<&Path> {
    match readable {
        Readable::All => vec![Path::new("/")],
        Readable::Only(paths) => paths.iter().map(PathBuf::as_path).collect(),
    }
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
