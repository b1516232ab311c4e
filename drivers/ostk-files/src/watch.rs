//! Hearing of changes as they happen, by inotify.
//!
//! Only directories that git does not ignore are watched. Events are gathered for a moment and handed over as paths: a
//! hint where to look, not a record of what happened. When too much happens at once the watcher says so and the caller
//! scans everything; the scanner, not the watcher, is what correctness rests on.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::fs::OFlags;

use crate::{
    FilesError, Workspace, WorkspacePath,
    ignored::{Rules, is_reserved},
    walk::{Visible, read_visible},
};

/// Changes are handed over after this long without another one.
const QUIET: Duration = Duration::from_millis(30);

/// Changes are handed over after this long even if more keep coming.
const MAX_DELAY: Duration = Duration::from_millis(250);

/// How long an idle watcher takes to notice that it was dropped.
const IDLE: Duration = Duration::from_millis(100);

/// Raw events between inotify and the gathering thread; an editor makes about five for each save.
const MAX_QUEUED_EVENTS: usize = 8192;

/// Paths in one hand-over; above it a scan is as cheap.
const MAX_BATCH: usize = 2048;

/// What the watcher reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// These paths were created, changed or removed: sorted, each once. A removed directory appears as itself.
    Changed(Vec<WorkspacePath>),
    /// Events were lost or the ignore rules changed: scan everything.
    Overflow,
    /// From now on a part of the workspace is not watched, for this reason. Scans still see it.
    Unwatched(String),
}

/// A watch that could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The user's inotify watches are used up.
    #[error(
        "all inotify watches are in use after {watched} directories; \
         raise the limit with: sysctl fs.inotify.max_user_watches=524288"
    )]
    LimitReached {
        /// How many directories could be watched.
        watched: usize,
    },
    /// The system refused.
    #[error("cannot watch the workspace: {0}")]
    Notify(#[from] notify::Error),
    /// The thread that gathers events could not be started.
    #[error("cannot start the watcher: {0}")]
    Thread(std::io::Error),
    /// The workspace could not be read.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches `workspace` and calls `on_change` from a thread of its own. When this returns, all watches are set.
    pub fn start(
        workspace: Workspace,
        on_change: impl FnMut(WatchEvent) + Send + 'static,
    ) -> Result<Self, WatchError> {
        let (sender, events) = sync_channel(MAX_QUEUED_EVENTS);
        let overflow = Arc::new(AtomicBool::new(false));
        let handler = queue_into(sender, Arc::clone(&overflow));
        let inotify = notify::recommended_watcher(handler)?;
        let mut gatherer = Gatherer { workspace, inotify, overflow, watched: 0, on_change };
        gatherer.watch_tree(&WorkspacePath::root(), &mut BTreeSet::new())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("ostk-watch".to_owned())
            .spawn(move || gatherer.run(&events, &stopped))
            .map_err(WatchError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A callback that panicked has already printed its message.
            let _ = thread.join();
        }
    }
}

/// The handler on inotify's thread: never blocks, notes what it had to drop.
fn queue_into(
    sender: SyncSender<PathBuf>,
    overflow: Arc<AtomicBool>,
) -> impl FnMut(notify::Result<Event>) + Send {
    move |event| match event {
        // Opening and reading change nothing.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        Ok(event) => {
            let lost = event.need_rescan();
            let full = event.paths.into_iter().any(|path| sender.try_send(path).is_err());
            if lost || full {
                overflow.store(true, Ordering::SeqCst);
            }
        }
        Err(_) => overflow.store(true, Ordering::SeqCst),
    }
}

/// Gathers events, adds watches for new directories, and hands over.
struct Gatherer<F> {
    workspace: Workspace,
    inotify: RecommendedWatcher,
    overflow: Arc<AtomicBool>,
    watched: usize,
    on_change: F,
}

