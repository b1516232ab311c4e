//! The workspace: real files in a directory of their own, worked on by the real code of `ostk-files`.
//!
//! The machine can die at every step of a placed file, and a person can change the file there. What was placed, or
//! changed by anybody, since the system last wrote its cache back may be the old version again after a power cut: the
//! yard remembers that version of each file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use ostk_files::{Observation, PathError, Scanner, Workspace, WorkspacePath};
use ostk_kernel::{Found, Placed, Seen, State, Unresolved};
use ostk_log::{Hash, planted};

use crate::doom::Doom;

/// A file's bytes and whether it may be executed.
type Version = Option<(Vec<u8>, bool)>;

/// The files that a run works on. The directory is used again by the next run of the same thread.
pub(crate) struct Yard {
    root: Utf8PathBuf,
    workspace: Workspace,
    scanner: Scanner,
    known: Option<Vec<(WorkspacePath, Hash)>>,
    /// What each changed file was when the cache was last written back.
    unflushed: BTreeMap<String, Version>,
    steps: Arc<Mutex<Steps>>,
    /// The next placing fails at this step, counted from 1.
    pub(crate) refuse: Option<usize>,
}

/// A change that is made while a file is being placed.
pub(crate) struct Intrusion {
    pub(crate) path: String,
    /// The line that is replaced, and what replaces it.
    pub(crate) change: (String, String),
    pub(crate) done: bool,
}

/// The files at the moment when the machine died.
type Snapshot = BTreeMap<String, (Vec<u8>, bool)>;

/// What is set and found at the steps of a placed file.
#[derive(Default)]
struct Steps {
    intrusion: Option<Intrusion>,
    /// The machine died at one of them: what came after it did not happen.
    died: Option<Snapshot>,
}

impl Yard {
    pub(crate) fn new(root: Utf8PathBuf, doom: &Arc<Doom>) -> Result<Self> {
        for entry in fs::read_dir(&root)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        let steps: Arc<Mutex<Steps>> = Arc::default();
        let workspace = open(&root, doom, &steps)?;
        Ok(Self {
            scanner: Scanner::new(workspace.clone()),
            known: None,
            root,
            workspace,
            unflushed: BTreeMap::new(),
            steps,
            refuse: None,
        })
    }

    /// A new daemon looks at the files: as the real one, it knows what the log knows, and clears away what a crash left.
    pub(crate) fn restart(&mut self, state: &State, stored: &dyn Fn(&Hash) -> bool) -> Result<Vec<Vec<u8>>> {
        self.scanner = Scanner::new(self.workspace.clone());
        let image = |(path, entry): (&String, &ostk_kernel::FileEntry)| {
            Some((self.workspace.resolve("", path).ok()?, entry.image?.blob))
        };
        self.known = Some(state.files.iter().filter_map(image).collect());
        let mut saved = Vec::new();
        if state.next_seq > 0 && !state.stopped {
            let mut keep = |_: &WorkspacePath, version: &ostk_files::FileVersion| {
                if !version.bytes.is_empty() && !stored(&version.hash) {
                    saved.push(version.bytes.to_vec());
                }
                Ok(())
            };
            self.workspace.sweep_temporaries(&mut keep)?;
        }
        Ok(saved)
    }

    /// A person will change this file while the next one is placed.
    pub(crate) fn intrude(&mut self, path: &str, change: (String, String)) {
        self.remember(path);
        lock(&self.steps).intrusion = Some(Intrusion { path: path.to_owned(), change, done: false });
    }

