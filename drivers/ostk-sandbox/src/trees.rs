//! The paths of a spec, resolved, and what follows from them: Landlock's grants, and mounts.
//!
//! Landlock can only allow, and what it allows holds for a whole tree. So a protected path inside a writable tree is
//! either covered with a read-only mount of itself in a private mount namespace, where everything but the writable trees
//! is read-only, and the directories above it with writable mounts of themselves (a mount point cannot be renamed or removed, nor linked out of); or, where there are
//! no namespaces, the tree is allowed entry by entry, and nothing can be created beside what is protected. Hidden
//! paths are covered with something empty, or left out of what may be read in the same way.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fs::DirBuilder,
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use crate::{
    LocalSockets, Readable, SandboxError, Spec, depth,
    mounted::{self, Mounted},
    namespace::{Mount, MountKind},
    paths::{self, Found, Hidden, Root},
    placeholder::Placeholder,
    ruleset::Grants,
};

/// The paths of a spec, resolved.
pub(crate) struct Trees {
    /// What may be changed, with the scratch directory.
    roots: Vec<PathBuf>,
    protected: Vec<PathBuf>,
    /// Of each protected path that is not there, the first part that is missing.
    absent: Vec<PathBuf>,
    /// Names of what must not be left behind, at any depth.
    refused: Vec<PathBuf>,
    hidden: Vec<Hidden>,
    scratch: PathBuf,
}

impl Trees {
    /// Creates the scratch directory, and `.git/hooks`.
    pub(crate) fn of(spec: &Spec) -> Result<Self, SandboxError> {
        create_scratch(&spec.scratch)?;
        let mut roots = Vec::new();
        for given in spec.writable.iter().chain([&spec.scratch]) {
            roots.push(Root { given: given.clone(), real: paths::resolve("writable path", given)? });
        }
        let (mut protected, mut absent) = (Vec::new(), Vec::new());
        for path in &spec.protected {
            match paths::find_protected(path, &roots)? {
                Found::Present(real) => protected.push(real),
                Found::Absent(first) => absent.push(first),
                Found::Elsewhere => {}
            }
        }
        let hidden = paths::find_hidden(&spec.hidden);
        let scratch = paths::resolve("scratch directory", &spec.scratch)?;
        let roots: Vec<_> = roots.into_iter().map(|root| root.real).filter(|root| *root != scratch).collect();
        let without = protected.iter().chain(hidden.iter().map(|hidden| &hidden.path));
        let without = without.map(|path| path.as_os_str()).collect();
        let guarded = depth::find(&roots, &spec.protected_names, &without)?;
        protected.extend(guarded.protected);
        let roots = [roots, vec![scratch.clone()]].concat();
        Ok(Self { roots, protected, absent, refused: guarded.refused, hidden, scratch })
    }

    /// Whether something protected lies inside a writable tree.
    pub(crate) fn needs_protection(&self) -> bool {
        let inside = |path: &PathBuf| self.roots.iter().any(|root| path.starts_with(root));
        !self.absent.is_empty() || self.protected.iter().any(inside)
    }

    /// What it can neither change nor make.
    pub(crate) fn guarded(&self) -> Vec<PathBuf> {
        let hidden = self.hidden.iter().map(|hidden| &hidden.path);
        self.protected.iter().chain(&self.absent).chain(hidden).cloned().collect()
    }

    /// What must not be left behind, with what the spec says itself.
    pub(crate) fn refused(&self, spec: &Spec) -> BTreeSet<PathBuf> {
        spec.refused.iter().chain(&self.refused).cloned().collect()
    }