impl<F: FnMut(WatchEvent)> Gatherer<F> {
    fn run(mut self, events: &Receiver<PathBuf>, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            match events.recv_timeout(IDLE) {
                Ok(first) => {
                    let batch = gather(first, events);
                    self.hand_over(&batch);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.overflow.swap(false, Ordering::SeqCst) {
                        self.start_over();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn hand_over(&mut self, batch: &BTreeSet<PathBuf>) {
        let rules_changed =
            batch.iter().any(|path| path.file_name().is_some_and(|name| name == ".gitignore"));
        if self.overflow.swap(false, Ordering::SeqCst) || rules_changed || batch.len() > MAX_BATCH {
            return self.start_over();
        }
        let mut changed = BTreeSet::new();
        if let Err(error) = self.visible_paths(batch, &mut changed) {
            (self.on_change)(WatchEvent::Unwatched(error.to_string()));
        }
        if changed.len() > MAX_BATCH {
            (self.on_change)(WatchEvent::Overflow);
        } else if !changed.is_empty() {
            (self.on_change)(WatchEvent::Changed(changed.into_iter().collect()));
        }
    }

    /// Sets all watches again, as directories may have appeared unnoticed or under other rules.
    fn start_over(&mut self) {
        self.watched = 0;
        if let Err(error) = self.watch_tree(&WorkspacePath::root(), &mut BTreeSet::new()) {
            (self.on_change)(WatchEvent::Unwatched(error.to_string()));
        }
        (self.on_change)(WatchEvent::Overflow);
    }

    fn visible_paths(
        &mut self,
        batch: &BTreeSet<PathBuf>,
        changed: &mut BTreeSet<WorkspacePath>,
    ) -> Result<(), WatchError> {
        let mut rules = RulesOnTheWay::new(&self.workspace)?;
        for real in batch {
            let is_directory = std::fs::symlink_metadata(real).is_ok_and(|meta| meta.is_dir());
            let Some(path) = rules.visible(&self.workspace, real, is_directory)? else { continue };
            if is_directory {
                // Created or moved here: what it already holds made no event.
                self.watch_tree(&path, changed)?;
            }
            if !is_directory && !path.is_root() {
                changed.insert(path);
            }
        }
        Ok(())
    }

    /// Watches `top` and the visible directories below, and adds the files in them to `found`.
    fn watch_tree(
        &mut self,
        top: &WorkspacePath,
        found: &mut BTreeSet<WorkspacePath>,
    ) -> Result<(), WatchError> {
        let above = RulesOnTheWay::new(&self.workspace)?.above(&self.workspace, top)?;
        let mut pending = vec![(top.clone(), above)];
        while let Some((path, above)) = pending.pop() {
            // The watch comes before the look, so that what appears in between makes an event.
            self.watch(&path)?;
            let Some(visible) = look_into(&self.workspace, &path, &above)? else { continue };
            if found.len() <= MAX_BATCH {
                found.extend(visible.files.iter().map(|name| path.child(name)));
            }
            let below = visible.directories.iter().map(|name| (path.child(name), Arc::clone(&visible.rules)));
            pending.extend(below);
        }
        Ok(())
    }

    fn watch(&mut self, path: &WorkspacePath) -> Result<(), WatchError> {
        let real = self.workspace.root().join(path.as_path());
        match self.inotify.watch(real.as_std_path(), RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched += 1;
                Ok(())
            }
            Err(error) => match &error.kind {
                notify::ErrorKind::MaxFilesWatch => Err(WatchError::LimitReached { watched: self.watched }),
                // Gone again already.
                notify::ErrorKind::PathNotFound => Ok(()),
                notify::ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(WatchError::Notify(error)),
            },
        }
    }
}

/// All paths until it is quiet, [`MAX_DELAY`] has passed or the batch is full.
fn gather(first: PathBuf, events: &Receiver<PathBuf>) -> BTreeSet<PathBuf> {
    let began = Instant::now();
    let mut batch = BTreeSet::from([first]);
    while began.elapsed() < MAX_DELAY && batch.len() <= MAX_BATCH {
        match events.recv_timeout(QUIET) {
            Ok(path) => drop(batch.insert(path)),
            Err(_) => break,
        }
    }
    batch
}

fn look_into(
    workspace: &Workspace,
    path: &WorkspacePath,
    above: &Arc<Rules>,
) -> Result<Option<Visible>, FilesError> {
    match workspace.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(dir) => read_visible(workspace, &dir, path, above).map(Some),
        Err(_) => Ok(None),
    }
}

/// The ignore rules of the directories met in one batch, each read once.
struct RulesOnTheWay {
    outermost: Arc<Rules>,
    inside: HashMap<WorkspacePath, Arc<Rules>>,
}

impl RulesOnTheWay {
    fn new(workspace: &Workspace) -> Result<Self, FilesError> {
        Ok(Self { outermost: Rules::outermost(workspace)?, inside: HashMap::new() })
    }

    /// The workspace path of `real`, unless it or a directory above it is ignored or not UTF-8.
    fn visible(
        &mut self,
        workspace: &Workspace,
        real: &Path,
        is_directory: bool,
    ) -> Result<Option<WorkspacePath>, FilesError> {
        let Ok(relative) = real.strip_prefix(workspace.root()) else { return Ok(None) };
        let Some(relative) = relative.to_str() else { return Ok(None) };
        let mut path = WorkspacePath::root();
        let mut names = relative.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let rules = self.inside(workspace, &path)?;
            path = path.child(name);
            if is_reserved(name) || rules.ignore(&path, is_directory || names.peek().is_some()) {
                return Ok(None);
            }
        }
        Ok(Some(path))
    }

    /// The rules that hold for `directory` itself, from outside of it.
    fn above(&mut self, workspace: &Workspace, directory: &WorkspacePath) -> Result<Arc<Rules>, FilesError> {
        match directory.parent() {
            None => Ok(Arc::clone(&self.outermost)),
            Some(parent) => self.inside(workspace, &parent),
        }
    }

    fn inside(&mut self, workspace: &Workspace, directory: &WorkspacePath) -> Result<Arc<Rules>, FilesError> {
        if let Some(known) = self.inside.get(directory) {
            return Ok(Arc::clone(known));
        }
        let mut rules = Arc::clone(&self.outermost);
        let mut path = WorkspacePath::root();
        rules = rules.inside(workspace, &path)?;
        if !directory.is_root() {
            for name in directory.as_str().split('/') {
                path = path.child(name);
                rules = rules.inside(workspace, &path)?;
            }
        }
        self.inside.insert(directory.clone(), Arc::clone(&rules));
        Ok(rules)
    }
}
