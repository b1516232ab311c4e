//! From a spec to everything the child needs, worked out in the parent before the fork.
//!
//! Landlock can only allow, and what it allows holds for a whole tree. So a protected path inside a writable tree is
//! either covered with a read-only mount of itself in a private mount namespace, and the directories above it with
//! writable mounts of themselves (a mount point cannot be renamed or removed, nor linked out of); or, where there are
//! no namespaces, the tree is allowed entry by entry, and nothing can be created beside what is protected.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsString},
    fs::{self, DirBuilder},
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit, getrlimit};
use serde::{Deserialize, Serialize};

use crate::{
    Landlock, Limits, Namespaces, Probe, SandboxError, Spec,
    child::{ChildPlan, IdMaps, Mount, MountKind},
    paths::{self, Root},
    probe::LANDLOCK_NEEDED,
    ruleset,
};

/// How protected paths inside writable trees are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Nothing protected lies inside a writable tree.
    NotNeeded,
    /// Read-only mounts in a private mount namespace.
    Namespace,
    /// Each entry of the tree is allowed by itself: nothing can be created directly in a directory that holds
    /// something protected, so `git commit` fails.
    Enumerated,
    /// Not at all: neither namespaces nor Landlock.
    Missing,
}

/// What holds a command, for the record of its run.
///
/// What this layer does not hold:
/// * the network, and system calls as such;
/// * a descendant that calls `setsid`: it outlives its command, still inside the file rules;
/// * memory and processors of the command as a whole: limits are per process, that on processes per user;
/// * mode, owner, times and extended attributes of files outside the writable trees, which Landlock does not cover
///   (protected paths under [`Protection::Namespace`] are covered by their mounts);
/// * sockets that the user may connect to;
/// * a protected *file* that somebody outside replaces by rename while a command runs: the mount goes with the old
///   file, and the command can write the new one. What lies inside a protected directory is not affected;
/// * a hard link into a writable tree that existed before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    /// The Landlock ABI that confines it; `None` when the operator waived Landlock and there is none.
    pub landlock_abi: Option<u32>,
    /// How protected paths are protected.
    pub protection: Protection,
    /// Protected paths inside a writable tree that do not exist, so that the command could create them. Whoever
    /// started it should look afterwards.
    pub unprotected: Vec<PathBuf>,
}

/// Everything for one start.
pub(crate) struct Plan {
    pub(crate) child: ChildPlan,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) containment: Containment,
}

/// Checks the spec against the machine and prepares the start. Creates the scratch directory, and `.git/hooks`.
pub(crate) fn plan(probe: &Probe, spec: &Spec) -> Result<Plan, SandboxError> {
    let landlock_abi = usable_landlock(probe, spec.landlock)?;
    let trees = Trees::of(spec)?;
    let protection = if trees.needs_protection() { probe.protection() } else { Protection::NotNeeded };
    let mounts = if protection == Protection::Namespace { trees.mounts()? } else { trees.no_mounts()? };
    let grants = if protection == Protection::Enumerated { trees.enumerated()? } else { trees.roots.clone() };
    let ruleset = landlock_abi.map(|_| ruleset::build(&spec.readable, &grants)).transpose()?;
    let namespaces = if mounts.is_empty() { Namespaces::Unavailable } else { probe.namespaces };
    let child = ChildPlan {
        namespaces,
        maps: IdMaps::of_this_process(),
        mounts,
        cwd: c_path(&paths::resolve("working directory", &spec.cwd)?)?,
        limits: limits(&spec.limits),
        ruleset,
    };
    let containment = Containment { landlock_abi, protection, unprotected: trees.unprotected };
    Ok(Plan { child, env: environment(spec), containment })
}

fn usable_landlock(probe: &Probe, landlock: Landlock) -> Result<Option<u32>, SandboxError> {
    match (probe.landlock_abi, landlock) {
        (Some(abi @ LANDLOCK_NEEDED..), _) => Ok(Some(abi)),
        (older, Landlock::OperatorWaived) => Ok(older),
        (Some(abi), Landlock::Required) => Err(SandboxError::LandlockTooOld { abi, needed: LANDLOCK_NEEDED }),
        (None, Landlock::Required) => Err(SandboxError::LandlockMissing),
    }
}

/// The paths of a spec, resolved.
struct Trees {
    /// What may be changed, with the scratch directory.
    roots: Vec<PathBuf>,
    protected: Vec<PathBuf>,
    unprotected: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
}

