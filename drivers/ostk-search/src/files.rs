//! The files of the workspace that a query wants, found by the `ignore` crate, and how each is opened.
//!
//! Opening goes through `openat2` without following links, so that a file swapped for a link after the walk cannot make
//! a search show what lies outside the workspace.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use ignore::{DirEntry, WalkBuilder, WalkState};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::{MAX_FILES, Query, SearchError, THREADS, Truncation, pattern::Filter};

/// The opened root and what the query wants below it.
pub(crate) struct Tree {
    root: PathBuf,
    root_fd: OwnedFd,
    filter: Arc<Filter>,
}

/// What a walk found.
#[derive(Default)]
pub(crate) struct Walked {
    /// Paths relative to the root, sorted.
    pub(crate) files: Vec<String>,
    /// Files and directories with names that are not UTF-8, or that could not be read.
    pub(crate) skipped: usize,
    pub(crate) truncated: Option<Truncation>,
}

impl Tree {
    pub(crate) fn open(root: &Path, query: &Query) -> Result<Self, SearchError> {
        let filter = Arc::new(Filter::new(query)?);
        let fail = |reason: String| SearchError::Root { root: root.display().to_string(), reason };
        let root = root.canonicalize().map_err(|error| fail(error.to_string()))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root_fd =
            rustix::fs::open(&root, flags, Mode::empty()).map_err(|errno| fail(errno.to_string()))?;
        Ok(Self { root, root_fd, filter })
    }

    /// Opens a file found by the walk, unless it or a directory above it has become a link.
    pub(crate) fn open_file(&self, path: &str) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root_fd, path, flags, Mode::empty(), resolve).map(File::from)
    }

    /// The wanted files that git does not ignore.
    pub(crate) fn files(&self, deadline: Instant) -> Walked {
        let walked = Mutex::new(Walked::default());
        let (root, filter) = (self.root.clone(), Arc::clone(&self.filter));
        WalkBuilder::new(&self.root)
            .hidden(false)
            .ignore(false)
            .parents(false)
            .require_git(false)
            .threads(THREADS)
            .filter_entry(move |entry| enters(&root, &filter, entry))
            .build_parallel()
            .run(|| Box::new(|entry| self.visit(entry, deadline, &walked)));
        let mut walked = walked.into_inner().unwrap_or_else(PoisonError::into_inner);
        walked.files.sort_unstable();
        walked
    }

    fn visit(
        &self,
        entry: Result<DirEntry, ignore::Error>,
        deadline: Instant,
        walked: &Mutex<Walked>,
    ) -> WalkState {
        // Nothing below panics while it holds the lock.
        let mut walked = walked.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= deadline {
            walked.truncated = Some(Truncation::Deadline);
            return WalkState::Quit;
        }
        let Ok(entry) = entry else {
            walked.skipped += 1;
            return WalkState::Continue;
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            return WalkState::Continue;
        }
        let path = entry.path().strip_prefix(&self.root).ok().and_then(Path::to_str);
        match path {
            Some(path) if !self.filter.wants(path) => {}
            Some(_) if walked.files.len() >= MAX_FILES => {
                walked.truncated = Some(Truncation::Files);
                return WalkState::Quit;
            }
            Some(path) => walked.files.push(path.to_owned()),
            None => walked.skipped += 1,
        }
        WalkState::Continue
    }
}

/// Keeps the walk out of the stores, this project's temporary files, and directories that no wanted path is in.
fn enters(root: &Path, filter: &Filter, entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    if entry.depth() == 0 {
        return true;
    }
    if matches!(&*name, ".git" | ".ostk") || name.starts_with(".ostk-tmp-") {
        return false;
    }
    let path = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
    // What is not UTF-8 is let through, so that it is counted as skipped.
    path.is_none_or(|path| filter.enters(path))
}