    pub(crate) fn hides(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// Something in the place of each protected path that is not there, for a mount needs something to cover.
    pub(crate) fn placeholders(&self) -> Result<Vec<Placeholder>, SandboxError> {
        let absent: BTreeSet<_> = self.absent.iter().collect();
        absent.into_iter().map(|path| Placeholder::hold(path)).collect()
    }

    /// The mounts of the private view, in the order in which they are made: outer before inner.
    pub(crate) fn mounts(&self, mounted: &[Mounted]) -> Result<Vec<Mount>, SandboxError> {
        let mut kinds = BTreeMap::new();
        let guarded = || self.protected.iter().chain(&self.absent);
        for directory in guarded().flat_map(|path| paths::between(path, &self.roots)) {
            kinds.insert(directory, MountKind::Pinned);
        }
        for root in self.roots.iter().filter(|root| mounted::is_writable(mounted, root)) {
            kinds.insert(root.clone(), MountKind::Writable);
            let below = mounted::writable_below(mounted, root);
            let below = below.filter(|path| !guarded().any(|guarded| path.starts_with(guarded)));
            kinds.extend(below.map(|path| (path, MountKind::WritableBelow)));
        }
        kinds.extend(guarded().map(|path| (path.clone(), MountKind::ReadOnly)));
        kinds.extend(self.hidden.iter().map(|hidden| {
            let kind = if hidden.is_directory { MountKind::EmptyDirectory } else { MountKind::EmptyFile };
            (hidden.path.clone(), kind)
        }));
        if let Some(shared_memory) = self.shared_memory() {
            kinds.insert(SHARED_MEMORY.into(), MountKind::WritableOther(c_path(&shared_memory)?));
        }
        leave_out_what_is_hidden(&mut kinds);
        share_the_empty_directory(&mut kinds)?;
        // A path sorts after its ancestors, so an inner mount lands inside the outer one.
        kinds
            .into_iter()
            .map(|(path, kind)| Ok(Mount { target: c_path(&path)?, kind, covered: None }))
            .collect()
    }

    /// The directory of shared memory is shared by all; in a private view the command gets one of its own.
    fn shared_memory(&self) -> Option<PathBuf> {
        let own = self.scratch.join("shm");
        let used = self.roots.iter().any(|root| root.starts_with(SHARED_MEMORY));
        (!used && Path::new(SHARED_MEMORY).is_dir() && own.is_dir()).then_some(own)
    }

    /// Where sockets lie that a command with a private view may connect to.
    pub(crate) fn with_sockets(&self) -> Vec<PathBuf> {
        let shared_memory = self.shared_memory().map(|_| PathBuf::from(SHARED_MEMORY));
        self.roots.iter().cloned().chain(shared_memory).collect()
    }

    /// What Landlock allows a command with a private view: mounts do the rest.
    pub(crate) fn grants(&self, spec: &Spec) -> Result<Grants, SandboxError> {
        let (readable, listable) = match &spec.readable {
            Readable::All => (vec!["/".into()], Vec::new()),
            Readable::Only(paths) => (paths.clone(), Vec::new()),
            Readable::AllBut { tree, within } => {
                let tree = paths::resolve("readable tree", tree)?;
                let around = paths::around(Path::new("/"), &[tree])?;
                ([around, within.clone()].concat(), vec!["/".into()])
            }
        };
        // Seen through its mount, the directory is not below the scratch directory.
        let writable = self.roots.iter().cloned().chain(self.shared_memory()).collect();
        Ok(Grants { readable, listable, writable, all_sockets: spec.local_sockets == LocalSockets::All })
    }

    /// What Landlock allows a command without one: everything entry by entry around what is protected or hidden.
    pub(crate) fn enumerated(&self, spec: &Spec) -> Result<Grants, SandboxError> {
        let mut grants = self.grants(spec)?;
        grants.writable = self.around_all(&self.roots, &self.guarded())?;
        let hidden = self.hidden.iter().map(|hidden| hidden.path.clone());
        let hidden: Vec<_> = hidden.chain([DEVICES.into()]).collect();
        let trees = std::mem::take(&mut grants.readable);
        grants.readable = self.around_all(&trees, &hidden)?;
        grants.listable.extend(trees);
        Ok(grants)
    }

    fn around_all(&self, trees: &[PathBuf], spared: &[PathBuf]) -> Result<Vec<PathBuf>, SandboxError> {
        let around = trees.iter().map(|tree| paths::around(tree, spared));
        Ok(around.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

/// What lies in a hidden directory is gone already. The map has everything in a directory right behind it.
fn leave_out_what_is_hidden(kinds: &mut BTreeMap<PathBuf, MountKind>) {
    let mut hidden: Option<PathBuf> = None;
    kinds.retain(|path, kind| {
        let is_under = hidden.as_ref().is_some_and(|hidden| path.starts_with(hidden));
        if !is_under && matches!(kind, MountKind::EmptyDirectory | MountKind::EmptyFile) {
            hidden = Some(path.clone());
        }
        *kind == MountKind::Writable || !is_under
    });
}

/// One empty file system does for all hidden directories: each costs the kernel more than everything else here.
fn share_the_empty_directory(kinds: &mut BTreeMap<PathBuf, MountKind>) -> Result<(), SandboxError> {
    let mut empty = kinds.iter_mut().filter(|(_, kind)| **kind == MountKind::EmptyDirectory);
    let Some((first, _)) = empty.next() else { return Ok(()) };
    let first = c_path(first)?;
    empty.for_each(|(_, kind)| *kind = MountKind::EmptyToo(first.clone()));
    Ok(())
}

/// Where device files are; `ruleset.rs` says which of them any program may use.
const DEVICES: &str = "/dev";

/// Where `shm_open(3)` and named semaphores keep their files.
const SHARED_MEMORY: &str = "/dev/shm";

/// The scratch directory, a home and shared memory in it, private to the user.
fn create_scratch(scratch: &Path) -> Result<(), SandboxError> {
    paths::require_plain("scratch directory", scratch)?;
    for name in ["home", "shm"] {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(scratch.join(name));
        created.map_err(SandboxError::bad_path("scratch directory", scratch))?;
    }
    Ok(())
}

pub(crate) fn c_path(path: &Path) -> Result<CString, SandboxError> {
    let bytes = path.as_os_str().as_bytes();
    CString::new(bytes)
        .map_err(|_| SandboxError::InvalidSpec(format!("{} holds a zero byte", path.display())))
}