impl Trees {
    fn of(spec: &Spec) -> Result<Self, SandboxError> {
        create_scratch(&spec.scratch)?;
        let mut roots = Vec::new();
        for given in spec.writable.iter().chain([&spec.scratch]) {
            roots.push(Root { given: given.clone(), real: paths::resolve("writable path", given)? });
        }
        let (mut protected, mut unprotected) = (Vec::new(), Vec::new());
        for path in &spec.protected {
            match paths::resolve_protected(path, &roots)? {
                Some(real) => protected.push(real),
                None if roots.iter().any(|root| path.starts_with(&root.given)) => {
                    unprotected.push(path.clone())
                }
                None => {}
            }
        }
        let hidden = spec.hidden.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        Ok(Self { roots: roots.into_iter().map(|root| root.real).collect(), protected, unprotected, hidden })
    }

    fn needs_protection(&self) -> bool {
        let inside = |path: &PathBuf| self.roots.iter().any(|root| path.starts_with(root));
        !self.hidden.is_empty() || self.protected.iter().any(inside)
    }

    /// The mounts of the private namespace, in the order in which they are made: outer before inner.
    fn mounts(&self) -> Result<Vec<Mount>, SandboxError> {
        let mut kinds = BTreeMap::new();
        for directory in self.protected.iter().flat_map(|path| paths::between(path, &self.roots)) {
            kinds.insert(directory, MountKind::Pinned);
        }
        let inside_protected = |root: &&PathBuf| self.protected.iter().any(|path| root.starts_with(path));
        for root in self.roots.iter().filter(inside_protected) {
            kinds.insert(root.clone(), MountKind::Writable);
        }
        kinds.extend(self.protected.iter().map(|path| (path.clone(), MountKind::ReadOnly)));
        for path in &self.hidden {
            let kind = if path.is_dir() { MountKind::EmptyDirectory } else { MountKind::EmptyFile };
            kinds.insert(path.clone(), kind);
        }
        // A path sorts after its ancestors, so an inner mount lands inside the outer one.
        kinds.into_iter().map(|(path, kind)| Ok(Mount { target: c_path(&path)?, kind })).collect()
    }

    /// Without a namespace nothing can be hidden.
    fn no_mounts(&self) -> Result<Vec<Mount>, SandboxError> {
        match self.hidden.first() {
            Some(path) => Err(SandboxError::CannotHide { path: path.clone() }),
            None => Ok(Vec::new()),
        }
    }

    fn enumerated(&self) -> Result<Vec<PathBuf>, SandboxError> {
        let mut grants = Vec::new();
        for root in &self.roots {
            grants.extend(paths::around(root, &self.protected)?);
        }
        Ok(grants)
    }
}

/// The scratch directory and the home in it, private to the user.
fn create_scratch(scratch: &Path) -> Result<(), SandboxError> {
    paths::require_plain("scratch directory", scratch)?;
    let created = DirBuilder::new().recursive(true).mode(0o700).create(scratch.join("home"));
    created.map_err(SandboxError::bad_path("scratch directory", scratch))
}

fn environment(spec: &Spec) -> BTreeMap<OsString, OsString> {
    let mut env = spec.env.clone();
    env.entry("TMPDIR".into()).or_insert_with(|| spec.scratch.clone().into());
    env.entry("HOME".into()).or_insert_with(|| spec.scratch.join("home").into());
    env
}

/// The resource limits, none above what the daemon itself may have; never a core file.
fn limits(limits: &Limits) -> Vec<(Resource, Rlimit)> {
    let wanted = [
        (Resource::Cpu, limits.cpu_s),
        (Resource::As, limits.memory_bytes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, limits.processes),
        (Resource::Nofile, limits.open_files),
        (Resource::Core, Some(0)),
    ];
    let bounded = |(resource, wanted): (Resource, Option<u64>)| {
        let value = wanted?.min(getrlimit(resource).maximum.unwrap_or(u64::MAX));
        Some((resource, Rlimit { current: Some(value), maximum: Some(value) }))
    };
    wanted.into_iter().filter_map(bounded).collect()
}

fn c_path(path: &Path) -> Result<CString, SandboxError> {
    let bytes = path.as_os_str().as_bytes();
    CString::new(bytes)
        .map_err(|_| SandboxError::InvalidSpec(format!("{} holds a zero byte", path.display())))
}