    /// Ends an intrusion; true if it happened.
    pub(crate) fn end_intrusion(&mut self) -> Option<Intrusion> {
        lock(&self.steps).intrusion.take()
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// A person or a command writes a file: to a new one that takes the old one's place, or into it.
    pub(crate) fn put(&mut self, path: &str, text: &str, in_place: bool) -> Result<()> {
        self.remember(path);
        let to = self.root.join(path);
        if in_place || !to.exists() {
            return fs::write(&to, text).context(to);
        }
        let aside = self.root.join(format!("{path}~"));
        fs::write(&aside, text)?;
        fs::set_permissions(&aside, fs::metadata(&to)?.permissions())?;
        fs::rename(&aside, &to).context(to)
    }

    /// The system writes its cache back.
    pub(crate) fn flush(&mut self) {
        self.unflushed.clear();
    }

    /// The power fails: files that `lost` names are again what they were when the cache was last written back.
    pub(crate) fn cut_power(&mut self, mut lost: impl FnMut(&str) -> bool) -> Result<Vec<String>> {
        let mut back = Vec::new();
        for (path, version) in std::mem::take(&mut self.unflushed) {
            if !lost(&path) || self.version(&path) == version {
                continue;
            }
            let to = self.root.join(&path);
            match version {
                Some((bytes, executable)) => {
                    fs::write(&to, bytes)?;
                    fs::set_permissions(
                        &to,
                        fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }),
                    )?;
                }
                None => fs::remove_file(&to)?,
            }
            back.push(path);
        }
        Ok(back)
    }

    /// Every file, without what a crash left.
    pub(crate) fn files(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.root)? {
            found.insert(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(found)
    }

    fn version(&self, path: &str) -> Version {
        let path = self.root.join(path);
        let bytes = fs::read(&path).ok()?;
        let executable = fs::metadata(&path).ok()?.permissions().mode() & 0o100 != 0;
        Some((bytes, executable))
    }

    fn remember(&mut self, path: &str) {
        let version = self.version(path);
        self.unflushed.entry(path.to_owned()).or_insert(version);
    }

    pub(crate) fn resolve(&self, cwd: &str, path: &str) -> Result<String, Unresolved> {
        self.workspace.resolve(cwd, path).map(|path| path.to_string()).map_err(|error| Unresolved {
            outside: matches!(error, PathError::Outside { .. } | PathError::Reserved { .. }),
            // The same on every machine, as everything that goes into the log.
            message: error.to_string().replace(self.root.as_str(), "/sim"),
        })
    }

    pub(crate) fn see(&self, path: &str) -> Seen {
        let observed = match self.workspace.resolve("", path) {
            Ok(resolved) => self.workspace.observe(&resolved),
            Err(error) => return Seen::Unreadable(error.to_string()),
        };
        match observed {
            Ok(Observation::Absent) => Seen::Absent,
            Ok(Observation::File(file)) => {
                Seen::File { hash: file.hash, bytes: file.bytes, executable: file.executable }
            }
            Ok(Observation::Directory) => Seen::Directory,
            Ok(Observation::Special(kind)) => Seen::Unreadable(format!("it is a {kind}")),
            Err(error) => Seen::Unreadable(error.to_string()),
        }
    }

    /// Places files; `None` if the machine died meanwhile.
    pub(crate) fn place(&mut self, steps: &[Found]) -> Option<Placed> {
        let refuse = self.refuse.take();
        for (done, step) in steps.iter().enumerate() {
            if refuse == Some(done + 1) {
                return Some(Placed::Failed { done, reason: "no space left on device".to_owned() });
            }
            self.remember(&step.path);
            let placed = self.place_one(step);
            if let Some(died) = lock(&self.steps).died.take() {
                self.go_back(&died);
                return None;
            }
            match placed {
                Ok(true) => {}
                Ok(false) => return Some(Placed::Displaced { done }),
                Err(reason) => return Some(Placed::Failed { done, reason }),
            }
        }
        Some(Placed::All)
    }

    fn place_one(&self, step: &Found) -> Result<bool, String> {
        let wanted = step.wanted.as_ref().map(|(bytes, executable)| (&bytes[..], *executable));
        if let Some((bytes, _)) = wanted.filter(|_| planted!("replaced without a look")) {
            let path = self.workspace.resolve("", &step.path).map_err(|error| error.to_string())?;
            let written = fs::write(self.root.join(path.as_str()), bytes);
            return written.map(|()| true).map_err(|error| error.to_string());
        }
        self.workspace.change(&step.path, step.expected, wanted).map_err(|error| error.to_string())
    }

    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, String> {
        let path = self.workspace.resolve("", path).map_err(|error| error.to_string())?;
        let listing = self.workspace.list(&path).map_err(|error| error.to_string())?;
        Ok(listing.entries.into_iter().map(|entry| entry.name).collect())
    }

    /// Paths that changed since the last scan.
    pub(crate) fn scan(&mut self) -> Result<Vec<String>, String> {
        let mut paths = Vec::new();
        let mut first = self.known.take();
        for (path, hash) in first.iter_mut().flat_map(std::mem::take) {
            self.scanner.prime(path, hash);
        }
        loop {
            let scan = if first.take().is_some() { self.scanner.baseline() } else { self.scanner.scan() };
            let scan = scan.map_err(|error| error.to_string())?;
            paths.extend(scan.changes.into_iter().map(|change| change.path.to_string()));
            if !scan.more {
                return Ok(paths);
            }
        }
    }

    /// What happened after the machine's death did not happen.
    fn go_back(&self, to: &Snapshot) {
        let now = snapshot(&self.root);
        for name in now.keys().filter(|name| !to.contains_key(*name)) {
            let _ = fs::remove_file(self.root.join(name));
        }
        for (name, version) in to.iter().filter(|(name, version)| now.get(*name) != Some(version)) {
            let path = self.root.join(name);
            let mode = if version.1 { 0o755 } else { 0o644 };
            let _ = fs::write(&path, &version.0);
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        }
    }
}

/// Every file of the directory, which has no folders.
fn snapshot(root: &Utf8PathBuf) -> Snapshot {
    let names = fs::read_dir(root).into_iter().flatten().flatten();
    let version = |path: &std::path::Path| {
        let executable = fs::metadata(path).ok()?.permissions().mode() & 0o100 != 0;
        Some((fs::read(path).ok()?, executable))
    };
    names.filter_map(|entry| Some((entry.file_name().into_string().ok()?, version(&entry.path())?))).collect()
}

fn open(root: &Utf8PathBuf, doom: &Arc<Doom>, steps: &Arc<Mutex<Steps>>) -> Result<Workspace> {
    let (doom, steps, at) = (Arc::clone(doom), Arc::clone(steps), root.clone());
    let hook = move |step: &'static str| {
        let mut steps = lock(&steps);
        if !doom.survives(step) {
            steps.died.get_or_insert_with(|| snapshot(&at));
            return;
        }
        if let Some(intrusion) = steps.intrusion.as_mut().filter(|intrusion| !intrusion.done) {
            intrusion.done = true;
            let path = at.join(&intrusion.path);
            match fs::read_to_string(&path) {
                Ok(text) if text.contains(&intrusion.change.0) => {
                    let text = text.replacen(&intrusion.change.0, &intrusion.change.1, 1);
                    let _ = fs::write(path, text);
                }
                _ => intrusion.change.1.clear(),
            }
        }
    };
    Ok(Workspace::open(root)?.with_failpoint(Arc::new(hook)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
