//! The directories that are watched: which inotify descriptor stands for which path, and what each event means.
//!
//! The table follows the tree: a directory that is created or moved here is watched with all below it, one that is
//! removed or moved away is forgotten with all below it. inotify speaks of directories, not of names, so a descriptor
//! whose directory was renamed would go on under a false path otherwise.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CStr,
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{
        OFlags,
        inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags},
    },
    io::Errno,
};

use crate::{
    FilesError, WatchError, Workspace, WorkspacePath,
    ignored::{Rules, is_reserved},
    news::News,
    walk::{Visible, read_visible},
};

/// What is heard of. Opening, reading and closing what was only read are not: compilers, searches and this program
/// read files all the time. MODIFY, as a program may write for hours before it closes; ATTRIB, for the executable bit.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// Bytes read from the kernel's queue at once: about a thousand events.
const BUFFER_BYTES: usize = 32 * 1024;

/// Events taken before the caller looks up again, against programs that change files faster than they are read here:
/// four times the queue that Linux keeps by default.
const MAX_EVENTS: usize = 65_536;

/// The watched tree. The kernel bounds the number of directories and the length of the queue.
#[derive(Debug)]
pub(crate) struct WatchedTree {
    workspace: Workspace,
    inotify: Arc<OwnedFd>,
    directories: HashMap<i32, Watched>,
    by_path: BTreeMap<WorkspacePath, i32>,
    /// Descriptors without a path. Some get one again at once, by the other half of a rename.
    orphans: Vec<i32>,
}

/// A watched directory.
#[derive(Debug)]
struct Watched {
    path: WorkspacePath,
    /// The rules for what is inside.
    rules: Arc<Rules>,
}

