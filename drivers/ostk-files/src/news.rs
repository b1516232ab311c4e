//! What the watcher heard since it last handed over: paths, renamed directories, and whether that is all of it.
//!
//! Only data; `watched` fills it from events and `watch` hands it over.

use std::collections::{BTreeSet, HashMap};

use crate::{WatchEvent, WorkspacePath};

/// Paths in one hand-over; above it a scan is as cheap.
const MAX_PATHS: usize = 2048;

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct News {
    changed: BTreeSet<WorkspacePath>,
    /// Directories with a new name, oldest first: (from, to).
    renamed: Vec<(WorkspacePath, WorkspacePath)>,
    /// Watched directories that left their name, by the number that inotify gives to both ends of a rename.
    departed: HashMap<u32, WorkspacePath>,
    /// Whether more happened than the paths say.
    incomplete: bool,
    /// Whether the watches themselves may be wrong: events were lost or the ignore rules changed.
    pub(crate) rewatch: bool,
    /// Why a part of the workspace is not watched.
    unwatched: Option<String>,
}

impl News {
    /// `path` was created, changed or removed.
    pub(crate) fn changed(&mut self, path: WorkspacePath) {
        if self.incomplete {
            return;
        }
        self.changed.insert(path);
        self.incomplete = self.changed.len() > MAX_PATHS;
    }

    /// The watched directory `from` left its name in the rename `cookie`.
    pub(crate) fn departed(&mut self, cookie: u32, from: WorkspacePath) {
        self.departed.insert(cookie, from);
    }

    /// The directory `to` got its name in the rename `cookie`.
    pub(crate) fn arrived(&mut self, cookie: u32, to: &WorkspacePath) {
        if let Some(from) = self.departed.remove(&cookie) {
            self.renamed.push((from, to.clone()));
        }
    }

    /// A part of the workspace is not watched. One reason is told; a second would say the same.
    pub(crate) fn unwatched(&mut self, reason: String) {
        self.unwatched.get_or_insert(reason);
    }

    /// The same without the changes: what was found when the first watches were set is not news.
    pub(crate) fn only_unwatched(self) -> Self {
        Self { unwatched: self.unwatched, ..Self::default() }
    }

    /// The events to hand over, if any.
    pub(crate) fn into_events(mut self) -> impl Iterator<Item = WatchEvent> {
        self.add_former_names();
        let unwatched = self.unwatched.map(WatchEvent::Unwatched);
        // What was in a directory that left the workspace cannot be listed any more.
        let scan = self.incomplete || self.rewatch || !self.departed.is_empty();
        let changes = match scan {
            true => Some(WatchEvent::Overflow),
            false if self.changed.is_empty() => None,
            false => Some(WatchEvent::Changed(self.changed.into_iter().collect())),
        };
        unwatched.into_iter().chain(changes)
    }

    /// What is found in a renamed directory is gone from under its former name.
    fn add_former_names(&mut self) {
        for (from, to) in std::mem::take(&mut self.renamed).into_iter().rev() {
            let below: Vec<WorkspacePath> = self.changed.range(to.clone()..).cloned().collect();
            for path in below.iter().map_while(|path| path.moved(&to, &from)) {
                self.changed(path);
            }
        }
    }
}