impl WatchedTree {
    /// A tree in which nothing is watched yet.
    pub(crate) fn new(workspace: Workspace) -> Result<Self, WatchError> {
        let inotify = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(inotify) => Arc::new(inotify),
            Err(Errno::MFILE) => return Err(WatchError::TooManyWatchers),
            Err(errno) => return Err(WatchError::Inotify(errno.into())),
        };
        let (directories, by_path, orphans) = (HashMap::new(), BTreeMap::new(), Vec::new());
        Ok(Self { workspace, inotify, directories, by_path, orphans })
    }

    /// The descriptor that becomes readable when something changes.
    pub(crate) fn queue(&self) -> &OwnedFd {
        &self.inotify
    }

    /// Watches the whole workspace as it is now, under the rules of now.
    pub(crate) fn rewatch(&mut self, news: &mut News) -> Result<(), WatchError> {
        let outermost = Rules::outermost(&self.workspace)?;
        let before = std::mem::take(&mut self.directories);
        self.by_path.clear();
        let watched = self.watch_below(WorkspacePath::root(), outermost, news);
        self.orphans.extend(before.into_keys());
        self.release_orphans();
        watched
    }

    /// Takes what waits in the queue; whether there was anything.
    pub(crate) fn take_events(&mut self, news: &mut News) -> rustix::io::Result<bool> {
        let inotify = Arc::clone(&self.inotify);
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&*inotify, &mut buffer);
        let mut any = false;
        for _ in 0..MAX_EVENTS {
            match reader.next() {
                Ok(event) => self.hear(&event, news),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            any = true;
        }
        self.release_orphans();
        Ok(any)
    }

    fn hear(&mut self, event: &Event<'_>, news: &mut News) {
        let what = event.events();
        if what.intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT) {
            news.rewatch = true;
        }
        if what.contains(ReadFlags::IGNORED) {
            self.ended(event.wd());
        }
        // No name: the directory itself, of which its parent tells. Not UTF-8: nothing here can name it.
        let Some(Ok(name)) = event.file_name().map(CStr::to_str) else { return };
        let Some(parent) = self.directories.get(&event.wd()) else { return };
        if is_reserved(name) {
            return;
        }
        let (path, rules) = (parent.path.child(name), Arc::clone(&parent.rules));
        let is_directory = what.contains(ReadFlags::ISDIR);
        let ignored = rules.ignore(&path, is_directory);
        // Also where it ignores itself.
        news.rewatch |= name == ".gitignore";
        if is_directory {
            self.hear_of_directory(event, path, (!ignored).then_some(rules), news);
        } else if !ignored {
            news.changed(path);
        }
    }

    /// `rules` are those around the directory `path`, none if it is ignored.
    fn hear_of_directory(
        &mut self,
        event: &Event<'_>,
        path: WorkspacePath,
        rules: Option<Arc<Rules>>,
        news: &mut News,
    ) {
        let what = event.events();
        if what.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            let was_watched = self.forget(&path);
            if was_watched && what.contains(ReadFlags::MOVED_FROM) {
                news.departed(event.cookie(), path.clone());
            }
            if was_watched || rules.is_some() {
                news.changed(path.clone());
            }
        }
        let Some(rules) = rules else { return };
        if what.contains(ReadFlags::MOVED_TO) {
            news.arrived(event.cookie(), &path);
        }
        // Created, but found before: nothing was lost since. A new mode may have made it readable; else it tells nothing.
        if what.intersects(ReadFlags::CREATE | ReadFlags::ATTRIB) && self.by_path.contains_key(&path) {
            return;
        }
        // After a removal too: by an exchange of two names, another directory has this one by now.
        if let Err(error) = self.watch_below(path, rules, news) {
            news.unwatched(error.to_string());
        }
    }

    /// Watches `top` and the visible directories below, and tells of the files in them: they may have been there before
    /// the watch. `above` are the rules around `top`.
    fn watch_below(
        &mut self,
        top: WorkspacePath,
        above: Arc<Rules>,
        news: &mut News,
    ) -> Result<(), WatchError> {
        let mut pending = vec![(top, above)];
        while let Some((path, above)) = pending.pop() {
            let Some(visible) = self.watch(&path, &above, news)? else { continue };
            visible.files.iter().for_each(|name| news.changed(path.child(name)));
            let below = visible.directories.iter().map(|name| (path.child(name), Arc::clone(&visible.rules)));
            pending.extend(below);
        }
        Ok(())
    }

    /// Watches one directory and reads it; nothing if there is none or it may not be read.
    fn watch(
        &mut self,
        path: &WorkspacePath,
        above: &Arc<Rules>,
        news: &mut News,
    ) -> Result<Option<Visible>, WatchError> {
        let dir = match self.workspace.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
            Err(errno) => {
                news.unwatched(FilesError::from_errno("watch", path, errno).to_string());
                return Ok(None);
            }
        };
        // By descriptor: the directory that is watched is the one that is read, whatever becomes of its name, and no
        // link was crossed on the way. The watch comes first, so that what appears in between makes an event.
        let itself = format!("/proc/self/fd/{}", dir.as_raw_fd());
        match inotify::add_watch(&*self.inotify, itself, CHANGES) {
            Ok(descriptor) => match read_visible(&self.workspace, &dir, path, above) {
                Ok(visible) => {
                    self.name(descriptor, path, &visible.rules);
                    Ok(Some(visible))
                }
                Err(error) => {
                    self.orphans.push(descriptor);
                    news.unwatched(error.to_string());
                    Ok(None)
                }
            },
            Err(Errno::NOSPC) => Err(WatchError::LimitReached { watched: self.directories.len() }),
            Err(errno) => Err(WatchError::Inotify(errno.into())),
        }
    }

    /// From now on `descriptor` stands for `path`, and nothing else does.
    fn name(&mut self, descriptor: i32, path: &WorkspacePath, rules: &Arc<Rules>) {
        let watched = Watched { path: path.clone(), rules: Arc::clone(rules) };
        if let Some(former) = self.directories.insert(descriptor, watched)
            && former.path != *path
        {
            self.by_path.remove(&former.path);
        }
        if let Some(former) = self.by_path.insert(path.clone(), descriptor)
            && former != descriptor
        {
            self.directories.remove(&former);
            self.orphans.push(former);
        }
    }

    /// Forgets `top` and all below; whether it was watched.
    fn forget(&mut self, top: &WorkspacePath) -> bool {
        let from_top = self.by_path.range(top.clone()..);
        let below: Vec<(WorkspacePath, i32)> = from_top
            .take_while(|(path, _)| path.as_path().starts_with(top.as_path()))
            .map(|(path, descriptor)| (path.clone(), *descriptor))
            .collect();
        for (path, descriptor) in &below {
            self.by_path.remove(path);
            self.directories.remove(descriptor);
            self.orphans.push(*descriptor);
        }
        !below.is_empty()
    }

    /// The kernel ended a watch, as it does when a directory is deleted.
    fn ended(&mut self, descriptor: i32) {
        if let Some(watched) = self.directories.remove(&descriptor) {
            self.by_path.remove(&watched.path);
        }
    }

    fn release_orphans(&mut self) {
        for descriptor in self.orphans.drain(..) {
            if !self.directories.contains_key(&descriptor) {
                // An error means that the kernel has ended it already.
                let _ = inotify::remove_watch(&*self.inotify, descriptor);
            }
        }
    }
}
